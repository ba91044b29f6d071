"""From settings to a running service: state directory, token, logs, signals."""

import errno
import fcntl
import os
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from casedrop import journal, journald, logs, reach
from casedrop.config import Settings, read_token, token_origin
from casedrop.errors import ConfigurationError, SetupProblem
from casedrop.lines import Told, news
from casedrop.meter import SILENT, Meter
from casedrop.naming import expect_same_key, read_key
from casedrop.notify import Desk, read_addresses
from casedrop.pseudonyms import fingerprint
from casedrop.reload import AGAIN, HANGUP, Reload, run_again
from casedrop.service import Service
from casedrop.systemd import Manager
from casedrop.writing import give_like_directory

PRIVATE = 0o077
"""The journal, the ledger and packed series are for the service's user alone; what others may read says so."""

DAMAGED, FAULT = 78, 70
"""Exit codes (sysexits.h): systemd starts the service again after a fault only."""


def serve(load: Callable[[], Settings], environ: Mapping[str, str], *, once: bool, debug: bool) -> int:
    """Run until stopped; the exit code of `casedrop run`. `load` reads the configuration, and raises."""
    settings = load()
    os.umask(PRIVATE)
    token, pseudonym_key, addresses = _secrets(settings, environ)
    directory = state_directory(settings)
    lock = locked(directory)
    tempfile.tempdir = str(directory)  # copies of images are nobody else's, and /tmp may be memory
    names = logs.configure(
        sys.stderr,
        names=settings.logs.names,
        key=logs.name_key(directory),
        debug=debug,
        secrets=(token, *addresses, *reach.secrets(settings), pseudonym_key.hex() if pseudonym_key else ""),
        journal=journald.connected(sys.stderr, environ),
    )
    meter = _meter(settings)
    service = Service(settings, _token_source(settings, environ, token), names, pseudonym_key, meter)
    service.goes_on = os.environ.pop(AGAIN, "") != ""
    manager = service.manager = Manager(environ)
    expect_same_key(service.journal, pseudonym_key)
    if pseudonym_key is not None:
        service.journal.keep_pseudonym_key(fingerprint(pseudonym_key))
    reload = Reload(settings, partial(_loaded, load, environ, service), service.stop, service.refuse)
    stop_on_signals(reload.never, None if once or sys.stderr.isatty() else partial(_ask, manager, reload))
    desk = Desk(settings, addresses, names.of)
    service.tell = _telling(desk.tell) if once and sys.stdout.isatty() else desk.tell
    try:
        code = service.run(once=once)
    except Exception as error:  # noqa: BLE001  raised further it would meet threads that hang, and never end
        return ended_by(error, directory / journal.NAME)
    finally:
        desk.stop()
        os.close(lock)
    if reload.wanted:
        try:
            run_again(reload)
        except OSError as error:
            structlog.get_logger().error("cannot run again", why=os.strerror(error.errno or errno.EIO))
            return FAULT
    return code


def _ask(manager: Manager, reload: Reload) -> None:
    manager.reloading()
    reload.ask()


def _loaded(load: Callable[[], Settings], environ: Mapping[str, str], service: Service) -> Settings:
    """One that a start would take, too, and that leaves no folder behind. Raises ConfigurationError."""
    settings = load()
    _, pseudonym_key, _ = _secrets(settings, environ)
    expect_same_key(service.journal, pseudonym_key)
    service.expect_none_left(settings)
    return settings


def _secrets(settings: Settings, environ: Mapping[str, str]) -> tuple[str, bytes | None, list[str]]:
    """The token, the key of pseudonyms, and where messages go. Raises ConfigurationError with all mistakes."""
    problems: list[str] = []
    token, key = "", None
    addresses: list[str] = []
    with _noting(problems):
        token = read_token(settings, environ)
    with _noting(problems):
        key = read_key(settings, environ)
    with _noting(problems):
        addresses = read_addresses(settings)
    with _noting(problems):
        reach.route(settings)
    if problems:
        raise ConfigurationError(problems)
    return token, key, addresses


@contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        problems += error.problems


def _meter(settings: Settings) -> Meter:
    if settings.metrics.port is None:
        return SILENT
    from casedrop.exporter import Exporter  # noqa: PLC0415
    from casedrop.metrics import Metrics  # noqa: PLC0415

    metrics = Metrics([drop.name for drop in settings.drops])
    Exporter(metrics.page, settings.metrics.port).start()
    return metrics


def _telling(others: Callable[[Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any]], None]:
    """Print each change for the person who watches a run that ends by itself, and tell the others."""
    told: Told = {}

    def tell(report: Mapping[str, Any]) -> None:
        others(report)
        for line in news(report, report["time"], told, runs=True):
            with suppress(OSError):  # the terminal is gone
                print(line, flush=True)  # noqa: T201

    return tell


def stop_on_signals(stop: Callable[[], None], reload: Callable[[], None] | None = None) -> None:
    """Have a thread call `stop` at each SIGTERM and SIGINT, and `reload`, where there is one, at each SIGHUP.

    No handler does it: one runs in the middle of whatever the main thread does, also while that holds the lock
    of the event that is to be set, and then waits for itself for ever. So a signal only writes into a pipe.
    """
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    meant: dict[int, Callable[[], None]] = {signal.SIGTERM: stop, signal.SIGINT: stop}
    if reload:
        meant[signal.SIGHUP] = reload

    def wait() -> None:
        while number := os.read(receiver, 1):
            meant.get(number[0], lambda: None)()

    threading.Thread(target=wait, daemon=True).start()
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    for number in meant:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANGUP)


def ended_by(error: Exception, path: Path) -> int:
    """The exit code of a service that cannot go on: another start mends a fault, but not a damaged journal."""
    log = structlog.get_logger()
    if type(error) is sqlite3.DatabaseError:  # its subclasses say other things
        log.error("stopped", why=journal.unusable(path, error))
        return DAMAGED
    log.error("stopped by a fault in Casedrop", exc_info=error)
    return FAULT


def state_directory(settings: Settings) -> Path:
    """The state directory, made for us alone where it is missing. Raises ConfigurationError."""
    directory = settings.state.directory
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            [f"state.directory {directory} cannot be made ({error.strerror})."]
        ) from None
    return directory


def restore(settings: Settings) -> Path:
    """Put the journal's copy in its place; where the journal that was there is now.

    Raises SetupProblem while a service runs, ConfigurationError where there is no good copy.
    """
    directory = state_directory(settings)
    lock = locked(directory)
    try:
        return journal.restore(directory / journal.NAME, time.time())
    finally:
        os.close(lock)


def _token_source(settings: Settings, environ: Mapping[str, str], token: str) -> Callable[[], str]:
    """A token file is read again at every request, so that a renewed token needs no restart."""
    if token_origin(settings, environ) != "file":
        return lambda: token

    def source() -> str:
        try:
            return read_token(settings, environ)
        except ConfigurationError as error:
            raise SetupProblem(str(error)) from None

    return source


def locked(directory: Path) -> int:
    """One service per state directory; the lock goes with the process, however it ends.

    Raises ConfigurationError, or SetupProblem while another has it.
    """
    path = directory / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_like_directory(path)
    except OSError as error:
        raise ConfigurationError(
            [f"state.directory {directory} is not writable ({error.strerror})."]
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise SetupProblem(
            f"Another Casedrop service (process {holder}) uses {directory}. Stop it, or give this one a state "
            "directory of its own."
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor
