"""What `casedrop check` looks at; it changes nothing but a probe of its own."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from casedrop import notify, page_file, reach, roots, running, token_age
from casedrop.check import check_platform
from casedrop.compound import is_mirax
from casedrop.config import Settings, read_token
from casedrop.errors import CasedropError, ConfigurationError, SetupProblem
from casedrop.grand_challenge import GrandChallenge
from casedrop.journal import NAME, Journal
from casedrop.model import Drop, SocketKind
from casedrop.naming_check import naming_words
from casedrop.near import several
from casedrop.reports import identifiable_words, procedure_words
from casedrop.status import outdated_words
from casedrop.watch import file_system

Findings = list[tuple[int, str]]
"""(exit code, sentence): 0 is well, 78 is for the administrator, 75 cannot be told now."""

WELL, WRONG, LATER = 0, 78, 75


def check_all(settings: Settings, environ: Mapping[str, str], *, offline: bool) -> Findings:
    """Every finding, good and bad, each once."""
    found: Findings = [(WELL, "The configuration is well formed.")]
    said = (words(drop) for drop in settings.drops for words in (identifiable_words, procedure_words))
    found += [(WELL, text) for text in said if text]
    found += [(WRONG, text) for text in map(slide_words, settings.drops) if text]
    found += _tried(lambda: _state_words(settings))
    for drop in settings.drops:
        found += _check_root(settings, Path(drop.root))
        found += _check_page(drop)
    if words := _token_words(settings):
        found.append((WELL, f"ATTENTION: {words}"))
    found += [(WELL if well else WRONG, text) for well, text in naming_words(settings, environ)]
    found += [(WELL if well else WRONG, text) for well, text in notify.words(settings)]
    found += [(WELL, f"ATTENTION: {outdated_words(names)}")] if (names := running.outdated(settings)) else []
    found += _tried(lambda: reach.words(settings))
    if not offline:
        found += _check_platform(settings, environ)
    return list(dict.fromkeys(found))


def _token_words(settings: Settings) -> str:
    return token_age.words({"token_expires": token_age.end(settings.platform.token_expires)}, time.time())


def _check_platform(settings: Settings, environ: Mapping[str, str]) -> Findings:
    try:
        token = read_token(settings, environ)
    except ConfigurationError as error:
        return [(WRONG, problem) for problem in error.problems]
    try:
        platform = reach.platform(settings, lambda: token)
    except ConfigurationError:
        return []  # said with the hosts
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


def _check_page(drop: Drop) -> Findings:
    if drop.page == "off":
        return []
    try:
        page_file.expect_ours(Path(drop.root))
    except page_file.ForeignError:
        return [(WRONG, page_file.foreign(Path(drop.root)))]
    return []


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
    sockets = ", ".join(f"{slug}: {_kind_words(kind)}" for slug, kind in kinds.items())
    return f'Drop "{drop.name}": {"archive" if study.archive else "reader study"} {study.url} with {sockets}.'


def _kind_words(kind: SocketKind) -> str:
    return kind.kind if kind.kind == kind.super_kind else f"{kind.super_kind} ({kind.kind})"


def _tried(look: Callable[[], str]) -> Findings:
    try:
        return [(WELL, look())]
    except (SetupProblem, ConfigurationError) as wrong:
        return [(WRONG, problem) for problem in wrong.problems]
    except CasedropError as problem:
        return [(LATER, str(problem))]


def slide_words(drop: Drop) -> str:
    """Said of a drop whose rules take MIRAX slides and which refuses every one of them, "" of any other."""
    takers = [rule.socket for rule in drop.sockets if any(is_mirax(glob) for glob in rule.globs)]
    if not takers or drop.metadata == "send":
        return ""
    return (
        f'drops "{drop.name}": the rule of {several(takers)} takes .mrxs, but every such slide is refused: the '
        "picture of its label is among its data, and may name the patient. If the labels name nobody, say "
        'metadata = "send"; else take .mrxs out of the rule.'
    )
