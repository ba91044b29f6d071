"""When each root's status page is written: in a thread of the drop's own, since a share may hang."""

import os
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from casedrop import page_file, roots
from casedrop.config import Settle
from casedrop.errors import SetupProblem
from casedrop.page import Facts, page
from casedrop.watched import Watched

EVERY = 2.0
"""Seconds at least between two pages, while something changes."""

HEARTBEAT = 60.0
"""Seconds at most, so that a page tells by its age that nobody writes it any more."""


FAULT = "It met a fault in Casedrop; its log says where."

UNSEEN = ("scanned", "free")
"""What differs at each look and is not on the page."""


@dataclass(slots=True)
class _Sheet:
    """What a drop's page said last, when (boot clock), and who writes it."""

    watched: Watched
    said: dict[str, Any]
    since: float
    writing: Future[None]


def _seen(said: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key not in UNSEEN}


class Pages:
    """`hide` gives the code that stands for a name where a page shows none."""

    def __init__(self, settle: Settle, hide: Callable[[str], str]) -> None:
        self.settle = settle
        self.hide = hide
        self.sheets: dict[str, _Sheet] = {}
        self.latest: dict[str, dict[str, Any]] = {}
        self.removed: dict[str, Future[None]] = {}
        """By drop that has no page: taking away the one of before."""
        self.log = structlog.get_logger()

    def turn(self, watched: Watched, said: dict[str, Any], when: float, now: float) -> None:
        """`said` is the drop in the service's report of `when` (seconds since 1970). Never waits."""
        if watched.root is None or watched.drop.name in self.removed:
            return
        if watched.drop.page == "off":
            self.removed[watched.drop.name] = watched.threads.page.submit(self._remove, watched)
            return
        self.latest[watched.drop.name] = said
        before = self.sheets.get(watched.drop.name)
        if before is not None:
            age = now - before.since
            due = age >= HEARTBEAT or (age >= EVERY and _seen(said) != _seen(before.said))
            if not due or not before.writing.done():
                return
        writing = watched.threads.page.submit(self._write, watched, said, when)
        self.sheets[watched.drop.name] = _Sheet(watched, said, now, writing)

    def due(self) -> list[float]:
        """When each page that does not say yet how its drop is may be written (boot clock)."""
        return [
            sheet.since + EVERY
            for name, sheet in self.sheets.items()
            if _seen(self.latest[name]) != _seen(sheet.said)
        ]

    def stopped(self, when: float) -> list[Future[None]]:
        """Say on each page that the service was stopped, above how everything was last.

        What is still to be written or taken away.
        """
        return [*self.removed.values()] + [
            sheet.watched.threads.page.submit(
                self._write, sheet.watched, self.latest[name], when, stopped=True
            )
            for name, sheet in self.sheets.items()
        ]

    def _remove(self, watched: Watched) -> None:
        """The page of a time when there was one would tell what is no longer so, and names."""
        root = watched.root
        assert root is not None
        with suppress(SetupProblem, page_file.ForeignError, OSError):
            page_file.remove(watched.path, lambda here: roots.expect_there(here, root.id))

    def _write(self, watched: Watched, said: dict[str, Any], when: float, *, stopped: bool = False) -> None:
        root = watched.root
        assert root is not None
        hide = self.hide if watched.drop.page == "hidden" else None
        facts = Facts(when, self.settle.quiet_seconds, self.settle.incomplete_seconds, hide, stopped)
        try:
            text = page_file.MARK + page(watched.drop, said, facts)
            page_file.write(watched.path, text, lambda here: roots.expect_there(here, root.id))
        except SetupProblem:
            return  # the drop is held for that
        except page_file.ForeignError:
            self._trouble(watched, page_file.foreign(watched.path))
        except OSError as error:
            self._trouble(watched, f"It cannot be written ({os.strerror(error.errno or 0)}).")
        except Exception as error:  # it is made of whatever people wrote into rules and folders
            if watched.page_problem != FAULT:
                self.log.exception("status page surprised us", drop=watched.drop.name, exc_info=error)
            watched.page_problem = FAULT
        else:
            watched.page_problem = ""

    def _trouble(self, watched: Watched, why: str) -> None:
        if why != watched.page_problem:
            self.log.warning("no status page", drop=watched.drop.name, why=why)
        watched.page_problem = why
