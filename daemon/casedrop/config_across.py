"""What settings must be together: each mistake with the place where it stands.

No message shows a value; names of drops, sockets and placeholders are shown when they are short words.
"""

import difflib
import os
import re
import string
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from casedrop.config_checks import shown
from casedrop.split import SUBFOLDER
from casedrop.tables import PLACEHOLDER

PATIENCE = 2.0
"""Seconds a disk may take to say where a path leads."""

Location = tuple[int | str, ...]
Tables = dict[str, Any]

_NAMED_BY = {"drops": ("drops", "name"), "sockets": ("socket", "socket"), "tables": ("table", "name")}
"""How one of a list of tables is called, and the key that names it."""


def where(location: Location, data: Any) -> str:
    """The place of a mistake, with the names of the drop and the socket: ``drops "lung", title``."""
    words: list[str] = []
    for step in location:
        data = _inside(data, step)
        if isinstance(step, str):
            words.append(step)
        elif words[-1] in _NAMED_BY:
            kind, key = _NAMED_BY[words[-1]]
            words[-1] = f"{kind} {shown(_inside(data, key)) or f'number {step + 1}'}"
        else:
            words[-1] += f" number {step + 1}"
    return (", " if location[0] in ("drops", "notify") else ".").join(words)


def _inside(data: Any, step: int | str) -> Any:
    try:
        return data[step]
    except (LookupError, TypeError):
        return None


def tables(data: Any, key: str) -> list[tuple[int, Tables]]:
    """The tables of a list in data that may be of any shape."""
    listed = _inside(data, key)
    return (
        [(n, table) for n, table in enumerate(listed) if isinstance(table, dict)]
        if isinstance(listed, list)
        else []
    )


def across(data: Tables) -> Iterator[tuple[Location, str]]:
    """Mistakes between keys, found in the raw data so that they are said beside all others."""
    drops = tables(data, "drops")
    yield from repeated(drops, "name", ("drops",), "another drop has this name")
    yield from _roots(drops, data)
    yield from _told_of(drops, data)
    for n, drop in drops:
        sockets = tables(drop, "sockets")
        yield from _goes_to(drop, ("drops", n))
        yield from _placeholders(drop, ("drops", n))
        yield from _split(drop, ("drops", n))
        yield from repeated(
            sockets, "socket", ("drops", n, "sockets"), "another rule fills this socket already"
        )
        for m, rule in sockets:
            yield from _sources(rule, ("drops", n, "sockets", m))
            yield from _same_grid(rule, sockets, ("drops", n, "sockets", m, "same_grid_as"))
            yield from _other_image(rule, "image_of", sockets, ("drops", n, "sockets", m, "image_of"))


def repeated(
    tables: list[tuple[int, Tables]], key: str, at: Location, text: str
) -> Iterator[tuple[Location, str]]:
    seen: list[str] = []
    for n, table in tables:
        if table.get(key) in seen:
            yield (*at, n), text
        elif isinstance(table.get(key), str):
            seen.append(table[key])


