"""The loop: read what the scanners saw, hand cases to threads, write down how things are.

The loop itself never waits for a disk or a network: scanners, the case and confirming threads
and one filing thread per drop do.
"""

import errno
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache, partial
from typing import Any

import structlog

from casedrop import board, hours, once, reach, roots, token_age
from casedrop import ledger as ledgers
from casedrop.admission import Admission
from casedrop.breaker import IN_A_ROW, Breaker
from casedrop.config import Settings
from casedrop.decisions import changed_by, grant
from casedrop.errors import ConfigurationError, Stopping, Unavailable, Unclear, Waits, kind
from casedrop.file_away import forget_texts
from casedrop.gate import Gate
from casedrop.health import headline
from casedrop.intake import Destination, begin, known
from casedrop.journal import NAME, Journal, TitleHeldError
from casedrop.judge import Attempt, Judge
from casedrop.keys import uid_key
from casedrop.ledger import Ledger
from casedrop.logs import Names, name_key
from casedrop.meter import SILENT, Meter
from casedrop.model import Case, Drop, Finding, FindingState, Json
from casedrop.naming import NamingSource
from casedrop.pack import NAME as SPOOL
from casedrop.pack import Packer
from casedrop.pages import Pages
from casedrop.pipeline import Pipeline, Place
from casedrop.reports import identifiable_words
from casedrop.scan import ScanLimits, Scanner
from casedrop.settle import data
from casedrop.stages import AT_REST, DELIVERED, Stage
from casedrop.systemd import NOBODY
from casedrop.table_watch import TableWatch
from casedrop.throttle import Throttle
from casedrop.upload import Lane
from casedrop.watch import boot_clock, file_system, list_folder, writers
from casedrop.watched import RECHECK, Threads, Watched

UNREACHABLE_ONCE = 60.0
"""Seconds after which `run --once` gives up a platform that does not answer."""

LATE_SECOND_LOOK = 600.0

CLOSE_SECONDS = 5.0
"""Waited for what is under way when the service ends."""

FAULT = "It met a fault in Casedrop; its log says where."

LATE_SECONDS = 1.0
"""Between two looks whether a late look is due: each case that was done in the last ten minutes is asked."""

STATUS_SECONDS = 0.25
"""Between two statuses: while many cases move, to write one at each step would take more than all steps."""

TURN_SECONDS = 1.0
"""Between two turns at most, two looks whether people wrote something into the journal, two signs of life."""

IDLE_SECONDS = 5.0
"""Between two turns at most while no case is under way: most of what a turn takes is to say how things are."""

COPY_SECONDS = 3600.0
"""Between two copies of the journal; the first is made at the start."""


