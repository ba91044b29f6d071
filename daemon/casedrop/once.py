"""When `casedrop run --once` has brought everything to its end, and what it says then."""

from collections.abc import Iterable, Mapping

from casedrop.journal import Journal
from casedrop.judge import Attempt
from casedrop.model import FindingState
from casedrop.scan import EMPTY, WAITS_FOR_KINDS
from casedrop.stages import DELIVERED
from casedrop.watch import boot_clock
from casedrop.watched import Watched

DONE, SOME_FAILED, LATER = 0, 1, 75


def exit_code(drops: Iterable[Watched], journal: Journal, attempts: Mapping[int, Attempt]) -> int | None:
    """The highest code of all drops once nothing more will come of waiting, else None."""
    if any(attempt.running for attempt in attempts.values()):  # what it did is not judged yet
        return None
    codes = [_of_drop(watched, journal, attempts) for watched in drops]
    known = [code for code in codes if code is not None]
    return max(known, default=DONE) if len(known) == len(codes) else None


def _of_drop(watched: Watched, journal: Journal, attempts: Mapping[int, Attempt]) -> int | None:
    if watched.held or watched.hung(boot_clock()):
        return LATER
    if watched.root is None or not watched.study or watched.scanner.latest is None:
        return None
    if watched.counting:  # else the last status would not have the days before
        return None
    known = journal.under_way(watched.root.id)
    waits_for_its_parts = {case.head for case in known}
    under_way = [case for case in known if case.id not in waits_for_its_parts]
    moving = [case for case in under_way if not (watched.sends_nothing and case.stage in DELIVERED)]
    if any(case.id not in attempts or not attempts[case.id].person for case in moving):
        return None
    if watched.scanner.latest.started <= max(watched.rested.values(), default=0.0):
        return None
    if watched.tables.is_behind(watched.scanner.named):
        return None
    findings = watched.scanner.latest.findings
    ready = [one for one in findings if one.state in (FindingState.READY, FindingState.WRONG)]
    taken = not watched.no_new and any(not watched.asks(one) for one in ready)
    if any(one.why == WAITS_FOR_KINDS for one in findings):  # they are known by now: the next scan uses them
        return None
    if any(one.until is not None for one in findings) or taken:
        return None
    waits = (FindingState.SETTLING, FindingState.STUCK)
    waiting = any(one.state in waits and one.why != EMPTY for one in findings)
    if under_way or waiting or ready:
        return LATER
    return SOME_FAILED if watched.failures else DONE
