"""What `casedrop plan` prints. Pure."""

import json
import textwrap
from typing import Any

from casedrop.model import Drop, EntryKind, Grouping, Listing, PlannedSocket, Weight
from casedrop.near import shown

HEADINGS = {Weight.WRONG: "Wrong", Weight.LACKING: "Lacking", Weight.NOTE: "Notes"}


def plan_text(listing: Listing, grouping: Grouping, drop: Drop) -> str:
    """Each file with the socket that takes it, the display set or why there is none; 80 columns."""
    lines = [f'Folder "{shown(listing.folder)}" by the rules of drop "{drop.name}"', "", "Files"]
    files = [entry for entry in listing.entries if entry.kind is not EntryKind.FOLDER]
    for entry in files:
        sockets = " and ".join(grouping.claims.get(entry.path, ()))
        lines += _wrapped(f"{shown(entry.path)} -> {sockets or 'no rule takes it'}")
    if not files:
        lines.append("  none")
    for weight, heading in HEADINGS.items():
        problems = [problem.text for problem in grouping.problems if problem.weight is weight]
        if problems:
            lines += ["", heading]
            for text in problems:
                lines += _wrapped(f"- {text}")
    if grouping.plan:
        lines += ["", f'Display set "{grouping.plan.title}" in reader study {drop.reader_study}']
        for socket in grouping.plan.sockets:
            lines += _wrapped(f"{socket.socket} ({socket.super_kind}) = {_value(socket)}")
    else:
        lines += ["", "No display set would be made of it as it is."]
    return "\n".join(lines)


def plan_json(listing: Listing, grouping: Grouping, drop: Drop) -> dict[str, Any]:
    """folder, drop, files ({path: [sockets]}), problems ([{word, weight, text}]), display_set or null.

    display_set has title, reader_study and sockets ([{socket, super_kind, source, value or files}]).
    """
    plan = grouping.plan
    return {
        "folder": shown(listing.folder),
        "drop": drop.name,
        "files": {shown(path): list(sockets) for path, sockets in grouping.claims.items()},
        "problems": [
            {"word": one.word, "weight": str(one.weight), "text": one.text} for one in grouping.problems
        ],
        "display_set": None
        if plan is None
        else {
            "title": plan.title,
            "reader_study": drop.reader_study,
            "sockets": [_socket(socket) for socket in plan.sockets],
        },
    }


def _socket(socket: PlannedSocket) -> dict[str, Any]:
    said: dict[str, Any] = {
        "socket": socket.socket,
        "super_kind": socket.super_kind,
        "source": socket.source,
    }
    if socket.super_kind == "Value":
        return said | {"value": socket.value}
    return said | {"files": [shown(file.path) for file in socket.files]}


def _value(socket: PlannedSocket) -> str:
    if socket.super_kind == "Value":
        return f"{json.dumps(socket.value, ensure_ascii=False)} (from {socket.source})"
    return socket.source


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 80, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
