"""Who hears what stirs below a root's drop/, each in a process of its own.

    python benchmarks/watchers.py wake|raw|scan ROOT

`wake` is Casedrop's wake-up alone, `raw` the least that reads inotify, `scan` the scanner, which looks when woken.
Each says "ready". Once its input ends and nothing stirs any more (`scan`: after another look), it tells in JSON
its processor time since then (cpu, seconds), what the scanner's last look at each folder saw (names), and whether
the kernel's queue had run over.
"""

import ctypes
import json
import logging
import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

MASK = 0x100 | 0x80 | 0x40 | 0x200 | 0x8
"""inotify(7): IN_CREATE, IN_MOVED_TO, IN_MOVED_FROM, IN_DELETE and IN_CLOSE_WRITE; Wake hears the same."""
APPEARS, FOLDER = 0x180, 0x40000000
"""IN_CREATE or IN_MOVED_TO; IN_ISDIR."""
HEADER = struct.Struct("iIII")
STILL = 0.5
"""Seconds without an event after which there is none any more."""
QUIET, RESCAN, INCOMPLETE = 8.0, 8.0, 900.0
"""Seconds; the service looks again after 30 by default, here nobody wants to wait for that."""

Heard = Callable[[], None]


class Raw:
    """Hears of every name, in folders that come meanwhile, too."""

    def __init__(self, drop: Path, heard: Heard) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_CLOEXEC)
        self._folders: dict[int, bytes] = {}
        self._heard = heard
        self._watch(os.fsencode(drop))
        threading.Thread(target=self._read, daemon=True).start()

    def _watch(self, folder: bytes) -> None:
        self._folders[self._libc.inotify_add_watch(self._inotify, folder, MASK)] = folder
        with os.scandir(folder) as found:
            for below in found:
                if below.is_dir(follow_symlinks=False):
                    self._watch(below.path)

    def _read(self) -> None:
        while True:
            events, at = os.read(self._inotify, 1 << 16), 0
            while at < len(events):
                watch, mask, _, length = HEADER.unpack_from(events, at)
                at += HEADER.size + length
                if mask & FOLDER and mask & APPEARS:
                    name = events[at - length : at].rstrip(b"\0")
                    self._watch(self._folders[watch] + b"/" + name)
            self._heard()


def raw(root: Path, heard: Heard) -> dict[str, list[str]]:
    Raw(root / "drop", heard)
    return {}


def wake(root: Path, heard: Heard) -> dict[str, list[str]]:
    from casedrop.wake import Wake  # noqa: PLC0415  not in the process of the other

    Wake(str(root / "drop"), heard)
    return {}


def scan(root: Path, _: Heard) -> dict[str, list[str]]:
    """The real scanner; what it saw is told by the listings that it asked for."""
    from casedrop import roots, watch  # noqa: PLC0415
    from casedrop.model import Drop, Listing  # noqa: PLC0415
    from casedrop.scan import ScanLimits, Scanner  # noqa: PLC0415

    (root / roots.IDENTITY).touch()
    seen: dict[str, list[str]] = {}
    real = watch.list_folder

    def list_folder(path: str, there: watch.FileSystem | None = None) -> Listing:
        found = real(path, there)
        seen[found.folder] = [f"{found.folder}/{one.path}" for one in found.entries]
        return found

    watch.list_folder = list_folder
    looked = threading.Event()
    limits = ScanLimits(QUIET, RESCAN, INCOMPLETE)
    Scanner(Drop("lung", str(root), "lung-2026", ()), limits, looked.set).start()
    looked.wait()
    return seen


WAYS: dict[str, Callable[[Path, Heard], dict[str, list[str]]]] = {"wake": wake, "raw": raw, "scan": scan}


class Overflows(logging.Handler):
    """Counts what watchdog logs of a queue that ran over."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "overflow" in record.msg


def main(way: str, root: str) -> None:
    overflows, last = Overflows(), [time.monotonic()]
    logging.getLogger("watchdog").addHandler(overflows)

    def heard() -> None:
        last[0] = time.monotonic()

    seen = WAYS[way](Path(root), heard)
    before = time.process_time()
    print("ready", flush=True)
    sys.stdin.read()
    time.sleep(1.5 * RESCAN if way == "scan" else 0)
    while time.monotonic() - last[0] < STILL:
        time.sleep(STILL / 5)
    names = [name for listed in seen.values() for name in listed]
    told = {"cpu": time.process_time() - before, "names": names, "overflow": bool(overflows.count)}
    print(json.dumps(told), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