class Service:
    """`tick(now)` is one turn of the loop; `run` turns until told to stop."""

    def __init__(
        self,
        settings: Settings,
        token: Callable[[], str],
        names: Names,
        pseudonym_key: bytes | None = None,
        meter: Meter = SILENT,
    ) -> None:
        self.settings = settings
        self.pseudonym_key = pseudonym_key
        self.token = token
        self.names = names
        self.meter = meter
        self.log = structlog.get_logger()
        state = settings.state.directory
        self.journal = Journal(state / NAME)
        hide = Names(settings.ledger.names, name_key(state)).of
        self.ledger = Ledger(state / ledgers.NAME, self.journal, hide)
        self.stopping = threading.Event()
        self.wake = threading.Event()
        self.platform = reach.platform(settings, token, partial(meter.request, ""))
        self.copying = ThreadPoolExecutor(1, "copy")
        self.admission = Admission()
        self.throttle = Throttle(settings.limits.schedule())
        directory = settings.state.directory
        self.packer = Packer(directory / SPOOL, uid_key(directory))
        self.packer.clear({case.id: _zips(case) for case in self.journal.unfinished()})
        self.drops = [self._watched(drop) for drop in settings.drops]
        self.attempts: dict[int, Attempt] = {}
        self.breaker = Breaker()
        self.judge = Judge(self.journal, self.breaker, names)
        self.gate = Gate(self.journal, self.platform, self.judge, self.wake.set)
        self.next_copy = self.next_status = 0.0
        self.journal_seen = 0
        """Its version before the last turn read it."""
        self.untold = False
        """Whether something may have happened since the last status."""
        self.unwritten = self.unshown = False
        self.tell: Callable[[dict[str, Any]], None] = lambda _: None
        """Called with each status as it is written."""
        self.goes_on = self.again = False
        """By another program before in this process, and after."""
        self.refused = ""
        """Why the newest configuration was not taken."""
        self.manager = NOBODY
        self.pages = Pages(settings.settle, Names("hidden", name_key(state)).of)

    def stop(self, again: bool = False) -> None:
        """Only sets flags, from any thread; `again` where the program runs anew at once."""
        self.again = again
        self.stopping.set()
        self.wake.set()

    def refuse(self, why: str) -> None:
        """The newest configuration, from any thread; "" takes that back."""
        self.refused = why
        if why:
            self.manager.goes_on()
        self.wake.set()

    def expect_none_left(self, new: Settings) -> None:
        """Raise ConfigurationError where a drop would go while folders of it are on their way."""
        kept = {drop.root for drop in new.drops}
        gone = [watched for watched in self.drops if watched.drop.root not in kept]
        left = {one.drop.name: len(self._under_way(one)) for one in gone}
        if problems := [_not_yet(name, count) for name, count in left.items() if count]:
            raise ConfigurationError(problems)

    def run(self, *, once: bool = False) -> int:
        """Until stopped (0), or with `once` until everything there is at its end: 0, 1 or 75."""
        event = "goes on by the new configuration" if self.goes_on else "started"
        self.log.info(event, drops=len(self.drops), platform=self.settings.platform.url)
        for text in filter(None, (identifiable_words(drop) for drop in self.settings.drops)):
            self.log.warning("sends patients' names", why=text)
        for watched in self.drops:
            watched.scanner.start()
        try:
            while not self.stopping.is_set():
                self.wake.clear()
                now = boot_clock()
                self._tick_or_hold(now)
                self.manager.alive()
                if once and (code := self._code(now)) is not None:
                    with suppress(sqlite3.OperationalError):  # what is done is done
                        self._write_status(now)
                    return code
                self._rest(once=once)
            return 0
        finally:
            self.manager.stopping()
            self.close()

    def close(self) -> None:
        """Give up what is under way; the journal knows how far everything got."""
        self.stopping.set()
        self.packer.close()
        for watched in self.drops:
            watched.scanner.stop()
        running: list[Future[Any]] = [one.running for one in self.attempts.values() if one.running]
        if not self.again:
            running += self.pages.stopped(time.time())
        wait(running, CLOSE_SECONDS)
        for watched in self.drops:
            watched.threads.shutdown()
        if not self.again:
            self.log.info("stopped")

    def tick(self, now: float) -> None:
        self.journal_seen = self.journal.version
        full = self._full()
        for watched in self.drops:
            watched.full = full
            try:
                self._turn(watched, now)
            except sqlite3.DatabaseError:
                raise  # the journal's own trouble concerns every drop
            except Exception as error:  # one drop's surprise must not stop the others
                if watched.held != FAULT:
                    self.log.exception("drop surprised us", drop=watched.drop.name, exc_info=error)
                watched.hold(FAULT, now)
        self._grant_wishes()
        if now >= self.next_copy:
            self.next_copy = now + COPY_SECONDS
            self.copying.submit(self._keep_copy)
        self.untold = now < self.next_status
        if not self.untold:
            self._write_status(now)

    def _turn(self, watched: Watched, now: float) -> None:
        self.gate.look(watched, now)
        if watched.root is not None:
            watched.paused = self.journal.paused(watched.root.id)
            watched.released = self.journal.released(watched.root.id) if watched.drop.release == "ask" else {}
            self._reap(watched, now)
            self._start_due(watched, self._take_findings(watched, now), now)
            self._look_late(watched, now)
            self._look_at_tables(watched)

    def _tick_or_hold(self, now: float) -> None:
        """A journal that cannot be written stops every drop: nothing is done that it does not know."""
        try:
            self.tick(now)
        except sqlite3.OperationalError as error:
            for watched in self.drops:
                watched.hold(f"The journal cannot be written ({error}). Is the disk full?", now)
            with suppress(sqlite3.OperationalError):  # it cannot be read either
                self._write_status(now)

    def _grant_wishes(self) -> None:
        """What people decided with `casedrop accept` or `retry`, once no thread has a case of it in hand."""
        for case_id, wish in self.journal.wishes().items():
            case = self.journal.case(case_id)
            attempts = [
                self.attempts.get(one.id, Attempt()) for one in (case, *changed_by(self.journal, case, wish))
            ]
            if not any(one.running for one in attempts):
                try:
                    self._grant(case, wish)
                    attempts[0].next_look = 0.0
                except Waits:
                    continue
                except TitleHeldError:
                    self.log.warning("wish not granted", why="another folder has the title by now")
                    self.journal.granted(case_id)

    def _grant(self, case: Case, wish: Json) -> None:
        if wish == "anew" and case.stage not in (Stage.FILING, *AT_REST):
            self.ledger.ended(case, "display set deleted")
        grant(self.journal, case, wish)
        self.journal.granted(case.id)

    def _full(self) -> str:
        state = self.settings.state
        try:
            if shutil.disk_usage(state.directory).free >= state.min_free:
                return ""
        except OSError as error:
            why = os.strerror(error.errno or errno.EIO)
            return f"{state.directory} cannot be looked at ({why}), so no new folder is taken."
        least = state.min_free.human_readable(decimal=True)
        return f"Less than {least} are free in {state.directory}, so no new folder is taken. Make room there."

    def _keep_copy(self) -> None:
        try:
            self.journal.keep_copy()
        except (sqlite3.Error, OSError) as error:
            self.log.warning("journal not copied", error=str(error))

    def _watched(self, drop: Drop) -> Watched:
        settle, limits = self.settings.settle, self.settings.limits
        seconds = (settle.quiet_seconds, settle.rescan_seconds, settle.incomplete_seconds)
        observe = partial(self.meter.request, drop.name)
        platform = reach.platform(self.settings, self.token, observe)
        window = max(2, limits.connections // limits.cases)
        files = ThreadPoolExecutor(limits.cases * window, f"upload {drop.name}")
        parts = ThreadPoolExecutor(limits.connections, f"part {drop.name}")
        lane = Lane(platform, files, parts, window, self._expect_running, self.throttle.allow)
        waiting = (limits.import_seconds, limits.reassign_seconds, settle.quiet_seconds)
        shared = lane, self.admission, self.throttle
        pipeline = Pipeline(drop.name, platform, self.journal, self.ledger, *shared, *waiting, self.packer)
        threads = Threads(
            ThreadPoolExecutor(limits.cases, f"case {drop.name}"),
            ThreadPoolExecutor(limits.cases, f"confirm {drop.name}"),
            ThreadPoolExecutor(1, f"file {drop.name}"),
            ThreadPoolExecutor(1, f"page {drop.name}"),
        )
        scanner = Scanner(drop, ScanLimits(*seconds, limits.files), self.wake.set)
        scanner.naming = NamingSource(drop, self.pseudonym_key)
        tables = TableWatch(drop, self.journal, self.wake.set)
        watched = Watched(drop, scanner, pipeline, threads, tables)
        pipeline.expect_sending = watched.expect_sending
        pipeline.contact = drop.contact
        return watched

    def _expect_running(self) -> None:
        if self.stopping.is_set():
            raise Stopping("The service is stopping.")

    def _take_findings(self, watched: Watched, now: float) -> list[Case]:
        """All that is under way then.

        Few at a time: the brake comes before all have failed, and the rest may still change in drop/.
        """
        under_way = self._under_way(watched)
        in_hand = {case.folder for case in under_way}
        taken = []
        if not watched.held and watched.study:
            busy = sum(case.stage is not Stage.CONFIRMING and self._moves(case, now) for case in under_way)
            room = max(IN_A_ROW, self.settings.limits.cases) - busy
            found = [one for one in watched.fresh() if one.folder not in in_hand]
            for finding in [one for one in found if self._may_be_taken(watched, one)][: max(room, 0)]:
                taken.append(self._take(watched, finding, now))
                in_hand.add(finding.folder)
        watched.scanner.in_hand = frozenset(in_hand)
        return [*under_way, *taken]

    def _moves(self, case: Case, now: float) -> bool:
        attempt = self.attempts.get(case.id, Attempt())
        return attempt.running is not None or attempt.next_look <= now

    def _may_be_taken(self, watched: Watched, finding: Finding) -> bool:
        """While the brake is on, only what has failed before: that is how people try what they mended."""
        if finding.state not in (FindingState.READY, FindingState.WRONG) or watched.root is None:
            return False
        if watched.sends_nothing or watched.asks(finding):
            return False
        if watched.full or not watched.brake.why:
            return not watched.full
        before = self._known(watched, finding)
        return before is not None and before.stage is Stage.FAILED

    def _take(self, watched: Watched, finding: Finding, now: float) -> Case:
        assert watched.root is not None
        assert watched.study is not None
        to = Destination(watched.root.id, self.settings.platform.url, watched.study)
        case, again = begin(self.journal, to, finding, self._known(watched, finding))
        if again and again.filed_as:
            watched.threads.filing.submit(forget_texts, watched.path / "failed", again.filed_as)
        if watched.drop.release == "ask":
            self.journal.release(to.root, finding.folder, "")
        self.attempts[case.id] = Attempt()
        watched.tally.note(case)
        watched.rested[finding.folder] = now
        self.log.info(
            "case begun", drop=watched.drop.name, case=self.names.of(case.folder), again=bool(again)
        )
        return case

    def _known(self, watched: Watched, finding: Finding) -> Case | None:
        assert watched.root is not None
        return known(self.journal, watched.root.id, finding, inodes=watched.inodes)

    def _under_way(self, watched: Watched) -> list[Case]:
        return self.journal.under_way(watched.root.id) if watched.root else []

    def _start_due(self, watched: Watched, under_way: list[Case], now: float) -> None:
        for case in under_way:
            attempt = self.attempts.setdefault(case.id, Attempt())
            if attempt.running or attempt.next_look > now or watched.held:
                continue
            if watched.sends_nothing and case.stage in DELIVERED:
                continue
            if case.platform != self.settings.platform.url:
                attempt.why = (
                    f"It was begun on {case.platform}, which is not the configured platform. Set platform.url "
                    "back until it is through."
                )
                attempt.person = True
                attempt.next_look = now + RECHECK
                continue
            self._start(watched, case, attempt, now)

    def _start(self, watched: Watched, case: Case, attempt: Attempt, now: float) -> None:
        place = _place(watched)
        pipeline, threads = watched.pipeline.of(case), watched.threads
        blocked = bool(self.breaker.open(now))
        if case.stage is Stage.FILING:
            attempt.running = threads.filing.submit(pipeline.file, case, place)
        elif blocked:
            return
        elif case.stage in DELIVERED:
            attempt.running = threads.cases.submit(self._probing, pipeline.deliver, case, place)
        elif case.stage is Stage.CONFIRMING:
            attempt.running = threads.confirming.submit(self._probing, pipeline.confirm, case, place)
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
        assert watched.root is not None
        for case_id, attempt in list(self.attempts.items()):
            done = attempt.running
            if done is None or not done.done():
                continue
            case = self.journal.case(case_id)
            if case.root == watched.root.id:
                attempt.running = None
                watched.pipeline.moved.pop(case_id, None)
                self.judge.ended(watched, case, attempt, done, now)
                self.meter.tried(watched.drop.name, kind(done.exception()))
                self._release_at_rest(watched, case_id)

    def _release_at_rest(self, watched: Watched, case_id: int) -> None:
        case = self.journal.case(case_id)
        watched.tally.note(case)
        if case.stage in AT_REST or case.stage is Stage.FILING:
            self.admission.leave(case_id)
            self.packer.free(case_id)
        if case.stage in AT_REST:
            watched.tables.came_to_rest(case)
            self.attempts.pop(case_id, None)
            watched.pipeline.progress.pop(case_id, None)
        if case.stage in AT_REST and case.head:
            self.attempts.setdefault(case.head, Attempt()).next_look = 0.0
        elif case.stage in AT_REST:
            self.meter.ended(watched.drop.name, case.stage)
            watched.scanner.first_names = self.journal.first_names(case.root)
            watched.release(case.folder)

    def _look_late(self, watched: Watched, now: float) -> None:
        """In done/, one quiet period and ten minutes after filing, once each; in failed/ people are at work.

        The looks are counted here and not in the filing thread: meanwhile the folder may have come back,
        and its case begun again.
        """
        if watched.root is None or now < watched.next_late:
            return
        watched.next_late = now + LATE_SECONDS
        for looks, age in enumerate((self.settings.settle.quiet_seconds, LATE_SECOND_LOOK)):
            for case in self.journal.to_look_at(watched.root.id, looks, time.time() - age):
                watched.threads.filing.submit(watched.pipeline.late, case, _place(watched))
                self.journal.save(case, late_looks=looks + 1)

    def _look_at_tables(self, watched: Watched) -> None:
        if watched.root and watched.study:
            place = watched.root.id, self.settings.platform.url, watched.study.pk
            watched.tables.look(place, watched.scanner.named, watched.scanner.kinds)

    def _code(self, now: float) -> int | None:
        """With --once: the exit code when there is nothing more to wait for."""
        silent = self.breaker.since
        if silent is not None and now - silent > UNREACHABLE_ONCE:
            return once.LATER
        try:
            return once.exit_code(self.drops, self.journal, self.attempts)
        except sqlite3.OperationalError:  # if it lasts, the next turn says so and holds every drop
            return None

    def _rest(self, *, once: bool) -> None:
        """Until something wakes the loop or is due, or another program wrote down what a person wishes."""
        now = boot_clock()
        until = now + self._pause(now, once=once)
        while not self.wake.wait(min(until - now, TURN_SECONDS)):
            now = boot_clock()
            if now >= until or self._is_written_to():
                return
            self.manager.alive()

    def _is_written_to(self) -> bool:
        try:
            return self.journal.version != self.journal_seen
        except sqlite3.OperationalError:  # the turn says so
            return True

    def _pause(self, now: float, *, once: bool) -> float:
        longest = TURN_SECONDS if once or self.attempts else IDLE_SECONDS
        looks = [one.next_look for one in self.attempts.values() if not one.running]
        looks += [one.next_check for one in self.drops if one.held or not one.study]
        looks += [max(self.next_status, now + 0.001)] if self.untold else []
        looks += self.pages.due()
        return min((look - now for look in looks if now < look < now + longest), default=longest)

    def _show(self, report: dict[str, Any], now: float) -> None:
        self.manager.says(headline(report))
        self.meter.show(report)
        self.tell(report)
        for watched, said in zip(self.drops, report["drops"], strict=True):
            self.pages.turn(watched, said | {"limits": report["limits"]}, report["time"], now)

    def _report(self, now: float) -> dict[str, Any]:
        report = board.gather(self.drops, self.journal, self.attempts, self.breaker.open(now), now)
        return report | {
            "refused": self.refused,
            "limits": hours.said(self.throttle.schedule, time.time()),
            "token_expires": token_age.end(self.settings.platform.token_expires),
        }

    def _write_status(self, now: float) -> None:
        """What only shows how things are must not stop them. Raises sqlite3.DatabaseError."""
        self.next_status = now + STATUS_SECONDS
        report: dict[str, Any] = {}
        try:
            report = self._report(now)
            self._show(report, now)
        except sqlite3.DatabaseError:
            raise
        except Exception as error:
            if not self.unshown:
                self.log.exception("status not shown", exc_info=error)
            self.unshown = True
        if report:
            self._write(report)

    def _write(self, report: dict[str, Any]) -> None:
        try:
            board.write(self.settings.state.directory, report)
            self.unwritten = False
        except OSError as error:
            if not self.unwritten:
                self.log.warning("status not written", why=os.strerror(error.errno or errno.EIO))
            self.unwritten = True


def _not_yet(name: str, count: int) -> str:
    return (
        f'Drop "{name}" cannot go or get another root while folders of it are on their way (here {count}): nobody '
        "would confirm and file them. Wait until `casedrop status` shows none, or move them out of drop/."
    )


def _place(watched: Watched) -> Place:
    drop, path, root = watched.drop, watched.path, watched.root
    assert root is not None
    there = cache(lambda: file_system(str(path)))
    return Place(
        path,
        lambda folder, plan: data(list_folder(str(folder), there()), plan.ignore if plan else drop.ignore),
        lambda: roots.expect_there(path, root.id),
        lambda folder, listing: there().lease and bool(writers(str(folder), listing)),
    )


def _zips(case: Case) -> set[str]:
    """The checksums of what is packed, by the plan."""
    files = [file for socket in case.plan.sockets for file in socket.files] if case.plan else []
    return {file.sha256 for file in files if file.packed} - {""}
