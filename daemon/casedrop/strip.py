"""The copy of an image file without what may name somebody, as a stream; the file itself is only read.

What is not packed is read through, never copied. What is packed is packed anew, into a file without a name that
goes with its last reader.
"""

import io
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from typing import IO, cast

from casedrop import metadata
from casedrop.edited import Edited
from casedrop.errors import CaseProblem, FolderChanged, Waits
from casedrop.metadata import Found
from casedrop.model import Problem, Weight

DAMAGED = Problem("damaged", "A packed file (.gz) is damaged. Copy or save it again.")
CUT_OFF = Problem("cut-off", "A packed file (.gz) looks cut off. Copy it again.", Weight.LACKING)

SPARE = 64 << 20
"""Bytes of the disk that copies and packed series leave free: the journal is written there."""

ROOM_SECONDS = 30.0


def without_metadata(source: io.RawIOBase) -> io.RawIOBase:
    """What is sent of `source`, which is closed with it. Raises FolderChanged where that cannot be made."""
    try:
        found = to_take_out(source)
    except FolderChanged:
        source.close()
        raise
    return copy_without(source, found)


def to_take_out(source: io.RawIOBase) -> Found:
    """What a copy of `source` is to be without. Raises FolderChanged where none can be made."""
    found = metadata.find(cast("IO[bytes]", source))
    if found.odd or found.fixed:
        raise FolderChanged("A file has other contents than when it settled.")
    return found


def copy_without(source: io.RawIOBase, found: Found) -> io.RawIOBase:
    """`source`, which is closed with it, without what was found; it is read from front to back.

    Raises CaseProblem where it is damaged, Waits where the disk has no room for a copy.
    """
    file = cast("IO[bytes]", source)
    if not found.packed:
        return Edited(file, found.spots)
    with source:
        copy = cast("io.RawIOBase", tempfile.TemporaryFile(buffering=0))  # noqa: SIM115
        try:
            for chunk in metadata.packed_anew(file, found):
                _expect_room()
                copy.write(chunk)
        except Waits:
            copy.close()
            raise
        except metadata.BROKEN as broken:
            copy.close()
            raise CaseProblem(CUT_OFF if isinstance(broken, EOFError) else DAMAGED) from None
    copy.seek(0)
    return copy


def _expect_room() -> None:
    """Asked before each piece: several copies grow at once, and how large one becomes shows only at its end."""
    directory = tempfile.gettempdir()
    if shutil.disk_usage(directory).free < SPARE:
        text = f"Waits for room in {directory}, where packed images are copied before they are sent."
        raise Waits(f"{text} Make room there.", ROOM_SECONDS)


class Once:
    """Opens what `source` opens; a copy it makes is made once and opened again for each part, in any thread."""

    def __init__(self, source: Callable[[], io.RawIOBase | io.BytesIO]) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._copy: io.RawIOBase | io.BytesIO | None = None

    def __call__(self) -> io.RawIOBase | io.BytesIO:
        with self._lock:
            if self._copy is None:
                opened = self._source()
                if isinstance(opened, Edited):  # not packed anew: nothing was made
                    return opened
                self._copy = opened
        descriptor = os.open(f"/proc/self/fd/{self._copy.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
        return os.fdopen(descriptor, "rb", buffering=0)
