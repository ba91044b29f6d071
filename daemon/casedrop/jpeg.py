"""Segments of a JPEG file that hold texts. Pure.

Sources: ITU-T T.81, Annex B (markers and segments), T.87, Annex C (JPEG-LS), T.84, Annex F (SPIFF); JFIF 1.02;
Exif 2.32, 4.7 (APP1); the XMP specification, part 3 (APP1); Adobe Photoshop's image resources (APP13); ICC.1, 7.2
and B.4. What a colour profile says of itself is not looked at, nor is coded data decoded.
"""

import re
import struct
from collections.abc import Iterator
from typing import IO

from casedrop import tiff
from casedrop.spots import OddFormatError, Spot, is_technical, read_at

CHUNK = 1 << 20
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
"""In coded data FF is followed by 00 or a restart marker, else it is the next segment."""
START_OF_SCAN, END, COMMENT, APP0, APP2, APP14, APP15 = 0xDA, 0xD9, 0xFE, 0xE0, 0xE2, 0xEE, 0xEF
FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
HUFFMAN, ARITHMETIC, QUANTIZATION, LINES, RESTART, LOSSLESS = 0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xF8
MOST_COMPONENTS = 4
EXIF, PROFILE = b"Exif\0\0", b"ICC_PROFILE\0"
JFIF = rb"JFIF\0[\1\2][\0-\x09][\0-\2].{4}"
KEPT = {
    0xE0: re.compile(
        JFIF + rb"\0\0|JFXX\0[\x10\x11\x13](\0\0)?|AVI1[\0-\2](\0(\0.{3}){2})?\0*|LJIF\0[\1\2]\0*", re.DOTALL
    ),
    0xE8: re.compile(
        rb"mrfx[\0-\5]|SPIFF\0[\1\2][\0-\2][\0-\4][\1-\4](\0\0..){2}[\0-\x0f][\1-\x10][\0-\6][\0-\2](\0\0..){2}|"
        rb"\0\0\0\x01\xff\xd8",
        re.DOTALL,
    ),
    0xEE: re.compile(rb"Adobe(\0[\x64-\x66].\0\0\0[\0-\2]|\0*)", re.DOTALL),
}
"""Segments that hold sizes and colours alone, and no thumbnail, which may show what the picture does not."""
ENCODER = re.compile(
    r"intel\(r\) jpeg library, version \[?\d[\d.,]{0,20}\]?\.?|applemark|mitra_dicom_standard", re.IGNORECASE
)
"""What a comment says that names the encoder alone, of those that JPEG has."""
COLOURS = (b"\0", b"\1", b"\2")
ORIENTATION = EXIF + b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01"


def is_one(head: bytes) -> bool:
    return head[:3] == b"\xff\xd8\xff"


def spots(file: IO[bytes]) -> list[Spot]:
    """The segments that are filled, each whole, and what stands behind the image.

    Raises OddFormatError, also where a segment stands that is not known or not as long as it has to be.
    """
    found, profile, colours = [], [], []
    for marker, at, content in _segments(file):
        end = at + 4 + len(content)
        if marker == END:
            size = file.seek(0, 2)
            found += [Spot("data behind the image", at + 2, size)] if size > at + 2 else []
        elif marker == APP2 and content.startswith(PROFILE):
            profile.append(Spot("colour profile (ICC)", at, end, None))
            colours.append(content[len(PROFILE) + 2 :])
        elif marker == COMMENT or APP0 <= marker <= APP15:
            found += _filled(marker, content, at, end)
        elif not _is_sound(marker, content):
            raise OddFormatError
    odd = [] if is_profile(b"".join(colours)) else profile
    return sorted(found + odd, key=lambda one: one.start)


def is_profile(raw: bytes) -> bool:
    """Whether this is a colour profile, and as long as it says (ICC.1, 7.2) but for zeros."""
    size = int.from_bytes(raw[:4])
    return raw[36:40] == b"acsp" and size <= len(raw) and not raw[size:].strip(b"\0")


def _segments(file: IO[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Marker, where it stands, and content; the last is END."""
    at = 2
    while True:
        head = read_at(file, at, 2)
        if head[0] != 0xFF:
            raise OddFormatError
        marker = head[1]
        if marker == 0xFF:
            at = _last_fill(file, at + 1)
            continue
        if marker == END:
            yield END, at, b""
            return
        length = int.from_bytes(read_at(file, at + 2, 2))
        yield marker, at, read_at(file, at + 4, length - 2)
        at += 2 + length
        at = _next_marker(file, at) if marker == START_OF_SCAN else at


def _is_sound(marker: int, content: bytes) -> bool:
    """Whether a segment is one of those that decoders need, and exactly as long as its numbers say."""
    size = len(content)
    if marker in FRAMES:
        return size >= 6 and content[5] <= MOST_COMPONENTS and size == 6 + 3 * content[5]
    if marker == START_OF_SCAN:
        return size > 0 and content[0] <= MOST_COMPONENTS and size == 4 + 2 * content[0]
    if marker in (HUFFMAN, QUANTIZATION):
        return _are_tables(marker, content)
    return {
        ARITHMETIC: size % 2 == 0 and all(table & 0xEC == 0 for table in content[::2]),
        LINES: size == 2,
        RESTART: size == 2,
        LOSSLESS: size == 11 and content[0] == 1,
    }.get(marker, False)


def _are_tables(marker: int, content: bytes) -> bool:
    at = 0
    while at < len(content):
        if marker == HUFFMAN:
            at += 17 + sum(content[at + 1 : at + 17])
        else:
            at += 129 if content[at] >> 4 else 65
    return at == len(content)


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
    if marker in KEPT and KEPT[marker].fullmatch(content):
        return []
    if marker == COMMENT:
        text = content.decode("latin-1")
        known = is_technical(text) or ENCODER.fullmatch(text.strip(" \t\r\n\0"))
        return [] if known else [Spot("comment (COM)", at, end)]
    if marker == 0xE1 and content.startswith(EXIF):
        tags = tiff.words(content[len(EXIF) :])
        return [Spot(f"EXIF ({tags})", at, end, _upright(content[len(EXIF) :]))] if tags else []
    if marker == 0xE1 and b"ns.adobe.com/xap" in content[:40]:
        return [Spot("XMP", at, end)]
    return [Spot(f"segment APP{marker - APP0}", at, end, _bare(marker, content))]


def _bare(marker: int, content: bytes) -> bytes | None:
    """What decoders read of a segment in which more stands: how large pixels are, and which colours they have."""
    if marker == APP0 and re.match(JFIF, content, re.DOTALL):
        return b"\xff\xe0\0\x10" + content[:12] + b"\0\0"
    if marker == APP14 and content.startswith(b"Adobe"):
        return b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + content[11:12] if content[11:12] in COLOURS else None
    return b""


def _upright(exif: bytes) -> bytes:
    """What is kept of EXIF: how the picture is turned, where it is."""
    turned = tiff.orientation(exif)
    if turned in (0, 1):
        return b""
    kept = ORIENTATION + struct.pack(">HHI", turned, 0, 0)
    return b"\xff\xe1" + struct.pack(">H", len(kept) + 2) + kept
