"""What image files say beside the image is found, named without its text, and gone from the copy that is sent."""

import gzip
import hashlib
import io
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin, TiffImagePlugin

from casedrop import metadata, strip
from casedrop.contents import group_folder
from casedrop.edited import Edited
from casedrop.errors import FolderChanged, Waits
from casedrop.model import Drop, Grouping, Metadata, PlannedFile, SocketKind, SocketRule, Weight
from casedrop.prepare import open_source, opener, prepare
from casedrop.reading import Witness
from casedrop.spots import Spot, is_technical
from casedrop.watch import list_folder
from lab import Lab, mha

CANARY = "Jane Doe 1970-01-31"
KINDS = {"ct-image": SocketKind("ct-image", "Image", "Image")}
PIXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)

Build = Callable[[str], bytes]
"""The bytes of an image with this text in it."""


def nifti(text: str, kind: Any = nib.Nifti1Image, field: str = "descrip") -> bytes:
    image: Any = kind(PIXELS, np.diag([0.7, 0.7, 1.5, 1]))
    image.header[field] = text.encode()
    return bytes(image.to_bytes())


def nifti_extension(text: str) -> bytes:
    image: Any = nib.Nifti1Image(PIXELS, np.eye(4))  # type: ignore[no-untyped-call]
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", text.encode()))
    return bytes(image.to_bytes())


def meta(text: str, key: str = "Comment") -> bytes:
    return mha().replace(b"NDims", f"{key} = {text}\nNDims".encode() if text else b"NDims")


def nrrd(line: str) -> bytes:
    head = "NRRD0004\n# Complete NRRD file format specification at:\n# http://teem.sourceforge.net/nrrd/format.html\n"
    fields = (
        "type: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 5 4 3\n"
        "space directions: (0.7,0,0) (0,0.7,0) (0,0,1.5)\nkinds: domain domain domain\n"
        'units: "mm" "mm" "mm"\nendian: little\nencoding: raw\nspace origin: (0,0,0)\n'
    )
    return (head + fields + (f"{line}\n" if line else "") + "\n").encode() + PIXELS.tobytes()


def png(key: str, text: str, *, packed: bool = False, unicode: bool = False) -> bytes:
    info = PngImagePlugin.PngInfo()
    if unicode:
        info.add_itxt(key, text, zip=packed)
    elif text:
        info.add_text(key, text, zip=packed)
    return saved("PNG", pnginfo=info)


def png_with(kind: bytes, content: bytes) -> bytes:
    whole = saved("PNG")
    chunk = struct.pack(">I", len(content)) + kind + content
    return whole[:33] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + whole[33:]


def exif(tag: int, value: Any, within: int = 0) -> Image.Exif:
    made = Image.Exif()
    (made.get_ifd(within) if within else made)[tag] = value
    return made


def saved(kind: str, **options: Any) -> bytes:
    made = io.BytesIO()
    Image.fromarray(GREY).save(made, kind, **options)
    return made.getvalue()


def tiff(tag: int, text: Any, **options: Any) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    if text:
        tags[tag] = text
    return saved("TIFF", tiffinfo=tags, **options)


def jpeg_with(segment: bytes) -> bytes:
    whole = saved("JPEG")
    return whole[:2] + segment + whole[2:]


