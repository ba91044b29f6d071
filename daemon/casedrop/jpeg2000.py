"""Texts in JPEG 2000: in codestreams, and in the boxes of a JP2 around them. Pure.

Sources: ISO/IEC 15444-1, Annex A (markers) and Annex I (boxes); 15444-15, Annex A (CAP, CPF). Known are the
segments and boxes that hold numbers alone, each with its exact length. Coded data is not decoded, nor are colour
profiles and palettes looked into: what stands there in place of numbers is not found.
"""

import io
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from casedrop.jpeg import is_profile
from casedrop.spots import OddFormatError, is_technical, read_at

START, FILE = b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "
CAP, SIZ, COD, COC, TLM, PLT, CPF = 0xFF50, 0xFF51, 0xFF52, 0xFF53, 0xFF55, 0xFF58, 0xFF59
QCD, QCC, RGN, POC, COM, SOT, SOD, EOC = 0xFF5C, 0xFF5D, 0xFF5E, 0xFF5F, 0xFF64, 0xFF90, 0xFF93, 0xFFD9
PART_15 = b"\0\2\0\0"
MOST_LEVELS, LAST_PROGRESSION, FEW_COMPONENTS = 32, 4, 257
ENCODER = re.compile(
    r"((creat(ed by|or)|compressed by|encoded by):? )?(gdcm/)?"
    r"(openjpeg|jasper|kakadu|openjph|grok|nvjpeg2000|aware jpeg ?2000)[- ]?(ver(sion)? )?v?[\d.]*|"
    r"creator: av-j2k \(c\) [\d,]+ algo vision( technology)?|aware,? inc\.?|pegasus imaging( corp(oration|\.)?)?|"
    r"kdu-layer-info: log_2\{delta-d\((squared-error|mse)\)/delta-l\(bytes\)\}, l\(bytes\)[\s\d.,e+-]*",
    re.IGNORECASE,
)
"""What a comment says that names the encoder alone."""

Segment = tuple[int, bytes | memoryview]
Look = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class _Picture:
    """Bytes of a component's number, how often components are halved, and the lengths of the tile-parts."""

    wide: int
    levels: frozenset[int]
    sizes: frozenset[int]

    def steps(self, style: int) -> set[int]:
        """Bytes of the steps of quantization (A.6.4): none for each band, derived, or one for each."""
        if max(self.levels, default=MOST_LEVELS) > MOST_LEVELS:
            return set()
        known = {0: {3 * one + 1 for one in self.levels}, 1: {2}, 2: {6 * one + 2 for one in self.levels}}
        return known.get(style & 31, set())


def is_one(frame: bytes) -> bool:
    return frame.startswith((START, FILE))


def texts(frame: bytes) -> list[str]:
    """What may name somebody in the headers of a picture and its tile-parts, and behind it.

    Raises OddFormatError, also where a segment or box stands that is not known.
    """
    segments = list(_segments(frame, _codestream(frame) + 2))
    if not _are_sound(segments):
        raise OddFormatError
    comments = any(marker == COM and not _is_encoder(bytes(content)) for marker, content in segments)
    behind = bytes(segments[-1][1]).strip(b"\0\xff")
    return ["comment (COM)"] * comments + ["data behind the image"] * bool(behind)


def _segments(frame: bytes, at: int) -> Iterator[Segment]:
    """Of all headers; under SOD the coded data of a tile-part, and last under EOC what stands behind."""
    file, part = io.BytesIO(frame), -1
    while (marker := int.from_bytes(read_at(file, at, 2))) != EOC:
        if marker == SOD:
            end = part or frame.find(EOC.to_bytes(2), at)
            if not at + 2 <= end <= len(frame):
                raise OddFormatError
            yield SOD, memoryview(frame)[at + 2 : end]
            at, part = end, -1
            continue
        length = int.from_bytes(read_at(file, at + 2, 2))
        content = read_at(file, at + 4, length - 2)
        if marker == SOT:
            size = int.from_bytes(content[2:6])
            if part != -1:
                raise OddFormatError
            part = size and at + size
        yield marker, content
        at += 2 + length
    yield EOC, memoryview(frame)[at + 2 :]


def _are_sound(segments: list[Segment]) -> bool:
    """Whether each is known, and as long as it has to be."""
    (first, size), *others = segments
    components = int.from_bytes(size[34:36])
    wide = 1 if components < FEW_COMPONENTS else 2
    levels = {content[5] for marker, content in others if marker == COD and len(content) > 5}
    levels |= {content[wide + 1] for marker, content in others if marker == COC and len(content) > wide + 1}
    sizes = {int.from_bytes(content[2:6]) for marker, content in others if marker == SOT}
    picture = _Picture(wide, frozenset(levels), frozenset(sizes))
    return (
        first == SIZ
        and len(size) == 36 + 3 * components
        and all(_is_sound(marker, content, picture) for marker, content in others)
        and _tells_packets(others)
    )


