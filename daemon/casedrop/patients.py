"""Whether DICOM files are of one patient, and of one study. Pure.

Patients are known by digests alone: what is said of them names files and nobody.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from casedrop.dicom_model import DicomHeader
from casedrop.model import Problem
from casedrop.near import several, shown
from casedrop.series import Series, place

Files = Mapping[str, DicomHeader]


def patients_problem(headers: Files) -> Problem | None:
    """Whether files of several patients lie in one folder, or in one series, whoever claims them."""
    names = _names(headers)
    groups = _patients(headers, names)
    if len(groups) > 1:
        text = (
            f"The folder holds DICOM files of {len(groups)} patients (by PatientID and PatientName): "
            f"{_shares(groups)}. One folder is one patient. Move what belongs to another patient into a folder of "
            "its own."
        )
        return Problem("several-patients", text)
    mixed = [one for one in _by_series(headers, names) if len(one) > 1]
    if not mixed:
        return None
    text = (
        "A series is of one patient, but within one series PatientID, PatientName or PatientBirthDate differ, or "
        f"stand in some files only: {'; '.join(map(_shares, mixed))}. Export the series again, or move what "
        "belongs to another patient into a folder of its own."
    )
    return Problem("several-patients", text)


def _names(headers: Files) -> dict[str, str]:
    """Family and given name by path; of names under one id that begin alike, the shortest."""
    known = {(one.patient, one.family_given) for one in headers.values()}
    return {
        path: next((start for start in one.beginnings if (one.patient, start) in known), one.family_given)
        for path, one in headers.items()
    }


def _patients(headers: Files, called: Mapping[str, str]) -> dict[tuple[str, str], list[str]]:
    """By PatientID and, under one id, family and given name.

    A file without an id counts for the patient of its whole name, one without a name for the patient of its id,
    one that has neither for none.
    """
    names = {header.patient_name for header in headers.values() if header.patient}
    ids = {header.patient for header in headers.values() if header.patient_name}
    groups: dict[tuple[str, str], list[str]] = {}
    for path, header in sorted(headers.items()):
        known = header.patient in ids if header.patient else header.patient_name in names
        if header.patient and (header.patient_name or not known):
            groups.setdefault((header.patient, called[path]), []).append(path)
        elif header.patient_name and not known:
            groups.setdefault(("", header.patient_name), []).append(path)
    return groups


def _by_series(headers: Files, called: Mapping[str, str]) -> Iterable[dict[tuple[str, ...], list[str]]]:
    found: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for path, header in sorted(headers.items()):
        if header.series:
            who = header.patient, called[path], header.birth_date
            found.setdefault(header.series, {}).setdefault(who, []).append(path)
    return found.values()


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
