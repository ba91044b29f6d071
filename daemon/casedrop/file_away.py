"""One rename to done/ or failed/, with a receipt or a reason beside it.

Order: the text is written and fsynced as a hidden file in the target, the folder is renamed, the text is
renamed, both directories are fsynced. The name and the folder's inode are journalled before, so a restart
goes by the names on disk. A receipt for people comes after all of that: nothing depends on it.
"""

import ctypes
import errno
import hashlib
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from casedrop.errors import FolderChanged
from casedrop.writing import write_anew

RENAME_NOREPLACE = 1
AT_FDCWD = -100
LONGEST = 255
"""Bytes in a file name (POSIX NAME_MAX of Linux file systems)."""

SUFFIXES = {"done": ".receipt.json", "failed": ".reason.txt"}
FOR_PEOPLE = ".receipt.txt"
LATE = ".late.txt"
OWN_TEXTS = (*SUFFIXES.values(), FOR_PEOPLE, LATE)
"""How the names of texts end that lie beside folders in done/ and failed/."""

_libc = ctypes.CDLL(None, use_errno=True)


def free_name(target: Path, folder: str, now: float) -> str:
    """The folder's name, with a UTC suffix where the target already has that folder or a text of it."""
    texts = (SUFFIXES[target.name], *((FOR_PEOPLE,) if target.name == "done" else ()))
    stamp = datetime.fromtimestamp(now, UTC).strftime(" %Y%m%dT%H%M%SZ")
    for ending in ("", stamp, *(f"{stamp}-{number}" for number in range(2, 100))):
        name = shortened(folder, ending)
        if not any(map(os.path.lexists, (target / name, *(beside(target, name, one) for one in texts)))):
            return name
    raise FileExistsError(errno.EEXIST, "no free name")


def beside(target: Path, name: str, suffix: str) -> Path:
    """The text that belongs to a folder's name; a name too long for the suffix is cut and told apart."""
    return target / shortened(name, suffix)


def shortened(name: str, suffix: str) -> str:
    whole = os.fsencode(name)
    room = LONGEST - len(os.fsencode(suffix))
    if len(whole) <= room:
        return name + suffix
    mark = "~" + hashlib.sha256(whole).hexdigest()[:8]
    return os.fsdecode(whole[: room - len(mark)]) + mark + suffix


def file_away(source: Path, target: Path, name: str, identity: tuple[int, int], text: str) -> None:
    """Bring folder and text to their names in `target`; what is already there is not done again.

    `identity` is the folder's (device, inode), as journalled. Raises FolderChanged where neither name
    holds that folder, FileExistsError where the name is taken by another, OSError where a rename fails.
    """
    suffix = SUFFIXES[target.name]
    hidden = _hidden(target, name)
    final = beside(target, name, suffix)
    if not os.path.lexists(final):
        write_anew(hidden, text, _looks(source) or _looks(target / name))
    if not is_folder(target / name, identity):
        if not is_folder(source, identity):
            hidden.unlink(missing_ok=True)
            raise FolderChanged("The folder is no longer where it was.")
        _rename_or_clear(source, target / name, hidden)
    if hidden.exists():
        rename(hidden, final)
    for directory in (target, source.parent):
        fsync_directory(directory)


def _rename_or_clear(source: Path, target: Path, hidden: Path) -> None:
    try:
        rename(source, target)
    except OSError:
        hidden.unlink(missing_ok=True)
        raise


def write_beside(target: Path, name: str, suffix: str, text: str) -> None:
    """A text of ours beside a folder, written whole or not at all; one that is there is replaced."""
    hidden = _hidden(target, name + suffix)
    write_anew(hidden, text, _looks(target / name))
    hidden.replace(beside(target, name, suffix))
    fsync_directory(target)


def write_once(target: Path, name: str, suffix: str, text: str) -> None:
    """As `write_beside`, but whatever bears that name already stays."""
    hidden, final = _hidden(target, name + suffix), beside(target, name, suffix)
    if not os.path.lexists(final):
        write_anew(hidden, text, _looks(target / name))
        with suppress(FileExistsError):
            rename(hidden, final)
    hidden.unlink(missing_ok=True)
    fsync_directory(target)


def forget_texts(target: Path, name: str) -> None:
    """Remove the reason and the late note of a folder that has left; receipts are never touched."""
    if not os.path.lexists(target / name):
        for suffix in (SUFFIXES["failed"], LATE):
            beside(target, name, suffix).unlink(missing_ok=True)


def is_folder(path: Path, identity: tuple[int, int]) -> bool:
    """Whether `path` is the very folder of (device, inode); an inode of 0 is one that is not known.

    Mounted anew, a disk may have another device number: what counts is that the folder is on its parent's.
    """
    try:
        found, around = path.lstat(), path.parent.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not identity[1] or (found.st_dev, found.st_ino) == (around.st_dev, identity[1])


def rename(source: Path, target: Path) -> None:
    """renameat2 with RENAME_NOREPLACE: a plain rename silently replaces an empty directory."""
    names = (AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target))
    if _libc.renameat2(*names, RENAME_NOREPLACE) == 0:
        return
    code = ctypes.get_errno()
    if code not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(code, os.strerror(code))
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    source.rename(target)


def fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _looks(folder: Path) -> os.stat_result | None:
    with suppress(OSError):
        return folder.lstat()
    return None


def _hidden(target: Path, name: str) -> Path:
    return target / f".casedrop-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}.tmp"
