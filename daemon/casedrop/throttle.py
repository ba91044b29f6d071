"""What goes out is held to the configured rate and hours: one budget for all drops and connections."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from casedrop.budget import Bucket, piece
from casedrop.errors import Waits
from casedrop.hours import KEPT, OTHERS_FIRST, UNLIMITED, Schedule, closed, never, not_in_time
from casedrop.redrop import PERSON

STEP = 0.5
"""Seconds after which who waits for room looks whether it is still to wait."""

MOST = 600.0
"""Seconds until a case that waits is looked at again at the latest: the clock may be set."""

SOON = 60.0


@dataclass(frozen=True, slots=True)
class Sending:
    """A case that has begun: when (seconds since 1970), and what asks for the bytes that are left of it."""

    since: float
    left: Callable[[], int]


@dataclass(slots=True)
class Throttle:
    """Shared by all threads; `now` is seconds since 1970."""

    schedule: Schedule = field(default_factory=Schedule)
    now: Callable[[], float] = time.time
    inside: dict[int, Sending] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    bucket: Bucket = field(default_factory=lambda: Bucket(time.monotonic()))

    def enter(self, case_id: int, left: Callable[[], int], *, begun: bool) -> None:
        """Let a case begin, or raise Waits where it could not be through in time, with what is under way.

        One that has `begun` goes on whenever it is open: what it has sent would be lost otherwise.
        """
        if not self.schedule.limits:
            return
        with self.lock:
            now, schedule = self.now(), self.schedule
            opens = schedule.opens(now)
            if opens is None or (not begun and schedule.begins(left(), now) is None):
                raise Waits(never(left()), PERSON, person=True)
            if opens > now:
                raise self._until(opens, now)
            if not begun:
                self._expect_time(left(), now)
            self.inside[case_id] = Sending(now, left)

    def _expect_time(self, size: int, now: float) -> None:
        schedule = self.schedule
        begins = schedule.begins(size, now)
        if begins is not None and begins > now:
            raise Waits(not_in_time(schedule, size, begins, now), min(begins - now, MOST))
        through = schedule.through(size + sum(one.left() for one in self.inside.values()), now)
        oldest = min((one.since for one in self.inside.values()), default=now)
        if through is None or through - oldest > KEPT:
            raise Waits(OTHERS_FIRST, SOON)

    def leave(self, case_id: int) -> None:
        with self.lock:
            self.inside.pop(case_id, None)

    def allow(self, count: int, check: Callable[[], None]) -> int:
        """Wait until bytes may go out: how many, at most `count`; `check` may raise meanwhile.

        Raises Waits once it has been closed for a while.
        """
        while self.schedule.limits:
            now = self.now()
            rate = self.schedule.rate_under_way(now)
            if not rate:
                raise self._until(self.schedule.opens(now) or now + MOST, now)
            if rate == UNLIMITED:
                return count
            count = min(count, piece(rate))
            with self.lock:
                wait = self.bucket.take(count, rate, time.monotonic())
            if not wait:
                return count
            time.sleep(min(wait, STEP))
            check()
        return count

    def _until(self, opens: float, now: float) -> Waits:
        return Waits(closed(self.schedule, opens, now), min(opens - now, MOST))
