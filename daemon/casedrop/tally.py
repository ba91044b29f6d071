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
    """A case in done/ or failed/ since then (seconds since 1970); `whole` tells a folder from a part of one.

    `bytes` are those of what it sent, 0 of a failed one.
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

    def add(self, ended: Rested, sign: int) -> None:
        self.done += sign * (ended.whole and not ended.failed)
        self.failed += sign * (ended.whole and ended.failed)
        self.bytes += sign * ended.bytes


def _sent(case: Case) -> int:
    """Of a split folder nothing: its parts are cases of their own."""
    if case.stage is not Stage.DONE or case.twin_of or case.plan is None or case.plan.parts:
        return 0
    return case.plan.sent_size


@dataclass(slots=True)
class Tally:
    """Of one root. Filled from the journal at the start, then told of each case; days are those of `zone`."""

    zone: tzinfo | None = None
    ended: dict[int, Rested] = field(default_factory=dict)
    counted: dict[date, Day] = field(default_factory=dict)

    def fill(self, ended: Iterable[Rested]) -> None:
        """What was noted meanwhile is newer."""
        for one in ended:
            if one.case_id not in self.ended:
                self._put(one)

    def note(self, case: Case) -> None:
        """The case as it is now: one that is under way again is no longer counted where it was."""
        self._take(case.id)
        if case.stage in (Stage.DONE, Stage.FAILED):
            failed = case.stage is Stage.FAILED
            self._put(Rested(case.id, failed, case.since, _sent(case), not case.head))

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
        self.ended[ended.case_id] = ended
        self.counted.setdefault(self._day(ended.since), Day()).add(ended, 1)

    def _take(self, case_id: int) -> None:
        before = self.ended.pop(case_id, None)
        if before:
            self.counted.setdefault(self._day(before.since), Day()).add(before, -1)

    def _forget(self, today: date) -> None:
        old = {day for day in self.counted if day <= today - timedelta(DAYS)}
        if old:
            self.ended = {one: case for one, case in self.ended.items() if self._day(case.since) not in old}
            self.counted = {day: one for day, one in self.counted.items() if day not in old}
