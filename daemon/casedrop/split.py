"""Which files of a case folder belong to which of its display sets. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from wcmatch import glob

from casedrop.model import (
    Drop,
    Entry,
    EntryKind,
    FolderValue,
    Grouping,
    JsonValue,
    Listing,
    Plan,
    Problem,
    SocketRule,
    Split,
    TextValue,
    Weight,
)
from casedrop.near import several, shown
from casedrop.settle import composed, is_ready_mark, matches

SUBFOLDER = "subfolder"
"""The placeholder for the name of a part that is a folder."""


@dataclass(frozen=True, slots=True)
class Part:
    """One display set of a folder: `groups` are what a title may say of it, `folder` is where its files lie.

    `folder` is "" where files are told apart by `Split.pattern`.
    """

    name: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""


WHOLE = Part()
"""Of a folder that is not split."""


def parts(listing: Listing, split: Split) -> tuple[dict[str, tuple[Part, Listing]], Listing]:
    """The parts by name, in order, each with its entries; and the listing of the files outside every part.

    Paths stay relative to the case folder. A file of a part that only has the same name as another is outside.
    """
    found: dict[str, tuple[Part, list[Entry]]] = {}
    outside: list[Entry] = []
    for entry in listing.entries:
        part = _by_folder(entry, split) if split.folders else _by_pattern(entry, split)
        if part is not None and found.get(part.name, (part,))[0] == part:
            found.setdefault(part.name, (part, []))[1].append(entry)
        elif entry.kind is not EntryKind.FOLDER:
            outside.append(entry)
    known = {name: (part, _of(listing, entries)) for name, (part, entries) in sorted(found.items())}
    return known, _of(listing, outside)


def _of(listing: Listing, entries: Iterable[Entry]) -> Listing:
    return replace(listing, entries=tuple(entries))


def _by_folder(entry: Entry, split: Split) -> Part | None:
    """A folder that is a part belongs to itself: one that is empty still lacks its files."""
    steps = entry.path.split("/")
    depth = split.folders.count("/") + 1
    folder = "/".join(steps[:depth])
    is_within = len(steps) > depth or (len(steps) == depth and entry.kind is EntryKind.FOLDER)
    if not is_within or not matches(folder, (f"/{split.folders}",)):
        return None
    name = composed(folder)
    return Part(name, {SUBFOLDER: name.rsplit("/", 1)[-1]}, folder)


def _by_pattern(entry: Entry, split: Split) -> Part | None:
    found = re.fullmatch(split.pattern, composed(entry.path)) if entry.kind is not EntryKind.FOLDER else None
    if found is None:
        return None
    groups = {key: text or "" for key, text in found.groupdict().items()}
    return Part(" ".join(filter(None, groups.values())), groups)


def unknown(split: Split | None) -> dict[str, str]:
    """What stands for the groups of a part where no part is looked at."""
    if split is None:
        return {}
    return dict.fromkeys([SUBFOLDER] if split.folders else re.compile(split.pattern).groupindex, "...")


def rules_of(drop: Drop, part: Part) -> Drop:
    """The drop's rules for one part: its globs are relative to the part's folder."""
    if not part.folder:
        return drop
    # A pattern without a slash fits anywhere in the part, and what is said of it is then the same for each part.
    tables = (
        replace(one, csv=_below(one.csv, part.folder), written=one.csv) if "/" in one.csv else one
        for one in drop.tables
    )
    sockets = (_within(rule, part.folder) for rule in drop.sockets)
    return replace(drop, sockets=tuple(sockets), tables=tuple(tables))


def _within(rule: SocketRule, folder: str) -> SocketRule:
    files = tuple(_below(pattern, folder) for pattern in rule.files)
    source = rule.value_from
    match source:
        case JsonValue():
            source = replace(source, json=_below(source.json, folder))
        case TextValue():
            source = replace(source, text=_below(source.text, folder))
        case FolderValue() | None:
            pass
    return replace(rule, files=files, value_from=source, written=rule.globs)


def _below(pattern: str, folder: str) -> str:
    """A pattern without a slash means any depth."""
    deep = "" if "/" in pattern else "**/"
    return f"/{glob.escape(composed(folder), unix=True)}/{deep}{pattern}"


def joined(folder: str, drop: Drop, groupings: Mapping[str, Grouping], outside: Listing) -> Grouping:
    """What the rules make of the whole folder: a plan only where every part has one, and all problems."""
    drafts = tuple(one.draft for one in groupings.values() if one.draft)
    problems = [
        *of_parts(groupings),
        *_outside_problems(groupings, outside, drop),
        *_same_titles(drafts),
    ]
    whole = Plan(folder, "", (), ignore=drop.ignore, left_out=_paths(outside, drop), parts=drafts)
    stops = any(one.weight is not Weight.NOTE for one in problems)
    return Grouping(
        None if stops else whole,
        tuple(problems),
        {path: names for part in groupings.values() for path, names in part.claims.items()},
        draft=whole,
        series=tuple(one for part in groupings.values() for one in part.series),
        no_images=tuple(path for part in groupings.values() for path in part.no_images),
        parts=groupings,
    )


def of_parts(groupings: Mapping[str, Grouping]) -> list[Problem]:
    """The problems of all parts, with their names; what is the same in several is said once."""
    found: dict[Problem, list[str]] = {}
    for name, part in groupings.items():
        for one in part.problems:
            found.setdefault(one, []).append(f'"{name}"')
    return [replace(one, text=f"In {several(names)}: {one.text}") for one, names in found.items()]


def of_whole(grouping: Grouping) -> list[Problem]:
    """What is said of a split folder beside the problems of its parts."""
    told = of_parts(grouping.parts)
    return [one for one in grouping.problems if one not in told]


def said_of(part: str, problem: Problem) -> Problem:
    """The problem with the part it is of, as it is for a whole folder."""
    return problem if not part else replace(problem, text=f'In "{shown(part)}": {problem.text}')


def _paths(outside: Listing, drop: Drop) -> tuple[str, ...]:
    return tuple(one.path for one in outside.entries if not is_ready_mark(one.path, drop))


def _outside_problems(groupings: Mapping[str, Grouping], outside: Listing, drop: Drop) -> Iterator[Problem]:
    assert drop.split is not None
    what = f"folders {drop.split.folders}/" if drop.split.folders else drop.split.pattern
    if not groupings:
        text = f"The folder has none of the parts that each become a display set ({what})."
        yield Problem("nothing-to-send", text, Weight.LACKING)
    rest = _paths(outside, drop)
    if rest and drop.unmatched == "fail":
        text = (
            f"{several(rest)}: outside every part of the folder that becomes a display set ({what}). Move it into "
            "one, or ask the data manager to pass such files over (ignore)."
        )
        yield Problem("unmatched-file", text)


def _same_titles(drafts: Iterable[Plan]) -> Iterator[Problem]:
    named: dict[str, list[str]] = {}
    for one in drafts:
        named.setdefault(one.title, []).append(one.part)
    for title, names in named.items():
        if title and len(names) > 1:
            text = (
                f'{several(names)} would all be titled "{shown(title)}", and each title can be used once. Give '
                "these parts names of their own, or ask the data manager for a title that tells them apart."
            )
            yield Problem("same-title", text)
