"""Which of the expected patients and visits are there, as a table. Pure."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from casedrop.near import for_spreadsheet, shown

DONE, ON_ITS_WAY, WAITING, FAILED, ABSENT = "done", "on its way", "waiting", "failed", "absent"
STATES = (DONE, ON_ITS_WAY, WAITING, FAILED, ABSENT)
"""The first that is true of any folder of a key counts."""
NOTHING = "-: nothing is there, and nothing is expected."
MOST_COLUMNS = 12
"""Of a second key that still stand beside each other."""

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """One display set, or a folder that is to become one; `address` is the web page of one that is there."""

    state: str
    address: str = ""


def merged(expected: Iterable[Key], seen: Iterable[tuple[Key, Seen]]) -> dict[Key, Seen]:
    """By key, sorted: what is there of it, and ABSENT what is expected alone."""
    found = dict.fromkeys(expected, Seen(ABSENT))
    for key, one in seen:
        found[key] = min(found.get(key, one), one, key=lambda each: STATES.index(each.state))
    return dict(sorted(found.items()))


def text(names: Sequence[str], found: Mapping[Key, Seen]) -> str:
    """A grid of the first key by the second, or a line for each where that would not fit; then the sums."""
    seconds = sorted({key[1] for key in found if len(key) == 2})  # noqa: PLR2004  a grid has two sides
    is_grid = len(names) == 2 and len(seconds) <= MOST_COLUMNS  # noqa: PLR2004
    rows = _grid(names, seconds, found) if is_grid else _lines(names, found)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    count = Counter(one.state for one in found.values())
    dash = ["", NOTHING] if is_grid and any("-" in row[1:] for row in rows[1:]) else []
    sums = ", ".join(f"{count[state]} {state}" for state in STATES if count[state]) or "nothing there"
    return "\n".join([*lines, *dash, "", f"{sums}."])


def as_csv(names: Sequence[str], found: Mapping[Key, Seen]) -> str:
    """The keys, state and display_set (its web page)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, "state", "display_set"])
    writer.writerows(
        [*(for_spreadsheet(shown(part)) for part in key), one.state, one.address]
        for key, one in found.items()
    )
    return out.getvalue()


def _grid(names: Sequence[str], seconds: list[str], found: Mapping[Key, Seen]) -> list[list[str]]:
    """A dash where nothing is expected and nothing there."""
    header = [f"{names[0]} \\ {names[1]}", *map(shown, seconds)]
    firsts = sorted({key[0] for key in found})
    none = Seen("-")
    return [
        header,
        *([shown(one), *(found.get((one, two), none).state for two in seconds)] for one in firsts),
    ]


def _lines(names: Sequence[str], found: Mapping[Key, Seen]) -> list[list[str]]:
    header = [*names, "state", "display set"]
    return [header, *([*map(shown, key), one.state, one.address] for key, one in found.items())]
