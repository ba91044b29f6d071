"""What the rules make of a folder, with what only its bytes tell: values, DICOM, cut-off files."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from casedrop import settle, watch
from casedrop.before_sending import with_checks
from casedrop.compound import MAX_READ
from casedrop.dicom_model import HEAD, DicomHeader, holds_dicom, looks_like_dicom
from casedrop.file_away import OWN_TEXTS
from casedrop.group import There, dicom_keywords, group, needed, nothing_there
from casedrop.identity import identifier_problems
from casedrop.model import Drop, Entry, EntryKind, Grouping, Listing, Problem, SocketKind, Weight
from casedrop.near import several
from casedrop.own_words import without_metadata
from casedrop.split import WHOLE, Part, joined, parts, rules_of
from casedrop.titles import NAMELESS, Naming
from casedrop.unpacking import cut_off, is_cut_zip

Headers = dict[Entry, DicomHeader | None]
"""What was read of a folder's files before, by how they looked then; None for those that are no DICOM."""


def not_to_group(listing: Listing, most: int) -> Grouping | None:
    """What is wrong with a folder before its rules are looked at; `most` files it may have."""
    return _too_many(listing, most) or _half_copied(listing)


def _too_many(listing: Listing, most: int) -> Grouping | None:
    files = sum(one.kind is not EntryKind.FOLDER for one in listing.entries)
    if files <= most:
        return None
    text = (
        f"It has {files} files, and a folder of this drop may have {most} (limits.files): is it the folder of one "
        "patient?"
    )
    return Grouping(None, (Problem("too-many-files", text),))


def _half_copied(listing: Listing) -> Grouping | None:
    """What copies write to before they are whole says nothing of the rules; it waits like all that lacks."""
    temporary = [one.path for one in listing.entries if settle.is_temporary(one.path)]
    if not temporary:
        return None
    verb = "has the name of a file that is" if len(temporary) == 1 else "have names of files that are"
    text = (
        f"{several(temporary)} {verb} still being copied. If that copy was broken off, copy again what it was "
        "to be, and remove what it left."
    )
    return Grouping(None, (Problem("half-copied", text, Weight.LACKING),))


def group_folder(
    folder: str,
    listing: Listing,
    drop: Drop,
    kinds: Mapping[str, SocketKind] | None,
    there: There = nothing_there,
    *,
    naming: Naming = NAMELESS,
    known: Headers | None = None,
) -> Grouping:
    """What the rules make of a folder, in all its parts where it is split.

    `known` is brought up to date: a file that looks as it did is not opened again for its header.
    """
    headers = read_headers(folder, listing, drop, {} if known is None else known)
    look = partial(_grouped, folder, kinds=kinds, there=there, naming=naming)
    if drop.split is None:
        grouping = look(listing, drop, headers, WHOLE)
    else:
        found, outside = parts(settle.data(listing, drop.ignore), drop.split)
        groupings = {
            name: look(within, rules_of(drop, part), _those_in(within, headers), part)
            for name, (part, within) in found.items()
        }
        grouping = joined(listing.folder, drop, groupings, outside)
    found_besides = [*_filed_already(listing), *_cut_off_problems(folder, listing)]
    return _with(grouping, found_besides)


def _grouped(
    folder: str,
    listing: Listing,
    drop: Drop,
    headers: Mapping[str, DicomHeader],
    part: Part,
    *,
    kinds: Mapping[str, SocketKind] | None,
    there: There,
    naming: Naming,
) -> Grouping:
    """What becomes one display set."""
    plain = {one.path for one in listing.entries if one.kind is EntryKind.FILE}
    wanted = [path for path in needed(listing, drop) if path in plain]
    contents = {path: watch.read_head(folder, path, MAX_READ + 1) for path in wanted}
    grouping = group(listing, drop, contents, kinds, there, naming=naming, headers=headers, part=part)
    grouping = without_metadata(folder, drop, grouping)
    grouping = with_checks(folder, drop, grouping, kinds, headers)
    found = [
        *_as_it_is_problems(grouping, headers),
        *_packed_problems(folder, grouping, headers),
        *identifier_problems(drop, grouping, headers.values()),
    ]
    return _with(grouping, found)


def _with(grouping: Grouping, found: list[Problem]) -> Grouping:
    if not found:
        return grouping
    return replace(grouping, plan=None, problems=(*grouping.problems, *found))


def _those_in(listing: Listing, headers: Mapping[str, DicomHeader]) -> dict[str, DicomHeader]:
    return {one.path: headers[one.path] for one in listing.entries if one.path in headers}


