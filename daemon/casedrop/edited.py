"""A file as it is read without some of its bytes. Pure."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import IO

from casedrop.placed import Placed
from casedrop.spots import Spot

CHUNK = 1 << 20


class Edited(Placed):
    """`source` with each spot's bytes replaced; may be read from any place if `source` may be.

    It ends where `source` does, so that nothing must be known of its length. Closing it closes `source`.
    """

    def __init__(self, source: IO[bytes], spots: Iterable[Spot]) -> None:
        super().__init__()
        self._source = source
        self._pieces = _pieces(spots)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()

    def _read_at(self, start: int, count: int) -> bytes:
        """Up to `count` bytes of the one piece that holds this place."""
        number = bisect_right(self._pieces, start, key=lambda piece: piece[0])
        first, content, moved = self._pieces[number - 1]
        if start < first + len(content):
            return content[start - first :][:count]
        if number < len(self._pieces):
            count = min(count, self._pieces[number][0] - start)
        self._source.seek(start + moved)
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
