"""Finished display sets of which a table says something else by now, for the status."""

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import structlog

from casedrop.journal import Journal
from casedrop.model import Case, Drop, SocketKind
from casedrop.near import shown
from casedrop.table_changes import Changed, by_folder, compared, is_told_elsewhere, named, why_not
from casedrop.titles import NAMELESS, Naming

SHOWN = 50
"""Folders that the status names."""


class TableWatch:
    """One drop's. It compares in a thread of its own, and only what may have changed since.

    That is everything where a table is another, and one display set where its case came to rest.
    """

    def __init__(self, drop: Drop, journal: Journal, wake: Callable[[], None]) -> None:
        self.drop = drop
        self.journal = journal
        self._wake = wake
        self._is_told = is_told_elsewhere(drop)
        self._pool = ThreadPoolExecutor(1, f"tables {drop.name}")
        self._found: dict[str, Changed] = {}
        self._running: Future[None] | None = None
        self._by: tuple[Naming, Mapping[str, SocketKind]] = NAMELESS, {}
        self._rested: set[str] = set()
        self._comparing: set[str] = set()
        self._said: tuple[dict[str, Changed], set[str], dict[str, Any]] = (
            self._found,
            set(),
            _report(drop, ()),
        )

    def is_behind(self, naming: Naming) -> bool:
        """Whether the report does not tell yet how things are."""
        return self._is_told and (
            self._running is not None or bool(self._rested) or self._by[0] is not naming
        )

    def report(self, moving: Collection[str]) -> dict[str, Any]:
        """How many folders have changed, and of the first of them: folder, what, and whether `retry` sends it.

        Without those of the names `moving`, which are on their way again, and what came to rest since it was
        compared.
        """
        found, stale = self._found, self._rested | self._comparing
        left = {pk for pk, one in found.items() if pk not in stale and one.sent.folder not in moving}
        before, shown_before, said = self._said
        if before is not found or shown_before != left:
            said = _report(self.drop, [found[pk] for pk in left])
            self._said = found, left, said
        return said

    def came_to_rest(self, case: Case) -> None:
        if self._is_told:
            self._rested |= {one.set_pk for one in (case, *self.journal.parts(case)) if one.set_pk}

    def look(
        self, place: tuple[str, str, str], naming: Naming, kinds: Mapping[str, SocketKind] | None
    ) -> None:
        """Never waits. `place` is a root's id, the platform's address and the reader study's pk."""
        if self._running and self._running.done():
            self._running, self._comparing = None, set()
        if not self._is_told or kinds is None or naming is NAMELESS or self._running:
            return
        if self._by[0] is not naming or self._by[1] != kinds:
            self._by, self._comparing, self._rested = (naming, kinds), self._rested, set()
            self._begin(self._compare_all, place, naming, kinds)
        elif self._rested:
            self._comparing, self._rested = self._rested, set()
            self._begin(self._compare, self._comparing, naming, kinds)

    def _begin(self, compare: Callable[..., None], *facts: object) -> None:
        self._running = self._pool.submit(self._guarded, compare, *facts)
        self._running.add_done_callback(lambda _: self._wake())

    def _guarded(self, compare: Callable[..., None], *facts: object) -> None:
        """A surprise must hold nothing up; only its kind is logged, since its words may quote a cell."""
        try:
            compare(*facts)
        except Exception as error:  # noqa: BLE001
            structlog.get_logger().error(
                "tables not compared", drop=self.drop.name, error=type(error).__name__
            )

    def _compare_all(
        self, place: tuple[str, str, str], naming: Naming, kinds: Mapping[str, SocketKind]
    ) -> None:
        self._found = compared(self.drop, naming, kinds, self.journal.sent(*place))

    def _compare(self, some: set[str], naming: Naming, kinds: Mapping[str, SocketKind]) -> None:
        now = [sent for pk in some for sent in self.journal.sent_to(pk)]
        kept = {pk: one for pk, one in self._found.items() if pk not in some}
        self._found = kept | compared(self.drop, naming, kinds, now)


def _report(drop: Drop, found: Iterable[Changed]) -> dict[str, Any]:
    folders = by_folder(found)
    first = [
        {
            "folder": shown(folder),
            "what": named(parts),
            "retry": drop.mode != "rehearse" and not why_not(drop.existing_display_set, parts),
        }
        for folder, parts in list(folders.items())[:SHOWN]
    ]
    return {"folders": len(folders), "first": first}
