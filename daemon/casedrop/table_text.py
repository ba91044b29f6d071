"""CSV as spreadsheets write it (RFC 4180), with whatever separator and encoding. Pure.

Excel saves "CSV UTF-8" with a byte order mark, "Unicode text" as UTF-16 with one and tabs, and plain "CSV" in
the code page of Windows, with semicolons where the decimal point is a comma.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence

from casedrop.model import Drop, LabTable, Problem, Weight
from casedrop.near import several, shown
from casedrop.settle import matches
from casedrop.tables import Cell, Faulty, Row, Table, TableProblemError, columns, indexed, picked

SEPARATORS = ",;\t|"
HEADER = 1 << 16
"""Characters in which the column names end."""

ERROR = re.compile(r"#(N/A|NV|[A-ZÄÖÜ0-9/]+[!?])")
SHOWS_ERROR = Faulty("shows an error of the spreadsheet")


def rows(content: bytes, wanted: Sequence[str]) -> Iterator[Row]:
    """The cells of the `wanted` columns of every row. Raises TableProblemError."""
    text = _decoded(content)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text, wanted), strict=True)
    try:
        yield from picked((_cells(record) for record in reader), wanted)
    except csv.Error:
        what = f"cannot be read on from line {reader.line_num}: a quote is not closed, or a cell is too long"
        raise TableProblemError(f"{what}. Save it as CSV UTF-8") from None


def _cells(record: list[str]) -> list[Cell]:
    return [SHOWS_ERROR if ERROR.fullmatch(cell.strip()) else cell for cell in record]


def _decoded(content: bytes) -> str:
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if utf16 else ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise TableProblemError("is no text, or in an encoding nobody can tell; save it as CSV UTF-8")


def _separator(text: str, wanted: Sequence[str]) -> str:
    """That which finds most of the wanted columns, then most columns."""

    def fits(separator: str) -> tuple[int, int]:
        try:
            header = next(csv.reader(io.StringIO(text[:HEADER], newline=""), delimiter=separator), [])
        except csv.Error:
            return 0, 0
        return len({name.strip() for name in header} & set(wanted)), len(header)

    return max(SEPARATORS, key=fits)


def in_folder(drop: Drop, contents: Mapping[str, bytes], most: int) -> dict[str, Table | Problem]:
    """The tables that lie in the case folder; `contents` by path, longer than `most` bytes where too long."""
    tables = {}
    for rule in drop.tables:
        if rule.csv:
            found = {path: data for path, data in contents.items() if matches(path, (rule.csv,))}
            tables[rule.name] = _one(rule, columns(drop, rule), found, most)
    return tables


def _one(rule: LabTable, wanted: tuple[str, ...], found: Mapping[str, bytes], most: int) -> Table | Problem:
    if not found:
        text = f"No file for the table {rule.name} (it is read from {rule.written or rule.csv})."
        return Problem("missing-file", text, Weight.LACKING)
    if len(found) > 1:
        text = f"The table {rule.name} is one file, but {several(found)} fit its pattern. Remove one."
        return Problem("two-files", text)
    ((path, content),) = found.items()
    if len(content) > most:
        return Problem("value-too-large", f"{shown(path)} is larger than a table in a folder may be (1 MiB).")
    try:
        return indexed(rule, shown(path), wanted, rows(content, wanted))
    except TableProblemError as problem:
        return Problem("bad-table", f"{shown(path)} {problem}.")
