"""What the programs are given, and how they end."""

import argparse
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TERMINATED, INTERRUPTED = 143, 130


def count(text: str) -> int:
    """At least one."""
    found = int(text)
    if found < 1:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return found


def share(text: str) -> float:
    """More than nothing."""
    found = float(text)
    if not 0 < found < float("inf"):
        raise argparse.ArgumentTypeError("it must be more than 0")
    return found


def file(text: str) -> Path:
    """One that can be written, which is tried at once."""
    try:
        Path(text).open("a").close()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"it cannot be written ({error.strerror})") from None
    return Path(text)


def named(rows: dict[str, str]) -> Callable[[str], str]:
    """The name of a row."""

    def row(text: str) -> str:
        if text not in rows:
            raise argparse.ArgumentTypeError(f"there is no row {text}, but {', '.join(rows)}")
        return text

    return row


def parser(about: str | None, rows: dict[str, str]) -> argparse.ArgumentParser:
    """One that tells of each row what it is."""
    told = "\n".join(f"  {name:15}{text}" for name, text in rows.items())
    made = argparse.ArgumentParser(
        description=about, epilog=f"rows:\n{told}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("rows", nargs="*", metavar="ROW", type=named(rows), help="all unless given")
    return made


@contextmanager
def place() -> Iterator[Path]:
    """A directory for all that is written, also by programs that are started: it is gone however this one ends."""
    logging.disable()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    with tempfile.TemporaryDirectory(prefix="casedrop-benchmark-", ignore_cleanup_errors=True) as made:
        os.environ["TMPDIR"] = tempfile.tempdir = made
        try:
            yield Path(made)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except OSError as error:
            sys.exit(f"{error.filename or made}: {error.strerror}. TMPDIR says where there is more room.")
