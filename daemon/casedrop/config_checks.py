"""What a setting must be: each check takes what the file says and raises ValueError in own words.

No message shows a value: it may be a secret in the wrong place. Names of drops and sockets are shown when
they are short words.
"""

import difflib
import ipaddress
import json
import os
import re
import string
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from casedrop.model import Json
from casedrop.settle import IGNORED_SETS
from casedrop.split import SUBFOLDER
from casedrop.tables import PLACEHOLDER

PATIENCE = 2.0
"""Seconds a disk may take to say where a path leads."""

Location = tuple[int | str, ...]
Tables = dict[str, Any]

_SHORT_WORD = re.compile(r"[A-Za-z0-9._-]{1,60}")
"""What is shown of names people gave: a token (64 characters) does not pass."""


def whole_path(path: Path) -> Path:
    if any(ord(character) < ord(" ") for character in str(path)):
        raise ValueError("holds a control character")
    if not path.is_absolute():
        raise ValueError('must be a whole path that starts with "/"')
    return path


def address(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port_fits = parts.port != 0
    except ValueError:
        host, port_fits = "", False
    if not host or not port_fits or parts.scheme not in ("https", "http"):
        raise ValueError("must be a web address like https://grand-challenge.org/api/v1/")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError('must be an address alone, without a user, "?" or "#"')
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError("must begin with https://, or the token would cross the network for all to read")
    return url.rstrip("/") + "/"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004 -- pydantic takes no TypeError
    return value


def glob(pattern: str) -> str:
    parts = pattern.split("/")
    if not pattern.strip():
        raise ValueError("an empty pattern matches nothing")
    if "\\" in pattern:
        raise ValueError("folders are parted by /, a backslash matches nothing")
    if pattern.startswith(("/", "~")) or re.match("[A-Za-z]:", pattern):
        raise ValueError("must be relative to the case folder, such as scans/*.mha")
    if ".." in parts or "." in parts:
        raise ValueError('"." and ".." match nothing, patterns stay within the case folder')
    if pattern.endswith("/"):
        raise ValueError("names a folder; for all files in it end it in /**")
    return pattern


def ignored(pattern: str) -> str:
    if pattern.startswith("@") and pattern not in IGNORED_SETS:
        raise ValueError(f"knows no such set; there is {' and '.join(IGNORED_SETS)}")
    return pattern


def folders(pattern: str) -> str:
    if not pattern.endswith("/"):
        raise ValueError('names folders, so it must end in "/", such as */')
    glob(pattern[:-1])
    if "**" in pattern:
        raise ValueError("takes no **: a part is a folder at a certain depth, such as */ or visits/*/")
    return pattern


def split_expression(pattern: str) -> str:
    if not re.compile(expression(pattern)).groupindex:
        raise ValueError(r"must have a named group that tells the parts apart, such as (?P<visit>v\d)_.*")
    return pattern


def one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def marker(name: str) -> str:
    if name in (".", "..") or set(name) & set("/\\*?["):
        raise ValueError("must be the plain name of a file directly in the case folder")
    return name


def expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (OverflowError, RecursionError):
        raise ValueError("is a regular expression too large to use") from None
    except re.error as error:
        # What stands in quotes is a piece of the pattern.
        what = re.sub(r" ?['\"].*", "", error.msg)
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        raise ValueError(f"is no regular expression: {what}{where}") from None
    return pattern


def value_expression(pattern: str) -> str:
    if "value" not in re.compile(expression(pattern)).groupindex:
        raise ValueError("must have a group named value, such as _(?P<value>[0-9]+)$")
    return pattern


def title(title: str) -> str:
    if set(title) & set("<>") or any(ord(character) < ord(" ") for character in title):
        raise ValueError("must hold no <, > or control characters, the platform changes them")
    try:
        fields = list(string.Formatter().parse(title))
    except ValueError:
        raise ValueError("has a { or } without its partner") from None
    if all(name is None for _, name, _, _ in fields):
        raise ValueError("has no placeholder and would be the same for every folder; put in {folder}")
    specified = [name for _, name, spec, conversion in fields if spec or conversion]
    if any(conversion for *_, conversion in fields) or set(specified) - {"pseudonym"}:
        raise ValueError("placeholders take no : or !, write {folder}")
    return title


def order(order: str) -> str:
    if "{pseudonym" in order:
        raise ValueError("must be a whole number, which a pseudonym never is")
    return title(order)


def key_columns(value: object) -> object:
    fits = isinstance(value, dict) and value and all(isinstance(one, str) and one for one in value.values())
    if not fits:
        raise ValueError('must be a table of groups and columns, such as { patient = "Patient" }')
    return value


def keywords(keywords: Iterable[str], is_known: Callable[[str], bool]) -> None:
    unknown = [keyword for keyword in keywords if not is_known(keyword)]
    if unknown:
        named = ", ".join(shown(keyword) or "(not a short word)" for keyword in unknown)
        raise ValueError(f"{named}: DICOM has no attribute with that keyword that holds text")


def pointer(pointer: str) -> str:
    if not re.fullmatch(r"(/([^~/]|~[01])*)*", pointer):
        raise ValueError('must be "" or a JSON pointer that starts with "/", such as /score (RFC 6901)')
    return pointer


def plain_json(value: Json) -> Json:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError(
            "must be something JSON can say; a date stands in quotes, inf and nan cannot"
        ) from None
    return value


def shown(name: object) -> str | None:
    return f'"{name}"' if isinstance(name, str) and _SHORT_WORD.fullmatch(name) else None


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
    return (", " if location[0] == "drops" else ".").join(words)


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
