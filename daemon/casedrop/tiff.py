"""Tags of TIFF and BigTIFF files, and of EXIF, that hold texts. Pure.

Sources: TIFF 6.0, section 2 and appendix A; the BigTIFF design (libtiff); Exif 2.32, 4.6; Adobe TIFF technical
notes (XMP, Photoshop). Nothing moves: a tag is left out of its directory, and its text becomes zeros.
"""

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from casedrop.spots import LONGEST, OddFormatError, Spot, is_technical, read_at

SIZES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}  # fmt: skip
"""Bytes of a value by its type."""
TEXTS = frozenset({1, 2, 6, 7})
"""Types that can hold a text: BYTE, ASCII, SBYTE, UNDEFINED."""
MOST_DIRECTORIES, MOST_TAGS, MOST_NUMBERS, MOST_TEXT = 10_000, 4096, 64, 64 << 20
SUB_IFDS, EXIF, GPS, INTEROPERABILITY = 330, 34665, 34853, 40965
LENGTHS = 50838
"""Of the texts in IJMetadata: not there without them."""
DESCRIPTION, XMP, COMMENT, ORIENTATION, THUMBNAIL = 270, 700, 37510, 274, 513
BASELINE = 700
"""Tags below describe the picture; a number there is no text."""
DEVICE = frozenset({271, 272, 42035, 42036})
"""Make and model of the device and its lens, which devices write and which name nobody."""
KEPT = frozenset({347, 34675, 519, 520, 521, 36864, 37121, 40960, 41728, 41729, 41730, 42113})
"""Tables, profiles and versions in bytes."""
NAMES = {
    269: "DocumentName", 270: "ImageDescription", 285: "PageName", 305: "Software", 306: "DateTime",
    315: "Artist", 316: "HostComputer", 333: "InkNames", 337: "TargetPrinter", 513: "thumbnail", 700: "XMP",
    33432: "Copyright", 33723: "IPTC", 34377: "Photoshop", 34853: "GPS position", 36867: "DateTimeOriginal",
    36868: "DateTimeDigitized", 36880: "OffsetTime", 36881: "OffsetTimeOriginal",
    36882: "OffsetTimeDigitized", 37500: "MakerNote",
    37510: "UserComment", 37520: "SubSecTime", 37521: "SubSecTimeOriginal", 37522: "SubSecTimeDigitized",
    40091: "XPTitle", 40092: "XPComment", 40093: "XPAuthor", 40094: "XPKeywords", 40095: "XPSubject",
    42016: "ImageUniqueID", 42032: "CameraOwnerName", 42033: "BodySerialNumber", 42037: "LensSerialNumber",
    42112: "GDAL_METADATA", 50839: "IJMetadata",
}  # fmt: skip
_IMAGEJ = re.compile(
    r"(ImageJ|images|channels|slices|frames|hyperstack|mode|unit|[tvyz]unit|spacing|loop|min|max|finterval|fps|"
    r"[xyz]origin|cf|c\d|interval)=[-+\w.\\µ]{0,20}"
)
"""A line that ImageJ writes."""
_SHAPE = re.compile(r'\{"shape": ?\[[\d, ]*\](, ?"axes": ?"[A-Z]*")?\}')


@dataclass(frozen=True, slots=True)
class Tag:
    """One entry of a directory: where its values are, and the entry itself."""

    number: int
    type: int
    count: int
    at: int
    length: int
    entry: bytes


@dataclass(frozen=True, slots=True)
class _Layout:
    """Byte order, and the lengths that BigTIFF has changed."""

    order: str
    big: bool

    def number(self, raw: bytes) -> int:
        return int.from_bytes(raw, "little" if self.order == "<" else "big")

    def raw(self, number: int, length: int) -> bytes:
        return number.to_bytes(length, "little" if self.order == "<" else "big")

    @property
    def count(self) -> int:
        return 8 if self.big else 2

    @property
    def offset(self) -> int:
        return 8 if self.big else 4


@dataclass(frozen=True, slots=True)
class _Directory:
    at: int
    end: int
    tags: tuple[Tag, ...]
    next: int


def is_one(head: bytes) -> bool:
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def spots(file: IO[bytes]) -> list[Spot]:
    """What is filled in all directories. Raises OddFormatError."""
    layout, first = _layout(read_at(file, 0, 16))
    return [spot for at, depth in _walk(file, layout, first) for spot in _of(file, layout, at, depth)]


def words(exif: bytes) -> str:
    """The filled tags of EXIF as it stands in other formats, "" where there are none."""
    try:
        layout, first = _layout(exif[:16])
        directories = [at for at, _ in _walk(io.BytesIO(exif), layout, first)]
        found = [spot for at in directories for spot in _of(io.BytesIO(exif), layout, at, "exif")]
    except (OddFormatError, struct.error):
        return "not readable"
    return ", ".join(dict.fromkeys(spot.words for spot in found if spot.words))


def orientation(exif: bytes) -> int:
    """How EXIF says the picture is turned, 0 where it does not."""
    try:
        layout, first = _layout(exif[:16])
        file = io.BytesIO(exif)
        turned = [tag for tag in _directory(file, layout, first).tags if tag.number == ORIENTATION]
        return layout.number(read_at(file, turned[0].at, 2)) if turned else 0
    except (OddFormatError, struct.error):
        return 0


def _layout(head: bytes) -> tuple[_Layout, int]:
    if not is_one(head):
        raise OddFormatError
    order = "<" if head[:2] == b"II" else ">"
    layout = _Layout(order, b"+" in head[2:4])
    return layout, layout.number(head[8:16] if layout.big else head[4:8])


