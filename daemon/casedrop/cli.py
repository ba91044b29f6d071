"""The command line: thin, and quick to say what it can do; each command imports what it needs."""

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casedrop import __version__

if TYPE_CHECKING:
    from casedrop.config import Settings
    from casedrop.running import Report

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # to import rich takes as long as all the rest of --help
)

DEFAULT_CONFIG = "/etc/casedrop/casedrop.toml"
CONFIGURATION_EXIT = 78
HELD_EXIT = 75
SIGNAL_EXIT = 128

BUSY = (
    "The journal cannot be read or written now ({}): another program keeps it locked, or the disk is full or "
    "broken. Try again once that is over."
)
ROOT = (
    "Casedrop does not run as root: it reads files of many people, and needs no rights over them. Run it as a "
    "user of its own (the systemd unit does; by hand `sudo -u casedrop casedrop run`), or say --as-root to try it."
)

Config = Annotated[
    Path | None,
    typer.Option("--config", help=f"Configuration file; else $CASEDROP_CONFIG, else {DEFAULT_CONFIG}."),
]


def main() -> None:
    """Run the command line; what is wrong is said in words, never as a traceback."""
    from casedrop.errors import CasedropError, ConfigurationError  # noqa: PLC0415

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name the terminal has no letters for
    for command in app.registered_commands:
        command.short_help = command.callback and command.callback.__doc__  # whole, not cut to a line
    try:
        app()
    except ConfigurationError as error:
        for problem in error.problems:
            typer.echo(problem, err=True)
        sys.exit(CONFIGURATION_EXIT)
    except CasedropError as error:
        typer.echo(str(error), err=True)
        sys.exit(HELD_EXIT)
    except Exception as error:
        import sqlite3  # noqa: PLC0415

        if not isinstance(error, sqlite3.OperationalError):
            raise
        typer.echo(BUSY.format(error), err=True)
        sys.exit(HELD_EXIT)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"casedrop {__version__}")
        raise typer.Exit


@app.callback()
def casedrop(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_version)] = False,
) -> None:
    """Takes settled patient folders to Grand Challenge, and always says why."""


def _settings(config: Path | None) -> "Settings":
    from casedrop.config import load  # noqa: PLC0415

    return load(_file(config), os.environ)


def _file(config: Path | None) -> Path:
    return config or Path(os.environ.get("CASEDROP_CONFIG", DEFAULT_CONFIG))


def _environ(config: Path | None, settings: "Settings") -> Mapping[str, str]:
    """For what asks the platform: root need not name the token that the service is given."""
    if os.geteuid() or settings.platform.token_file or _file(config) != Path(DEFAULT_CONFIG):
        return os.environ
    from casedrop.install import lent  # noqa: PLC0415

    return lent(os.environ)


@app.command()
def init(
    config: Config = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Give roots of another (lost) journal to this one.")
    ] = False,
    only: Annotated[str, typer.Option("--drop", metavar="NAME", help="Only the root of this drop.")] = "",
) -> None:
    """Make each drop's root: drop/, done/, failed/ and the identity file. May be repeated."""
    from casedrop import roots  # noqa: PLC0415
    from casedrop.start import state_directory  # noqa: PLC0415

    settings = _settings(config)
    meant = [drop for drop in settings.drops if only in ("", drop.name)]
    if not meant:
        raise typer.BadParameter(f"There is no drop {only!r} in the configuration.")
    for drop in meant:
        try:
            made = roots.init(Path(drop.root))
        except OSError as error:
            typer.echo(f"{drop.root}: cannot be made ({error.strerror}).", err=True)
            raise typer.Exit(CONFIGURATION_EXIT) from None
        typer.echo(f"{drop.root}: {'made' if made else 'was there already'}")
        if take_over:
            from casedrop.journal import NAME, Journal  # noqa: PLC0415

            journal = Journal(state_directory(settings) / NAME)
            roots.take_over(Path(drop.root), journal.id, journal.starts(roots.root_id(Path(drop.root))))
            journal.close()
            typer.echo(f"{drop.root}: now belongs to this journal")


