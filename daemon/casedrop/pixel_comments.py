"""Texts that stand inside compressed pixels, where no header rule finds them. Pure.

Looked at is all that stands beside the coded data: of RLE the whole frame, of JPEG, JPEG-LS and JPEG 2000 each
segment and what is behind the picture. Coded data of these three is not decoded: a text between its last bytes, or
one in a table that the picture does not use, is not found.
"""

import io
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from pydicom import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, RLELossless

from casedrop import jpeg, jpeg2000, rle
from casedrop.errors import CaseProblem
from casedrop.essence import ITEM, PIXEL_TAGS, tags
from casedrop.model import Problem, Procedure
from casedrop.near import several
from casedrop.spots import OddFormatError, read_at

JPEG = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.(5\d|6\d|70)")
JPEG_LS = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.8[01]")
JPEG_2000 = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.(9[0-3]|20[1-3])")
RLE = re.compile(re.escape(RLELossless))
END_OF_ITEMS = b"\xfe\xff\xdd\xe0\0\0\0\0"
ITEM_HEADER, OFFSET = 8, 4
TABLES = tags(("ExtendedOffsetTable", "ExtendedOffsetTableLengths"))

ODD_OFFSETS = Problem(
    "not-deidentified",
    "{file} holds something else than frames and their places in its compressed pixels, so nothing of it is sent. "
    "Export it anew.",
)
NOT_LOOKED_INTO = Problem(
    "names-in-text",
    "{files} hold pixels in a compression that is not looked into, and could hold a text that names somebody. "
    'Export them uncompressed, or let the data manager set allow = ["names-in-text"].',
)


@dataclass(frozen=True, slots=True)
class Picture:
    """Encapsulated pixels, and where the items in them begin and end (PS3.5, A.4), first the table of offsets."""

    image: Dataset
    pixels: bytes
    items: tuple[tuple[int, int], ...]

    def fragments(self) -> Iterator[bytes]:
        return (self.pixels[start:end] for start, end in self.items[1:])


Look = Callable[[Picture], Iterable[str]]


def refuse_comments(dataset: Dataset, syntax: UID, procedure: Procedure) -> None:
    """Texts that stand inside compressed pixels, in pictures within sequences too. Raises CaseProblem."""
    plain = not syntax.is_compressed or syntax == DeflatedExplicitVRLittleEndian
    try:
        pictures = [] if plain else list(_pictures(dataset))
    except OddFormatError:
        raise CaseProblem(ODD_OFFSETS) from None
    if not all(map(_only_offsets, pictures)) or any(map(_says_more, _datasets(dataset))):
        raise CaseProblem(ODD_OFFSETS)
    if not plain and "names-in-text" not in procedure.allow:
        _refuse_texts(pictures, _look(syntax))


def _refuse_texts(pictures: list[Picture], look: Look | None) -> None:
    if look is None:
        raise CaseProblem(NOT_LOOKED_INTO)
    try:
        found = sorted({words for picture in pictures for words in look(picture)})
    except OddFormatError:
        found = ["what could not be read"]
    if found:
        raise CaseProblem(
            Problem(
                "names-in-text",
                f"{{files}} hold inside their compressed pixels {several(found)}, which may name somebody. Export "
                'without it, or let the data manager set allow = ["names-in-text"].',
            )
        )


def _datasets(dataset: Dataset) -> Iterator[Dataset]:
    """It and those within, as far as they are sequences since the file was read."""
    yield dataset
    for tag, element in list(dataset.items()):
        for item in dataset[tag].value if element.VR == "SQ" else ():
            yield from _datasets(item)


def _pictures(dataset: Dataset) -> Iterator[Picture]:
    """Those of an icon need not be encapsulated. Raises OddFormatError where others are not, or end early."""
    for image in _datasets(dataset):
        for tag in sorted(PIXEL_TAGS & image.keys()):
            pixels = image[tag].value or b""
            if not isinstance(pixels, bytes):
                raise OddFormatError
            if pixels and (image is dataset or pixels.startswith(ITEM[0])):
                yield Picture(image, pixels, tuple(_items(pixels)))


def _items(pixels: bytes) -> Iterator[tuple[int, int]]:
    """Up to the last byte, or to the delimiter that may stand there. Raises OddFormatError."""
    file, at = io.BytesIO(pixels), 0
    last = len(pixels) - len(END_OF_ITEMS) if pixels.endswith(END_OF_ITEMS) else len(pixels)
    while at not in (last, len(pixels)):
        tag, length = struct.unpack("<4sL", read_at(file, at, ITEM_HEADER))
        start, at = at + ITEM_HEADER, at + ITEM_HEADER + length
        if tag != ITEM[0] or at > len(pixels):
            raise OddFormatError
        yield start, at


