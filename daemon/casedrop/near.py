"""Names as people see them, and the files that nearly fit a rule. Pure."""

import difflib
from collections.abc import Iterable

from casedrop.settle import matches

MOST_NAMED = 10
CLOSE = 0.8


def shown(name: str) -> str:
    """A file name on one line: odd bytes and control characters as hexadecimal escapes."""
    return "".join(letter if letter.isprintable() else f"\\x{_code(letter):02x}" for letter in name)


def _code(letter: str) -> int:
    """The byte a surrogate stands for (os.fsdecode), else the character's own number."""
    number = ord(letter)
    return number - 0xDC00 if 0xDC80 <= number <= 0xDCFF else number  # noqa: PLR2004


def for_spreadsheet(cell: str) -> str:
    """The cell so that no spreadsheet takes it for a formula: names come from whoever can write to the share."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def several(names: Iterable[str]) -> str:
    """The names in a sentence, "a, b and c"; more than ten are counted."""
    known = [shown(name) for name in names]
    if len(known) > MOST_NAMED:
        return f"{', '.join(known[:MOST_NAMED])} and {len(known) - MOST_NAMED} more"
    return " and ".join([", ".join(known[:-1]), known[-1]] if len(known) > 1 else known)


def near_misses(patterns: tuple[str, ...], files: list[str]) -> str:
    """A sentence on the unclaimed files that nearly fit these patterns, "" where none does."""
    said = []
    for path in files:
        if any(_elsewhere(pattern, path) for pattern in patterns):
            said.append(f"{shown(path)} has the right name but lies in another folder")
        elif any(_other_ending(pattern, path) for pattern in patterns):
            said.append(f"{shown(path)} has another extension")
        elif any(_close(pattern, path) for pattern in patterns):
            said.append(f"{shown(path)} is spelt a little differently")
    return f"Nearly: {'; '.join(said[:MOST_NAMED])}." if said else ""


def _elsewhere(pattern: str, path: str) -> bool:
    base = pattern.rsplit("/", 1)[-1]
    return "/" in pattern and base.strip("*") != "" and matches(path, (base,))


def _other_ending(pattern: str, path: str) -> bool:
    base, name = pattern.rsplit("/", 1)[-1], path.rsplit("/", 1)[-1]
    stem = base.removesuffix(".gz").rpartition(".")[0]
    return stem.strip("*?") != "" and matches(name, (f"{stem}.*",))


def _close(pattern: str, path: str) -> bool:
    """The letters of the pattern against the end (or start) of the name."""
    literal = "".join(part for part in pattern.rsplit("/", 1)[-1].lower().split("*") if part)
    name = path.rsplit("/", 1)[-1].lower()
    if len(literal) < 6 or literal.startswith("."):  # noqa: PLR2004
        return False
    ends = (name[-len(literal) :], name[: len(literal)])
    return any(difflib.SequenceMatcher(None, literal, end).ratio() >= CLOSE for end in ends)
