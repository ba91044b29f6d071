"""What systemd is told: that the service is ready, alive, loading anew or stopping, and how things are.

PyPI's clients are unmaintained or need C headers, and the protocol is one datagram (sd_notify(3)).
"""

import socket
import time
from collections.abc import Mapping


class Manager:
    """Silent where nobody listens; a socket that fails, or takes nothing now, stops nobody."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ` has NOTIFY_SOCKET and WATCHDOG_USEC where systemd started the process for such a unit."""
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watched = bool(environ.get("WATCHDOG_USEC"))
        self._ready = self._reloads = False
        self._said = ""

    def alive(self) -> None:
        """At the end of each turn of the loop: the first tells that the service is ready."""
        if not self._ready:
            self._ready = self._send("READY=1")
        if self._watched:
            self._send("WATCHDOG=1")

    def says(self, line: str) -> None:
        """What `systemctl status` shows; told only when it changes."""
        line = " ".join(line.split())
        if line != self._said and self._send(f"STATUS={line}"):
            self._said = line

    def reloading(self) -> None:
        """`systemctl reload` waits until the service is ready again: this one, or what it becomes by exec."""
        self._reloads = True
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def goes_on(self) -> None:
        """As before the reload, which changes nothing."""
        self._ready = self._reloads = False

    def stopping(self) -> None:
        """Not where the process ends its work only to load anew."""
        if not self._reloads:
            self._send("STOPPING=1")

    def _send(self, message: str) -> bool:
        """Whether it was taken."""
        if not self._address:
            return False
        abstract = self._address.startswith("@")
        address = "\0" + self._address[1:] if abstract else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(message.encode(), address)
        except (OSError, ValueError):
            return False
        return True


NOBODY = Manager({})
