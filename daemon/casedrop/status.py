"""What the service writes to status.json, and how a terminal shows it. Pure."""

import hashlib
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from casedrop.model import Case, Drop, Finding, FindingState
from casedrop.near import several, shown
from casedrop.stages import Stage

WORDS = {
    Stage.PLANNED: "on its way",
    Stage.UPLOADING: "uploading",
    Stage.COMMITTING: "uploading",
    Stage.CONFIRMING: "being checked by Grand Challenge",
    Stage.FILING: "being filed away",
    Stage.DONE: "done",
    Stage.FAILED: "failed",
    Stage.SETTLING: "settling",
}
NEWEST = 50
"""Cases of each outcome that are shown."""

WAITS = "waiting"
LOOK = "why: `systemctl status casedrop`, or the terminal where it was started by hand"
WAITS_FOR_A_PERSON = "waiting for a person"


def rules(drop: Drop) -> str:
    """A fingerprint of all that the configuration says of a drop."""
    return hashlib.sha256(repr(drop).encode()).hexdigest()[:16]


def outdated(report: Mapping[str, Any], drops: Iterable[Drop]) -> list[str]:
    """The drops that a service which wrote this report knows by other rules than these, or not at all."""
    known = {one["name"]: one.get("rules") for one in report["drops"]}
    wanted = {one.name: rules(one) for one in drops}
    return [name for name in wanted | known if wanted.get(name) != known.get(name)]


def outdated_words(names: Iterable[str]) -> str:
    return (
        f"The running service has other rules for {several(names)} than the configuration file: it reads "
        "that only at a start. Restart it (`systemctl restart casedrop`, or stop and start it by hand)."
    )


def of_case(case: Case, why: str, progress: tuple[int, int] | None = None) -> dict[str, Any]:
    """folder, state (WORDS), since (seconds since 1970) and why.

    Where known also reasons, display_set, filed_as, bytes (of what is done), sent_bytes and total_bytes.
    """
    said: dict[str, Any] = {
        "folder": shown(case.called),
        "state": WORDS[case.stage],
        "since": case.since,
        "why": why or " ".join(problem.text for problem in case.causes),
    }
    if case.reasons:
        said["reasons"] = case.reasons
    if case.committed:
        said["display_set"] = case.address
    if case.filed_as:
        said["filed_as"] = shown(case.filed_as)
    if case.stage is Stage.DONE and case.plan:
        said["bytes"] = case.plan.sent_size
    if progress and case.stage is Stage.UPLOADING:
        said["sent_bytes"], said["total_bytes"] = progress
    return said


def of_finding(finding: Finding, boot: float) -> dict[str, Any]:
    """The same for a name under drop/ that is no case yet; `boot` is when the boot clock was 0."""
    waits = finding.state is FindingState.SETTLING and finding.until is None
    said = {
        "folder": shown(finding.folder),
        "state": WAITS if waits else str(finding.state),
        "since": boot + finding.since,
        "why": finding.why,
    }
    return said if finding.until is None else said | {"until": boot + finding.until}


def lines(report: dict[str, Any], now: float, *, runs: bool, width: int) -> str:
    """The status for people, a paragraph a case; wrapped at `width` columns unless that is 0."""
    found = _lines(report, now, runs=runs)
    if not width:
        return "\n".join(found)
    return "\n".join(textwrap.fill(line, width, subsequent_indent="      ") for line in found)


def _lines(report: dict[str, Any], now: float, *, runs: bool) -> Iterator[str]:
    age = now - report["time"]
    if not runs:
        yield f"The service is not running; this is how things were {age:.0f} s ago ({LOOK})."
    elif age > 30:  # noqa: PLR2004
        yield f"The service wrote this {age:.0f} s ago: it may be stopped ({LOOK})."
    if names := report.get("outdated"):
        yield f"ATTENTION: {outdated_words(names)}"
    for drop in report["drops"]:
        yield f"{drop['name']}"
        if drop["held"]:
            yield f"  HELD: {drop['held']}"
        if drop.get("page"):
            yield f"  NO STATUS PAGE: {drop['page']}"
        if drop["paused"]:
            yield f"  Uploads paused: {drop['paused']}"
        if not drop["cases"]:
            yield "  no folders"
        waiting = [case["folder"] for case in drop["cases"] if case["state"] == WAITS_FOR_A_PERSON]
        if waiting:
            yield f"  WAITING FOR A PERSON: {several(waiting)}"
        yield from _table_changes(drop)
        for case in drop["cases"]:
            yield f"  {case['folder']}: {_state(case, now)}{_why(case)}"


def _table_changes(drop: dict[str, Any]) -> Iterator[str]:
    found = drop.get("table_changes", {"folders": 0, "first": []})
    hidden = found["folders"] - len(found["first"])
    more = f" (the first of {found['folders']} folders)" if hidden else ""
    for is_sent, how in ((True, "sends the new values"), (False, "says why they are not sent")):
        named = [f"{one['folder']} ({one['what']})" for one in found["first"] if one["retry"] is is_sent]
        if named:
            yield (
                f"  CHANGED IN A TABLE since they were sent: {several(named)}{more}; "
                f"`casedrop retry {drop['name']}/NAME` {how}"
            )


def _state(case: dict[str, Any], now: float) -> str:
    if case.get("total_bytes"):
        return f"{case['state']} {100 * case['sent_bytes'] // case['total_bytes']} %"
    if "until" in case:
        return f"{case['state']}, {max(case['until'] - now, 0):.0f} s more at most"
    return str(case["state"])


def _why(case: dict[str, Any]) -> str:
    parts = [
        text for text in (case["why"], case.get("display_set") if case["state"] == "done" else "") if text
    ]
    return "".join(f" - {part}" for part in parts)
