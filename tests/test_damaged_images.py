"""A damaged image file is odd, and neither stops a reader nor keeps it busy."""

import errno
import gzip
import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casedrop import metadata, watch
from casedrop.headers import geometry
from lab import Lab
from test_metadata import BUILDERS, CANARY, HARMLESS, nifti, saved


def zipped(name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as packed:
        packed.writestr(zipfile.ZipInfo(name), content, method)
    return made.getvalue()


def nifti_at(offset: float) -> bytes:
    return b"".join([nifti("")[:108], struct.pack("<f", offset), nifti("")[112:]])


def tiff_of(number: int, kind: int, count: int, value: int = 0) -> bytes:
    return b"II*\0" + struct.pack("<IHHHIII", 8, 1, number, kind, count, value, 0)


def gps_of(count: int) -> bytes:
    tag = struct.pack("<HHHIII", 1, 29, 1, count, 0, 0)
    return tiff_of(34853, 4, 1, 26) + tag


def big_tiff(first: int) -> bytes:
    return b"II+\0" + struct.pack("<HHQ", 8, 0, first) + bytes(20)


IMPOSSIBLE = {
    "voxels at no number": nifti_at(float("nan")),
    "voxels at no place": nifti_at(float("inf")),
    "in a zip": zipped("a.nii", nifti_at(float("inf"))),
    "in a gzip": gzip.compress(nifti_at(float("nan"))),
    "directories of no type": tiff_of(330, 99, 1),
    "a position too long to be emptied": gps_of(1 << 32 - 1),
    "a position behind the end": gps_of(1000),
    "a directory behind all numbers": big_tiff(1 << 63),
    "a directory behind all files": big_tiff((1 << 63) - 1),
    "a segment shorter than its length": b"\xff\xd8\xff\xe1\0\0" + b"x" * 20,
    "a gzip of three bytes": b"\x1f\x8b\x08",
}

CASES = {name: (file, build(CANARY)) for name, (file, build, _) in BUILDERS.items()} | HARMLESS
FILES = CASES | {
    "zip": ("a.zip", zipped("a.png", saved("PNG", pnginfo=None))),
    "bzip2": ("a.zip", zipped("a.nii", nifti(CANARY), zipfile.ZIP_BZIP2)),
    "lzma": ("a.zip", zipped("a.nii", nifti(CANARY), zipfile.ZIP_LZMA)),
    "stored": ("a.zip", zipped("a.tif", saved("TIFF"), zipfile.ZIP_STORED)),
}


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file's name, and its bytes with some other than they were, put in, or cut off."""
    name, content = FILES[draw(st.sampled_from(sorted(FILES)))]
    broken = bytearray(content)
    place = st.one_of(st.integers(0, min(len(broken), 600)), st.integers(0, len(broken)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(place)
        some = draw(st.one_of(st.binary(min_size=1, max_size=9), st.sampled_from([b"\xff" * 8, bytes(8)])))
        kind = draw(st.sampled_from(["other", "other", "more", "cut"]))
        if kind == "other":
            broken[at : at + len(some)] = some
        elif kind == "more":
            broken[at:at] = some
        else:
            del broken[at + 20 :]
    return name, bytes(broken)


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_file_that_says_what_cannot_be_is_odd(tmp_path: Path, case: str) -> None:
    (tmp_path / "a").write_bytes(IMPOSSIBLE[case])
    with (tmp_path / "a").open("rb") as file:
        assert metadata.find(file).odd


@settings(max_examples=600, deadline=None)
@given(damaged())
def test_no_damage_stops_what_is_looked_at_before_a_case_is_made(file: tuple[str, bytes]) -> None:
    name, content = file
    found = metadata.find(io.BytesIO(content))
    assert all(0 <= spot.start <= spot.end for spot in found.spots)
    geometry(name, content)
    watch._holds_dicom(io.BytesIO(content), depth=0)


@given(st.sampled_from([name for name, _ in FILES.values()]), st.binary(max_size=600))
def test_nor_do_any_bytes(name: str, content: bytes) -> None:
    for start in (b"", b"PK\x03\x04", b"\x1f\x8b\x08\0", b"BZh9", *(one[:40] for _, one in FILES.values())):
        metadata.find(io.BytesIO(start + content))
        geometry(name, start + content)
        watch._holds_dicom(io.BytesIO(start + content), depth=0)


def test_a_zip_of_which_only_the_end_is_odd_is_in_doubt(tmp_path: Path) -> None:
    """zipfile raises, though it is only asked whether that is a zip."""
    split = b"PK\x06\x07" + struct.pack("<LQL", 0, 0, 2) + b"PK\x05\x06" + bytes(18)
    (tmp_path / "a.mha").write_bytes(bytes(600) + split)
    assert watch.is_dicom(str(tmp_path), "a.mha") is None


def test_a_zip_with_a_member_of_no_name_is_in_doubt(tmp_path: Path) -> None:
    """zipfile looks at the last letter of the name."""
    whole = zipped("a", b"text")
    listed, end = whole.index(b"PK\x01\x02"), whole.index(b"PK\x05\x06")
    entry = whole[listed : listed + 28] + bytes(2) + whole[listed + 30 : listed + 46]
    nameless = whole[:listed] + entry + whole[end : end + 12] + struct.pack("<L", 46) + whole[end + 16 :]
    (tmp_path / "a.zip").write_bytes(nameless)
    assert watch.is_dicom(str(tmp_path), "a.zip") is None
    assert metadata.find(io.BytesIO(nameless)).odd


def test_an_error_of_the_disk_is_no_damage() -> None:
    class Dying(io.BytesIO):
        def read(self, _count: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "dying")

    with pytest.raises(OSError, match="dying"):
        metadata.find(Dying(nifti("")))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "content",
    [
        HARMLESS["simpleitk"][1] + b"\n" * (1 << 20),
        b"\xff\xd8\xff\xda\0\2" + b"\xff" * (1 << 20),
        b"\xff\xd8" + b"\xff" * (1 << 20),
    ],
    ids=["voxels like line ends", "coded data of FF", "FF before a marker"],
)
def test_a_long_row_of_one_byte_keeps_nobody_busy(content: bytes) -> None:
    metadata.find(io.BytesIO(content))


@pytest.mark.long
def test_a_folder_with_a_damaged_image_fails_and_says_why(lab: Lab) -> None:
    lab.config.write_text(lab.config.read_text().replace('"*.mha"', '["*.nii", "*.zip"]'))
    lab.move_in("P1", a__nii=IMPOSSIBLE["voxels at no number"])
    lab.move_in("P2", a__zip=IMPOSSIBLE["in a zip"])
    assert lab.once() == 1
    for name, file in (("P1", "a.nii"), ("P2", "a.zip")):
        reason = lab.wait_failed(name)
        assert f"{file} is not built as its format says" in reason
        assert reason.endswith("(For the administrator's `casedrop retry --reason`: metadata)")


def test_a_header_that_ends_within_its_last_line_is_in_doubt() -> None:
    whole = b"ObjectType = Image\nNDims = 3\nComment = Doe\nElementDataFile"
    assert metadata.find(io.BytesIO(whole)).odd
    assert not metadata.find(io.BytesIO(whole + b" = LOCAL\n")).odd
