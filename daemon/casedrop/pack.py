"""The DICOM files of a series become one stored zip in the spool, each de-identified on the way.

Workers are processes of their own, started fresh: Python does one thing at a time in a process. They see
bytes only. What reads the share is the case's own thread, so that a share that hangs holds up no other drop's
workers.
"""

import errno
import hashlib
import io
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import warnings
import zipfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from casedrop.errors import CaseProblem, FolderChanged, Stopping, Waits
from casedrop.model import PlannedFile, Problem, Procedure, SourceFile
from casedrop.near import shown
from casedrop.reading import Check, Sums, looks, open_below, part_size
from casedrop.slices import Deidentified, Slice, stack

NAME = "spool"
"""In the state directory."""

MOST_WORKERS = 8
MOST_IN_HAND = 64 << 20
"""Bytes of sources in the workers' hands at once; one file larger than that goes alone."""

SPARE = 64 << 20
"""Bytes of the spool's disk that are left free."""

MORE = 4096
"""Bytes by which a file may grow: dummies, new UIDs, its entry in the zip."""

CHECK_SECONDS = 0.5
ROOM_SECONDS = 30.0
START_OF_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest a zip can say: the same files give the same bytes."""


@dataclass(frozen=True, slots=True)
class _InHand:
    source: SourceFile
    answer: Future[Deidentified | Problem]


class Packer:
    """Shared by all drops: the spool and the worker processes, which start when first needed."""

    def __init__(self, spool: Path, key: bytes, workers: int = 0) -> None:
        """`key` derives new UIDs; `workers` is one for each processor of ours unless given."""
        self._spool = spool
        self._key = key
        self._workers = workers or min(len(os.sched_getaffinity(0)), MOST_WORKERS)
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._closed = False
        self._seen: dict[Path, tuple[int, int, int]] = {}

    def pack(self, case_id: int, folder: str, file: PlannedFile, check: Check) -> PlannedFile:
        """Make the zip of `file.packed`, in that order; the file with its sums and its sources' sums.

        Raises FolderChanged where a source is not what it was, CaseProblem where one may not be sent, Waits
        where there is no room.
        """
        home = self._home(case_id)
        self._expect_room(file)
        hidden = home / f"making-{threading.get_ident()}"
        try:
            with _zip_file(hidden) as out:
                made = self._make(folder, file, out, check)
                os.fsync(out.fileno())
            hidden.replace(home / made.sha256)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise Waits(_no_room(self._spool), ROOM_SECONDS) from None
        finally:
            hidden.unlink(missing_ok=True)
        self._seen[home / made.sha256] = _stamp(home / made.sha256)
        return made

    def open(self, case_id: int, file: PlannedFile) -> io.FileIO:
        """The zip, as it is sent."""
        return io.FileIO(self._path(case_id, file))

    def has(self, case_id: int, file: PlannedFile) -> bool:
        """Whether the zip is in the spool, whole: its sum is taken once in a service's life."""
        path = self._path(case_id, file)
        with suppress(OSError):
            stamp = _stamp(path)
            if self._seen.get(path) == stamp:
                return True
            with path.open("rb") as zipped:
                if hashlib.file_digest(zipped, "sha256").hexdigest() == file.sha256:
                    self._seen[path] = stamp
                    return True
        return False

    def free(self, case_id: int) -> None:
        """Remove what a case has in the spool."""
        home = self._spool / str(case_id)
        self._seen = {path: stamp for path, stamp in self._seen.items() if path.parent != home}
        shutil.rmtree(home, ignore_errors=True)

    def clear(self, keep: set[int]) -> None:
        """Remove what belongs to no case of these."""
        with suppress(FileNotFoundError):
            for found in self._spool.iterdir():
                if found.name not in {str(case_id) for case_id in keep}:
                    shutil.rmtree(found, ignore_errors=True)

    def close(self) -> None:
        """Give up what is under way; the workers end on their own."""
        with self._lock:
            self._closed = True
            if self._pool:
                self._pool.shutdown(wait=False, cancel_futures=True)

    def _make(self, folder: str, file: PlannedFile, out: IO[bytes], check: Check) -> PlannedFile:
        through = _Summed(out, Sums(part_size(_at_most(file))))
        read: list[SourceFile] = []
        slices: list[Slice] = []
        taken: set[str] = set()
        method = ""
        with zipfile.ZipFile(through, "w", zipfile.ZIP_STORED) as zipped:
            for source, answer in self._answers(folder, file, check):
                if isinstance(answer, Problem):
                    raise CaseProblem(named(answer, source))
                read.append(source)
                zipped.writestr(_entry(len(read)), answer.data)
                through.settle()
                slices.append(answer.shape)
                taken.update(answer.taken)
                method = answer.method
        through.settle()
        return replace(
            file,
            size=through.base,
            sha256=through.sums.sha256,
            part_size=through.sums.part_size,
            md5s=through.sums.md5s,
            geometry=stack(slices),
            packed=tuple(read),
            method=method,
            taken=tuple(sorted(taken)),
        )

    def _answers(
        self, folder: str, file: PlannedFile, check: Check
    ) -> Iterator[tuple[SourceFile, Deidentified | Problem]]:
        """In the order of the sources, with no more of them in hand than memory is meant for."""
        procedure, alone = file.procedure or Procedure(), len(file.packed) == 1
        waiting: deque[_InHand] = deque()
        try:
            for source in file.packed:
                while waiting and self._full(waiting, source):
                    yield _taken(waiting, check)
                check()
                known, data = _read(folder, source)
                waiting.append(_InHand(known, self._submit(data, procedure, alone=alone)))
            while waiting:
                yield _taken(waiting, check)
        except BrokenProcessPool:
            self._forget_pool()
            raise Waits(
                "A process that de-identifies was ended from outside (was there too little memory?); it is tried "
                "again.",
                ROOM_SECONDS,
            ) from None
        finally:
            for one in waiting:
                one.answer.cancel()

    def _full(self, waiting: deque[_InHand], source: SourceFile) -> bool:
        size = sum(one.source.size for one in waiting) + source.size
        return len(waiting) > 2 * self._workers or size > MOST_IN_HAND

    def _submit(self, data: bytes, procedure: Procedure, *, alone: bool) -> Future[Deidentified | Problem]:
        with self._lock:
            if self._closed:
                raise Stopping("The service is stopping.")
            if self._pool is None:
                spawn = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(self._workers, spawn, _begin)
            return self._pool.submit(_work, data, procedure, self._key, alone=alone)

    def _forget_pool(self) -> None:
        with self._lock:
            self._pool = None

    def _home(self, case_id: int) -> Path:
        home = self._spool / str(case_id)
        self._spool.mkdir(mode=0o700, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
        return home

    def _path(self, case_id: int, file: PlannedFile) -> Path:
        return self._spool / str(case_id) / file.sha256

    def _expect_room(self, file: PlannedFile) -> None:
        if shutil.disk_usage(self._spool).free < _at_most(file) + SPARE:
            raise Waits(_no_room(self._spool, _at_most(file)), ROOM_SECONDS)


class _Summed:
    """What a zip is written through: summed and passed on once an entry is whole.

    The zip's writer goes back within an entry to fill in its checksum, never before it.
    """

    def __init__(self, out: IO[bytes], sums: Sums) -> None:
        self.base = 0
        self.sums = sums
        self._out = out
        self._entry = io.BytesIO()

    def write(self, data: bytes) -> int:
        return self._entry.write(data)

    def tell(self) -> int:
        return self.base + self._entry.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        assert whence == os.SEEK_SET
        return self.base + self._entry.seek(offset - self.base)

    def seekable(self) -> bool:
        return True

    def flush(self) -> None:
        """Nothing is passed on before it is whole."""

    def close(self) -> None:
        """What it is written to is closed by whoever opened it."""

    def settle(self) -> None:
        """Pass on what is there: an entry, or the zip's end."""
        whole = self._entry.getbuffer()
        self.sums.add(whole)
        self._out.write(whole)
        self.base += len(whole)
        whole.release()
        self._entry = io.BytesIO()


def _read(folder: str, source: SourceFile) -> tuple[SourceFile, bytes]:
    """A source's bytes, read once, with their sum. Raises FolderChanged."""
    settled = (source.size, source.mtime_ns, source.ctime_ns)
    with open_below(folder, source.path) as opened:
        if looks(opened) != settled:
            raise FolderChanged("A file was changed after it had settled.")
        data = opened.readall() or b""
        if looks(opened) != settled:
            raise FolderChanged("A file was changed while it was being read.")
    sha256 = hashlib.sha256(data).hexdigest()
    if source.sha256 not in ("", sha256):
        raise FolderChanged("A file has other contents than when it settled.")
    return replace(source, sha256=sha256), data


def _taken(waiting: deque[_InHand], check: Check) -> tuple[SourceFile, Deidentified | Problem]:
    while True:
        check()
        with suppress(NotYet):
            answer = waiting[0].answer.result(CHECK_SECONDS)
            return waiting.popleft().source, answer


def _begin() -> None:
    """In a new worker: outlives no parent, is stopped by nobody else, and says nothing of what it reads."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore")  # pydicom's quote values
    logging.disable()
    from pydicom import config  # noqa: PLC0415

    config.settings.reading_validation_mode = config.IGNORE
    config.settings.writing_validation_mode = config.IGNORE


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(data: bytes, procedure: Procedure, key: bytes, *, alone: bool) -> Deidentified | Problem:
    from casedrop.deidentify import deidentify  # noqa: PLC0415  heavy, and only for workers

    return deidentify(data, procedure, key, alone=alone)


def named(problem: Problem, source: SourceFile) -> Problem:
    """What deidentify says, saying of which file."""
    article = "The" if problem.text.startswith("{files}") else "the"
    files = f"{article} DICOM files of this series"
    return replace(problem, text=problem.text.format(file=shown(source.path), files=files))


def _entry(number: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(f"{number:05}.dcm", START_OF_TIME)
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    return entry


def _at_most(file: PlannedFile) -> int:
    return sum(source.size + MORE for source in file.packed)


def _no_room(spool: Path, need: int = 0) -> str:
    much = f" of {need / 1e9:.1f} GB" if need else ""
    return f"Waits for room{much} in {spool}, where series are packed before they are sent. Make room there."


def _zip_file(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb")


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino
