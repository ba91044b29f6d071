"""The loop: read what the scanners saw, hand cases to threads, write down how things are.

The loop itself never waits for a disk or a network: scanners, case threads, the one confirming thread
and one filing thread per drop do.
"""

import errno
import json
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from casedrop import roots, status
from casedrop.breaker import Breaker
from casedrop.check import check_platform
from casedrop.config import Settings
from casedrop.errors import (
    CaseProblem,
    FolderChanged,
    Refused,
    SetupProblem,
    Stopping,
    Unavailable,
    Unclear,
    Waits,
)
from casedrop.file_away import forget_texts
from casedrop.grand_challenge import GrandChallenge, ReaderStudy
from casedrop.intake import Destination, begin
from casedrop.journal import Journal
from casedrop.logs import Names
from casedrop.model import Case, Drop, Finding, FindingState, Listing, Problem
from casedrop.pipeline import Pipeline, Place
from casedrop.scan import EMPTY, Scanner, ScanTimes
from casedrop.settle import data
from casedrop.stages import DELIVERED, Stage
from casedrop.upload import Lane
from casedrop.watch import boot_clock, list_folder

RECHECK = 30.0
TRIES = 5
UNREACHABLE_ONCE = 60.0
LATE_SECOND_LOOK = 600.0


@dataclass(slots=True)
class Watched:
    """One drop as the service sees it: `held` is why nothing of it moves, "" when it moves."""

    drop: Drop
    scanner: Scanner
    filing: ThreadPoolExecutor
    root: roots.Root | None = None
    study: ReaderStudy | None = None
    held: str = ""
    next_check: float = 0.0
    checking: Future[None] | None = None
    released: dict[str, float] = field(default_factory=dict)
    """When a folder's case came to rest (boot clock): only a scan begun later speaks of that name again."""

    @property
    def path(self) -> Path:
        return Path(self.drop.root)


@dataclass(slots=True)
class Attempt:
    """When a case is looked at next (boot clock), why it waits, and what is running for it."""

    next_look: float = 0.0
    why: str = ""
    looks: int = 0
    running: Future[Case] | None = None
    person: bool = False


class Service:
    """`tick(now)` is one turn of the loop; `run` turns until told to stop."""

    def __init__(self, settings: Settings, token: Callable[[], str], names: Names) -> None:
        limits = settings.limits
        self.settings = settings
        self.names = names
        self.log = structlog.get_logger()
        self.journal = Journal(settings.state.directory / "journal.sqlite")
        self.stopping = threading.Event()
        self.wake = threading.Event()
        self.platform = GrandChallenge(settings.platform.url, token, limits.connections)
        self.parts = ThreadPoolExecutor(limits.connections, "part")
        self.cases = ThreadPoolExecutor(limits.cases, "case")
        self.confirming = ThreadPoolExecutor(1, "confirm")
        lane = Lane(
            self.platform, self.parts, max(2, limits.connections // limits.cases), self._expect_running
        )
        self.pipeline = Pipeline(
            self.platform, self.journal, lane, limits.import_seconds, limits.reassign_seconds
        )
        self.drops = [self._watched(drop) for drop in settings.drops]
        self.attempts: dict[int, Attempt] = {}
        self.breaker = Breaker()
        self.started = time.time()

    def stop(self) -> None:
        """Only sets flags: safe in a signal handler."""
        self.stopping.set()
        self.wake.set()

    def run(self, *, once: bool = False) -> int:
        """Until stopped (0), or with `once` until everything there is at its end: 0, 1 or 75."""
        self.log.info("started", drops=len(self.drops), platform=self.settings.platform.url)
        for watched in self.drops:
            watched.scanner.start()
        try:
            while not self.stopping.is_set():
                self.wake.clear()
                now = boot_clock()
                self.tick(now)
                if once and (code := self._ended(now)) is not None:
                    return code
                self.wake.wait(self._pause(boot_clock()))
            return 0
        finally:
            self.close()

    def close(self) -> None:
        """Give up what is under way; the journal knows how far everything got."""
        self.stopping.set()
        for watched in self.drops:
            watched.scanner.stop()
        running = [attempt.running for attempt in self.attempts.values() if attempt.running]
        deadline = time.monotonic() + 5
        while any(not future.done() for future in running) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pool in (self.cases, self.parts, self.confirming, *(one.filing for one in self.drops)):
            pool.shutdown(wait=False, cancel_futures=True)
        self.log.info("stopped")

    def tick(self, now: float) -> None:
        for watched in self.drops:
            self._check_when_due(watched, now)
            if watched.root is None:
                continue
            self._reap(watched, now)
            self._take_findings(watched, now)
            self._start_due(watched, now)
            self._look_late(watched)
        self._write_status(now)

    def _watched(self, drop: Drop) -> Watched:
        settle = self.settings.settle
        times = ScanTimes(settle.quiet_seconds, settle.rescan_seconds, settle.incomplete_seconds)
        return Watched(drop, Scanner(drop, times, self.wake.set), ThreadPoolExecutor(1, f"file {drop.name}"))

    def _expect_running(self) -> None:
        if self.stopping.is_set():
            raise Stopping("The service is stopping.")

    def _check_when_due(self, watched: Watched, now: float) -> None:
        """Root, token, study and sockets, until all is well and again every 30 s while it is not."""
        if watched.checking and watched.checking.done():
            self._checked(watched, watched.checking, now)
            watched.checking = None
        problem = watched.scanner.problem
        if problem and not watched.held:
            self._hold(watched, problem, now)
        if watched.checking is None and now >= watched.next_check and (watched.held or not watched.study):
            watched.checking = self.confirming.submit(self._check, watched)
            watched.checking.add_done_callback(lambda _: self.wake.set())

    def _check(self, watched: Watched) -> None:
        if watched.root is None:
            known = self.journal.starts(roots.root_id(watched.path))
            journal = self.journal
            watched.root = roots.open_root(watched.path, journal.id, known, journal.count_start)
        elif not roots.is_there(watched.path, watched.root):
            raise SetupProblem(f"{watched.path} does not carry its identity file. Is the share mounted?")
        study, kinds = check_platform(self.platform, watched.drop)
        watched.scanner.kinds = kinds
        watched.study = study

    def _checked(self, watched: Watched, done: Future[None], now: float) -> None:
        try:
            done.result()
        except (SetupProblem, Refused) as problem:
            self._hold(watched, str(problem), now)
        except (Unavailable, Unclear) as problem:
            watched.next_check = self._trip(problem, now)
        else:
            self._mended()
            if watched.held and not watched.scanner.problem:
                self.log.info("drop moves again", drop=watched.drop.name)
                watched.held = ""
            watched.next_check = now + RECHECK

    def _hold(self, watched: Watched, why: str, now: float) -> None:
        if why != watched.held:
            self.log.error("drop held", drop=watched.drop.name, why=why)
        watched.held = why
        watched.next_check = now + RECHECK

    def _take_findings(self, watched: Watched, now: float) -> None:
        in_hand = {case.folder for case in self._under_way(watched)}
        if not watched.held and watched.study:
            for finding in _fresh(watched):
                if finding.folder not in in_hand:
                    in_hand |= self._take(watched, finding, now)
        watched.scanner.in_hand = frozenset(in_hand)

    def _take(self, watched: Watched, finding: Finding, now: float) -> set[str]:
        if finding.state not in (FindingState.READY, FindingState.WRONG) or finding.grouping is None:
            return set()
        assert watched.root is not None
        assert watched.study is not None
        to = Destination(watched.root.id, self.settings.platform.url, watched.study)
        case, again = begin(self.journal, to, finding)
        if again and again.filed_as:
            forget_texts(watched.path / "failed", again.filed_as)
        self.attempts[case.id] = Attempt()
        watched.released[finding.folder] = now
        self.log.info(
            "case begun", drop=watched.drop.name, case=self.names.of(case.folder), again=bool(again)
        )
        return {finding.folder}

    def _under_way(self, watched: Watched) -> list[Case]:
        return self.journal.under_way(watched.root.id) if watched.root else []

    def _start_due(self, watched: Watched, now: float) -> None:
        for case in self._under_way(watched):
            attempt = self.attempts.setdefault(case.id, Attempt())
            if attempt.running or attempt.next_look > now or watched.held:
                continue
            if case.platform != self.settings.platform.url:
                attempt.why = "It belongs to another platform than the one configured."
                attempt.person = True
                continue
            self._start(watched, case, attempt, now)

    def _start(self, watched: Watched, case: Case, attempt: Attempt, now: float) -> None:
        place = Place(watched.path, _lister(watched.drop))
        blocked = bool(self.breaker.open(now))
        if case.stage is Stage.FILING:
            attempt.running = watched.filing.submit(self.pipeline.file, case, place)
        elif blocked:
            return
        elif case.stage in DELIVERED:
            attempt.running = self.cases.submit(self._probing, self.pipeline.deliver, case, place)
        elif case.stage is Stage.CONFIRMING:
            attempt.running = self.confirming.submit(self._probing, self.pipeline.confirm, case)
        if attempt.running:
            attempt.running.add_done_callback(lambda _: self.wake.set())

    def _probing(self, line: Callable[..., Case], *facts: Any) -> Case:
        """A 500 is a normal answer to some requests: whether the platform is well tells a second question."""
        try:
            return line(*facts)
        except Unclear as doubt:
            if not doubt.answered:
                raise Unavailable(str(doubt)) from None
            try:
                self.platform.whoami()
            except Unclear:
                raise Unavailable(str(doubt)) from None
            raise

    def _reap(self, watched: Watched, now: float) -> None:
        for case in self._under_way_or_resting(watched):
            attempt = self.attempts[case.id]
            if attempt.running is None or not attempt.running.done():
                continue
            done, attempt.running = attempt.running, None
            self._judge(watched, self.journal.case(case.id), attempt, done, now)

    def _under_way_or_resting(self, watched: Watched) -> list[Case]:
        assert watched.root is not None
        found = [self.journal.case(case_id) for case_id, one in self.attempts.items() if one.running]
        return [case for case in found if case.root == watched.root.id]

    def _judge(self, watched: Watched, case: Case, attempt: Attempt, done: Future[Case], now: float) -> None:
        """One switch over how an attempt ended."""
        try:
            done.result()
        except CaseProblem as problem:
            self._fail(case, problem.problems)
        except FolderChanged:
            self.journal.save(case, stage=Stage.SETTLING)
            watched.scanner.forget(case.folder)
            self._release(watched, case, now)
        except SetupProblem as problem:
            self._hold(watched, str(problem), now)
            attempt.next_look = now + RECHECK
        except Unavailable as pause:
            attempt.why = f"Uploads paused: {pause}"
            attempt.next_look = self._trip(pause, now)
        except Waits as waits:
            self._waits(attempt, waits, now)
        except Stopping:
            pass
        except Exception as error:  # noqa: BLE001  one case's surprise must not stop the others
            self._tried(case, attempt, error, now)
        else:
            self._advanced(watched, case, attempt, now)

    def _advanced(self, watched: Watched, case: Case, attempt: Attempt, now: float) -> None:
        self._mended()
        attempt.next_look, attempt.why, attempt.looks, attempt.person = now, "", 0, False
        self.log.info("case", stage=str(case.stage), case=self.names.of(case.folder), drop=watched.drop.name)
        if case.stage in (Stage.DONE, Stage.FAILED):
            self._release(watched, case, now)

    def _release(self, watched: Watched, case: Case, now: float) -> None:
        self.attempts.pop(case.id, None)
        self.pipeline.progress.pop(case.id, None)
        watched.released[case.folder] = now
        watched.scanner.stir()

    def _waits(self, attempt: Attempt, waits: Waits, now: float) -> None:
        """Polling backs off from a quarter of a second to a minute."""
        attempt.looks += 1
        backing_off = min(60.0, 0.25 * 1.5**attempt.looks)
        attempt.why = str(waits)
        attempt.person = waits.seconds >= 60  # noqa: PLR2004
        attempt.next_look = now + (waits.seconds or backing_off)

    def _tried(self, case: Case, attempt: Attempt, error: Exception, now: float) -> None:
        name = self.names.of(case.folder)
        if isinstance(error, OSError):
            attempt.why = f"A file cannot be read ({os.strerror(error.errno or errno.EIO)}); tried again."
            attempt.next_look = now + RECHECK
            self.log.warning("case waits", case=name, why=attempt.why)
            return
        if not isinstance(error, Unclear | Refused):
            self.log.error("case surprised us", case=name, exc_info=error)
        tries = case.tries + 1
        self.log.warning("case tried", case=name, tries=tries, error=type(error).__name__)
        case = self.journal.save(case, tries=tries)
        attempt.why = "Grand Challenge answered with an error; tried again soon."
        attempt.next_look = now + min(60.0, 2.0**tries) * random.uniform(0.5, 1.0)  # noqa: S311
        if tries >= TRIES and not case.patch and case.stage is not Stage.FILING:
            self._fail(case, (_gave_up(error),))

    def _fail(self, case: Case, problems: tuple[Problem, ...]) -> None:
        self.journal.save(case, stage=Stage.FILING, target="failed", filed_as="", problems=problems)

    def _trip(self, pause: Unavailable | Unclear, now: float) -> float:
        host = getattr(pause, "host", "platform")
        if not self.breaker.open(now):
            self.log.warning("paused", host=host, why=str(pause))
        return self.breaker.trip(host, str(pause), now, getattr(pause, "retry_after", None))

    def _mended(self) -> None:
        if self.breaker.mended():
            self.log.info("reachable again")

    def _look_late(self, watched: Watched) -> None:
        """One quiet period and ten minutes after filing, once each.

        The looks are counted here and not in the filing thread: meanwhile the folder may have come back,
        and its case begun again.
        """
        assert watched.root is not None
        for stage in (Stage.DONE, Stage.FAILED):
            for case in self.journal.recent(watched.root.id, stage, 50):
                ages = (self.settings.settle.quiet_seconds, LATE_SECOND_LOOK)
                if case.late_looks < len(ages) and time.time() - case.since >= ages[case.late_looks]:
                    place = Place(watched.path, _lister(watched.drop))
                    watched.filing.submit(self.pipeline.late, case, place)
                    self.journal.save(case, late_looks=case.late_looks + 1)

    def _pause(self, now: float) -> float:
        looks = [one.next_look for one in self.attempts.values() if not one.running]
        looks += [one.next_check for one in self.drops if one.held or not one.study]
        return min(min((look - now for look in looks if look > now), default=1.0), 1.0)

    def _write_status(self, now: float) -> None:
        report = {
            "time": time.time(),
            "pid": os.getpid(),
            "drops": [self._drop_status(watched, now) for watched in self.drops],
        }
        path = self.settings.state.directory / "status.json"
        hidden = path.with_suffix(".tmp")
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        with os.fdopen(descriptor, "w") as file:
            json.dump(report, file)
        hidden.replace(path)

    def _drop_status(self, watched: Watched, now: float) -> dict[str, Any]:
        cases = [self._case_status(case) for case in self._under_way(watched)]
        known = {case["folder"] for case in cases}
        if watched.root:
            waiting = [one for one in _fresh(watched) if one.folder not in known]
            cases += [status.of_finding(one, time.time() - now) for one in waiting]
        if watched.root:
            for stage in (Stage.DONE, Stage.FAILED):
                cases += [
                    status.of_case(case, "") for case in self.journal.recent(watched.root.id, stage, 50)
                ]
        paused = self.breaker.open(now)
        return {"name": watched.drop.name, "held": watched.held, "paused": paused, "cases": cases}

    def _case_status(self, case: Case) -> dict[str, Any]:
        attempt = self.attempts.get(case.id, Attempt())
        progress = self.pipeline.progress.get(case.id)
        return status.of_case(case, attempt.why, (progress.sent, progress.total) if progress else None)

    def _ended(self, now: float) -> int | None:
        """With --once: the exit code when nothing more will come of waiting, else None."""
        if any(watched.held for watched in self.drops):
            return 75
        if self.breaker.since is not None and now - self.breaker.since > UNREACHABLE_ONCE:
            return 75
        waiting = False
        for watched in self.drops:
            if not watched.study or watched.scanner.latest is None:
                return None
            for case in self._under_way(watched):
                if not self.attempts.get(case.id, Attempt()).person:
                    return None
                waiting = True
            released = max(watched.released.values(), default=0.0)
            if watched.scanner.latest.started <= released:
                return None
            for finding in watched.scanner.latest.findings:
                if finding.until is not None or finding.state in (FindingState.READY, FindingState.WRONG):
                    return None
                waiting |= finding.state is FindingState.SETTLING and finding.why != EMPTY
        if waiting:
            return 75
        return 1 if self._any_failed() else 0

    def _any_failed(self) -> bool:
        return any(
            case.since >= self.started
            for watched in self.drops
            if watched.root
            for case in self.journal.recent(watched.root.id, Stage.FAILED, 1)
        )


def _fresh(watched: Watched) -> list[Finding]:
    """What the last scan found, without names whose case came to rest since that scan began."""
    snapshot = watched.scanner.latest
    if snapshot is None:
        return []
    return [one for one in snapshot.findings if snapshot.started > watched.released.get(one.folder, 0.0)]


def _lister(drop: Drop) -> Callable[[Path], Listing]:
    """A folder's listing without junk, as the plan has it."""
    return lambda folder: data(list_folder(str(folder)), drop.ignore)


def _gave_up(error: Exception) -> Problem:
    if isinstance(error, Refused):
        return Problem(
            "platform-refused", f"Grand Challenge refused a step of the upload: {error.text or error}"
        )
    return Problem(
        "platform-error",
        f"Grand Challenge answered with an error {TRIES} times while it was otherwise well. Nothing is wrong "
        "with the folder as far as Casedrop can tell; try it again later, or ask the administrator.",
    )
