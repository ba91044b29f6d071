"""An image of several files goes up as one: its head brings the others along, under names that name nobody."""

import errno
import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from casedrop import judge
from casedrop.compound import name_inside
from casedrop.config import load, read_token
from casedrop.contents import group_folder
from casedrop.inspection import slide_words
from casedrop.logs import Names
from casedrop.model import Drop, Grouping, Metadata, PlannedFile, SocketKind, SocketRule, Weight
from casedrop.service import Service
from casedrop.watch import list_folder
from identifying import image, written
from lab import Lab

KINDS = {"ct-image": SocketKind("ct-image", "Image", "Image")}
SLIDE = SocketRule("ct-image", ("*.mrxs", "*.vms", "*.vmu"))
SLIDEDAT = (
    "\ufeff[GENERAL]\r\nSLIDE_NAME = Jane Doe\r\n[HIERARCHICAL]\r\nINDEXFILE = Index.dat\r\n"
    "[DATAFILE]\r\nFILE_COUNT = 2\r\nFILE_0 = Data0000.dat\r\nFILE_1=Data0001.dat\r\n"
)
VMS = (
    "[Virtual Microscope Specimen]\r\nNoLayers=1\r\nNoJpegColumns=1\r\nNoJpegRows=2\r\n"
    "ImageFile=Jane Doe.jpg\r\nImageFile(0,1)=Jane Doe(0,1).jpg\r\nMapFile=Jane Doe_map2.jpg\r\n"
    "OptimisationFile=Jane Doe.opt\r\nMacroImage=Jane Doe_macro.jpg\r\nReference=Jane Doe 1970\r\n"
    "PhysicalWidth=38500000\r\nSourceLens=40\r\n"
)


@pytest.mark.parametrize("metadata", ["refuse", "strip", "send"])
def test_check_tells_of_a_rule_whose_every_slide_is_refused(metadata: Metadata) -> None:
    said = slide_words(Drop("lung", "/d", "lung", (SLIDE,), metadata=metadata))
    assert bool(said) is (metadata != "send")
    assert not said or "the rule of ct-image takes .mrxs" in said
    assert not slide_words(Drop("lung", "/d", "lung", (SocketRule("ct-image", ("*.vms",)),)))


def jpeg() -> bytes:
    made = io.BytesIO()
    Image.new("L", (8, 8)).save(made, "JPEG")
    return made.getvalue()


def mirax(folder: Path, name: str = "Jane Doe", text: str = SLIDEDAT, **more: bytes) -> None:
    """A slide as 3DHistech's scanners write it: a head, and a folder of its name."""
    inside = folder / name
    inside.mkdir(parents=True)
    (folder / f"{name}.mrxs").write_bytes(b"\xff\xd8 a small picture")
    (inside / "Slidedat.ini").write_text(text, newline="")
    files = {"Index__dat": b"index", "Data0000__dat": b"0" * 70_000, "Data0001__dat": b"1" * 9} | more
    for file, content in files.items():
        (inside / file.replace("__", ".")).write_bytes(content)


