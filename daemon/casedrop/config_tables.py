"""Mistakes between a drop's tables, the sockets and titles that use them, and the folders' names."""

import difflib
import os
import re
from collections.abc import Iterator
from contextlib import suppress

from casedrop.config_across import Location, Tables, no_subfolder, of_parts, real, repeated, tables
from casedrop.config_checks import shown
from casedrop.roots import FOLDERS
from casedrop.split import SUBFOLDER
from casedrop.tables import asked

Mistakes = Iterator[tuple[Location, str]]


def mistakes(data: Tables) -> Mistakes:
    """As config_across.across, in the raw data."""
    drops = tables(data, "drops")
    roots = [root for _, drop in drops if (root := real(drop.get("root")))]
    for n, drop in drops:
        listed = tables(drop, "tables")
        at: Location = ("drops", n, "tables")
        yield from repeated(listed, "name", at, "another table has this name")
        uses = list(_uses(drop, ("drops", n)))
        for m, table in listed:
            yield from _of_one(table, (*at, m))
            yield from _keys(table, drop, (*at, m, "key_columns"))
            yield from _place(table.get("file"), roots, (*at, m, "file"))
            if table.get("name") not in [name for _, name in uses]:
                yield (*at, m), "is used by no socket, and neither in title nor in order"
        yield from _place(_inside(drop.get("codes"), "file"), roots, ("drops", n, "codes", "file"))
        yield from _unknown(uses, [str(table.get("name")) for _, table in listed])


def _of_one(table: Tables, at: Location) -> Mistakes:
    if len(table.keys() & {"file", "csv"}) != 1:
        yield at, "must have exactly one of file and csv"
    if "file" in table and "key_columns" not in table:
        yield at, 'needs key_columns, such as { folder = "Folder" }, to tell which row is a folder\'s'
    if "sheet" in table and "file" not in table:
        yield (*at, "sheet"), "goes only with file"


def _keys(table: Tables, drop: Tables, at: Location) -> Mistakes:
    try:
        known = [*re.compile(drop.get("folder") or "").groupindex, *of_parts(drop), "folder"]
    except (re.error, OverflowError, RecursionError, TypeError):
        return  # said where the key is checked
    keys = table.get("key_columns")
    for name in [one for one in keys if one not in known] if isinstance(keys, dict) else []:
        near = difflib.get_close_matches(name, known, 1) or known
        meant = " or ".join(one for one in near if shown(one))
        what = f"unknown group {shown(name) or '(not a short word)'}"
        if name == SUBFOLDER:
            yield at, f"{what}; {no_subfolder(drop)}"
            continue
        yield at, f"{what}; left stands a named group of `folder` or `split`, or folder: {meant} may be meant"


def _place(path: object, roots: list[str], at: Location) -> Mistakes:
    """Where folders come and go, a table would be taken for one of their files."""
    found = real(path)
    for place in [os.path.join(root, name) for root in roots for name in FOLDERS] if found else []:
        if os.path.commonpath([found or "", place]) == place:
            yield at, "lies in the drop/, done/ or failed/ of a drop; keep it beside them or elsewhere"


def _uses(drop: Tables, at: Location) -> Mistakes:
    """Where a table is named, and by what name."""
    for m, rule in tables(drop, "sockets"):
        if isinstance(name := _inside(rule.get("value_from"), "table"), str):
            yield (*at, "sockets", m, "value_from", "table"), name
    for key in ("title", "order"):
        with suppress(ValueError):  # said where the key is checked
            yield from (((*at, key), name) for name, _ in asked(str(drop.get(key) or "")))


def _unknown(uses: list[tuple[Location, str]], known: list[str]) -> Mistakes:
    for at, name in uses:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1) or known
            meant = ", ".join(one for one in map(shown, near) if one)
            hint = f"; {meant} may be meant" if meant else "; tables are set with [[drops.tables]]"
            yield at, f"unknown table {shown(name) or '(not a short word)'}{hint}"


def _inside(table: object, key: str) -> object:
    return table.get(key) if isinstance(table, dict) else None
