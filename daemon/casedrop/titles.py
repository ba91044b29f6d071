"""What a display set is called and where it stands: the drop's templates, filled for a folder. Pure."""

import re
import string
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from casedrop.codes import Codes, code
from casedrop.model import Drop, Problem
from casedrop.near import several, shown
from casedrop.settle import composed
from casedrop.tables import Tables, asked, cell, text

LIMIT = 255
"""Characters of a title (seen on a real server, recording 05)."""

LAST = 2**31 - 1
"""The highest order; the lowest is 1, since 0 stands for the last place (seen on a real server, recording 05)."""

PSEUDONYM, CODE = "pseudonym", "code"
"""Placeholders of their own, beside {folder} and the groups of the drop's expression."""


def without_key(_: str) -> str:
    """Where there is no key to look with: what a pseudonym looks like."""
    return "????-????-????-????"


@dataclass(frozen=True, slots=True)
class Naming:
    """What stands behind {pseudonym}, by the text it replaces, behind {code}, and in the drop's tables."""

    pseudonym: Callable[[str], str] = without_key
    codes: Codes = field(default_factory=Codes)
    tables: Tables = field(default_factory=dict)


NAMELESS = Naming()
"""Without a key and without codes."""


@dataclass(frozen=True, slots=True)
class _Pseudonym:
    """`{pseudonym:group}` formats to the pseudonym of that group, `{pseudonym}` to the folder's."""

    make: Callable[[str], str]
    groups: Mapping[str, str]

    def __format__(self, group: str) -> str:
        return self.make(self.groups[group or "folder"])


def groups(drop: Drop, name: str, of_part: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """The texts of the drop's named groups and those of the part, and the name as "folder".

    Without the former where the name does not fit.
    """
    found = re.fullmatch(drop.folder, composed(name)) if drop.folder else None
    named = found.groupdict(default="") if found else {}
    return {**named, **of_part, "folder": name}


def title(
    drop: Drop, name: str, naming: Naming, of_part: Mapping[str, str] = MappingProxyType({})
) -> tuple[str, list[Problem]]:
    """The title of a folder of that name, stripped and in NFC, and what is wrong or lacking with it.

    `of_part` are the placeholders of its part, where it is split. "" where there is no title.
    """
    if not _fits(drop, name):
        words = f'The folder\'s name "{shown(name)}" is not what this drop takes ({drop.folder}).'
        return "", [Problem("folder-name", words)]
    known = groups(drop, name, of_part)
    if empty := [group for group in linked(drop.title) if not known[group].strip()]:
        words = f'The folder\'s name "{shown(name)}" has nothing for {empty[0]}, which makes its title.'
        return "", [Problem("folder-name", f"{words} Rename the folder.")]
    rendered, problems = _rendered(drop, drop.title, name, naming, known)
    return rendered, problems or _unusable(rendered)


def order(
    drop: Drop, name: str, naming: Naming, of_part: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, list[Problem]]:
    """As `title`: the display set's place in its study, 0 where none is asked for, or there is none."""
    if not drop.order or not _fits(drop, name):
        return 0, []
    rendered, problems = _rendered(drop, drop.order, name, naming, groups(drop, name, of_part))
    if problems:
        return 0, problems
    place = int(rendered) if re.fullmatch(r"\d{1,99}", rendered, re.ASCII) else 0
    if 1 <= place <= LAST:
        return place, []
    words = (
        f"What the order of the display set is made of ({drop.order}) is no whole number from 1 to {LAST} for "
        f"this folder. {_of_what(drop, naming, groups(drop, name, of_part), rendered)}"
    )
    return 0, [Problem("bad-order", words)]


def _of_what(drop: Drop, naming: Naming, known: Mapping[str, str], rendered: str) -> str:
    """Where an order comes from; of a table's cell the place, and of the folder's name what it makes."""
    found = [cell(naming.tables, known, table, column) for table, column in asked(drop.order)]
    if places := [one.source for one in found if not isinstance(one, Problem)]:
        return f"It comes from {several(places)}: put it right there."
    return f'By the folder\'s name it is "{shown(rendered)}": rename the folder.'


def _fits(drop: Drop, name: str) -> bool:
    return not drop.folder or re.fullmatch(drop.folder, composed(name)) is not None


def _rendered(
    drop: Drop, template: str, name: str, naming: Naming, known: Mapping[str, str]
) -> tuple[str, list[Problem]]:
    """The template filled, stripped and in NFC; "" where something for it is wrong or lacking."""
    found: dict[str, str | Problem] = {CODE: code(naming.codes, name)} if drop.codes else {}
    for table, column in asked(template):
        there = cell(naming.tables, known, table, column)
        found[f"table.{table}.{column}"] = there if isinstance(there, Problem) else text(there.value).strip()
    if problems := [one for one in found.values() if isinstance(one, Problem)]:
        return "", list(dict.fromkeys(problems))
    fields = {PSEUDONYM: _Pseudonym(naming.pseudonym, known), **known, **found}
    return composed(_filled(template, fields).strip()), []


def _filled(template: str, fields: Mapping[str, object]) -> str:
    """As str.format would, were it not for the dots and brackets that columns may have in their names."""
    parts = string.Formatter().parse(template)
    return "".join(
        before + ("" if name is None else format(fields[name], spec or "")) for before, name, spec, _ in parts
    )


def linked(template: str) -> tuple[str, ...]:
    """The groups whose pseudonyms a title is made of; {pseudonym} alone is that of "folder"."""
    parts = string.Formatter().parse(template)
    return tuple(spec or "folder" for _, name, spec, _ in parts if name == PSEUDONYM)


def _unusable(title: str) -> list[Problem]:
    odd = [letter for letter in title if unicodedata.category(letter) in ("Cc", "Cs") or letter in "<>"]
    if not odd and 1 <= len(title) <= LIMIT:
        return []
    text = (
        f'The title "{shown(title)}" cannot be used: a title has 1 to {LIMIT} characters, no control characters, '
        "none that are not UTF-8, and no < or >. Rename the folder."
    )
    return [Problem("bad-title", text)]
