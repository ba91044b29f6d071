"""How many folders came to rest on each day, and how many bytes. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from casedrop.model import Case
from casedrop.stages import Stage

DAYS = 14


@dataclass(frozen=True, slots=True)
class Rested:
    """A case that came to rest in done/ or failed/ then (seconds since 1970), wherever it is now.

    `whole` tells a folder from a part of one. `bytes` are those of what it sent, 0 of a failed one.
    """

    case_id: int
    failed: bool
    since: float
    bytes: int
    whole: bool


@dataclass(slots=True)
class Day:
    done: int = 0
    failed: int = 0
    bytes: int = 0

    def add(self, ended: Rested) -> None:
        self.done += ended.whole and not ended.failed
        self.failed += ended.whole and ended.failed
        self.bytes += ended.bytes


def rested(case: Case, sent: int) -> Rested:
    """Of a case that is done or failed, and the bytes it sent."""
    failed = case.stage is Stage.FAILED
    return Rested(case.id, failed, case.since, 0 if failed else sent, not case.head)


@dataclass(slots=True)
class Tally:
    """Of one root. Filled from the journal at the start, then told of each case; days are those of `zone`.

    A folder that fails and is done later counts as both; one that fails twice on a day failed once that day.
    """

    zone: tzinfo | None = None
    ended: set[tuple[date, int, bool]] = field(default_factory=set)
    counted: dict[date, Day] = field(default_factory=dict)

    def fill(self, ended: Iterable[Rested]) -> None:
        for one in ended:
            self._put(one)

    def note(self, case: Case) -> None:
        """The case as it is now."""
        if case.stage in (Stage.DONE, Stage.FAILED):
            self._put(rested(case, case.sent_size))

    def days(self, now: float) -> list[dict[str, Any]]:
        """The last DAYS days, oldest first: day (ISO 8601), done, failed (folders) and bytes."""
        today = self._day(now)
        self._forget(today)
        wanted = [today - timedelta(back) for back in reversed(range(DAYS))]
        found = [(day, self.counted.get(day, Day())) for day in wanted]
        return [
            {"day": day.isoformat(), "done": one.done, "failed": one.failed, "bytes": one.bytes}
            for day, one in found
        ]

    def _day(self, when: float) -> date:
        return datetime.fromtimestamp(when, UTC).astimezone(self.zone).date()

    def _put(self, ended: Rested) -> None:
        day = self._day(ended.since)
        key = (day, ended.case_id, ended.failed)
        if key not in self.ended:
            self.ended.add(key)
            self.counted.setdefault(day, Day()).add(ended)

    def _forget(self, today: date) -> None:
        last = today - timedelta(DAYS)
        self.ended = {one for one in self.ended if one[0] > last}
        self.counted = {day: one for day, one in self.counted.items() if day > last}
