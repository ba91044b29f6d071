"""Sends messages to one address, in a thread of its own.

An address holds passwords, and what apprise says of a failure may quote it: no word of either is passed on.
"""

import logging
import queue
import re
import threading
import time
from contextlib import suppress

import structlog

from casedrop.notices import Message

TIMEOUT = 30.0
"""Seconds after which a message that is not through counts as not sent."""
PAUSES = (10.0, 60.0, 300.0)
"""Seconds between the tries at a message."""
KEPT = 10
"""Messages that wait while another is tried again."""
ENDING = 5.0
"""Seconds that the end of the service waits for messages."""


def usable(address: str) -> bool:
    """Whether apprise can make something of it; nothing is sent. Raises ModuleNotFoundError without apprise."""
    from apprise import Apprise  # noqa: PLC0415

    _be_silent()
    return bool(Apprise().add(address))


def send(address: str, message: Message) -> str:
    """Why it was not sent, "" where it was. Waits at most `TIMEOUT`."""
    import apprise  # noqa: PLC0415

    _be_silent()
    said: list[apprise.NotifyLogEntry] = []
    memory = apprise.PersistentStoreMode.MEMORY
    asset = apprise.AppriseAsset(
        app_id="Casedrop", app_desc="Casedrop", async_mode=False, storage_mode=memory
    )
    service = apprise.Apprise(asset=asset)
    if not service.add(address):
        return "apprise can make nothing of the address"
    begun = time.monotonic()
    taken = service.notify(
        message.body,
        message.title,
        apprise.NotifyType.WARNING if message.trouble else apprise.NotifyType.INFO,
        body_format=apprise.NotifyFormat.TEXT,
        timeout=TIMEOUT,
        log_callback=lambda entry, _: said.append(entry),
    )
    if taken:
        return ""
    if time.monotonic() - begun >= TIMEOUT:
        return f"no answer within {TIMEOUT:.0f} s"
    found = re.search(r"\berror\s?=\s?(\d{3})\b", " ".join(one.message for one in said))
    return f"the service answered {found[1]}" if found else "it was not reached, or did not take it"


def _be_silent() -> None:
    """Its own log quotes addresses."""
    logging.getLogger("apprise").propagate = False


class Notifier:
    """`post` never waits; a message that cannot be sent is tried again, and then given up."""

    def __init__(self, called: str, address: str, pauses: tuple[float, ...] = PAUSES) -> None:
        self._called = called
        self._address = address
        self._pauses = pauses
        self._messages: queue.Queue[Message | None] = queue.Queue(KEPT)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=called, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def post(self, message: Message) -> None:
        try:
            self._messages.put_nowait(message)
        except queue.Full:
            self._say("message given up", why=f"{KEPT} others wait")

    def stop(self) -> None:
        """Each message that waits is tried once more."""
        self._stopping.set()
        with suppress(queue.Full):
            self._messages.put_nowait(None)

    def wait(self, deadline: float) -> None:
        """Until it has stopped, at most until then (time.monotonic)."""
        self._thread.join(max(deadline - time.monotonic(), 0.0))

    def _run(self) -> None:
        while message := self._messages.get():
            for pause in (*self._pauses, None):
                if not (why := self._tried(message)):
                    break
                if pause is None or self._stopping.is_set():
                    self._say("message given up", why=why)
                    break
                self._say("message not sent", why=why, again_after=pause)
                self._stopping.wait(pause)

    def _tried(self, message: Message) -> str:
        try:
            return send(self._address, message)
        except Exception as error:  # noqa: BLE001  a plugin of apprise's must not end the thread
            structlog.get_logger().error("message surprised us", to=self._called, exc_info=error)
            return "a fault in apprise"

    def _say(self, event: str, **facts: object) -> None:
        structlog.get_logger().warning(event, to=self._called, **facts)
