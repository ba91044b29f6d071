"""What makes a DICOM series doubtful: the platform would take each of these without a word. Pure.

Positions are compared along the normal of the image plane (PS3.3, C.7.6.2.1.1), in mm.
"""

import math
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from casedrop.dicom_model import GRAND_CHALLENGE_CLASSES, WHOLE_SLIDE, DicomHeader
from casedrop.gaps import slice_problems
from casedrop.model import Problem, Procedure, Weight
from casedrop.near import several, shown
from casedrop.series import Series, name, opening, place

Files = Mapping[str, DicomHeader]

ANGLE = 1e-3
"""Direction cosines that differ by less are the same orientation; scanners write 4 to 6 digits."""

SPACING = 1e-3
"""Relative difference of pixel spacings that is rounding."""


def series_problems(series: Series, procedure: Procedure, allow: Collection[str]) -> list[Problem]:
    """Everything doubtful about one series that is to be sent; what is allowed only as notes."""
    found = [*_cut_off(series), *_burned_in(series), *_shape(series, allow)]
    if procedure.name == "grand-challenge":
        found += _class(series)
    return weighed(found, allow)


def _shape(series: Series, allow: Collection[str]) -> Iterator[Problem]:
    """A whole-slide image is many files of many frames (PS3.3, A.32.8); one cut off may say nothing yet.

    Reports and the like have no slices.
    """
    if (
        not series.header.image
        or series.header.sop_class == WHOLE_SLIDE
        or ("cut-off" not in allow and any(one.broken and one.size is None for one in series.files.values()))
    ):
        return
    whole = [*_until_refused((*_several_images(series), *_mixed(series)), allow)]
    yield from whole
    if all(one.word in allow for one in whole):
        for stack in _stacks(series):
            yield from _until_refused(slice_problems(stack), allow)


def _until_refused(problems: Iterable[Problem], allow: Collection[str]) -> Iterator[Problem]:
    """What is let pass hides nothing behind it; behind what is not, the rest would be its echo."""
    for problem in problems:
        yield problem
        if problem.word not in allow:
            return


def _stacks(series: Series) -> Iterator[Series]:
    """Each file of many frames, and the single frames of one orientation; where some lie nowhere, all of these.

    The numbers of a series count through all orientations and say nothing of one.
    """
    files = series.files
    single = {path: one for path, one in files.items() if one.frames == 1}
    placed = all(one.position and one.orientation for one in single.values())
    groups = _grouped(single, lambda one: one.orientation if placed else None, _same_direction)
    if len(groups) > 1:
        single = {path: replace(one, instance=None) for path, one in single.items()}
    for path, one in files.items():
        if path not in single:
            yield replace(series, files={path: one})
    for _, paths in groups:
        yield replace(series, files={path: single[path] for path in paths})


def weighed(problems: Iterable[Problem], allow: Collection[str]) -> list[Problem]:
    """The same problems, those that are allowed only as notes."""
    return [
        Problem(one.word, f"{one.text} It is allowed here.", Weight.NOTE) if one.word in allow else one
        for one in problems
    ]


def unreadable(paths: list[str]) -> Problem:
    """Of files that are DICOM but do not say of what."""
    verb = "is" if len(paths) == 1 else "are"
    return Problem(
        "cut-off",
        f"{several(paths)} {verb} DICOM, but cut off or damaged: not even the header can be read. Copy again.",
        Weight.LACKING,
    )


def _cut_off(series: Series) -> Iterator[Problem]:
    broken = [path for path, header in series.files.items() if header.broken]
    if not broken:
        return
    text = (
        f"{several(broken)} of {name(series)} {'ends' if len(broken) == 1 else 'end'} before the image does, as "
        "after a copy that was broken off. Copy again."
    )
    yield Problem("cut-off", text, Weight.LACKING)


def _burned_in(series: Series) -> Iterator[Problem]:
    marked = [path for path, header in series.files.items() if header.burned_in]
    if not marked:
        return
    text = (
        f"{opening(series)} says that text is burned into its pixels (BurnedInAnnotation in "
        f"{place(marked)}): that may be the patient's name, which no header rule takes out. Somebody must look "
        'at the images; if they are clean, the data manager can set allow = ["burned-in"] for the rule.'
    )
    yield Problem("burned-in", text)


