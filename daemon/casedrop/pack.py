"""The files of a DICOM series become one stored zip in the spool, each de-identified on the way.

Those of a slide do as they are.

Workers are processes of their own, started fresh: Python does one thing at a time in a process. They see
bytes only. What reads the share is the case's own thread, so that a share that hangs holds up no other drop's
workers.
"""

import errno
import hashlib
import io
import mmap
import os
import shutil
import threading
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, cast

from casedrop.allowance import CHECK_SECONDS, Allowance
from casedrop.compound import name_inside
from casedrop.errors import CasedropError, CaseProblem, FolderChanged, Stopping, Waits
from casedrop.model import PlannedFile, Problem, Procedure, SourceFile
from casedrop.near import shown
from casedrop.reading import Check, looks, open_below, part_size
from casedrop.slices import Deidentified, Slice, stack
from casedrop.strip import ROOM_SECONDS, SPARE
from casedrop.summed import Straight, Summed, adder, entry_of
from casedrop.sums import CHUNK
from casedrop.workers import (
    NoWorker,
    Task,
    Work,
    WorkerEnded,
    Workers,
    deidentified,
    largest_file,
    new_sheet,
    put,
)

NAME = "spool"
"""In the state directory."""

MOST_WORKERS = 8
MOST_AHEAD = 32 << 20
"""Bytes of a case's files that are read and not yet packed."""

LARGE = 16 << 20
MOST_LARGE = 256 << 20
"""Bytes of larger files in hand at once, of all cases; a file of more goes alone.

They are counted from before they are read. Smaller ones are not, so that a share that hangs holds up no other
drop's: their number is bounded by the workers, and by MOST_AHEAD for each case.
"""

MOST_ENDS = 3
"""Workers that may end with a file in hand, before it is the file that is to blame."""

MORE = 4096
"""Bytes by which a file may grow: dummies, new UIDs, its entry in the zip."""

NO_MEMORY = "There was too little memory to de-identify a series; it is tried again."
ENDED = (
    "A process that de-identifies was ended or did not come to an end (is there too little memory?); it is tried "
    "again."
)
NO_WORKER = "The processes that de-identify do not start (is there too little memory?); it is tried again."
ENDS_WORKERS = Problem(
    "not-deidentified",
    f"{{file}} ended the process that de-identifies it {MOST_ENDS} times (it crashed, took too much memory, or "
    "did not come to an end), so nothing of it is sent. Check that it opens in a viewer, and export it anew.",
)


@dataclass(frozen=True, slots=True)
class _InHand:
    source: SourceFile
    sheet: io.FileIO
    answer: Future[Deidentified | Problem]


