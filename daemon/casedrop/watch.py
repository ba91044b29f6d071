"""What is there: listings, who still writes, where data ends."""

import contextlib
import errno
import fcntl
import gzip
import lzma
import os
import re
import signal
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import IO

from casedrop import opening
from casedrop.dicom_model import HEAD, holds_dicom
from casedrop.model import Entry, EntryKind, Listing

LEASES = frozenset({"ext2", "ext3", "ext4", "xfs", "tmpfs", "f2fs", "btrfs"})
"""Local file systems where a read lease sees every writer; elsewhere it is not asked."""

HOLES = frozenset({"ext2", "ext3", "ext4", "xfs", "tmpfs"})
"""Where a hole up to a file's end means data that never came: no compression, no clones of zeros."""

KINDS = {
    stat.S_IFREG: EntryKind.FILE,
    stat.S_IFDIR: EntryKind.FOLDER,
    stat.S_IFLNK: EntryKind.SYMLINK,
    stat.S_IFIFO: EntryKind.FIFO,
    stat.S_IFSOCK: EntryKind.SOCKET,
}

OVERLAY = "overlay"
MOUNTS = "/proc/self/mountinfo"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
MAX_ZIP_MEMBERS = 100_000
MAX_ZIP_IN_ZIP = 1 << 30
"""Bytes of a packed zip that are unpacked to see its list of contents."""
TAR = 512
"""Bytes of a tar's header."""
DEEPEST = 2
"""A zip in a zip is looked into, a zip in that is not."""
PACKED = (
    b"\x1f\x8b", b"\x1f\x9d", b"\xfd7zXZ\x00", b"BZh", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18",
    b"7z\xbc\xaf\x27\x1c", b"Rar!",
)  # fmt: skip
"""First bytes of gzip (in gzip), compress, xz, bzip2, zstd, lz4, 7z and rar: not looked into."""
UNREADABLE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, RuntimeError,
    ValueError, IndexError,
)  # fmt: skip
"""What zipfile and gzip raise on archives that are broken, encrypted or packed in an unknown way."""
NOT_TO_ASK = (
    errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM, errno.EINVAL,
)  # fmt: skip
"""What an OSError says of a file that is gone, is another thing by now, or cannot be asked by this user or on this
file system. Any other error (no descriptor left, no memory, a broken disk) says nothing of the file."""
OF_THE_FILE = (None, errno.EINVAL)
"""What an OSError says that no disk has raised: bz2's word for broken data, or a place that no file has."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """`events`: inotify sees all changes; `lease`, `holes`: these questions may be asked.

    `inodes`: a file keeps its inode number; network and FUSE mounts may give another at each look.
    """

    type: str
    events: bool
    lease: bool
    holes: bool
    inodes: bool


def boot_clock() -> float:
    """Seconds since boot, suspend included; nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Tells one boot of the machine from another: the boot clock begins anew with each."""
    return Path(BOOT_ID).read_text().strip()


def ignore_lease_signals() -> None:
    """A writer that comes while a lease is held sends SIGIO, which kills by default."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)


def file_system(path: str) -> FileSystem:
    """By the type of the longest mount point that holds `path` (/proc/self/mountinfo)."""
    below = os.fsencode(os.path.realpath(path)) + b"/"
    best, kind = b"", ""
    for point, its_kind in _mounts(Path(MOUNTS).read_bytes()):
        if len(point) > len(best) and below.startswith(point):
            best, kind = point, its_kind
    return FileSystem(kind, kind in LEASES or kind == OVERLAY, kind in LEASES, kind in HOLES, kind in LEASES)


@lru_cache(maxsize=1)
def _mounts(mountinfo: bytes) -> list[tuple[bytes, str]]:
    """Mount points, with a slash behind them, and types; the last first, since it hides others on its point.

    It is asked for each case many times, and changes hardly ever.
    """
    found = []
    for line in reversed(mountinfo.splitlines()):
        before, _, after = line.partition(b" - ")
        point = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), before.split(b" ")[4])
        found.append((point.rstrip(b"/") + b"/", os.fsdecode(after.split(b" ")[0])))
    return found


