"""What the service writes to status.json, in its words. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
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

VERSION = 1
"""Of what status.json holds (docs/status.schema.json): another one where something goes or means another thing."""

ENDED = (WORDS[Stage.DONE], WORDS[Stage.FAILED])
MOVING = frozenset(WORDS.values()) - {*ENDED, WORDS[Stage.SETTLING]}
"""On the way to Grand Challenge."""
WAITS = "waiting"
WAITS_FOR_A_PERSON = str(FindingState.STUCK)


def rules(drop: Drop) -> str:
    """A fingerprint of all that the configuration says of a drop."""
    return hashlib.sha256(repr(drop).encode()).hexdigest()[:16]


def released(signature: str, rules: str) -> str:
    """What a person lets go: the folder as it looked (settle.signature), by these rules."""
    return f"{signature} {rules}"


def outdated(report: Mapping[str, Any], drops: Iterable[Drop]) -> list[str]:
    """The drops that a service which wrote this report knows by other rules than these, or not at all."""
    known = {one["name"]: one.get("rules") for one in report["drops"]}
    wanted = {one.name: rules(one) for one in drops}
    return [name for name in wanted | known if wanted.get(name) != known.get(name)]


def outdated_words(names: Iterable[str]) -> str:
    return (
        f"The running service has other rules for {several(names)} than the configuration file: it reads "
        "that when it is told to (`systemctl reload casedrop`), or at a start where it was started by hand."
    )


def of_case(case: Case, why: str, progress: tuple[int, int] | None = None) -> dict[str, Any]:
    """folder, state (WORDS), since (seconds since 1970) and why.

    Where known also reasons, display_set, filed_as, bytes (of what is done), sent_bytes and total_bytes; the board
    adds `pipeline.Progress.figures`.
    """
    said: dict[str, Any] = {
        "folder": shown(case.called),
        "state": WORDS[case.stage],
        "since": case.since,
        "why": why or " ".join(problem.text for problem in case.causes),
    }
    if case.reasons:
        said["reasons"] = case.reasons
    if case.came_to:
        said["display_set"] = case.came_to
    if case.filed_as:
        said["filed_as"] = shown(case.filed_as)
    if case.stage is Stage.DONE and case.plan:
        said["bytes"] = case.sent_size
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
