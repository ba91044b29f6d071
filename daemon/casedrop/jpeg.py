"""Segments of a JPEG file that hold texts. Pure.

Sources: ITU-T T.81, Annex B (markers and segments); JFIF 1.02; Exif 2.32, 4.7 (APP1); the XMP specification,
part 3 (APP1); Adobe Photoshop's image resources (APP13).
"""

import re
import struct
from typing import IO

from casedrop import tiff
from casedrop.spots import OddFormatError, Spot, is_technical, read_at

CHUNK = 1 << 20
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
"""In coded data FF is followed by 00 or a restart marker, else it is the next segment."""
START_OF_SCAN, END, COMMENT, APP0, APP15 = 0xDA, 0xD9, 0xFE, 0xE0, 0xEF
EXIF = b"Exif\0\0"
KEPT = {0xE0: (b"JFIF\0",), 0xE2: (b"ICC_PROFILE\0",), 0xEE: (b"Adobe",)}
"""Segments that hold sizes and colours alone, by marker and how they begin."""
ORIENTATION = EXIF + b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01"


def is_one(head: bytes) -> bool:
    return head[:3] == b"\xff\xd8\xff"


def spots(file: IO[bytes]) -> list[Spot]:
    """The segments that are filled, each whole, and what stands behind the image. Raises OddFormatError."""
    found, at = [], 2
    while True:
        head = read_at(file, at, 2)
        if head[0] != 0xFF:
            raise OddFormatError
        marker = head[1]
        if marker == 0xFF:
            at = _last_fill(file, at + 1)
            continue
        if marker == END:
            break
        length = int.from_bytes(read_at(file, at + 2, 2))
        if length < 2:
            raise OddFormatError
        end = at + 2 + length
        if marker == COMMENT or APP0 <= marker <= APP15:
            found += _filled(marker, read_at(file, at + 4, end - at - 4), at, end)
        at = _next_marker(file, end) if marker == START_OF_SCAN else end
    size = file.seek(0, 2)
    return found + ([Spot("data behind the image", at + 2, size)] if size > at + 2 else [])


def _last_fill(file: IO[bytes], at: int) -> int:
    """Where the last of the bytes FF is that begin here: a marker may have any number of them before it."""
    file.seek(at)
    while chunk := file.read(CHUNK):
        rest = chunk.lstrip(b"\xff")
        at += len(chunk) - len(rest)
        if rest:
            break
    return at - 1


def _next_marker(file: IO[bytes], at: int) -> int:
    """Where the coded data that begins here ends."""
    while True:
        file.seek(at)
        chunk = file.read(CHUNK)
        if found := _MARKER.search(chunk):
            return at + found.end() - 2
        if len(chunk) < CHUNK:
            raise OddFormatError
        at += CHUNK - 1


def _filled(marker: int, content: bytes, at: int, end: int) -> list[Spot]:
    if content.startswith(KEPT.get(marker, ())):
        return []
    if marker == COMMENT:
        return [] if is_technical(content.decode("latin-1")) else [Spot("comment (COM)", at, end)]
    if marker == 0xE1 and content.startswith(EXIF):
        tags = tiff.words(content[len(EXIF) :])
        return [Spot(f"EXIF ({tags})", at, end, _upright(content[len(EXIF) :]))] if tags else []
    if marker == 0xE1 and b"ns.adobe.com/xap" in content[:40]:
        return [Spot("XMP", at, end)]
    return [Spot(f"segment APP{marker - APP0}", at, end)]


def _upright(exif: bytes) -> bytes:
    """What is kept of EXIF: how the picture is turned, where it is."""
    turned = tiff.orientation(exif)
    if turned in (0, 1):
        return b""
    kept = ORIENTATION + struct.pack(">HHI", turned, 0, 0)
    return b"\xff\xe1" + struct.pack(">H", len(kept) + 2) + kept
