"""Processes that de-identify, one file at a time each: one that dies or hangs takes no other file with it.

They are started fresh, since a fork would copy the threads' locks. A file's bytes come to them on a sheet, which
is memory without a name, and what may be sent goes back on it: nothing is copied from process to process, and
nothing that names a patient touches a disk.
"""

import atexit
import ctypes
import io
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, cast

from casedrop.errors import Stopping
from casedrop.model import Problem, Procedure
from casedrop.slices import Deidentified

if TYPE_CHECKING:
    from casedrop.in_common import InCommon

START_SECONDS = 120.0
LEAST_SECONDS = 120.0
SECONDS_PER_MIB = 1.0
"""A hundred times what a slow machine takes (about 100 MB/s): what takes longer does not come to an end."""

END_SECONDS = 1.0
"""For a process to be gone that was killed."""

PART_OF_MEMORY = 6
"""De-identifying takes about four times a file's size; the rest is for everything else."""

BROKEN = (EOFError, OSError, pickle.UnpicklingError)
"""What a line raises whose other end died, perhaps in the middle of a word."""

KEPT = 16 << 20
"""Bytes of memory that are not given back between two files."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's mallopt(3)."""

CGROUPS = Path("/sys/fs/cgroup")


class WorkerEnded(Exception):
    """The process that had the file in hand crashed, was killed, had too little memory or took too long."""


class NoWorker(Exception):
    """No process could be started; that is no file's fault."""


class Work(Protocol):
    """What a worker does to the bytes of a file."""

    def __call__(
        self, data: bytes, procedure: Procedure, key: bytes, *, alone: bool
    ) -> Deidentified | Problem: ...


@dataclass(frozen=True, slots=True)
class Task:
    """How to de-identify a file; `key` derives new UIDs, `alone` tells that the image has no other file."""

    procedure: Procedure
    key: bytes = field(repr=False)
    alone: bool


def new_sheet() -> io.FileIO:
    """Empty; it is gone once nobody has it open."""
    return io.FileIO(os.memfd_create("casedrop", os.MFD_CLOEXEC), "r+")


def put(sheet: io.FileIO, data: bytes) -> None:
    """Add `data` where the sheet stands. Raises OSError where memory is lacking."""
    rest = memoryview(data)
    while rest:
        rest = rest[sheet.write(rest) :]