def _class(series: Series) -> Iterator[Problem]:
    odd = {one.class_name for one in series.files.values() if one.sop_class not in GRAND_CHALLENGE_CLASSES}
    if not odd:
        return
    classes = several(f"the class {one}" if one else "an unknown class" for one in sorted(odd))
    text = (
        f"{opening(series)} is of {classes}, which Grand Challenge's de-identification does "
        "not take (only CT Image, MR Image and VL Whole Slide Microscopy Image). The data manager can choose "
        'another procedure for the drop: deidentify = "dicom-standard".'
    )
    yield Problem("unsupported-class", text)


def _several_images(series: Series) -> Iterator[Problem]:
    """A multi-frame file is an image of its own."""
    many = [path for path, header in series.files.items() if header.frames > 1]
    if not many or len(series.files) == 1:
        return
    text = (
        f"{opening(series)} holds several images: {len(many)} of its files have many frames and are "
        "images of their own. A socket takes one image. Keep the one file that is meant."
    )
    yield Problem("several-images", text)


def _mixed(series: Series) -> Iterator[Problem]:
    said = [
        _kinds("sizes", series.files, lambda one: one.size, operator.eq, _size),
        _kinds("orientations", series.files, lambda one: one.orientation, _same_direction, _number),
        _kinds("pixel spacings", series.files, lambda one: one.spacing, _same_spacing, _spacing),
        _kinds("positions", series.files, lambda one: one.position is not None, operator.eq, _position),
        _kinds("frames of reference", series.files, lambda one: one.frame_of_reference, operator.eq, _number),
    ]
    if not any(said):
        return
    text = (
        f"{opening(series)} is not one image: {'; '.join(one for one in said if one)}. Remove the files "
        "that do not belong to it (often scouts or reconstructions), or ask the data manager to set allow = "
        '["mixed-geometry"] for the rule.'
    )
    yield Problem("mixed-geometry", text)


def _kinds(
    what: str,
    files: Files,
    read: Callable[[DicomHeader], Any],
    same: Callable[[Any, Any], bool],
    say: Callable[[int, Any], str],
) -> str:
    """``2 sizes (238 files: 512 x 512; a.dcm and b.dcm: 64 x 64)``; "" where all are alike."""
    groups = [
        (paths, say(n, kind) if kind not in (None, "") else "none")
        for n, (kind, paths) in enumerate(_grouped(files, read, same), 1)
    ]
    if len(groups) == 1:
        return ""
    said = [f"{_few(paths)} {kind}" for paths, kind in sorted(groups, key=lambda one: -len(one[0]))]
    return f"{len(groups)} {what} ({'; '.join(said[:5])}{' ...' if len(said) > 5 else ''})"  # noqa: PLR2004


def _grouped(
    files: Files, read: Callable[[DicomHeader], Any], same: Callable[[Any, Any], bool]
) -> list[tuple[Any, list[str]]]:
    """What `read` finds, each kind once with the files that have it."""
    groups: list[tuple[Any, list[str]]] = []
    for path, header in files.items():
        value = read(header)
        known = next((paths for kind, paths in groups if same(kind, value)), None)
        if known is None:
            groups.append((value, [path]))
        else:
            known.append(path)
    return groups


def _same_direction(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(abs(a - b) <= ANGLE for a, b in zip(one, other, strict=True))


def _same_spacing(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(math.isclose(a, b, rel_tol=SPACING) for a, b in zip(one, other, strict=True))


def _size(_: int, rows_and_columns: tuple[int, int]) -> str:
    return f"{rows_and_columns[1]} x {rows_and_columns[0]} pixels"


def _spacing(_: int, mm: tuple[float, ...]) -> str:
    return " x ".join(f"{one:g}" for one in mm) + " mm"


def _position(_: int, there: bool) -> str:
    return "with a position" if there else "without a position"


def _number(number: int, _: object) -> str:
    """Tells orientations and UIDs apart without saying them."""
    return f"kind {number}"


def _few(paths: list[str]) -> str:
    return f"{several(paths)}:" if len(paths) <= 3 else f"{len(paths)} files such as {shown(paths[0])}:"  # noqa: PLR2004
