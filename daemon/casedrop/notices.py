"""What people are told by a message: the news between two reports, batched, and the daily digest. Pure.

The names of folders go through `hide`, as the log shows them. Of a failed folder only the words of its reasons are
told, since their texts name files.
"""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Literal

from casedrop import token_age
from casedrop.lines import size
from casedrop.near import several
from casedrop.stages import Stage
from casedrop.status import MOVING, NEWEST, WAITS_FOR_A_PERSON, WORDS

Kind = Literal["failed", "held", "resumed", "token", "digest"]
KINDS: tuple[Kind, ...] = ("failed", "held", "resumed", "token", "digest")

BATCH = 60.0
"""Seconds from the first of some news to the message that tells them."""

HOUR = 3600.0
MOST = 20
"""News that a message tells one by one."""

SAYS_WHY = "`casedrop status` says why."


@dataclass(frozen=True, slots=True)
class Notice:
    kind: Kind
    drop: str
    """None is named ("") where it concerns all."""
    line: str


@dataclass(frozen=True, slots=True)
class Message:
    title: str
    body: str
    trouble: bool = False
    """Whether somebody has to act."""


@dataclass(slots=True)
class News:
    """What is new in each report (board.gather). Nothing is remembered beyond a restart.

    Folders that had failed when a drop's root was first seen are known. A drop that is held at the start is told
    of, since it is held still.
    """

    hide: Callable[[str], str]
    since: float | None = None
    known: dict[str, set[tuple[str, float]]] = field(default_factory=dict)
    """The failed folders of each drop whose root was seen, with when they failed."""
    full: set[str] = field(default_factory=set)
    """Drops with more failed folders than a report names: when a newer one leaves, an older one comes up."""
    held: set[str] = field(default_factory=set)
    token: int = 0
    """How often the end of the token was told."""

    def of(self, report: Mapping[str, Any]) -> list[Notice]:
        self.since = report["time"] if self.since is None else self.since
        of_drops = [one for drop in report["drops"] for one in (*self._standing(drop), *self._failures(drop))]
        return [*self._token(report), *of_drops]

    def _token(self, report: Mapping[str, Any]) -> Iterator[Notice]:
        before, self.token = self.token, token_age.mark(report, report["time"])
        if self.token > before:
            yield Notice("token", "", token_age.words(report, report["time"]))

    def _standing(self, drop: Mapping[str, Any]) -> Iterator[Notice]:
        """One that a person pauses while it is held has not resumed."""
        name, stands = drop["name"], drop["stands"]
        if stands == "held" and name not in self.held:
            self.held.add(name)
            yield Notice("held", name, f"HELD: {name}. {cause(drop)}")
        elif stands not in ("held", "paused") and name in self.held:
            self.held.remove(name)
            yield Notice("resumed", name, f"{name} is no longer held.")

    def _failures(self, drop: Mapping[str, Any]) -> Iterator[Notice]:
        if not drop["ended"]:  # its root is not seen yet
            return
        name = drop["name"]
        first = name not in self.known
        known = self.known.setdefault(name, set())
        listed = [case for case in drop["cases"] if case["state"] == WORDS[Stage.FAILED]]
        new = [case for case in listed if (case["folder"], case["since"]) not in known]
        known.update((case["folder"], case["since"]) for case in new)
        was_full = name in self.full
        self.full = self.full | {name} if len(listed) >= NEWEST else self.full - {name}
        for case in [] if first else new:
            if not was_full or case["since"] >= (self.since or 0.0):
                words = ", ".join(case.get("reasons", ())) or "no word"
                yield Notice("failed", name, f"failed: {name}/{self.hide(case['folder'])} ({words})")


