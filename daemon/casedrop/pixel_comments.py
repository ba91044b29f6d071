"""Texts that stand inside compressed pixels, where no header rule finds them. Pure."""

import io
import re
import struct
from collections.abc import Callable, Iterator

from pydicom import Dataset
from pydicom.encaps import generate_fragments, parse_basic_offsets
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, RLELossless

from casedrop import jpeg
from casedrop.errors import CaseProblem
from casedrop.essence import (
    ITEM,
    PIXEL_TAGS,
    elements,
)
from casedrop.model import Problem, Procedure
from casedrop.near import several
from casedrop.spots import OddFormatError, is_technical, read_at

JPEG = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.(5\d|6\d|70)")
JPEG_LS = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.8[01]")
JPEG_2000 = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.(9[0-3]|20[1-3])")
RLE = re.compile(re.escape(RLELossless))
STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
"""How a picture of these begins: JPEG and JPEG-LS, a JPEG 2000 codestream, a JP2."""
NO_COMMENT = (b"\xff\xe8\x00\x07mrfx", b"\xff\xe8\x00\x20SPIFF\0", b"\xff\xe8\x00\x08\x00\x00\x00\x01")
"""Segments APP8 of JPEG-LS that hold numbers alone: how colours were transformed, SPIFF's header and its end."""
CAP, COM, SOT, SOD, EOC = 0xFF50, 0xFF64, 0xFF90, 0xFF93, 0xFFD9
"""Markers of JPEG 2000 (ISO/IEC 15444-1, Annex A), the first and the last but one bound those of headers."""
ENCODER = re.compile(
    r"((creat(ed by|or)|compressed by|encoded by):? )?(gdcm/)?(openjpeg|jasper|kakadu|openjph|grok)[- ]?"
    r"(version )?v?[\d.]*|"
    r"kdu-layer-info: log_2\{delta-d\((squared-error|mse)\)/delta-l\(bytes\)\}, l\(bytes\)[\s\d.,e+-]*",
    re.IGNORECASE,
)


ODD_OFFSETS = Problem(
    "not-deidentified",
    "{file} holds something else than places of frames in the table before its compressed pixels, so nothing of "
    "it is sent. Export it anew.",
)


def refuse_comments(dataset: Dataset, syntax: UID, procedure: Procedure) -> None:
    """Texts that stand inside compressed pixels."""
    if not all(_only_offsets(one.value) for _, one in elements(dataset, PIXEL_TAGS)) or _says_more(dataset):
        raise CaseProblem(ODD_OFFSETS)
    look = _look(syntax)
    plain = not syntax.is_compressed or syntax == DeflatedExplicitVRLittleEndian
    if plain or "names-in-text" in procedure.allow:
        return
    if look is None:
        raise CaseProblem(
            Problem(
                "names-in-text",
                "{files} hold pixels in a compression that is not looked into, and could hold a text that names "
                'somebody. Export them uncompressed, or let the data manager set allow = ["names-in-text"].',
            )
        )
    frames = (frame for _, one in elements(dataset, PIXEL_TAGS) for frame in _frames(one.value))
    try:
        found = sorted({words for frame in frames for words in look(frame)})
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


def _only_offsets(pixels: bytes) -> bool:
    """Whether the Basic Offset Table of encapsulated pixels (PS3.5, A.4) holds rising places within them."""
    if pixels[:4] != ITEM[0]:
        return True
    try:
        offsets = parse_basic_offsets(pixels)
    except ValueError:
        return False
    return not offsets or (offsets[0] == 0 and offsets[-1] < len(pixels) and offsets == sorted(set(offsets)))


def _says_more(dataset: Dataset) -> bool:
    """Whether an Extended Offset Table (PS3.3, C.7.6.3.1.8), 64 bits for each frame, tells of places elsewhere."""
    pixels = len(dataset.get("PixelData") or b"")
    tables = (bytes(dataset.get(f"ExtendedOffsetTable{kind}") or b"") for kind in ("", "Lengths"))
    return any(number > pixels for table in tables for (number,) in struct.iter_unpack("<Q", table))


