"""How fast an upload goes, how long it will take, and when a line in the log is due. Pure."""

from collections import deque
from dataclasses import dataclass, field
from math import ceil

SPAN = 20.0
"""Seconds of which the speed is the mean."""

LOOKS = 1.0
"""Seconds between two looks that are kept."""

STEP = 10
"""Percent between two lines, in the log or on a terminal."""

TELL_SECONDS = 30.0
"""At least so long between two lines: what takes less has none."""


@dataclass(slots=True)
class Pace:
    """Of one upload, as one thread looks at it; `now` is seconds of a clock that only goes forward."""

    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def speed(self, now: float, moved: int) -> float | None:
        """Bytes a second, the mean of the last SPAN seconds; None until that can be told."""
        if not self.seen or now - self.seen[-1][0] >= LOOKS:
            self.seen.append((now, moved))
        while now - self.seen[0][0] > SPAN:
            self.seen.popleft()
        since, before = self.seen[0]
        return (moved - before) / (now - since) if now - since >= LOOKS else None


@dataclass(slots=True)
class Milestones:
    """Which tenths of an upload were told, and when."""

    at: float | None = None
    percent: int = 0

    def due(self, now: float, percent: int) -> bool:
        """Whether another tenth is reached and the last line is old enough; counts as told then."""
        if self.at is not None and now - self.at < TELL_SECONDS:
            return False
        further = self.at is not None and percent // STEP > self.percent // STEP
        if further or self.at is None:
            self.at, self.percent = now, percent
        return further


def figures(speed: float | None, left: int) -> dict[str, int]:
    """The keys `speed` (bytes a second) and `left_seconds`, where they are known; `left` is bytes."""
    if speed is None or not left:
        return {}
    said = {"speed": round(speed)}
    return said | {"left_seconds": ceil(left / speed)} if said["speed"] else said
