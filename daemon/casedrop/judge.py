"""How an attempt at a case ended, and what follows from it: one switch over the failure classes."""

import errno
import os
import random
import sqlite3
from concurrent.futures import Future
from dataclasses import dataclass

import structlog

from casedrop.breaker import IN_A_ROW, Breaker
from casedrop.errors import (
    CaseProblem,
    FolderChanged,
    Lacks,
    Refused,
    SetupProblem,
    Stopping,
    Unavailable,
    Unclear,
    Waits,
)
from casedrop.journal import Journal
from casedrop.logs import Names
from casedrop.model import Case, Problem
from casedrop.split import said_of
from casedrop.stages import AT_REST, Stage
from casedrop.watched import RECHECK, Watched

TRIES = 5
"""Of a case, while the platform is otherwise well."""


@dataclass(slots=True)
class Attempt:
    """When a case is looked at next (boot clock), why it waits, and what is running for it.

    `person` tells that only a person can end the waiting.
    """

    next_look: float = 0.0
    why: str = ""
    looks: int = 0
    running: Future[Case] | None = None
    person: bool = False


class Judge:
    """Journals, holds and waits as the end of an attempt demands."""

    def __init__(self, journal: Journal, breaker: Breaker, names: Names) -> None:
        self.journal = journal
        self.breaker = breaker
        self.names = names
        self.log = structlog.get_logger()

    def ended(self, watched: Watched, case: Case, attempt: Attempt, done: Future[Case], now: float) -> None:
        """`case` as the journal has it now, `done` as its thread left it."""
        try:
            done.result()
        except Lacks as lack:
            self.journal.save(case, stage=Stage.SETTLING)
            watched.scanner.lacks(
                case.folder, case.settled.signature, tuple(said_of(case.part, one) for one in lack.problems)
            )
        except CaseProblem as problem:
            self._fail(case, problem.problems)
        except FolderChanged:
            self.journal.save(case, stage=Stage.SETTLING)
            watched.scanner.forget(case.folder)
        except SetupProblem as problem:
            watched.hold(str(problem), now)
            attempt.next_look = now + RECHECK
        except Unavailable as pause:
            attempt.why = f"Uploads paused: {pause}"
            attempt.next_look = self.trip(pause, now)
        except Waits as waits:
            if waits.person and not attempt.person:
                self.log.warning(
                    "waits for a person", drop=watched.drop.name, case=self.names.of(case.called)
                )
            _wait(attempt, waits, now)
            if case.tries and case.stage is Stage.CONFIRMING:  # the platform answered: what failed was chance
                self.journal.save(case, tries=0)
        except Stopping:
            pass
        except sqlite3.DatabaseError:
            raise  # the journal's own trouble: the service holds all drops
        except Exception as error:  # noqa: BLE001  one case's surprise must not stop the others
            self._tried(watched, case, attempt, error, now)
        else:
            self._advanced(watched, case, attempt, now)

    def trip(self, pause: Unavailable | Unclear, now: float) -> float:
        """A host does not answer: when it is asked again."""
        host = getattr(pause, "host", "platform")
        if not self.breaker.open(now):
            self.log.warning("paused", host=host, why=str(pause))
        return self.breaker.trip(host, str(pause), now, getattr(pause, "retry_after", None))

    def mended(self, now: float) -> None:
        if self.breaker.mended(now):
            self.log.info("reachable again")

    def _advanced(self, watched: Watched, case: Case, attempt: Attempt, now: float) -> None:
        if case.stage not in AT_REST:  # filing asks nothing of the platform
            self.mended(now)
        attempt.next_look, attempt.why, attempt.looks, attempt.person = now, "", 0, False
        words = {"reasons": case.reasons} if case.reasons else {}
        name = self.names.of(case.called)
        self.log.info("case", stage=str(case.stage), case=name, drop=watched.drop.name, **words)
        if case.head:
            return
        if case.stage is Stage.DONE:
            watched.brake.done()
            watched.failures.discard(case.id)
        elif case.stage is Stage.FAILED:
            watched.brake.failed(case.id, case.problems)
            watched.failures.add(case.id)
            if watched.brake.count == IN_A_ROW:
                self.log.error("no new folders are taken", drop=watched.drop.name, why=watched.brake.why)

    def _tried(self, watched: Watched, case: Case, attempt: Attempt, error: Exception, now: float) -> None:
        which = {"drop": watched.drop.name, "case": self.names.of(case.called)}
        if isinstance(error, OSError):
            attempt.why = f"A file cannot be read ({os.strerror(error.errno or errno.EIO)}); tried again."
            attempt.next_look = now + RECHECK
            self.log.warning("case waits", **which, why=attempt.why)
            return
        if not isinstance(error, Unclear | Refused):
            self.log.error("case surprised us", **which, exc_info=error)
        tries = case.tries + 1
        self.log.warning("case tried", **which, tries=tries, error=type(error).__name__)
        case = self.journal.save(case, tries=tries)
        attempt.why = "Grand Challenge answered with an error; tried again soon."
        attempt.next_look = now + min(60.0, 2.0**tries) * random.uniform(0.5, 1.0)  # noqa: S311
        if tries >= TRIES and not case.patch and case.stage is not Stage.FILING:
            self._fail(case, (_gave_up(error),))

    def _fail(self, case: Case, problems: tuple[Problem, ...]) -> None:
        self.journal.save(case, stage=Stage.FILING, target="failed", filed_as="", problems=problems)


def _wait(attempt: Attempt, waits: Waits, now: float) -> None:
    """Polling backs off from a quarter of a second to a minute."""
    attempt.looks += 1
    backing_off = min(60.0, 0.25 * 1.5**attempt.looks)
    attempt.why = str(waits)
    attempt.person = waits.person
    attempt.next_look = now + (waits.seconds or backing_off)


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
