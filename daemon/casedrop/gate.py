"""Whether a drop may move: its root, the token's user, the reader study and the sockets."""

import errno
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

import structlog

from casedrop import roots
from casedrop.check import check_platform
from casedrop.errors import Refused, SetupProblem, Unavailable, Unclear
from casedrop.grand_challenge import GrandChallenge
from casedrop.journal import Journal
from casedrop.judge import Judge
from casedrop.tally import DAYS, Rested, rested
from casedrop.watch import file_system
from casedrop.watched import Watched


class Gate:
    """Looks in a thread of the drop's own, until all is well and again every 30 s while it is not."""

    def __init__(
        self, journal: Journal, platform: GrandChallenge, judge: Judge, wake: Callable[[], None]
    ) -> None:
        self.journal = journal
        self.platform = platform
        self.judge = judge
        self.wake = wake
        self.log = structlog.get_logger()

    def look(self, watched: Watched, now: float) -> None:
        """Never waits: takes the last look's answer, and begins the next when it is due."""
        if watched.checking and watched.checking.done():
            done, watched.checking = watched.checking, None
            self._decide(watched, done, now)
        self._take_counts(watched)
        problem = watched.scanner.problem
        if problem and not watched.held:
            watched.hold(problem, now)
        if watched.checking is None and now >= watched.next_check and (watched.held or not watched.study):
            watched.checking = watched.threads.confirming.submit(self._check, watched)
            watched.checking.add_done_callback(lambda _: self.wake())

    def _count(self, watched: Watched, root: str) -> None:
        since = time.time() - DAYS * 86400
        watched.counting = watched.threads.page.submit(self._rested, root, since)
        watched.counting.add_done_callback(lambda _: self.wake())

    def _rested(self, root: str, since: float) -> list[Rested]:
        return [rested(one.case, one.bytes) for one in self.journal.ended(since, root)]

    def _take_counts(self, watched: Watched) -> None:
        if watched.counting and watched.counting.done():
            done, watched.counting = watched.counting, None
            try:
                watched.tally.fill(done.result())
            except sqlite3.Error as error:
                self.log.warning("days not counted", drop=watched.drop.name, error=str(error))

    def _check(self, watched: Watched) -> None:
        if watched.root is None:
            known = self.journal.starts(roots.root_id(watched.path))
            watched.root = roots.open_root(watched.path, self.journal.id, known, self.journal.count_start)
            watched.scanner.first_names = self.journal.first_names(watched.root.id)
            self._count(watched, watched.root.id)
            if watched.root.restored:
                self.log.warning("journal is a restored one", drop=watched.drop.name)
        roots.expect_there(watched.path, watched.root.id)
        watched.inodes = file_system(str(watched.path)).inodes
        study, kinds = check_platform(self.platform, watched.drop)
        watched.scanner.there = partial(self.journal.there, self.platform.url, study.pk)
        watched.scanner.kinds = kinds
        watched.study = study
        watched.scanner.stir()

    def _decide(self, watched: Watched, done: Future[None], now: float) -> None:
        try:
            done.result()
        except (SetupProblem, Refused) as problem:
            watched.hold(str(problem), now)
        except (Unavailable, Unclear) as problem:
            watched.next_check = self.judge.trip(problem, now)
        except sqlite3.DatabaseError:
            raise  # the journal's own trouble: the service holds all drops
        except OSError as error:
            said = os.strerror(error.errno or errno.EIO)
            watched.hold(f"{watched.path} cannot be used ({said}). Is the share mounted and writable?", now)
        except Exception as error:
            self.log.exception("check surprised us", drop=watched.drop.name, exc_info=error)
            watched.hold("It could not be checked because of a fault in Casedrop; its log says where.", now)
        else:
            self.judge.mended(now)
            watched.move_again(now)
