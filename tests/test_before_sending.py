"""What is said of files before anything is sent: what they begin as, how long they are, where their voxels lie."""

import gzip
import io
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casedrop import inside, magic, unpacking, watch
from casedrop.check import grid_mistakes
from casedrop.contents import group_folder
from casedrop.dicom_model import DicomTest
from casedrop.errors import CaseProblem, FolderChanged
from casedrop.grids import Grid, apart
from casedrop.model import Drop, Grouping, PlannedFile, PlannedSocket, Problem, SocketKind, SocketRule, Weight
from casedrop.prepare import look_inside, prepare
from casedrop.volumes import volume
from dicoms import write_series
from lab import Lab, mha
from test_damaged_images import damaged
from test_metadata import saved, zipped
from waiting import wait_for

KINDS = {
    "ct": SocketKind("ct", "Image", "Image"),
    "mask": SocketKind("mask", "Segmentation", "Image", (1, 2)),
    "file": SocketKind("file", "ZIP file", "File"),
    "findings": SocketKind("findings", "Anything", "File"),
}
CT = SocketRule("ct", ("ct.*",), required=False)
MASK = SocketRule("mask", ("mask.*",), required=False, same_grid_as="ct")
ALL = (
    CT,
    MASK,
    SocketRule("file", ("file.*",), required=False),
    SocketRule("findings", ("f.*",), required=False),
)


Array = np.ndarray[Any, Any]


def meta(voxels: bytes = b"", size: str = "4 4 4", kind: str = "MET_UCHAR", **fields: str) -> bytes:
    said = {"ObjectType": "Image", "NDims": "3", "DimSize": size, "ElementSpacing": "0.7 0.7 2"} | fields
    data = said.pop("ElementDataFile", "LOCAL")
    lines = "".join(f"{key} = {text}\n" for key, text in said.items())
    return f"{lines}ElementType = {kind}\nElementDataFile = {data}\n".encode() + voxels


def nifti(array: Array, affine: Array | None = None) -> bytes:
    made = nib.Nifti1Image(array, np.eye(4) if affine is None else affine)  # type: ignore[no-untyped-call]
    made.set_sform(made.affine, 1)  # type: ignore[no-untyped-call]
    made.set_qform(made.affine, 1)  # type: ignore[no-untyped-call]
    return bytes(made.to_bytes())


def nrrd(voxels: bytes, *fields: str, encoding: str = "raw") -> bytes:
    said = ["NRRD0004", "type: uchar", "dimension: 3", "sizes: 4 4 4", f"encoding: {encoding}", *fields]
    return "\n".join(said).encode() + b"\n\n" + voxels


def grouped(folder: Path, **files: bytes) -> Grouping:
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    drop = Drop("lung", "/lab", "lung", ALL, metadata="send")
    return group_folder(str(folder), watch.list_folder(str(folder)), drop, KINDS)


def found(folder: Path, **files: bytes) -> list[Problem]:
    """All that is said before sending, by headers and by whole files."""
    grouping = grouped(folder, **files)
    sockets = grouping.plan.sockets if grouping.plan else ()
    return [*grouping.problems, *(one for socket in sockets for one in look_inside(str(folder), socket))]


def said(problems: list[Problem]) -> list[tuple[str, Weight]]:
    return [(problem.word, problem.weight) for problem in problems]


def named(one: object) -> str:
    """Packed bytes hold the time, and tests go by the same names in every process."""
    return one if isinstance(one, str) else ""


