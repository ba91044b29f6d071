"""What belongs in a case folder, told from a drop's rules to the people who fill them. Pure."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from casedrop import sample
from casedrop.dicom_model import DicomRule, DicomTest
from casedrop.made_of import column, made_of
from casedrop.model import Drop, FolderValue, JsonValue, SocketRule, TableValue, TextValue
from casedrop.settle import composed, is_junk, matches

PARTS = ("visit1", "v1", "1", "2026-01-31")

BESIDE = "the files it names beside it"
BRINGS = {
    ".mrxs": ("the folder of its name beside it", "{0}/Slidedat.ini, Index.dat, Data0000.dat, …"),
    ".vms": (BESIDE, "{0}.jpg, {0}_map2.jpg, {0}.opt, …"),
    ".vmu": (BESIDE, "{0}.ngr, {0}_map2.jpg, …"),
    ".mhd": ("the data file that it names beside it", "{0}.raw"),
}
"""What the head of an image of several files brings along (compound.py): in words, and in an example."""


OPTIONAL = "   (optional)"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing a folder holds: where it goes (`socket`), what it is called, and whether it must be there.

    Of what comes `by_itself` people need not bring anything.
    """

    socket: str
    what: str
    required: bool
    by_itself: bool


@dataclass(frozen=True, slots=True)
class Expected:
    """`rules` are whole sentences, `tree` the lines of an example, () where none can be made up."""

    wanted: tuple[Wanted, ...]
    rules: tuple[str, ...]
    tree: tuple[str, ...]


def expected(drop: Drop, quiet_seconds: float, incomplete_seconds: float) -> Expected:
    """Of a folder in this drop; the times are those of [settle]."""
    wanted = tuple(
        Wanted(rule.socket, _what(rule, drop), rule.required, not _pattern(rule, drop) and rule.dicom is None)
        for rule in drop.sockets
    )
    return Expected(wanted, tuple(_rules(drop, quiet_seconds, incomplete_seconds)), tuple(_tree(drop)))


def _what(rule: SocketRule, drop: Drop) -> str:
    if rule.files:
        rest = " that nothing else here asks for" if rule.fallback else ""
        return f"one file {_either(map(_whole, rule.files))}{rest}"
    if rule.dicom is not None:
        pick = {"largest": " (of several the one with most slices)", "latest": " (of several the latest)"}
        return f"one DICOM series{_tests(rule.dicom)}{pick.get(rule.pick, '')}"
    if rule.image_of:
        return f"the very image of {rule.image_of}"
    match rule.value_from:
        case JsonValue(pattern, pointer):
            return f"one JSON file {pattern}" + (f", its value at {pointer}" if pointer else "")
        case TextValue(pattern):
            return f"one text file {pattern}"
        case FolderValue(pattern):
            return f"a piece of the folder's name ({_plain(pattern)})"
        case TableValue(table, name):
            return _of_table(drop, table, name)
        case None:
            return f"always {json.dumps(rule.value, ensure_ascii=False)}"


def _whole(pattern: str) -> str:
    """The pattern, with what its file brings along."""
    words, _ = _brings(pattern)
    return f"{pattern} (with {words})" if words else pattern


def _brings(path: str) -> tuple[str, str]:
    return BRINGS.get(path[path.rfind(".") :].lower(), ("", ""))


def _of_table(drop: Drop, table: str, name: str) -> str:
    own = next((one.csv for one in drop.tables if one.name == table), "")
    return f'one table {own} with a column "{name}"' if own else column(table, name)


def _tests(rule: DicomRule) -> str:
    return f" with {'; '.join(map(_test, rule))}" if rule else ""


def _test(test: DicomTest) -> str:
    said = [
        _either(test.globs),
        f"at least {test.minimum:g}" if test.minimum is not None else "",
        f"at most {test.maximum:g}" if test.maximum is not None else "",
        f"not {_either(test.unlike)}" if test.unlike else "",
    ]
    return f"{test.keyword} {' and '.join(filter(None, said))}"


def _either(patterns: Iterable[str]) -> str:
    return " or ".join(pattern or "empty" for pattern in patterns)


