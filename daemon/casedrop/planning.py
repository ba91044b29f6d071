"""What `casedrop plan` looks at: one folder, or all of a drop; nothing is changed."""

import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from casedrop import rehearsal, roots
from casedrop.check import check_platform
from casedrop.config import Settings, drop_named, read_token
from casedrop.contents import group_folder, not_to_group, read_patients
from casedrop.errors import ConfigurationError, SetupProblem
from casedrop.journal import Journal, of_service
from casedrop.keys import KEY_BYTES
from casedrop.model import (
    Drop,
    Finding,
    FindingState,
    Grouping,
    Listing,
    PlannedSocket,
    Problem,
    Procedure,
    SocketKind,
    Weight,
)
from casedrop.naming_check import naming_for_plan
from casedrop.near import shown
from casedrop.prepare import look_inside
from casedrop.reading import open_below
from casedrop.reports import paragraph, plan_json, plan_text, plans
from casedrop.resend import only_what_changed
from casedrop.settle import composed, data, is_junk, signature
from casedrop.split import of_parts, of_whole
from casedrop.table_changes import is_told_elsewhere
from casedrop.titles import Naming
from casedrop.watch import list_folder

TRIED = (
    "De-identifying was tried on one file of each series; the service does it for all, and refuses in doubt."
)
LEVEL_DOWN = 5
"""Folders in a folder that are tried by themselves where it would not be taken."""
OFFLINE = "Not asked (offline): whether Grand Challenge has this reader study or archive, and these sockets."


def plan_folder(
    settings: Settings,
    environ: Mapping[str, str],
    folder: Path,
    *,
    drop_name: str = "",
    offline: bool,
    as_json: bool,
    show_patient: bool = False,
) -> tuple[str, bool]:
    """The plan of one folder as text, and whether it would be taken; patients' names only if asked for.

    Raises ConfigurationError, Unavailable.
    """
    drop = _drop_of(settings, folder.resolve(), drop_name)
    kinds = None if offline else _kinds(settings, environ, drop)
    naming = naming_for_plan(settings, environ, drop, offline=offline)
    look = partial(_grouped, settings, drop, kinds, naming)
    listing, grouping = look(folder)
    with _journal(settings, drop) as journal:
        rows = _rows_alone(drop, journal, (naming, kinds), listing, grouping)
    patients = read_patients(str(folder.resolve()), grouping) if show_patient else {}
    if as_json:
        return json.dumps(plan_json(listing, grouping, drop, patients), indent=2), grouping.plan is not None
    text = plan_text(listing, grouping, drop, patients)
    tried = TRIED if any(file.is_series for one in _sockets(grouping) for file in one.files) else ""
    level = _one_level_down(look, folder, drop) if grouping.plan is None else ""
    said = (rows, tried, level, OFFLINE if offline else "", rehearsal.NOT_CHECKED if grouping.plan else "")
    return "\n\n".join([text, *map(paragraph, filter(None, said))]), grouping.plan is not None


def _grouped(
    settings: Settings, drop: Drop, kinds: Mapping[str, SocketKind] | None, naming: Naming, folder: Path
) -> tuple[Listing, Grouping]:
    """What the service would make of a folder, and what it would find when it reads the files."""
    path = str(folder.resolve())
    try:
        listing = data(list_folder(path), drop.ignore)
        grouping = not_to_group(listing, settings.limits.files)
        return listing, _looked(path, grouping or group_folder(path, listing, drop, kinds, naming=naming))
    except PermissionError as error:
        raise _not_allowed(folder, error) from None


def _one_level_down(look: Callable[[Path], tuple[Listing, Grouping]], folder: Path, drop: Drop) -> str:
    """Where a folder holds only folders and one of the first would be taken by itself, these were meant."""
    within = sorted(one for one in folder.iterdir() if not is_junk(one.name, drop.ignore))
    if not all(map(os.path.isdir, within)):
        return ""
    good = next((one for one in within[:LEVEL_DOWN] if look(one)[1].plan), None)
    if good is None:
        return ""
    return (
        f"{shown(good.name)} in it would be taken by itself. If this is the folder that holds the patients' "
        f"folders, name one of them: `casedrop plan {shown(str(good))} --drop {drop.name}`."
    )


