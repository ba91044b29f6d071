"""The status page in a drop's root: one of the few files there that are ours, and only if it says so."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from casedrop.writing import write_anew

NAME = "casedrop-status.html"
HIDDEN = f".{NAME}.tmp"
MARK = "<!doctype html>\n<!-- Made by Casedrop, which writes this file anew all the time. -->\n"
"""How the page begins; a file that does not is somebody else's and stays."""


class ForeignError(Exception):
    """Something that is not ours has the page's name."""


def write(root: Path, text: str, expect_root: Callable[[Path], None]) -> None:
    """Replace the page in `root`, whole or not at all, by `text`, which begins with MARK.

    `expect_root` is asked about the very directory that is written to, so that a share unmounted meanwhile is
    never written beside. Raises what that raises, ForeignError, or OSError.
    """
    with _within(root, expect_root) as here:
        write_anew(here / HIDDEN, text, here.stat())
        expect_ours(here)
        (here / HIDDEN).replace(here / NAME)


def remove(root: Path, expect_root: Callable[[Path], None]) -> None:
    """Take the page of ours away, if there is one, whole or half; as `write` else."""
    with _within(root, expect_root) as here:
        for name in (NAME, HIDDEN):
            (here / name).unlink(missing_ok=True)


@contextmanager
def _within(root: Path, expect_root: Callable[[Path], None]) -> Iterator[Path]:
    """The directory itself, whatever is mounted on its name meanwhile, once it and the page are ours."""
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        here = Path(f"/proc/self/fd/{directory}")
        expect_root(here)
        expect_ours(here)
        yield here
    finally:
        os.close(directory)


def expect_ours(root: Path) -> None:
    """Raise ForeignError unless nothing bears the page's name, or a page of ours does."""
    try:
        descriptor = os.open(root / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:  # a link, a socket, a file that may not be read
        raise ForeignError from error
    try:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if not regular or os.read(descriptor, len(MARK)) != MARK.encode():
            raise ForeignError
    finally:
        os.close(descriptor)


def foreign(root: Path) -> str:
    """What is said of it."""
    return (
        f"{root / NAME} is not Casedrop's, so it is left alone and there is no status page. Give it another name, "
        'or set page = "off" for this drop.'
    )