CUT, WRONG, NOTE = ("cut-off", Weight.LACKING), Weight.WRONG, Weight.NOTE
PNG, JPEG, TIFF = saved("PNG"), saved("JPEG"), saved("TIFF")
VOXELS = bytes(64)
BAD_CHECKSUM = gzip.compress(b"text " * 99, mtime=0)[:-8] + bytes(4) + struct.pack("<I", 495)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("ct.png", JPEG, "ct.png is no PNG; it begins as a JPEG"),
        ("ct.jpg", PNG, "ct.jpg is no JPEG; it begins as a PNG"),
        ("ct.svs", b"no slide", "ct.svs is no TIFF, by how it begins"),
        ("ct.nii", gzip.compress(b"1"), "ct.nii is no NIfTI; it begins as a gzip"),
        ("ct.nii.gz", mha(), "ct.nii.gz is no gzip; it begins as a MetaImage"),
        ("ct.mha", b"no image", "ct.mha is no MetaImage, by how it begins"),
        ("ct.nrrd", mha(), "ct.nrrd is no NRRD; it begins as a MetaImage"),
        ("file.gz", b"never packed", "file.gz is no gzip, by how it begins"),
        ("ct.png", b"NRRD0004", "ct.png is no PNG; it begins as an NRRD"),
        ("file.pdf", zipped(a=b""), "file.pdf is no PDF; it begins as a zip"),
        ("file.zip", gzip.compress(b"1"), "file.zip is no zip; it begins as a gzip"),
        ("file.mp4", b"%PDF-1.4", "file.mp4 is no MP4; it begins as a PDF"),
        ("f.json", PNG, "f.json is no JSON; it begins as a PNG"),
        ("f.csv", zipped(sheet=b""), "f.csv is no CSV; it begins as a zip"),
    ],
    ids=named,
)
def test_a_file_that_begins_as_another_format_than_its_extension_says_is_wrong(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    problems = [one for one in found(tmp_path, **{name: content}) if one.word == "file-format"]
    assert said(problems) == [("file-format", WRONG)]
    assert words in problems[0].text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ct.png", PNG),
        ("ct.jpeg", JPEG),
        ("ct.tif", TIFF),
        ("ct.nii.gz", nifti(np.zeros((4, 4, 4), np.uint8))),
        ("ct.mha", meta(VOXELS)),
        ("ct.MHA", meta(VOXELS, BinaryData="False")),
        ("ct.nrrd", nrrd(VOXELS)),
        ("ct.nrrd", nrrd(gzip.compress(VOXELS), encoding="gzip")),
        ("ct.mha", meta(zlib.compress(VOXELS), CompressedData="True")),
        ("file.pdf", b"junk before it %PDF-1.7"),
        ("file.pdf", b""),
        ("file.zip", zipped(a=b"text" * 9999)),
        ("file.zip", b"#!/bin/sh\n" + zipped(a=b"text")),
        ("file.mp4", b"\0\0\0\x08free"),
        ("file.gz", gzip.compress(b"one") + bytes(9) + gzip.compress(b"two") + b"behind"),
        ("f.json", b'\xef\xbb\xbf{"a": [1, null]}'),
        ("f.csv", "ü;1".encode("utf-16")),
        ("f.xyz", PNG),
    ],
    ids=named,
)
def test_what_readers_take_is_not_refused(tmp_path: Path, name: str, content: bytes) -> None:
    assert [one for one in found(tmp_path, **{name: content}) if one.weight is not NOTE] == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ct.mha", meta(VOXELS[1:])),
        ("ct.mha", meta(zlib.compress(VOXELS)[:-5], CompressedData="True")),
        ("ct.mha", meta(zlib.compress(VOXELS[1:]), CompressedData="True")),
        ("ct.nii", nifti(np.zeros((4, 4, 4), np.int16))[:-1]),
        ("ct.nii.gz", gzip.compress(nifti(np.zeros((4, 4, 4), np.int16)))[:-3]),
        ("ct.nii.gz", gzip.compress(nifti(np.zeros((4, 4, 4), np.int16))[:-1])),
        ("ct.nii.gz", nifti(np.zeros((4, 4, 4), np.int16))[:-1]),
        ("ct.nrrd", nrrd(VOXELS[1:])),
        ("ct.nrrd", nrrd(gzip.compress(VOXELS)[:-9], encoding="gz")),
        ("file.gz", gzip.compress(b"text" * 99)[:-1]),
        ("file.gz", gzip.compress(b"text") + gzip.compress(b"text")[:12]),
        ("file.zip", zipped(a=bytes(9999))[:-30]),
    ],
    ids=named,
)
def test_a_file_that_ends_before_its_own_format_says_is_waited_for(
    tmp_path: Path, name: str, content: bytes
) -> None:
    problems = found(tmp_path, **{name: content})
    assert said(problems) == [CUT]
    assert f"{name} looks cut off" in problems[0].text


