"""Whether what a folder would send names the patient of its DICOM files, claimed by a rule or not."""

import os
from collections.abc import Iterable

from casedrop import header_texts, watch
from casedrop.dicom_model import HEAD, looks_like_dicom
from casedrop.identifiers import Needle, needles, problems
from casedrop.model import Drop, EntryKind, Grouping, Listing, Problem
from casedrop.pseudonyms import outside


def identifier_problems(folder: str, listing: Listing, drop: Drop, grouping: Grouping) -> list[Problem]:
    """What of the title and the plain values would name a patient, by attribute. Raises OSError."""
    if grouping.draft is None or not drop.identifier_check:
        return []
    files = (one.path for one in listing.entries if one.kind is EntryKind.FILE)
    wanted = frozenset(needle for path in files for needle in _needles(folder, path, drop.identifier_check))
    return problems(grouping.draft, outside(grouping.draft.title, drop.title), wanted)


def _needles(folder: str, path: str, keywords: tuple[str, ...]) -> Iterable[Needle]:
    """Every file is asked: files of one series may differ in their headers."""
    with watch.opened(folder, path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
        if not looks_like_dicom(file.read(HEAD)):
            return frozenset()
        file.seek(0)
        texts, removed = header_texts.read(file, keywords)
    return needles(texts, keywords, removed=removed)
