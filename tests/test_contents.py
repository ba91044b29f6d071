"""Folders of real DICOM files: what becomes of them, and how often they are read."""

import gzip
import json
import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from casedrop import watch
from casedrop.contents import Headers, group_folder, read_patients
from casedrop.dicom_model import DicomTest
from casedrop.model import Drop, Grouping, SocketKind, SocketRule, TextValue, Weight
from casedrop.reports import plan_json, plan_text
from dicoms import data_set, sample, slices, write, write_series

KINDS = {
    "ct": SocketKind("ct", "Image", "Image"),
    "mask": SocketKind("mask", "Segmentation", "Image"),
    "report": SocketKind("report", "PDF file", "File"),
    "note": SocketKind("note", "String", "Value"),
}
CT = SocketRule("ct", dicom=(DicomTest("Modality", ("CT",)),))
SCOUTS = ((DicomTest("SeriesDescription", ("*scout*",)),),)


def look(folder: Path, *rules: SocketRule, known: Headers | None = None, **drop: object) -> Grouping:
    rules_of = Drop("lung", "/lab", "lung", rules or (CT,), **drop)  # type: ignore[arg-type]
    return group_folder(str(folder), watch.list_folder(str(folder)), rules_of, KINDS, known=known)


def said(grouping: Grouping) -> list[tuple[str, Weight]]:
    return [(problem.word, problem.weight) for problem in grouping.problems]


def test_a_pacs_export_becomes_the_right_sockets_beside_files_and_values(tmp_path: Path) -> None:
    write_series(tmp_path / "IMAGES/SE2", 5)
    write_series(tmp_path / "IMAGES/SE1", 1, SeriesInstanceUID="1.2.3.1.9", SeriesDescription="Scout AP")
    write(tmp_path / "IMAGES/SE9/SR", data_set("SR", SeriesInstanceUID="1.2.3.1.8"))
    (tmp_path / "DICOMDIR").write_bytes(sample("dicomdirtests/DICOMDIR").read_bytes())
    (tmp_path / "report.pdf").write_bytes(b"%PDF-")
    (tmp_path / "note.txt").write_text("well")
    rules = CT, SocketRule("report", ("*.pdf",)), SocketRule("note", value_from=TextValue("note.txt"))
    grouping = look(tmp_path, *rules, leave_out=SCOUTS)
    assert grouping.plan, grouping.problems
    sent = {one.socket: one.value or [file.path for file in one.files] for one in grouping.plan.sockets}
    assert sent == {"ct": ["ct.zip/"], "report": ["report.pdf"], "note": "well"}
    assert [one.path for one in grouping.plan.sockets[0].files[0].packed] == [
        f"IMAGES/SE2/IM000{n}" for n in range(1, 6)
    ]
    assert grouping.plan.left_out == (
        "series 3 (CT, the file IMAGES/SE1/IM0001)",
        "the file DICOMDIR (DICOMDIR)",
        "the file IMAGES/SE9/SR (Basic Text SR)",
    )


def test_what_is_packed_carries_how_each_file_looked(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, 1)
    grouping = look(tmp_path)
    assert grouping.plan
    (source,) = grouping.plan.sockets[0].files[0].packed
    looks = path.stat()
    assert (source.size, source.mtime_ns, source.ctime_ns) == (
        looks.st_size,
        looks.st_mtime_ns,
        looks.st_ctime_ns,
    )


def test_an_mr_with_two_echoes_is_called_that(tmp_path: Path) -> None:
    write_series(tmp_path / "a", 4, "MR", EchoTime=10)
    write_series(tmp_path / "b", 4, "MR", EchoTime=20)
    grouping = look(tmp_path, SocketRule("ct", dicom=()))
    assert said(grouping) == [("several-images", Weight.WRONG)]
    assert "2 echoes" in grouping.problems[0].text


@pytest.mark.parametrize("suffix", ["zip", "gz"])
def test_dicom_in_an_archive_is_to_be_unpacked(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / "x", data_set())
    if suffix == "gz":
        (tmp_path / "ct.gz").write_bytes(gzip.compress(path.read_bytes()))
    else:
        with zipfile.ZipFile(tmp_path / "ct.zip", "w") as packed:
            packed.write(path, "x")
    path.unlink()
    grouping = look(tmp_path, SocketRule("ct", ("*.zip", "*.gz")))
    assert said(grouping) == [("dicom", Weight.WRONG)]
    assert "Unpack it" in grouping.problems[0].text


def test_a_cut_off_slice_waits_and_its_name_is_said(tmp_path: Path) -> None:
    path = write_series(tmp_path, 4)[1]
    os.truncate(path, path.stat().st_size - 10)
    grouping = look(tmp_path)
    assert said(grouping) == [("cut-off", Weight.LACKING)]
    assert "IM0002" in grouping.problems[0].text


def test_another_patients_report_is_found_in_a_folder_whose_rules_know_no_dicom(tmp_path: Path) -> None:
    (tmp_path / "ct.mha").write_bytes(b"NDims = 3\n")
    write_series(tmp_path, 1)
    write(tmp_path / "sr", data_set("SR", PatientID="4712"))
    grouping = look(tmp_path, SocketRule("ct", ("*.mha",)), unmatched="ignore")
    assert ("several-patients", Weight.WRONG) in said(grouping)