BUILDERS: dict[str, tuple[str, Build, str]] = {
    "descrip": ("a.nii", nifti, "descrip"),
    "aux_file": ("a.nii", lambda text: nifti(text[:24], field="aux_file"), "aux_file"),
    "db_name": ("a.nii", lambda text: nifti(text[:18], field="db_name"), "db_name"),
    "intent_name": ("a.nii", lambda text: nifti(text[:16], field="intent_name"), "intent_name"),
    "nifti-2": ("a.nii", lambda text: nifti(text, nib.Nifti2Image), "descrip"),
    "extension": ("a.nii", nifti_extension, "header extensions (comment)"),
    "packed nifti": ("a.nii.gz", lambda text: gzip.compress(nifti(text), mtime=0), "descrip"),
    "mha comment": ("a.mha", meta, "Comment"),
    "mha private": ("a.mha", lambda text: meta(text, "0010|0010"), "0010|0010"),
    "mha odd name": ("a.mha", lambda text: meta("x", f"{text}, {text}, {text}"), "a field with an odd name"),
    "mha number": ("a.mha", lambda text: meta(f"{text}", "Offset"), "Offset"),
    "mha date": ("a.mha", lambda text: meta(f"20240131 {text}", "AcquisitionDate"), "AcquisitionDate"),
    "nrrd comment": ("a.nrrd", lambda text: nrrd(f"# {text}"), "a comment (#)"),
    "nrrd content": ("a.nrrd", lambda text: nrrd(f"content: {text}"), "content"),
    "nrrd pair": ("a.nrrd", lambda text: nrrd(f"Segment0_Name:={text}"), "Segment0_Name"),
    "png text": ("a.png", lambda text: png("Comment", text), "tEXt Comment"),
    "png packed text": ("a.png", lambda text: png("Author", text, packed=True), "zTXt Author"),
    "png unicode": ("a.png", lambda text: png("Title", text, packed=True, unicode=True), "iTXt Title"),
    "png exif": ("a.png", lambda text: saved("PNG", exif=exif(315, text)), "EXIF (Artist)"),
    "png behind": ("a.png", lambda text: saved("PNG") + text.encode(), "data behind the image"),
    "jpeg comment": ("a.jpg", lambda text: saved("JPEG", comment=text), "comment (COM)"),
    "jpeg exif": ("a.jpg", lambda text: saved("JPEG", exif=exif(270, text)), "EXIF (ImageDescription)"),
    "jpeg exif date": (
        "a.jpg",
        lambda text: saved("JPEG", exif=exif(36867, f"2024:01:31 {text}", 34665)),
        "EXIF (DateTimeOriginal)",
    ),
    "jpeg xmp": ("a.jpg", lambda text: saved("JPEG", xmp=f"<x>{text}</x>".encode()), "XMP"),
    "jpeg iptc": (
        "a.jpg",
        lambda text: jpeg_with(b"\xff\xed" + struct.pack(">H", len(text) + 2) + text.encode()),
        "segment APP13",
    ),
    "jpeg behind": ("a.jpg", lambda text: saved("JPEG") + text.encode(), "data behind the image"),
    "tiff description": ("a.tif", lambda text: tiff(270, text), "ImageDescription"),
    "tiff artist": ("a.tif", lambda text: tiff(315, text), "Artist"),
    "tiff date": ("a.tiff", lambda text: tiff(306, f"2024:01:31 {text}"), "DateTime"),
    "tiff software": ("a.tif", lambda text: tiff(305, text), "Software"),
    "tiff big": ("a.tif", lambda text: tiff(316, text, big_tiff=True), "HostComputer"),
    "tiff exif": ("a.tif", lambda text: tiff(34665, {37510: text.encode()}), "UserComment"),
    "tiff gps": ("a.tif", lambda text: tiff(34853, {29: text}), "GPS position"),
    "tiff xmp": ("a.tif", lambda text: saved("TIFF", tiffinfo={700: text.encode()}), "XMP"),
}


def voxels(name: str, content: bytes) -> Any:
    """The image as the usual libraries read it."""
    if name.endswith((".nii", ".nii.gz")):
        raw = gzip.decompress(content) if name.endswith(".gz") else content
        kind = nib.Nifti2Image if raw[:1] == b"\x1c" else nib.Nifti1Image
        image = kind.from_bytes(raw)
        return np.asanyarray(image.dataobj).tolist(), image.affine.tolist()
    if name.endswith(".mha"):
        return content.partition(b"ElementDataFile = LOCAL\n")[2]
    if name.endswith(".nrrd"):
        return content.partition(b"\n\n")[2]
    picture = Image.open(io.BytesIO(content))
    return np.asarray(picture).tolist(), picture.size, picture.mode