def read_patients(folder: str, grouping: Grouping) -> dict[str, tuple[str, str]]:
    """PatientName and PatientID of each series by its first file: only for people who asked to see them."""
    if not grouping.series:
        return {}
    from casedrop import dicom_headers  # noqa: PLC0415

    found = {}
    for series in grouping.series:
        with watch.opened(folder, series.first) as descriptor:
            found[series.first] = dicom_headers.patient(descriptor)
    return found


def read_headers(
    folder: str, listing: Listing, drop: Drop, known: Headers, answered: Callable[[], None] = lambda: None
) -> dict[str, DicomHeader]:
    """Those of all files that are DICOM, claimed by a rule or not; `known` as in group_folder. Raises OSError.

    `answered` is called after each file that was read.
    """
    asked = dicom_keywords(drop), drop.identifier_check
    files = [one for one in settle.data(listing, drop.ignore).entries if one.kind is EntryKind.FILE]
    read = {}
    for one in files:
        if one in known:
            read[one] = known[one]
        else:
            read[one] = _header(folder, one, *asked)
            answered()
    known.clear()
    known.update(read)
    return {one.path: header for one, header in read.items() if header}


def _header(
    folder: str, file: Entry, keywords: tuple[str, ...], identifying: tuple[str, ...]
) -> DicomHeader | None:
    """Where no file is DICOM, pydicom is never loaded. What only holds DICOM is a damaged file of it."""
    with watch.opened(folder, file.path) as descriptor:
        watch.expect_same(descriptor, file)
        head = os.pread(descriptor, HEAD, 0)
        if not holds_dicom(head):
            return None
        from casedrop import dicom_headers  # noqa: PLC0415

        found = dicom_headers.read(descriptor, keywords, identifying)
    return found or (None if looks_like_dicom(head) else DicomHeader(broken=True))


def _filed_already(listing: Listing) -> list[Problem]:
    """done/ or failed/ itself, dragged into drop/."""
    folders = {one.path for one in listing.entries if one.kind is EntryKind.FOLDER}
    texts = [one.path for one in listing.entries if one.path.endswith(OWN_TEXTS)]
    filed = [path for path in texts if path[: path.rfind(".", 0, path.rfind("."))] in folders]
    if not filed:
        return []
    text = (
        f"It holds folders that Casedrop has filed before ({several(filed)}): is it done/ or failed/ itself? Put "
        "it back where it was; single failed folders are what is moved into drop/ again."
    )
    return [Problem("filed-before", text)]


def _as_it_is_problems(grouping: Grouping, headers: Mapping[str, DicomHeader]) -> list[Problem]:
    """Whatever the rules made of it, no file goes as it is that is DICOM: a last look at the whole plan."""
    sockets = grouping.draft.sockets if grouping.draft else ()
    found = [path for one in sockets for file in one.files for path in file.as_they_are if path in headers]
    if not found:
        return []
    text = (
        f"{several(found)}: DICOM that would be sent as it is, names and all. Let a rule with `dicom` take the "
        "series, or remove the file."
    )
    return [Problem("dicom", text)]


def _packed_problems(folder: str, grouping: Grouping, headers: Mapping[str, DicomHeader]) -> list[Problem]:
    """DICOM in archives that a rule takes, or what may be."""
    claimed = [path for path, sockets in grouping.claims.items() if sockets and path not in headers]
    answers = {path: watch.is_dicom(folder, path) for path in claimed}
    found = [path for path, answer in answers.items() if answer]
    unread = [path for path, answer in answers.items() if answer is None]
    cut = [path for path in unread if _is_cut_zip(folder, path)]
    unclear = [path for path in unread if path not in cut]
    problems = [cut_off(path, "the zip has no list of contents at its end") for path in cut]
    if found:
        text = (
            f"{several(found)}: DICOM in an archive, or damaged, cannot be de-identified, and Casedrop sends no "
            "patient's name. Unpack it into the folder."
        )
        problems.append(Problem("dicom", text))
    if unclear:
        text = (
            f"{several(unclear)}: an archive that cannot be looked into (broken, encrypted or of an unusual "
            "kind). It could hold DICOM with a patient's name, so it is not sent. Unpack it, or pack it anew "
            "as a plain zip."
        )
        problems.append(Problem("archive", text))
    return problems


def _is_cut_zip(folder: str, path: str) -> bool:
    with watch.opened(folder, path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
        return is_cut_zip(file)


def _cut_off_problems(folder: str, listing: Listing) -> list[Problem]:
    if not watch.file_system(folder).holes:
        return []
    return [
        Problem(
            "cut-off",
            f"{path} looks cut off: its data ends before its size, as after a copy that was broken off. Copy "
            "it again.",
            Weight.LACKING,
        )
        for path in watch.cut_off(folder, listing)
    ]
