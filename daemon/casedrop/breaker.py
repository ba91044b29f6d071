"""When a host that does not answer is asked again. Pure: the clock is an argument."""

import random
from dataclasses import dataclass, field

LONGEST = 300.0


@dataclass(frozen=True, slots=True)
class Trip:
    failures: int
    until: float
    why: str


@dataclass(slots=True)
class Breaker:
    """One entry per host ("platform", "storage", "quota"); times are seconds of one steady clock."""

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
        self.trips[host] = Trip(failures, until, why)
        return until

    def mended(self) -> bool:
        """Something got through; whether anything was broken before."""
        broken, self.since = bool(self.trips), None
        self.trips.clear()
        return broken

    def open(self, now: float) -> str:
        """Why nothing is sent now, "" where something may be."""
        return "; ".join(trip.why for trip in self.trips.values() if trip.until > now)
