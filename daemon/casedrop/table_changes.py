"""What the lab's tables say of finished display sets now, beside what was sent of them. Pure.

A row that is not there any more says nothing: what was sent stands.
"""

import json
import re
import string
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from casedrop import tables, titles
from casedrop.model import Drop, Existing, Json, Problem, SocketKind, SocketRule, TableValue, Weight
from casedrop.near import several, shown
from casedrop.settle import composed
from casedrop.tables import asked
from casedrop.titles import Naming
from casedrop.values import ValueProblemError, from_cell

ROW_GONE = ("no-row", "no-code")
"""Words of problems."""

BY_AN_EDITOR = "an editor changes it on Grand Challenge"
OTHER_TITLE = (
    f"it would be another one, and the folder a second display set; {BY_AN_EDITOR}, and the table has to keep the "
    "one before"
)
BY_THE_RULES = (
    "by the drop's title of now it would be another one, and the folder a second display set; with the title of "
    "then, its new values can be sent"
)
EMPTIED = "the table has nothing for it any more, and Casedrop removes nothing from Grand Challenge"


@dataclass(frozen=True, slots=True)
class Sent:
    """A finished display set by the journal: of which folder and part it is, and what was sent.

    `folder` is what people called the folder, `filed_as` its name in done/, `held` the fingerprint of each
    socket's contents (PlannedSocket.fingerprint).
    """

    set_pk: str
    folder: str
    filed_as: str
    part: str
    groups: Mapping[str, str]
    title: str
    order: int
    held: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """What would be another now: the slug of a socket, "title" or "order".

    `needs` is the existing_display_set with which the new value is sent, "" where it cannot be sent; `why` is
    then the rest of a sentence that begins with `what`. `stops` tells that nothing else of the folder can be
    sent either.
    """

    what: str
    needs: Literal["", "add", "replace"]
    why: str = ""
    stops: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """A finished display set of which a table says something else by now."""

    sent: Sent
    changes: tuple[Change, ...]


def is_told_elsewhere(drop: Drop) -> bool:
    """Whether the drop has a table that lies outside its folders."""
    return drop.codes is not None or any(table.file for table in drop.tables)


def compared(
    drop: Drop, naming: Naming, kinds: Mapping[str, SocketKind], every: Iterable[Sent]
) -> dict[str, Changed]:
    """By the display set's pk those of which something has changed."""
    found = {one.set_pk: Changed(one, _changes(drop, naming, kinds, one)) for one in every}
    return {pk: one for pk, one in found.items() if one.changes}


def _changes(drop: Drop, naming: Naming, kinds: Mapping[str, SocketKind], sent: Sent) -> tuple[Change, ...]:
    if drop.folder and not re.fullmatch(drop.folder, composed(sent.folder)):
        return ()
    groups = titles.groups(drop, sent.folder, sent.groups)
    values = (_of_socket(rule, naming, groups, kinds, sent) for rule in drop.sockets)
    found = (*filter(None, values), *_of_templates(drop, naming, sent))
    return (*found, *_of_rules(drop, naming, sent)) if found else ()


def _of_socket(
    rule: SocketRule, naming: Naming, groups: Mapping[str, str], kinds: Mapping[str, SocketKind], sent: Sent
) -> Change | None:
    origin, held = rule.value_from, sent.held.get(rule.socket)
    if not isinstance(origin, TableValue) or origin.table not in naming.tables:
        return None
    found = tables.cell(naming.tables, groups, origin.table, origin.column)
    if isinstance(found, Problem):
        is_nothing = found.word in ROW_GONE or (found.weight is Weight.LACKING and held is None)
        return None if is_nothing else _unusable(rule.socket, found)
    try:
        value = from_cell(found, kinds[rule.socket].kind)
    except ValueProblemError as problem:
        return Change(rule.socket, "", f"{found.source} {problem}", stops=True)
    if held is None:
        return Change(rule.socket, "add")
    before, _ = json.loads(held)
    return None if same_value(before, value) else Change(rule.socket, "replace")


def _unusable(what: str, problem: Problem) -> Change:
    if problem.weight is Weight.LACKING:
        return Change(what, "", EMPTIED)
    return Change(what, "", problem.text.rstrip("."), stops=True)


def same_value(before: Json, now: Json) -> bool:
    """5 and 5.0 are: which of them a table has depends on the program that saved it."""
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in (before, now)):
        return bool(before == now)
    return json.dumps(before, sort_keys=True) == json.dumps(now, sort_keys=True)


def _of_templates(drop: Drop, naming: Naming, sent: Sent) -> Iterator[Change]:
    title = ("title", drop.title, titles.title, sent.title, OTHER_TITLE)
    order = ("order", drop.order, titles.order, sent.order, BY_AN_EDITOR)
    for what, template, made, before, why in (title, order):
        if not before or not _is_of_tables(template, naming):
            continue
        now, problems = made(drop, sent.folder, naming, sent.groups)
        if problems:
            said = (one for one in problems if one.word not in ROW_GONE)
            yield from (Change(what, "", one.text.rstrip("."), stops=True) for one in said)
        elif now != before:
            yield Change(what, "", why, stops=what == "title")


def _of_rules(drop: Drop, naming: Naming, sent: Sent) -> Iterator[Change]:
    """Of a title that no table makes: by itself it is nothing to tell of, but nothing else can be sent."""
    tables_asked = {name for name, _ in asked(drop.title)}
    if _is_of_tables(drop.title, naming) or not tables_asked <= naming.tables.keys():
        return
    if titles.title(drop, sent.folder, naming, sent.groups)[0] != sent.title:
        yield Change("title", "", BY_THE_RULES, stops=True)


def _is_of_tables(template: str, naming: Naming) -> bool:
    """Made of tables that lie outside the folder, and of no other."""
    names = {name for name, _ in asked(template)}
    by_code = any(name == titles.CODE for _, name, _, _ in string.Formatter().parse(template))
    return names <= naming.tables.keys() and bool(names or by_code)


def by_folder(found: Iterable[Changed]) -> dict[str, list[Changed]]:
    """By the name in done/, sorted; of a split folder its parts in order."""
    folders = defaultdict(list)
    for one in sorted(found, key=lambda each: (each.sent.filed_as, each.sent.part)):
        folders[one.sent.filed_as].append(one)
    return dict(folders)


def named(parts: Iterable[Changed]) -> str:
    """What of a folder has changed: "lung-volume", of a split one "v1: lung-volume; v2: title"."""
    return "; ".join(
        f"{shown(one.sent.part)}: {_whats(one.changes)}" if one.sent.part else _whats(one.changes)
        for one in parts
    )


def _whats(changes: Iterable[Change]) -> str:
    return several(change.what for change in changes)


def why_not(existing: Existing, parts: Iterable[Changed]) -> str:
    """Why nothing of this folder can be sent by the drop's existing_display_set, "" where it can."""
    changes = [change for one in parts for change in one.changes]
    stopping = [change for change in changes if change.stops]
    needed = {change.needs for change in changes if change.needs}
    if stopping or not needed:
        return f"It cannot be sent: {not_sent(stopping or changes)}."
    if existing == "replace" or needed == {existing}:
        return ""
    wanted = '"replace"' if "replace" in needed else '"add" or "replace"'
    lets = "only adds what display sets lack" if existing == "add" else "changes no finished display set"
    return (
        f'This drop {lets} (existing_display_set = "{existing}"). If the new values are to be sent, the data '
        f"manager sets it to {wanted} and has the service reloaded; then say this again."
    )


def not_sent(changes: Iterable[Change]) -> str:
    """What cannot be sent, and why; "" where everything can."""
    return "; ".join(dict.fromkeys(f"{one.what}: {one.why}" for one in changes if not one.needs))