def test_data_of_a_header_apart_are_counted_too(tmp_path: Path) -> None:
    header = meta(ElementDataFile="ct.raw")
    assert said(found(tmp_path, ct__mhd=header, ct__raw=VOXELS)) == []
    assert said(found(tmp_path, ct__mhd=header, ct__raw=VOXELS[1:])) == [CUT]
    from_the_end = meta(ElementDataFile="ct.raw", HeaderSize="-1")
    assert said(found(tmp_path, ct__mhd=from_the_end, ct__raw=b"xx" + VOXELS)) == []
    assert said(found(tmp_path, ct__mhd=from_the_end, ct__raw=VOXELS[1:])) == [CUT]


def test_more_than_the_voxels_is_only_said(tmp_path: Path) -> None:
    grouping = grouped(tmp_path, ct__mha=meta(VOXELS + b"\n"))
    assert grouping.plan
    assert said([*grouping.problems]) == [("more-data", NOTE)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("file.gz", BAD_CHECKSUM),
        ("ct.nii.gz", gzip.compress(nifti(np.zeros((4, 4, 4), np.int16)))[:-8] + bytes(8)),
        ("ct.mha", meta(zlib.compress(VOXELS)[:-4] + b"oops", CompressedData="True")),
    ],
    ids=named,
)
def test_a_wrong_checksum_is_damage(tmp_path: Path, name: str, content: bytes) -> None:
    problems = found(tmp_path, **{name: content})
    assert said(problems) == [("damaged", WRONG)]
    assert f"{name} is damaged" in problems[0].text


def test_an_entry_of_a_zip_with_a_wrong_checksum_is_named(tmp_path: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        packed.writestr("whole.txt", b"text")
        packed.writestr("broken.txt", b"canary " * 9999)
    content = bytearray(made.getvalue())
    content[content.rindex(b"canary")] ^= 1
    (problem,) = found(tmp_path, file__zip=bytes(content))
    assert (problem.word, problem.weight) == ("damaged", WRONG)
    assert "broken.txt in it" in problem.text


@pytest.mark.parametrize(
    "content", [b"{", b'{"a": NaN}', b"[Infinity]", b"\xff", b"{} {}", b"[" * 100_000], ids=named
)
def test_a_json_file_that_does_not_parse_is_wrong(tmp_path: Path, content: bytes) -> None:
    (problem,) = found(tmp_path, f__json=content)
    assert (problem.word, problem.weight) == ("bad-json", WRONG)
    assert "f.json is not valid JSON" in problem.text


def test_what_is_too_large_to_look_at_is_let_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "MOST_JSON", 9)
    monkeypatch.setattr(unpacking, "MOST_UNPACKED", 1 << 20)
    assert found(tmp_path, f__json=b"[" * 10, ct__nii__gz=gzip.compress(bytes(9 << 20))[:-9]) == []


