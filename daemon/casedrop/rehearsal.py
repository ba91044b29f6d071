"""What a whole drop would become, a line for each display set. Pure."""

import csv
import io
import json
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from casedrop.model import Grouping, Json, Plan, Problem, Weight
from casedrop.near import for_spreadsheet, several, shown
from casedrop.reports import plans
from casedrop.split import of_whole

SENT, LACKING, WRONG, LEFT_ALONE = "would be sent", "lacking", "wrong", "left alone"
WAITS = "waits for the whole folder"
"""Of a part that is well itself."""
STATES = (SENT, WAITS, LEFT_ALONE, LACKING, WRONG)
"""The last that is true of any row of a folder is the folder's."""
NOT_CHECKED = (
    "Not checked here: whether a folder taken before has the same title or the very same files, and whether a "
    "copy is still going on. The service looks at that before it sends anything."
)
COLUMNS = ("folder", "part", "state", "title", "order", "sockets", "values", "why")


@dataclass(frozen=True, slots=True)
class Row:
    """One display set of a folder, or a folder of which none would be made: `state` is one of STATES."""

    folder: str
    state: str
    part: str = ""
    title: str = ""
    sockets: tuple[str, ...] = ()
    order: int = 0
    values: tuple[tuple[str, Json], ...] = ()
    why: str = ""


def rows(folder: str, grouping: Grouping, titles: dict[str, str]) -> list[Row]:
    """Of one folder; `titles` are those of the folders before, and is brought up to date."""
    if grouping.plan is not None:
        return [_well(folder, plan, titles, SENT) for plan in plans(grouping)]
    if not grouping.parts:
        return [_stopped(folder, "", grouping.problems)]
    besides = _stopped(folder, "", of_whole(grouping))
    waits = _until([f'"{name}"' for name, one in grouping.parts.items() if not one.plan], besides.why)
    found = [
        _well(folder, one.plan, titles, WAITS, waits) if one.plan else _stopped(folder, name, one.problems)
        for name, one in grouping.parts.items()
    ]
    return [*found, besides] if besides.why else found


def _until(stopped: list[str], besides: str) -> str:
    """What a part that is well itself waits for."""
    if not stopped:
        return f"Nothing is sent before this is put right: {besides}"
    verb = "is" if len(stopped) == 1 else "are"
    return f"This part is well, but {several(stopped)} {verb} not, and a folder is sent whole."


def _well(folder: str, plan: Plan, titles: dict[str, str], state: str, why: str = "") -> Row:
    other = titles.setdefault(plan.title, folder)
    same = f'"{shown(other)}" has this title too, and each can be used once.' if other != folder else ""
    sockets = tuple(one.socket for one in plan.sockets)
    values = tuple((one.socket, one.value) for one in plan.sockets if one.value is not None)
    return Row(
        folder, WRONG if same else state, plan.part, plan.title, sockets, plan.order, values, same or why
    )


def _stopped(folder: str, part: str, problems: Iterable[Problem]) -> Row:
    causes = [one for one in problems if one.weight is not Weight.NOTE]
    state = WRONG if any(one.weight is Weight.WRONG for one in causes) else LACKING
    return Row(folder, state, part, why=" ".join(one.text for one in causes))


def would_become(grouping: Grouping) -> str:
    """In a sentence, of a folder whose plan is whole."""
    made = [
        f'"{shown(one.title)}" ({", ".join(socket.socket for socket in one.sockets)})'
        for one in plans(grouping)
    ]
    return f"would become {'the display set' if len(made) == 1 else 'the display sets'} {several(made)}"


def line(row: Row) -> str:
    """For people, wrapped at 80 columns."""
    name = shown(f"{row.folder}/{row.part}" if row.part else row.folder)
    values = dict(row.values)
    held = [f"{one} = {json.dumps(values[one])}" if one in values else one for one in row.sockets]
    place = f" in place {row.order}" if row.order else ""
    made = f' "{shown(row.title)}"{place} with {", ".join(held)}' if row.title else ""
    why = f" - {row.why}" if row.why else ""
    return textwrap.fill(
        f"{name}: {row.state}{made}{why}", 80, subsequent_indent="    ", break_on_hyphens=False
    )


def summary(found: Iterable[Row]) -> str:
    known = list(found)
    sets = sum(row.state == SENT for row in known)
    worst = {row.folder: row.state for row in sorted(known, key=lambda row: STATES.index(row.state))}
    count = Counter(worst.values())
    whole = count[SENT]
    more = "".join(f", {count[state]} {state}" for state in (LACKING, WRONG, LEFT_ALONE) if count[state])
    made = f"{sets} display set{'' if sets == 1 else 's'}"
    return f"{made} would be made of {whole} folder{'' if whole == 1 else 's'}{more}."


def as_csv(found: Iterable[Row]) -> str:
    """COLUMNS, the sockets with blanks between them, the values as JSON; names as `near.shown` has them."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in found:
        made = (
            shown(row.folder),
            shown(row.part),
            row.state,
            shown(row.title),
            str(row.order or ""),
            " ".join(row.sockets),
            json.dumps(dict(row.values)) if row.values else "",
            row.why,
        )
        writer.writerow(map(for_spreadsheet, made))
    return out.getvalue()
