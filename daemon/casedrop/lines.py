"""The status as lines of text: all of it, or what is new. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from casedrop import token_age
from casedrop.near import several, shown
from casedrop.pace import STEP
from casedrop.stages import Stage
from casedrop.status import ENDED, WAITS_FOR_A_PERSON, WORDS, outdated_words

LOOK = "why: `systemctl status casedrop`, or the terminal where it was started by hand"

STALE = 30.0
"""Seconds after which a status is old."""

UNITS = (("days", 86400), ("h", 3600), ("min", 60))
POWERS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))

Told = dict[tuple[str, str], str]
"""What was last said, by drop and folder; of a drop itself by "", of the service by "" twice."""


@dataclass(frozen=True, slots=True)
class _News:
    """A line, what of it counts as a change, and whether it is nothing new to somebody who has just come."""

    key: tuple[str, str]
    mark: str
    line: str
    usual: bool


def lines(report: Mapping[str, Any], now: float, *, runs: bool) -> str:
    """A line for each case, never wrapped: for pipes."""
    said = [*service_words(report, now, runs=runs), *limits_words(report)]
    for drop in report["drops"]:
        said += [shown(drop["name"]), *(f"  {words}" for words in drop_words(drop))]
        said += [f"  {_line(case, far(case, now))}" for case in drop["cases"]]
    return "\n".join(said)


def news(report: Mapping[str, Any], now: float, told: Told, *, runs: bool) -> list[str]:
    """A line for each thing that has changed since `told`, which is brought up to date.

    The first time for all that is there, but not for what had come to rest before.
    """
    first = not told
    found = {one.key: one for one in _all(report, now, runs=runs)}
    new = [one for one in found.values() if one.mark != told.get(one.key) and not (first and one.usual)]
    told.clear()
    told.update({one.key: one.mark for one in found.values()})
    return [one.line for one in new]


def _all(report: Mapping[str, Any], now: float, *, runs: bool) -> Iterator[_News]:
    """Of several cases of one folder the newest comes last."""
    words = " ".join(service_words(report, now, runs=runs))
    yield _News(("", ""), _steady(words), words or "The service runs.", not words)
    for drop in report["drops"]:
        name, words = shown(drop["name"]), " ".join(standing(drop))
        yield _News((name, ""), _steady(words), f"{name}: {words or 'goes on'}", not words)
        for case in sorted(drop["cases"], key=lambda one: float(one["since"])):
            tenth = percent(case) // STEP if case.get("total_bytes") else ""
            ended = case["state"] in ENDED
            line = f"{name}/{_line(case, '' if ended else far(case, now))}"
            mark = f"{case['state']} {tenth} {_steady(case['why'])}"
            yield _News((name, case["folder"]), mark, line, ended)


def _steady(words: str) -> str:
    """Without the numbers, which may count the time."""
    return re.sub(rf"\d+( ({'|'.join(unit for unit, _ in UNITS)}|s)\b)?", "", words)


def service_words(report: Mapping[str, Any], now: float, *, runs: bool) -> Iterator[str]:
    """What is to be said before anything else, nothing while all is well."""
    age = now - report["time"]
    if not runs:
        yield f"The service is not running; this is how things were {lasting(age)} ago ({LOOK})."
    elif age > STALE:
        yield f"The service wrote this {lasting(age)} ago: it may be stopped ({LOOK})."
    if why := report.get("refused"):
        yield f"ATTENTION: the new configuration is not taken, the service goes on by the one before. {shown(why)}"
    elif names := report.get("outdated"):
        yield f"ATTENTION: {outdated_words(names)}"
    if words := token_age.words(report, now):
        yield f"ATTENTION: {words}"


def limits_words(report: Mapping[str, Any]) -> Iterator[str]:
    """How fast uploads may go by [limits], and until when; nothing where they may always go as they can."""
    if says := report.get("limits", {}).get("says"):
        yield shown(says)


def drop_words(drop: Mapping[str, Any]) -> Iterator[str]:
    """What is to be said of a whole drop."""
    yield from standing(drop)
    if not drop["cases"]:
        yield "no folders"
    waiting = [case["folder"] for case in drop["cases"] if case["state"] == WAITS_FOR_A_PERSON]
    if waiting:
        yield f"WAITING FOR A PERSON: {several(waiting)}"
    yield from table_changes(drop)


def standing(drop: Mapping[str, Any]) -> Iterator[str]:
    """Why nothing of a drop moves, or is sent; nothing while all is well."""
    if drop["held"]:
        words = {"paused": "Paused", "rehearses": "Rehearses"}.get(drop.get("stands", ""), "HELD")
        yield f"{words}: {shown(drop['held'])}"
    if drop.get("page"):
        yield f"NO STATUS PAGE: {shown(drop['page'])}"
    if drop["paused"]:
        yield f"Uploads paused: {shown(drop['paused'])}"


def table_changes(drop: Mapping[str, Any]) -> Iterator[str]:
    """Which finished folders' rows say something else by now."""
    found = drop.get("table_changes", {"folders": 0, "first": []})
    hidden = found["folders"] - len(found["first"])
    more = f" (the first of {found['folders']} folders)" if hidden else ""
    for is_sent, how in ((True, "sends the new values"), (False, "says why they are not sent")):
        named = [f"{one['folder']} ({one['what']})" for one in found["first"] if one["retry"] is is_sent]
        if named:
            yield (
                f"CHANGED IN A TABLE since they were sent: {several(named)}{more}; "
                f"`casedrop retry {drop['name']}/NAME` {how}"
            )


def _line(case: Mapping[str, Any], how_far: str) -> str:
    """``P001: uploading, 40 %, 12.0 MB/s - why``."""
    state = ", ".join(filter(None, (case["state"], how_far)))
    return " - ".join(filter(None, (f"{shown(case['folder'])}: {state}", why(case))))


def far(case: Mapping[str, Any], now: float) -> str:
    """How far a case is, until when it waits at most, or how long ago it ended; "" where that is not known."""
    if case.get("total_bytes"):
        return ", ".join([f"{percent(case)} %", *_speed(case)])
    if "until" in case:
        return f"{lasting(case['until'] - now)} more at most"
    return f"{lasting(now - case['since'])} ago" if case["state"] in ENDED else ""


def percent(case: Mapping[str, Any]) -> int:
    """Of the bytes of a case that is being uploaded."""
    return int(100 * case["sent_bytes"] // case["total_bytes"])


def _speed(case: Mapping[str, Any]) -> Iterator[str]:
    if "speed" in case:
        yield f"{size(case['speed'])}/s"
    if "left_seconds" in case:
        yield f"{lasting(case['left_seconds'])} left"


def why(case: Mapping[str, Any]) -> str:
    """Why it waits or failed, and of what is done its display set."""
    address = case.get("display_set", "") if case["state"] == WORDS[Stage.DONE] else ""
    return " - ".join(shown(text) for text in (case["why"], address) if text)


def lasting(seconds: float) -> str:
    """In the largest unit of which there are two at least: ``90 s``, ``3 min``, ``5 h``, ``4 days``."""
    whole = max(round(seconds), 0)
    large = next(((unit, length) for unit, length in UNITS if whole >= 2 * length), None)
    return f"{whole // large[1]} {large[0]}" if large else f"{whole} s"


def size(count: float) -> str:
    """``12.3 MB``."""
    large = next(((unit, power) for unit, power in POWERS if count >= power), None)
    return f"{count / large[1]:.1f} {large[0]}" if large else f"{count:.0f} B"