def cause(drop: Mapping[str, Any]) -> str:
    """Why a drop is held: the first sentence, unless it holds a path or the name of a folder."""
    first = re.split(r"(?<=[.!?])\s", drop["held"], maxsplit=1)[0]
    names = {text for case in drop["cases"] for text in (case["folder"], case.get("filed_as")) if text}
    places = re.sub(r"\b(drop|done|failed)/(?!\S)", "", first)
    return SAYS_WHY if {"/", "\\"} & set(places) or any(name in first for name in names) else first


@dataclass(slots=True)
class Outbox:
    """News on their way to one address; times are of one steady clock."""

    per_hour: int
    waiting: list[Notice] = field(default_factory=list)
    since: float = 0.0
    late: bool = False
    """Whether what waits has met the limit: only its number is told."""
    sent: deque[float] = field(default_factory=deque)

    def put(self, notices: Iterable[Notice], now: float) -> None:
        self.since = self.since if self.waiting else now
        self.waiting += notices

    def due(self, now: float, *, ending: bool = False) -> Message | None:
        """What is to be sent now; at the `ending` without waiting for more."""
        if not self.waiting or (now - self.since < BATCH and not ending):
            return None
        while self.sent and now - self.sent[0] >= HOUR:
            self.sent.popleft()
        if len(self.sent) >= self.per_hour:
            self.late = True
            return None
        message = _in_numbers(self.waiting) if self.late else _one_by_one(self.waiting)
        self.sent.append(now)
        self.waiting, self.late = [], False
        return message


def _counts(notices: Iterable[Notice]) -> str:
    counts = Counter(one.kind for one in notices)
    return ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])


def _one_by_one(notices: list[Notice]) -> Message:
    lines = [one.line for one in notices[:MOST]]
    if rest := notices[MOST:]:
        lines.append(f"and {len(rest)} more: {_counts(rest)}")
    return _message(f"Casedrop: {_counts(notices)}", lines, notices)


def _in_numbers(notices: list[Notice]) -> Message:
    more = f"{len(notices)} more"
    drops = several(dict.fromkeys(one.drop for one in notices if one.drop))
    of = f", of {drops}" if drops else ""
    line = f"{more} since the last message{of}: {_counts(notices)}."
    return _message(f"Casedrop: {more}", [line], notices)


def _message(title: str, lines: list[str], notices: list[Notice]) -> Message:
    trouble = any(one.kind in ("failed", "held", "token") for one in notices)
    return Message(title, "\n".join([*lines, "", "`casedrop status` on the server tells more."]), trouble)


@dataclass(slots=True)
class Days:
    """When the digest is due: once a day from `hour` on, by the service's `zone`, never at a start."""

    hour: int
    zone: tzinfo | None = None
    last: date | None = None

    def due(self, time: float) -> bool:
        """`time` in seconds since 1970."""
        local = datetime.fromtimestamp(time, UTC).astimezone(self.zone)
        day = local.date() - timedelta(days=local.hour < self.hour)
        before, self.last = self.last, day if self.last is None else max(day, self.last)
        return before is not None and day > before


def digest(drops: Iterable[Mapping[str, Any]]) -> Message:
    """Of each drop yesterday's numbers, and how it is now."""
    lines = [_day_of(drop) for drop in drops]
    return Message("Casedrop: daily digest", "\n".join(lines))


def _day_of(drop: Mapping[str, Any]) -> str:
    day = drop["days"][-2]
    states = Counter(case["state"] for case in drop["cases"])
    under_way = sum(states[state] for state in MOVING)
    there = (
        (under_way, "on the way"),
        (states[WAITS_FOR_A_PERSON], "waiting for a person"),
        (drop["ended"].get(Stage.FAILED, 0), "in failed/"),
    )
    now = ", ".join(f"{count} {words}" for count, words in there if count) or "nothing to do"
    stands = f"{drop['stands'].upper()}; " if drop["stands"] else ""
    done = f"{day['done']} done ({size(day['bytes'])}), {day['failed']} failed"
    return f"{drop['name']}: yesterday {done}; now {stands}{now}."
