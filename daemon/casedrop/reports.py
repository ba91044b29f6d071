"""What `casedrop plan` prints. Pure."""

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from casedrop.dicom_model import TAKEN, SeriesLine
from casedrop.model import Drop, EntryKind, Grouping, Listing, Plan, PlannedSocket, Weight
from casedrop.near import shown

HEADINGS = {Weight.WRONG: "Wrong", Weight.LACKING: "Lacking", Weight.NOTE: "Notes"}


Patients = Mapping[str, tuple[str, str]]
"""PatientName and PatientID of a series by its first file; empty unless they were asked for."""


def plan_text(listing: Listing, grouping: Grouping, drop: Drop, patients: Patients | None = None) -> str:
    """Each series and file with the socket that takes it, the display set or why there is none; 80 columns."""
    lines = [paragraph(f'Folder "{shown(listing.folder)}" by the rules of drop "{drop.name}"'), "", "Files"]
    series = grouping.in_series
    files = [
        one.path for one in listing.entries if one.kind is not EntryKind.FOLDER and one.path not in series
    ]
    for path in files:
        sockets = " and ".join(grouping.claims.get(path, ())) or "no rule takes it"
        fate = "left out: no image" if path in grouping.no_images else sockets
        lines += _wrapped(f"{shown(path)} -> {fate}")
    if not files:
        lines.append("  none besides DICOM series" if grouping.series else "  none")
    if grouping.series:
        lines += ["", "DICOM series"]
    for one in grouping.series:
        lines += _wrapped(f"{_series_words(one)} -> {_fate(one)}")
        if patients and one.first in patients:
            lines += _wrapped(f"  patient: {', '.join(map(shown, patients[one.first]))}")
    for weight, heading in HEADINGS.items():
        problems = [problem.text for problem in grouping.problems if problem.weight is weight]
        if problems:
            lines += ["", heading]
            for text in problems:
                lines += _wrapped(f"- {text}")
    for plan in plans(grouping):
        order = f" (order {plan.order})" if plan.order else ""
        kind = "Archive item" if drop.archive else "Display set"
        part = f' of "{shown(plan.part)}"' if plan.part else ""
        lines += ["", paragraph(f'{kind} "{plan.title}"{order}{part} in {drop.goes_to}')]
        for socket in plan.sockets:
            lines += _wrapped(f"{socket.socket} ({socket.super_kind}) = {_value(socket)}")
    if grouping.plan is None:
        lines += ["", "No display set would be made of it as it is."]
    return "\n".join(lines)


def plans(grouping: Grouping) -> tuple[Plan, ...]:
    """One for each display set; none where anything is lacking or wrong."""
    if grouping.plan is None:
        return ()
    return grouping.plan.parts or (grouping.plan,)


def _series_words(series: SeriesLine) -> str:
    """``3 "Thorax 1.0" (CT, 240 slices of 512 x 512, 126.0 MB, 240 files in scans)``."""
    called = "" if series.number is None else f"{series.number} "
    size = f" of {series.size[1]} x {series.size[0]}" if series.size else ""
    slices = f"{series.slices} slice{'' if series.slices == 1 else 's'}{size}"
    many = f"{series.files} file{'' if series.files == 1 else 's'}"
    where = f"{many} in {shown(series.folder)}" if series.folder else many
    facts = (shown(series.modality) or "no modality", slices, f"{series.bytes / 1e6:.1f} MB", where)
    return f'{called}"{shown(series.description)}" ({", ".join(facts)})'


def _fate(series: SeriesLine) -> str:
    return " and ".join(series.sockets) if series.fate == TAKEN else series.fate


def _series_json(series: SeriesLine, patients: Patients) -> dict[str, Any]:
    said: dict[str, Any] = {
        "number": series.number,
        "description": series.description,
        "modality": series.modality,
        "slices": series.slices,
        "rows_columns": series.size,
        "files": series.files,
        "bytes": series.bytes,
        "folder": shown(series.folder),
        "fate": series.fate,
        "sockets": list(series.sockets),
    }
    if series.first in patients:
        said["patient_name"], said["patient_id"] = patients[series.first]
    return said


def plan_json(
    listing: Listing, grouping: Grouping, drop: Drop, patients: Patients | None = None
) -> dict[str, Any]:
    """folder, drop, files ({path: [sockets]}), series, problems ([{word, weight, text}]), display_sets.

    `files` are those of no series. A series has number, description, modality, slices, rows_columns, files
    (how many), bytes, folder, fate, sockets, and patient_name and patient_id where they were asked for.
    A display set has part ("" of a whole folder), title, order (null: the last), reader_study (or archive) and
    sockets ([{socket, super_kind, source, value or files}]); there is none where a problem is lacking or wrong.
    """
    in_series = grouping.in_series
    return {
        "folder": shown(listing.folder),
        "drop": drop.name,
        "files": {
            shown(path): list(sockets) for path, sockets in grouping.claims.items() if path not in in_series
        },
        "series": [_series_json(series, patients or {}) for series in grouping.series],
        "problems": [
            {"word": one.word, "weight": str(one.weight), "text": one.text} for one in grouping.problems
        ],
        "display_sets": [
            {
                "part": plan.part,
                "title": plan.title,
                "order": plan.order or None,
                "archive" if drop.archive else "reader_study": drop.archive or drop.reader_study,
                "sockets": [_socket(socket) for socket in plan.sockets],
            }
            for plan in plans(grouping)
        ],
    }


def _socket(socket: PlannedSocket) -> dict[str, Any]:
    said: dict[str, Any] = {
        "socket": socket.socket,
        "super_kind": socket.super_kind,
        "source": socket.source,
    }
    if socket.super_kind == "Value":
        return said | {"value": socket.value}
    return said | {
        "files": [shown(source.path) for file in socket.files for source in file.packed or (file,)]
    }


def _value(socket: PlannedSocket) -> str:
    if socket.super_kind == "Value":
        return f"{json.dumps(socket.value, ensure_ascii=False)} (from {socket.source})"
    return socket.source


def paragraph(text: str) -> str:
    """At 80 columns."""
    return textwrap.fill(text, 80, break_on_hyphens=False, break_long_words=False)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        80,
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def procedure_words(drop: Drop) -> str:
    """How a drop's DICOM is de-identified, "" where no rule asks for any."""
    if not any(rule.dicom is not None for rule in drop.sockets):
        return ""
    said = {
        "grand-challenge": "by Grand Challenge's own procedure (CT, MR and whole-slide images)",
        "dicom-standard": "by the profile of the DICOM standard (PS3.15, Annex E)",
        "already-done": "before it comes here; what is not is refused",
    }.get(drop.procedure.name)
    return f'Drop "{drop.name}": DICOM is de-identified {said}.' if said else ""


def identifiable_words(drop: Drop) -> str:
    """Said at each start of a service whose drop sends DICOM as it is, "" of any other drop."""
    if drop.procedure.name != "send-identifiable":
        return ""
    return (
        f'ATTENTION: drop "{drop.name}" sends DICOM with the names and numbers of patients '
        '(deidentify = "send-identifiable").'
    )