def masks(dtype: type, values: list[int]) -> dict[str, bytes]:
    """One array in every format that is read: voxels in a block far from the first."""
    array: Array = np.zeros((64, 64, 64), dtype)
    array.reshape(-1)[-len(values) :] = values
    voxels = array.tobytes()
    little, big = np.dtype(dtype).str.replace("|", "<"), array.astype(array.dtype.newbyteorder(">")).tobytes()
    met = {"u1": "MET_UCHAR", "i2": "MET_SHORT", "i4": "MET_INT", "f4": "MET_FLOAT"}[little[1:]]
    name = {"u1": "uint8", "i2": "int16", "i4": "int32", "f4": "float"}[little[1:]]
    head = f"NRRD0004\ntype: {name}\ndimension: 3\nsizes: 64 64 64\nendian: big\nencoding: gzip\n\n".encode()
    size = {"size": "64 64 64", "kind": met}
    return {
        "mask.mha": meta(voxels, **size),
        "mask.packed.mha": meta(zlib.compress(voxels), CompressedData="True", **size),
        "mask.big.mha": meta(big, BinaryDataByteOrderMSB="True", **size),
        "mask.nii": nifti(array),
        "mask.nii.gz": gzip.compress(nifti(array)),
        "mask.nrrd": head + gzip.compress(big),
    }


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_voxel_values_that_are_no_segments_are_named(tmp_path: Path, dtype: type) -> None:
    for name, made in masks(dtype, [1, 2, 0, 2]).items():
        assert found(tmp_path, **{name: made}) == []
        (tmp_path / name).unlink()
    for name, made in masks(dtype, [1, 7, 3, 3]).items():
        (problem,) = found(tmp_path, **{name: made})
        assert (problem.word, problem.weight) == ("voxel-values", WRONG)
        assert 'holds the voxel values 3, 7, and the socket "mask" takes only' in problem.text
        assert "the voxel values 0, 1, 2 (its segments" in problem.text
        (tmp_path / name).unlink()


def test_of_many_strange_values_five_are_named(tmp_path: Path) -> None:
    array = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    (problem,) = found(tmp_path, mask__nii=nifti(array))
    assert "holds the voxel values 3, 4, 5, 6, 7 and 56 more, and" in problem.text
    noise = np.linspace(0, 1, 30**3, dtype=np.float32).reshape(30, 30, 30)
    (problem,) = found(tmp_path, mask__nii=nifti(noise))
    assert 'and more, and the socket "mask"' in problem.text


def test_scaled_or_several_numbers_a_voxel_and_other_sockets_are_not_judged(tmp_path: Path) -> None:
    nines = nifti(np.full((4, 4, 4), 9, np.uint8))
    scaled = nines[:112] + struct.pack("<2f", 0.5, 0) + nines[120:]
    assert found(tmp_path, mask__nii=scaled, ct__nii=nines) == []
    (tmp_path / "mask.nii").unlink()
    assert found(tmp_path, mask__mha=meta(b"\7" * 192, ElementNumberOfChannels="3", Offset="0 0 0"))[1:] == []


def test_a_mask_of_header_and_data_is_looked_at(tmp_path: Path) -> None:
    header = meta(ElementDataFile="mask.zraw", CompressedData="True")
    problems = found(tmp_path, mask__mhd=header, mask__zraw=zlib.compress(b"\5" * 64))
    assert said(problems) == [("voxel-values", WRONG)]
    assert "mask.zraw holds the voxel value 5" in problems[0].text


CT_IMAGE = meta(VOXELS, Offset="-250.125 10.3 7", TransformMatrix="1 0 0 0 1 0 0 0 1")
LPS = np.diag([-1, -1, 1, 1])
AFFINE = LPS @ np.array([[0.7, 0, 0, -250.125], [0, 0.7, 0, 10.3], [0, 0, 2, 7], [0, 0, 0, 1]])


def as_nifti(affine: Array = AFFINE, shape: tuple[int, ...] = (4, 4, 4)) -> bytes:
    return nifti(np.zeros(shape, np.uint8), affine)


def moved(*by: float) -> Array:
    affine: Array = AFFINE.copy()
    affine[:3, 3] += by
    return affine


