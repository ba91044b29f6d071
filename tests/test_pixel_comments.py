"""What stands in compressed pixels beside the picture, and what encoders write there that names nobody."""

import io
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from casedrop import jpeg as jpeg_files
from casedrop import jpeg2000
from casedrop.errors import CaseProblem
from casedrop.model import Procedure
from casedrop.pixel_comments import refuse_comments
from identifying import image, jpeg, jpeg_2000, jpeg_ls, rle, segment

STANDARD = Procedure("dicom-standard")
TEXT = b"Kapitein Haddock"
PLANES = bytes(range(64)), bytes(64)
GREY = Image.linear_gradient("L")
COLOURS = Image.merge("RGB", (GREY, GREY, GREY.rotate(90)))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def word(dataset: Dataset, syntax: str) -> str:
    """Of the problem, "" where there is none."""
    try:
        refuse_comments(dataset, UID(syntax), STANDARD)
    except CaseProblem as no:
        return no.problems[0].word
    return ""


def picture(*frames: bytes) -> Dataset:
    made = image(NumberOfFrames=len(frames))
    made.PixelData = encapsulate(list(frames))
    return made


def passes(syntax: str, *frames: bytes) -> bool:
    found = word(picture(*frames), syntax)
    assert found in ("", "names-in-text")
    return not found


