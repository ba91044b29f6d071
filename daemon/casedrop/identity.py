"""Whether what a folder would send names the patient of its DICOM files, claimed by a rule or not. Pure."""

from collections.abc import Iterable

from casedrop.dicom_model import DicomHeader
from casedrop.identifiers import problems
from casedrop.model import Drop, Grouping, Problem
from casedrop.pseudonyms import outside


def identifier_problems(drop: Drop, grouping: Grouping, headers: Iterable[DicomHeader]) -> list[Problem]:
    """What of the title, the order and the plain values would name a patient, by attribute.

    Every file counts: files of one series may differ in their headers.
    """
    if grouping.draft is None:
        return []
    wanted = frozenset(needle for header in headers for needle in header.needles)
    return problems(grouping.draft, outside(grouping.draft.title, drop.title), wanted)
