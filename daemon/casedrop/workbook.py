"""XLSX through openpyxl, in a process of its own: a broken or bloated workbook harms nothing else.

A few MB can unpack to any number, so memory and time are limited there by the kernel. defusedxml is not needed:
expat (from 2.4.1 on, which Python needs) ends what entities blow up, and ElementTree opens no other files.
"""

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from typing import IO, Any

from casedrop.table_text import ERROR, SHOWS_ERROR
from casedrop.tables import Cell, Faulty, Row, TableProblemError, picked

SECONDS = 300
"""Four times what a million rows of ten columns take."""
MEMORY = 2 << 30
MOST_TEXT = 200_000_000
"""Characters of all cells that are read."""

NOT_CALCULATED = Faulty(
    "is a formula without its result; open the table in a spreadsheet program and save it"
)
BROKEN = "is no XLSX workbook that can be read (damaged, protected by a password, or of another kind)"
TOO_MUCH = f"takes more than {SECONDS} s or {MEMORY >> 30} GB of memory to read; save it as CSV UTF-8"


def rows(file: IO[bytes], sheet: str, wanted: Sequence[str]) -> Iterator[Row]:
    """The cells of the `wanted` columns of every row of a sheet, the first if it is "".

    Raises TableProblemError, and OSError where the disk fails.
    """
    order = json.dumps([MEMORY, SECONDS, sheet, *wanted])
    command = [sys.executable, "-P", "-W", "ignore", "-m", "casedrop.workbook", order]
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter
            command,
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=2 * SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TableProblemError(TOO_MUCH) from None
    if done.returncode:
        raise TableProblemError(TOO_MUCH)
    for line in done.stdout.splitlines():
        said = json.loads(line)
        if isinstance(said, str):
            raise TableProblemError(said)
        if isinstance(said, int):
            raise OSError(said, os.strerror(said))
        yield Row(said[0], tuple(Faulty(one["why"]) if isinstance(one, dict) else one for one in said[1]))


def main() -> None:
    """In the other process: a line of JSON for each row, or a problem, or the number of an error."""
    memory, seconds, sheet, *wanted = json.loads(sys.argv[1])
    import openpyxl  # noqa: F401, PLC0415  loaded before memory is limited: numpy, if there, takes much

    _limit(memory, seconds)
    try:
        _say(picked(_cells(sys.stdin.buffer, sheet), wanted))
    except TableProblemError as problem:
        print(json.dumps(str(problem)))  # noqa: T201
    except OSError as error:
        print(json.dumps(error.errno or errno.EIO))  # noqa: T201
    except MemoryError:
        print(json.dumps(TOO_MUCH))  # noqa: T201
    except Exception:  # noqa: BLE001  whatever a broken workbook makes of openpyxl
        print(json.dumps(BROKEN))  # noqa: T201


def _limit(memory: int, seconds: int) -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _say(rows: Iterator[Row]) -> None:
    room = MOST_TEXT
    for row in rows:
        cells = [{"why": one.why} if isinstance(one, Faulty) else one for one in row.cells]
        line = json.dumps([row.number, cells])
        room -= len(line)
        if room < 0:
            raise TableProblemError(
                f"has more than {MOST_TEXT // 1_000_000} MB of text, which is more than is read"
            )
        print(line)  # noqa: T201


def _cells(file: IO[bytes], sheet: str) -> Iterator[list[Cell]]:
    """Each row twice, since a formula is told from nothing only where its result is not asked for."""
    results, formulas = (_values(file, sheet, data_only=data_only) for data_only in (True, False))
    for shown, written in zip(results, formulas, strict=True):
        yield [_cell(one, other) for one, other in zip(shown, written, strict=True)]


def _values(file: IO[bytes], sheet: str, *, data_only: bool) -> Iterator[tuple[Any, ...]]:
    """As wide as the column names, whatever stands far to the right."""
    import openpyxl  # noqa: PLC0415

    book = openpyxl.load_workbook(file, read_only=True, data_only=data_only)
    named = [one for one in book.worksheets if sheet in ("", one.title)]
    if not named:
        raise TableProblemError(f"has no sheet {sheet}" if sheet else "has no sheet with cells")
    named[0].reset_dimensions()
    header = next(named[0].iter_rows(max_row=1, values_only=True), ())
    return named[0].iter_rows(max_col=max(len(header), 1), values_only=True)


def _cell(shown: Any, written: Any) -> Cell:
    """Dates and times are ISO 8601, a date without a time the date alone."""
    if shown is None and written is not None:
        return NOT_CALCULATED
    if isinstance(shown, str):
        return SHOWS_ERROR if ERROR.fullmatch(shown) else shown
    if isinstance(shown, datetime):
        return (shown.date() if shown.time() == time() else shown).isoformat()
    if isinstance(shown, date | time):
        return shown.isoformat()
    return shown if shown is None or isinstance(shown, bool | int | float) else str(shown)


if __name__ == "__main__":
    main()
