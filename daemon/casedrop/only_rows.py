"""Whether today's rules make of a done folder what was sent of it, but for its rows of the tables. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from casedrop.model import Drop, Grouping, Plan, PlannedSocket, TableValue, Weight
from casedrop.near import several, shown
from casedrop.reports import plans
from casedrop.table_changes import Change, Sent, same_value


@dataclass(frozen=True, slots=True)
class Before:
    """A display set of the folder: the plan it was last sent by, what the journal knows of it, what changed."""

    plan: Plan
    sent: Sent
    changes: tuple[Change, ...] = ()


def why_more(drop: Drop, today: Grouping, before: Iterable[Before]) -> str:
    """Why more, or other, would be sent than the rows that changed; "" where it is just that.

    The folder's own files are taken to be those of the plans: prepare.unchanged tells that.
    """
    if today.plan is None:
        causes = (one.text for one in today.problems if one.weight is not Weight.NOTE)
        return f"by the rules of today it would not be taken. {' '.join(causes)}"
    made = {plan.part: plan for plan in plans(today)}
    known = {one.plan.part: one for one in before}
    if made.keys() != known.keys():
        return "by the rules of today it would become other display sets than those that were sent."
    of_rows = {rule.socket for rule in drop.sockets if isinstance(rule.value_from, TableValue)}
    said = [
        f'of "{shown(name)}" {words}' if name else words
        for name, plan in made.items()
        for words in _differences(plan, known[name], of_rows)
    ]
    if not said:
        return ""
    return (
        f"by the rules of today it would not only have its new row: {'; '.join(said)}. Only values of tables are "
        "sent like this. If all of it is to be sent by these rules, move the folder into drop/ by hand."
    )


def _differences(plan: Plan, before: Before, of_rows: set[str]) -> Iterator[str]:
    """A value that is of a table may be lacking: a row that is gone says nothing."""
    if plan.title != before.sent.title:
        yield f'its title would be "{shown(plan.title)}", and not "{shown(before.sent.title)}"'
    now = {one.socket: one for one in plan.sockets}
    was = {one.socket: one for one in before.plan.sockets}
    others = {slug for slug, one in now.items() if not _is_same(one, was.get(slug), before.sent.held)}
    wanted = {change.what for change in before.changes if change.needs}
    gone = was.keys() - now.keys() - of_rows
    if wrong := sorted((others ^ wanted) | gone):
        yield f"{several(wrong)} would not be what was sent"


def _is_same(now: PlannedSocket, was: PlannedSocket | None, held: Mapping[str, str]) -> bool:
    """`held` is what was last sent to the display set, by whichever folder."""
    if was is None or now.socket not in held or _made_of(now) != _made_of(was):
        return False
    if _is_value(now):
        value, _ = json.loads(held[now.socket])
        return same_value(value, now.value)
    return was.fingerprint == held[now.socket]


def _is_value(socket: PlannedSocket) -> bool:
    return not socket.image_of and all(file.is_made for file in socket.files)


def _made_of(socket: PlannedSocket) -> tuple[object, ...]:
    """From which files of the folder its contents come, and how; not the values themselves."""
    files = tuple(
        (
            file.path,
            None if file.is_made else file.content,
            file.procedure,
            file.unchanged,
            file.bare,
            file.stripped,
            tuple(one.path for one in file.packed),
        )
        for file in socket.files
    )
    return socket.super_kind, socket.image_of, files
