"""Installs the service on this server: what there is is looked at, then the steps of `installing` are done."""

import getpass
import grp
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path

from casedrop import config, config_files, installing, rights, roots
from casedrop.errors import ConfigurationError
from casedrop.installing import Found, NewDrop, Step, Wish
from casedrop.journal import NAME

Say = Callable[[str], None]

TOOLS = ("systemctl", "systemd-sysusers", "systemd-tmpfiles", "runuser")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_ROOT = (
    "Only root can install a service: run it with sudo. `--dry-run` shows to anybody what would be done."
)


def install(
    drops: Sequence[str],
    say: Say,
    *,
    under: Path,
    url: str,
    researchers: str,
    token_file: Path | None,
    start: bool,
    dry_run: bool,
) -> int:
    """Do each step, then `casedrop check`, whose exit code is returned.

    `drops` are NAME=STUDY. May be repeated: what is there is kept or made right. Raises ConfigurationError before
    anything is done, or with what was done and what was not.
    """
    _expect_root(dry_run=dry_run)
    settings = _settings()
    wish = Wish(
        program=rights.program(),
        shipped=shipped(),
        drops=tuple(_meant(text, under, settings) for text in drops),
        url=url or config.Platform().url,
        researchers=researchers,
        token_file=token_file,
        start=start,
    )
    found = _found(settings)
    _expect_fitting(wish, found, settings, dry_run=dry_run)
    steps = list(installing.steps(wish, found))
    last = installing.check(wish.program, own_token=found.own_token)
    if dry_run:
        _show([*steps, Step("Whether all is well.", last)], say)
        return 0
    token = _token(wish) if any(step.secret for step in steps) else ""
    warned = _do_all(steps, token, say)
    for text in [*warned, *_stays(wish, url, settings), *_next(wish, found)]:
        say(text)
    return _checked(last, wish, found, say)


def _checked(command: str, wish: Wish, found: Found, say: Say) -> int:
    """A reload, which `check` names, does not take new units: here it is a start, and said once."""
    ran = _shell(command)
    said = ran.stdout.replace(installing.RELOAD, installing.RESTART)
    say(f"{said}{ran.stderr}".strip())
    if found.runs_systemd and not wish.start and not re.search(r"systemctl (re)?start casedrop", said):
        say(f"Not started by this. When the check above is content: sudo {installing.RESTART}")
    return ran.returncode


def uninstall(say: Say, *, dry_run: bool) -> None:
    """Take away what `install` put there. Raises ConfigurationError as it does."""
    _expect_root(dry_run=dry_run)
    settings = None
    with suppress(ConfigurationError):  # what is wrong with it is no reason to stay
        settings = _settings()
    found = _found(settings)
    steps = list(installing.removal(found))
    if dry_run:
        _show(steps, say)
        return
    _do_all(steps, "", say)
    for line in installing.left(found, rights.program()):
        say(line)


def lent(environ: Mapping[str, str]) -> Mapping[str, str]:
    """With the token that systemd gives the service, where no other is named: root may open it, too."""
    if environ.get(config.TOKEN_VARIABLE) or environ.get("CREDENTIALS_DIRECTORY"):
        return environ
    token = _shell(installing.OPENED).stdout.strip()
    return {**environ, config.TOKEN_VARIABLE: token} if token else environ


def shipped() -> Path:
    """The units and their kin: in the package, or in the checkout it is used from."""
    packaged = Path(str(resources.files("casedrop"))) / "systemd"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "systemd"


def _expect_root(*, dry_run: bool) -> None:
    if os.geteuid() and not dry_run:
        raise ConfigurationError([NOT_ROOT])


def _settings() -> config.Settings | None:
    """What is configured already. Raises ConfigurationError where that is wrong."""
    return config.load(installing.CONFIG, {}) if os.path.exists(installing.CONFIG) else None


def _meant(text: str, under: Path, settings: config.Settings | None) -> NewDrop:
    name, _, study = text.partition("=")
    drops = settings.drops if settings else ()
    root = next((Path(drop.root) for drop in drops if drop.name == name), None)
    return NewDrop(name, study, root or under / name, known=root is not None)


