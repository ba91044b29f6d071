"""A file as it is read without some of its bytes. Pure."""

import io
from bisect import bisect_right
from collections.abc import Iterable
from typing import IO

from casedrop.spots import Spot

CHUNK = 1 << 20


class Edited(io.RawIOBase):
    """`source` with each spot's bytes replaced; may be read from any place if `source` may be.

    It ends where `source` does, so that nothing must be known of its length. Closing it closes `source`.
    """

    def __init__(self, source: IO[bytes], spots: Iterable[Spot]) -> None:
        self._source = source
        self._pieces = _pieces(spots)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation
        self._at = offset
        return offset

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        found = self._read(len(buffer))
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()

    def _read(self, count: int) -> bytes:
        """Up to `count` bytes of the one piece that holds this place."""
        number = bisect_right(self._pieces, self._at, key=lambda piece: piece[0])
        start, content, moved = self._pieces[number - 1]
        if self._at < start + len(content):
            return content[self._at - start :][:count]
        if number < len(self._pieces):
            count = min(count, self._pieces[number][0] - self._at)
        self._source.seek(self._at + moved)
        return self._source.read(count)


Piece = tuple[int, bytes, int]
"""Where it stands in the copy, what stands there, and how far behind it the source is ahead of the copy."""


def _pieces(spots: Iterable[Spot]) -> list[Piece]:
    pieces: list[Piece] = [(0, b"", 0)]
    moved = 0
    for spot in sorted(spots, key=lambda spot: spot.start):
        instead = spot.instead or b""
        start = spot.start - moved
        moved += spot.end - spot.start - len(instead)
        pieces.append((start, instead, moved))
    return pieces
