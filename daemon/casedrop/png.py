"""Text chunks of a PNG file, and what is not of the image. Pure.

Source: the PNG specification (W3C, third edition), 5 (chunks), 11.3 (ancillary chunks).
"""

import re
import zlib
from typing import IO

from casedrop import tiff
from casedrop.spots import LONGEST, OddFormatError, Spot, is_technical, read_at, shown_key

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEPT = frozenset({
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV",
    b"cLLI", b"bKGD", b"hIST", b"pHYs", b"acTL", b"fcTL", b"fdAT", b"iDOT", b"oFFs", b"sTER", b"vpAg", b"orNT",
})  # fmt: skip
"""Chunks that hold pixels, colours and sizes alone."""


def is_one(head: bytes) -> bool:
    return head.startswith(SIGNATURE)


def spots(file: IO[bytes]) -> list[Spot]:
    """The chunks that are filled, each whole, and what stands behind the last. Raises OddFormatError."""
    found, at, kind = [], len(SIGNATURE), b""
    while kind != b"IEND":
        head = read_at(file, at, 8)
        length, kind = int.from_bytes(head[:4]), head[4:]
        if not kind.isalpha():
            raise OddFormatError
        if kind not in KEPT and (words := _filled(file, at + 8, length, kind)):
            found.append(Spot(words, at, at + 12 + length))
        at += 12 + length
    size = file.seek(0, 2)
    return found + ([Spot("data behind the image", at, size)] if size > at else [])


def _filled(file: IO[bytes], at: int, length: int, kind: bytes) -> str:
    name = kind.decode("ascii")
    if kind == b"sCAL" and re.fullmatch(
        rb"[\1\2][-+0-9.eE]+\0[-+0-9.eE]+", read_at(file, at, min(length, 80))
    ):
        return ""
    if kind not in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
        return f"chunk {name}"
    if length > LONGEST:
        return f"{name} chunk"
    content = read_at(file, at, length)
    if kind == b"eXIf":
        tags = tiff.words(content)
        return f"EXIF ({tags})" if tags else ""
    keyword, _, rest = content.partition(b"\0")
    text = _text(kind, rest)
    if text is not None and is_technical(text) and keyword in (b"Software", b"Comment", b"Creator"):
        return ""
    return f"{name} {shown_key(keyword.decode('latin-1'))}"


def _text(kind: bytes, rest: bytes) -> str | None:
    """None where it cannot be unpacked, or is very long."""
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
    elif packed:
        rest = rest[1:]
    if not packed:
        return rest.decode("utf-8", "replace")
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(rest, LONGEST)
    except zlib.error:
        return None
    return None if unpacking.unconsumed_tail else text.decode("utf-8", "replace")
