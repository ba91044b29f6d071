"""A plain token bucket: how many bytes may go out, whoever sends them. Pure."""

from dataclasses import dataclass

LEAST, MOST = 1 << 14, 1 << 20
"""Bytes of a piece that are asked for at once."""

BURST_SECONDS = 0.25
PIECES = 4
"""In a burst at least, so that no connection takes all of it."""


def burst(rate: float) -> float:
    """What may go out at once, in bytes; `rate` in bytes a second."""
    return min(max(rate * BURST_SECONDS, PIECES * LEAST), PIECES * MOST)


def piece(rate: float) -> int:
    """Bytes to ask for at once: few at a low rate, so that all connections go on before a server gives up."""
    return int(burst(rate)) // PIECES


@dataclass(slots=True)
class Bucket:
    """Fills at the rate it is told, up to a burst. `now` is seconds of a clock that only goes forward.

    It begins empty, so that what went out before a restart cannot be added to a full burst.
    """

    at: float
    level: float = 0.0

    def take(self, count: int, rate: float, now: float) -> float:
        """0 where `count` bytes (at most `piece(rate)`) may go out now; else seconds until that may be so.

        `rate` in bytes a second, above 0, is what held since the last call.
        """
        self.level = min(self.level + rate * max(now - self.at, 0.0), burst(rate))
        self.at = max(now, self.at)
        if self.level + 1 < count:  # what is less than a byte is lost in rounding
            return (count - self.level) / rate
        self.level -= count
        return 0.0