def unpacked(file: PlannedFile) -> PlannedFile:
    raise AssertionError(f"{file.path} is no series")


class Lane:
    """One folder with one image, under one setting."""

    def __init__(self, path: Path, name: str, content: bytes, setting: Metadata) -> None:
        self.folder = path / "P1"
        self.folder.mkdir()
        (self.folder / name).write_bytes(content)
        rules = (SocketRule("ct-image", ("*.*",)),)
        self.drop = Drop("lung", "/lab", "lung-2026", rules, metadata=setting)

    def grouped(self) -> Grouping:
        return group_folder(str(self.folder), list_folder(str(self.folder)), self.drop, KINDS)

    def file(self) -> PlannedFile:
        plan = self.grouped().plan
        assert plan is not None, self.grouped().problems
        return prepare(str(self.folder), plan.sockets[0], lambda: None, unpacked).files[0]

    def sent(self) -> bytes:
        with open_source(str(self.folder), self.file()) as source:
            return read(source)


def read(source: Any) -> bytes:
    return b"".join(iter(lambda: source.read(7), b""))


@pytest.mark.parametrize("case", BUILDERS)
def test_what_is_filled_is_refused_in_words_of_the_field(tmp_path: Path, case: str) -> None:
    name, build, words = BUILDERS[case]
    (problem,) = Lane(tmp_path, name, build(CANARY), "refuse").grouped().problems
    assert problem.weight is Weight.WRONG
    assert problem.text.startswith(f"{name}: {words} may name somebody. Nothing was sent.")
    assert "Jane" not in problem.text
    assert 'metadata = "strip"' in problem.text


@pytest.mark.parametrize("case", BUILDERS)
def test_a_stripped_copy_is_the_same_image_without_the_text_and_the_same_bytes_each_time(
    tmp_path: Path, case: str
) -> None:
    name, build, words = BUILDERS[case]
    content = build(CANARY)
    lane = Lane(tmp_path, name, content, "strip")
    (note,) = lane.grouped().problems
    assert (note.weight, note.text) == (
        Weight.NOTE,
        f"{name}: {words} may name somebody: a copy without it is sent.",
    )
    sent = lane.sent()
    unpacked = gzip.decompress(sent) if name.endswith(".gz") else sent
    assert b"Jane" not in unpacked
    assert voxels(name, sent) == voxels(name, content)
    assert sent == lane.sent()
    file = lane.file()
    assert file.stripped == (words,)
    assert file.sha256 == hashlib.sha256(sent).hexdigest()
    assert file.own_sha256 == hashlib.sha256(content).hexdigest()
    assert file.sent_size == len(sent)
    assert (lane.folder / name).read_bytes() == content
    assert not Lane(tmp_path / "P1", name, sent, "refuse").grouped().problems


