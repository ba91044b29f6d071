"""How everything is, gathered and written to status.json, the one source of what people are shown."""

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from casedrop import __version__, status
from casedrop.journal import Journal
from casedrop.judge import Attempt
from casedrop.model import Case, Finding, FindingState
from casedrop.near import shown
from casedrop.rehearsal import would_become
from casedrop.resend import only_what_changed
from casedrop.stages import Stage
from casedrop.watched import Watched


def gather(
    drops: Iterable[Watched], journal: Journal, attempts: Mapping[int, Attempt], paused: str, now: float
) -> dict[str, Any]:
    """As docs/status.schema.json describes it: of the service, and the drops with their cases.

    Version, Casedrop's own, the time, the pid, the time of the journal's copy (0: none), and bytes free in the
    state directory.
    A drop has name, rules (a fingerprint), held, paused and page (why nothing moves or is sent, or why there is no
    status page; or ""), stands (held, paused, rehearses or ""), scanned (when the last good look began, 0: never),
    free (bytes in the root, where known), ended (how many folders are done and failed), table_changes
    (TableWatch.report), days (Tally.days) and cases (status.of_case). Times in seconds since 1970.
    """
    found = [_of_drop(watched, journal, attempts, now) | {"paused": paused} for watched in drops]
    free = shutil.disk_usage(journal.copy_path.parent).free
    own = {"version": status.VERSION, "casedrop": __version__, "time": time.time(), "pid": os.getpid()}
    return own | {"copied": journal.copied, "free": free, "drops": found}


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
        with suppress(OSError):
            os.fchmod(descriptor, 0o640)
        file.write(json.dumps(report))  # json.dump would encode it in Python, ten times slower
    hidden.replace(directory / "status.json")


def _of_drop(
    watched: Watched, journal: Journal, attempts: Mapping[int, Attempt], now: float
) -> dict[str, Any]:
    cases = journal.under_way(watched.root.id) if watched.root else []
    under_way = [_of_case(watched, journal, case, attempts.get(case.id, Attempt()), now) for case in cases]
    known = {shown(case.folder) for case in cases}
    fresh = watched.fresh() if watched.root else []
    found = [_of_finding(watched, journal, one, now) for one in fresh]
    moving = {case.name for case in cases} | {one.folder for one in fresh}
    return {
        "name": watched.drop.name,
        "rules": watched.scanner.rules,
        "held": watched.hung(now) or watched.held or watched.no_new,
        "table_changes": watched.tables.report(moving),
        **_figures(watched, journal, now),
        "page": watched.page_problem,
        "days": watched.tally.days(time.time()),
        "cases": [
            *under_way,
            *(one for one in found if one["folder"] not in known),
            *_rested(watched, journal),
        ],
    }


def _figures(watched: Watched, journal: Journal, now: float) -> dict[str, Any]:
    latest = watched.scanner.latest
    return {
        "stands": watched.stands(now),
        "scanned": time.time() - now + latest.started if latest else 0.0,
        "free": watched.scanner.free,
        "ended": journal.at_rest(watched.root.id) if watched.root else {},
    }


def _of_finding(watched: Watched, journal: Journal, finding: Finding, now: float) -> dict[str, Any]:
    said = status.of_finding(finding, round(time.time() - now))
    rehearses = watched.drop.mode == "rehearse"
    if finding.state is not FindingState.READY or not (rehearses or watched.asks(finding)):
        return said
    why = _becomes(watched, journal, finding)
    if rehearses:
        return said | {"why": why}
    release = f"`casedrop release {watched.drop.name}/{shown(finding.folder)}`"
    why = f"{why}; the administrator lets it go with {release}"
    return said | {"state": status.WAITS_FOR_A_PERSON, "why": why}


def _becomes(watched: Watched, journal: Journal, finding: Finding) -> str:
    """Told anew only where the folder is grouped anew."""
    assert finding.grouping is not None
    assert watched.root is not None
    grouping, words = watched.becomes.get(finding.folder, (None, ""))
    if grouping is not finding.grouping:
        by = watched.scanner.named, watched.scanner.kinds or {}
        rows = only_what_changed(watched.drop, journal, watched.root.id, finding, by)
        words = rows or would_become(finding.grouping)
        watched.becomes[finding.folder] = finding.grouping, words
    return words


def _of_case(watched: Watched, journal: Journal, case: Case, attempt: Attempt, now: float) -> dict[str, Any]:
    """Of a split folder also done_parts and total_parts."""
    progress = watched.pipeline.progress.get(case.id)
    why = watched.stuck(case.id, now) or attempt.why
    said = status.of_case(case, why, (progress.sent, progress.total) if progress else None)
    if progress and "total_bytes" in said:
        said |= progress.figures(now)
    if case.plan and case.plan.parts:
        stages = journal.stages_of_parts(case)
        said |= {"done_parts": stages.count(Stage.DONE), "total_parts": len(case.plan.parts)}
    return said | {"state": status.WAITS_FOR_A_PERSON} if attempt.person else said