def _is_sound(marker: int, content: bytes | memoryview, picture: _Picture) -> bool:
    length, wide = len(content), picture.wide
    if marker == COD:
        return length > 5 and length == _coding_style(5, content[0], content[5])
    if marker == COC:
        return length > wide + 1 and length == _coding_style(wide + 1, content[wide], content[wide + 1])
    if marker == QCD:
        return length > 1 and length - 1 in picture.steps(content[0])
    if marker == QCC:
        return length > wide and length - wide - 1 in picture.steps(content[wide])
    if marker == POC:
        entry = 5 + 2 * wide
        return length % entry == 0 and all(one <= LAST_PROGRESSION for one in content[entry - 1 :: entry])
    if marker == TLM:
        return _is_sound_tlm(bytes(content), picture.sizes)
    return {
        SOT: length == 8,
        RGN: length == wide + 2,
        CAP: length == 6 and content[:4] == PART_15,
        CPF: length in (2, 4),
    }.get(marker, marker in (COM, PLT, SOD, EOC))


def _coding_style(before: int, style: int, levels: int) -> int:
    """Bytes of COD or COC (A.6.1): four behind the number of levels, then perhaps sizes of precincts."""
    return before + 5 + (levels + 1 if style & 1 else 0)


def _is_sound_tlm(content: bytes, sizes: frozenset[int]) -> bool:
    """Whether the lengths of tile-parts (A.7.1) are those that the parts themselves say."""
    number, length = content[1] >> 4 & 3 if len(content) > 1 else 3, 4 if content[1:2] >= b"\x40" else 2
    size = number + length
    entries = [content[at : at + size] for at in range(2, len(content), size)]
    return number < 3 and all(len(one) == size and int.from_bytes(one[number:]) in sizes for one in entries)


def _tells_packets(segments: list[Segment]) -> bool:
    """Whether the packets that PLT tells of (A.7.3, 7 bits a byte) fill their tile-part."""
    told, number = -1, 0
    for marker, content in segments:
        if marker == PLT:
            told = max(told, 0)
            for byte in content[1:]:
                number = (number << 7 | byte & 127) & 0xFFFFFFFF
                told, number = (told, number) if byte & 128 else (told + number, 0)
        elif marker == SOD:
            if told not in (-1, len(content)):
                return False
            told = -1
    return told == -1


def _is_encoder(comment: bytes) -> bool:
    """Whether a comment (a number that tells its kind, then text) only says what made the picture."""
    text = comment[2:].decode("latin-1").strip(" \t\r\n\0")
    return is_technical(text) or ENCODER.fullmatch(text) is not None


def _codestream(frame: bytes) -> int:
    """Where it begins, in a JP2 behind its boxes."""
    if frame.startswith(START):
        return 0
    for kind, content, at in _boxes(frame):
        if kind == b"jp2c" and content.startswith(START):
            return at
        if kind not in BOXES or not BOXES[kind](content):
            break
    raise OddFormatError


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Kind, content, and where it begins."""
    file, at = io.BytesIO(data), 0
    while at < len(data):
        size, kind = struct.unpack(">L4s", read_at(file, at, 8))
        end = at + size if size else len(data)
        if not at + 8 <= end <= len(data):
            raise OddFormatError
        yield kind, data[at + 8 : end], at + 8
        at = end


def _is_palette(content: bytes) -> bool:
    """So many entries of so many columns, each of which says its bits."""
    if len(content) < 3:
        return False
    columns = content[3 : 3 + content[2]]
    entry = sum(((bits & 127) + 8) // 8 for bits in columns)
    return len(content) == 3 + content[2] + int.from_bytes(content[:2]) * entry


def _matches(pattern: bytes) -> Look:
    compiled = re.compile(pattern, re.DOTALL)
    return lambda content: compiled.fullmatch(content) is not None


def _all_of(known: dict[bytes, Look]) -> Look:
    return lambda content: all(kind in known and known[kind](inner) for kind, inner, _ in _boxes(content))


ENUMERATED = _matches(rb"\x01..\0\0\0.")
HEADER: dict[bytes, Look] = {
    b"ihdr": _matches(rb"(\0\0..){2}..[\0-\x25\x80-\xa5\xff]\x07[\0\1]{2}"),
    b"bpcc": _matches(rb"[\0-\x25\x80-\xa5]+"),
    b"colr": lambda content: is_profile(content[3:]) or ENUMERATED(content),
    b"pclr": _is_palette,
    b"cmap": _matches(rb"(\0.[\0\1].)+"),
    b"cdef": _matches(rb"\0.(\0.(\0[\0-\2]|\xff\xff)(\0.|\xff\xff))+"),
    b"res ": _all_of(dict.fromkeys((b"resc", b"resd"), _matches(rb".{8}[\0-\x1f\xe0-\xff]{2}"))),
}
BOXES: dict[bytes, Look] = {
    b"jP  ": _matches(rb"\r\n\x87\n"),
    b"ftyp": _matches(rb"(jp2 |jpx |jph )\0{4}(jp2 |jpx |jpxb|jph |J2P[01]){1,8}"),
    b"jp2h": _all_of(HEADER),
}
"""Boxes that may stand before the codestream (I.5), and in their header, and how each is built."""
