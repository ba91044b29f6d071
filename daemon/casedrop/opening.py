"""How anything in a case folder is opened: step by step, never through a link that was swapped in meanwhile."""

import errno
import os
import stat

LONGEST = 4096
"""Bytes of a path (PATH_MAX of Linux): what is nested deeper cannot be named by others either."""

FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def directory(folder: str, path: str = "") -> int:
    """A descriptor of `folder`, or of the directory `path` below it. Raises OSError."""
    if len(os.fsencode(path)) > LONGEST:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), os.path.join(folder, path))
    try:
        at = os.open(folder, FLAGS | os.O_DIRECTORY)
        for name in filter(None, path.split("/")):
            at = _step(at, name, FLAGS | os.O_DIRECTORY)
    except OSError as error:
        raise _named(error, folder, path) from None
    return at


def regular(folder: str, path: str) -> int:
    """A descriptor of a regular file below `folder`. Raises OSError, EINVAL where it is something else."""
    above, _, name = path.rpartition("/")
    at = directory(folder, above)
    try:
        found = _step(at, name, FLAGS)
    except OSError as error:
        raise _named(error, folder, path) from None
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.EINVAL, "not a regular file", os.path.join(folder, path))
    return found


def _step(at: int, name: str, flags: int) -> int:
    """From a directory, which is closed, to what it holds."""
    try:
        return os.open(name, flags, dir_fd=at)
    finally:
        os.close(at)


def _named(error: OSError, folder: str, path: str) -> OSError:
    """With the whole path, of which a step knows its last name."""
    return OSError(error.errno, error.strerror, os.path.join(folder, path))
