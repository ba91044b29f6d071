"""What the header of an image tells."""

import gzip
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casedrop.headers import geometry, same
from casedrop.model import Geometry

MHA = b"NDims = 3\nDimSize = 4 5 6\nElementSpacing = 0.5 -0.5 2\nElementDataFile = LOCAL\n"
NIFTI = struct.pack("<i36x8h20x8f15xB", 348, 3, 4, 5, 6, 1, 1, 1, 1, 0, 0.5, 0.5, 2, 1, 1, 1, 1, 2) + bytes(
    200
)
PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 40, 50) + bytes(9)
JPEG = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0" + struct.pack(">HBHH", 11, 8, 50, 40) + bytes(6)
VOLUME = Geometry((4, 5, 6), (0.5, 0.5, 2.0))
PLANE = Geometry((40, 50, None))


@pytest.mark.parametrize(
    ("name", "head", "shape"),
    [
        ("a.mha", MHA, VOLUME),
        ("a.mhd", MHA.replace(b"LOCAL", b"a.raw"), VOLUME),
        ("a.nii", NIFTI, VOLUME),
        ("A.NII.GZ", gzip.compress(NIFTI, mtime=0), VOLUME),
        ("a.png", PNG, PLANE),
        ("a.jpeg", JPEG, PLANE),
        ("a.tif", b"II*\0", None),
        ("a.mha", b"no image", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_size_and_voxel_size_are_read(name: str, head: bytes, shape: Geometry | None) -> None:
    assert geometry(name, head) == shape


@given(st.sampled_from(["a.mha", "a.nii", "a.nii.gz", "a.png", "a.jpg"]), st.binary(max_size=400))
def test_damaged_headers_are_no_geometry_and_no_error(name: str, head: bytes) -> None:
    for start in (b"", MHA[:40], NIFTI[:60], PNG[:16], JPEG[:9]):
        geometry(name, start + head)


def test_an_image_is_the_same_as_far_as_both_say() -> None:
    assert same(PLANE, Geometry((40, 50, 1), (1.0, 1.0, None)))
    assert same(VOLUME, Geometry((4, 5, 6), (0.50001, 0.5, 2.0)))
    assert not same(VOLUME, Geometry((4, 5, 5), (0.5, 0.5, 2.5)))