@app.command()
def install(
    drops: Annotated[
        list[str] | None,
        typer.Option(
            "--drop", metavar="NAME=STUDY", help="A drop, and its reader study's slug; may be repeated."
        ),
    ] = None,
    *,
    under: Annotated[Path, typer.Option(help="What the roots of new drops lie in.")] = Path("/srv/casedrop"),
    url: Annotated[str, typer.Option(help="The address of Grand Challenge's API.")] = "",
    researchers: Annotated[
        str, typer.Option(metavar="GROUP", help="May write in drop/ and failed/, and read the rest, by ACLs.")
    ] = "",
    token_file: Annotated[
        Path | None,
        typer.Option(help="Holds the API token; else it is asked for. /dev/stdin is a file, too."),
    ] = None,
    start: Annotated[
        bool, typer.Option("--start", help="Start the service, or again where it runs.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print each step, as a command.")] = False,
    remove: Annotated[
        bool, typer.Option("--uninstall", help="Remove the service; leave data, state and configuration.")
    ] = False,
) -> None:
    """Install the service on this server, as root. May be repeated."""
    from casedrop import install as installer  # noqa: PLC0415

    if remove:
        installer.uninstall(typer.echo, dry_run=dry_run)
        return
    code = installer.install(
        drops or [],
        typer.echo,
        under=under,
        url=url,
        researchers=researchers,
        token_file=token_file,
        start=start,
        dry_run=dry_run,
    )
    raise typer.Exit(code)