def _found(settings: config.Settings | None) -> Found:
    return Found(
        config=settings is not None,
        roots=tuple(Path(drop.root) for drop in settings.drops) if settings else (),
        state=settings.state.directory if settings else installing.STATE,
        token=os.path.exists(installing.TOKEN) or os.path.exists(installing.SEALED),
        sealed=os.path.exists(installing.SEALED),
        own_token=bool(settings and settings.platform.token_file),
        aside=tuple(name for name in installing.SHIPPED_UNITS if _foreign(installing.UNITS / name)),
        instances=tuple(path.name for path in installing.UNITS.glob("*.target.wants/casedrop@*.service")),
        runs_systemd=Path("/run/systemd/system").is_dir(),
        seals=shutil.which("systemd-creds", path=PATH) is not None,
        acls=shutil.which("setfacl", path=PATH) is not None,
    )


def _foreign(unit: Path) -> bool:
    return os.path.exists(unit) and installing.MARK not in unit.read_text(errors="replace")


def _expect_fitting(wish: Wish, found: Found, settings: config.Settings | None, *, dry_run: bool) -> None:
    """Everything that would stop the installation half-way and can be known before."""
    problems = [f"{tool} is not there; this needs a server with systemd." for tool in TOOLS if _lacks(tool)]
    problems += [
        installing.wrong_place("The program's place", wish.program),
        installing.wrong_place("The program's Python", Path(sys.executable).resolve()),
    ]
    if not wish.program.exists():
        problems.append(
            f"{wish.program} is not there. Install into a virtual environment such as /opt/casedrop."
        )
    if not wish.drops and not found.roots:
        problems.append(
            "There is no drop yet. Name one: --drop NAME=STUDY, its reader study's slug behind it."
        )
    for drop in wish.drops:
        problems += [
            installing.wrong_name("A drop's name (--drop NAME=STUDY)", drop.name),
            _no_study(drop),
            installing.wrong_place(f'The root of "{drop.name}"', drop.root),
            _unmounted(drop, settings),
        ]
    if wish.researchers:
        problems += [_no_group(wish.researchers)]
    problems += [] if any(problems) else _would_be_wrong(wish, found)
    given = wish.token_file or found.token or found.own_token
    if not given and not dry_run and not sys.stdin.isatty():
        problems.append("There is nobody to ask for the token. Name a file that holds it: --token-file FILE.")
    if problems := list(dict.fromkeys(filter(None, problems))):
        raise ConfigurationError(problems)


def _would_be_wrong(wish: Wish, found: Found) -> list[str]:
    """Of the configuration as it will be: once it is written, nobody could install anything before mending it."""
    with tempfile.TemporaryDirectory() as hidden:
        there = Path(hidden) / installing.CONFIG.name
        pieces = there.parent / installing.PIECES.name
        pieces.mkdir()
        for piece in config_files.pieces(installing.CONFIG):
            shutil.copyfile(piece, pieces / piece.name)
        for drop in wish.drops:
            piece = pieces / installing.piece(drop).name
            if not drop.known and not piece.exists():
                piece.write_text(installing.rules(drop))
        if found.config:
            shutil.copyfile(installing.CONFIG, there)
        else:
            there.write_text(installing.SKELETON.format(url=wish.url))
        try:
            config.load(there, {})
        except ConfigurationError as error:
            return [text.replace(hidden, str(installing.CONFIG.parent)) for text in error.problems]
    return []


def _lacks(tool: str) -> bool:
    return shutil.which(tool, path=PATH) is None


def _no_study(drop: NewDrop) -> str:
    if drop.known:
        return ""
    if not drop.study:
        return f"There is no drop {drop.name} yet. Name its study, too: --drop {drop.name or 'NAME'}=STUDY"
    return installing.wrong_name("A study's slug (--drop NAME=STUDY)", drop.study)


def _unmounted(drop: NewDrop, settings: config.Settings | None) -> str:
    """A root that was in use is never made anew: its share may not be mounted."""
    used = settings is not None and drop.known and os.path.exists(settings.state.directory / NAME)
    if not used or os.path.exists(drop.root / roots.IDENTITY):
        return ""
    return (
        f"{drop.root} is no root of Casedrop. Is the share mounted? If it is a new one: casedrop init "
        f"--drop {drop.name}"
    )


def _no_group(name: str) -> str:
    try:
        grp.getgrnam(name)
    except KeyError:
        return f"There is no group {name!r}. Make it first: groupadd {shlex.quote(name)}"
    return ""


