"""What a setting must be: each check takes what the file says and raises ValueError in own words.

No message shows a value: it may be a secret in the wrong place. Names of drops and sockets are shown when
they are short words.
"""

import ipaddress
import json
import re
import string
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from casedrop.model import Json
from casedrop.settle import IGNORED_SETS

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
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("must begin with https://, or the token would cross the network for all to read")
    return url.rstrip("/") + "/"


def proxy(url: str) -> str:
    try:
        parts = urlsplit(url)
        fits = bool(parts.hostname) and parts.port != 0 and parts.scheme in ("http", "https")
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("must be an address like http://proxy.example.org:3128")
    if parts.username is not None:
        raise ValueError("must be without a user: user and password stand in platform.proxy_credentials_file")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must be an address alone, without a path")
    return url


def is_loopback(host: str) -> bool:
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


def one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line, without control characters")
    return text.strip()


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