def test_only_new_files_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from casedrop import dicom_headers  # noqa: PLC0415

    asked: list[int] = []
    plainly = dicom_headers.read

    def counting(descriptor: int, *keywords: tuple[str, ...]) -> object:
        asked.append(descriptor)
        return plainly(descriptor, *keywords)

    monkeypatch.setattr(dicom_headers, "read", counting)
    known: Headers = {}
    first = write_series(tmp_path, 5)
    look(tmp_path, known=known)
    look(tmp_path, known=known)
    assert len(asked) == 5
    write(tmp_path / "IM0006", next(slices(1, ImagePositionPatient=[-10, -20, 12.5])))
    assert look(tmp_path, known=known).plan
    assert len(asked) == 6
    first[0].unlink()
    look(tmp_path, known=known)
    assert len(asked) == 6
    assert len(known) == 5


@pytest.mark.long
def test_a_folder_without_dicom_never_loads_what_reads_it(tmp_path: Path) -> None:
    (tmp_path / "ct.mha").write_bytes(b"NDims = 3\n")
    code = (
        "import sys; from casedrop import watch; from casedrop.contents import group_folder\n"
        "from casedrop.model import Drop, SocketRule\n"
        f"folder = {str(tmp_path)!r}\n"
        "drop = Drop('a', '/a', 'a', (SocketRule('ct', ('*.mha',)),))\n"
        "assert group_folder(folder, watch.list_folder(folder), drop, None).plan\n"
        "sys.exit('pydicom' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_plan_shows_series_and_patients_only_if_asked(tmp_path: Path) -> None:
    write_series(tmp_path / "SE2", 5)
    write_series(
        tmp_path / "SE1", 1, SeriesInstanceUID="1.2.3.1.9", SeriesDescription="Scout AP", SeriesNumber=1
    )
    (tmp_path / "x.doc").write_bytes(b"x")
    listing = watch.list_folder(str(tmp_path))
    drop = Drop("lung", "/lab", "lung", (CT,), unmatched="ignore", leave_out=SCOUTS)
    grouping = group_folder(str(tmp_path), listing, drop, KINDS)
    shown = " ".join(plan_text(listing, grouping, drop).split())
    assert '3 "Thorax 1.0" (CT, 5 slices of 8 x 8, 0.0 MB, 5 files in SE2) -> ct' in shown
    assert '1 "Scout AP" (CT, 1 slice of 8 x 8, 0.0 MB, 1 file in SE1) -> left out as configured' in shown
    assert "x.doc -> no rule takes it" in shown
    assert "IM0001" not in shown
    structured = plan_json(listing, grouping, drop)
    assert [(one["description"], one["sockets"]) for one in structured["series"]] == [
        ("Scout AP", []),
        ("Thorax 1.0", ["ct"]),
    ]
    assert structured["files"] == {"x.doc": []}
    assert len(structured["display_sets"][0]["sockets"][0]["files"]) == 5
    for quiet in (shown, json.dumps(structured), repr(grouping)):
        assert not any(text in quiet for text in ("Doe", "4711", "19500102", "1.2.3.1"))
    patients = read_patients(str(tmp_path), grouping)
    assert "patient: Doe^Jane, 4711" in plan_text(listing, grouping, drop, patients)
    assert plan_json(listing, grouping, drop, patients)["series"][0]["patient_id"] == "4711"


BARE = b"\x08\0\x16\0UI\x1a\x001.2.840.10008.5.1.4.1.1.2\0"


@pytest.mark.parametrize("before", [b" ", bytes(512), b"junk of a broken-off copy" * 9])
def test_dicom_with_something_before_it_or_its_beginning_cut_off_never_goes_as_it_is(
    tmp_path: Path, before: bytes
) -> None:
    whole = write(tmp_path / "whole", data_set()).read_bytes()
    (tmp_path / "whole").unlink()
    for content in (before + whole, whole[140:], before + BARE + bytes(400)):
        (tmp_path / "IM1").write_bytes(content)
        grouping = look(tmp_path, SocketRule("ct", ("**/*",)))
        assert grouping.plan is None
        assert ("cut-off", Weight.LACKING) in said(grouping)


def test_dicom_that_a_header_of_mhd_names_as_its_data_is_refused(tmp_path: Path) -> None:
    header = (
        "ObjectType = Image\nNDims = 2\nDimSize = 8 8\nElementType = MET_SHORT\nHeaderSize = -1\n"
        "ElementDataFile = {}\n"
    )
    for name, made in (("scan.raw", data_set("SR")), ("IM1.dcm", data_set(SeriesDescription="scout"))):
        for path in tmp_path.iterdir():
            path.unlink()
        write(tmp_path / name, made)
        (tmp_path / "scan.mhd").write_text(header.format(name))
        grouping = look(tmp_path, SocketRule("ct", ("*.mhd",)), leave_out=SCOUTS, unmatched="ignore")
        assert grouping.plan is None
        assert ("dicom", Weight.WRONG) in said(grouping)


def test_a_series_is_not_missed_where_the_finished_display_set_holds_it(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4")
    rules = (CT, SocketRule("report", ("*.pdf",)))
    drop = Drop("lung", "/lab", "lung", rules, existing_display_set="add")
    listing = watch.list_folder(str(tmp_path))
    grouping = group_folder(str(tmp_path), listing, drop, KINDS, lambda _: frozenset({"ct"}))
    assert grouping.plan
    assert grouping.plan.relies_on == ("ct",)


@pytest.mark.parametrize("kept", [700, 0])
def test_a_slice_that_is_not_all_there_waits(tmp_path: Path, kept: int) -> None:
    path = write_series(tmp_path, 5)[2]
    path.write_bytes(path.read_bytes()[:kept])
    assert all(weight is Weight.LACKING for _, weight in said(look(tmp_path)))


@pytest.mark.long
def test_a_deflated_bomb_stays_small(tmp_path: Path) -> None:
    made = data_set()
    made.PixelData = bytes(1 << 28)
    write(tmp_path / "IM1", made, DeflatedExplicitVRLittleEndian)
    del made
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    look(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
