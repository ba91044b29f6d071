"""What makes a DICOM series doubtful: the platform would take each of these without a word. Pure.

Positions are compared along the normal of the image plane (PS3.3, C.7.6.2.1.1), in mm.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from casedrop.dicom_model import GRAND_CHALLENGE_CLASSES, WHOLE_SLIDE, DicomHeader
from casedrop.gaps import slice_problem
from casedrop.model import Problem, Procedure, Weight
from casedrop.near import several, shown
from casedrop.series import Series, name, opening, place

Files = Mapping[str, DicomHeader]

ANGLE = 1e-3
"""Direction cosines that differ by less are the same orientation; scanners write 4 to 6 digits."""

SPACING = 1e-3
"""Relative difference of pixel spacings that is rounding."""


def series_problems(series: Series, procedure: Procedure) -> Iterator[Problem]:
    """Everything doubtful about one series that is to be sent."""
    looks: list[Callable[[Series], Problem | None]] = [_cut_off, _burned_in, _shape]
    if procedure.name == "grand-challenge":
        looks.append(_class)
    yield from (problem for look in looks if (problem := look(series)))


def _shape(series: Series) -> Problem | None:
    """A whole-slide image is many files of many frames (PS3.3, A.32.8); one cut off may say nothing yet.

    Reports and the like have no slices.
    """
    if (
        not series.header.image
        or series.header.sop_class == WHOLE_SLIDE
        or any(one.broken and one.size is None for one in series.files.values())
    ):
        return None
    return _several_images(series) or _mixed(series) or slice_problem(series)


def weighed(problems: Iterable[Problem], allow: Iterable[str]) -> list[Problem]:
    """The same problems, those that are allowed only as notes."""
    allowed = frozenset(allow)
    return [
        Problem(one.word, f"{one.text} It is allowed here.", Weight.NOTE) if one.word in allowed else one
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


def _cut_off(series: Series) -> Problem | None:
    broken = [path for path, header in series.files.items() if header.broken]
    if not broken:
        return None
    text = (
        f"{several(broken)} of {name(series)} {'ends' if len(broken) == 1 else 'end'} before the image does, as "
        "after a copy that was broken off. Copy again."
    )
    return Problem("cut-off", text, Weight.LACKING)


def _burned_in(series: Series) -> Problem | None:
    marked = [path for path, header in series.files.items() if header.burned_in]
    if not marked:
        return None
    text = (
        f"{opening(series)} says that text is burned into its pixels (BurnedInAnnotation in "
        f"{place(marked)}): that may be the patient's name, which no header rule takes out. Somebody must look "
        'at the images; if they are clean, the data manager can set allow = ["burned-in"] for the rule.'
    )
    return Problem("burned-in", text)


def _class(series: Series) -> Problem | None:
    odd = {
        one.class_name: one for one in series.files.values() if one.sop_class not in GRAND_CHALLENGE_CLASSES
    }
    if not odd:
        return None
    classes = several(one or "none" for one in sorted(odd))
    text = (
        f"{opening(series)} is of the class {classes}, which Grand Challenge's de-identification does "
        "not take (only CT Image, MR Image and VL Whole Slide Microscopy Image). The data manager can choose "
        'another procedure for the drop: deidentify = "dicom-standard".'
    )
    return Problem("unsupported-class", text)


def _several_images(series: Series) -> Problem | None:
    """A multi-frame file is an image of its own."""
    many = [path for path, header in series.files.items() if header.frames > 1]
    if not many or len(series.files) == 1:
        return None
    text = (
        f"{opening(series)} holds several images: {len(many)} of its files have many frames and are "
        "images of their own. A socket takes one image. Keep the one file that is meant."
    )
    return Problem("several-images", text)


def _mixed(series: Series) -> Problem | None:
    if len(series.files) == 1:
        return None
    looks: tuple[tuple[str, Callable[[DicomHeader], object]], ...] = (
        ("sizes", lambda one: one.size and f"{one.size[1]} x {one.size[0]} pixels"),
        ("orientations", _grouped([one.orientation for one in series.files.values()], _same_direction)),
        ("pixel spacings", _grouped([one.spacing for one in series.files.values()], _same_spacing)),
        ("positions", lambda one: "with a position" if one.position else "without a position"),
        ("frames of reference", _numbered([one.frame_of_reference for one in series.files.values()])),
    )
    said = [_parts(what, series.files, look) for what, look in looks]
    if not any(said):
        return None
    text = (
        f"{opening(series)} is not one image: {'; '.join(one for one in said if one)}. Remove the files "
        "that do not belong to it (often scouts or reconstructions), or ask the data manager to set allow = "
        '["mixed-geometry"] for the rule.'
    )
    return Problem("mixed-geometry", text)


def _grouped(
    values: list[tuple[float, ...] | None], same: Callable[[tuple[float, ...], tuple[float, ...]], bool]
) -> Callable[[DicomHeader], object]:
    """Numbers the values that are not the same; the header then tells its number."""
    kinds: list[tuple[float, ...]] = []
    for value in dict.fromkeys(values):
        if value is not None and not any(same(value, kind) for kind in kinds):
            kinds.append(value)

    def look(header: DicomHeader) -> object:
        value = header.orientation if same is _same_direction else header.spacing
        if value is None:
            return "none"
        number, kind = next((n, kind) for n, kind in enumerate(kinds, 1) if same(value, kind))
        return f"kind {number}" if same is _same_direction else " x ".join(f"{mm:g}" for mm in kind) + " mm"

    return look


def _numbered(values: list[str]) -> Callable[[DicomHeader], object]:
    """Tells frames of reference apart without saying their UIDs."""
    numbers = {value: f"kind {n}" for n, value in enumerate(dict.fromkeys(values), 1)}
    return lambda header: numbers[header.frame_of_reference]


def _same_direction(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(abs(a - b) <= ANGLE for a, b in zip(one, other, strict=True))


def _same_spacing(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(math.isclose(a, b, rel_tol=SPACING) for a, b in zip(one, other, strict=True))


def _parts(what: str, files: Files, look: Callable[[DicomHeader], object]) -> str:
    """``two sizes (238 files: 512 x 512; a.dcm, b.dcm: 64 x 64)``; "" where all are alike."""
    kinds: dict[object, list[str]] = {}
    for path, header in files.items():
        kinds.setdefault(look(header), []).append(path)
    if len(kinds) == 1:
        return ""
    groups = sorted(kinds.items(), key=lambda item: -len(item[1]))
    said = [f"{_few(paths)} {kind or 'none'}" for kind, paths in groups]
    return f"{len(kinds)} {what} ({'; '.join(said[:5])}{' ...' if len(said) > 5 else ''})"  # noqa: PLR2004


def _few(paths: list[str]) -> str:
    return f"{several(paths)}:" if len(paths) <= 3 else f"{len(paths)} files such as {shown(paths[0])}:"  # noqa: PLR2004


def patients_problem(headers: Files) -> Problem | None:
    """Whether files of several patients lie in one folder, whoever claims them.

    By PatientID and PatientName; a file without an id counts for the patient of its name. One that has neither
    counts for none.
    """
    named = {header.patient_name for header in headers.values() if header.patient}
    groups: dict[tuple[str, str], list[str]] = {}
    ids = {header.patient for header in headers.values() if header.patient_name}
    for path, header in sorted(headers.items()):
        if header.patient in ids and not header.patient_name:
            continue
        if header.patient or header.patient_name not in named:
            key = header.patient, header.patient_name
            if any(key):
                groups.setdefault(key, []).append(path)
    if len(groups) < 2:  # noqa: PLR2004
        return None
    text = (
        f"The folder holds DICOM files of {len(groups)} patients (by PatientID and PatientName): "
        f"{_shares(groups)}. One folder is one patient. Move what belongs to another patient into a folder of "
        "its own."
    )
    return Problem("several-patients", text)


def studies_problem(series: Iterable[Series]) -> Problem | None:
    """Whether what is sent comes from several studies (StudyInstanceUID)."""
    groups: dict[str, list[str]] = {}
    for one in series:
        for path, header in one.files.items():
            groups.setdefault(header.study, []).append(path)
    if len(groups) < 2:  # noqa: PLR2004
        return None
    text = (
        f"The files that would be sent come from {len(groups)} studies: {_shares(groups)}. If they belong in one "
        'display set, the data manager can set allow = ["several-studies"] for the drop.'
    )
    return Problem("several-studies", text)


def _shares(groups: Mapping[Any, list[str]]) -> str:
    said = [
        place(paths) + (f" ({shown(paths[0])} ...)" if len(paths) > 1 else "") for paths in groups.values()
    ]
    return several(said)
