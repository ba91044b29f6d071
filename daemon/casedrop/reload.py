"""A new configuration for a service that runs.

Once it is known to be good, the service ends as at any stop and the process runs the program again, as the same
process. So a reload does nothing that a restart does not do: cases under way go on by the plans that the journal
holds. A bad configuration changes nothing. Neither does a good one while a thread hangs in the kernel, on a share
that does not answer: the process could not run another program before that thread ends.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import structlog

from casedrop.config import Settings
from casedrop.errors import ConfigurationError

HANGUP = frozenset({signal.SIGHUP})
AGAIN = "_CASEDROP_AGAIN"
"""The variable that tells the program that it runs again."""

PATIENCE = 5.0
"""Seconds after which a share is said to hang."""
HANGS = (
    "A share or disk does not answer, and what waits for it cannot be ended. Once it answers again, say "
    "`systemctl reload casedrop` once more."
)
FAULT = "It could not be read because of a fault in Casedrop; its log says where."


class Reload:
    """`ask` looks at the new configuration beside the loop; `wanted` says that the program is to run again."""

    def __init__(
        self,
        running: Settings,
        load: Callable[[], Settings],
        stop: Callable[[bool], None],
        refused: Callable[[str], None],
    ) -> None:
        """`load` raises ConfigurationError; `refused` is told why, and "" where the new one is taken.

        `stop` is told whether the program is to run again.
        """
        self._taken = self._over = self._asked = False
        self._running = running
        self._load = load
        self._stop = stop
        self._refused = refused
        self._one_at_a_time = threading.Lock()

    def ask(self) -> None:
        """At once, in a thread of its own: what a configuration names may lie on a share that hangs."""
        if not self._asked:
            self._asked = True
            threading.Thread(target=self._look, name="reload", daemon=True).start()

    def never(self) -> None:
        """The service is to stop, also where it was about to run again."""
        self._over = True
        self._stop(False)

    @property
    def wanted(self) -> bool:
        return self._taken and not self._over

    def _look(self) -> None:
        with self._one_at_a_time:
            self._asked = False
            if self._over or self._taken:
                return
            try:
                self._take()
            except ConfigurationError as error:
                for problem in error.problems:
                    structlog.get_logger().error("new configuration not taken", why=problem)
                self._refused(" ".join(error.problems))
            except Exception as error:  # noqa: BLE001  a surprise in a file must not go unsaid
                structlog.get_logger().error("new configuration not taken", exc_info=error)
                self._refused(FAULT)

    def _take(self) -> None:
        expect_answers(drop.root for drop in self._running.drops)
        new = self._load()
        expect_same_state(self._running, new)
        expect_answers(drop.root for drop in new.drops)
        changed = changes(self._running, new)
        structlog.get_logger().info("takes the new configuration", changed=changed or "nothing")
        self._refused("")
        self._taken = True
        self._stop(True)


def expect_same_state(running: Settings, new: Settings) -> None:
    """Raises ConfigurationError: another state directory is another journal, which knows of no case."""
    if new.state.directory != running.state.directory:
        text = (
            f"state.directory cannot change from {running.state.directory} to {new.state.directory} while the "
            "service runs: its journal is there. Stop the service, move the directory, and start it."
        )
        raise ConfigurationError([text])


def expect_answers(roots: Iterable[str]) -> None:
    """Raises ConfigurationError where a share hangs: a thread that waits for it would hold up the new program."""
    looks = [threading.Thread(target=_look_at, args=(root,), daemon=True) for root in roots]
    until = time.monotonic() + PATIENCE
    for look in looks:
        look.start()
    for look in looks:
        look.join(max(until - time.monotonic(), 0))
    if any(look.is_alive() for look in looks):
        raise ConfigurationError([HANGS])


def _look_at(root: str) -> None:
    with suppress(OSError):
        os.statvfs(root)  # unlike stat, never answered from what a client of a share remembers


def changes(old: Settings, new: Settings) -> list[str]:
    """Which options differ, by name alone, as values may be private: ``limits.cases``, ``drops.lung (new)``."""
    found = [*_differing((), _tables(old), _tables(new))]
    return [".".join(path) + what for path, what in found]


def _tables(settings: Settings) -> dict[str, Any]:
    """With drops by their names; of a drop its fields."""
    tables = {name: dict(table) for name, table in settings if name not in ("drops", "notify")}
    drops = {drop.name: {name: getattr(drop, name) for name in drop.__slots__} for drop in settings.drops}
    return tables | {"drops": drops, "notify": settings.notify}


def _differing(path: tuple[str, ...], old: Any, new: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        if old != new:
            yield path, ""
        return
    for name in _in_order(old, new):
        if name in old and name in new:
            yield from _differing((*path, name), old[name], new[name])
        else:
            yield (*path, name), " (new)" if name in new else " (gone)"


def _in_order(*names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for found in names for name in found))


def run_again(reload: Reload) -> None:
    """The same command in this process, unless it is to stop by now. Raises OSError.

    A hangup that comes meanwhile is kept until it is listened to again; the other signals end the process. Some
    libraries leave descriptors open for the next program, inotify's among them: there are few of those.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, HANGUP)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if not reload.wanted:
        return
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the listing itself
            os.set_inheritable(int(name), int(name) <= sys.stderr.fileno())
    sys.stdout.flush()
    sys.stderr.flush()
    program = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, program, os.environ | {AGAIN: "1"})  # noqa: S606
