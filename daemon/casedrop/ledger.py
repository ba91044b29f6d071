"""What left the building: a file to which records are only ever added, chained by their hashes.

Two records for each attempt at a case: `began` is on disk before the first byte of it leaves, `ended` tells
what became of it. The journal notes the last record, and which attempt of a case is open, in one
transaction after each; what a crash left unnoted is found behind the noted one. A line that a crash or a
full disk cut short stays as it is, and the next record tells of it.
"""

import hashlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from casedrop.chain import Head, lines, sealed, text, unread
from casedrop.errors import Waits
from casedrop.model import DEIDENTIFYING, Case, Json, PlannedFile, PlannedSocket

NAME = "ledger.jsonl"
"""In the state directory."""

UNWRITABLE_SECONDS = 10.0
"""Until we try again to write it."""

DEIDENTIFIERS = ("casedrop", "dicom-anonymizer", "grand-challenge-dicom-de-identifier", "pydicom")
"""The packages whose versions decide what de-identifying does."""

Hide = Callable[[str], str]
"""A name as it stands in the ledger: itself, or a code of it. The code of "" tells codes of two keys apart."""


class Notes(Protocol):
    """What the journal remembers of the ledger: its last record, and by case the attempt that is open."""

    @property
    def id(self) -> str: ...
    def ledger_head(self) -> str: ...
    def open_attempt(self, case_id: int) -> str: ...
    def note_ledger(self, head: str, attempts: Mapping[int, str]) -> None: ...


class Ledger:
    """One writer at a time. Every method raises Waits where the file cannot be read or written."""

    def __init__(self, path: Path, notes: Notes, hide: Hide) -> None:
        self._path = path
        self._notes = notes
        self._hide = hide
        self._lock = threading.Lock()

    def began(self, case: Case, drop: str, sockets: Iterable[PlannedSocket]) -> None:
        """Put down what is about to be sent, unless an attempt that names all of it is open."""
        record = began(case, drop, sockets, self._hide) | {"journal": self._notes.id}
        with self._opened() as file:
            attempt = self._attempt(case)
            if attempt and _contents(record).items() <= attempt["contents"].items():
                return
            if attempt:
                self._end(file, case, attempt, "not known")
            self._append(file, record)

    def ended(self, case: Case, fate: str) -> None:
        """Put down what became of the case's open attempt, if it has one."""
        with self._opened() as file:
            if attempt := self._attempt(case):
                self._end(file, case, attempt, fate)

    def _end(self, file: io.FileIO, case: Case, attempt: Json, fate: str) -> None:
        record = ended(case, fate) | {"attempt": attempt["seq"], "journal": self._notes.id}
        self._append(file, record)

    def _attempt(self, case: Case) -> Json:
        return json.loads(self._notes.open_attempt(case.id) or "null")

    @contextmanager
    def _opened(self) -> Iterator[io.FileIO]:
        try:
            with self._lock, _open(self._path) as file:
                self._catch_up(file)
                yield file
        except OSError as error:
            raise Waits(
                f"The ledger of what was sent ({self._path}) cannot be written ({os.strerror(error.errno or 0)}), "
                "so nothing is sent. It goes on by itself once it can be.",
                UNWRITABLE_SECONDS,
                person=True,
            ) from None

    def _catch_up(self, file: io.FileIO) -> None:
        """Note what stands behind the noted record; tell of a torn line, and of an end that is missing."""
        _end_line(file)
        known = self._known()
        last, attempts = self._behind(known)
        if last is None:
            self._tell_lost(file, known)
            return
        if last != known:
            os.fsync(file.fileno())
            self._note(last, attempts)
        if junk := _rest(file, last.end):
            self._append(file, {"event": "torn"} | unread(junk))

    def _tell_lost(self, file: io.FileIO, known: Head) -> None:
        """One record for all that is wrong: the journal forgets `known` as soon as it stands."""
        last = self._behind(Head())[0] or Head()
        record = {"event": "lost", "known_seq": known.seq, "known_hash": known.hash}
        record |= unread(_rest(file, last.end))
        self._append(file, record, Head(max(known.seq, last.seq), last.hash))

    def _behind(self, known: Head) -> tuple[Head | None, dict[int, str]]:
        """The last record and what the records behind `known` open and end; None where `known` is not there."""
        last, attempts = None if known.seq else known, dict[int, str]()
        with self._path.open("rb") as file:
            file.seek(known.start)
            for line in lines(file, known.start):
                if last is None:
                    if line.head != known:
                        break
                    last = known
                elif line.record:
                    last = line.head
                    attempts |= self._changes(line.record)
        return last, attempts

    def _append(self, file: io.FileIO, record: Json, last: Head | None = None) -> None:
        last = last or self._known()
        whole = sealed(record | {"time": _now()}, last.seq + 1, last.hash)
        start = file.seek(0, os.SEEK_END)
        _write(file, text(whole) + b"\n")
        os.fsync(file.fileno())
        self._note(Head(whole["seq"], whole["hash"], start, file.tell()), self._changes(whole))

    def _changes(self, record: Json) -> dict[int, str]:
        """By case, the attempt that a record of our own journal opens, "" where it ends one."""
        if record.get("journal") != self._notes.id:
            return {}
        if record["event"] == "ended":
            return {record["case"]: ""}
        return {record["case"]: json.dumps({"seq": record["seq"], "contents": _contents(record)})}

    def _known(self) -> Head:
        return head(self._notes.ledger_head())

    def _note(self, last: Head, attempts: Mapping[int, str]) -> None:
        self._notes.note_ledger(json.dumps(astuple(last)), attempts)