@app.command()
def run(
    config: Config = None,
    once: Annotated[
        bool, typer.Option("--once", help="Bring what is there now to its end, then stop.")
    ] = False,
    debug: Annotated[bool, typer.Option(help="More log lines.")] = False,
    as_root: Annotated[bool, typer.Option("--as-root", help="Run with all rights; only to try it.")] = False,
) -> None:
    """Run the service."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # kept until there is somebody to reload
    if os.geteuid() == 0 and not as_root:
        typer.echo(ROOT, err=True)
        raise typer.Exit(CONFIGURATION_EXIT)
    from casedrop.watch import ignore_lease_signals  # noqa: PLC0415

    ignore_lease_signals()
    from casedrop.start import serve  # noqa: PLC0415

    code = serve(lambda: _settings(config), os.environ, once=once, debug=debug)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a thread that hangs on a dead share must not keep the service from ending


@app.command()
def check(
    config: Config = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nothing of Grand Challenge.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all findings as JSON.")] = False,
) -> None:
    """Check the set-up: all that is wrong at once, each with what mends it."""
    import json  # noqa: PLC0415

    from casedrop import findings  # noqa: PLC0415
    from casedrop.errors import ConfigurationError  # noqa: PLC0415
    from casedrop.inspection import check_all, mistakes  # noqa: PLC0415

    try:
        settings = _settings(config)
    except ConfigurationError as error:
        found = mistakes(error, _file(config))
    else:
        found = check_all(settings, _file(config), _environ(config, settings), offline=offline)
    if as_json:
        typer.echo(json.dumps(findings.as_json(found), indent=2))
    else:
        for one in found:
            typer.echo(one.line)
    raise typer.Exit(findings.code(found))


@app.command()
def plan(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER or DROP[/NAME]")],
    *,
    config: Config = None,
    drop: Annotated[
        str, typer.Option(help="By the rules of this drop, for a folder that lies elsewhere.")
    ] = "",
    offline: Annotated[bool, typer.Option("--offline", help="Ask nothing of Grand Challenge.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan of a folder as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the plans of a drop as CSV.")] = False,
    show_patient: Annotated[
        bool, typer.Option("--show-patient", help="Show patients' names and numbers of DICOM series.")
    ] = False,
) -> None:
    """Say what a case folder, or each folder of a drop, would become, without touching anything."""
    from casedrop.planning import is_drop, meant, plan_folder  # noqa: PLC0415

    settings = _settings(config)
    if not os.path.exists(folder) and is_drop(settings, str(folder)):
        _plan_drop(settings, _environ(config, settings), str(folder), offline=offline, as_csv=as_csv)
    folder, of_drop = meant(settings, folder)
    text, good = plan_folder(
        settings,
        _environ(config, settings),
        folder,
        drop_name=drop or of_drop,
        offline=offline,
        as_json=as_json,
        show_patient=show_patient,
    )
    typer.echo(text)
    raise typer.Exit(0 if good else 1)


def _plan_drop(
    settings: "Settings", environ: Mapping[str, str], name: str, *, offline: bool, as_csv: bool
) -> None:
    """A line as soon as it is known: large folders take a while."""
    from casedrop import planning, rehearsal  # noqa: PLC0415
    from casedrop.reports import paragraph  # noqa: PLC0415

    rows = []
    for row in planning.plan_drop(settings, environ, name, offline=offline):
        rows.append(row)
        if not as_csv:
            typer.echo(rehearsal.line(row))
    said = (
        rehearsal.as_csv(rows)
        if as_csv
        else f"{rehearsal.summary(rows)}\n\n{paragraph(rehearsal.NOT_CHECKED)}"
    )
    typer.echo(said, nl=not as_csv)
    good = all(row.state in (rehearsal.SENT, rehearsal.LEFT_ALONE) for row in rows)
    raise typer.Exit(0 if good else 1)


@app.command()
def status(
    config: Config = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the status as JSON (docs/status.schema.json).")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it, until Ctrl-C.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Every folder that the status has.")] = False,
    health: Annotated[
        bool, typer.Option("--health", help="One line, and an exit code for uptime checks.")
    ] = False,
) -> None:
    """Say what every folder is doing, and why it waits."""
    import json  # noqa: PLC0415
    from contextlib import suppress  # noqa: PLC0415

    from casedrop import running  # noqa: PLC0415

    if as_json + watch + health > 1:
        raise typer.BadParameter("Say one of --json, --watch and --health.")
    settings, mistakes = _settings_or_mistakes(config)
    for text in mistakes:
        typer.echo(f"ATTENTION: {text}", err=as_json or health)
    if watch:
        from casedrop import live  # noqa: PLC0415

        _end_in_order()  # so that the cursor is shown again
        with suppress(KeyboardInterrupt):
            live.watch(settings, every=every)
    try:
        report = running.whole(settings)
    except OSError as error:
        typer.echo(running.no_status(settings, error), err=not health)
        raise typer.Exit(CONFIGURATION_EXIT if mistakes else HELD_EXIT) from None
    if health:
        _say_health(settings, report, mistaken=bool(mistakes))
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    elif not watch:
        from casedrop import live  # noqa: PLC0415

        live.once(report, every=every)
    raise typer.Exit(0 if running.runs(report) else HELD_EXIT)


def _end_in_order() -> None:
    """At SIGTERM, or SIGHUP unless nohup ignores it, taking away what is only meant for a while.

    Another of them ends none of that.
    """
    meant = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) != signal.SIG_IGN]

    def end(number: int, _: object) -> None:
        for one in meant:
            signal.signal(one, signal.SIG_IGN)
        sys.exit(SIGNAL_EXIT + number)

    for one in meant:
        signal.signal(one, end)


def _settings_or_mistakes(config: Path | None) -> tuple["Settings", list[str]]:
    """A service goes on by the configuration before one with mistakes, and its status can still be read."""
    from casedrop.config import salvaged  # noqa: PLC0415
    from casedrop.errors import ConfigurationError  # noqa: PLC0415

    try:
        return _settings(config), []
    except ConfigurationError as error:
        return salvaged(_file(config), os.environ), error.problems


def _say_health(settings: "Settings", report: "Report", *, mistaken: bool) -> None:
    import time  # noqa: PLC0415

    from casedrop.health import TROUBLE, WELL, health  # noqa: PLC0415
    from casedrop.running import runs  # noqa: PLC0415

    rescan = settings.settle.rescan_seconds
    code, line = health(report, time.time(), runs=runs(report), rescan_seconds=rescan)
    if mistaken and code == WELL:
        code, line = TROUBLE, "ATTENTION: the configuration has mistakes (`casedrop check` says which)"
    typer.echo(line)
    raise typer.Exit(code)


@app.command()
def notify(
    config: Config = None,
    test: Annotated[bool, typer.Option("--test", help="Send a test message to each [[notify]].")] = False,
) -> None:
    """Try whether messages arrive."""
    from casedrop.notify import test as try_all  # noqa: PLC0415

    if not test:
        raise typer.BadParameter("Say --test.")
    _say((well, f"{'ok      ' if well else 'PROBLEM '} {text}") for well, text in try_all(_settings(config)))


@app.command()
def accept(
    which: Annotated[str, typer.Argument(metavar="[DROP/NAME]")] = "",
    config: Config = None,
    every: Annotated[bool, typer.Option("--all", help="Every folder that waits for it.")] = False,
) -> None:
    """File a folder as done whose display set is there already, if the two are the same."""
    from casedrop.decisions import accept as decide  # noqa: PLC0415

    settings = _settings(config)
    _say(decide(settings, _environ(config, settings), which, every=every))


@app.command()
def retry(
    which: Annotated[str, typer.Argument(metavar="DROP/NAME or DROP with --all")],
    config: Config = None,
    every: Annotated[bool, typer.Option("--all", help="All failed folders of the drop.")] = False,
    reason: Annotated[str, typer.Option(help="Only those that failed for this reason (its word).")] = "",
) -> None:
    """Move failed folders back into drop/, or send what changed in a table, or make a deleted display set anew."""
    from casedrop.decisions import retry as decide  # noqa: PLC0415

    settings = _settings(config)
    found = decide(settings, _environ(config, settings), which, every=every, reason=reason)
    further = [(True, "`casedrop status --watch` shows how it goes on.")] if sys.stdout.isatty() else []
    _say(chain(found, further))


@app.command()
def release(
    which: Annotated[str, typer.Argument(metavar="[DROP or DROP/NAME]")] = "",
    config: Config = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every settled folder of every drop that asks.")
    ] = False,
) -> None:
    """Let settled folders go, where the drop asks for that (release = "ask")."""
    from casedrop import decisions  # noqa: PLC0415

    _say(decisions.release(_settings(config), which, every=every))


@app.command()
def pause(
    drop: Annotated[str, typer.Argument(help="Left out: all drops.")] = "",
    config: Config = None,
    every: Annotated[bool, typer.Option("--all", help="All drops.")] = False,
) -> None:
    """Stop a drop, or all, from sending until `resume`; what was sent is still confirmed and filed."""
    from casedrop import decisions  # noqa: PLC0415

    _say(decisions.pause(_settings(config), drop, every=every, paused=True))


@app.command()
def resume(
    drop: Annotated[str, typer.Argument(help="Left out: all drops.")] = "",
    config: Config = None,
    every: Annotated[bool, typer.Option("--all", help="All drops.")] = False,
) -> None:
    """Let a paused drop, or all of them, go on."""
    from casedrop import decisions  # noqa: PLC0415

    _say(decisions.pause(_settings(config), drop, every=every, paused=False))


@app.command()
def matrix(
    drop: str,
    config: Config = None,
    expected: Annotated[
        str, typer.Option(metavar="TABLE", help="A table of the drop: who and what is expected.")
    ] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="With the web addresses, as CSV.")] = False,
) -> None:
    """Say which patients and visits are done, failed, waiting or absent."""
    from casedrop import completeness, matrix  # noqa: PLC0415

    names, found = completeness.look(_settings(config), drop, expected)
    typer.echo((matrix.as_csv if as_csv else matrix.text)(names, found), nl=not as_csv)
    raise typer.Exit(0 if all(one.state == matrix.DONE for one in found.values()) else 1)


@app.command()
def schema() -> None:
    """Print the JSON schema of the configuration, by which editors complete and check it."""
    import json  # noqa: PLC0415

    from casedrop.config import schema as made  # noqa: PLC0415

    typer.echo(json.dumps(made(), indent=2))


@app.command()
def reasons() -> None:
    """Print the page of all reasons a folder can fail for (docs/REASONS.md)."""
    from casedrop.catalogue import page  # noqa: PLC0415

    typer.echo(page(), nl=False)


@app.command()
def keygen(file: Path) -> None:
    """Make the key of pseudonyms. It is never replaced: keep a copy of it apart."""
    from casedrop.pseudonym_key import make  # noqa: PLC0415
    from casedrop.pseudonyms import fingerprint  # noqa: PLC0415

    typer.echo(
        f"{file}: a new key, fingerprint {fingerprint(make(file))}. Keep a copy in a safe place: without it the "
        "next time point of a patient would get another title."
    )


@app.command()
def pseudonyms(
    drop: str,
    name: Annotated[str, typer.Argument(help="A folder's name, or a title or piece of one.")] = "",
    config: Config = None,
) -> None:
    """Say which folder has which title, and where it is. Only on this machine, only for those who may know."""
    from casedrop import look_back  # noqa: PLC0415

    found = look_back.pseudonyms(_settings(config), os.environ, drop, name)
    typer.echo("\n".join(found) or "No folder of this drop has that name or title.", err=not found)
    raise typer.Exit(0 if found else 1)


def _say(findings: Iterable[tuple[bool, str]]) -> None:
    """Each as it is known; 1 where one is not well."""
    good = True
    for ok, text in findings:
        typer.echo(text)
        good = good and ok
    raise typer.Exit(0 if good else 1)


@app.command()
def ledger(
    config: Config = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only what began since (UTC).", metavar="DATE")
    ] = None,
    patient: Annotated[str, typer.Option(help="Only folders or display sets of this name.")] = "",
    verify: Annotated[
        bool, typer.Option("--verify", help="Only say whether the ledger is whole and unchanged.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Every file that was sent, as CSV.")] = False,
) -> None:
    """Say what was sent to Grand Challenge, attempt by attempt."""
    from casedrop import outgoing  # noqa: PLC0415

    if verify:
        findings = outgoing.verify(_settings(config))
        _say([(ok, f"{'ok      ' if ok else 'PROBLEM '} {text}") for ok, text in findings])
    typer.echo(outgoing.listing(_settings(config), since, patient, as_csv=as_csv), nl=not as_csv)


@app.command()
def history(
    config: Config = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only what ended since (UTC).", metavar="DATE")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
) -> None:
    """Say what became of every folder, the newest last."""
    from casedrop.history import listing  # noqa: PLC0415

    typer.echo(listing(_settings(config), since, failed=failed, as_csv=as_csv), nl=not as_csv)


@app.command()
def where(name: str, config: Config = None) -> None:
    """Say where a patient's data went, for a withdrawal of consent: NAME is the folder's or display set's."""
    from casedrop.outgoing import where_is  # noqa: PLC0415

    text, found = where_is(_settings(config), name)
    typer.echo(text)
    raise typer.Exit(0 if found else 1)


