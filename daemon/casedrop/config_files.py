"""The configuration's files: one, and pieces of it beside it that hold drops."""

import os
import re
import tomllib
from pathlib import Path

from casedrop import rights
from casedrop.config_across import Location, Tables
from casedrop.config_checks import shown
from casedrop.errors import ConfigurationError

PIECES = "drops.d"
"""Beside the file: each *.toml in it holds [[drops]], and may belong to whom these are."""


def read(path: Path) -> tuple[Tables, list[str]]:
    """What all files say as if they were one, and of each drop the piece it stands in ("" for the file itself).

    Raises ConfigurationError with what is wrong with each file.
    """
    data: Tables = {}
    problems: list[str] = []
    drops: list[object] = []
    homes: list[str] = []
    for file in [path, *pieces(path)]:
        home = "" if file == path else f"{PIECES}/{file.name}"
        try:
            found = _read_toml(file)
        except ConfigurationError as error:
            problems += error.problems
            continue
        data |= {} if home else found
        problems += [f"{home}: {text}." for text in _foreign(found)] if home else []
        listed = found.get("drops", [])
        if isinstance(listed, list):
            drops += listed
            homes += [home] * len(listed)
    if problems:
        raise ConfigurationError(problems)
    return data | ({"drops": drops} if isinstance(data.get("drops", []), list) and drops else {}), homes


def alone(path: Path) -> Tables:
    """The tables of the file at `path` without its pieces, none where it is no TOML.

    Raises ConfigurationError where there is none, or this user may not read it.
    """
    written = _written(path)
    try:
        return {
            key: value for key, value in tomllib.loads(written.decode()).items() if isinstance(value, dict)
        }
    except ValueError:
        return {}


def pieces(path: Path) -> list[Path]:
    """Those of the file at `path`, in order. What is hidden is an editor's, and may be half or no file at all.

    Raises ConfigurationError where this user may not look for them.
    """
    directory = path.parent / PIECES
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        raise ConfigurationError([rights.closed(directory)]) from None
    return [directory / name for name in sorted(names) if name.endswith(".toml") and name[0] != "."]


def place(location: Location, homes: list[str]) -> str:
    """The piece in which a mistake stands, as the beginning of what is said of it."""
    if len(location) < 2 or location[0] != "drops" or not isinstance(location[1], int):  # noqa: PLR2004
        return ""
    home = homes[location[1]] if location[1] < len(homes) else ""
    return f"{home}: " if home else ""


def _foreign(found: Tables) -> list[str]:
    """What does not belong in a piece."""
    keys = [shown(key) or "(not a short word)" for key in found if key != "drops"]
    wrong = [f"holds {key}, but only [[drops]] may stand in it" for key in keys]
    return wrong if isinstance(found.get("drops", []), list) else [*wrong, "drops must be tables [[drops]]"]


_TOML_MISTAKES = {
    "Unescaped": "a backslash within double quotes; paths take /, and patterns stand in single quotes",
    "hex value": "a backslash within double quotes; paths take /, and patterns stand in single quotes",
    "Invalid value": "no value TOML knows; text stands in quotes, true and false do not",
    "twice": "a table that stands there already; each one of a list starts with [[ ]]",
    "namespace": "a table that stands there already; each one of a list starts with [[ ]]",
    "overwrite": "a key that stands there already",
    "Duplicate": "a key that stands there already",
    "Expected '='": 'a key without "=" and a value',
    "Unclosed": "a bracket that is not closed",
    "Unterminated": "a quote that is not closed",
    "Illegal character": "a quote that is not closed, or a character TOML does not take",
}


def _written(path: Path) -> bytes:
    """Raises ConfigurationError where the file cannot be read."""
    try:
        return path.read_bytes()
    except PermissionError:
        raise ConfigurationError([rights.closed(path)]) from None
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read: {error.strerror}."]) from None


def _read_toml(path: Path) -> Tables:
    """Raises ConfigurationError where the file cannot be read; tomllib's own words may quote it."""
    written = _written(path)
    try:
        return tomllib.loads(written.decode())
    except UnicodeDecodeError:
        raise ConfigurationError([f"{path}: is not UTF-8 text; save it as UTF-8."]) from None
    except ValueError as error:
        said = str(error)
        place = re.search(r"\(at (line \d+, column \d+|end of document)\)", said)
        what = next(
            (words for piece, words in _TOML_MISTAKES.items() if piece in said),
            "something TOML does not take",
        )
        raise ConfigurationError([f"{path}, {place[1] if place else 'somewhere'}: {what}."]) from None