def saved(kind: str, picture: Image.Image = COLOURS, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


def jp2(inner: bytes = b"", outer: bytes = b"", brand: bytes = b"jp2 ") -> bytes:
    head = (
        box(b"ihdr", struct.pack(">IIHBBBB", 8, 8, 1, 15, 7, 0, 0))
        + box(b"colr", b"\1\0\0\0\0\0\x11")
        + inner
    )
    file = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", brand + b"\0\0\0\0jp2 ")
    return file + box(b"jp2h", head) + outer + box(b"jp2c", jpeg_2000())


GOOD = rle(*PLANES)
DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
NAMED_HEADER = GOOD[:12] + TEXT + GOOD[12 + len(TEXT) :]


@pytest.mark.parametrize(
    "frame",
    [
        rle(*PLANES, gap=TEXT),
        GOOD + TEXT,
        NAMED_HEADER,
        rle(*PLANES, TEXT.ljust(64)),
        rle(TEXT.ljust(64)),
        GOOD[:40],
        GOOD[:-8],
        rle(PLANES[0] + TEXT, PLANES[1]),
        TEXT,
    ],
)
@pytest.mark.parametrize("before", [0, 1])
def test_each_frame_of_rle_is_its_pixels_and_nothing_else(frame: bytes, before: int) -> None:
    assert passes(RLELossless, *[GOOD] * (before + 1))
    assert not passes(RLELossless, *[GOOD] * before, frame)


def test_a_fragment_of_rle_beside_the_frames_is_refused() -> None:
    made = picture(GOOD, GOOD)
    made.NumberOfFrames = 1
    assert word(made, RLELossless) == "names-in-text"


def test_runs_of_rle_and_bits_that_are_packed_are_counted() -> None:
    packed = struct.pack("<16L", 2, 64, 68, *[0] * 13) + b"\xc1\7\x80\0" + b"\xe1\1\xe1\2"
    assert passes(RLELossless, packed)
    bits = picture(struct.pack("<16L", 1, 64, *[0] * 14) + b"\xf9\7")
    bits.BitsAllocated = 1
    assert not word(bits, RLELossless)


JFIF = b"JFIF\0\1\1\0\0\1\0\1"


@pytest.mark.parametrize(
    ("marker", "content"),
    [
        *[(marker, TEXT) for marker in (0x00, 0x01, 0x02, 0xC8, 0xD0, 0xF0, 0xF7, 0xF8, 0xFD)],
        *[(marker, TEXT) for marker in (0xC0, 0xC4, 0xCC, 0xDA, 0xDB, 0xDE)],
        (0xDC, b"\0\1" + TEXT),
        (0xDD, b"\0\0" + TEXT),
        (0xE0, JFIF + b"\0\0" + TEXT),
        (0xE0, JFIF + b"\1\5" + TEXT[:15]),
        (0xE0, b"JFIF\0" + TEXT[:9]),
        (0xE0, b"JFXX\0\x13" + TEXT),
        (0xE0, b"AVI1\0" + TEXT),
        (0xE8, b"SPIFF\0" + TEXT.ljust(24)),
        (0xEE, b"Adobe" + TEXT),
        (0xEE, b"Adobe" + TEXT[:7]),
        (0xE2, b"ICC_PROFILE\0\1\1" + TEXT),
        (0xE2, b"ICC_PROFILE\0\1\1" + PROFILE + TEXT),
    ],
)
def test_a_segment_of_jpeg_holds_no_more_than_its_numbers(marker: int, content: bytes) -> None:
    assert not passes(JPEGBaseline8Bit, jpeg(segment(marker, content)))
    assert not passes(JPEGLSLossless, jpeg_ls(segment(marker, content)))


@pytest.mark.parametrize(
    ("marker", "content"),
    [
        (0xFE, b"Intel(R) JPEG Library, version [1.51.12.44]\0"),
        (0xFE, b"Intel(R) JPEG Library, version 1,5,4,36"),
        (0xFE, b"AppleMark\n"),
        (0xFE, b"MITRA_DICOM_STANDARD"),
        (0xE0, b"AVI1\0"),
        (0xE0, b"AVI1\1\0\0\0\x10\0\0\0\x10\0"),
        (0xE0, b"JFXX\0\x13\0\0"),
        (0xE0, b"LJIF\0\1" + bytes(7)),
        (0xEE, b"Adobe\0\x64\x80\0\0\0\1"),
        (0xEE, b"Adobe" + bytes(5)),
        (0xDD, b"\0\4"),
    ],
)
def test_what_encoders_of_jpeg_write_is_sent(marker: int, content: bytes) -> None:
    assert passes(JPEGBaseline8Bit, jpeg(segment(marker, content)))


@pytest.mark.parametrize(
    "text", [b"AppleMark Jane", b"Intel(R) JPEG Library, version [Jane]", b"AppleMark\0Jane"]
)
def test_an_encoders_name_makes_no_comment_technical(text: bytes) -> None:
    assert not passes(JPEGBaseline8Bit, jpeg(segment(0xFE, text)))
    assert not passes(JPEG2000, jpeg_2000(segment(0x64, b"\0\1Kakadu-v7.2 " + text)))


@pytest.mark.parametrize(
    "text",
    [
        "Creator: AV-J2K (c) 2000,2001 Algo Vision Technology",
        "OpenJPH Ver 0.7.3.",
        "nvJPEG2000 v0.8.1",
        "Aware, Inc.",
        "Pegasus Imaging Corp.",
    ],
)
def test_what_encoders_of_jpeg_2000_say_is_sent(text: str) -> None:
    assert passes(JPEG2000, jpeg_2000(segment(0x64, b"\0\1" + text.encode())))


SIZE = segment(0x52, b"\0\0\0\1\0\5\4\4\0\1") + segment(0x5C, b"\x40" + bytes(16))
"""How the picture is coded: halved five times."""
LENGTHS = segment(0x55, b"\0\x50\0" + (20).to_bytes(4))
PACKETS = segment(0x58, b"\0\6")


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"", segment(0x6F, TEXT)),
        (b"", segment(0x63, TEXT)),
        (b"", segment(0x60, TEXT)),
        (b"", b"\xff\x30" + TEXT),
        (SIZE, SIZE + segment(0x53, b"\0\0\5\4\4\0\1" + TEXT)),
        (SIZE, SIZE[:14] + segment(0x5C, b"\x40" + bytes(16) + TEXT)),
        (LENGTHS, segment(0x55, b"\0\x50" + TEXT[:15])),
        (segment(0x5E, b"\0\0\3"), segment(0x5E, b"\0\0\3" + TEXT)),
        (segment(0x5F, b"\0\0\0\1\5\1\1"), segment(0x5F, TEXT[:14])),
        (segment(0x59, b"\0\1"), segment(0x59, TEXT)),
        (segment(0x50, b"\0\2\0\0\0\3"), segment(0x50, TEXT)),
        (b"", segment(0x90, TEXT[:8])),
    ],
)
def test_a_segment_of_jpeg_2000_holds_no_more_than_its_numbers(good: bytes, bad: bytes) -> None:
    assert passes(JPEG2000, jpeg_2000(good))
    assert not passes(JPEG2000, jpeg_2000(bad))


def test_lengths_of_packets_add_up_to_what_is_coded() -> None:
    for told, taken in (
        (PACKETS, True),
        (segment(0x58, b"\0\2\4"), True),
        (segment(0x58, b"\0" + TEXT), False),
    ):
        size = (20 + len(told)).to_bytes(4)
        frame = jpeg_2000().replace(b"\0\0\0\x14\0\1", size + b"\0\1" + told)
        assert passes(JPEG2000, frame) is taken


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (jp2(), jp2(box(b"xml ", TEXT))),
        (jp2(box(b"res ", box(b"resc", bytes(10)))), jp2(box(b"res ", box(b"xml ", TEXT)))),
        (jp2(box(b"bpcc", b"\7")), jp2(box(b"bpcc", TEXT))),
        (jp2(box(b"colr", b"\2\0\0" + PROFILE)), jp2(box(b"colr", b"\2\0\0" + PROFILE + TEXT))),
        (jp2(box(b"pclr", b"\0\1\2\7\7ab")), jp2(box(b"pclr", b"\0\1\2\7\7ab" + TEXT))),
        (jp2(box(b"cmap", b"\0\0\1\0")), jp2(box(b"cmap", TEXT))),
        (jp2(box(b"cdef", b"\0\1\0\0\0\0\0\1")), jp2(box(b"cdef", TEXT[:14]))),
        (jp2(box(b"ihdr", struct.pack(">IIHBBBB", 8, 8, 1, 15, 7, 0, 0))), jp2(box(b"ihdr", TEXT[:14]))),
        (jp2(), jp2(outer=box(b"rreq", TEXT))),
        (jp2(), jp2(outer=box(b"jp2h", box(b"jp2h", TEXT)))),
        (jp2(), jp2(brand=b"Jane")),
        (jp2() + b"\0", jp2() + box(b"xml ", TEXT)),
    ],
)
def test_a_jp2_holds_known_boxes_alone(good: bytes, bad: bytes) -> None:
    assert passes(JPEG2000, good)
    assert not passes(JPEG2000, bad)


WRITTEN: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: saved("JPEG"),
    "progressive": lambda: saved("JPEG", progressive=True, restart_marker_rows=1),
    "four colours": lambda: saved("JPEG", COLOURS.convert("CMYK")),
    "profile": lambda: saved("JPEG", icc_profile=PROFILE, dpi=(300, 300)),
    "long profile": lambda: saved(
        "JPEG", icc_profile=(150_000).to_bytes(4) + PROFILE[4:] + bytes(150_000 - len(PROFILE))
    ),
    "codestream": lambda: saved("JPEG2000", no_jp2=True),
    "jp2": lambda: saved("JPEG2000", COLOURS.convert("RGBA"), num_resolutions=2),
    "tiles": lambda: saved("JPEG2000", plt=True, tile_size=(100, 100), no_jp2=True),
    "layers": lambda: saved("JPEG2000", irreversible=True, quality_layers=[40, 10], precinct_size=(128, 128)),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_libraries_write_is_sent(kind: str) -> None:
    frame = WRITTEN[kind]()
    assert passes(JPEG2000 if jpeg2000.is_one(frame) else JPEGBaseline8Bit, frame)


FRAMES: dict[str, bytes] = {
    RLELossless: GOOD,
    JPEGBaseline8Bit: saved("JPEG", GREY),
    JPEGLSLossless: jpeg_ls(segment(0xF7, b"\x08\0\x08\0\x08\1\1\x11\0"), segment(0xE8, b"mrfx\1")),
    JPEG2000Lossless: saved("JPEG2000", GREY, plt=True, no_jp2=True),
    JPEG2000: jp2(),
}
CODED: dict[str, bytes] = {RLELossless: b"", JPEGBaseline8Bit: b"\xff\xda", JPEGLSLossless: b"\xff\xda"}
WORDS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ^-", min_size=6, max_size=80)


@given(syntax=st.sampled_from(list(FRAMES)), words=WORDS, data=st.data())
def test_a_text_before_the_coded_data_never_goes_along(syntax: str, words: str, data: st.DataObject) -> None:
    frame = FRAMES[syntax]
    mark = CODED.get(syntax, b"\xff\x93")
    at = data.draw(st.integers(0, frame.index(mark) if mark else len(frame)))
    assert passes(syntax, frame)
    assert not passes(syntax, frame[:at] + words.encode() + frame[at:])


