"""What only the whole of a file tells, while it goes by on its way to the checksums. Pure.

Whether gzip, zip and packed voxels are whole (their own checksums), whether voxels are as many as the header says
and a mask's are its socket's segments, whether JSON parses. Memory does not grow with the file. Not looked at:
what comes after the first MOST_UNPACKED bytes that an archive holds, entries of a zip that are not deflated or
stored (their unpackers know no bound), and JSON larger than MOST_JSON.
"""

import array
import errno
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from casedrop import gz
from casedrop.model import PlannedFile, PlannedSocket, Problem, Weight
from casedrop.near import shown
from casedrop.values import ValueProblemError, document
from casedrop.volumes import FROM_THE_END, HEAD, Volume, volume

MOST_UNPACKED = 32 << 30
MOST_JSON = 16 << 20
"""What it parses to may be twenty times as large."""
MOST_MEMBERS = 100_000
PIECE = 1 << 20
BLOCK = 1 << 16
"""Bytes of voxels that are looked at together: those of a mask are mostly background."""
MOST_VALUES = 100
"""Values that are no segments, after which no more are looked for."""
NAMED = 5
BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
PACKED = (".gz", ".tgz")
BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, LookupError, RuntimeError, ValueError,
)  # fmt: skip
"""What zipfile raises on a zip that is."""

Take = Callable[[bytes], None]
Check = Callable[[], None]


class Inside(Protocol):
    """`add` is given the file from front to back, as long as it `wants` more; `problems` is asked at the end."""

    @property
    def wants(self) -> bool: ...
    def add(self, chunk: bytes) -> None: ...
    def problems(self, source: IO[bytes]) -> list[Problem]: ...


def cut_off(path: str, why: str) -> Problem:
    return Problem("cut-off", f"{shown(path)} looks cut off: {why}. Copy it again.", Weight.LACKING)


def damaged(path: str, why: str) -> Problem:
    return Problem("damaged", f"{shown(path)} is damaged: {why}. Copy or save it again.")


def shorter(path: str, held: int, said: int) -> Problem:
    return cut_off(path, f"it holds {held} bytes of voxels, and its header says {said}")


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


class Unpacking:
    """Unpacks gzip (of any number of members) or zlib as it goes by; what is neither is passed on as it is."""

    def __init__(self, take: Take, check: Check) -> None:
        self._take = take
        self._check = check
        self._stream = zlib.decompressobj(wbits=47)
        self._between = b""
        self._plain = self._begun = False
        self._over = self._broken = False
        self._size = 0

    @property
    def unread(self) -> bool:
        """Whether it holds more than is looked at."""
        return self._size > MOST_UNPACKED

    def add(self, chunk: bytes) -> None:
        if not self._begun:
            self._begun, self._plain = True, not _is_packed(chunk)
        if self._plain:
            self._take(chunk)
        while chunk and not self._plain and not self._over:
            chunk = self._next_member(chunk) if self._stream.eof else self._unpacked(chunk)

    def _unpacked(self, chunk: bytes) -> bytes:
        """Passes on what is in it; what is left is behind the member's end."""
        piece = bytes(PIECE)
        while not self._over and not self._stream.eof and (chunk or len(piece) == PIECE):
            try:
                piece = self._stream.decompress(chunk, PIECE)
            except zlib.error:
                self._broken = self._over = True
                return b""
            self._check()
            self._size += len(piece)
            self._over = self.unread
            self._take(piece)
            chunk = self._stream.unconsumed_tail
        return self._stream.unused_data

    def _next_member(self, chunk: bytes) -> bytes:
        """Zeros may stand between members; whatever else does ends it, as for zlib's own gzread."""
        chunk = (self._between + chunk).lstrip(b"\0")
        self._between = chunk if len(chunk) < len(gz.MAGIC) else b""
        if self._between:
            return b""
        self._over = not chunk.startswith(gz.MAGIC)
        self._stream = self._stream if self._over else zlib.decompressobj(wbits=31)
        return chunk

    def problems(self, path: str, what: str) -> list[Problem]:
        if self._broken:
            return [damaged(path, f"{what} cannot be unpacked, or does not have the checksum it should have")]
        whole = self._plain or self._over or self._stream.eof
        return [] if whole else [cut_off(path, f"{what} has no end")]


def _is_packed(head: bytes) -> bool:
    """gzip, or zlib (RFC 1950, 2.2: deflate, a window, a check)."""
    return gz.is_one(head) or (head[0] & 0x8F == 8 and int.from_bytes(head[:2]) % 31 == 0)  # noqa: PLR2004


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
        left = MOST_UNPACKED
        for member in (one for one in members if one.compress_type in BOUNDED):
            try:
                with broken_zip(), packed.open(member) as file:
                    while left > 0 and (piece := file.read(PIECE)):
                        self._check()
                        left -= len(piece)
            except BrokenZipError:
                return member.filename
        return ""


class BrokenZipError(Exception):
    """A zip is not built as it should be."""


@contextmanager
def broken_zip() -> Iterator[None]:
    """Raises BrokenZipError for all that zipfile raises on one, OSError for what a disk does."""
    try:
        yield
    except BROKEN:
        raise BrokenZipError from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):
            raise
        raise BrokenZipError from None


def is_cut_zip(source: IO[bytes]) -> bool:
    """Whether it begins as a zip and nothing in it is a zip's end."""
    source.seek(0)
    if source.read(4) != b"PK\3\4":
        return False
    try:
        with broken_zip():
            return not zipfile.is_zipfile(source)
    except BrokenZipError:
        return False


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
            f"{shown(self._file.path)} holds {_numbers(self._found)}, and socket {slug} takes only "
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