@pytest.mark.parametrize("case", BUILDERS)
def test_a_part_of_a_stripped_copy_is_read_from_any_place(tmp_path: Path, case: str) -> None:
    name, build, _ = BUILDERS[case]
    lane = Lane(tmp_path, name, build(CANARY), "strip")
    whole, file = lane.sent(), lane.file()
    opened = opener(str(lane.folder), file)
    for at in (0, 1, len(whole) // 3, 349, len(whole) - 1):
        with opened() as source:
            source.seek(at)
            assert read(source) == whole[at:]


def test_what_is_sent_all_the_same_is_told(tmp_path: Path) -> None:
    lane = Lane(tmp_path, "a.nii", nifti(CANARY), "send")
    (note,) = lane.grouped().problems
    assert (note.weight, note.text) == (
        Weight.NOTE,
        "a.nii: descrip may name somebody, and is sent all the same.",
    )
    assert lane.sent() == nifti(CANARY)


SIMPLEITK = b"""\
ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = True
CompressedDataSize = 17
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = -1.5 0 3e-05
CenterOfRotation = 0 0 0
AnatomicalOrientation = RAI
ElementSpacing = 0.7 0.7 1.5
ITK_InputFilterName = NiftiImageIO
descrip =
dim[0] = 3
qform_code_name = NIFTI_XFORM_SCANNER_ANAT
srow_x = -1 0 0 90
ITK_sform_corrected = NO
DimSize = 8 8 8
ElementType = MET_SHORT
ElementDataFile = LOCAL
""" + zlib.compress(bytes(1024))

HARMLESS: dict[str, tuple[str, bytes]] = {
    "empty nifti": ("a.nii", nifti("")),
    "dcm2niix": ("a.nii", nifti("TE=2.9;Time=104523.140;phase=1")),
    "dcm2niix gz": ("a.nii.gz", gzip.compress(nifti("TE=30;Time=93000"), mtime=0)),
    "fsl": ("a.nii", nifti("FSL6.0.4")),
    "spm": ("a.nii", nifti("spm - 3D normalized")),
    "colours": ("a.nii", nifti("Red-Yellow", field="aux_file")),
    "simpleitk": (
        "a.mha",
        SIMPLEITK,
    ),
    "nrrd": ("a.nrrd", nrrd("")),
    "pynrrd": ("a.nrrd", nrrd("# This NRRD file was generated by pynrrd\n# on 2026-01-31 06:37:20(GMT).")),
    "simpleitk nrrd": (
        "a.nrrd",
        nrrd("dim[0]:=3\nqform_code_name:=NIFTI_XFORM_SCANNER_ANAT\nNRRD_kinds[0]:=domain"),
    ),
    "simpleitk png": ("a.png", png_with(b"sCAL", b"\x010.001\x000.001")),
    "diffusion": ("a.nrrd", nrrd("modality:=DWMRI\nDWMRI_b-value:=1000\nDWMRI_gradient_0000:=0 0 1")),
    "pillow png": ("a.png", saved("PNG", dpi=(72, 72))),
    "matplotlib": ("a.png", png("Software", "Matplotlib version3.8.2, https://matplotlib.org/")),
    "gimp": ("a.png", png("Comment", "Created with GIMP")),
    "pillow jpeg": ("a.jpg", saved("JPEG", dpi=(72, 72))),
    "gd": ("a.jpg", saved("JPEG", comment="CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90\n")),
    "upright": ("a.jpg", saved("JPEG", exif=exif(274, 6))),
    "camera": ("a.jpg", saved("JPEG", exif=exif(272, "DMC-FZ18"))),
    "progressive": ("a.jpg", saved("JPEG", progressive=True)),
    "pillow tiff": ("a.tif", saved("TIFF")),
    "deflated": ("a.tif", saved("TIFF", compression="tiff_lzw")),
    "imagej": (
        "a.tif",
        tiff(270, "ImageJ=1.53c\nimages=10\nslices=10\nunit=micron\nspacing=1.0\nmax=255.0\n"),
    ),
    "tifffile": ("a.tif", tiff(270, '{"shape": [8, 8]}')),
    "tool": ("a.tif", tiff(305, "tifffile.py")),
    "raw": ("a.raw", b"\0" * 100),
    "no image": ("a.obj", b"hello"),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_ordinary_tools_write_is_sent_as_it_is(tmp_path: Path, case: str) -> None:
    name, content = HARMLESS[case]
    settings: tuple[Metadata, ...] = ("refuse", "strip")
    for setting in settings:
        (tmp_path / setting).mkdir()
        lane = Lane(tmp_path / setting, name, content, setting)
        assert not lane.grouped().problems
        assert lane.sent() == content
        assert lane.file().own_sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "GIMP Jane Doe",
        "FSL6 jane",
        "ITK Doe",
        "TE=2.9;Jane=1",
        "Software",
        "Matplotlib version3, http://doe.net/jane",
    ],
)
def test_a_tools_name_makes_no_text_technical(text: str) -> None:
    assert not is_technical(text)


