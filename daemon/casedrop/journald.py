"""Events to systemd's journal as fields of their own, so that `journalctl -u casedrop CASE=P001` finds them.

The native protocol: a datagram of lines ``FIELD=value``; a value with line breaks as the field's name, a line
break, its length as 64 bits little endian, and the value (https://systemd.io/JOURNAL_NATIVE_PROTOCOL).
"""

import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TextIO

SOCKET = "/run/systemd/journal/socket"
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""syslog's."""
OWN = {"event", "level", "why"}
"""Facts of an event that do not stand among the others in its sentence."""


def connected(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether what is written to `stream` goes to the journal (JOURNAL_STREAM holds its device and inode)."""
    with suppress(OSError, ValueError):
        found = os.fstat(stream.fileno())
        return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
    return False


class Journal:
    """A structlog logger; what cannot be sent as fields is written as a line by `otherwise`."""

    def __init__(self, otherwise: Callable[[str], None], path: str = SOCKET) -> None:
        self._otherwise = otherwise
        self._path = path

    def __call__(self, *_: object) -> "Journal":
        return self

    def msg(self, **event: Any) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(datagram(event), self._path)
        except OSError:
            self._otherwise(json.dumps(event, default=str))

    debug = info = warning = error = critical = exception = msg


def datagram(event: Mapping[str, Any]) -> bytes:
    """MESSAGE (a sentence), PRIORITY, and each fact under its name in capitals; of a list each item."""
    level = PRIORITIES.get(event.get("level", ""), PRIORITIES["info"])
    found = {"MESSAGE": sentence(event), "PRIORITY": level, "SYSLOG_IDENTIFIER": "casedrop"}
    facts = {_field(key): value for key, value in event.items() if key != "level"}
    return b"".join(_lines(found | {key: value for key, value in facts.items() if key not in found}))


def sentence(event: Mapping[str, Any]) -> str:
    """``drop held (drop=lung): The share is not mounted.``"""
    facts = ", ".join(f"{key}={_text(value)}" for key, value in event.items() if key not in OWN)
    words = f"{event.get('event', '')} ({facts})" if facts else str(event.get("event", ""))
    return f"{words}: {event['why']}" if event.get("why") else words


def _field(key: str) -> str:
    """The journal takes letters, digits and `_`, and no name that begins with one of the latter two."""
    return re.sub(r"[^A-Z0-9_]", "_", key.upper()).lstrip("_0123456789")[:64]


def _lines(fields: Mapping[str, Any]) -> Iterator[bytes]:
    for name, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            data = _text(item).encode(errors="replace")
            if name and b"\n" in data:
                yield name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
            elif name:
                yield name.encode() + b"=" + data + b"\n"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
