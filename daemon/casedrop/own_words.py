"""What image files say beside the image: refused, taken out of the copy that is sent, or only told."""

import io
import os
from dataclasses import replace

from casedrop import metadata, watch
from casedrop.dicom_model import HEAD, holds_dicom
from casedrop.edited import Edited
from casedrop.metadata import Found
from casedrop.model import Drop, Grouping, Plan, PlannedFile, Problem, Weight
from casedrop.near import several, shown
from casedrop.spots import Spot
from casedrop.unpacking import cut_off

IN_SLIDES = ("the picture of the slide's label", "what its scanner was told (Slidedat.ini)")
"""Both are in every MIRAX slide, among its data."""
STRIP = 'ask the data manager for metadata = "strip", with which a copy without it is sent'
SEND = 'if it names nobody, ask the data manager for metadata = "send", with which it is sent as it is'


def without_metadata(folder: str, drop: Drop, grouping: Grouping) -> Grouping:
    """The grouping with what its files say of that kind, and a plan without it where the drop says so.

    Raises OSError.
    """
    if grouping.draft is None:
        return grouping
    files = [file for socket in grouping.draft.sockets for file in socket.files if not file.is_series]
    found = {file.as_they_are[0]: _find(folder, file) for file in files}
    problems = [problem for path, one in found.items() for problem in _problems(path, one, drop)]
    stops = any(problem.weight is not Weight.NOTE for problem in problems)
    out = {path: one for path, one in found.items() if _is_taken_out(one, drop)}
    draft = _stripped(grouping.draft, out)
    plan = None if stops or grouping.plan is None else draft
    return replace(grouping, plan=plan, draft=draft, problems=(*grouping.problems, *problems))


def _find(folder: str, file: PlannedFile) -> Found:
    if file.packed:
        return Found(tuple(Spot(words, 0, 0, None) for words in IN_SLIDES))
    if file.content is not None:
        return metadata.find(io.BytesIO(file.content.encode("latin-1")))
    with watch.opened(folder, file.path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as opened:
        if holds_dicom(opened.read(HEAD)):
            return Found()
        return metadata.find(opened)


def _problems(path: str, found: Found, drop: Drop) -> list[Problem]:
    if found.odd:
        if drop.metadata == "send":
            return []
        return [cut_off(path, "the gzip has no end") if found.cut else _odd(path)]
    if not found.words or found.neutral:
        return []
    what = f"{shown(path)}: {several(found.words)} may name somebody"
    if drop.metadata == "send":
        return [Problem("metadata", f"{what}, and is sent all the same.", Weight.NOTE)]
    if found.fixed:
        text = (
            f"{shown(path)}: {several(found.fixed)} may name somebody, and cannot be taken out without changing "
            f"the image. Nothing was sent. Save it anew without that, as .mha, .nii.gz or plain TIFF; or, {SEND}."
        )
        return [Problem("metadata", text)]
    if drop.metadata == "refuse":
        return [Problem("metadata", f"{what}. Nothing was sent. Save the file without it, or {STRIP}.")]
    return [Problem("metadata", f"{what}: a copy without it is sent.", Weight.NOTE)]


def _is_taken_out(found: Found, drop: Drop) -> bool:
    """Names of files are never sent, where it costs nothing not to."""
    return drop.metadata == "strip" or (found.neutral and drop.metadata == "refuse")


def _odd(path: str) -> Problem:
    text = (
        f"{shown(path)} is not built as its format says (damaged, or cut off), so nobody can tell whether it "
        "names somebody. Nothing was sent. Copy or save it again."
    )
    return Problem("metadata", text)


def _stripped(plan: Plan, found: dict[str, Found]) -> Plan:
    sockets = [
        replace(socket, files=tuple(_without(file, found.get(file.path, Found())) for file in socket.files))
        for socket in plan.sockets
    ]
    return replace(plan, sockets=tuple(sockets))


def _without(file: PlannedFile, found: Found) -> PlannedFile:
    """A header that is rewritten anyway (.mhd) is rewritten without it."""
    if not found.words:
        return file
    content = file.content
    if content is not None:
        content = Edited(io.BytesIO(content.encode("latin-1")), found.spots).read().decode("latin-1")
    return replace(file, content=content, stripped=found.words)