@pytest.mark.parametrize(
    "line", ["units: " + "a" * 5000 + "!", "content: " + "TE=1;" * 9000, "x:=" + "\t" * 9000]
)
def test_no_text_is_long_enough_to_keep_us_busy(line: str) -> None:
    assert metadata.find(io.BytesIO(nrrd(line))).spots or line.startswith("x")


def test_what_stands_behind_the_end_of_a_field_counts(tmp_path: Path) -> None:
    content = nifti("FSL5.0\0 Jane Doe")
    assert Lane(tmp_path, "a.nii", content, "refuse").grouped().problems


@pytest.mark.parametrize(
    "text", ["<OME><Image Name='Jane'/></OME>", "Aperio x|User = Jane|MPP = 0.5", "ImageJ=1\nx=Jane"]
)
def test_a_text_that_also_says_what_a_pixel_is_cannot_be_taken_out(tmp_path: Path, text: str) -> None:
    settings: tuple[Metadata, ...] = ("refuse", "strip")
    for setting in settings:
        (tmp_path / setting).mkdir()
        (problem,) = Lane(tmp_path / setting, "a.tif", tiff(270, text), setting).grouped().problems
        assert problem.weight is Weight.WRONG
        assert "cannot be taken out" in problem.text
        assert 'metadata = "send"' in problem.text
        assert "Jane" not in problem.text


def test_how_a_picture_is_turned_stays_with_it(tmp_path: Path) -> None:
    tags = exif(270, CANARY)
    tags[274] = 6
    sent = Lane(tmp_path, "a.jpg", saved("JPEG", exif=tags), "strip").sent()
    assert dict(Image.open(io.BytesIO(sent)).getexif()) == {274: 6}


def test_a_thumbnail_may_show_what_the_picture_does_not(tmp_path: Path) -> None:
    made = (
        b"II*\0\x08\0\0\0"
        + struct.pack("<HI", 0, 14)
        + struct.pack("<HHHIIHHIII", 2, 513, 4, 1, 44, 514, 4, 1, 4, 0)
    )
    segment = b"Exif\0\0" + made + b"\xff\xd8\xff\xd9"
    content = jpeg_with(b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment)
    (problem,) = Lane(tmp_path, "a.jpg", content, "refuse").grouped().problems
    assert "EXIF (thumbnail)" in problem.text


def test_the_name_that_gzip_keeps_is_never_sent_and_nothing_else_changes(tmp_path: Path) -> None:
    made = io.BytesIO()
    with gzip.GzipFile("Jane.nii", "wb", fileobj=made) as packed:
        packed.write(nifti(""))
    lane = Lane(tmp_path, "a.nii.gz", made.getvalue(), "refuse")
    assert not lane.grouped().problems
    sent = lane.sent()
    assert b"Jane" not in sent
    assert sent[10:] == made.getvalue()[made.getvalue().index(b"Jane.nii\0") + 9 :]
    assert gzip.decompress(sent) == nifti("")
    with opener(str(lane.folder), lane.file())() as source:
        assert read(source) == sent