def largest_file() -> int:
    """The bytes of the largest file that this machine has the memory to de-identify."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([installed, *_cgroup_limits()]) // PART_OF_MEMORY


def deidentified(data: bytes, procedure: Procedure, key: bytes, *, alone: bool) -> Deidentified | Problem:
    """`deidentify.deidentify`, which is imported in workers only, with what they keep in mind."""
    from casedrop.deidentify import deidentify  # noqa: PLC0415

    return deidentify(data, procedure, key, alone=alone, in_common=_in_common())


@cache
def _in_common() -> "InCommon":
    from casedrop.in_common import InCommon  # noqa: PLC0415

    return InCommon()


class Workers:
    """At most `most` processes at once, started when first needed."""

    def __init__(self, most: int, work: Work = deidentified) -> None:
        self._do = work
        self._threads = ThreadPoolExecutor(most, "de-identify")
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False
        atexit.register(self.close)  # before multiprocessing waits there for the processes to end

    def submit(self, sheet: io.FileIO, task: Task) -> Future[Deidentified | Problem]:
        """De-identify what is on the sheet; where it may be sent, its bytes are there afterwards, not in `data`.

        Raises Stopping once closed; so may the answer, besides WorkerEnded and NoWorker.
        """
        with self._lock:
            self._expect_open()
            return self._threads.submit(self._work, sheet, task)

    def close(self) -> None:
        """Kill the processes: whatever they are at, nothing of them keeps ours from ending."""
        with self._lock:
            self._closed = True
            for worker in self._all:
                worker.kill()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _work(self, sheet: io.FileIO, task: Task) -> Deidentified | Problem:
        worker = self._borrowed()
        try:
            answer = worker.work(sheet, task)
        except BROKEN:
            self._end(worker)
            self._expect_open()
            raise WorkerEnded from None
        self._idle.append(worker)
        return answer

    def _borrowed(self) -> "_Worker":
        """One that answers: an idle one may have been killed, or stopped, since it was last asked."""
        while True:
            with self._lock:
                self._expect_open()
                idle = bool(self._idle)
                worker = self._idle.pop() if idle else _Worker(self._do)
                self._all.add(worker)
            try:
                worker.expect_ready()
            except BROKEN:
                self._end(worker)
                self._expect_open()
                if not idle:
                    raise NoWorker from None
            else:
                return worker

    def _end(self, worker: "_Worker") -> None:
        with self._lock:
            self._all.discard(worker)
            worker.kill()

    def _expect_open(self) -> None:
        if self._closed:
            raise Stopping("The service is stopping.")


class _Worker:
    """A process and the line to it; the threads of one Workers start, ask and kill under its lock."""

    def __init__(self, work: Work) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._line, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, work), daemon=True)
        self._process.start()
        theirs.close()

    def kill(self) -> None:
        self._process.kill()
        self._process.join(END_SECONDS)

    def expect_ready(self) -> None:
        """Raises what is BROKEN where it does not answer."""
        self._line.send(None)
        self._answer(START_SECONDS)

    def work(self, sheet: io.FileIO, task: Task) -> Deidentified | Problem:
        """Raises what is BROKEN where it ends, or takes too long."""
        seconds = LEAST_SECONDS + SECONDS_PER_MIB * sheet.tell() / (1 << 20)
        self._line.send(task)
        send_handle(self._line, sheet.fileno(), self._process.pid)
        return self._answer(seconds)

    def _answer(self, seconds: float) -> Deidentified | Problem:
        if not self._line.poll(seconds):
            raise TimeoutError
        answer: Deidentified | Problem = self._line.recv()
        return answer


def _serve(line: Connection, work: Work) -> None:
    """In a new process. However it ends, it does so at once and without a word, which could quote the data."""
    _begin()
    try:
        while True:
            while (task := line.recv()) is None:
                line.send(None)
            with io.FileIO(recv_handle(line), "r+") as sheet:
                line.send(_worked(sheet, task, work))
    finally:
        os._exit(1)


def _begin() -> None:
    """Is stopped by its service alone, or before it where memory is lacking, and says nothing of what it reads."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _keep_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    warnings.simplefilter("ignore")  # pydicom's quote values
    logging.disable()
    _leave_out()
    from pydicom import config  # noqa: PLC0415

    import casedrop.deidentify  # noqa: F401, PLC0415  heavy, and only for workers

    config.settings.reading_validation_mode = config.IGNORE
    config.settings.writing_validation_mode = config.IGNORE
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _worked(sheet: io.FileIO, task: Task, work: Work) -> Deidentified | Problem:
    answer = work(_taken(sheet), task.procedure, task.key, alone=task.alone)
    if not isinstance(answer, Problem):
        put(sheet, answer.data)
        answer = replace(answer, data=b"")
    sheet.truncate()
    return answer


def _taken(sheet: io.FileIO) -> bytes:
    """What is on the sheet, to be written over; of a large file it is then there only once."""
    sheet.seek(0)
    data = sheet.readall() or b""
    sheet.seek(0)
    if len(data) > KEPT:
        sheet.truncate()
    return data


def _leave_out() -> None:
    """What pydicom imports where it is there, for downloads and to show pictures: much of the time of a start."""
    for name in ("requests", "numpy", "PIL"):
        sys.modules[name] = cast("ModuleType", None)  # as if it were not there


def _keep_memory() -> None:
    """What the last file took, for the next one: to get it anew is a good part of what a slice takes."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, KEPT)
        mallopt(M_TRIM_THRESHOLD, KEPT)


def _cgroup_limits() -> Iterator[int]:
    """Of the second version of cgroups, which containers and systemd's MemoryMax are made of."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::/"):
                own = CGROUPS / line[4:]
                yield from filter(None, map(_limit, (own, *own.parents)))


def _limit(group: Path) -> int:
    with suppress(OSError, ValueError):
        return int((group / "memory.max").read_text())
    return 0