def _rules(drop: Drop, quiet_seconds: float, incomplete_seconds: float) -> Iterator[str]:
    yield from _folder_rules(drop)
    if any(_pattern(rule, drop) for rule in drop.sockets):
        yield "In file names * stands for any letters; capitals do not matter."
    if drop.ready:
        yield f"Last of all put a file named {drop.ready} into the folder: before that it is not taken."
    if drop.ignore:
        yield f"Passed over are {', '.join(drop.ignore)}."
    if drop.unmatched == "fail":
        yield "Any other file makes the folder fail, so that nothing is left behind unnoticed."
    else:
        yield "Any other file is left out."
    yield (
        f"The folder is taken once nothing in it has changed for {_span(quiet_seconds)}. If something required "
        f"is missing, it waits up to {_span(incomplete_seconds)} for it and then goes to failed/."
    )


def _folder_rules(drop: Drop) -> Iterator[str]:
    kind = drop.kind
    if drop.folder:
        such = f", such as {name}" if (name := _folder(drop)) else ""
        yield f"The folder's whole name must fit {_plain(drop.folder)}{such}. Others stay where they are."
    if drop.split and drop.split.folders:
        yield f"Each subfolder {drop.split.folders}/ becomes one {kind}; its files lie in it."
    elif drop.split:
        yield f"Files whose paths fit {_plain(drop.split.pattern)} are told apart by it; each becomes one {kind}."
    else:
        yield f"Each folder becomes one {kind}."
    if drop.title == "{folder}":
        yield f"The {kind} is called what the folder is called."
    else:
        yield f"The title of the {kind} is {_made(drop.title, drop)}."
    if drop.order:
        yield f"Its place among the {kind}s is {_made(drop.order, drop)}."


def _made(template: str, drop: Drop) -> str:
    words = made_of(template, drop)
    return f"made of {words}" if ", then " in words else words


def _plain(expression: str) -> str:
    """Without the names of its groups, which say nothing to who names folders."""
    return re.sub(r"\?P<\w+>", "", expression)


def _span(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:g} min"  # noqa: PLR2004


def _tree(drop: Drop) -> list[str]:
    """A folder that has everything; none where no name or file can be made up that fits the rules."""
    folder = _folder(drop)
    part = _part(drop)
    files = [(_file(rule, drop, folder), rule) for rule in drop.sockets if _pattern(rule, drop)]
    if not folder or part is None or not all(path for path, _ in files):
        return []
    lines = [(line, rule) for path, rule in files for line in (path, _brought(path)) if line]
    lines += [("dicom/IM0001, IM0002, …", rule) for rule in drop.sockets if rule.dicom is not None]
    indent = "    " if part else "  "
    within = [f"  {part}/"] if part else []
    ready = [f"  {drop.ready}"] if drop.ready else []
    return [f"{folder}/", *within, *(f"{indent}{line}" for line in _marked(lines)), *ready]


def _marked(lines: list[tuple[str, SocketRule]]) -> Iterator[str]:
    """Each line once, with a mark where no rule requires it."""
    required = {line for line, rule in lines if rule.required}
    for line in dict.fromkeys(line for line, _ in lines):
        yield line if line in required else f"{line}{OPTIONAL}"


def _brought(path: str) -> str:
    _, such = _brings(path)
    return such.format(path[: path.rfind(".")])


def _folder(drop: Drop) -> str:
    """A name that fits, "" where none can be made up."""
    return sample.name(drop.folder or ".*")


def _part(drop: Drop) -> str | None:
    """The name of an example's subfolder, "" where it needs none, None where none can be made up."""
    if drop.split is None:
        return ""
    if drop.split.pattern:
        return None
    return next((name for name in PARTS if matches(name, (f"/{drop.split.folders}",))), None)


def _pattern(rule: SocketRule, drop: Drop) -> str:
    """The first pattern of the file a rule asks for, "" where it asks for none."""
    match rule.value_from:
        case JsonValue(pattern) | TextValue(pattern):
            return pattern
        case TableValue(table):
            return next((one.csv for one in drop.tables if one.name == table), "")
    return rule.files[0] if rule.files else ""


def _file(rule: SocketRule, drop: Drop, folder: str) -> str:
    """A path that only this rule takes, "" where the simple ways of filling its pattern give none."""
    pattern = _pattern(rule, drop)
    stem = pattern.removeprefix("/").replace("**/", "")
    tries = [stem.replace("*", text) for text in (folder, rule.socket, f"{folder}_{rule.socket}", "image")]
    others = [one for one in drop.sockets if one != rule and not one.fallback]
    return next((path for path in tries if _fits(path, pattern, others, drop)), "")


def _fits(path: str, pattern: str, others: list[SocketRule], drop: Drop) -> bool:
    taken = any(matches(path, (found,)) for one in others if (found := _pattern(one, drop)) != pattern)
    return matches(path, (pattern,)) and not taken and not is_junk(composed(path), drop.ignore)