def head(noted: str) -> Head:
    """The last record as the journal noted it, "" for none."""
    return Head(*json.loads(noted)) if noted else Head()


def began(case: Case, drop: str, sockets: Iterable[PlannedSocket], hide: Hide) -> Json:
    """What is about to be sent of a case: where to, and of each socket its files or the hash of its value."""
    plan, sockets = case.settled, list(sockets)
    return {
        "event": "began",
        "case": case.id,
        "platform": urlsplit(case.platform).netloc,
        "study": f"archive {case.study_slug}" if case.archive else case.study_slug,
        "display_set": case.reached,
        "drop": drop,
        "versions": _versions() if any(_is_deidentified(one) for one in sockets) else {},
        "hidden_by": hide(""),
        "folder": hide(case.name),
        **({"part": hide(case.part)} if case.part else {}),
        "title": hide(plan.title),
        "sockets": [_socket(case, socket, hide) for socket in sockets],
    }


def ended(case: Case, fate: str) -> Json:
    """How an attempt ended.

    `fate` is confirmed, accepted (a DICOM image set can never be confirmed), failed, given back, display
    set deleted, or not known.
    """
    return {
        "event": "ended",
        "case": case.id,
        "fate": fate,
        "why": [problem.word for problem in case.causes] if fate == "failed" else [],
        "display_set": case.reached,
        "holds": sorted(name for name, value in case.held.items() if value.pk),
    }


def _socket(case: Case, socket: PlannedSocket, hide: Hide) -> Json:
    return {
        "socket": socket.socket,
        "kind": socket.super_kind,
        "contents": hashlib.sha256(socket.fingerprint.encode()).hexdigest(),
        "files": [_file(case, file, hide) for file in socket.files],
    }


def _file(case: Case, file: PlannedFile, hide: Hide) -> Json:
    """`sha256` and `bytes` of what is sent; `begun_before`: an upload of it was begun in an earlier attempt."""
    ref = case.uploads.get(file.path)
    return {
        "path": hide(file.path),
        "sent_as": file.upload_name,
        "bytes": file.sent_size,
        "sha256": file.sha256,
        "sources": _sources(file, hide),
        "procedure": _procedure(file),
        "taken": list(file.taken),
        "begun_before": ref is not None and ref.sha256 == file.sha256,
    }


def _is_deidentified(socket: PlannedSocket) -> bool:
    """Whether it is we who do that."""
    return any(file.procedure and file.procedure.name in DEIDENTIFYING for file in socket.files)


def _procedure(file: PlannedFile) -> Json:
    """How its DICOM was de-identified, None where it holds none."""
    return asdict(file.procedure) if file.procedure else None


@cache
def _versions() -> dict[str, str]:
    found = {}
    for name in DEIDENTIFIERS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _sources(file: PlannedFile, hide: Hide) -> list[Json]:
    """The files of the folder it was made of, each with the sum of its own bytes, "" where it was not taken."""
    if file.is_made:
        return []
    if file.packed:
        return [{"path": hide(one.path), "bytes": one.size, "sha256": one.sha256} for one in file.packed]
    return [{"path": hide(file.path), "bytes": file.size, "sha256": file.own_sha256}]


def _contents(record: Json) -> dict[str, str]:
    return {one["socket"]: one["contents"] for one in record["sockets"]}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def _open(path: Path) -> Iterator[io.FileIO]:
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        if not file.seek(0, os.SEEK_END):
            _fsync_directory(path.parent)
        yield file


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _end_line(file: io.FileIO) -> None:
    size = file.seek(0, os.SEEK_END)
    if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
        _write(file, b"\n")


def _rest(file: io.FileIO, start: int) -> bytes:
    file.seek(start)
    return file.read()


def _write(file: io.FileIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