def meant(settings: Settings, given: Path) -> tuple[Path, str]:
    """The folder that was asked for, and the name of its drop where that was said as DROP/NAME.

    Raises ConfigurationError, which says by which command the folders in a folder are planned.
    """
    if _is_folder(given):
        for drop in settings.drops:
            _expect_no_root(drop, given)
        return given, ""
    name, _, folder = str(given).partition("/")
    if os.path.exists(given) or not (folder and is_drop(settings, name)):
        known = ", ".join(drop.name for drop in settings.drops)
        raise ConfigurationError([f"{given} is no folder, and no drop or DROP/NAME (drops are: {known})."])
    drop = drop_named(settings, name)
    places = [Path(drop.root) / place / folder for place in roots.FOLDERS]
    if _is_folder(places[0]):
        return places[0], name
    said = [f"There is no {folder} in drop/ of {name}."]
    said += [
        f"It is in {one.parent.name}/: `casedrop plan {one}` tells of it there."
        for one in places
        if os.path.isdir(one)
    ]
    raise ConfigurationError([" ".join(said)])


def _is_folder(path: Path) -> bool:
    """Raises ConfigurationError where this user may not know."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except PermissionError as error:
        raise _not_allowed(path, error) from None
    except OSError:
        return False


def _not_allowed(path: Path, error: OSError) -> ConfigurationError:
    text = (
        f"{shown(str(path))} cannot be looked into ({error.strerror}). Ask as a user who may read the share."
    )
    return ConfigurationError([text])


def _expect_no_root(drop: Drop, given: Path) -> None:
    root, resolved = Path(drop.root).resolve(), given.resolve()
    if resolved in (root, *root.parents, *(root / place for place in roots.FOLDERS)):
        text = f"{given} is no case folder, it holds those of the drop {drop.name}"
        how = (
            f"`casedrop plan {drop.name}` tells of all in its drop/, `casedrop plan {drop.name}/NAME` of one"
        )
        raise ConfigurationError([f"{text}: {how}."])


def is_drop(settings: Settings, name: str) -> bool:
    return name in {drop.name for drop in settings.drops}


def plan_drop(
    settings: Settings, environ: Mapping[str, str], name: str, *, offline: bool
) -> Iterator[rehearsal.Row]:
    """What each name in drop/ would become, in order. Raises ConfigurationError, SetupProblem, Unavailable."""
    drop = _drop_of(settings, Path(), name)
    kinds = None if offline else _kinds(settings, environ, drop)
    naming = naming_for_plan(settings, environ, drop, offline=offline)
    look = partial(_grouped, settings, drop, kinds, naming)
    root, titles = Path(drop.root) / "drop", dict[str, str]()
    with _journal(settings, drop) as journal:
        for folder in _names(root, drop):
            if not _is_folder(root / folder) or (
                drop.folder and not re.fullmatch(drop.folder, composed(folder))
            ):
                yield rehearsal.Row(folder, rehearsal.LEFT_ALONE)
                continue
            listing, grouping = look(root / folder)
            why = _rows_alone(drop, journal, (naming, kinds), listing, grouping)
            found = rehearsal.rows(folder, grouping, titles)
            yield from (replace(one, why=why) if one.state == rehearsal.SENT else one for one in found)


@contextmanager
def _journal(settings: Settings, drop: Drop) -> Iterator[Journal | None]:
    """None where the drop has no table that could have changed, or this user may not read the journal."""
    journal = None
    if is_told_elsewhere(drop):
        with suppress(ConfigurationError):
            journal = of_service(settings.state.directory, looking=True)
    try:
        yield journal
    finally:
        if journal:
            journal.close()


def _rows_alone(
    drop: Drop,
    journal: Journal | None,
    by: tuple[Naming, Mapping[str, SocketKind] | None],
    listing: Listing,
    grouping: Grouping,
) -> str:
    """Of a folder that is done already and has only a new row, what of it would be sent; "" of any other."""
    naming, kinds = by
    if journal is None or kinds is None or grouping.plan is None:
        return ""
    finding = Finding(
        listing.folder,
        FindingState.READY,
        "",
        0.0,
        grouping=grouping,
        signature=signature(listing, drop.ignore),
        device=listing.device,
        inode=listing.inode,
    )
    with suppress(SetupProblem):
        root = roots.root_id(Path(drop.root))
        if words := only_what_changed(drop, journal, root, finding, (naming, kinds)):
            return f"It is done already, and {words}."
    return ""


def _names(root: Path, drop: Drop) -> list[str]:
    try:
        return sorted(one for one in os.listdir(root) if not is_junk(one, drop.ignore))
    except OSError as error:
        raise ConfigurationError(
            [f"{root} cannot be read ({error.strerror}). Is the share mounted?"]
        ) from None


def _looked(folder: str, grouping: Grouping) -> Grouping:
    """Each part of a split folder by itself, so that one that is wrong hides nothing of the others."""
    if not grouping.parts:
        return _looked_inside(folder, _tried_on_one(folder, grouping))
    parts = {name: _looked(folder, one) for name, one in grouping.parts.items()}
    problems = (*of_parts(parts), *of_whole(grouping))
    stops = any(one.weight is not Weight.NOTE for one in problems)
    return replace(grouping, plan=None if stops else grouping.plan, problems=problems, parts=parts)


def _tried_on_one(folder: str, grouping: Grouping) -> Grouping:
    """What de-identifying says of one file of each series, since a folder may be refused for that alone."""
    sockets = [one for one in _sockets(grouping) if one.files and one.files[0].is_series]
    found = [problem for one in sockets if (problem := _try(folder, one))]
    if not found:
        return grouping
    return replace(grouping, plan=None, problems=(*grouping.problems, *found))


def _looked_inside(folder: str, grouping: Grouping) -> Grouping:
    """What the service finds when it reads the files for their checksums."""
    found = [problem for socket in _sockets(grouping) for problem in look_inside(folder, socket)]
    return replace(grouping, plan=None, problems=(*grouping.problems, *found)) if found else grouping


def _sockets(grouping: Grouping) -> tuple[PlannedSocket, ...]:
    return tuple(socket for plan in plans(grouping) for socket in plan.sockets)


def _try(folder: str, socket: PlannedSocket) -> Problem | None:
    from casedrop.deidentify import deidentify  # noqa: PLC0415  heavy, and only for DICOM
    from casedrop.pack import named  # noqa: PLC0415  the same

    (file,) = socket.files
    source = file.packed[0]
    with open_below(folder, source.path) as opened:
        data = opened.readall() or b""
    found = deidentify(data, file.procedure or Procedure(), bytes(KEY_BYTES), alone=len(file.packed) == 1)
    if not isinstance(found, Problem):
        return None
    text = f'The socket "{socket.socket}", {socket.source}: {named(found, source).text}'
    return replace(found, text=text)


def _kinds(settings: Settings, environ: Mapping[str, str], drop: Drop) -> dict[str, SocketKind]:
    from casedrop import reach  # noqa: PLC0415  heavy, and never offline

    token = read_token(settings, environ)
    try:
        return check_platform(reach.platform(settings, lambda: token), drop)[1]
    except SetupProblem as wrong:
        raise ConfigurationError(list(wrong.problems)) from None


def _drop_of(settings: Settings, folder: Path, name: str) -> Drop:
    """The drop of that name, or the one the folder lies in; for a folder elsewhere the only one there is."""
    if name:
        return drop_named(settings, name)
    for drop in settings.drops:
        if Path(drop.root).resolve() in folder.parents:
            return drop
    if len(settings.drops) == 1:
        return settings.drops[0]
    names = ", ".join(drop.name for drop in settings.drops)
    raise ConfigurationError(
        [f"{folder} lies in the root of no drop: say by which rules, --drop NAME ({names})."]
    )
