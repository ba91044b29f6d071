"""The configured [[notify]]: its addresses, what each is told, and `casedrop notify --test`."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import structlog

from casedrop.config import Notify, Settings, read_secret
from casedrop.errors import ConfigurationError
from casedrop.near import several
from casedrop.notices import Days, Message, News, Outbox, digest
from casedrop.notifier import ENDING, Notifier, send, usable
from casedrop.watch import boot_clock

MISSING = "[[notify]] needs the extra notify (apprise is not installed): pip install '.[notify]'"


def called(number: int) -> str:
    """As the log and the messages about the configuration name it; from 0."""
    return f"notify number {number + 1}"


def read_addresses(settings: Settings) -> list[str]:
    """The address of each [[notify]]. Raises ConfigurationError with all that is wrong, which shows none."""
    problems: list[str] = []
    addresses = [read_secret(one.url_file, problems, what="the address") for one in settings.notify]
    try:
        for number, (one, address) in enumerate(zip(settings.notify, addresses, strict=True)):
            if address and not usable(address):
                problems.append(
                    f"{called(number)}: apprise can make nothing of the address in {one.url_file}. It takes such "
                    "as mailtos://… and json://…; its own documentation tells them all."
                )
    except ModuleNotFoundError:
        problems.append(MISSING)
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    return addresses


class Desk:
    """Shows each report of the service to all who are to be told."""

    def __init__(self, settings: Settings, addresses: list[str], hide: Callable[[str], str]) -> None:
        self._news = News(hide)
        self._targets = [
            _Target(one, Notifier(called(number), address))
            for number, (one, address) in enumerate(zip(settings.notify, addresses, strict=True))
        ]
        self._broken = False

    def tell(self, report: Mapping[str, Any]) -> None:
        """Never waits and never raises: folders are sent all the same."""
        try:
            found, now = self._news.of(report), boot_clock()
            for target in self._targets:
                target.outbox.put((one for one in found if target.wants(one.kind, one.drop)), now)
                target.turn(report, now)
            self._broken = False
        except Exception as error:  # noqa: BLE001  the service must not stop for a message
            if not self._broken:
                structlog.get_logger().error("notices surprised us", exc_info=error)
            self._broken = True

    def stop(self) -> None:
        """Send what waits, for a few seconds in all."""
        deadline = time.monotonic() + ENDING
        for target in self._targets:
            target.stop(boot_clock())
        for target in self._targets:
            target.notifier.wait(deadline)


class _Target:
    def __init__(self, wanted: Notify, notifier: Notifier) -> None:
        self._wanted = wanted
        self.notifier = notifier
        self._days = Days(wanted.digest_hour)
        self.outbox = Outbox(wanted.per_hour)
        notifier.start()

    def wants(self, kind: str, drop: str) -> bool:
        return kind in self._wanted.on and (not self._wanted.drops or drop in ("", *self._wanted.drops))

    def turn(self, report: Mapping[str, Any], now: float) -> None:
        if message := self.outbox.due(now):
            self.notifier.post(message)
        if self._days.due(report["time"]):
            drops = [drop for drop in report["drops"] if self.wants("digest", drop["name"])]
            if drops:
                self.notifier.post(digest(drops))

    def stop(self, now: float) -> None:
        if message := self.outbox.due(now, ending=True):
            self.notifier.post(message)
        self.notifier.stop()


def test(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Send a message to each target; whether it was taken, and a sentence. Raises ConfigurationError."""
    if not settings.notify:
        raise ConfigurationError(
            ["There is no [[notify]] in the configuration, so nobody is told of anything."]
        )
    for number, (one, address) in enumerate(zip(settings.notify, read_addresses(settings), strict=True)):
        of = several(one.drops) if one.drops else "all drops"
        body = f"This is a test. Messages of {of} come here on: {', '.join(one.on)}."
        why = send(address, Message("Casedrop: test", body))
        yield not why, f"{called(number)} ({one.url_file}): {f'not sent, {why}' if why else 'sent'}."


def words(settings: Settings) -> list[tuple[bool, str]]:
    """What `casedrop check` says: whether it is well, and a sentence. Nothing is sent."""
    if not settings.notify:
        return []
    try:
        count = len(read_addresses(settings))
    except ConfigurationError as error:
        return [(False, problem) for problem in error.problems]
    return [(True, f"Messages go to {count} of [[notify]]; `casedrop notify --test` tries them.")]
