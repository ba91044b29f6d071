"""What a title or an order is made of, in the words of those who name folders. Pure."""

import re
import string

from casedrop import sample
from casedrop.model import Drop
from casedrop.split import SUBFOLDER
from casedrop.tables import PLACEHOLDER
from casedrop.titles import CODE, PSEUDONYM


def made_of(template: str, drop: Drop) -> str:
    """The rest of a sentence: ``"Case", then the folder's name``; of what stands between only words are told."""
    parts = string.Formatter().parse(template)
    said = [
        words
        for before, name, spec, _ in parts
        for words in (_literal(before), "" if name is None else _piece(name, spec or "", drop))
    ]
    return ", then ".join(filter(None, said))


def column(table: str, name: str) -> str:
    return f'the column "{name}" of the lab\'s table "{table}"'


def _literal(text: str) -> str:
    return f'"{text.strip()}"' if any(map(str.isalnum, text)) else ""


def _piece(name: str, spec: str, drop: Drop) -> str:
    if name == "folder":
        return "the folder's name"
    if name == PSEUDONYM:
        return f"a pseudonym of {_piece(spec or 'folder', '', drop)}"
    if name == CODE and drop.codes:
        return "the folder's code in a table of the lab"
    if asked := PLACEHOLDER.fullmatch(name):
        own = next((table.csv for table in drop.tables if table.name == asked[1]), "")
        return f'the column "{asked[2]}" of the table {own}' if own else column(*asked.groups())
    if drop.split and name == SUBFOLDER:
        return "the subfolder's name"
    if drop.split and f"(?P<{name}>" in drop.split.pattern:
        return f'the piece "{name}" of the files\' paths'
    return f'the piece "{name}" of the folder\'s name{_such_as(name, drop)}'


def _such_as(group: str, drop: Drop) -> str:
    folder = sample.name(drop.folder or "")
    found = re.fullmatch(drop.folder or "", folder)
    text = found.groupdict().get(group) if found else ""
    return f" ({text} in {folder})" if text and text != folder else ""