@given(marker=st.integers(0, 255), words=WORDS)
def test_no_segment_carries_a_text(marker: int, words: str) -> None:
    content = b"Zw" + words.encode()
    assert not passes(JPEGBaseline8Bit, jpeg(segment(marker, content)))
    assert not passes(JPEG2000, jpeg_2000(SIZE, segment(marker, content)))


@given(
    syntax=st.sampled_from(list(FRAMES)),
    at=st.floats(0, 1),
    gone=st.integers(0, 40),
    instead=st.binary(max_size=40),
    whole=st.booleans(),
)
def test_damage_is_refused_or_passed_but_never_raises(
    syntax: str, at: float, gone: int, instead: bytes, *, whole: bool
) -> None:
    frame = FRAMES[syntax]
    made = picture(frame)
    if whole:
        place = int(at * len(made.PixelData))
        made.PixelData = made.PixelData[:place] + instead + made.PixelData[place + gone :]
    else:
        place = int(at * len(frame))
        made.PixelData = encapsulate([frame[:place] + instead + frame[place + gone :]])
    assert word(made, syntax) in ("", "names-in-text", "not-deidentified")


@pytest.mark.parametrize(
    ("offsets", "lengths", "taken"),
    [
        ([], [], True),
        ([0, 202], [194, 194], True),
        ([0, 202], [193, 194], True),
        ([0], [194], False),
        ([0, 202], [], False),
        ([202, 0], [194, 194], False),
        ([0, 202], [0x656E614A, 194], False),
        ([0, 203], [194, 194], False),
    ],
)
def test_long_offsets_are_places_of_the_frames(
    offsets: list[int], lengths: list[int], *, taken: bool
) -> None:
    assert len(GOOD) == 196
    made = picture()
    made.NumberOfFrames = 2
    made.PixelData = encapsulate([GOOD[:-2]] * 2, has_bot=False)
    made.ExtendedOffsetTable = struct.pack(f"<{len(offsets)}Q", *offsets)
    made.ExtendedOffsetTableLengths = struct.pack(f"<{len(lengths)}Q", *lengths)
    nested = image(SourceImageSequence=[made], PixelData=bytes(128))
    assert (word(nested, ExplicitVRLittleEndian) == "") is taken
    made.ExtendedOffsetTable = b"Zwaardvis"
    assert word(nested, ExplicitVRLittleEndian) == "not-deidentified"


def icon(pixels: bytes | None) -> Dataset:
    made = Dataset()
    made.Rows = made.Columns = 8
    made.BitsAllocated, made.SamplesPerPixel = 16, 1
    made.PixelData = pixels
    return made


def test_icons_are_looked_into_where_they_are_compressed() -> None:
    for pixels, found in (
        (None, ""),
        (b"", ""),
        (bytes(128), ""),
        (encapsulate([GOOD]), ""),
        (encapsulate([GOOD + TEXT]), "names-in-text"),
    ):
        made = picture(GOOD)
        made.IconImageSequence = [icon(pixels)]
        assert word(made, RLELossless) == found


def test_pixels_that_are_not_compressed_may_begin_as_they_like() -> None:
    pixels = b"\xfe\xff\x00\xe0".ljust(128, b"z")
    assert not word(image(PixelData=pixels), ExplicitVRLittleEndian)


@pytest.mark.parametrize(
    "pixels",
    [TEXT * 8, encapsulate([GOOD]) + TEXT, encapsulate([GOOD]) + b"Ja", encapsulate([GOOD])[:-9], DELIMITER],
)
def test_compressed_pixels_are_frames_and_nothing_else(pixels: bytes) -> None:
    made = image(PixelData=pixels)
    assert word(made, RLELossless) == "not-deidentified"
    made.PixelData = encapsulate([GOOD]) + DELIMITER
    assert not word(made, RLELossless)


@pytest.mark.parametrize("text", [JFIF + b"\0\0Jane", b"Adobe\0\x64\0\0\0\0\2Jane"])
def test_a_copy_without_a_text_keeps_its_colours_and_sizes(text: bytes) -> None:
    marker = 0xE0 if text.startswith(b"JFIF") else 0xEE
    (spot,) = jpeg_files.spots(io.BytesIO(jpeg(segment(marker, text))))
    assert spot.instead == segment(marker, text.removesuffix(b"Jane"))
