"""A lab's own table of folders and codes. Pure.

CSV as spreadsheets write it (RFC 4180), parted by commas, semicolons or tabs, in UTF-8, a row of column names
on top. A row that is not there yet may still come; one that cannot be right is wrong.
"""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from casedrop.model import CodeTable, Problem, Weight
from casedrop.near import shown
from casedrop.settle import composed


class TableProblemError(Exception):
    """Why no code can be had of the table: the rest of a sentence that begins with its file."""


@dataclass(frozen=True, slots=True)
class Codes:
    """By folder name (NFC) the codes of all its rows, and how many folders have each code."""

    of: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    uses: Mapping[str, int] = field(default_factory=dict, repr=False)


def parse(content: bytes, table: CodeTable) -> Codes:
    """The table's rows. Raises TableProblemError where it is no such table."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TableProblemError("is not UTF-8 text; save it as CSV UTF-8") from None
    head = text.split("\n", 1)[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    missing = [column for column in (table.folder, table.code) if column not in (rows.fieldnames or ())]
    if missing:
        raise TableProblemError(f"has no column {' and none '.join(missing)}")
    try:
        return _counted([(_cell(row, table.folder), _cell(row, table.code)) for row in rows])
    except csv.Error:
        raise TableProblemError("is no table that can be read; save it as CSV UTF-8") from None


def _cell(row: Mapping[str, str | None], column: str) -> str:
    return composed((row[column] or "").strip())


def _counted(rows: list[tuple[str, str]]) -> Codes:
    of: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for folder, code in rows:
        if folder:
            of[folder] += (code,)
    return Codes(dict(of), Counter(code for found in of.values() for code in set(found)))


def code(codes: Codes, name: str) -> str | Problem:
    """The one code of a folder, or why there is none."""
    rows = codes.of.get(composed(name.strip()), ())
    if not rows or rows == ("",):
        text = (
            f'The table of codes has no code for "{shown(name)}" yet. It is added by the one who keeps the table, '
            "who has to write the folder's name as it is."
        )
        return Problem("no-code", text, Weight.LACKING)
    if len(rows) > 1:
        text = f'The table of codes has {len(rows)} rows for "{shown(name)}". Leave the right one.'
        return Problem("two-codes", text)
    if codes.uses[rows[0]] > 1:
        text = (
            f'The table of codes gives the code of "{shown(name)}" to another folder too. Give each its own.'
        )
        return Problem("code-twice", text)
    return rows[0]