def list_folder(path: str, there: FileSystem | None = None) -> Listing:
    """Everything below a folder, links not followed. `there` is its file system, where known. Raises OSError."""
    own = os.lstat(path)
    entries = sorted(_walk(path, (there or file_system(path)).inodes), key=attrgetter("path"))
    return Listing(os.path.basename(path), tuple(entries), own.st_dev, own.st_ino)


def _walk(top: str, inodes: bool) -> Iterator[Entry]:
    pending = [""]
    with contextlib.closing(opening.Directories(top)) as directories:
        while pending:
            below = pending.pop()
            before = f"{below}/" if below else ""
            with os.scandir(directories.at(below)) as found:
                for one in found:
                    path = before + one.name
                    looks = one.stat(follow_symlinks=False)
                    kind = kind_of(looks.st_mode)
                    inode = looks.st_ino if inodes else 0
                    yield Entry(path, kind, looks.st_size, looks.st_mtime_ns, looks.st_ctime_ns, inode)
                    if stat.S_ISDIR(looks.st_mode):
                        pending.append(path)


def kind_of(mode: int) -> EntryKind:
    return KINDS.get(stat.S_IFMT(mode)) or EntryKind.DEVICE


def movable(path: str) -> bool:
    """Whether this user may read a folder and move it: its own entry ".." changes, so it must be writable itself.

    Under a sticky directory only the owner of either may. Raises OSError.
    """
    owner, around = os.lstat(path).st_uid, os.stat(os.path.dirname(path))
    sticky = around.st_mode & stat.S_ISVTX and os.geteuid() not in (0, owner, around.st_uid)
    return not sticky and os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True)


@contextlib.contextmanager
def _held(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def opened(folder: str, path: str) -> contextlib.AbstractContextManager[int]:
    """A descriptor of a regular file, never of a link or a pipe. Raises OSError."""
    return _held(opening.regular(folder, path))


def expect_same(descriptor: int, entry: Entry) -> None:
    """Raises OSError (ESTALE) where the open file is not the one that was listed."""
    found = os.fstat(descriptor)
    inode = found.st_ino if entry.inode else 0
    looks = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, inode)
    if looks != (entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), entry.path)


def read_head(folder: str, path: str, count: int) -> bytes:
    with opened(folder, path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read(count)


def writers(folder: str, listing: Listing, passed_over: tuple[int, ...] = NOT_TO_ASK) -> list[str]:
    """Files somebody has open for writing, asked by a read lease that is given back at once.

    A file of another owner cannot be asked without CAP_LEASE; it is passed over, as is one that is gone. Raises
    OSError where it cannot be told: all errors but those of `passed_over`.
    """
    found = []
    files = [one.path.rpartition("/") for one in listing.entries if one.kind is EntryKind.FILE]
    for above, beside in groupby(files, key=itemgetter(0)):
        with _passing_over(passed_over), _held(opening.directory(folder, above)) as at:
            found += ["".join(path) for path in beside if _is_written(at, path[-1], passed_over)]
    return found


@contextlib.contextmanager
def _passing_over(errors: tuple[int, ...]) -> Iterator[None]:
    """Raises any other OSError."""
    try:
        yield
    except OSError as error:
        if error.errno not in errors:
            raise


def _is_written(at: int, name: str, passed_over: tuple[int, ...]) -> bool:
    try:
        with _held(opening.regular_in(at, name)) as descriptor:
            _lease(descriptor)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in passed_over:
            raise
    return False


def _lease(descriptor: int) -> None:
    """Raises OSError, EAGAIN where somebody has the file open for writing."""
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def lease_works(directory: str) -> bool | None:
    """Whether a lease sees a writer and is had without one, tried on a file that never gets a name.

    None where no such file can be made.
    """
    try:
        writer = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        reader = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writer)
    try:
        writer = os.open(f"/proc/self/fd/{reader}", os.O_WRONLY | os.O_CLOEXEC)
        seen = not _is_leased(reader)
        os.close(writer)
        return seen and _is_leased(reader)
    finally:
        os.close(reader)