@app.command()
def backup(file: Path, config: Config = None) -> None:
    """Write journal, ledger, keys and configuration into FILE (.tar.gz), while the service runs."""
    import time  # noqa: PLC0415

    from casedrop.backup import make  # noqa: PLC0415

    _end_in_order()  # so that no copies are left
    for text in make(_settings(config), _file(config), file, time.time()):
        typer.echo(text)


@app.command()
def restore(
    file: Annotated[Path | None, typer.Argument(help="A backup; without it, the journal's own copy.")] = None,
    config: Config = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also where there is a journal; it is kept beside the backup's.")
    ] = False,
) -> None:
    """Put a backup back, or the journal's own copy when the journal is damaged. Stop the service first."""
    if file:
        _restore(file, _file(config), replace=replace)
        return
    from casedrop import start  # noqa: PLC0415

    aside = start.restore(_settings(config))
    typer.echo(
        f"The copy is in the journal's place; what was there is {aside.name} beside it. Start the service: it "
        "looks each unfinished folder up on Grand Challenge before it does anything."
    )


def _restore(file: Path, config: Path, *, replace: bool) -> None:
    import time  # noqa: PLC0415

    from casedrop import restoring  # noqa: PLC0415
    from casedrop.config import load  # noqa: PLC0415

    def read(path: Path) -> "Settings":
        return load(path, os.environ)

    for text in restoring.put_back(file, config, read, replace=replace, now=time.time()):
        typer.echo(text)
    typer.echo(
        "Give the token again where it is missing, see what `casedrop check` says, then start the service: it "
        "looks each unfinished folder up on Grand Challenge before it does anything."
    )


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the folders there to look around.")] = False,
) -> None:
    """Watch Casedrop work on a Grand Challenge of its own, in about 20 seconds."""
    with _with_the_extra():
        from casedrop.demo import show  # noqa: PLC0415
    raise typer.Exit(show(keep=keep))


@app.command()
def sandbox(port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1.")] = 8765) -> None:
    """Run a local Grand Challenge to try rules against."""
    with _with_the_extra():
        from casedrop.sandbox.serve import serve  # noqa: PLC0415
    serve(port)


@contextmanager
def _with_the_extra() -> Iterator[None]:
    """The sandbox's libraries are no part of a plain installation."""
    try:
        yield
    except ModuleNotFoundError as missing:
        typer.echo(
            f"This needs the extra demo ({missing.name} is not installed): pip install '.[demo]'", err=True
        )
        raise typer.Exit(CONFIGURATION_EXIT) from None
