"""The header of a gzip: it keeps the name and time of the file that was packed, which are never sent. Pure.

Source: RFC 1952, 2.3.
"""

from casedrop.spots import OddFormatError, Spot

MAGIC = b"\x1f\x8b"
EXTRA, NAME, COMMENT, CHECKSUM = 4, 8, 16, 2
FIXED = 10
"""Bytes before the fields that may be there."""


def is_one(head: bytes) -> bool:
    return head[:3] == b"\x1f\x8b\x08"


def spots(head: bytes) -> list[Spot]:
    """The header, where it holds a name or a comment; in its place one without. Raises OddFormatError."""
    if len(head) < FIXED:
        raise OddFormatError
    flags, at = head[3], FIXED
    if flags & EXTRA:
        at += 2 + int.from_bytes(head[at : at + 2], "little")
    extra = head[FIXED:at]
    if not flags & (NAME | COMMENT):
        return []
    for field in (NAME, COMMENT):
        if flags & field:
            at = head.find(b"\0", at) + 1
            if not at:
                raise OddFormatError
    if flags & CHECKSUM:
        at += 2
    plain = head[:3] + bytes([flags & EXTRA]) + bytes(4) + head[8:FIXED] + extra
    return [Spot("the file's name in gzip", 0, at, plain)]
