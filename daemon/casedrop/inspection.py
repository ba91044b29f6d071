"""What `casedrop check` and `casedrop plan` look at; neither changes anything but a probe of its own."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from casedrop import roots
from casedrop.check import check_platform
from casedrop.config import Settings, read_token
from casedrop.contents import group_folder, read_patients
from casedrop.errors import CasedropError, ConfigurationError, SetupProblem
from casedrop.grand_challenge import GrandChallenge
from casedrop.journal import NAME, Journal
from casedrop.keys import KEY_BYTES
from casedrop.model import Drop, Grouping, PlannedSocket, Problem, Procedure, SocketKind
from casedrop.naming_check import naming_for_plan, naming_words
from casedrop.pack import named
from casedrop.reading import open_below
from casedrop.reports import identifiable_words, plan_json, plan_text, plans, procedure_words
from casedrop.scan import not_to_group
from casedrop.settle import data
from casedrop.watch import file_system, list_folder

TRIED = (
    "De-identifying was tried on one file of each series; the service does it for all, and refuses in doubt."
)
OFFLINE = "Not asked (offline): whether Grand Challenge has this reader study or archive, and these sockets."

Findings = list[tuple[int, str]]
"""(exit code, sentence): 0 is well, 78 is for the administrator, 75 cannot be told now."""

WELL, WRONG, LATER = 0, 78, 75


def check_all(settings: Settings, environ: Mapping[str, str], *, offline: bool) -> Findings:
    """Every finding, good and bad, each once."""
    found: Findings = [(WELL, "The configuration is well formed.")]
    said = (words(drop) for drop in settings.drops for words in (identifiable_words, procedure_words))
    found += [(WELL, text) for text in said if text]
    found += _tried(lambda: _state_words(settings))
    for drop in settings.drops:
        found += _check_root(settings, Path(drop.root))
    found += [(WELL if well else WRONG, text) for well, text in naming_words(settings, environ)]
    if not offline:
        found += _check_platform(settings, environ)
    return list(dict.fromkeys(found))


def _check_platform(settings: Settings, environ: Mapping[str, str]) -> Findings:
    try:
        token = read_token(settings, environ)
    except ConfigurationError as error:
        return [(WRONG, problem) for problem in error.problems]
    platform = GrandChallenge(settings.platform.url, lambda: token)
    found = _tried(lambda: f"The token belongs to {platform.whoami()}.")
    for drop in settings.drops:
        found += _tried(lambda drop=drop: _platform_words(platform, drop))  # type: ignore[misc]
    return found


def _state_words(settings: Settings) -> str:
    """The state directory can be used, or made; what is there is not changed. Raises ConfigurationError."""
    directory = settings.state.directory
    there = directory if directory.exists() else next(one for one in directory.parents if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ConfigurationError([f"state.directory {directory}: this user may not write in {there}."])
    if (directory / NAME).exists():
        Journal(directory / NAME).close()
        return f"{directory}: the journal can be read."
    return f"{directory}: there is no journal yet; it is made at the first start."


def _check_root(settings: Settings, path: Path) -> Findings:
    found = [
        *_tried(lambda: f"{path} is a root of Casedrop." if roots.root_id(path) else ""),
        *_tried(lambda: f"{path}: folders can be moved to done/ and failed/." if _renames(path) else ""),
    ]
    if (path / roots.IDENTITY).exists():
        found += _tried(lambda: _owner_words(settings, path))
    if path.is_dir():
        found.append((WELL, _lease_words(path)))
    return found


def _owner_words(settings: Settings, path: Path) -> str:
    known = settings.state.directory / NAME
    journal = Journal(known) if known.exists() else None
    roots.expect_owner(path, journal.id if journal else "")
    return f"{path} belongs to this journal, or to none yet."


def _renames(path: Path) -> bool:
    roots.expect_folders(path)
    return True


def _lease_words(path: Path) -> str:
    if file_system(str(path)).lease:
        return f"{path}: whether a file is still being written can be asked of the file system."
    return f"{path}: this file system cannot tell who writes; use a longer settle.quiet_seconds or `ready`."


def _platform_words(platform: GrandChallenge, drop: Drop) -> str:
    study, kinds = check_platform(platform, drop)
    sockets = ", ".join(f"{slug} ({kind.super_kind})" for slug, kind in kinds.items())
    return f'Drop "{drop.name}": {"archive" if study.archive else "reader study"} {study.url} with {sockets}.'


def _tried(look: Callable[[], str]) -> Findings:
    try:
        return [(WELL, look())]
    except (SetupProblem, ConfigurationError) as wrong:
        return [(WRONG, problem) for problem in wrong.problems]
    except CasedropError as problem:
        return [(LATER, str(problem))]


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
    grouping = _tried_on_one(str(folder.resolve()), grouping)
    patients = read_patients(str(folder.resolve()), grouping) if show_patient else {}
    if as_json:
        return json.dumps(plan_json(listing, grouping, drop, patients), indent=2), grouping.plan is not None
    text = plan_text(listing, grouping, drop, patients)
    text += f"\n\n{TRIED}" if any(file.packed for one in _sockets(grouping) for file in one.files) else ""
    return text + (f"\n\n{OFFLINE}" if offline else ""), grouping.plan is not None


def _tried_on_one(folder: str, grouping: Grouping) -> Grouping:
    """What de-identifying says of one file of each series, since a folder may be refused for that alone."""
    sockets = [one for one in _sockets(grouping) if one.files and one.files[0].packed]
    found = [problem for one in sockets if (problem := _try(folder, one))]
    if not found:
        return grouping
    return replace(grouping, plan=None, problems=(*grouping.problems, *found))


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
    known = {drop.name: drop for drop in settings.drops}
    names = ", ".join(known)
    if name:
        if name not in known:
            raise ConfigurationError([f'There is no drop "{name}" (there are: {names}).'])
        return known[name]
    for drop in settings.drops:
        if Path(drop.root).resolve() in folder.parents:
            return drop
    if len(settings.drops) == 1:
        return settings.drops[0]
    raise ConfigurationError(
        [f"{folder} lies in the root of no drop: say by which rules, --drop NAME ({names})."]
    )
