"""What is packed by gzip, zlib or zip: unpacked as it goes by, and whether it came whole. Pure."""

import errno
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from casedrop import gz
from casedrop.model import Problem, Weight
from casedrop.near import shown

MOST_UNPACKED = 32 << 30
"""Bytes unpacked out of one file, after which no more is looked at."""
PIECE = 1 << 20
PACKED = (".gz", ".tgz")
BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, LookupError, RuntimeError, ValueError,
)  # fmt: skip
"""What zipfile raises on a zip that is."""

Take = Callable[[bytes], None]
Check = Callable[[], None]


def cut_off(path: str, why: str) -> Problem:
    return Problem("cut-off", f"{shown(path)} looks cut off: {why}. Copy it again.", Weight.LACKING)


def damaged(path: str, why: str) -> Problem:
    return Problem("damaged", f"{shown(path)} is damaged: {why}. Copy or save it again.")


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
