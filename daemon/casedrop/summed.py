"""A file as it is written, a stored zip or not: summed on the way, the same bytes for the same contents."""

import mmap
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from casedrop.sums import Sums

START_OF_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest a zip can say: the same files give the same bytes."""


class Summed:
    """What a zip is written through: summed and passed on once an entry is whole, without a copy of it.

    The zip's writer goes back within an entry to fill in its checksum, which it does by writing the entry's
    header anew; never before that. `written` is told how much has been passed on.
    """

    def __init__(self, out: IO[bytes], step: int, written: Callable[[int], None]) -> None:
        self.base = 0
        self.sums = Sums(step)
        self._out = out
        self._written = written
        self._pieces: list[memoryview] = []
        self._length = self._at = 0

    def write(self, data: bytes | memoryview) -> int:
        piece = memoryview(data)
        if self._at == self._length:
            self._pieces.append(piece)
            self._length += piece.nbytes
        else:
            assert (self._at, piece.nbytes) == (0, self._pieces[0].nbytes)
            self._pieces[0] = piece
        self._at += piece.nbytes
        return piece.nbytes

    def tell(self) -> int:
        return self.base + self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        assert whence == os.SEEK_SET
        self._at = offset - self.base
        return offset

    def seekable(self) -> bool:
        return True

    def flush(self) -> None:
        """Nothing is passed on before it is whole."""

    def close(self) -> None:
        """What it is written to is closed by whoever opened it."""

    def settle(self) -> None:
        """Pass on what is there: an entry, or the zip's end."""
        for piece in self._pieces:
            self.sums.add(piece)
            self._out.write(piece)
        self.base += self._length
        self._pieces, self._length, self._at = [], 0, 0
        self._written(self.base)


class Straight:
    """What a zip is written through whose entries memory may not hold.

    There is no way back, so that their checksums follow them (APPNOTE.TXT 4.3.9).
    """

    def __init__(self, out: IO[bytes], step: int, written: Callable[[int], None]) -> None:
        self.base = 0
        self.sums = Sums(step)
        self._out = out
        self._written = written

    def write(self, data: bytes | memoryview) -> int:
        count = memoryview(data).nbytes
        self.sums.add(data)
        self._out.write(data)
        self.base += count
        self._written(self.base)
        return count

    def flush(self) -> None:
        """Flushed by whoever opened what it is written to."""


@contextmanager
def adder(out: Summed, *, bare: bool) -> Iterator[Callable[[int, mmap.mmap], object]]:
    """Adds a file to the zip, or is the file."""
    if bare:
        yield lambda _, data: out.write(memoryview(data))
        return
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as zipped:
        yield lambda number, data: zipped.writestr(entry_of(f"{number:05}.dcm"), data)


def entry_of(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, START_OF_TIME)
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    return entry
