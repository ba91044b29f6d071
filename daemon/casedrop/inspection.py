"""What `casedrop check` looks at; it changes nothing but a probe of its own."""

import errno
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from casedrop import __version__, notify, reach, rights, running, token_age
from casedrop.compound import is_mirax
from casedrop.config import NO_TOKEN, PREFIX, Settings
from casedrop.config_files import PIECES
from casedrop.errors import ConfigurationError
from casedrop.findings import Finding, attention, ok, once, problem
from casedrop.journal import NAME, SCHEMA, Journal
from casedrop.model import Drop
from casedrop.naming_check import naming_words
from casedrop.near import several
from casedrop.platform_check import platform_findings
from casedrop.reports import identifiable_words, procedure_words
from casedrop.root_check import MOUNT, root_findings, watch_findings
from casedrop.status import outdated_words
from casedrop.trying import MEND, as_service, tried
from casedrop.unit_check import CONFIGURATION as USUAL
from casedrop.unit_check import unit_findings

CONFIGURATION = "configuration"
REHEARSES = 'mode = "rehearse"'
NOT_OURS = os.strerror(errno.EACCES)


def mistakes(error: ConfigurationError, config: Path) -> list[Finding]:
    """Those of a configuration, which hide all others."""
    return [_mistake(text, config) for text in error.problems]


def _mistake(text: str, config: Path) -> Finding:
    """A hint tells what is meant, not where to write it; who may not read the file has nothing to mend."""
    found = problem(CONFIGURATION, text)
    if "sudo " in found.mend:
        return found
    return replace(found, mend=f"{found.mend} Mend {_place(text, config)}.".lstrip())


def _place(text: str, config: Path) -> str:
    """Where a mistake stands, by the beginning of what is said of it."""
    if text.startswith(PREFIX):
        return "the environment"
    piece = re.match(rf"(?:{re.escape(str(config.parent))}/)?{PIECES}/([^/]*\.toml)[:,] ", text)
    return str(config.parent / PIECES / piece[1] if piece else config)


def check_all(
    settings: Settings, config: Path, environ: Mapping[str, str], *, offline: bool
) -> list[Finding]:
    """Every finding, good and bad, each once."""
    found = [ok(CONFIGURATION, "The configuration is well formed."), *_of_drops(settings)]
    stranger = rights.is_stranger(settings.state.directory)
    found += _seen_by_a_stranger(settings) if stranger else _seen_by_the_service(settings)
    found += tried("unit", lambda: unit_findings(settings, config))
    found += tried("names", lambda: _told("names", naming_words(settings, environ)))
    found += tried("messages", lambda: _told("messages", notify.words(settings)))
    found += tried("service", lambda: _service(settings))
    if words := _token_words(settings):
        found.append(attention("token", words))
    found += tried("hosts", lambda: reach.words(settings))
    if not offline:
        found += platform_findings(settings, environ)
    return once(_by_root(found, config) if stranger else found)


def _seen_by_the_service(settings: Settings) -> list[Finding]:
    with as_service(settings.state.directory):
        found = tried("state", lambda: _state(settings), "Give the service's user the state directory.")
        for drop in settings.drops:
            found += root_findings(settings, drop)
        return found + tried("inotify", lambda: watch_findings(settings.drops))


def _seen_by_a_stranger(settings: Settings) -> list[Finding]:
    """Whose rights are not those of the service: nothing is tried by them, and nothing said to mend them."""
    found = [attention("user", f"The state directory and the roots are not looked at ({NOT_OURS}).")]
    for drop in settings.drops:
        found += tried(f"root {drop.root}", lambda drop=drop: _is_there(drop), MOUNT)  # type: ignore[misc]
    return found


def _is_there(drop: Drop) -> str:
    """Raises OSError."""
    os.stat(os.path.join(drop.root, "drop"))
    return ""


def _by_root(found: list[Finding], config: Path) -> Iterator[Finding]:
    """What this user may not read is no problem of the set-up."""
    further = [] if str(config) == USUAL else ["--config", str(config)]
    mend = f"This user may not read it; as root: {rights.as_root('check', *further)}"
    for one in found:
        closed = NOT_OURS in one.text or one.text == NO_TOKEN
        yield Finding("attention", one.what, one.text, mend) if closed else one


def _of_drops(settings: Settings) -> Iterator[Finding]:
    """What the rules of each drop mean for patients, and what they can never take."""
    for drop in settings.drops:
        what = f"drop {drop.name}"
        if words := procedure_words(drop):
            yield ok(what, words)
        if words := identifiable_words(drop):
            mend = "If that is not meant, take deidentify out of the drop."
            yield attention(what, words.removeprefix("ATTENTION: "), mend)
        if words := slide_words(drop):
            yield problem(what, words)
        if drop.mode == "rehearse":
            text = f'Drop "{drop.name}" rehearses: nothing of it is sent or moved.'
            yield attention(
                what, text, f"When its rules are right: take out {REHEARSES}, and reload the service."
            )


def _told(what: str, words: list[tuple[bool, str]]) -> Iterator[Finding]:
    for well, text in words:
        yield ok(what, text) if well else problem(what, text, MEND)


def _token_words(settings: Settings) -> str:
    return token_age.words({"token_expires": token_age.end(settings.platform.token_expires)}, time.time())


def _state(settings: Settings) -> Iterator[Finding]:
    """The state directory can be used, or made; what is there is not changed. Raises ConfigurationError."""
    directory = settings.state.directory
    there = next(one for one in (directory, *directory.parents) if os.path.exists(one))
    if not os.path.isdir(there) or not os.access(there, os.W_OK, effective_ids=True):
        yield problem(
            "state",
            f"state.directory {directory}: this user may not write in {there}.",
            f"`sudo casedrop install` makes it, or: sudo install -d -m 700 -o casedrop {directory}",
        )
        return
    if there == directory and directory.stat().st_mode & stat.S_IWOTH:
        text = f"state.directory {directory}: everyone on this machine can put another journal into it."
        yield problem("state", text, f"sudo chmod o-rwx {directory}")
    yield from _free(settings, there)
    if not (directory / NAME).exists():
        yield ok("state", f"{directory}: there is no journal yet; it is made at the first start.")
        return
    journal = Journal(directory / NAME, looking=True)
    try:
        older = journal.schema < SCHEMA
    finally:
        journal.close()
    further = "; it is of an older Casedrop, and brought forward at the next start" if older else ""
    yield ok("state", f"{directory}: the journal can be read{further}.")


def _free(settings: Settings, there: Path) -> Iterator[Finding]:
    free, least = shutil.disk_usage(there).free, int(settings.state.min_free)
    said = f"{settings.state.directory}: {free // 10**6} MB are free"
    if free >= least:
        yield ok("state", f"{said}, {least // 10**6} MB are needed.")
        return
    yield problem(
        "state",
        f"{said}, and with less than {least // 10**6} MB (state.min_free) no new folder is taken.",
        "Free some, or give state.directory a larger disk.",
    )


def _service(settings: Settings) -> Iterator[Finding]:
    """Whether it goes by what is installed and configured now."""
    try:
        report = running.report(settings)
    except OSError:
        return
    if not running.runs(report):
        yield attention("service", "The service is not running.", "sudo systemctl start casedrop")
        return
    runs = report.get("casedrop", "older")
    if runs != __version__:
        text = f"The running service is Casedrop {runs}, and {__version__} is installed."
        yield attention("service", text, "sudo systemctl restart casedrop")
    if names := running.outdated(settings):
        yield attention("service", outdated_words(names), "sudo systemctl reload casedrop")


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