class Packer:
    """Shared by all drops: the spool and the worker processes, which start when first needed."""

    def __init__(self, spool: Path, key: bytes, workers: int = 0, work: Work = deidentified) -> None:
        """`key` derives new UIDs; `workers` is one for each processor of ours unless given."""
        self._spool = spool
        self._key = key
        self._most_workers = workers or min(len(os.sched_getaffinity(0)), MOST_WORKERS)
        self._workers = Workers(self._most_workers, work)
        self._largest = largest_file()
        self._large = Allowance(min(MOST_LARGE, self._largest))
        self._lock = threading.Lock()
        self._seen: dict[Path, tuple[int, int, int]] = {}
        self._promised: dict[Path, int] = {}
        self._ends: dict[int, Counter[str]] = {}

    def pack(self, case_id: int, folder: str, file: PlannedFile, check: Check) -> PlannedFile:
        """Make the zip of `file.packed`, in that order; the file with its sums and its sources' sums.

        Raises FolderChanged where a source is not what it was, CaseProblem where one may not be sent, Waits
        where there is no room or too little memory, Stopping once closed.
        """
        if file.is_series:
            self._refuse_larger(file)
        home = self._home(case_id)
        hidden = home / f"making-{threading.get_ident()}"
        try:
            with self._room(hidden, _at_most(file)) as written, _zip_file(hidden) as out:
                step = part_size(_at_most(file))
                if file.is_series:
                    made = self._make(case_id, folder, file, Summed(out, step, written), check)
                else:
                    made = _as_they_are(folder, file, Straight(out, step, written), check)
            hidden.replace(home / made.sha256)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Waits(_no_room(self._spool), ROOM_SECONDS) from None
            if error.errno == errno.ENOMEM:
                raise Waits(NO_MEMORY, ROOM_SECONDS) from None
            raise
        except MemoryError:
            raise Waits(NO_MEMORY, ROOM_SECONDS) from None
        finally:
            hidden.unlink(missing_ok=True)
        with self._lock:
            self._seen[home / made.sha256] = _stamp(home / made.sha256)
            self._ends.pop(case_id, None)
        return made

    def open(self, case_id: int, file: PlannedFile) -> io.FileIO:
        """The zip, as it is sent."""
        return io.FileIO(self._path(case_id, file))

    def has(self, case_id: int, file: PlannedFile) -> bool:
        """Whether the zip is in the spool, whole: its sum is taken once in a service's life, unless in doubt."""
        path = self._path(case_id, file)
        with suppress(OSError):
            stamp = _stamp(path)
            if self._seen.get(path) == stamp:
                return True
            with path.open("rb") as zipped:
                if hashlib.file_digest(zipped, "sha256").hexdigest() == file.sha256:
                    with self._lock:
                        self._seen[path] = stamp
                    return True
        return False

    def doubt(self, case_id: int) -> None:
        """Have the sums of a case's zips taken again: one may have gone bad on the disk since."""
        home = self._spool / str(case_id)
        with self._lock:
            self._seen = {path: stamp for path, stamp in self._seen.items() if path.parent != home}

    def free(self, case_id: int) -> None:
        """Remove what a case has in the spool."""
        self.doubt(case_id)
        with self._lock:
            self._ends.pop(case_id, None)
        shutil.rmtree(self._spool / str(case_id), ignore_errors=True)

    def clear(self, keep: Mapping[int, Collection[str]]) -> None:
        """Remove all but the zips of these sums (by case); for a start, when nothing is being packed."""
        for home in _inside(self._spool):
            needed = {str(case_id): sums for case_id, sums in keep.items()}.get(home.name, ())
            for found in _inside(home) if needed else (home,):
                if found.name not in needed:
                    _remove(found)

    def close(self) -> None:
        """Give up what is under way, and kill the workers."""
        self._workers.close()

    def _make(self, case_id: int, folder: str, file: PlannedFile, out: Summed, check: Check) -> PlannedFile:
        read: list[SourceFile] = []
        slices: list[Slice] = []
        taken: set[str] = set()
        method = ""
        answers = self._answers(case_id, folder, file, check)
        with adder(out, bare=file.bare) as add, closing(answers):
            for one, answer in answers:
                if isinstance(answer, Problem):
                    raise CaseProblem(named(answer, one.source))
                read.append(one.source)
                add(len(read), mmap.mmap(one.sheet.fileno(), 0, prot=mmap.PROT_READ))
                out.settle()
                slices.append(answer.shape)
                taken.update(answer.taken)
                method = answer.method
        out.settle()
        made = _made(file, out, read)
        return replace(made, geometry=stack(slices), method=method, taken=tuple(sorted(taken)))

    def _answers(
        self, case_id: int, folder: str, file: PlannedFile, check: Check
    ) -> Generator[tuple[_InHand, Deidentified | Problem], None, None]:
        """In the order of the sources, with no more of them in hand than memory is meant for."""
        task = Task(file.procedure or Procedure(), self._key, alone=len(file.packed) == 1 and not file.bare)
        waiting: deque[_InHand] = deque()
        try:
            for source in file.packed:
                while not self._may_begin(waiting, source, check):
                    yield waiting[0], self._answer(case_id, waiting[0], check)
                    self._dropped(waiting.popleft())
                waiting.append(self._begun(folder, source, task, check))
            while waiting:
                yield waiting[0], self._answer(case_id, waiting[0], check)
                self._dropped(waiting.popleft())
        finally:
            for one in waiting:
                self._dropped(one)

    def _may_begin(self, waiting: deque[_InHand], source: SourceFile, check: Check) -> bool:
        """Counts the file as in hand if so. Only a case with nothing in hand waits for others to give back."""
        if not waiting:
            self._large.take(_counted(source), check)
            return True
        ahead = sum(one.source.size for one in waiting) + source.size
        full = len(waiting) > 2 * self._most_workers or ahead > MOST_AHEAD
        return not full and self._large.take_now(_counted(source))

    def _begun(self, folder: str, source: SourceFile, task: Task, check: Check) -> _InHand:
        sheet = new_sheet()
        try:
            known = _read(folder, source, partial(put, sheet), check)
            return _InHand(known, sheet, self._workers.submit(sheet, task))
        except BaseException:
            sheet.close()
            self._large.give(_counted(source))
            raise

    def _answer(self, case_id: int, one: _InHand, check: Check) -> Deidentified | Problem:
        while True:
            check()
            try:
                return one.answer.result(CHECK_SECONDS)
            except NotYet:
                continue
            except CancelledError:
                raise Stopping("The service is stopping.") from None
            except NoWorker:
                raise Waits(NO_WORKER, ROOM_SECONDS) from None
            except WorkerEnded:
                raise self._ended(case_id, one.source) from None

    def _dropped(self, one: _InHand) -> None:
        """Given back once no worker has it any more."""

        def give_back(_: Future[Deidentified | Problem]) -> None:
            one.sheet.close()
            self._large.give(_counted(one.source))

        one.answer.cancel()
        one.answer.add_done_callback(give_back)

    def _ended(self, case_id: int, source: SourceFile) -> CasedropError:
        """Counted in memory: a service that was itself ended meanwhile says nothing of the file."""
        with self._lock:
            ends = self._ends.setdefault(case_id, Counter())
            ends[source.path] += 1
            again = ends[source.path] < MOST_ENDS
        return Waits(ENDED, ROOM_SECONDS) if again else CaseProblem(named(ENDS_WORKERS, source))

    def _refuse_larger(self, file: PlannedFile) -> None:
        if larger := [source for source in file.packed if source.size > self._largest]:
            raise CaseProblem(_too_large(larger[0], self._largest))

    @contextmanager
    def _room(self, path: Path, need: int) -> Iterator[Callable[[int], None]]:
        """Room of the spool's disk for one zip, less what is said to be written. Raises Waits."""

        def written(count: int) -> None:
            with self._lock:
                self._promised[path] = max(need - count, 0)

        with self._lock:
            if shutil.disk_usage(self._spool).free < need + sum(self._promised.values()) + SPARE:
                raise Waits(_no_room(self._spool, need), ROOM_SECONDS)
            self._promised[path] = need
        try:
            yield written
        finally:
            with self._lock:
                del self._promised[path]

    def _home(self, case_id: int) -> Path:
        home = self._spool / str(case_id)
        self._spool.mkdir(mode=0o700, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
        return home

    def _path(self, case_id: int, file: PlannedFile) -> Path:
        return self._spool / str(case_id) / file.sha256


def _as_they_are(folder: str, file: PlannedFile, out: Straight, check: Check) -> PlannedFile:
    read = []
    with zipfile.ZipFile(cast("IO[bytes]", out), "w", zipfile.ZIP_STORED) as zipped:
        for source in file.packed:
            entry = entry_of(name_inside(file, source.path))
            with zipped.open(entry, "w", force_zip64=True) as member:
                read.append(_read(folder, source, member.write, check))
    return _made(file, out, read)


def _made(file: PlannedFile, out: Summed | Straight, read: list[SourceFile]) -> PlannedFile:
    return replace(
        file,
        size=out.base,
        sha256=out.sums.sha256,
        part_size=out.sums.part_size,
        md5s=out.sums.md5s,
        packed=tuple(read),
    )


def _read(folder: str, source: SourceFile, write: Callable[[bytes], object], check: Check) -> SourceFile:
    """Write a source's bytes, read once; the source with their sum. Raises FolderChanged."""
    settled, whole, read = (source.size, source.mtime_ns, source.ctime_ns), hashlib.sha256(), 0
    with open_below(folder, source.path) as opened:
        if looks(opened) != settled:
            raise FolderChanged("A file was changed after it had settled.")
        check()
        while read <= source.size and (chunk := opened.read(CHUNK)):
            check()
            whole.update(chunk)
            write(chunk)
            read += len(chunk)
        if looks(opened) != settled:
            raise FolderChanged("A file was changed while it was being read.")
    if source.sha256 not in ("", whole.hexdigest()):
        raise FolderChanged("A file has other contents than when it settled.")
    return replace(source, sha256=whole.hexdigest())


def _counted(source: SourceFile) -> int:
    """Bytes of the allowance that is shared by all cases."""
    return source.size if source.size > LARGE else 0


def _too_large(source: SourceFile, largest: int) -> Problem:
    return Problem(
        "file-too-large",
        f"{shown(source.path)} has {source.size / 1e6:.0f} MB; files of up to {largest / 1e6:.0f} MB can be "
        "de-identified on this machine, since its memory must hold a file several times. Export it in smaller "
        "files, or let the administrator give the machine more memory.",
    )


def named(problem: Problem, source: SourceFile) -> Problem:
    """What deidentify says, saying of which file."""
    article = "The" if problem.text.startswith("{files}") else "the"
    files = f"{article} DICOM files of this series"
    return replace(problem, text=problem.text.format(file=shown(source.path), files=files))


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


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