def test_the_header_of_an_mhd_is_rewritten_without_it(tmp_path: Path) -> None:
    header = meta(CANARY).partition(b"LOCAL")[0] + b"a.raw\n"
    lane = Lane(tmp_path, "a.mhd", header, "strip")
    (lane.folder / "a.raw").write_bytes(b"\1" * 512)
    plan = lane.grouped().plan
    assert plan
    head = plan.sockets[0].files[0]
    assert head.content
    assert "Jane" not in head.content
    assert "ElementDataFile = ct-image.raw" in head.content
    assert head.stripped == ("Comment",)
    (prepared, _) = prepare(str(lane.folder), plan.sockets[0], lambda: None, unpacked).files
    assert prepared.sent_size == len(head.content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.nii", nifti("")[:200]),
        ("a.png", saved("PNG")[:40]),
        ("a.jpg", saved("JPEG")[:-20]),
        ("a.tif", saved("TIFF")[:9]),
        ("a.nii.gz", gzip.compress(nifti(""))[:20] + bytes(80)),
        ("a.nrrd", b"NRRD0004\ntype: short\n"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_damaged_image_is_refused_since_nobody_can_tell(tmp_path: Path, name: str, content: bytes) -> None:
    settings: tuple[Metadata, ...] = ("refuse", "strip")
    for setting in settings:
        (tmp_path / setting).mkdir()
        (problem,) = Lane(tmp_path / setting, name, content, setting).grouped().problems
        assert "not built as its format says" in problem.text
        assert problem.weight is Weight.WRONG
    (tmp_path / "send").mkdir()
    assert not Lane(tmp_path / "send", name, content, "send").grouped().problems


def test_a_gzip_that_has_no_end_yet_is_waited_for(tmp_path: Path) -> None:
    (problem,) = Lane(tmp_path, "a.nii.gz", gzip.compress(nifti(""))[:60], "strip").grouped().problems
    assert (problem.word, problem.weight) == ("cut-off", Weight.LACKING)


def zipped(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return made.getvalue()


def test_images_in_a_zip_are_looked_at_and_left_as_they_are(tmp_path: Path) -> None:
    members = {case: build(CANARY) for case, (_, build, _) in BUILDERS.items()}
    (problem,) = Lane(tmp_path, "a.zip", zipped(**members), "strip").grouped().problems
    assert problem.weight is Weight.WRONG
    assert "in the zip, descrip" in problem.text
    assert "Jane" not in problem.text
    for number, (name, content) in enumerate(HARMLESS.values()):
        (tmp_path / str(number)).mkdir()
        lane = Lane(tmp_path / str(number), "a.zip", zipped(**{name: content}), "refuse")
        assert not lane.grouped().problems


def test_the_patients_record_of_an_oct_file_is_known(tmp_path: Path) -> None:
    (problem,) = Lane(tmp_path, "a.fda", b"FOCTFDA\0\0\0", "refuse").grouped().problems
    assert "a.fda: the patient's record may name somebody" in problem.text


STARTS = [build(CANARY)[:cut] for _, build, _ in BUILDERS.values() for cut in (9, 60, 400)]


@given(st.sampled_from(STARTS), st.binary(max_size=300))
def test_no_file_is_too_odd_to_be_looked_into(start: bytes, rest: bytes) -> None:
    found = metadata.find(io.BytesIO(start + rest))
    assert "Jane" not in str(found.words)


CUTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.binary(max_size=12)), max_size=6)


@given(st.binary(max_size=120), CUTS, st.integers(0, 130), st.integers(1, 50))
def test_an_edited_file_is_the_file_with_its_spots_replaced(
    content: bytes, cuts: list[tuple[int, int, bytes]], at: int, step: int
) -> None:
    spots, place, whole = [], 0, b""
    for gap, length, instead in cuts:
        start = min(place + gap, len(content))
        end = min(start + length, len(content))
        if end > start:
            spots.append(Spot("x", start, end, instead))
            whole += content[place:start] + instead
            place = end
    whole += content[place:]
    with Edited(io.BytesIO(content), reversed(spots)) as edited:
        edited.seek(at)
        assert b"".join(iter(lambda: edited.read(step), b"")) == whole[at:]


def test_a_change_of_the_setting_alone_changes_nothing_that_is_planned(tmp_path: Path) -> None:
    lane = Lane(tmp_path, "a.nii", nifti(CANARY), "strip")
    file = lane.file()
    lane.drop = replace(lane.drop, metadata="send")
    with open_source(str(lane.folder), file) as source:
        assert b"Jane" not in read(source)


@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=5))
def test_a_witness_sums_all_of_a_file_whatever_its_reader_passes_over(
    content: bytes, steps: list[tuple[int, int]]
) -> None:
    source = io.FileIO(os.memfd_create("source"), "r+b")
    with source:
        source.write(content)
        witness, at = Witness(source, lambda: None), 0
        for skipped, count in steps:
            at = witness.seek(at + skipped)
            assert witness.read(count) == content[at : at + count]
            at = witness.tell()
        assert witness.sha256() == hashlib.sha256(content).hexdigest()