def hamamatsu(folder: Path, text: str = VMS, *, without: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Jane Doe.vms").write_text(text, newline="")
    for ending in (".jpg", "(0,1).jpg", "_map2.jpg", ".opt", "_macro.jpg"):
        if ending != without:
            (folder / f"Jane Doe{ending}").write_bytes(b"offsets" if ending == ".opt" else jpeg())


def look(folder: Path, metadata: Metadata = "send") -> Grouping:
    drop = Drop("lung", str(folder.parent), "lung-2026", (SLIDE,), metadata=metadata)
    return group_folder(str(folder), list_folder(str(folder)), drop, KINDS)


def said(grouping: Grouping) -> dict[str, str]:
    return {one.word: one.text for one in grouping.problems if one.weight is not Weight.NOTE}


def test_a_mirax_slide_takes_its_whole_folder_along(tmp_path: Path) -> None:
    mirax(tmp_path)
    grouping = look(tmp_path)
    assert said(grouping) == {}
    assert grouping.plan is not None
    (socket,) = grouping.plan.sockets
    (file,) = socket.files
    names = ["Jane Doe.mrxs", *(f"Jane Doe/{one}" for one in ("Slidedat.ini", "Index.dat"))]
    assert [one.path for one in file.packed] == [*names, "Jane Doe/Data0000.dat", "Jane Doe/Data0001.dat"]
    assert (file.upload_name, socket.source) == ("ct-image.zip", "Jane Doe.mrxs with 4 files")
    assert set(grouping.claims.values()) == {("ct-image",)}


def test_a_file_that_the_slide_does_not_name_is_said(tmp_path: Path) -> None:
    mirax(tmp_path, notes__txt=b"Jane")
    assert "Jane Doe/notes.txt" in said(look(tmp_path))["unmatched-file"]


@pytest.mark.parametrize("gone", ["Data0001.dat", "Slidedat.ini"])
def test_a_slide_that_is_not_all_there_is_waited_for(tmp_path: Path, gone: str) -> None:
    mirax(tmp_path)
    (tmp_path / "Jane Doe" / gone).unlink()
    (problem,) = [one for one in look(tmp_path).problems if one.word == "missing-raw"]
    assert problem.weight is Weight.LACKING
    assert gone in problem.text


def test_an_empty_file_of_a_slide_is_waited_for(tmp_path: Path) -> None:
    mirax(tmp_path, Data0001__dat=b"")
    assert "Data0001.dat" in said(look(tmp_path))["empty-file"]


@pytest.mark.parametrize("named", ["..", "../other.dat", "C:\\other.dat"])
def test_a_slide_that_names_files_elsewhere_is_refused(tmp_path: Path, named: str) -> None:
    mirax(tmp_path, text=SLIDEDAT + f"FILE_2 = {named}\r\n")
    assert "slide-files" in said(look(tmp_path))


@pytest.mark.parametrize("metadata", ["refuse", "strip"])
def test_a_mirax_slide_shows_its_label_so_only_a_data_manager_lets_it_go(
    tmp_path: Path, metadata: Metadata
) -> None:
    mirax(tmp_path)
    text = said(look(tmp_path, metadata))["metadata"]
    assert text.startswith("Jane Doe.mrxs: the picture of the slide's label and ")
    assert 'metadata = "send"' in text
    assert look(tmp_path, metadata).plan is None


def test_dicom_among_the_files_of_a_slide_is_never_sent(tmp_path: Path) -> None:
    mirax(tmp_path, Data0001__dat=written(image()))
    assert look(tmp_path).plan is None


@pytest.mark.parametrize("metadata", ["refuse", "strip", "send"])
def test_a_hamamatsu_slide_goes_without_its_label_and_what_was_typed(
    tmp_path: Path, metadata: Metadata
) -> None:
    hamamatsu(tmp_path)
    grouping = look(tmp_path, metadata)
    assert said(grouping) == {}
    assert grouping.plan is not None
    head, *pieces = grouping.plan.sockets[0].files
    assert [one.upload_name for one in pieces] == [
        "ct-image-1.jpg", "ct-image-2.jpg", "ct-image-3.jpg", "ct-image-4.opt",
    ]  # fmt: skip
    assert head.content == (
        "[Virtual Microscope Specimen]\nNoLayers=1\nNoJpegColumns=1\nNoJpegRows=2\nImageFile=ct-image-1.jpg\n"
        "ImageFile(0,1)=ct-image-2.jpg\nMapFile=ct-image-3.jpg\nOptimisationFile=ct-image-4.opt\n"
        "PhysicalWidth=38500000\nSourceLens=40\n"
    )
    assert grouping.plan.left_out == ("Jane Doe_macro.jpg",)
    assert [one.text for one in grouping.problems if one.word == "label"] == [
        "Jane Doe_macro.jpg: it shows the whole slide with its label, and is not sent."
    ]


def test_what_may_be_typed_where_a_measure_stands_is_not_sent(tmp_path: Path) -> None:
    hamamatsu(tmp_path, VMS.replace("SourceLens=40", "SourceLens=Jane Doe"))
    plan = look(tmp_path).plan
    assert plan is not None
    assert "Jane" not in (plan.sockets[0].files[0].content or "")


def test_a_hamamatsu_slide_without_one_of_its_pieces_is_waited_for(tmp_path: Path) -> None:
    hamamatsu(tmp_path, without="_map2.jpg")
    assert "Jane Doe_map2.jpg" in said(look(tmp_path))["missing-raw"]


@pytest.mark.parametrize("metadata", ["refuse", "send"])
def test_a_slide_whose_label_was_taken_away_before_is_whole(tmp_path: Path, metadata: Metadata) -> None:
    hamamatsu(tmp_path, without="_macro.jpg")
    plan = look(tmp_path, metadata).plan
    assert plan is not None
    assert plan.left_out == ()


def test_numbers_in_other_scripts_are_no_measures(tmp_path: Path) -> None:
    hamamatsu(tmp_path, VMS.replace("SourceLens=40", "SourceLens=\u0661"))
    plan = look(tmp_path).plan
    assert plan is not None
    assert "SourceLens" not in (plan.sockets[0].files[0].content or "")


def test_a_slide_and_its_folder_may_spell_their_name_in_other_unicode(tmp_path: Path) -> None:
    """As after a copy of one of the two from a Mac."""
    mirax(tmp_path, "J\u00e9")
    (tmp_path / "J\u00e9").rename(tmp_path / "Je\u0301")
    plan = look(tmp_path).plan
    assert plan is not None
    (file,) = plan.sockets[0].files
    assert [name_inside(file, one.path) for one in file.packed] == [
        "ct-image.mrxs",
        *(f"ct-image/{one}" for one in INSIDE),
    ]


def test_more_pieces_than_one_import_takes_are_said(tmp_path: Path) -> None:
    names = [f"p{number}.jpg" for number in range(100)]
    text = VMS + "".join(f"ImageFile({number},9)={name}\r\n" for number, name in enumerate(names))
    hamamatsu(tmp_path, text)
    for name in names:
        (tmp_path / name).write_bytes(jpeg())
    assert "up to 100" in said(look(tmp_path))["slide-files"]


def test_two_slides_for_one_socket_are_a_problem(tmp_path: Path) -> None:
    mirax(tmp_path, "a")
    mirax(tmp_path, "b")
    assert "two-files" in said(look(tmp_path))


def take_slides(lab: Lab) -> None:
    lab.configure('metadata = "send"')
    text = lab.config.read_text().replace('files = "*.mha"', 'files = ["*.mrxs", "*.vms"]')
    lab.config.write_text(text)


def test_a_slide_of_each_kind_becomes_one_image_of_its_display_set(lab: Lab) -> None:
    """The zip's names are the socket's, and its bytes those of the files; it leaves the spool at the end."""
    take_slides(lab)
    mirax(lab.desk / "P1", "Jane Doe")
    hamamatsu(lab.desk / "P2")
    for name in ("P1", "P2"):
        (lab.desk / name).rename(lab.drop / name)
    lab.start()
    receipts = {name: lab.wait_done(name) for name in ("P1", "P2")}
    images = {one.name: one for one in lab.sandbox.state.images.values()}
    assert images.keys() == {"ct-image.mrxs", "ct-image.vms"}
    with zipfile.ZipFile(images["ct-image.mrxs"].path) as packed:
        assert packed.namelist() == ["ct-image.mrxs", *(f"ct-image/{one}" for one in INSIDE)]
        assert packed.read("ct-image/Data0000.dat") == b"0" * 70_000
        assert packed.testzip() is None
    (file,) = receipts["P1"]["sockets"][0]["files"]
    assert (file["number"], "deidentify" in file) == (5, False)
    assert "not read of this format" in receipts["P1"]["sockets"][0]["compared"]
    assert not list((lab.state / "spool").iterdir())


@pytest.mark.timeout(30)
@pytest.mark.parametrize("unread", [False, True], ids=["it holds other bytes", "it cannot be read"])
def test_what_was_packed_and_went_bad_on_the_disk_before_it_was_sent_is_packed_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, unread: bool
) -> None:
    """As where the system could not write back what it had taken: nothing of the file tells of it."""
    take_slides(lab)
    mirax(lab.drop / "P1")
    lab.state.mkdir()
    settings = load(lab.config, os.environ)
    token = read_token(settings, os.environ)
    service = Service(settings, lambda: token, Names("hidden", b"key"))
    bad, opened = list[int](), service.packer.open

    def go_bad() -> None:
        (path,) = (lab.state / "spool").glob("*/*")
        before = path.stat()
        with path.open("r+b") as zipped:
            zipped.seek(before.st_size // 2)
            zipped.write(bytes(100))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        bad.append(before.st_ino)

    def opening(case_id: int, file: PlannedFile) -> io.FileIO:
        found = opened(case_id, file)
        if unread and os.stat(found.fileno()).st_ino in bad:
            found.close()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return found

    lab.sandbox.faults.add(method="POST", path="/uploads/", status=0, call=go_bad)
    monkeypatch.setattr(service.packer, "open", opening)
    monkeypatch.setattr(judge, "RECHECK", 0.1)
    assert service.run(once=True) == 0
    assert bad
    (sent,) = lab.sandbox.state.images.values()
    with zipfile.ZipFile(sent.path) as packed:
        assert packed.testzip() is None
        assert packed.read("ct-image/Data0000.dat") == b"0" * 70_000


INSIDE = ("Slidedat.ini", "Index.dat", "Data0000.dat", "Data0001.dat")


def test_a_slide_that_changes_between_reading_and_sending_settles_again(tmp_path: Path) -> None:
    """Its plan holds what each of its files looked like."""
    mirax(tmp_path)
    plan = look(tmp_path).plan
    assert plan is not None
    before = {one.path: replace(one, sha256="") for one in plan.sockets[0].files[0].packed}
    (tmp_path / "Jane Doe" / "Data0001.dat").write_bytes(b"2" * 9)
    again = look(tmp_path).plan
    assert again is not None
    changed = [one.path for one in again.sockets[0].files[0].packed if one != before[one.path]]
    assert changed == ["Jane Doe/Data0001.dat"]
