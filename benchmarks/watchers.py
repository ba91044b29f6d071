"""Who hears what stirs below a folder, each in a process of its own: Casedrop's wake-up, and inotify read raw.

    python benchmarks/watchers.py casedrop|raw FOLDER

Says "ready", and once its input ends and nothing stirs any more, its processor time since then.
"""

import ctypes
import os
import select
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

MASK = 0x100 | 0x80 | 0x40 | 0x200 | 0x8
"""inotify(7): IN_CREATE, IN_MOVED_TO, IN_MOVED_FROM, IN_DELETE and IN_CLOSE_WRITE."""
ISDIR = 0x40000000
HEADER = struct.Struct("iIII")
STILL = 0.5
"""Seconds without an event after which there is none any more."""


class Raw:
    """As little as it takes to hear of every name in folders that come meanwhile."""

    def __init__(self, folder: Path, heard: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_CLOEXEC)
        self._folders: dict[int, bytes] = {}
        self._heard = heard
        self._watch(os.fsencode(folder))
        threading.Thread(target=self._read, daemon=True).start()

    def _watch(self, folder: bytes) -> None:
        self._folders[self._libc.inotify_add_watch(self._inotify, folder, MASK)] = folder
        for below in os.scandir(folder):
            if below.is_dir(follow_symlinks=False):
                self._watch(below.path)

    def _read(self) -> None:
        while True:
            events, at = os.read(self._inotify, 1 << 16), 0
            while at < len(events):
                watch, mask, _, length = HEADER.unpack_from(events, at)
                at += HEADER.size + length
                if mask & ISDIR and mask & 0x180:
                    name = events[at - length : at].rstrip(b"\0")
                    self._watch(self._folders[watch] + b"/" + name)
            self._heard()


def casedrop(folder: Path, heard: Callable[[], None]) -> object:
    from casedrop.wake import Wake  # noqa: PLC0415  not in the process of the other

    return Wake(str(folder), heard)


WAYS: dict[str, Callable[[Path, Callable[[], None]], object]] = {"casedrop": casedrop, "raw": Raw}


def main() -> None:
    last = [time.monotonic()]

    def heard() -> None:
        last[0] = time.monotonic()

    kept = WAYS[sys.argv[1]](Path(sys.argv[2]), heard)
    before = time.process_time()
    print("ready", flush=True)
    select.select([sys.stdin], [], [])
    while time.monotonic() - last[0] < STILL:
        time.sleep(STILL / 5)
    print(time.process_time() - before, flush=True)
    del kept
    os._exit(0)


if __name__ == "__main__":
    main()
