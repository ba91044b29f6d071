"""An SQLite file for many threads: who writes at the same moment shares a commit, and no reader waits for it."""

import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

Statement = tuple[str, Sequence[Any]]
"""SQL, and the values of its question marks."""

Writing = tuple[Sequence[Statement], Future[None]]


class Database:
    """`writer` and `reader` are connections to the same file, in WAL mode, that any thread may use."""

    def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._writer, self._reader = writer, reader
        self._reading = threading.Lock()
        self._turn = threading.Condition()
        self._waiting: list[Writing] = []
        self._is_written = False

    def close(self) -> None:
        with self._turn, self._reading:
            self._turn.wait_for(lambda: not self._is_written)
            self._reader.close()
            self._writer.close()

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """The rows, of whatever was written before. Raises sqlite3.Error."""
        with self._reading:
            return self._reader.execute(sql, values).fetchall()

    def version(self) -> int:
        """Another number than before where anything was written meanwhile, by whomever."""
        return int(self.read("PRAGMA data_version")[0][0])

    def write(self, *statements: Statement) -> None:
        """All of them or none; they are on the disk when it returns. Raises sqlite3.Error.

        While one thread waits for the disk others line up, and the next of them writes for all.
        """
        mine: Future[None] = Future()
        with self._turn:
            self._waiting.append((statements, mine))
            self._turn.wait_for(lambda: mine.done() or not self._is_written)
            if not mine.done():
                self._is_written = True
                waiting, self._waiting = self._waiting, []
        if not mine.done():
            try:
                self._write_all(waiting)
            finally:
                _end(waiting)
                with self._turn:
                    self._is_written = False
                    self._turn.notify_all()
        mine.result()

    def _write_all(self, waiting: Sequence[Writing]) -> None:
        """At once; where one of them cannot be written, each by itself.

        Not where the file cannot be written (another process keeps it locked, the disk is full): that is so for
        each, and each would wait as long for the lock.
        """
        try:
            self._transact([one for statements, _ in waiting for one in statements])
        except Exception as error:  # noqa: BLE001  it is for whoever wanted this written
            if len(waiting) > 1 and not isinstance(error, sqlite3.OperationalError):
                for one in waiting:
                    self._write_all([one])
                return
            for _, written in waiting:
                written.set_exception(error)
        else:
            for _, written in waiting:
                written.set_result(None)

    def _transact(self, statements: Sequence[Statement]) -> None:
        with self._writer:
            for sql, values in statements:
                self._writer.execute(sql, values)


def _end(waiting: Sequence[Writing]) -> None:
    """Nobody waits for ever for a thread that left."""
    for _, written in waiting:
        if not written.done():
            written.set_exception(sqlite3.OperationalError("the thread that was to write ended"))
