"""How anything in a case folder is opened: step by step, never through a link that was swapped in meanwhile."""

import errno
import os
import stat

LONGEST = 4096
"""Bytes of a path (PATH_MAX of Linux): what is nested deeper cannot be named by others either."""

MOST_OPEN = 64
"""Directories of one folder that are held open, those above the last one; a process may hold 1024 files."""

FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def directory(folder: str, path: str = "") -> int:
    """A descriptor of `folder`, or of the directory `path` below it. Raises OSError."""
    _expect_nameable(folder, path)
    try:
        at = os.open(folder, FLAGS | os.O_DIRECTORY)
        for name in filter(None, path.split("/")):
            at = _step(at, name)
    except OSError as error:
        raise _named(error, folder, path) from None
    return at


class Directories:
    """Of one folder, in the order of a walk: each is opened from its parent, while that is still open.

    Not from the top, which for deeply nested folders takes the square of their depth.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._parents: list[tuple[str, int]] = []

    def at(self, path: str) -> int:
        """A descriptor of the directory `path`; it is closed by one of the next calls. Raises OSError."""
        above, _, name = path.rpartition("/")
        while self._parents and self._parents[-1][0] != above:
            os.close(self._parents.pop()[1])
        found = self._below(path, name) if self._parents and path else directory(self._folder, path)
        self._parents.append((path, found))
        if len(self._parents) > MOST_OPEN:
            os.close(self._parents.pop(0)[1])
        return found

    def _below(self, path: str, name: str) -> int:
        _expect_nameable(self._folder, path)
        try:
            return os.open(name, FLAGS | os.O_DIRECTORY, dir_fd=self._parents[-1][1])
        except OSError as error:
            raise _named(error, self._folder, path) from None

    def close(self) -> None:
        for _, descriptor in self._parents:
            os.close(descriptor)


def regular(folder: str, path: str) -> int:
    """A descriptor of a regular file below `folder`. Raises OSError, EINVAL where it is something else."""
    above, _, name = path.rpartition("/")
    at = directory(folder, above)
    try:
        return regular_in(at, name)
    except OSError as error:
        raise _named(error, folder, path) from None
    finally:
        os.close(at)


def regular_in(at: int, name: str) -> int:
    """A descriptor of a regular file in an open directory. Raises OSError like `regular`."""
    found = os.open(name, FLAGS, dir_fd=at)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.EINVAL, "not a regular file", name)
    return found


def _step(at: int, name: str) -> int:
    """From a directory, which is closed, to one that it holds."""
    try:
        return os.open(name, FLAGS | os.O_DIRECTORY, dir_fd=at)
    finally:
        os.close(at)


def _expect_nameable(folder: str, path: str) -> None:
    if len(os.fsencode(path)) > LONGEST:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), os.path.join(folder, path))


def _named(error: OSError, folder: str, path: str) -> OSError:
    """With the whole path, of which a step knows its last name."""
    return OSError(error.errno, error.strerror, os.path.join(folder, path))
