"""What `casedrop plan` looks at: one folder, or all of a drop; nothing is changed."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from casedrop import rehearsal
from casedrop.check import check_platform
from casedrop.config import Settings, drop_named, read_token
from casedrop.contents import group_folder, read_patients
from casedrop.errors import ConfigurationError, SetupProblem
from casedrop.grand_challenge import GrandChallenge
from casedrop.keys import KEY_BYTES
from casedrop.model import Drop, Grouping, PlannedSocket, Problem, Procedure, SocketKind
from casedrop.naming_check import naming_for_plan
from casedrop.pack import named
from casedrop.prepare import look_inside
from casedrop.reading import open_below
from casedrop.reports import plan_json, plan_text, plans
from casedrop.scan import not_to_group
from casedrop.settle import composed, data, is_junk
from casedrop.watch import list_folder

TRIED = (
    "De-identifying was tried on one file of each series; the service does it for all, and refuses in doubt."
)
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
    if not folder.is_dir():
        raise ConfigurationError([f"{folder} is no folder."])
    drop = _drop_of(settings, folder.resolve(), drop_name)
    kinds = None if offline else _kinds(settings, environ, drop)
    listing = data(list_folder(str(folder.resolve())), drop.ignore)
    naming = naming_for_plan(settings, environ, drop, offline=offline)
    grouping = not_to_group(listing, settings.limits.files)
    grouping = grouping or group_folder(str(folder.resolve()), listing, drop, kinds, naming=naming)
    grouping = _looked_inside(str(folder.resolve()), _tried_on_one(str(folder.resolve()), grouping))
    patients = read_patients(str(folder.resolve()), grouping) if show_patient else {}
    if as_json:
        return json.dumps(plan_json(listing, grouping, drop, patients), indent=2), grouping.plan is not None
    text = plan_text(listing, grouping, drop, patients)
    text += f"\n\n{TRIED}" if any(file.is_series for one in _sockets(grouping) for file in one.files) else ""
    return text + (f"\n\n{OFFLINE}" if offline else ""), grouping.plan is not None


def is_drop(settings: Settings, name: str) -> bool:
    return name in {drop.name for drop in settings.drops}


def plan_drop(
    settings: Settings, environ: Mapping[str, str], name: str, *, offline: bool
) -> Iterator[rehearsal.Row]:
    """What each name in drop/ would become, in order. Raises ConfigurationError, SetupProblem, Unavailable."""
    drop = _drop_of(settings, Path(), name)
    kinds = None if offline else _kinds(settings, environ, drop)
    naming = naming_for_plan(settings, environ, drop, offline=offline)
    root, titles = Path(drop.root) / "drop", dict[str, str]()
    for folder in _names(root, drop):
        if not (root / folder).is_dir() or (drop.folder and not re.fullmatch(drop.folder, composed(folder))):
            yield rehearsal.Row(folder, rehearsal.LEFT_ALONE)
            continue
        path = str(root / folder)
        listing = data(list_folder(path), drop.ignore)
        grouping = not_to_group(listing, settings.limits.files)
        grouping = grouping or group_folder(path, listing, drop, kinds, naming=naming)
        yield from rehearsal.rows(folder, _looked_inside(path, _tried_on_one(path, grouping)), titles)


def _names(root: Path, drop: Drop) -> list[str]:
    try:
        return sorted(one for one in os.listdir(root) if not is_junk(one, drop.ignore))
    except OSError as error:
        raise ConfigurationError(
            [f"{root} cannot be read ({error.strerror}). Is the share mounted?"]
        ) from None


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

    (file,) = socket.files
    source = file.packed[0]
    with open_below(folder, source.path) as opened:
        data = opened.readall() or b""
    found = deidentify(data, file.procedure or Procedure(), bytes(KEY_BYTES), alone=len(file.packed) == 1)
    if not isinstance(found, Problem):
        return None
    text = f"Socket {socket.socket}, {socket.source}: {named(found, source).text}"
    return replace(found, text=text)


def _kinds(settings: Settings, environ: Mapping[str, str], drop: Drop) -> dict[str, SocketKind]:
    token = read_token(settings, environ)
    try:
        return check_platform(GrandChallenge(settings.platform.url, lambda: token), drop)[1]
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
