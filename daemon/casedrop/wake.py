"""A wake-up when something stirs: events say when to look again, never what is there."""

import ctypes
import errno
import os
import select
from collections.abc import Callable

import structlog
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify import InotifyObserver

HEARD: list[type[FileSystemEvent]] = [
    FileCreatedEvent, DirCreatedEvent, FileMovedEvent, DirMovedEvent, FileDeletedEvent, DirDeletedEvent,
    FileClosedEvent,
]  # fmt: skip
"""Names that come, move or go, and files that were written and closed. Not what our own reading causes, and not
each piece that is written: a large file has thousands, and each costs its way through three threads of watchdog's.
"""
NAMES = 0x3C0
"""inotify(7): IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE and IN_DELETE."""

_libc = ctypes.CDLL(None, use_errno=True)


def events_arrive(directory: str, stir: Callable[[], None], seconds: float = 2) -> bool:
    """Whether inotify tells what `stir` changes in the directory.

    Raises OSError where a limit of inotify is met, and what `stir` raises.
    """
    descriptor = _system(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    try:
        _system(_libc.inotify_add_watch(descriptor, os.fsencode(directory), NAMES))
        stir()
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def _system(answer: int) -> int:
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer


class Wake(FileSystemEventHandler):
    """Calls back when something stirs below a folder. Only a wake-up: the scan is the truth."""

    def __init__(self, path: str, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._observer: InotifyObserver | None = None
        try:
            observer = InotifyObserver()  # already this meets the limit of instances
            observer.schedule(self, path, recursive=True, event_filter=HEARD)
            observer.start()
            self._observer = observer
        except OSError as error:
            structlog.get_logger().warning(
                "no events; rescans only", why=os.strerror(error.errno or errno.EIO)
            )

    def on_any_event(self, _: FileSystemEvent) -> None:
        self._wake()

    def stop(self) -> None:
        if self._observer:
            self._observer.stop()