def test_a_mask_on_the_grid_of_its_image_is_taken_in_any_format(tmp_path: Path) -> None:
    space = ("space: left-posterior-superior", "space directions: (0.7,0,0) (0,0.7,0) (0,0,2)")
    ras = ("space: RAS", "space directions: (-0.7,0,0) (0,-0.7,0) (0,0,2)", "space origin: (250.125,-10.3,7)")
    for name, made in {
        "mask.nii.gz": gzip.compress(as_nifti()),
        "mask.mha": CT_IMAGE,
        "mask.nrrd": nrrd(VOXELS, *space, "space origin: (-250.125,10.3,7)"),
        "mask.2.nrrd": nrrd(VOXELS, *ras),
        "mask.nii": as_nifti(moved(0.06, 0, 0)),
    }.items():
        assert found(tmp_path, **{"ct.mha": CT_IMAGE, name: made}) == []
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (as_nifti(shape=(4, 4, 5)), "its size is 4 x 4 x 5 and not 4 x 4 x 4 voxels"),
        (
            as_nifti(AFFINE @ np.diag([1, 1, 1.1, 1])),
            "its spacing is (0.7, 0.7, 2.2) and not (0.7, 0.7, 2) mm",
        ),
        (as_nifti(moved(0, 0, 1)), "its origin is (-250.125, 10.3, 8) and not (-250.125, 10.3, 7) mm"),
        (as_nifti(AFFINE @ np.diag([1, -1, 1, 1])), "its axes point elsewhere"),
    ],
    ids=named,
)
def test_a_mask_on_another_grid_is_wrong_and_told_in_what(tmp_path: Path, made: bytes, words: str) -> None:
    (problem,) = found(tmp_path, ct__mha=CT_IMAGE, mask__nii=made)
    assert (problem.word, problem.weight) == ("other-grid", WRONG)
    assert "mask.nii does not lie on the grid of ct (ct.mha)" in problem.text
    assert words in problem.text


def test_a_mask_is_compared_with_the_slices_of_a_series(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "SE1", 4)
    import pydicom  # noqa: PLC0415

    first = pydicom.dcmread(paths[0])
    x, y, z = map(float, first.ImagePositionPatient)
    row, column = map(float, first.PixelSpacing)
    gap = float(pydicom.dcmread(paths[1]).ImagePositionPatient[2]) - z
    assert list(first.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    affine = LPS @ np.array([[column, 0, 0, x], [0, row, 0, y], [0, 0, gap, z], [0, 0, 0, 1]])
    rule = SocketRule("ct", dicom=(DicomTest("Modality", ("CT",)),))
    drop = Drop("lung", "/lab", "lung", (rule, MASK), metadata="send")
    array = np.zeros((first.Columns, first.Rows, 4), np.uint8)
    backwards = affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 3], [0, 0, 0, 1]])
    aside = affine @ np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for made, words in ((affine, []), (backwards, []), (aside, [("other-grid", WRONG)])):
        (tmp_path / "mask.nii").write_bytes(nifti(array, made))
        grouping = group_folder(str(tmp_path), watch.list_folder(str(tmp_path)), drop, KINDS)
        assert said([*grouping.problems]) == words


def test_where_a_header_tells_no_grid_that_is_only_said(tmp_path: Path) -> None:
    grouping = grouped(tmp_path, ct__svs=TIFF, mask__mha=meta(VOXELS))
    assert grouping.plan
    assert said([*grouping.problems]) == [("other-grid", NOTE)]
    assert "ct.svs does not tell its grid" in grouping.problems[0].text


number = st.floats(-300, 300).filter(lambda one: abs(one) > 0.3)


@given(
    st.tuples(number, number, number, number).filter(any),
    st.tuples(st.floats(0.3, 5), st.floats(0.3, 5), st.floats(0.3, 5)),
    st.tuples(number, number, number),
    st.booleans(),
)
def test_nifti_says_where_its_voxels_lie_by_either_transform(
    quaternion: tuple[float, ...], spacing: tuple[float, ...], origin: tuple[float, ...], flipped: bool
) -> None:
    turn = nib.quaternions.quat2mat(np.array(quaternion) / np.linalg.norm(quaternion))  # type: ignore[no-untyped-call]
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing) @ np.diag([1, 1, -1 if flipped else 1])
    affine[:3, 3] = origin
    lps = LPS @ affine
    axes = tuple(tuple(map(float, lps[:3, n] / spacing[n])) for n in range(3))
    truth = Grid((9, 9, 9), spacing, tuple(map(float, lps[:3, 3])), axes)
    known = volume("a.nii", nifti(np.zeros((9, 9, 9), np.uint8), affine))
    assert known
    assert len(known.grids) == 2
    for one in known.grids:
        assert apart((one,), (truth,)) == []


