"""When each root's status page is written: in a thread of the drop's own, since a share may hang."""

import os
from collections.abc import Callable
from concurrent.futures import Future
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


@dataclass(slots=True)
class _Sheet:
    """What a drop's page said last, when (boot clock), and who writes it."""

    watched: Watched
    said: dict[str, Any]
    since: float
    writing: Future[None]


class Pages:
    """`hide` gives the code that stands for a name where a page shows none."""

    def __init__(self, settle: Settle, hide: Callable[[str], str]) -> None:
        self.settle = settle
        self.hide = hide
        self.sheets: dict[str, _Sheet] = {}
        self.latest: dict[str, dict[str, Any]] = {}
        self.log = structlog.get_logger()

    def turn(self, watched: Watched, said: dict[str, Any], when: float, now: float) -> None:
        """`said` is the drop in the service's report of `when` (seconds since 1970). Never waits."""
        if watched.drop.page == "off" or watched.root is None:
            return
        self.latest[watched.drop.name] = said
        before = self.sheets.get(watched.drop.name)
        if before is not None:
            age = now - before.since
            due = age >= HEARTBEAT or (age >= EVERY and said != before.said)
            if not due or not before.writing.done():
                return
        writing = watched.threads.page.submit(self._write, watched, said, when)
        self.sheets[watched.drop.name] = _Sheet(watched, said, now, writing)

    def stopped(self, when: float) -> list[Future[None]]:
        """Say on each page that the service was stopped, above how everything was last."""
        return [
            sheet.watched.threads.page.submit(
                self._write, sheet.watched, self.latest[name], when, stopped=True
            )
            for name, sheet in self.sheets.items()
        ]

    def _write(self, watched: Watched, said: dict[str, Any], when: float, *, stopped: bool = False) -> None:
        root = watched.root
        assert root is not None
        hide = self.hide if watched.drop.page == "hidden" else None
        facts = Facts(when, self.settle.quiet_seconds, self.settle.incomplete_seconds, hide, stopped)
        text = page_file.MARK + page(watched.drop, said, facts)
        try:
            page_file.write(watched.path, text, lambda here: roots.expect_there(here, root.id))
        except SetupProblem:
            return  # the drop is held for that
        except page_file.ForeignError:
            self._trouble(watched, page_file.foreign(watched.path))
        except OSError as error:
            self._trouble(watched, f"It cannot be written ({os.strerror(error.errno or 0)}).")
        else:
            watched.page_problem = ""

    def _trouble(self, watched: Watched, why: str) -> None:
        if why != watched.page_problem:
            self.log.warning("no status page", drop=watched.drop.name, why=why)
        watched.page_problem = why
