"""A lab's own tables: a row is found by its key, which is in the folder's name. Pure.

Row numbers are those a spreadsheet shows: the column names are row 1.
"""

import difflib
import re
import string
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from casedrop.model import Decimal, Drop, LabTable, Problem, TableValue, Weight
from casedrop.near import several
from casedrop.settle import composed

MOST_BYTES = 50_000_000
MOST_ROWS = 1_000_000
WHOLE = 1e15
"""Below it a number without a fraction is written without a point."""

PLACEHOLDER = re.compile(r"table\.([^.]+)\.(.+)")


class TableProblemError(Exception):
    """Why a table cannot be used: the rest of a sentence that begins with its file."""


@dataclass(frozen=True, slots=True)
class Faulty:
    """A cell that has no value although it is not empty: the rest of a sentence that begins with its place."""

    why: str


Cell = str | int | float | bool | Faulty | None
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of the columns that are read; `fault` says why none of them can be trusted."""

    number: int
    cells: tuple[Cell, ...] = field(repr=False)
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """What was read of a table, and the base name of its file; `keyless` are rows whose key cannot be read."""

    rule: LabTable
    file: str
    columns: tuple[str, ...]
    rows: Mapping[Key, tuple[Row, ...]] = field(repr=False)
    keyless: tuple[int, ...] = ()

    @property
    def called(self) -> str:
        return f"the table {self.rule.name} ({self.file})"

    @property
    def doubles(self) -> list[tuple[int, ...]]:
        """The numbers of rows that have one key."""
        return [tuple(row.number for row in rows) for rows in self.rows.values() if len(rows) > 1]


Tables = Mapping[str, Table | Problem]
"""By name; a problem for one that cannot be used."""


@dataclass(frozen=True, slots=True)
class Found:
    """A cell that holds something, and in words where it stands."""

    source: str
    value: str | int | float | bool = field(repr=False)
    decimal: Decimal


def asked(template: str) -> list[tuple[str, str]]:
    """The tables and columns that a title or an order is made of: {table.NAME.COLUMN}."""
    names = [name or "" for _, name, _, _ in string.Formatter().parse(template)]
    return [(found[1], found[2]) for name in names if (found := PLACEHOLDER.fullmatch(name))]


def columns(drop: Drop, rule: LabTable) -> tuple[str, ...]:
    """The columns that are read of a table, each once: of the keys, of sockets, title and order."""
    origins = [one.value_from for one in drop.sockets if isinstance(one.value_from, TableValue)]
    wanted = [(one.table, one.column) for one in origins] + asked(drop.title) + asked(drop.order)
    values = [column for table, column in wanted if table == rule.name]
    return tuple(dict.fromkeys([*(column for _, column in rule.keys), *values]))


def picked(rows: Iterable[Sequence[Cell]], wanted: Sequence[str]) -> Iterator[Row]:
    """Of all rows that are not blank the cells of these columns, in this order. Raises TableProblemError."""
    every = iter(rows)
    header = [_folded(cell) for cell in next(every, ())]
    places = _places(header, [composed(column).strip() for column in wanted])
    for number, cells in enumerate(every, 2):
        if number > MOST_ROWS:
            raise TableProblemError(f"has more than {MOST_ROWS} rows, which is more than is read")
        if any(_is_filled(cell) for cell in cells):
            shifted = any(_is_filled(cell) for cell in cells[len(header) :])
            fault = "has more cells than there are columns; text with a separator in it stands in quotes"
            chosen = tuple(cells[at] if at < len(cells) else None for at in places)
            yield Row(number, chosen, fault if shifted else "")


def _places(header: list[str], wanted: list[str]) -> list[int]:
    missing = [column for column in wanted if column not in header]
    if missing:
        raise TableProblemError(f"has no column {' and none '.join(missing)}{_hint(header, wanted, missing)}")
    if twice := [column for column in wanted if header.count(column) > 1]:
        raise TableProblemError(f"has two columns {' and two '.join(twice)}")
    return [header.index(column) for column in wanted]


def _hint(header: list[str], wanted: list[str], missing: list[str]) -> str:
    """Only what nearly is a column that is wanted: the rest of a first row may be patients, not columns."""
    near = [one for column in missing for one in difflib.get_close_matches(column, header, 1)]
    said = [f"nearly: {several(near)}"] if near else []
    if missing == wanted:
        said.append("the first row must hold the column names")
    else:
        said.append(f"its first row has {len([one for one in header if one])} names")
    return f" ({'; '.join(said)})"


def indexed(rule: LabTable, file: str, columns: tuple[str, ...], rows: Iterable[Row]) -> Table:
    """The table, whose `rows` have the cells of `columns`."""
    places = [columns.index(column) for _, column in rule.keys]
    found: dict[Key, tuple[Row, ...]] = defaultdict(tuple)
    keyless = []
    for row in rows:
        cells = [row.cells[at] for at in places]
        key = tuple(map(_folded, cells))
        if any(isinstance(cell, Faulty) for cell in cells):
            keyless.append(row.number)
        elif any(key) or not places:
            found[key] += (row,)
    return Table(rule, file, columns, dict(found), tuple(keyless))


def cell(tables: Tables, groups: Mapping[str, str], name: str, column: str) -> Found | Problem:
    """What a table has in a column for the folder of these `groups` (texts by name), or why there is nothing.

    A row or a value that may still come is lacking.
    """
    table = tables.get(name) or _elsewhere(name)
    if isinstance(table, Problem):
        return table
    row = _row(table, groups)
    return row if isinstance(row, Problem) else _in_row(table, row, column)


def _in_row(table: Table, row: Row, column: str) -> Found | Problem:
    value = row.cells[table.columns.index(column)]
    at = f"Row {row.number} of {table.called}"
    if row.fault:
        return Problem("bad-row", f"{at} {row.fault}.")
    if isinstance(value, Faulty):
        return Problem("bad-row", f"{at}, column {column}, {value.why}.")
    if value is None or not _is_filled(value):
        text = f"{at} has nothing in the column {column}. It is added by the one who keeps the table."
        return Problem("empty-cell", text, Weight.LACKING)
    return Found(f"{table.file}, row {row.number}, {column}", value, table.rule.decimal)


def _elsewhere(name: str) -> Problem:
    text = f"The table {name} lies in the folder itself, and was not looked at."
    return Problem("missing-file", text, Weight.LACKING)


def _row(table: Table, groups: Mapping[str, str]) -> Row | Problem:
    key = tuple(_folded(groups.get(group, "")) for group, _ in table.rule.keys)
    rows = table.rows.get(key, ())
    if not rows:
        return _no_row(table, key)
    if len(rows) > 1:
        by = f" for this folder by {several(column for _, column in table.rule.keys)}" if key else ""
        numbers = several(str(row.number) for row in rows)
        text = f"{_capital(table.called)} has {len(rows)} rows{by} (rows {numbers}). Leave the right one."
        return Problem("two-rows", text)
    return rows[0]


def _no_row(table: Table, key: Key) -> Problem:
    """Says what was looked for, which is the folder's own name, and nothing of what the table holds."""
    columns = (column for _, column in table.rule.keys)
    wanted = several(f'"{one}" as {column}' for one, column in zip(key, columns, strict=True))
    sought = f" for this folder, with {wanted}" if key else ""
    odd = f" The keys of rows {several(map(str, table.keyless))} cannot be read." if table.keyless else ""
    text = (
        f"{_capital(table.called)} has no row{sought}.{odd} It is added by the one who keeps the table, "
        "who writes there what the folder's name has."
    )
    return Problem("no-row", text, Weight.LACKING)


def text(cell: Cell) -> str:
    """As people read it: 7.0 is 7; "" where there is nothing."""
    if cell is None or isinstance(cell, Faulty):
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    whole = isinstance(cell, float) and cell.is_integer() and abs(cell) < WHOLE
    return str(int(cell)) if whole else str(cell)


def _folded(cell: Cell) -> str:
    return composed(text(cell)).strip()


def _is_filled(cell: Cell) -> bool:
    return isinstance(cell, Faulty) or bool(text(cell).strip())


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