def test_a_file_of_which_only_the_text_left_out_changes_is_another_file(tmp_path: Path) -> None:
    lane = Lane(tmp_path, "a.mha", meta(CANARY), "strip")
    plan = lane.grouped().plan
    assert plan is not None
    socket = prepare(str(lane.folder), plan.sockets[0], lambda: None, unpacked)
    (lane.folder / "a.mha").write_bytes(meta(CANARY[::-1]))
    with pytest.raises(FolderChanged):
        prepare(str(lane.folder), socket, lambda: None, unpacked)


def test_a_copy_that_would_fill_the_disk_is_given_up_and_waits_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several are made at once, beside the journal."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lane = Lane(tmp_path, "ct.nii.gz", gzip.compress(nifti(CANARY)), "strip")
    file = lane.file()
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=strip.SPARE - 1))
    with pytest.raises(Waits, match=f"Waits for room in {tmp_path}"):
        lane.file()
    with pytest.raises(Waits, match="Make room there"):
        opener(str(lane.folder), file)()


@pytest.mark.long
def test_a_stripped_copy_arrives_and_the_receipt_says_without_what(lab: Lab) -> None:
    lab.configure('metadata = "strip"')
    lab.move_in("P1", ct__mha=meta(CANARY))
    lab.configure()
    lab.configure('metadata = "strip"')
    assert lab.once() == 0, lab.status()
    (file,) = lab.wait_done("P1")["sockets"][0]["files"]
    assert file["sent_without"] == ["Comment"]
    assert file["bytes"] == len(mha())
    assert (lab.done / "P1" / "ct.mha").read_bytes() == meta(CANARY)
    (told,) = lab.records()[0]["sockets"][0]["files"]
    assert told["sha256"] == file["sha256"]
    own = hashlib.sha256(meta(CANARY)).hexdigest()
    assert told["sources"] == [{"path": "ct.mha", "bytes": len(meta(CANARY)), "sha256": own}]


@pytest.mark.long
def test_a_copy_that_is_packed_anew_goes_up_in_parts_and_leaves_nothing_behind(lab: Lab) -> None:
    lab.configure('metadata = "strip"')
    lab.config.write_text(lab.config.read_text().replace('"*.mha"', '"*.nii.gz"'))
    noise = np.random.default_rng(1).integers(0, 9999, (300, 200, 200), np.int16)
    image: Any = nib.Nifti1Image(noise, np.eye(4))  # type: ignore[no-untyped-call]
    image.header["descrip"] = CANARY.encode()
    lab.move_in("P1", ct__nii__gz=gzip.compress(image.to_bytes(), 1, mtime=0))
    assert lab.once() == 0, lab.status()
    (file,) = lab.wait_done("P1", 60)["sockets"][0]["files"]
    assert file["bytes"] > 2 * 8 << 20
    assert file["sent_without"] == ["descrip"]
    assert not [one for one in lab.state.iterdir() if one.name.startswith("tmp")]


@pytest.mark.long
def test_by_default_such_a_folder_is_refused_with_its_reason(lab: Lab) -> None:
    lab.move_in("P1", ct__mha=meta(CANARY))
    assert lab.once() == 1
    reason = lab.wait_failed("P1")
    assert "ct.mha: Comment may name somebody" in reason
    assert "Jane" not in reason + lab.log.read_text()