def _walk(file: IO[bytes], layout: _Layout, first: int) -> Iterator[tuple[int, str]]:
    """Where the directories are, and of which kind: pages, those in pages, EXIF, GPS."""
    pending, seen = [(first, "page")], {0}
    while pending:
        at, kind = pending.pop()
        if at in seen:
            continue
        seen.add(at)
        if len(seen) + len(pending) > MOST_DIRECTORIES:
            raise OddFormatError
        yield at, kind
        directory = _directory(file, layout, at)
        if kind == "page":
            pending.append((directory.next, "page"))
        for tag in directory.tags:
            below = {SUB_IFDS: "page", EXIF: "exif", INTEROPERABILITY: "exif", GPS: "gps"}.get(tag.number)
            if below:
                pending += [(one, below) for one in _offsets(file, layout, tag)]


def _offsets(file: IO[bytes], layout: _Layout, tag: Tag) -> list[int]:
    size = SIZES.get(tag.type)
    if tag.count > MOST_NUMBERS or size not in (4, 8):
        raise OddFormatError
    raw = read_at(file, tag.at, tag.length)
    return [layout.number(raw[at : at + size]) for at in range(0, len(raw), size)]


def _directory(file: IO[bytes], layout: _Layout, at: int) -> _Directory:
    count = layout.number(read_at(file, at, layout.count))
    if count > MOST_TAGS:
        raise OddFormatError
    length = 4 + 2 * layout.offset
    table = at + layout.count
    raw = read_at(file, table, count * length + layout.offset)
    entries = [raw[n * length : (n + 1) * length] for n in range(count)]
    tags = tuple(_tag(layout, entry, table + n * length) for n, entry in enumerate(entries))
    return _Directory(at, table + len(raw), tags, layout.number(raw[count * length :]))


def _tag(layout: _Layout, entry: bytes, at: int) -> Tag:
    number, kind = layout.number(entry[:2]), layout.number(entry[2:4])
    count = layout.number(entry[4 : 4 + layout.offset])
    length = count * SIZES.get(kind, 1)
    inline = length <= layout.offset
    place = at + 4 + layout.offset if inline else layout.number(entry[4 + layout.offset :])
    return Tag(number, kind, count, place, length, entry)


def _of(file: IO[bytes], layout: _Layout, at: int, kind: str) -> Iterator[Spot]:
    """The spots of one directory: the directory without its filled tags, and their texts as zeros."""
    directory = _directory(file, layout, at)
    if kind == "gps":
        yield from _emptied(file, directory, layout)
        return
    filled = [tag for tag in directory.tags if _is_filled(file, tag, kind)]
    kept = [tag for tag in filled if _carries_more(file, tag)]
    for tag in kept:
        yield Spot(_name(tag), tag.at, tag.at + tag.length, None)
    gone = [tag for tag in filled if tag not in kept]
    gone += [tag for tag in directory.tags if gone and tag.number == LENGTHS and tag not in gone]
    if gone:
        named = ", ".join(dict.fromkeys(_name(tag) for tag in gone if tag.number != LENGTHS))
        yield Spot(named, at, directory.end, _without(directory, layout, gone))
        yield from _zeros(file, gone, layout)


def _emptied(file: IO[bytes], directory: _Directory, layout: _Layout) -> Iterator[Spot]:
    yield Spot("", directory.at, directory.end, bytes(directory.end - directory.at))
    yield from _zeros(file, directory.tags, layout)


def _zeros(file: IO[bytes], tags: list[Tag] | tuple[Tag, ...], layout: _Layout) -> Iterator[Spot]:
    for tag in tags:
        if tag.length > layout.offset:
            if tag.length > MOST_TEXT:
                raise OddFormatError
            read_at(file, tag.at + tag.length - 1, 1)
            yield Spot("", tag.at, tag.at + tag.length, bytes(tag.length))


def _without(directory: _Directory, layout: _Layout, gone: list[Tag]) -> bytes:
    entries = [tag.entry for tag in directory.tags if tag not in gone]
    table = layout.raw(len(entries), layout.count) + b"".join(entries)
    table += layout.raw(directory.next, layout.offset)
    return table.ljust(directory.end - directory.at, b"\0")


def _is_filled(file: IO[bytes], tag: Tag, kind: str) -> bool:
    if tag.number == GPS or (tag.number == THUMBNAIL and kind == "exif"):
        return True
    if tag.number in DEVICE or tag.number in KEPT or not tag.length:
        return False
    if tag.type not in TEXTS:
        return tag.type not in SIZES or (tag.number >= BASELINE and tag.count > MOST_NUMBERS)
    if tag.length > LONGEST:
        return True
    raw = read_at(file, tag.at, tag.length)
    text = (raw[8:] if tag.number == COMMENT else raw).decode("latin-1").strip(" \0\r\n\t")
    if not text.strip("0: ") or is_technical(text):
        return False
    return not (tag.number == DESCRIPTION and _is_known_description(text))


def _is_known_description(text: str) -> bool:
    lines = text.split("\n")
    imagej = text.startswith("ImageJ=") and all(_IMAGEJ.fullmatch(line.strip() or "c0=") for line in lines)
    return imagej or _SHAPE.fullmatch(text) is not None


def _carries_more(file: IO[bytes], tag: Tag) -> bool:
    """Whether readers take sizes of pixels or the order of planes out of this very text."""
    if tag.length > MOST_TEXT or tag.type not in TEXTS:
        return tag.number != GPS
    head = read_at(file, tag.at, min(tag.length, LONGEST)).lstrip()
    if tag.number == DESCRIPTION:
        return head.startswith((b"<", b"{", b"Aperio", b"ImageJ="))
    return tag.number == XMP and b"<iScan" in head


def _name(tag: Tag) -> str:
    return NAMES.get(tag.number, f"tag {tag.number}")
