"""Bad lines: a TCP proxy before the sandbox, for its requests and its storage alike; and an HTTP proxy."""

import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

PIECE = 1 << 14
LONGEST = 60.0
"""Seconds of a pause."""
Harm = Callable[[], bool]
"""Done to a line at its moment; whether the line is to end."""


@dataclass(slots=True)
class Trap:
    """Springs once, at the `after`-th byte (up: to the server) that one line carries from now on."""

    up: bool
    after: int
    harm: Harm
    sprung: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """`with Proxy(port) as proxy`: `proxy.port` leads to `port`; every line is good until told otherwise."""

    def __init__(self, port: int) -> None:
        self.rate = 0.0
        """Bytes a second of each line and direction; 0 for as fast as it goes."""
        self.sent: list[bytes] = []
        """All that went up, in pieces."""
        self._to = port
        self._traps: list[Trap] = []
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._listening.close()

    def cut(self, *, up: bool, after: int) -> threading.Event:
        return self._set(up, after, lambda: True)

    def stall(self, *, up: bool, after: int) -> threading.Event:
        """The line stays open and carries nothing more until the end of the test."""
        return self._set(up, after, lambda: self._released.wait() or True)

    def pause(self, *, up: bool, after: int, until: threading.Event) -> threading.Event:
        """The line carries nothing more until then, and goes on."""
        return self._set(up, after, lambda: not until.wait(LONGEST))

    def _set(self, up: bool, after: int, harm: Harm) -> threading.Event:
        trap = Trap(up, after, harm)
        with self._lock:
            self._traps.append(trap)
        return trap.sprung

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            for up, source, target in ((True, near, far), (False, far, near)):
                threading.Thread(target=self._carry, args=(up, source, target), daemon=True).start()

    def _carry(self, up: bool, source: socket.socket, target: socket.socket) -> None:
        counts: dict[int, int] = {}
        try:
            while piece := source.recv(PIECE):
                if up:
                    self.sent.append(piece)
                if trap := self._springs(up, len(piece), counts):
                    half = len(piece) // 2
                    target.sendall(piece[:half])
                    if trap.harm():
                        return
                    piece = piece[half:]
                target.sendall(piece)
                if self.rate:
                    time.sleep(len(piece) / self.rate)
        except OSError:
            pass
        finally:
            for line in (source, target):
                _end(line)

    def _springs(self, up: bool, size: int, counts: dict[int, int]) -> Trap | None:
        with self._lock:
            for trap in [one for one in self._traps if one.up == up]:
                counts[id(trap)] = counts.get(id(trap), 0) + size
                if counts[id(trap)] > trap.after:
                    self._traps.remove(trap)
                    trap.sprung.set()
                    return trap
        return None


class Connecting:
    """`with Connecting() as proxy`: an HTTP proxy at `proxy.url` that knows CONNECT alone."""

    def __init__(self) -> None:
        self.wants = ""
        """The user and password it asks for, as user:password."""
        self.refuses = 0
        """The status with which it answers each request that is allowed, 0 for none."""
        self.heads: list[str] = []
        """All that was asked of it."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (piece := near.recv(1)):
            head += piece
        self.heads.append(head.decode())
        wanted = f"Basic {b64encode(self.wants.encode()).decode()}"
        status = 407 if self.wants and wanted not in head.decode() else self.refuses
        if status:
            page = b"<html><body>Not through here.</body></html>"
            start = f"HTTP/1.1 {status} No\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n\r\n"
            near.sendall(start.encode() + page)
            _end(near)
            return
        host, _, port = head.split()[1].decode().rpartition(":")
        far = socket.create_connection((host.strip("[]"), int(port)))
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        for source, target in ((near, far), (far, near)):
            threading.Thread(target=_carried, args=(source, target), daemon=True).start()


def _carried(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
    for line in (source, target):
        _end(line)


def _end(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
    line.close()
