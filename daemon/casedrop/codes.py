"""The codes of titles, out of a lab's own table of folders and codes. Pure.

A row that is not there yet may still come; one that cannot be right is wrong.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from casedrop.model import CodeTable, LabTable, Problem, Weight
from casedrop.near import shown
from casedrop.settle import composed
from casedrop.tables import Table, text


@dataclass(frozen=True, slots=True)
class Codes:
    """By folder name (NFC) the codes of all its rows, and how many folders have each code."""

    of: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    uses: Mapping[str, int] = field(default_factory=dict, repr=False)


def as_table(codes: CodeTable) -> LabTable:
    """By a name that no table of a configuration can have."""
    return LabTable("of codes", codes.file, keys=(("folder", codes.folder),))


def counted(table: Table, column: str) -> Codes:
    """The codes in that column of a table whose key is the folder's name."""
    at = table.columns.index(column)
    of = {
        folder: tuple(composed(text(row.cells[at])).strip() for row in rows)
        for (folder,), rows in table.rows.items()
    }
    return Codes(of, Counter(code for found in of.values() for code in set(found)))


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