def _look(syntax: UID) -> Callable[[bytes], list[str]] | None:
    for pattern, look in (
        (JPEG, _in_jpeg),
        (JPEG_LS, _in_jpeg_ls),
        (JPEG_2000, _in_jpeg_2000),
        (RLE, _in_rle),
    ):
        if pattern.fullmatch(syntax):
            return look
    return None


def _frames(pixels: bytes) -> Iterator[bytes]:
    """Fragments put together to pictures (PS3.5, A.4); none where they are not encapsulated."""
    if pixels[:4] != ITEM[0]:
        return
    buffer = io.BytesIO(pixels)
    parse_basic_offsets(buffer)
    whole: list[bytes] = []
    for fragment in generate_fragments(buffer):
        if whole and fragment.startswith(STARTS):
            yield b"".join(whole)
            whole = []
        whole.append(fragment)
    yield b"".join(whole)


def _in_rle(frame: bytes) -> list[str]:
    """A header of 16 numbers of 32 bits: of segments, and where each begins, the rest 0 (PS3.5, G.5)."""
    count, *places = struct.unpack_from("<16L", frame)
    used = places[:count]
    alike = len(used) == count and used == sorted(used) and max(used, default=0) < len(frame)
    return [] if alike and not any(places[count:]) else ["something in the header of a frame"]


def _in_jpeg(frame: bytes) -> list[str]:
    """What fills a fragment up to an even length is no part of the picture."""
    if not jpeg.is_one(frame):
        raise OddFormatError
    spots = jpeg.spots(io.BytesIO(frame.rstrip(b"\0\xff")))
    return [spot.words for spot in spots if not frame.startswith(NO_COMMENT, spot.start)]


def _in_jpeg_ls(frame: bytes) -> list[str]:
    """In its coded data FF is followed by less than 80 (ITU-T T.87, A.1); jpeg knows only 00."""
    return _in_jpeg(re.sub(rb"\xff[\x01-\x7f]", b"\xff\0", frame))


def _in_jpeg_2000(frame: bytes) -> list[str]:
    """Comments in the headers of the picture and of its tile-parts, and what stands behind it."""
    file, at, end, found = io.BytesIO(frame), _codestream(frame), len(frame), set()
    while at < len(frame):
        marker = int.from_bytes(read_at(file, at, 2))
        if marker == EOC:
            found |= {"data behind the image"} if frame[at + 2 :].strip(b"\0\xff") else set()
            break
        if marker == SOD:
            at = end
            continue
        length = int.from_bytes(read_at(file, at + 2, 2))
        if marker == SOT:
            size = int.from_bytes(read_at(file, at + 6, 4))
            end = at + size if size else frame.rfind(EOC.to_bytes(2))
        elif marker == COM and not _is_encoder(read_at(file, at + 4, length - 2)):
            found.add("comment (COM)")
        if not CAP <= marker < SOD or length < 2 or end <= at:  # noqa: PLR2004  a length counts itself
            raise OddFormatError
        at += 2 + length
    return sorted(found)


def _codestream(frame: bytes) -> int:
    """Where the first segment begins, in a JP2 behind its boxes (ISO/IEC 15444-1, Annex I)."""
    at, file = 0, io.BytesIO(frame)
    while not frame.startswith(STARTS[1], at):
        size, kind = int.from_bytes(read_at(file, at, 4)), read_at(file, at + 4, 4)
        if kind not in (b"jP  ", b"ftyp", b"rreq", b"jp2h", b"jp2c"):
            raise OddFormatError
        at += 8 if kind == b"jp2c" else max(size, 8)
    return at + 2


def _is_encoder(comment: bytes) -> bool:
    """Whether a comment (a number that tells its kind, then text) only says what made the picture."""
    text = comment[2:].decode("latin-1").strip(" \t\r\n\0")
    return is_technical(text) or ENCODER.fullmatch(text) is not None