def _token(wish: Wish) -> str:
    """Out of the file, or typed unseen. Raises ConfigurationError."""
    problems: list[str] = []
    if wish.token_file:
        token = config.read_secret(wish.token_file, problems, private=False)
    else:
        token = getpass.getpass("API token of Grand Challenge (not shown): ").strip()
    if not problems and not re.fullmatch(r"[!-~]+", token):
        problems.append(
            'That is no token: it is one word, without "Bearer" before it. Run this again, or put the token into '
            f"a file: {installing.RENEW}"
        )
    if problems:
        raise ConfigurationError(problems)
    return token


def _show(steps: list[Step], say: Say) -> None:
    say("umask 022")
    for step in steps:
        say(f"\n# {step.what}\n{_typed(step)}")
        if step.instead:
            say("# Where that fails:")
            for one in step.instead:
                say("\n".join(f"# {line}" for line in _typed(one).splitlines()))


def _typed(step: Step) -> str:
    if not step.secret:
        return step.command
    return f"{step.command} {step.secret}" if step.secret[0] == "<" else f"{step.secret} {step.command}"


def _do_all(steps: list[Step], token: str, say: Say) -> list[str]:
    """What is to be said of it. Raises ConfigurationError at the first step that fails."""
    warned = []
    for number, step in enumerate(steps):
        why = _do(step, token)
        if why and (step.instead or step.said):
            warned.append(f"ATTENTION {step.said}")
            why = next(filter(None, (_do(one, token) for one in step.instead)), "")
        if why:
            raise ConfigurationError(list(_stopped(steps, number, why)))
        say(f"ok       {step.what}")
    return list(dict.fromkeys(warned))


def _stopped(steps: list[Step], number: int, why: str) -> Iterator[str]:
    step = steps[number]
    yield f"PROBLEM  {step.what} {why}"
    yield f"The command was: {step.command.splitlines()[0]}"
    if step.why:
        yield f"What it said last, by {step.why}:"
        yield from (f"  {line}" for line in _shell(step.why).stdout.splitlines())
    yield f"Done before: {number} of {len(steps)} steps. Not done:"
    yield from (f"  {step.what}" for step in steps[number:])
    yield "Put it right and run the same command again: it goes on from there."


def _do(step: Step, token: str) -> str:
    """Why it failed; "" if it did not."""
    ran = _shell(f"set -e\n{step.command}", token if step.secret else "")
    if ran.returncode == 0:
        return ""
    return " ".join((ran.stderr or ran.stdout or f"It ended with {ran.returncode}.").split())


def _shell(command: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    """The environment's own settings are those of whoever installs, not of the service."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(config.PREFIX)}
    return subprocess.run(  # noqa: S603 -- the steps are ours, and what people said stands quoted in them
        ["/bin/sh", "-c", command],
        check=False,
        text=True,
        errors="replace",
        input=given,
        capture_output=True,
        env=environ | {"PATH": PATH},
        umask=0o022,
        cwd="/",
    )


def _stays(wish: Wish, url: str, settings: config.Settings | None) -> Iterator[str]:
    """What was asked for otherwise than the configuration has it, which is kept."""
    if settings and url and url.rstrip("/") != settings.platform.url.rstrip("/"):
        yield f"ATTENTION platform.url stays {settings.platform.url}. To change it: {installing.CONFIG}"
    for drop in settings.drops if settings else ():
        there = drop.reader_study or drop.archive
        if any(one.study not in ("", there) for one in wish.drops if one.name == drop.name):
            yield f"ATTENTION {drop.name} still goes to {there}. To change that: the drop's rules."


def _next(wish: Wish, found: Found) -> Iterator[str]:
    if not found.runs_systemd:
        yield "ATTENTION systemd does not run here, so the service starts at the next boot."
    if wish.drops and not found.acls:
        yield f"ATTENTION {installing.WITHOUT_ACLS}"
    for drop in wish.drops:
        if not drop.known:
            yield f"The rules of {drop.name}, to be edited: {installing.piece(drop)}"
    if found.token and wish.token_file is None:
        yield "The token is the one that was there; --token-file FILE gives another."
    if wish.token_file and os.path.exists(installing.SEALED) and os.path.exists(installing.TOKEN):
        yield f"ATTENTION {installing.TOKEN} still holds a token in plain. To remove: rm {installing.TOKEN}"