def _only_offsets(picture: Picture) -> bool:
    """Whether the Basic Offset Table (PS3.5, A.4) holds rising places within the pixels."""
    start, end = picture.items[0] if picture.items else (0, 1)
    if (end - start) % OFFSET:
        return False
    offsets = [offset for (offset,) in struct.iter_unpack("<L", picture.pixels[start:end])]
    return _rise(offsets, len(picture.pixels))


def _rise(offsets: list[int], size: int) -> bool:
    return not offsets or (offsets[0] == 0 and offsets[-1] < size and offsets == sorted(set(offsets)))


def _says_more(image: Dataset) -> bool:
    """Whether an Extended Offset Table (PS3.3, C.7.6.3.1.8), 64 bits for each frame, holds something else.

    A frame there is one fragment: what is not its length up to the next is its header, and a byte that pads it.
    """
    if TABLES.isdisjoint(image.keys()):
        return False
    tables = [image.get(f"ExtendedOffsetTable{kind}") or b"" for kind in ("", "Lengths")]
    if any(not isinstance(table, bytes) or len(table) % 8 for table in tables):
        return True
    offsets, lengths = ([number for (number,) in struct.iter_unpack("<Q", table)] for table in tables)
    size = len(image.get("PixelData") or b"") - ITEM_HEADER
    gaps = [after - before for before, after in pairwise([*offsets, size])]
    odd = len(lengths) != len(offsets) or any(
        gap - length - ITEM_HEADER not in (0, 1) for gap, length in zip(gaps, lengths, strict=False)
    )
    return odd or not _rise(offsets, size)


def _look(syntax: UID) -> Look | None:
    for pattern, look in (
        (JPEG, _in_jpeg),
        (JPEG_LS, _in_jpeg_ls),
        (JPEG_2000, _in_jpeg_2000),
        (RLE, _in_rle),
    ):
        if pattern.fullmatch(syntax):
            return look
    return None


def _in_rle(picture: Picture) -> Iterator[str]:
    """A fragment is a frame, with a segment for each byte of a pixel (PS3.5, A.4.2 and G.2)."""
    frames, samples, bits, rows, columns = (
        _number(picture.image, keyword)
        for keyword in ("NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "Rows", "Columns")
    )
    segments, length = samples * -(-bits // 8), -(-rows * columns * min(bits, 8) // 8)
    if len(picture.items) != 1 + frames:
        yield "another number of frames than they say"
    elif not all(rle.is_sound(frame, segments, length) for frame in picture.fragments()):
        yield "something beside the pixels of a frame"


def _number(image: Dataset, keyword: str) -> int:
    """1 where it is not said. Raises OddFormatError where it is no number."""
    try:
        return int(image.get(keyword) or 1)
    except (TypeError, ValueError):
        raise OddFormatError from None


def _in_jpeg(picture: Picture) -> Iterator[str]:
    return (words for frame in _frames(picture, jpeg.is_one) for words in _in_one_jpeg(frame))


def _in_jpeg_ls(picture: Picture) -> Iterator[str]:
    """In its coded data FF is followed by less than 80 (ITU-T T.87, A.1); jpeg knows only 00."""
    for frame in _frames(picture, jpeg.is_one):
        yield from _in_one_jpeg(re.sub(rb"\xff[\x01-\x7f]", b"\xff\0", frame))


def _in_jpeg_2000(picture: Picture) -> Iterator[str]:
    return (words for frame in _frames(picture, jpeg2000.is_one) for words in jpeg2000.texts(frame))


def _frames(picture: Picture, begins: Callable[[bytes], bool]) -> Iterator[bytes]:
    """Fragments put together to pictures (PS3.5, A.4)."""
    whole: list[bytes] = []
    for fragment in picture.fragments():
        if whole and begins(fragment):
            yield b"".join(whole)
            whole = []
        whole.append(fragment)
    yield b"".join(whole)


def _in_one_jpeg(frame: bytes) -> list[str]:
    """What fills a fragment up to an even length is no part of the picture."""
    if not jpeg.is_one(frame):
        raise OddFormatError
    return [spot.words for spot in jpeg.spots(io.BytesIO(frame.rstrip(b"\0\xff")))]
