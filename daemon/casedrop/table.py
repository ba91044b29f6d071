"""The status as a table for a terminal, with the help of rich. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.segment import SegmentLines
from rich.table import Table
from rich.text import Text

from casedrop.lines import far, limits_words, service_words, standing, table_changes, why
from casedrop.near import shown
from casedrop.stages import Stage
from casedrop.status import MOVING, NEWEST, WAITS_FOR_A_PERSON, WORDS

Case = Mapping[str, Any]

PERSON, ON_ITS_WAY, IN_DROP = WAITS_FOR_A_PERSON, "on their way", "in drop/"
DONE, FAILED = WORDS[Stage.DONE], WORDS[Stage.FAILED]
GROUPS = {PERSON: "bold yellow", ON_ITS_WAY: "cyan", IN_DROP: "", FAILED: "red", DONE: "green"}
"""In the order in which they are shown, with the style of their states."""

MOST = {PERSON: 20, ON_ITS_WAY: 20, IN_DROP: 20, FAILED: 10, DONE: 5}
"""Cases of each that are shown unless all are asked for."""

WIDE = 120
"""Columns from which on the reasons have a column of their own."""

GAP = 2
BAR = 10
INDENT = 2
"""Columns."""


def table(report: Mapping[str, Any], now: float, *, runs: bool, width: int, least: int = 0) -> Group:
    """By drop what is to be said of it, then a row for each case, the newest first, done ones counted.

    `width` is that of the terminal in columns; `least` cases of each kind are shown where there are so many.
    """
    said: list[RenderableType] = [
        Text(words, style="bold red") for words in service_words(report, now, runs=runs)
    ]
    said += [Text(words, style="yellow") for words in limits_words(report)]
    for drop in report["drops"]:
        said += [*_heading(drop), *_cases(drop["cases"], now, width, least)]
    return Group(*said)


def fitting(whole: Group, console: Console) -> Group:
    """What of it fits on the screen, with how much is hidden."""
    drawn = console.render_lines(whole, pad=False)
    if len(drawn) <= console.height:
        return whole
    kept = max(console.height - 1, 0)
    more = Text(f"... and {len(drawn) - kept} more lines, for which the window is too low", style="dim")
    more.truncate(console.width)
    return Group(SegmentLines(drawn[:kept], new_lines=True), more)


def _heading(drop: Mapping[str, Any]) -> Iterator[RenderableType]:
    count = Counter(_group(case) for case in drop["cases"])
    counts = ", ".join(_counted(group, count[group]) for group in GROUPS if count[group])
    yield Text(shown(drop["name"]), style="bold").append(f"  {counts or 'no folders'}", style="not bold")
    for words in standing(drop):
        yield _indented(Text(words, style="bold red"), INDENT)
    for words in table_changes(drop):
        yield _indented(Text(words, style="yellow"), INDENT)


def _counted(group: str, count: int) -> str:
    more = " or more" if group in (DONE, FAILED) and count >= NEWEST else ""
    return f"{count}{more} {group}"


def _group(case: Case) -> str:
    if case["state"] in (PERSON, DONE, FAILED):
        return str(case["state"])
    return ON_ITS_WAY if case["state"] in MOVING else IN_DROP


def _cases(cases: Sequence[Case], now: float, width: int, least: int) -> Iterator[RenderableType]:
    newest = sorted(cases, key=lambda one: -float(one["since"]))
    groups = {group: [one for one in newest if _group(one) == group] for group in GROUPS}
    chosen = {group: found[: max(least, MOST[group])] for group, found in groups.items()}
    columns = _widths([one for found in chosen.values() for one in found], now, width)
    for group, found in chosen.items():
        yield from _rows(found, now, columns, GROUPS[group])
        if more := len(groups[group]) - len(found):
            yield Text(f"  and {more} more {group} (--all shows them)", style="dim")


def _widths(cases: Sequence[Case], now: float, width: int) -> tuple[int, int, int, int]:
    """Of the columns folder, state, how far and why; the last is 0 where the reasons stand below the rows."""
    folder = max((cell_len(shown(one["folder"])) for one in cases), default=0)
    state = max((cell_len(one["state"]) for one in cases), default=0)
    how_far = max((cell_len(far(one, now)) + _bar(one) for one in cases), default=0)
    left = width - INDENT - 3 * GAP
    if width >= WIDE:
        folder = min(folder, left // 4)
        return folder, state, how_far, left - folder - state - how_far
    folder = min(folder, max(left * 3 // 10, left + GAP - state - how_far, INDENT))
    return folder, max(min(state, left + GAP - folder - how_far), INDENT), how_far, 0


def _rows(
    cases: Sequence[Case], now: float, columns: tuple[int, int, int, int], style: str
) -> Iterator[RenderableType]:
    """One table where the reasons have a column; else a table of one row for each, with its reason below.

    There is no room then for the addresses of display sets.
    """
    folder, state, how_far, reason = columns
    grid = _grid(*columns)
    for one in cases:
        cells = Text(shown(one["folder"])), Text(one["state"], style=style), _far(one, now, how_far)
        if reason:
            grid.add_row(*cells, Text(why(one)))
            continue
        grid = _grid(folder, state, how_far)
        grid.add_row(*cells)
        yield _indented(grid, INDENT)
        if one["why"]:
            yield _indented(Text(shown(one["why"]), style="dim"), 3 * INDENT)
    if reason and cases:
        yield _indented(grid, INDENT)


def _grid(*widths: int) -> Table:
    grid = Table.grid(padding=(0, GAP, 0, 0))
    for width in filter(None, widths):
        grid.add_column(width=width, overflow="fold")
    return grid


def _indented(what: RenderableType, columns: int) -> Padding:
    return Padding(what, (0, 0, 0, columns), expand=False)


def _far(case: Case, now: float, width: int) -> RenderableType:
    """The bar too, where the case is being uploaded."""
    words = Text(far(case, now))
    if not _bar(case):
        return words
    grid = _grid(BAR, width - _bar(case))
    grid.add_row(ProgressBar(case["total_bytes"], case["sent_bytes"], width=BAR), words)
    return grid


def _bar(case: Case) -> int:
    return BAR + GAP if case.get("total_bytes") else 0
