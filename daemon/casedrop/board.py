"""How everything is, gathered and written to status.json, the one source of what people are shown."""

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from casedrop import status
from casedrop.journal import Journal
from casedrop.judge import Attempt
from casedrop.model import Case, Finding, FindingState
from casedrop.near import shown
from casedrop.rehearsal import would_become
from casedrop.stages import Stage
from casedrop.watched import Watched


def gather(
    drops: Iterable[Watched], journal: Journal, attempts: Mapping[int, Attempt], paused: str, now: float
) -> dict[str, Any]:
    """The pid, the time (seconds since 1970), and the drops.

    Each has name, rules (a fingerprint), held, paused and page (why nothing moves or is sent, or why there is no
    status page; or ""), table_changes (TableWatch.report), days (Tally.days), cases (status.of_case).
    """
    found = [_of_drop(watched, journal, attempts, now) | {"paused": paused} for watched in drops]
    return {"time": time.time(), "pid": os.getpid(), "drops": found}


def _rested(watched: Watched, journal: Journal) -> list[dict[str, Any]]:
    """The newest cases of each outcome; told anew only when one came to rest or left it."""
    if watched.root is None:
        return []
    found = [journal.recent(watched.root.id, stage, status.NEWEST) for stage in (Stage.DONE, Stage.FAILED)]
    if [*map(id, found)] != [*map(id, watched.rested_cases)]:
        watched.rested_cases = found
        watched.rested_said = [_of_rested(case, journal) for case in chain.from_iterable(found)]
    return watched.rested_said


def _of_rested(case: Case, journal: Journal) -> dict[str, Any]:
    """Of a split folder also display_sets: part, display_set and bytes of each that was committed."""
    said = status.of_case(case, "")
    if case.plan is None or not case.plan.parts:
        return said
    sets = journal.sets_of_parts(case)
    parts = [
        {"part": shown(part), "display_set": replace(case, set_pk=pk).address, "bytes": size}
        for part, (pk, size) in sets.items()
    ]
    return said | {"display_sets": parts, "bytes": sum(size for _, size in sets.values())}


def write(directory: Path, report: dict[str, Any]) -> None:
    """status.json, whole or not at all, for the service's user and group. Raises OSError."""
    hidden = directory / "status.tmp"
    descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "w") as file:
        json.dump(report, file)
    hidden.replace(directory / "status.json")


def _of_drop(
    watched: Watched, journal: Journal, attempts: Mapping[int, Attempt], now: float
) -> dict[str, Any]:
    cases = journal.under_way(watched.root.id) if watched.root else []
    under_way = [_of_case(watched, case, attempts.get(case.id, Attempt()), now) for case in cases]
    known = {shown(case.folder) for case in cases}
    found = [_of_finding(watched, one, now) for one in watched.fresh()] if watched.root else []
    return {
        "name": watched.drop.name,
        "rules": status.rules(watched.drop),
        "held": watched.hung(now) or watched.held or watched.no_new,
        "table_changes": watched.tables.report,
        "page": watched.page_problem,
        "days": watched.tally.days(time.time()),
        "cases": [
            *under_way,
            *(one for one in found if one["folder"] not in known),
            *_rested(watched, journal),
        ],
    }


def _of_finding(watched: Watched, finding: Finding, now: float) -> dict[str, Any]:
    said = status.of_finding(finding, round(time.time() - now))
    if finding.state is not FindingState.READY or finding.grouping is None:
        return said
    why = would_become(finding.grouping)
    if watched.drop.mode == "rehearse":
        return said | {"why": why}
    if watched.asks(finding):
        release = f"{why}; `casedrop release {watched.drop.name}/{shown(finding.folder)}` lets it go"
        return said | {"state": status.WAITS_FOR_A_PERSON, "why": release}
    return said


def _of_case(watched: Watched, case: Case, attempt: Attempt, now: float) -> dict[str, Any]:
    progress = watched.pipeline.progress.get(case.id)
    why = watched.stuck(case.id, now) or attempt.why
    said = status.of_case(case, why, (progress.sent, progress.total) if progress else None)
    if progress and "total_bytes" in said:
        said["bytes_per_second"] = round(progress.speed(now))
    return said | {"state": status.WAITS_FOR_A_PERSON} if attempt.person else said
