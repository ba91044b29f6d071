"""The checksums of what is sent, made while it goes by, on several processors."""

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

CHUNK = 1 << 20
"""Bytes that are read at once. Smaller ones are summed by who brings them: to hand them on costs as much."""

AHEAD = 2
"""Chunks that SHA-256 may be ahead of MD5, which costs more than twice as much; more of them is no quicker."""

_LANES = itertools.cycle([ThreadPoolExecutor(1, f"md5 {number}") for number in range(os.cpu_count() or 1)])


class Sums:
    """Of one file: sha256 of all, MD5 of each `part_size` bytes, of which each part's goes to the next thread."""

    def __init__(self, step: int) -> None:
        self.part_size = step
        self._whole = hashlib.sha256()
        self._parts = [hashlib.md5(usedforsecurity=False)]
        self._left = step
        self._lane = next(_LANES)
        self._behind: deque[Future[None]] = deque()

    def add(self, chunk: bytes | memoryview) -> None:
        """What a view shows may be gone once this returns."""
        is_large = len(chunk) >= CHUNK
        self._wait(AHEAD if is_large else 0)
        for update in self._updates(memoryview(chunk)):
            if is_large:
                self._behind.append(self._lane.submit(update))
            else:
                update()
        self._whole.update(chunk)
        if not isinstance(chunk, bytes):
            self._wait(0)

    def _updates(self, rest: memoryview) -> Iterator[Callable[[], None]]:
        """Of the parts' MD5s, in their order; a part begins with its first byte."""
        while rest:
            if not self._left:
                self._parts.append(hashlib.md5(usedforsecurity=False))
                self._left, self._lane = self.part_size, next(_LANES)
            piece, rest = rest[: self._left], rest[self._left :]
            self._left -= len(piece)
            yield partial(self._parts[-1].update, piece)

    def _wait(self, most: int) -> None:
        while len(self._behind) > most:
            self._behind.popleft().result()

    @property
    def sha256(self) -> str:
        return self._whole.hexdigest()

    @property
    def md5s(self) -> tuple[str, ...]:
        """One for each part; an empty file has one empty part."""
        self._wait(0)
        return tuple(part.hexdigest() for part in self._parts)
