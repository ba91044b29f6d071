"""How a service is, in a line, and an exit code for uptime checks. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from casedrop.lines import lasting, percent
from casedrop.model import FindingState
from casedrop.near import several
from casedrop.status import ENDED, MOVING, WAITS_FOR_A_PERSON

WELL, TROUBLE, NOT_RUNNING = 0, 1, 75

SILENT = 120.0
"""Seconds after which a service that writes no status counts as not running."""

LOOKS_MISSED = 3
"""Looks at a drop that may fail to come before the last one is called old."""

STANDS = {"held": "is held", "paused": "is paused by a person"}


def health(report: Mapping[str, Any], now: float, *, runs: bool, rescan_seconds: float) -> tuple[int, str]:
    """The exit code and the line; no folder's name, since monitoring carries it away."""
    age = now - report["time"]
    if not runs or age > SILENT:
        return NOT_RUNNING, f"NOT RUNNING: the last status was written {lasting(age)} ago"
    oldest = LOOKS_MISSED * rescan_seconds + SILENT
    troubles = [words for drop in report["drops"] for words in _troubles(drop, now, oldest)]
    if troubles:
        return TROUBLE, f"ATTENTION: {'; '.join(troubles)} (`casedrop status` says why)"
    return WELL, f"well: {', '.join(drop['name'] for drop in report['drops'])}"


def headline(report: Mapping[str, Any]) -> str:
    """``3 on their way (uploading 40 %), 2 waiting, held: lung``, for `systemctl status`, which anyone may ask."""
    cases = [case for drop in report["drops"] for case in drop["cases"]]
    states = Counter(case["state"] for case in cases)
    moving = sum(states[state] for state in MOVING)
    persons = states[WAITS_FOR_A_PERSON]
    rest = sum(states[state] for state in (*ENDED, str(FindingState.LEFT_ALONE)))
    waiting = states.total() - moving - persons - rest
    said = [
        f"{moving} on {'its' if moving == 1 else 'their'} way{_sent(cases)}" if moving else "",
        f"{waiting} waiting" if waiting else "",
        f"{persons} {'waits' if persons == 1 else 'wait'} for a person" if persons else "",
        "uploads are paused" if any(drop["paused"] for drop in report["drops"]) else "",
        *_standing(report["drops"]),
        "the new configuration has mistakes and is not taken" if report.get("refused") else "",
    ]
    return ", ".join(filter(None, said)) or "nothing to do"


def _sent(cases: list[Mapping[str, Any]]) -> str:
    """Of all bytes of what is being uploaded."""
    sending = [case for case in cases if case.get("total_bytes")]
    figures = {name: sum(case[name] for case in sending) for name in ("sent_bytes", "total_bytes")}
    return f" (uploading {percent(figures)} %)" if sending else ""


def _standing(drops: list[Mapping[str, Any]]) -> Iterator[str]:
    for word in ("held", "paused", "rehearses"):
        if names := [drop["name"] for drop in drops if drop.get("stands") == word]:
            yield f"{word}: {several(names)}"


def _troubles(drop: Mapping[str, Any], now: float, oldest: float) -> Iterator[str]:
    """A drop that rehearses does what it is told to; a service from before an upgrade tells less."""
    name, scanned = drop["name"], drop.get("scanned", now)
    if words := STANDS.get(drop.get("stands", "")):
        yield f"{name} {words}"
    elif now - scanned > oldest:
        ago = f"since {lasting(now - scanned)}" if scanned else "yet"
        yield f"{name} has not been looked through {ago}"
    if drop["paused"]:
        yield f"uploads of {name} are paused"
    if waiting := sum(case["state"] == WAITS_FOR_A_PERSON for case in drop["cases"]):
        yield f"{waiting} of {name} {'wait' if waiting > 1 else 'waits'} for a person"