@settings(max_examples=300, deadline=None)
@given(damaged())
def test_no_damage_surprises_what_looks_into_files(file: tuple[str, bytes]) -> None:
    name, content = file
    magic.mistaken(name, content)
    known = volume(name, content)
    if known and known.grids:
        apart(known.grids, known.grids)
    planned = PlannedFile(name, name, len(content), 0, 0, 0)
    within = inside.of(PlannedSocket("mask", "Image", name, (planned,), segments=(1,)), planned, lambda: None)
    if within:
        for at in range(0, len(content), 97):
            within.add(content[at : at + 97])
        within.problems(io.BytesIO(content))


def test_the_same_is_found_on_the_way_to_the_checksums_in_one_read(tmp_path: Path) -> None:
    grouping = grouped(tmp_path, ct__nii__gz=gzip.compress(nifti(np.zeros((4, 4, 4), np.int16)))[:-9])
    assert grouping.plan
    with pytest.raises(CaseProblem, match="looks cut off"):
        prepare(str(tmp_path), grouping.plan.sockets[0], lambda: None, lambda file: file)


def test_a_file_that_changes_while_it_is_read_is_not_called_damaged(tmp_path: Path) -> None:
    grouping = grouped(tmp_path, ct__nii__gz=gzip.compress(nifti(np.zeros((4, 4, 4), np.int16)))[:-9])
    assert grouping.plan
    path = tmp_path / "ct.nii.gz"

    def stirred() -> None:
        os.utime(path, ns=(1, 1))

    with pytest.raises(FolderChanged):
        prepare(str(tmp_path), grouping.plan.sockets[0], stirred, lambda file: file)


def test_what_same_grid_as_compares_must_be_images() -> None:
    drop = Drop("lung", "/lab", "lung", (CT, MASK))
    assert grid_mistakes(drop, KINDS) == []
    (text,) = grid_mistakes(drop, KINDS | {"ct": SocketKind("ct", "ZIP file", "File")})
    assert text == 'drops "lung", socket "mask": same_grid_as compares images, and ct holds ZIP file.'


def packed_mha(voxels: bytes = VOXELS) -> bytes:
    return meta(zlib.compress(voxels), CompressedData="True")


@pytest.mark.long
def test_an_image_found_cut_off_while_it_is_read_is_waited_for_and_then_fails_unsent(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=packed_mha()[:-9])
    assert lab.once() == 1
    assert "ct.mha looks cut off: the packing of its voxels has no end" in lab.wait_failed("P001")
    assert lab.fates() == []
    assert not any(method == "POST" for method, _, _ in lab.sandbox.requests)


@pytest.mark.long
def test_a_cut_off_image_that_is_copied_again_in_time_is_done(lab: Lab) -> None:
    lab.configure(incomplete=60)
    lab.start()
    lab.move_in("P001", ct__mha=packed_mha()[:-9])
    wait_for(lambda: "looks cut off" in lab.case("P001").get("why", ""), 30, "it waits")
    assert lab.case("P001")["state"] == "lacking"
    (lab.drop / "P001" / "ct.mha").write_bytes(packed_mha())
    lab.wait_done("P001")


@pytest.mark.long
def test_all_that_is_wrong_in_whole_files_is_said_at_once_and_by_plan_too(lab: Lab) -> None:
    files = {"ct__mha": packed_mha()[:-4] + b"oops", "ct_airways__mha": mha(fill=b"\7")}
    folder = lab.folder("P001", **files)
    shown = lab.command("plan", str(folder), "--drop", "lung", code=1)
    folder.rename(lab.drop / "P001")
    assert lab.once() == 1
    reason = lab.wait_failed("P001")
    for text in (shown, reason):
        assert "ct.mha is damaged" in text
        assert (
            'ct_airways.mha holds the voxel value 7, and the socket "airway-segmentation" takes only' in text
        )
    assert lab.fates() == []
