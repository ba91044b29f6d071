"""What only the whole of a file tells, while it goes by on its way to the checksums. Pure.

Whether gzip, zip and packed voxels are whole (their own checksums), whether voxels are as many as the header says
and a mask's are its socket's segments, whether JSON parses. Memory does not grow with the file. Not looked at:
what comes after the first MOST_UNPACKED bytes that an archive holds, entries of a zip that are not deflated or
stored (their unpackers know no bound), and JSON larger than MOST_JSON.
"""

import zipfile
from typing import IO, Protocol

from casedrop import unpacking
from casedrop.model import PlannedFile, PlannedSocket, Problem
from casedrop.near import shown
from casedrop.unpacking import (
    PACKED,
    PIECE,
    BrokenZipError,
    Check,
    Unpacking,
    broken_zip,
    cut_off,
    damaged,
    is_cut_zip,
)
from casedrop.values import ValueProblemError, document
from casedrop.volumes import Volume, volume
from casedrop.voxels import Voxels

MOST_JSON = 16 << 20
"""What it parses to may be twenty times as large."""
MOST_MEMBERS = 100_000
BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Inside(Protocol):
    """`add` is given the file from front to back, as long as it `wants` more; `problems` is asked at the end."""

    @property
    def wants(self) -> bool: ...
    def add(self, chunk: bytes) -> None: ...
    def problems(self, source: IO[bytes]) -> list[Problem]: ...


def of(socket: PlannedSocket, file: PlannedFile, check: Check) -> Inside | None:
    """What looks into this file of the socket, None where its bytes tell no more than its header.

    `check` is called again and again while much is unpacked.
    """
    lower = file.path.lower()
    if file.content is not None or file.packed or not file.size:
        return None
    if lower.endswith(".zip"):
        return Zip(file.path, check)
    if lower.endswith(".json"):
        return Json(file.path, file.size)
    apart = _header_apart(socket)
    if apart or lower.endswith((".mha", ".nii", ".nii.gz", ".nrrd")):
        return Voxels(file, socket, check, apart)
    return Gzip(file.path, check) if lower.endswith(PACKED) else None


def _header_apart(socket: PlannedSocket) -> Volume | None:
    """That of an .mhd, whose data is another file."""
    header = socket.files[0]
    return volume(header.path, header.content.encode("latin-1")) if header.content is not None else None


class Gzip:
    wants = True

    def __init__(self, path: str, check: Check) -> None:
        self._path = path
        self._unpacking = Unpacking(lambda _: None, check)
        self.add = self._unpacking.add

    def problems(self, _: IO[bytes]) -> list[Problem]:
        return self._unpacking.problems(self._path, "the gzip")


class Json:
    def __init__(self, path: str, size: int) -> None:
        self._path = path
        self._content = bytearray()
        self.wants = size <= MOST_JSON

    def add(self, chunk: bytes) -> None:
        if self.wants:
            self._content += chunk

    def problems(self, _: IO[bytes]) -> list[Problem]:
        try:
            if self.wants:
                document(bytes(self._content))
        except ValueProblemError as problem:
            return [Problem("bad-json", f"{shown(self._path)} {problem}. Save or copy it again.")]
        return []


class Zip:
    """Its list of contents is at the end, so it is read a second time, from what memory still holds."""

    wants = False

    def __init__(self, path: str, check: Check) -> None:
        self._path = path
        self._check = check

    def add(self, chunk: bytes) -> None:
        """The whole is asked at the end."""

    def problems(self, source: IO[bytes]) -> list[Problem]:
        if is_cut_zip(source):
            return [cut_off(self._path, "the zip has no list of contents at its end")]
        try:
            with broken_zip(), zipfile.ZipFile(source) as packed:
                members = packed.infolist()[:MOST_MEMBERS]
                broken = self._first_broken(packed, members)
        except BrokenZipError:
            return [damaged(self._path, "the zip's list of contents cannot be read")]
        return [damaged(self._path, f"{shown(broken)} in it does not have its checksum")] if broken else []

    def _first_broken(self, packed: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> str:
        left = unpacking.MOST_UNPACKED
        for member in (one for one in members if one.compress_type in BOUNDED):
            try:
                with broken_zip(), packed.open(member) as file:
                    while left > 0 and (piece := file.read(PIECE)):
                        self._check()
                        left -= len(piece)
            except BrokenZipError:
                return member.filename
        return ""
