"""The voxels of an image while they go by: whether they are as many as its header says, and which values. Pure."""

import array
import sys
from collections.abc import Iterable
from typing import IO

from casedrop.model import PlannedFile, PlannedSocket, Problem
from casedrop.near import shown
from casedrop.unpacking import PACKED, Check, Unpacking, cut_off
from casedrop.volumes import FROM_THE_END, HEAD, Volume, volume

BLOCK = 1 << 16
"""Bytes of voxels that are looked at together: those of a mask are mostly background."""
MOST_VALUES = 100
"""Values that are no segments, after which no more are looked for."""
NAMED = 5


def shorter(path: str, held: int, said: int) -> Problem:
    return cut_off(path, f"it holds {held} bytes of voxels, and its header says {said}")


class Voxels:
    """An image that may be packed outside (.nii.gz) or inside (.mha, .nrrd); its header may be a file `apart`."""

    def __init__(self, file: PlannedFile, socket: PlannedSocket, check: Check, apart: Volume | None) -> None:
        self._file = file
        self._socket = socket
        self._known_values = {0, *socket.segments}
        self._outside = Unpacking(self._unpacked, check) if file.path.lower().endswith(PACKED) else None
        self._inside = Unpacking(self._count, check)
        self._head = b""
        self._begun = False
        self._volume: Volume | None = None
        self._skip = 0
        self._held = 0
        self._rest = b""
        self._found: set[float] = set()
        if apart:
            self._begin(apart)

    @property
    def wants(self) -> bool:
        """A gzip to its end, for its checksum; else voxels, where they are packed or to be looked at."""
        if self._outside or not self._begun:
            return True
        return self._volume is not None and (self._volume.packed or self._looks)

    @property
    def _looks(self) -> bool:
        known = self._volume is not None and self._volume.code != ""
        return known and bool(self._socket.segments) and len(self._found) < MOST_VALUES

    def add(self, chunk: bytes) -> None:
        if self.wants:
            (self._outside.add if self._outside else self._unpacked)(chunk)

    def problems(self, _: IO[bytes]) -> list[Problem]:
        if not self._begun and self._head:
            self._begin(volume(self._name, self._head))
        path, known = self._file.path, self._volume
        found = self._outside.problems(path, "the gzip") if self._outside else []
        if not found and known and known.packed:
            found = self._inside.problems(path, "the packing of its voxels")
        unread = self._inside.unread or (self._outside and self._outside.unread)
        if known and not found and not unread and (known.packed or self._outside) and self._held < known.size:
            found = [shorter(path, self._held, known.size)]
        return found + self._strange()

    @property
    def _name(self) -> str:
        """What is passed on of a .nii.gz is a .nii."""
        return self._file.path.lower().removesuffix(".gz")

    def _unpacked(self, chunk: bytes) -> None:
        if self._begun:
            self._pass_on(chunk)
            return
        self._head += chunk
        if len(self._head) >= HEAD:
            self._begin(volume(self._name, self._head))

    def _begin(self, known: Volume | None) -> None:
        self._begun = True
        if known is None or known.start is None or not known.size:
            return
        self._volume = known
        behind = self._file.size - known.size
        self._skip = max(behind, 0) if known.start == FROM_THE_END else known.start
        head, self._head = self._head, b""
        self._pass_on(head)

    def _pass_on(self, chunk: bytes) -> None:
        skipped = min(self._skip, len(chunk))
        self._skip -= skipped
        if self._volume and skipped < len(chunk):
            (self._inside.add if self._volume.packed else self._count)(chunk[skipped:])

    def _count(self, chunk: bytes) -> None:
        assert self._volume is not None
        chunk = chunk[: self._volume.size - self._held]
        self._held += len(chunk)
        if not self._looks:
            return
        chunk = self._rest + chunk
        width = array.array(self._volume.code).itemsize
        whole = len(chunk) // width * width
        self._rest = chunk[whole:]
        for at in range(0, whole, BLOCK):
            self._look(chunk[at : min(at + BLOCK, whole)])

    def _look(self, block: bytes) -> None:
        assert self._volume is not None
        if self._volume.code == "B":
            block = block.translate(None, bytes(one for one in self._known_values if one in range(256)))
        if not self._looks or block == bytes(len(block)):
            return
        voxels = array.array(self._volume.code, block)
        if self._volume.order != ("<" if sys.byteorder == "little" else ">"):
            voxels.byteswap()
        self._found |= set(voxels) - self._known_values

    def _strange(self) -> list[Problem]:
        if not self._found:
            return []
        slug, allowed = self._socket.socket, _numbers(self._known_values)
        text = (
            f'{shown(self._file.path)} holds {_numbers(self._found)}, and the socket "{slug}" takes only '
            f"{allowed} (its segments on Grand Challenge). Save the mask with these, or ask the data manager to "
            "have the segment added."
        )
        return [Problem("voxel-values", text)]


def _numbers(found: Iterable[float]) -> str:
    """``the voxel values 2, 3 and 7 more``: the smallest."""
    named = [f"{value:.10g}" for value in sorted(found)]
    more = len(named) - NAMED
    said = ", ".join(named[:NAMED]) + (f" and {more} more" if 0 < more < MOST_VALUES - NAMED else "")
    said += " and more" if more >= MOST_VALUES - NAMED else ""
    return f"the voxel value{'' if len(named) == 1 else 's'} {said}"
