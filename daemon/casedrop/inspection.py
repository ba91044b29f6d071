"""What `casedrop check` and `casedrop plan` look at; neither changes anything but a probe of its own."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from casedrop import roots
from casedrop.check import check_platform
from casedrop.config import Settings, read_token
from casedrop.contents import group_folder, read_patients
from casedrop.errors import CasedropError, ConfigurationError
from casedrop.grand_challenge import GrandChallenge
from casedrop.model import Drop
from casedrop.reports import plan_json, plan_text
from casedrop.settle import data
from casedrop.watch import file_system, list_folder

Findings = list[tuple[bool, str]]

IDENTIFIABLE = (
    'ATTENTION: drop "{}" sends DICOM with the names and numbers of patients (deidentify = '
    '"send-identifiable").'
)


def check_all(settings: Settings, environ: Mapping[str, str], *, offline: bool) -> Findings:
    """Every finding, good and bad: (is well, sentence)."""
    found: Findings = [(True, "The configuration is well formed.")]
    found += [(True, IDENTIFIABLE.format(drop.name)) for drop in settings.drops if _is_identifiable(drop)]
    for drop in settings.drops:
        found += _check_root(drop)
    if offline:
        return found
    try:
        token = read_token(settings, environ)
    except ConfigurationError as error:
        return found + [(False, problem) for problem in error.problems]
    platform = GrandChallenge(settings.platform.url, lambda: token)
    found.append(_tried(lambda: f"The token belongs to {platform.whoami()}."))
    for drop in settings.drops:
        found.append(_tried(lambda drop=drop: _platform_words(platform, drop)))  # type: ignore[misc]
    return found


def _is_identifiable(drop: Drop) -> bool:
    return drop.procedure.name == "send-identifiable"


def _check_root(drop: Drop) -> Findings:
    path = Path(drop.root)
    found = [
        _tried(lambda: f"{path} is a root of Casedrop." if roots.root_id(path) else ""),
        _tried(lambda: f"{path}: folders can be moved to done/ and failed/." if _renames(path) else ""),
    ]
    if path.is_dir():
        found.append((True, _lease_words(path)))
    return found


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
    return f'Drop "{drop.name}": reader study {study.url} with {sockets}.'


def _tried(look: Callable[[], str]) -> tuple[bool, str]:
    try:
        return True, look()
    except CasedropError as problem:
        return False, str(problem)


def plan_folder(
    settings: Settings,
    environ: Mapping[str, str],
    folder: Path,
    *,
    offline: bool,
    as_json: bool,
    show_patient: bool = False,
) -> tuple[str, bool]:
    """The plan of one folder as text, and whether it would be taken; patients' names only if asked for."""
    if not folder.is_dir():
        raise ConfigurationError([f"{folder} is no folder."])
    drop = _drop_of(settings, folder.resolve())
    kinds = None
    if not offline:
        token = read_token(settings, environ)
        _, kinds = check_platform(GrandChallenge(settings.platform.url, lambda: token), drop)
    listing = data(list_folder(str(folder.resolve())), drop.ignore)
    grouping = group_folder(str(folder.resolve()), listing, drop, kinds)
    patients = read_patients(str(folder.resolve()), grouping) if show_patient else {}
    if as_json:
        said = json.dumps(plan_json(listing, grouping, drop, patients), indent=2)
    else:
        said = plan_text(listing, grouping, drop, patients)
    return said, grouping.plan is not None


def _drop_of(settings: Settings, folder: Path) -> Drop:
    """The drop the folder lies in; for a folder elsewhere the only drop there is."""
    for drop in settings.drops:
        if Path(drop.root).resolve() in folder.parents:
            return drop
    if len(settings.drops) == 1:
        return settings.drops[0]
    names = ", ".join(drop.name for drop in settings.drops)
    raise ConfigurationError([f"{folder} lies in the root of no drop ({names}); put it there to plan it."])
