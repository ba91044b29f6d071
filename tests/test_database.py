"""Threads that write at the same moment share a commit; each has what it wrote on the disk, or its own error."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from casedrop.database import Database, Statement

LONGEST = 10.0
"""Seconds after which a test gives up."""


class Blocked:
    """A database whose first write has begun and ends only once `go_on` is set; begins and commits are counted."""

    def __init__(self, path: Path, threads: ThreadPoolExecutor) -> None:
        writer, reader = (sqlite3.connect(path, check_same_thread=False, timeout=0.1) for _ in range(2))
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE things (name TEXT PRIMARY KEY) STRICT")
        self.database = Database(writer, reader)
        self.go_on, self.begun, self.commits = threading.Event(), threading.Event(), 0
        self.begins = 0
        self._threads = threads
        writer.set_trace_callback(self._heard)
        self.first = self.put("first")
        assert self.begun.wait(LONGEST)

    def _heard(self, statement: str) -> None:
        self.begins += statement.startswith("BEGIN")
        self.commits += statement == "COMMIT"
        self.begun.set()
        self.go_on.wait(LONGEST)

    def put(self, *names: str) -> Future[None]:
        """Lines up in a thread of its own."""
        statements: list[Statement] = [("INSERT INTO things VALUES (?)", (name,)) for name in names]
        return self._threads.submit(self.database.write, *statements)

    def until(self, waiting: int) -> None:
        limit = time.monotonic() + LONGEST
        while len(self.database._waiting) < waiting:
            assert time.monotonic() < limit

    def names(self) -> list[str]:
        return [name for (name,) in self.database.read("SELECT name FROM things ORDER BY name")]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(10) as pool:
        yield pool


@pytest.fixture
def blocked(tmp_path: Path, threads: ThreadPoolExecutor) -> Iterator[Blocked]:
    made = Blocked(tmp_path / "things.sqlite", threads)
    yield made
    made.go_on.set()
    made.first.result(LONGEST)
    made.database.close()


def test_all_that_lined_up_behind_a_commit_are_written_by_the_next(blocked: Blocked) -> None:
    later = [blocked.put(f"{number}") for number in range(8)]
    blocked.until(8)
    assert not any(one.done() for one in later)
    blocked.go_on.set()
    for one in later:
        one.result(LONGEST)
    assert blocked.names() == [*map(str, range(8)), "first"]
    assert blocked.commits == 2


def test_what_cannot_be_written_takes_nobody_elses_with_it(blocked: Blocked) -> None:
    good, bad, also_good = blocked.put("a"), blocked.put("b", "first"), blocked.put("c")
    blocked.until(3)
    blocked.go_on.set()
    with pytest.raises(sqlite3.IntegrityError):
        bad.result(LONGEST)
    good.result(LONGEST)
    also_good.result(LONGEST)
    assert blocked.names() == ["a", "c", "first"]


def test_a_group_waits_once_and_not_one_by_one_for_a_process_that_keeps_the_file_locked(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    path = tmp_path / "things.sqlite"
    blocked = Blocked(path, threads)
    group = [blocked.put(name) for name in "abc"]
    blocked.until(3)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        blocked.go_on.set()
        for one in (blocked.first, *group):
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                one.result(LONGEST)
    assert blocked.begins == 2
    blocked.put("d").result(LONGEST)
    assert blocked.names() == ["d"]
    blocked.database.close()


def test_nobody_waits_for_a_thread_that_was_to_write_and_ended(
    blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(_: object) -> None:
        raise SystemExit

    both = [blocked.put("a"), blocked.put("b")]
    blocked.until(2)
    monkeypatch.setattr(blocked.database, "_transact", ended)
    blocked.go_on.set()
    assert {type(one.exception(LONGEST)) for one in both} == {SystemExit, sqlite3.OperationalError}


def test_a_reader_does_not_wait_for_a_commit(blocked: Blocked) -> None:
    assert blocked.names() == []


def test_every_thread_finds_at_once_what_it_wrote(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    blocked = Blocked(tmp_path / "things.sqlite", threads)
    blocked.go_on.set()

    def write_and_look(number: int) -> bool:
        blocked.database.write(("INSERT INTO things VALUES (?)", (f"{number}",)))
        return str(number) in blocked.names()

    assert all(threads.map(write_and_look, range(200)))
    blocked.database.close()
