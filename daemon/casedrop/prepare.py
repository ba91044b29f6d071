"""Each file is read once: its checksums, and what its header says of the image."""

import errno
import hashlib
import io
import math
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from casedrop.errors import FolderChanged
from casedrop.headers import HEAD, geometry
from casedrop.model import Entry, EntryKind, Listing, Plan, PlannedFile, PlannedSocket
from casedrop.strip import Once, without_metadata

CHUNK = 1 << 20
SMALLEST_PART = 8 << 20
MOST_PARTS = 10_000
"""S3's limit of parts in one upload (AWS documentation, multipart upload limits)."""

Check = Callable[[], None]
"""Called before every read; raises where the reading is to end."""


def part_size(size: int) -> int:
    """Bytes per part, whole MiB, from 8 MiB up so that 10,000 parts are enough."""
    least = math.ceil(size / MOST_PARTS)
    return max(SMALLEST_PART, math.ceil(least / CHUNK) * CHUNK)


def open_source(folder: str, file: PlannedFile) -> io.RawIOBase | io.BytesIO:
    """What is sent of a file. No symbolic link is followed on the way; raises FolderChanged."""
    if file.content is not None:
        return io.BytesIO(file.content.encode("latin-1"))
    source = os.fdopen(_open_below(folder, file.path), "rb", buffering=0)
    return without_metadata(source) if file.stripped else source


def opener(folder: str, file: PlannedFile) -> Callable[[], io.RawIOBase | io.BytesIO]:
    """Opens what is sent of a file, once for each part; a copy that must be packed anew is made but once."""
    source = partial(open_source, folder, file)
    is_packed = file.stripped and file.content is None and file.path.lower().endswith(".gz")
    return Once(source) if is_packed else source


def prepare(folder: str, socket: PlannedSocket, check: Check) -> PlannedSocket:
    """The socket with the checksums of its files.

    A file that looks as it did when it was read is not read again. Raises FolderChanged where a file is
    not what it was.
    """
    return replace(socket, files=tuple(_prepared(folder, file, check) for file in socket.files))


def unchanged(folder: str, plan: Plan, now: Listing, check: Check) -> Plan:
    """The plan, as long as the folder is still what it was made from.

    A file with other times is read again; the same checksum lets it pass, with its new times. Raises
    FolderChanged where a name came or went, or contents differ.
    """
    before = {entry.path: entry for entry in plan.entries}
    after = {entry.path: entry for entry in now.entries}
    if before.keys() != after.keys():
        raise FolderChanged("Files were added or removed.")
    stirred = {path for path, entry in after.items() if _differs(before[path], entry)}
    if not stirred:
        return plan
    claimed = {file.path for socket in plan.sockets for file in socket.files if file.sha256}
    if not stirred <= claimed:
        raise FolderChanged("Files were changed.")
    sockets = tuple(prepare(folder, socket, check) for socket in plan.sockets)
    return replace(plan, sockets=sockets, entries=now.entries)


def _differs(before: Entry, after: Entry) -> bool:
    """Junk changes a folder's times, so a folder only differs by being there or not."""
    return before != after and not before.kind == after.kind == EntryKind.FOLDER


def _prepared(folder: str, file: PlannedFile, check: Check) -> PlannedFile:
    settled = (file.size, file.mtime_ns, file.ctime_ns)
    with os.fdopen(_open_below(folder, file.path), "rb", buffering=0) as source:
        looks = _stamp(source)
        if looks == settled and file.sha256:
            return file
        if looks != settled and (not file.sha256 or file.content is not None):
            raise FolderChanged("A file was changed after it had settled.")
        if file.content is not None:
            return _summed(file, io.BytesIO(file.content.encode("latin-1")), check)
        read = _read(file, source, check)
        if _stamp(source) != looks:
            raise FolderChanged("A file was changed while it was being read.")
    if file.sha256 not in ("", read.sha256):
        raise FolderChanged("A file has other contents than when it settled.")
    return replace(read, size=looks[0], mtime_ns=looks[1], ctime_ns=looks[2])


def _read(file: PlannedFile, source: io.RawIOBase, check: Check) -> PlannedFile:
    """Sums of what is sent of the file."""
    if not file.stripped:
        return _summed(file, source, check)
    with without_metadata(os.fdopen(os.dup(source.fileno()), "rb", buffering=0)) as copy:
        read = _summed(file, copy, check)
        return replace(read, stripped_size=copy.tell())


def _summed(file: PlannedFile, source: io.RawIOBase | io.BytesIO, check: Check) -> PlannedFile:
    """Read `source` to its end: sha256 of all, MD5 of each part, geometry from the first bytes."""
    step = part_size(file.size)
    whole, part, left, head, md5s = hashlib.sha256(), hashlib.md5(usedforsecurity=False), step, b"", []
    while chunk := source.read(min(CHUNK, left)):
        check()
        whole.update(chunk)
        part.update(chunk)
        head += chunk[: HEAD - len(head)]
        left -= len(chunk)
        if not left:
            md5s.append(part.hexdigest())
            part, left = hashlib.md5(usedforsecurity=False), step
    if left < step or not md5s:
        md5s.append(part.hexdigest())
    shape = geometry(file.upload_name, head)
    return replace(file, sha256=whole.hexdigest(), part_size=step, md5s=tuple(md5s), geometry=shape)


def _stamp(source: io.RawIOBase) -> tuple[int, int, int]:
    found = os.fstat(source.fileno())
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _open_below(folder: str, path: str) -> int:
    """A descriptor of a regular file below `folder`, each step opened without following links."""
    *parents, name = path.split("/")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        at = os.open(folder, flags | os.O_DIRECTORY)
        for parent in parents:
            with _closing(at):
                at = os.open(parent, flags | os.O_DIRECTORY, dir_fd=at)
        with _closing(at):
            found = os.open(name, flags, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise FolderChanged("A file is no longer there.") from None
        raise
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise FolderChanged("A file was replaced by something that is none.")
    return found


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)
