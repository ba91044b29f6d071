"""How much may be in hand at once, for threads that share it."""

import threading
from collections import deque
from functools import partial

from casedrop.reading import Check

CHECK_SECONDS = 0.5


class Allowance:
    """Bytes that may be in hand at once; first come, first served, and more than there are goes alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    def take(self, size: int, check: Check) -> None:
        """Wait until there is room; `check` is asked now and then, and may raise."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
        try:
            while not self._taken(size, ticket):
                check()
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def take_now(self, size: int) -> bool:
        """Whether there was room, and nobody waits for it."""
        with self._changed:
            fits = not size or (not self._queue and self._fits(size))
            self._held += size if fits else 0
            return fits

    def give(self, size: int) -> None:
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def _taken(self, size: int, ticket: object) -> bool:
        with self._changed:
            mine = partial(self._is_next, size, ticket)
            if not self._changed.wait_for(mine, CHECK_SECONDS):
                return False
            self._held += size
            return True

    def _is_next(self, size: int, ticket: object) -> bool:
        return not size or (self._queue[0] is ticket and self._fits(size))

    def _fits(self, size: int) -> bool:
        return not self._held or self._held + size <= self._most
