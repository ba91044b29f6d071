"""When bytes may go out and how fast, by the clock on the wall, and whether a case can be through in time. Pure.

Times are seconds since 1970, rates bytes a second: 0 is closed, infinity has no limit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Literal

from casedrop.lines import lasting
from casedrop.lines import size as amount

DAY = 24 * 60
"""Minutes."""
WEEK = 7 * DAY
DAY_SECONDS = 60 * DAY
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

AHEAD = 15
"""Days that are looked through: of two weeks at least one has no night on which the clocks change."""

KEPT = 20 * 3600.0
"""Seconds from its first upload within which a case must be committed: the platform drops uploads after 24 h."""

SLACK = 1.1
"""A case counts as so much larger than it is: for requests between its parts, and parts sent twice."""

LATER = 900.0
"""Seconds after a closing in which what is under way may still be sent, at the rate that held before."""

UNLIMITED = float("inf")


@dataclass(frozen=True, slots=True)
class Window:
    """Minutes of the day from `start` up to `end`; one that ends at or before its start goes on the next day.

    `days` are those on which it starts, Monday is 0.
    """

    start: int
    end: int
    days: frozenset[int]
    rate: float

    @property
    def length(self) -> int:
        return (self.end - self.start) % DAY or DAY

    def minutes(self) -> Iterator[int]:
        """Of the week, on a wall whose clock is never changed."""
        return (
            (day * DAY + self.start + minute) % WEEK for day in self.days for minute in range(self.length)
        )

    def holds(self, day: int, minute: int) -> bool:
        at = day * DAY + minute - self.start
        return any((at - first * DAY) % WEEK < self.length for first in self.days)


@dataclass(frozen=True, slots=True)
class Schedule:
    """`rate` holds outside every window; of windows no two overlap.

    What the clock on the wall of `zone` shows decides: on the nights when it is changed, a window from 22:00 to
    06:00 has 7 or 9 hours.
    """

    rate: float = UNLIMITED
    windows: tuple[Window, ...] = ()
    zone: tzinfo = UTC

    @property
    def limits(self) -> bool:
        """Whether there is any limit at all."""
        return bool(self.windows) or self.rate != UNLIMITED

    def rate_at(self, now: float) -> float:
        wall = datetime.fromtimestamp(now, self.zone)
        day, minute = wall.weekday(), wall.hour * 60 + wall.minute
        return next((one.rate for one in self.windows if one.holds(day, minute)), self.rate)

    def rate_under_way(self, now: float) -> float:
        """For what is under way: the last rate still holds for a while after a closing."""
        if rate := self.rate_at(now):
            return rate
        since = now - LATER
        rates = [self.rate_at(since), *(rate for _, rate in self.changes(since, LATER))]
        return next(filter(None, reversed(rates)), 0.0)

    def changes(self, now: float, seconds: float = AHEAD * DAY_SECONDS) -> Iterator[tuple[float, float]]:
        """Each moment in the `seconds` after `now` at which another rate begins to hold, and that rate."""
        rate = self.rate_at(now)
        for moment in self._moments(now, now + seconds):
            before, rate = rate, self.rate_at(moment)
            if rate != before:
                yield moment, rate

    def opens(self, now: float) -> float | None:
        """`now` while it is open, else when it is next; None where it never is."""
        if self.rate_at(now):
            return now
        return next((moment for moment, rate in self.changes(now) if rate), None)

    def through(self, size: float, now: float) -> float | None:
        """When `size` bytes begun now are through; None where it closes before, or KEPT ends."""
        rate, left, at = self.rate_at(now), size * SLACK, now
        for moment, following in (*self.changes(now, KEPT), (now + KEPT, 0.0)):
            if not rate:
                return None
            if left <= rate * (moment - at):
                return at + left / rate
            left -= rate * (moment - at)
            at, rate = moment, following
        return None

    def begins(self, size: float, now: float) -> float | None:
        """From `now` on the first time at which `size` bytes may be begun; None where there is none.

        The most fits from a change of the rate on, or up to one.
        """
        if self.through(size, now) is not None:
            return now
        changes = [moment for moment, _ in self.changes(now)]
        starts = sorted(changes + [moment - KEPT for moment in changes if moment - KEPT > now])
        return next((start for start in starts if self.through(size, start) is not None), None)

    def _moments(self, now: float, until: float) -> list[float]:
        """When the wall may show the start or end of a window, or a new day, and when its clock is changed."""
        if not self.windows:
            return []
        first, last = (datetime.fromtimestamp(one, self.zone).date() for one in (now, until))
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        marks = {0} | {minute % DAY for one in self.windows for minute in (one.start, one.end)}
        found = {self._when(day, mark, fold) for day in days for mark in marks for fold in (0, 1)}
        found |= {self._changed(day) for day in days}
        return sorted(moment for moment in found if now < moment <= until)

    def _when(self, day: date, minute: int, fold: int = 0) -> float:
        """The first or (`fold` 1) second time that the wall shows it; some moment where it never does."""
        wall = datetime(day.year, day.month, day.day, *divmod(minute, 60), tzinfo=self.zone, fold=fold)
        return wall.timestamp()

    def _changed(self, day: date) -> float:
        """When the clock was changed on that day, to the minute; its midnight where it was not."""
        begin, end = (int(self._when(one, 0)) // 60 for one in (day, day + timedelta(days=1)))
        if self._ahead(begin) == self._ahead(end):
            return begin * 60.0
        while end - begin > 1:
            middle = (begin + end) // 2
            begin, end = (begin, middle) if self._ahead(middle) != self._ahead(begin) else (middle, end)
        return end * 60.0

    def _ahead(self, minute: int) -> timedelta | None:
        return datetime.fromtimestamp(minute * 60, self.zone).utcoffset()

    def clock(self, moment: float, now: float) -> str:
        """``22:00``; of a moment that is not within a day ``Monday 30 November, 22:00``."""
        wall = datetime.fromtimestamp(moment, self.zone)
        return f"{wall:%H:%M}" if moment - now < DAY_SECONDS else f"{wall:%A} {wall.day} {wall:%B, %H:%M}"


def said(schedule: Schedule, now: float) -> dict[str, Any]:
    """The status' key `limits` where there are any: megabit_per_second (None: no limit), changes, opens, says.

    `changes` is when another rate holds and `opens` when it opens next, where either is known.
    """
    if not schedule.limits:
        return {}
    rate = schedule.rate_at(now)
    changes = next((moment for moment, _ in schedule.changes(now)), None)
    opens = schedule.opens(now)
    return {
        "megabit_per_second": None if rate == UNLIMITED else round(rate * 8 / 1e6, 6),
        "changes": changes,
        "opens": opens if not rate else None,
        "says": _words(schedule, rate, changes, opens, now),
    }


def _words(schedule: Schedule, rate: float, changes: float | None, opens: float | None, now: float) -> str:
    if not rate:
        until = f" until {schedule.clock(opens, now)}" if opens else ""
        return f"Uploads are closed{until} (limits.hours)."
    until = f" until {schedule.clock(changes, now)}" if changes else ""
    fast = "as fast as the line is" if rate == UNLIMITED else f"with at most {rate * 8 / 1e6:.4g} Mbit/s"
    return f"Uploads go {fast}{until}."


def closed(schedule: Schedule, opens: float, now: float) -> str:
    """Why nothing more of a case is sent just now."""
    return f"It is sent at {schedule.clock(opens, now)}, when uploads are open (limits.hours)."


def not_in_time(schedule: Schedule, size: float, begins: float, now: float) -> str:
    """Why a case waits though it is open."""
    needs = (schedule.through(size, begins) or begins) - begins
    return (
        f"It needs about {lasting(needs)} and could not be through before uploads close, or within the "
        f"{KEPT / 3600:.0f} h that Grand Challenge leaves for it: it is sent at {schedule.clock(begins, now)} "
        "([limits])."
    )


OTHERS_FIRST = (
    "Other folders are sent first: with it, not all could be through before uploads close, or within the "
    f"{KEPT / 3600:.0f} h that Grand Challenge leaves for them ([limits])."
)


def never(size: float) -> str:
    """What is said of a case for which there is no time at all."""
    return (
        f"It is too large ({amount(size)}) to be sent at the rates of [limits] in any time in which uploads are "
        f"open, or within the {KEPT / 3600:.0f} h that Grand Challenge leaves for it. The administrator must "
        "allow a higher rate or longer hours (limits.megabit_per_second, limits.hours), or move the folder out of "
        "drop/ and have it made smaller."
    )
