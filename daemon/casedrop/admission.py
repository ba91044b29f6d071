"""Whole cases are let in, so that half-uploaded ones never wait for each other's room on the platform."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from casedrop.errors import CaseProblem, Waits
from casedrop.model import Problem

MOST_ROWS = 2000
"""Uploads a user may have at once (seen on a real server: 2000 work, one more is refused)."""

MOST_BYTES = 128 << 30
"""For verified users (source: the platform's settings); a lower limit is learned from its refusals."""

SECONDS = 20.0
"""Until a case that does not fit yet is looked at again."""


COUNT_SECONDS = 10.0
"""How long the platform's count of uploads is gone by, where it leaves room."""

FORGET = 86400.0
"""Seconds after which a learned limit is tried again: uploads of the day before are gone by then."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a case takes up until its values are attached: uploads, and their bytes.

    Of the uploads so many were `made` before, as far as the journal knows: the platform counts them already.
    """

    rows: int
    size: int
    made: int = 0


@dataclass(slots=True)
class Admission:
    """Shared by all drops: the limits are the user's."""

    inside: dict[int, Need] = field(default_factory=dict)
    most_bytes: int = MOST_BYTES
    learned: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)
    counted: float = -COUNT_SECONDS
    """When the platform was last asked how many uploads there are."""
    rows_there: int = 0
    """What it said, and what has left since: that may have been made later, and be there still."""
    left: int = 0
    """Uploads of all that ever left."""

    def enter(self, case_id: int, need: Need, count: Callable[[], int]) -> None:
        """Let a case in, or raise Waits where it does not fit yet, CaseProblem where it never can.

        `count` asks the platform how many uploads it counts; who is in already stays in. Rows that others
        inside have made already are counted twice: better too few are let in than too many.
        """
        if time.monotonic() - self.counted < COUNT_SECONDS:
            with suppress(Waits):
                self._enter(case_id, need)
                return
        left, found = self.left, count()
        with self.lock:
            self.counted, self.rows_there = time.monotonic(), found + self.left - left
        self._enter(case_id, need)

    def _enter(self, case_id: int, need: Need) -> None:
        with self.lock:
            if time.monotonic() - self.learned > FORGET:
                self.most_bytes = MOST_BYTES
            if need.size > self.most_bytes or need.rows > MOST_ROWS:
                raise CaseProblem(_never_fits(need, self.most_bytes))
            others = [one for known, one in self.inside.items() if known != case_id]
            size = need.size + sum(one.size for one in others)
            rows = self.rows_there + need.rows - need.made + sum(one.rows for one in others)
            if case_id not in self.inside and (size > self.most_bytes or rows > MOST_ROWS):
                raise Waits(
                    "Waits until Grand Challenge has taken in earlier uploads: it limits how much may be there at "
                    "once.",
                    SECONDS,
                )
            self.inside[case_id] = need

    def leave(self, case_id: int) -> None:
        with self.lock:
            self._left(self.inside.pop(case_id, Need(0, 0)))

    def _left(self, need: Need) -> None:
        self.left += need.rows
        self.rows_there += need.rows

    def refused(self, case_id: int, rows_there: int, made: int) -> None:
        """The platform took no more bytes: the limit is lower than what is in. The case steps back.

        It has `made` so many of its uploads. Where others than those inside have uploads there, which count too,
        nothing is learned of the limit. Raises CaseProblem where all that is there is this case's own.
        """
        with self.lock:
            need = self.inside.pop(case_id)
            self._left(need)
            total = need.size + sum(one.size for one in self.inside.values())
            if rows_there <= made + sum(one.rows for one in self.inside.values()):
                self.most_bytes, self.learned = min(self.most_bytes, total - 1), time.monotonic()
            if not self.inside and rows_there <= made:
                raise CaseProblem(_never_fits(need, self.most_bytes))


def _never_fits(need: Need, most: int) -> Problem:
    return Problem(
        "too-large",
        f"It would take {need.rows} uploads of together {need.size / 1e9:.3g} GB, and Grand Challenge takes at "
        f"most {MOST_ROWS} and less than {(most + 1) / 1e9:.3g} GB at once from this user. Nothing more of it is "
        "sent. Make the files smaller, or ask Grand Challenge for more room (an account that is not verified has "
        "only 2 GB).",
    )