def real(path: object) -> str | None:
    """Where links lead, asked in a thread: a share that hangs must not keep the service from starting."""
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
        return None
    found: list[str] = []
    asking = threading.Thread(target=lambda: found.append(os.path.realpath(path)), daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return found[0] if found else os.path.normpath(path)


def _roots(drops: list[tuple[int, Tables]], data: Tables) -> Iterator[tuple[Location, str]]:
    roots = [(n, root) for n, drop in drops if (root := real(drop.get("root")))]
    state = real(_inside(data.get("state"), "directory"))
    for k, (n, root) in enumerate(roots):
        for other, other_root in roots[:k]:
            if root == other_root:
                yield ("drops", n, "root"), f"is also the root of {where(('drops', other), data)}"
            elif os.path.commonpath([root, other_root]) in (root, other_root):
                yield (
                    ("drops", n, "root"),
                    f"and that of {where(('drops', other), data)} lie one in the other",
                )
        if state and os.path.commonpath([root, state]) == root:
            yield (
                ("state", "directory"),
                f"lies in the root of {where(('drops', n), data)}; keep it off the share",
            )


def _told_of(drops: list[tuple[int, Tables]], data: Tables) -> Iterator[tuple[Location, str]]:
    names = [drop.get("name") for _, drop in drops]
    for n, table in tables(data, "notify"):
        wanted = table.get("drops", [])
        for name in wanted if isinstance(wanted, list) else [wanted]:
            if isinstance(name, str) and name not in names:
                yield ("notify", n, "drops"), f"there is no drop {shown(name) or 'of that name'}"


def _goes_to(drop: Tables, at: Location) -> Iterator[tuple[Location, str]]:
    if len(drop.keys() & {"reader_study", "archive"}) != 1:
        yield at, "must have exactly one of reader_study and archive"
    if "archive" in drop and "order" in drop:
        yield (*at, "order"), "goes only with reader_study: the items of an archive have no order"


def _own_placeholders(drop: Tables, groups: Iterable[str], at: Location) -> Iterator[tuple[Location, str]]:
    """{pseudonym} and {code} are not for groups, and a table of codes is there to be used."""
    own = {"pseudonym", "code"} if "codes" in drop else {"pseudonym"}
    for name in sorted(own.intersection(groups)):
        yield (*at, "folder"), f"a group may not be called {name}, which has a meaning of its own in titles"
    if "codes" in drop and "{code}" not in str(drop.get("title")):
        yield (*at, "codes"), "is used only where the title has {code}"


def of_parts(drop: Tables) -> list[str]:
    """The placeholders that tell the parts of a split folder apart, none where it is not split."""
    split = drop.get("split")
    if not isinstance(split, dict):
        return []
    return list(re.compile(split["pattern"]).groupindex) if split.get("pattern") else [SUBFOLDER]


def no_subfolder(drop: Tables) -> str:
    """Why there is nothing for "subfolder"."""
    missing = 'split = { folders = "*/" } is missing' if "split" not in drop else "this split has a pattern"
    return f"it is known only where a folder is split into its subfolders, and {missing}"


def _split(drop: Tables, at: Location) -> Iterator[tuple[Location, str]]:
    split = drop.get("split")
    if not isinstance(split, dict):
        return
    if len(split.keys() & {"folders", "pattern"}) != 1:
        yield (*at, "split"), "must have exactly one of folders and pattern"
        return
    try:
        groups, parts = re.compile(drop.get("folder") or "").groupindex, of_parts(drop)
        fields = string.Formatter().parse(drop.get("title") or "{folder}")
        used = {spec if name == "pseudonym" and spec else name for _, name, spec, _ in fields if name}
        by_table = any(name.startswith("table.") for name in used)
    except (re.error, OverflowError, RecursionError, TypeError, ValueError):
        return  # said where the key is checked
    for name in sorted({*groups, "folder", "pseudonym", "code"} & set(parts)):
        yield (*at, "split", "pattern"), f"a group may not be called {name}, which has a meaning of its own"
    if not by_table and (missing := [name for name in parts if name not in used]):
        named = " and ".join(f"{{{name}}}" for name in missing)
        yield (*at, "title"), f"must hold {named}, or the parts of a folder would have one title"
    if not by_table and not used & {*groups, "folder", "pseudonym", "code"}:
        yield (*at, "title"), "must hold {folder} or the like, or two folders would have the same titles"


def _placeholders(drop: Tables, at: Location) -> Iterator[tuple[Location, str]]:
    try:
        groups = [*re.compile(drop.get("folder") or "").groupindex, *of_parts(drop)]
    except (re.error, OverflowError, RecursionError, TypeError):
        return  # said where the key is checked
    yield from _own_placeholders(drop, groups, at)
    for key in ("title", "order"):
        yield from _unknown_placeholders(drop, drop.get(key), groups, (*at, key))


def _unknown_placeholders(
    drop: Tables, template: Any, groups: list[str], at: Location
) -> Iterator[tuple[Location, str]]:
    try:
        parts = list(string.Formatter().parse(template or ""))
    except (TypeError, ValueError):
        return  # said where the key is checked
    names = [spec if name == "pseudonym" and spec else name for _, name, spec, _ in parts if name is not None]
    known = ["folder", *groups, *(["code"] if "codes" in drop else [])]
    columns = {name for name in names if PLACEHOLDER.fullmatch(name)}
    for name in sorted(set(names) - {*known, "pseudonym"} - columns):
        near = difflib.get_close_matches(name, [*known, "pseudonym"], 1)
        if name == "code":
            yield at, "{code} needs a table of codes, such as codes = { file = , folder = , code = }"
            continue
        if name.startswith("table."):
            yield at, "a column of a table is written {table.NAME.COLUMN}"
            continue
        if name == SUBFOLDER:
            yield at, f'unknown placeholder "{name}"; {no_subfolder(drop)}'
            continue
        meant = ", ".join(f"{{{one}}}" for one in near or known if shown(one))
        yield at, f"unknown placeholder {shown(name) or '(not a short word)'}; {meant} may be meant"


def _same_grid(
    rule: Tables, sockets: list[tuple[int, Tables]], at: Location
) -> Iterator[tuple[Location, str]]:
    """A mask's voxels can lie only where those of another image of the drop do."""
    if "same_grid_as" in rule and not {"files", "dicom"} & rule.keys():
        yield at, "goes only with files or dicom"
    yield from _other_image(rule, "same_grid_as", sockets, at)


def _other_image(
    rule: Tables, key: str, sockets: list[tuple[int, Tables]], at: Location
) -> Iterator[tuple[Location, str]]:
    slug = rule.get(key)
    if not isinstance(slug, str) or not re.fullmatch("[A-Za-z0-9_-]+", slug):
        return  # said where the key is checked
    named = [other for _, other in sockets if other.get("socket") == slug]
    if not named:
        yield at, "no rule of this drop fills a socket of that slug"
    elif named[0] is rule:
        yield at, "names its own socket; it must name that of the image it belongs to"
    elif not {"files", "dicom"} & named[0].keys():
        yield at, "names a socket that is filled with a value; it must name that of an image"


def _sources(rule: Tables, at: Location) -> Iterator[tuple[Location, str]]:
    given = [key for key in ("files", "dicom", "value", "value_from", "image_of") if key in rule]
    if not given:
        yield at, "has no source; give files, dicom, value, value_from or image_of"
    if len(given) > 1:
        yield at, f"has {' and '.join(given)}; a socket has exactly one source"
    if rule.get("files") == []:
        yield (*at, "files"), "holds no pattern"
    if "fallback" in rule and not {"files", "dicom"} & rule.keys():
        yield (*at, "fallback"), "goes only with files or dicom"
    origin = rule.get("value_from")
    if isinstance(origin, dict):
        if len(origin.keys() & {"json", "text", "folder", "table"}) != 1:
            yield (*at, "value_from"), "must have exactly one of json, text, folder and table"
        if "pointer" in origin and "json" not in origin:
            yield (*at, "value_from", "pointer"), "goes only with json"
        if ("column" in origin) is not ("table" in origin):
            yield (*at, "value_from"), "must have table and column together"
