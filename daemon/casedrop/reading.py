"""What every edge that reads a case folder needs: files opened without following links."""

import errno
import hashlib
import io
import math
import os
from collections.abc import Callable

from casedrop import opening
from casedrop.errors import FolderChanged
from casedrop.placed import Placed
from casedrop.sums import CHUNK

SMALLEST_PART = 8 << 20
MOST_PARTS = 10_000
"""S3's limit of parts in one upload (AWS documentation, multipart upload limits)."""

GONE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO)

Check = Callable[[], None]
"""Called before every read; raises where the reading is to end."""

Looks = tuple[int, int, int]
"""Size, mtime_ns and ctime_ns."""


def part_size(size: int) -> int:
    """Bytes per part, whole MiB, from 8 MiB up so that 10,000 parts are enough."""
    least = math.ceil(size / MOST_PARTS)
    return max(SMALLEST_PART, math.ceil(least / CHUNK) * CHUNK)


class Witness(Placed):
    """`source` for one reader from front to back: sums all of it, be it passed over. Never closes it."""

    def __init__(self, source: io.RawIOBase, check: Check) -> None:
        super().__init__()
        self._source = source
        self._check = check
        self._whole = hashlib.sha256()
        self._summed = 0

    def sha256(self) -> str:
        """Of the whole source, to its end."""
        self._pass_over(None)
        return self._whole.hexdigest()

    def _read_at(self, start: int, count: int) -> bytes:
        self._pass_over(start)
        return self._read(start, count)

    def _pass_over(self, end: int | None) -> None:
        while end is None or self._summed < end:
            if not self._read(self._summed, CHUNK if end is None else min(CHUNK, end - self._summed)):
                break

    def _read(self, start: int, count: int) -> bytes:
        self._check()
        self._source.seek(start)
        found = self._source.read(count) or b""
        self._whole.update(found[self._summed - start :])
        self._summed = max(self._summed, start + len(found))
        return found


def looks(source: io.RawIOBase) -> Looks:
    """What would show that the open file was changed."""
    found = os.fstat(source.fileno())
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def open_below(folder: str, path: str) -> io.RawIOBase:
    """A regular file below `folder`. Raises FolderChanged where there is none any more, or OSError."""
    try:
        return os.fdopen(opening.regular(folder, path), "rb", buffering=0)
    except OSError as error:
        if error.errno in GONE:
            raise FolderChanged("A file is no longer there.") from None
        if error.errno == errno.EINVAL:
            raise FolderChanged("A file was replaced by something that is none.") from None
        raise
