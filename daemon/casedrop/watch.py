"""What is there: listings, who still writes, where data ends; and a wake-up when something stirs."""

import contextlib
import errno
import fcntl
import os
import signal
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.inotify import InotifyObserver

from casedrop.model import Entry, EntryKind, Listing

LEASES = frozenset({"ext2", "ext3", "ext4", "xfs", "tmpfs", "f2fs", "btrfs"})
"""Local file systems where a read lease sees every writer; elsewhere it is not asked."""

HOLES = frozenset({"ext2", "ext3", "ext4", "xfs", "tmpfs"})
"""Where a hole up to a file's end means data that never came: no compression, no clones of zeros."""

OVERLAY = "overlay"
MAX_ZIP_MEMBERS = 100_000
OWN_NOISE = frozenset({"opened", "closed_no_write"})
"""Events that our own reading causes."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """`events`: inotify sees all changes; `lease`, `holes`: these questions may be asked."""

    type: str
    events: bool
    lease: bool
    holes: bool


def boot_clock() -> float:
    """Seconds since boot, suspend included; nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def ignore_lease_signals() -> None:
    """A writer that comes while a lease is held sends SIGIO, which kills by default."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)


def file_system(path: str) -> FileSystem:
    """By the type of the longest mount point that holds `path` (/proc/self/mountinfo)."""
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode("latin-1", "surrogateescape").decode("unicode_escape")
        if len(point) >= len(best) and f"{real}/".startswith(f"{point.rstrip('/')}/"):
            best, kind = point, after.split()[0]
    return FileSystem(kind, kind in LEASES or kind == OVERLAY, kind in LEASES, kind in HOLES)


def list_folder(path: str) -> Listing:
    """Everything below a folder, links not followed. Raises OSError."""
    own = os.lstat(path)
    entries = sorted(_walk(path, ""), key=lambda entry: entry.path)
    return Listing(os.path.basename(path), tuple(entries), own.st_dev, own.st_ino)


def _walk(top: str, below: str) -> Iterator[Entry]:
    with os.scandir(os.path.join(top, below)) as found:
        for one in found:
            path = f"{below}/{one.name}" if below else one.name
            looks = one.stat(follow_symlinks=False)
            kind = kind_of(looks.st_mode)
            yield Entry(path, kind, looks.st_size, looks.st_mtime_ns, looks.st_ctime_ns, looks.st_ino)
            if kind is EntryKind.FOLDER:
                yield from _walk(top, path)


def kind_of(mode: int) -> EntryKind:
    for test, kind in (
        (stat.S_ISREG, EntryKind.FILE),
        (stat.S_ISDIR, EntryKind.FOLDER),
        (stat.S_ISLNK, EntryKind.SYMLINK),
        (stat.S_ISFIFO, EntryKind.FIFO),
        (stat.S_ISSOCK, EntryKind.SOCKET),
    ):
        if test(mode):
            return kind
    return EntryKind.DEVICE


@contextlib.contextmanager
def opened(folder: str, path: str) -> Iterator[int]:
    """A descriptor of a regular file, never of a link or a pipe. Raises OSError."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(os.path.join(folder, path), flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def read_head(folder: str, path: str, count: int) -> bytes:
    with opened(folder, path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read(count)


def writers(folder: str, listing: Listing) -> list[str]:
    """Files somebody has open for writing, asked by a read lease that is given back at once.

    A file of another owner cannot be asked without CAP_LEASE; it is passed over.
    """
    return [
        one.path for one in listing.entries if one.kind is EntryKind.FILE and _is_written(folder, one.path)
    ]


def _is_written(folder: str, path: str) -> bool:
    try:
        with opened(folder, path) as descriptor:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EWOULDBLOCK)
    return False


def cut_off(folder: str, listing: Listing) -> list[str]:
    """Files whose data ends before their size: a copy that died after setting the size."""
    files = [one for one in listing.entries if one.kind is EntryKind.FILE and one.size]
    return [one.path for one in files if _ends_in_hole(folder, one)]


def _ends_in_hole(folder: str, entry: Entry) -> bool:
    try:
        with opened(folder, entry.path) as descriptor:
            looks = os.fstat(descriptor)
            if looks.st_blocks * 512 >= looks.st_size:
                return False
            try:
                last = os.lseek(descriptor, max(looks.st_size - 4096, 0), os.SEEK_DATA)
            except OSError as error:
                return error.errno == errno.ENXIO
            return os.lseek(descriptor, last, os.SEEK_HOLE) < looks.st_size
    except OSError:
        return False


def is_dicom(folder: str, path: str) -> bool:
    """DICOM by content (PS3.10, 7.1: "DICM" after 128 bytes), also without preamble and inside a zip."""
    with opened(folder, path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
        head = file.read(132)
        if _dicom_head(head):
            return True
        if head[:4] != b"PK\x03\x04":
            return False
        try:
            with zipfile.ZipFile(file) as packed:
                return any(_dicom_member(packed, one) for one in packed.infolist()[:MAX_ZIP_MEMBERS])
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError):
            return False


def _dicom_member(packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    if member.is_dir():
        return False
    with packed.open(member) as file:
        return _dicom_head(file.read(132))


def _dicom_head(head: bytes) -> bool:
    """Without preamble a data set starts at group 0002 or 0008 with an element of a plausible VR or length."""
    if head[128:132] == b"DICM":
        return True
    if head[:2] not in (b"\x02\x00", b"\x08\x00") or len(head) < 8:  # noqa: PLR2004
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return explicit or (head[3] == 0 and int.from_bytes(head[4:8], "little") < 1 << 16)


class Wake(FileSystemEventHandler):
    """Calls back when something stirs below a folder. Only a wake-up: the scan is the truth."""

    def __init__(self, path: str, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._observer = InotifyObserver()
        try:
            self._observer.schedule(self, path, recursive=True)
            self._observer.start()
        except OSError as error:
            structlog.get_logger().warning(
                "no events; rescans only", why=os.strerror(error.errno or errno.EIO)
            )

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in OWN_NOISE:
            self._wake()

    def stop(self) -> None:
        if self._observer.is_alive():
            self._observer.stop()