def _is_leased(descriptor: int) -> bool:
    try:
        _lease(descriptor)
    except OSError:
        return False
    return True


def cut_off(folder: str, listing: Listing) -> list[str]:
    """Files whose data ends before their size: a copy that died after setting the size.

    What is gone or cannot be asked is passed over. Raises OSError where it cannot be told.
    """
    files = [one for one in listing.entries if one.kind is EntryKind.FILE and one.size]
    return [one.path for one in files if _ends_in_hole(folder, one)]


def _ends_in_hole(folder: str, entry: Entry) -> bool:
    with _passing_over(NOT_TO_ASK), opened(folder, entry.path) as descriptor:
        looks = os.fstat(descriptor)
        if looks.st_blocks * 512 >= looks.st_size:
            return False
        try:
            last = os.lseek(descriptor, max(looks.st_size - 4096, 0), os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return True
            raise
        return os.lseek(descriptor, last, os.SEEK_HOLE) < looks.st_size
    return False


def is_dicom(folder: str, path: str) -> bool | None:
    """DICOM by content (PS3.10, 7.1: "DICM" after 128 bytes), also without preamble and inside a zip.

    None where it cannot be told: an archive that is broken, encrypted, too large or of another kind, which
    the platform may still unpack. Raises OSError.
    """
    with opened(folder, path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
        return _holds_dicom(file, depth=0)


def _holds_dicom(file: IO[bytes], depth: int) -> bool | None:
    head = file.read(HEAD)
    if head[:2] == b"\x1f\x8b":
        head = _unpacked_head(file)
    if holds_dicom(head):
        return True
    if head[257:262] == b"ustar" or head.startswith(PACKED) or _old_tar(head):
        return None
    packed = head[:4] == b"PK\x03\x04"
    if packed and depth == DEEPEST:
        return None
    try:
        if packed or (depth == 0 and zipfile.is_zipfile(file)):  # a zip may begin with anything else
            return _zip_holds_dicom(file, depth)
    except UNREADABLE:
        return None
    return False


def _old_tar(head: bytes) -> bool:
    """A tar without "ustar", as before POSIX: known by its checksum, with itself counted as blanks."""
    said = head[148:156].strip(b"\0 ")
    if len(head) < TAR or not re.fullmatch(rb"[0-7]+", said):
        return False
    return sum(head[:148]) + 8 * ord(" ") + sum(head[156:TAR]) == int(said, 8)


def _unpacked_head(file: IO[bytes]) -> bytes:
    file.seek(0)
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            return unpacked.read(HEAD)
    except (*UNREADABLE, gzip.BadGzipFile):
        return b""


def _zip_holds_dicom(file: IO[bytes], depth: int) -> bool | None:
    try:
        with zipfile.ZipFile(file) as packed:
            members = [one for one in packed.infolist() if not one.is_dir()]
            answers = {_member_holds_dicom(packed, one, depth) for one in members[:MAX_ZIP_MEMBERS]}
    except UNREADABLE:
        return None
    except OSError as error:
        if error.errno in OF_THE_FILE:
            return None
        raise
    if True in answers:
        return True
    return None if None in answers or len(members) > MAX_ZIP_MEMBERS else False


def _member_holds_dicom(packed: zipfile.ZipFile, member: zipfile.ZipInfo, depth: int) -> bool | None:
    try:
        with packed.open(member) as file:
            return _holds_dicom(file, DEEPEST if member.file_size > MAX_ZIP_IN_ZIP else depth + 1)
    except UNREADABLE:
        return None
    except OSError as error:
        if error.errno in OF_THE_FILE:
            return None
        raise
