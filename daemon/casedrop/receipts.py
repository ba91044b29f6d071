"""The texts beside a filed folder: receipts, reasons and late notes."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from casedrop.catalogue import CATALOGUE, PAGE
from casedrop.model import Case, PlannedFile, PlannedSocket, Problem
from casedrop.near import shown
from casedrop.stages import Stage

VERSION = 1
"""Of what docs/receipt.schema.json says; it goes up when something there changes its meaning or goes away."""

COLUMNS = 90
"""What Notepad shows of a line."""


def text(case: Case, parts: Sequence[Case], now: float, contact: str = "") -> str:
    """The receipt of a case that goes to done/, the reason of one that goes to failed/.

    `parts` are the cases of a split folder's display sets, () of a folder that is one. The same arguments give the
    same text.
    """
    return receipt(case, parts, now) if case.target == "done" else reason(case, parts, now, contact)


def receipt(case: Case, parts: Sequence[Case], now: float) -> str:
    """JSON by docs/receipt.schema.json: what was confirmed when (UTC) and where, and what was left out.

    A split folder has display_sets, each with its part, where another has what _display_set says.
    """
    plan = case.settled
    there = [one for one in parts if one.round == case.round]
    record = {
        "version": VERSION,
        "folder": case.name,
        "archive" if case.archive else "reader_study": case.study_slug,
        "page": case.study,
        "confirmed": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        "left_out": [*plan.left_out, *(path for part in plan.parts for path in part.left_out)],
    } | ({"rules": plan.rules} if plan.rules else {})
    if plan.parts:
        record["display_sets"] = [{"part": one.part} | _display_set(one) for one in there]
    else:
        record |= _display_set(case)
    return json.dumps(record, indent=2) + "\n"


def _display_set(case: Case) -> dict[str, object]:
    """Title, order, display_set (Case.address), sockets, not_confirmed, already_uploaded and amended.

    `order` is there where one was asked for and this folder gave it.
    `not_confirmed` are sockets of which Grand Challenge does not tell what became (DICOM image sets).
    `already_uploaded` tells that nothing was sent: an earlier folder is this very display set; `amended` are
    the sockets that were added or replaced in one that was finished before. A socket has name, source, and
    value or files (path, bytes, sha256 of what was sent). A packed series also has deidentify, method, taken
    (attributes that went and say something of the image), number, and packed: its files as they were in the
    folder.
    """
    place = {} if case.twin_of or not case.settled.order else {"order": case.settled.order}
    return {
        "title": case.settled.title,
        **place,
        "display_set": case.address,
        "sockets": [_socket(socket) for socket in case.settled.sockets],
        "not_confirmed": sorted(name for name, value in case.held.items() if not value.pk),
        "already_uploaded": bool(case.twin_of) and not case.added,
        "amended": list(case.added),
    }


def _socket(socket: PlannedSocket) -> dict[str, object]:
    said: dict[str, object] = {"socket": socket.socket, "source": socket.source}
    if socket.super_kind == "Value":
        return said | {"value": socket.value}
    if socket.image_of:
        return said | {"image_of": socket.image_of}
    files = [_file(file) for file in socket.files]
    shape = socket.files[0].geometry
    if socket.super_kind == "Image":
        said["compared"] = asdict(shape) if shape else _not_compared(socket.files[0])
    return said | {"files": files}


def _not_compared(file: PlannedFile) -> str:
    why = (
        "the headers of this series do not give them simply"
        if file.is_series
        else "they are not read of this format"
    )
    return f"only that an image arrived, not its size and spacing: {why}"


def _file(file: PlannedFile) -> dict[str, object]:
    path = file.path.rstrip("/")
    said: dict[str, object] = {"path": path, "bytes": file.sent_size, "sha256": file.sha256}
    if not file.packed:
        return said | {"sent_without": list(file.stripped)} if file.stripped else said
    packed = [{"path": one.path, "bytes": one.size, "sha256": one.sha256} for one in file.packed]
    if file.is_series:
        name = file.procedure.name if file.procedure else ""
        said |= {"deidentify": name, "method": file.method, "taken": list(file.taken)}
    return said | {"number": len(packed), "packed": packed}


def reason(case: Case, parts: Sequence[Case], now: float, contact: str = "") -> str:
    """Plain words with Windows line ends: what happened, who acts, what is on the platform, how to go on."""
    there = [one for one in parts if one.round == case.round] if case.plan and case.plan.parts else []
    when = datetime.fromtimestamp(now).astimezone().strftime("%d %B %Y, %H:%M")
    noted = [problem for problem in case.problems if problem not in case.causes]
    also = f"Also noted\n\n{_listed(noted)}\n\n" if noted else ""
    asked = f"Questions: {contact}\n\n" if contact else ""
    words = ", ".join(case.reasons)
    lines = (
        f'The folder "{shown(case.name)}" was not accepted ({when}).\n\n'
        f"What happened\n\n{_explained(case.causes)}\n\n{also}"
        f"What is on Grand Challenge now\n\n{_table(there) if there else _on_platform(case)}\n\n"
        "How to go on\n\nNothing of your data was changed or deleted. Once it is put right, move the folder back "
        f"into drop/. Casedrop sends only what is missing.\n\n{asked}"
        f"More about it: {PAGE} of Casedrop, under {words}\n"
        f"(For the administrator's `casedrop retry --reason`: {words})\n"
    )
    return for_notepad(lines)


def _explained(causes: Sequence[Problem]) -> str:
    """Each word once, with all that was found of it."""
    found: dict[str, list[Problem]] = {}
    for problem in causes:
        found.setdefault(problem.word, []).append(problem)
    return "\n\n".join(_one(word, problems) for word, problems in found.items())


def _one(word: str, problems: Iterable[Problem]) -> str:
    """The journal may hold a word of an earlier release that nothing says any more."""
    known = CATALOGUE.get(word)
    if known is None:
        return _listed(problems)
    return f"{known.heading}\n{_listed(problems)}\nWho acts: {known.acts}\nWhat to do: {known.cure}"


def _listed(problems: Iterable[Problem]) -> str:
    return "\n".join(f"- {problem.text}" for problem in problems)


def late_text(case: Case) -> str:
    lines = (
        f'Something in the folder "{shown(case.name)}" changed or arrived after it had been filed away. '
        "It was not sent.\n\n"
        "To send it, make a new case of it, or ask the data manager.\n"
    )
    return for_notepad(lines)


def _table(parts: Sequence[Case]) -> str:
    """Which display sets of a split folder are whole."""
    return "\n\n".join(f'- "{shown(one.part)}": {_state(one)}' for one in parts)


def _state(part: Case) -> str:
    if part.stage is Stage.DONE:
        return f"complete, the {part.item}. It is not sent again."
    return f"not complete. {_on_platform(part)}"


def _on_platform(case: Case) -> str:
    if not case.set_pk:
        return "Nothing."
    if not case.committed:
        return f"An empty {case.kind} ({case.one_time_title}). It is used for this folder when it is tried again."
    if case.left_as_it_was:
        return f"The {case.item} is as it was; nothing of this folder was sent."
    known = sorted(name for name, value in case.held.items() if value.pk)
    held = f"Confirmed in it: {', '.join(known)}" if known else "Nothing in it is confirmed"
    return (
        f"The {case.item} exists and readers can see it. {held}. It may be incomplete until this "
        "folder is tried again."
    )


def for_notepad(text: str) -> str:
    """Wrapped, with Windows line ends."""
    return "\r\n".join("\r\n".join(_wrapped(line)) for line in text.split("\n"))


def _wrapped(line: str) -> list[str]:
    indent = "  " if line.startswith(("- ", "  ")) else ""
    return textwrap.wrap(
        line, COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
