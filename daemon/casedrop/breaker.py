"""When Casedrop pauses of its own accord: a host that does not answer, folders that all fail alike. Pure."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from casedrop.model import Problem, Weight

LONGEST = 300.0


@dataclass(frozen=True, slots=True)
class Trip:
    failures: int
    until: float
    why: str
    asked: bool = False
    """The host itself named the time (Retry-After)."""


@dataclass(slots=True)
class Breaker:
    """One entry per host ("platform", "storage") or limit ("quota", "uploads"); times are of one steady clock."""

    trips: dict[str, Trip] = field(default_factory=dict)
    since: float | None = None
    """When the oldest of the open trips began."""

    def trip(self, host: str, why: str, now: float, retry_after: float | None) -> float:
        """Not now: until when. Each time in a row waits longer, with jitter, at least `retry_after`."""
        before = self.trips.get(host, Trip(0, 0.0, ""))
        self.since = now if self.since is None else self.since
        if before.until > now:
            return before.until
        failures = before.failures + 1
        backoff = min(LONGEST, 2.0 ** min(failures, 9)) * random.uniform(0.5, 1.0)  # noqa: S311
        until = now + max(backoff, retry_after or 0.0)
        self.trips[host] = Trip(failures, until, why, asked=retry_after is not None)
        return until

    def mended(self, now: float) -> bool:
        """Something got through; whether anything was broken before. What a host asked for is kept to."""
        before = len(self.trips)
        self.trips = {host: trip for host, trip in self.trips.items() if trip.asked and trip.until > now}
        if not self.trips:
            self.since = None
        return len(self.trips) < before

    def open(self, now: float) -> str:
        """Why nothing is sent now, "" where something may be."""
        return "; ".join(trip.why for trip in self.trips.values() if trip.until > now)


IN_A_ROW = 5


@dataclass(slots=True)
class Brake:
    """Folders that fail one after the other for one reason: probably the rules are wrong, not the folders."""

    reason: tuple[str, ...] = ()
    cases: set[int] = field(default_factory=set)

    @property
    def count(self) -> int:
        return len(self.cases)

    def failed(self, case_id: int, problems: Iterable[Problem]) -> None:
        """Only problems that stop a folder make its reason; one folder tried again and again counts once."""
        reason = tuple(sorted({one.word for one in problems if one.weight is not Weight.NOTE}))
        self.cases = {*self.cases, case_id} if reason == self.reason else {case_id}
        self.reason = reason

    def done(self) -> None:
        self.reason, self.cases = (), set()

    @property
    def why(self) -> str:
        """Why no new folder is taken, "" while they are."""
        if self.count < IN_A_ROW:
            return ""
        return (
            f"{self.count} folders in a row failed for the same reason ({', '.join(self.reason)}; the reasons in "
            "failed/ say more), so probably the rules are wrong and not the folders. No new folder is taken. "
            "Correct the rules in the configuration and reload the service (`systemctl reload casedrop`); or, if "
            "the folders were at fault, move a corrected one back from failed/ to drop/: once it goes through, "
            "the others follow."
        )
