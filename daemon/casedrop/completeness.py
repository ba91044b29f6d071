"""`casedrop matrix`: the expected patients and visits against what is done, failed, waiting or absent."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from casedrop import matrix, roots
from casedrop.config import Settings, drop_named
from casedrop.errors import ConfigurationError
from casedrop.journal import if_there
from casedrop.matrix import Key, Seen
from casedrop.model import Drop
from casedrop.settle import composed, data
from casedrop.split import WHOLE, Part, parts, unknown
from casedrop.stages import Stage
from casedrop.table_files import TableFile
from casedrop.tables import TableProblemError
from casedrop.titles import groups
from casedrop.watch import list_folder

STATES = {Stage.DONE: matrix.DONE, Stage.FAILED: matrix.FAILED}


def look(settings: Settings, which: str, expected: str) -> tuple[list[str], dict[Key, Seen]]:
    """The names of the keys, and what is there of each. Raises ConfigurationError.

    `expected` is a table of the drop, whose keys are what is expected, "" for none.
    """
    drop = drop_named(settings, which)
    names, wanted = _expected(drop, expected) if expected else (_groups(drop), set[Key]())
    seen = [*_of_cases(settings, drop, names), *_of_folders(drop, names)]
    return names, matrix.merged(wanted, seen)


def _expected(drop: Drop, name: str) -> tuple[list[str], set[Key]]:
    rule = next((one for one in drop.tables if one.name == name and one.file), None)
    if rule is None:
        known = ", ".join(one.name for one in drop.tables if one.file) or "none"
        raise ConfigurationError([f'The drop has no table "{name}" with a file (there are: {known}).'])
    file = TableFile(rule, tuple(column for _, column in rule.keys))
    try:
        return [group for group, _ in rule.keys], set(file.table().rows)
    except TableProblemError as problem:
        raise ConfigurationError([f"{file} {problem}."]) from None


def _groups(drop: Drop) -> list[str]:
    """What tells the display sets of a drop apart by their folders' names."""
    named = list(re.compile(drop.folder or "").groupindex) or ["folder"]
    return [*named, *unknown(drop.split)]


def _of_cases(settings: Settings, drop: Drop, names: list[str]) -> Iterator[tuple[Key, Seen]]:
    """A split folder speaks by its parts, one without a plan by its name alone."""
    journal = if_there(settings.state.directory)
    cases = journal.cases_of(roots.root_id(Path(drop.root))) if journal else []
    if journal:
        journal.close()
    for case in cases:
        whole = drop.split is not None and not case.head
        if not case.deleted and not whole:
            of_part = dict(case.plan.groups) if case.plan else {}
            state = STATES.get(case.stage, matrix.ON_ITS_WAY)
            yield _key(drop, case.name, of_part, names), Seen(state, case.reached)


def _of_folders(drop: Drop, names: list[str]) -> Iterator[tuple[Key, Seen]]:
    """What lies in drop/, taken or not, and what was refused as a whole."""
    for place, state in (("drop", matrix.WAITING), ("failed", matrix.FAILED)):
        root = Path(drop.root) / place
        for folder in roots.folders_in(root, drop.ignore):
            if not drop.folder or re.fullmatch(drop.folder, composed(folder)):
                for part in _parts(drop, root / folder):
                    yield _key(drop, folder, part.groups, names), Seen(state)


def _parts(drop: Drop, folder: Path) -> list[Part]:
    if drop.split is None:
        return [WHOLE]
    found, _ = parts(data(list_folder(str(folder)), drop.ignore), drop.split)
    return [part for part, _ in found.values()]


def _key(drop: Drop, folder: str, of_part: Mapping[str, str], names: list[str]) -> Key:
    known = groups(drop, folder, of_part)
    return tuple(composed(known.get(name, "")).strip() for name in names)
