"""How small texts are written: whole, and on the disk before anybody goes by them."""

import os
import stat
from contextlib import suppress
from pathlib import Path

READERS = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


def write_anew(path: Path, text: str, like: os.stat_result | None = None) -> None:
    """Whatever else bears that name, a link above all, is not written through. Raises OSError.

    Those who may read the directory `like` may read the text, and only its owner may write it.
    """
    path.unlink(missing_ok=True)
    with path.open("x", encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.write(text)
        file.flush()
        if like and stat.S_ISDIR(like.st_mode):
            _show_to_readers_of(like, file.fileno())
        os.fsync(file.fileno())


def _show_to_readers_of(like: os.stat_result, descriptor: int) -> None:
    with suppress(OSError):  # a group that this user is no member of, a file system that has none
        os.fchown(descriptor, -1, like.st_gid)
    with suppress(OSError):
        os.fchmod(descriptor, (like.st_mode & READERS) | stat.S_IRUSR | stat.S_IWUSR)


def give_like_directory(path: Path) -> None:
    """Root makes files for others: what lies in a directory is its owner's, as if that one had made it."""
    if os.geteuid() == 0:
        around = path.parent.stat()
        os.chown(path, around.st_uid, around.st_gid, follow_symlinks=False)
