"""What is read of DICOM files as they are: pydicom's own, and written ones of every kind."""

import io
import os
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from casedrop import dicom_headers
from casedrop.dicom_model import SERIES_GUARDS, DicomHeader
from casedrop.guards import series_problems
from casedrop.model import Procedure
from casedrop.patients import patients_problem
from casedrop.series import series_of
from dicoms import CLASSES, ENHANCED_MR, data_set, sample, slices, write


def look(path: Path, *keywords: str) -> DicomHeader | None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return dicom_headers.read(descriptor, keywords)
    finally:
        os.close(descriptor)


def read(path: Path, *keywords: str) -> DicomHeader:
    found = look(path, *keywords)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "class_name", "modality", "frames"),
    [
        ("CT_small.dcm", "CT Image Storage", "CT", 1),
        ("MR_small_bigendian.dcm", "MR Image Storage", "MR", 1),
        ("MR_small_implicit.dcm", "MR Image Storage", "MR", 1),
        ("MR_small_RLE.dcm", "MR Image Storage", "MR", 1),
        ("MR_small_padded.dcm", "MR Image Storage", "MR", 1),
        ("JPEG2000.dcm", "Secondary Capture Image Storage", "NM", 1),
        ("JPEG2000-embedded-sequence-delimiter.dcm", "Secondary Capture Image Storage", "NM", 1),
        ("ExplVR_BigEnd.dcm", "Ultrasound Image Storage", "US", 1),
        ("examples_ybr_color.dcm", "Ultrasound Multi-frame Image Storage", "US", 30),
        ("image_dfl.dcm", "Secondary Capture Image Storage", "OT", 1),
        ("liver_1frame.dcm", "Segmentation Storage", "SEG", 1),
        ("badVR.dcm", "RT Dose Storage", "RTDOSE", 1),
        ("rtdose_rle.dcm", "RT Dose Storage", "RTDOSE", 15),
        ("dicomdirtests/77654033/CR1/6154", "Computed Radiography Image Storage", "CR", 1),
    ],
)
def test_images_of_many_makers_and_syntaxes_are_whole(
    name: str, class_name: str, modality: str, frames: int
) -> None:
    found = read(sample(name))
    assert (found.class_name, found.modality, found.frames) == (class_name, modality, frames)
    assert found.image
    assert not found.broken
    assert found.series
    assert found.size


@pytest.mark.parametrize(
    ("name", "class_name"),
    [
        ("reportsi.dcm", "Basic Text SR Storage"),
        ("test-SR.dcm", "Comprehensive SR Storage"),
        ("rtstruct.dcm", "RT Structure Set Storage"),
        ("rtplan.dcm", "RT Plan Storage"),
        ("waveform_ecg.dcm", "12-lead ECG Waveform Storage"),
        ("ExplVR_BigEndNoMeta.dcm", "RT Ion Plan Storage"),
        ("ExplVR_LitEndNoMeta.dcm", "RT Ion Plan Storage"),
    ],
)
def test_what_is_no_image_is_dicom_all_the_same(name: str, class_name: str) -> None:
    found = read(sample(name))
    assert (found.class_name, found.image) == (class_name, False)


def test_a_directory_is_known_by_its_class() -> None:
    found = read(sample("dicomdirtests/DICOMDIR"))
    assert (found.class_name, found.image) == ("Media Storage Directory Storage", False)


@pytest.mark.parametrize("name", ["README.txt", "crayons.icc", "test1.json", "zipMR.gz", "rtplan.dump"])
def test_what_is_no_dicom_gives_nothing(name: str) -> None:
    assert look(sample(name)) is None


def test_a_truncated_file_is_broken() -> None:
    assert read(sample("MR_truncated.dcm")).broken


@pytest.mark.parametrize("modality", ["SR", "KO", "PR", "DOC", "RTSTRUCT"])
def test_objects_without_pixels_are_no_images(tmp_path: Path, modality: str) -> None:
    found = read(write(tmp_path / "x", data_set(modality)))
    assert (found.image, found.broken, found.sop_class) == (False, False, CLASSES[modality])


def test_everything_a_guard_needs_is_read(tmp_path: Path) -> None:
    made = data_set(
        "MR",
        EchoTime=12.5,
        BurnedInAnnotation="YES",
        PatientIdentityRemoved="YES",
        InstanceNumber=17,
        ImagePositionPatient=[1, 2.5, -3],
    )
    found = read(write(tmp_path / "x", made), "SeriesDescription", "ImageType", "Manufacturer")
    assert (found.series, found.study, found.frame_of_reference) == ("1.2.3.1.1", "1.2.3.1", "1.2.3.9")
    assert (found.number, found.instance, found.echo, found.thickness) == (3, 17, 12.5, 2.5)
    assert (found.position, found.orientation, found.spacing) == (
        (1, 2.5, -3),
        (1, 0, 0, 0, 1, 0),
        (0.7, 0.7),
    )
    assert (found.size, found.frames, found.taken) == ((8, 8), 1, "20260102101112")
    assert (found.burned_in, found.identity_removed) == (True, True)
    assert found.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert found.value("SeriesDescription") == ("Thorax 1.0",)
    assert found.value("ImageType") == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert found.value("Manufacturer") == ()


def test_patients_are_told_apart_without_keeping_who_they_are(tmp_path: Path) -> None:
    one, same, other, none = (
        read(write(tmp_path / name, data_set(PatientID=patient, PatientName=called)))
        for name, patient, called in (
            ("a", "4711", "Doe^Jane"),
            ("b", " 4711", "DOE^Jane^^"),
            ("c", "4712", "Roe^Jane"),
            ("d", "", ""),
        )
    )
    assert one.patient == same.patient != other.patient
    assert one.patient_name == same.patient_name != other.patient_name
    assert (none.patient, none.patient_name) == ("", "")
    assert not any(
        text in repr((one, other)) + str(one.patient) for text in ("4711", "Doe", "1.2.3", "Thorax")
    )


def test_what_stands_once_for_all_frames_is_found(tmp_path: Path) -> None:
    """An enhanced image has its geometry in functional groups (PS3.3, C.7.6.16)."""
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.5], 4
    shared.PixelMeasuresSequence = Sequence([measures])
    made = data_set("MR", SOPClassUID=ENHANCED_MR, NumberOfFrames=2, PixelSpacing=None, SliceThickness=None)
    made.SharedFunctionalGroupsSequence = Sequence([shared])
    made.PixelData = bytes(256)
    found = read(write(tmp_path / "x", made), "SliceThickness")
    assert (found.frames, found.spacing, found.thickness) == (2, (0.5, 0.5), 4.0)
    assert found.value("SliceThickness") == ("4.0",)
    assert not found.broken


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
    ],
)
@pytest.mark.parametrize("kept", [1.0, 0.95, 0.7])
def test_a_cut_off_file_is_broken_in_every_transfer_syntax(
    tmp_path: Path, syntax: pydicom.uid.UID, kept: float
) -> None:
    made = data_set(Rows=64, Columns=64, PixelData=os.urandom(64 * 64 * 2))
    if syntax == RLELossless:
        made.PixelData = encapsulate([os.urandom(8000)])
        made["PixelData"].VR = "OB"
    path = write(tmp_path / "x", made, syntax)
    os.truncate(path, int(path.stat().st_size * kept))
    assert read(path).broken is (kept < 1)


def test_a_file_cut_off_within_its_header_is_broken(tmp_path: Path) -> None:
    path = write(tmp_path / "x", data_set())
    os.truncate(path, 700)
    assert read(path).broken


def test_without_preamble_and_without_extension_a_file_is_dicom(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    made = data_set()
    pydicom.dcmwrite(buffer, made, implicit_vr=True, little_endian=True, enforce_file_format=False)
    (tmp_path / "x").write_bytes(buffer.getvalue())
    found = read(tmp_path / "x")
    assert (found.modality, found.broken) == ("CT", False)


def test_the_pixels_are_not_read(tmp_path: Path) -> None:
    """They may be a hole of gigabytes: only the length counts."""
    path = write(tmp_path / "x", data_set(PixelData=bytes(100), BitsAllocated=8))
    whole = path.read_bytes()
    at = whole.rindex((100).to_bytes(4, "little"))
    path.write_bytes(whole[:at] + (1 << 31).to_bytes(4, "little"))
    os.truncate(path, at + 4 + (1 << 31))
    assert not read(path).broken


def test_values_that_are_none_of_their_kind_count_as_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "x", data_set(SliceThickness=2.5))
    path.write_bytes(path.read_bytes().replace(b"2.5 ", b"2x5 "))
    found = read(path, "SliceThickness")
    assert found.thickness is None
    assert not found.broken


def test_what_is_empty_and_of_no_kind_that_there_is_counts_as_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a", data_set("CT", SeriesNumber="", SeriesDescription="Thorax"))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\x20\0\x11\0IS\0\0", b"\x20\0\x11\0ZZ\0\0"))
    header = read(path)
    assert (header.broken, header.number, header.description) == (False, None, "Thorax")


def test_nothing_pydicom_warns_of_reaches_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "x", data_set(StudyDate="20260101"))
    path.write_bytes(path.read_bytes().replace(b"20260101", b"Jane Doe"))
    read(path, "StudyDate")
    read(sample("rtplan_truncated.dcm"), "PatientName")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("written", ["DOE^JANE", "Doe, Jane", "Jane Doe^^^", "Doe^Jane=\u5c71\u7530"])
def test_a_name_is_the_same_however_a_program_writes_it(tmp_path: Path, written: str) -> None:
    other = read(write(tmp_path / "y", data_set(PatientName=written, SpecificCharacterSet="ISO_IR 192")))
    known = read(write(tmp_path / "x", data_set()))
    assert other.patient_name == known.patient_name
    assert read(write(tmp_path / "z", data_set(PatientName="Roe^Jane"))).patient_name != known.patient_name


def called(folder: Path, *names: str) -> set[str]:
    found = (
        read(write(folder / f"{n}", data_set(PatientName=name, SpecificCharacterSet="ISO_IR 192")))
        for n, name in enumerate(names)
    )
    return {one.family_given for one in found}


@pytest.mark.parametrize(
    "names",
    [
        ("Doe^Jane", "Doe^Jane^M", "Doe^Jane^^Dr", "DOE, JANE", "Doe^Jane^Mary^^PhD"),
        ("Müller^Eva", "Mueller^Eva", "MULLER^EVA", "Müller^Eva"),
        ("Sørensen^Åse", "Soerensen^Ase"),
        ("Weiß^Jörg", "WEISS^JOERG"),
    ],
)
def test_family_and_given_name_are_the_same_however_accents_and_the_rest_are_written(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    assert len(called(tmp_path, *names)) == 1


def test_a_name_in_one_piece_begins_as_family_and_given_name_do(tmp_path: Path) -> None:
    names = ("Berg^Jörg", "BERG JOERG MARIE", "Berg^Jörg Marie", "Berg", "Marie Berg Jörg", "")
    short, piece, long, family, other, none = (
        read(write(tmp_path / f"{n}", data_set(PatientName=name, SpecificCharacterSet="ISO_IR 192")))
        for n, name in enumerate(names)
    )
    assert short.beginnings == (short.family_given,)
    assert piece.beginnings == long.beginnings == (short.family_given, piece.family_given)
    assert short.family_given not in other.beginnings
    assert family.beginnings == none.beginnings == ()


def test_other_families_and_given_names_stay_others(tmp_path: Path) -> None:
    assert (
        len(called(tmp_path, "Doe^Jane", "Doe^John", "Roe^Jane", "Doe", "^^M", "山田^太郎", "山田^花子")) == 7
    )
    assert called(tmp_path, "") == {""}


def test_birth_dates_are_told_apart_without_keeping_them(tmp_path: Path) -> None:
    dates = ("19500102", "19500102", "19500103", "")
    one, same, other, none = (
        read(write(tmp_path / f"{n}", data_set(PatientBirthDate=date))).birth_date
        for n, date in enumerate(dates)
    )
    assert one == same != other
    assert "1950" not in one
    assert none == ""


def test_a_private_class_is_not_repeated(tmp_path: Path) -> None:
    found = read(write(tmp_path / "x", data_set(SOPClassUID="1.2.276.0.4711.1950")))
    assert (found.sop_class, found.class_name) == ("1.2.276.0.4711.1950", "")


def enhanced(*places: float, **of_each: Any) -> Dataset:
    """An enhanced MR of one frame at each place along z; `of_each` adds to FrameContentSequence by frame."""
    made = data_set(
        "MR", SOPClassUID=ENHANCED_MR, NumberOfFrames=len(places), ImagePositionPatient=None,
        ImageOrientationPatient=None,
    )  # fmt: skip
    made.PixelData = bytes(128 * len(places))
    made.PerFrameFunctionalGroupsSequence = Sequence(
        _frame(at, {word: values[n] for word, values in of_each.items()}) for n, at in enumerate(places)
    )
    return made


def _frame(at: float, content: dict[str, Any]) -> Dataset:
    groups = {
        "PlanePositionSequence": {"ImagePositionPatient": [0, 0, at]},
        "PlaneOrientationSequence": {"ImageOrientationPatient": content.pop("turned", [1, 0, 0, 0, 1, 0])},
        "FrameContentSequence": content,
    }
    frame = Dataset()
    for group, elements in groups.items():
        item = Dataset()
        for keyword, value in elements.items():
            setattr(item, keyword, value)
        setattr(frame, group, Sequence([item]))
    return frame


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_the_frames_of_an_enhanced_image_tell_where_they_lie(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    made = enhanced(0, 2.5, 7.5, StackID=["1", "1", "1"], InStackPositionNumber=[1, 2, 4])
    found = read(write(tmp_path / "x", made, syntax))
    assert found.frame_positions == ((0, 0, 0), (0, 0, 2.5), (0, 0, 7.5))
    assert found.orientation == (1, 0, 0, 0, 1, 0)
    assert found.position is None
    assert not found.broken


@pytest.mark.parametrize(
    "made",
    [
        enhanced(0, 2.5, StackID=["1", "2"]),
        enhanced(0, 2.5, turned=[[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1]]),
        enhanced(0, 0.2, 2.5, 2.9, InStackPositionNumber=[1, 1, 2, 2]),
        data_set("MR", SOPClassUID=ENHANCED_MR, NumberOfFrames=2, PixelData=bytes(256)),
    ],
    ids=["stacks", "orientations", "moved between time points", "nothing said"],
)
def test_frames_that_are_no_one_stack_say_nothing_of_their_places(tmp_path: Path, made: Dataset) -> None:
    assert read(write(tmp_path / "x", made)).frame_positions == ()


@pytest.mark.parametrize("damage", [b"7x25", b"1e99", b"nan ", b"inf "])
def test_a_damaged_position_of_a_frame_says_nothing(tmp_path: Path, damage: bytes) -> None:
    path = write(tmp_path / "x", enhanced(0, 7.25))
    path.write_bytes(path.read_bytes().replace(b"7.25", damage))
    found = read(path)
    assert (found.frame_positions, found.frames) == ((), 2)


@pytest.mark.parametrize(
    "axes",
    [["1e400"] * 6, ["1e200"] * 6, ["nan"] * 6, [0] * 6, [1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 1, 0], [1, 0, 0]],
    ids=["infinite", "huge", "no number", "nothing", "one axis twice", "too long", "half"],
)
def test_an_orientation_that_is_none_says_nothing(tmp_path: Path, axes: list[Any]) -> None:
    found = read(write(tmp_path / "x", enhanced(0, 2.5, turned=[axes, axes])))
    assert (found.orientation, found.frame_positions) == (None, ())
    assert read(write(tmp_path / "y", data_set(ImageOrientationPatient=axes))).orientation is None


def test_a_rounded_orientation_is_one(tmp_path: Path) -> None:
    axes = [0.71, 0.71, 0, 0, 0, -1.004]
    assert read(write(tmp_path / "x", data_set(ImageOrientationPatient=axes))).orientation == tuple(axes)


def test_names_are_read_for_those_who_ask(tmp_path: Path) -> None:
    with write(tmp_path / "x", data_set()).open("rb") as file:
        assert dicom_headers.patient(file.fileno()) == ("Doe^Jane", "4711")


WILD = st.sampled_from(
    ["", "0", "-0", "1e-320", "1e-9", "1e-3", "1", "-2.5", "0.1", "9e14", "1e15", "1e200", "-1e400", "nan", "inf"]
) | st.floats().map(str)  # fmt: skip
EACH = {
    "ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2, "SliceThickness": 1,
    "SpacingBetweenSlices": 1, "InstanceNumber": 1, "SeriesNumber": 1, "NumberOfFrames": 1, "EchoTime": 1,
    "Rows": 1, "Columns": 1,
}  # fmt: skip
BINARY = {"Rows", "Columns"}


def wild(keyword: str) -> st.SearchStrategy[Any]:
    """What stands in place of numbers: as many as there should be, or not."""
    if keyword in BINARY:
        return st.integers(0, 65535)
    count = EACH[keyword]
    alike = WILD.map(lambda one: [one] * count)
    return alike | st.lists(WILD, min_size=count, max_size=count) | st.lists(WILD, max_size=count + 1)


@st.composite
def wild_series(draw: st.DrawFn) -> list[Dataset]:
    """Slices, or a file of frames, some of whose numbers are damaged: in each alike, or in each another way."""
    if draw(st.booleans()):
        found = [*slices(draw(st.integers(1, 5)), draw(st.sampled_from(["CT", "MR"])))]
        holders = found
    else:
        found = [enhanced(*range(draw(st.integers(1, 6))))]
        frames = found[0].PerFrameFunctionalGroupsSequence
        holders = [*found, *(group.value[0] for one in frames for group in one)]
    for keyword in draw(st.lists(st.sampled_from(sorted(EACH)), max_size=3, unique=True)):
        inner = [one for one in holders if keyword in one] or found
        values = draw(
            wild(keyword).map(lambda one: [one] * 6) | st.lists(wild(keyword), min_size=6, max_size=6)
        )
        for one, value in zip(inner, values, strict=False):
            one[keyword] = DataElement(keyword, "US" if keyword in BINARY else "LO", value)
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(wild_series())
def test_whatever_the_numbers_of_a_series_are_it_is_judged(tmp_path: Path, found: list[Dataset]) -> None:
    headers = {
        f"{n}": read(write(tmp_path / f"{n}", one, ImplicitVRLittleEndian)) for n, one in enumerate(found)
    }
    assert not any(one.broken and not one.series for one in headers.values()), "each is read"
    for allow in ((), SERIES_GUARDS):
        for series in series_of(headers, dict.fromkeys(headers, 1)):
            for problem in series_problems(series, Procedure(), allow):
                assert problem.word in (*SERIES_GUARDS, "unsupported-class")
    assert patients_problem(headers) is None


WHOLE = sample("MR_small.dcm").read_bytes()
PIXELS_END = WHOLE.index(b"\xe0\x7f\x10\0OW") + 12 + 64 * 64 * 2
"""Padding stands behind."""


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1800), st.integers(0, 255)), max_size=6), st.integers(0, len(WHOLE)))
def test_no_damage_surprises_us(tmp_path: Path, changes: list[tuple[int, int]], kept: int) -> None:
    content = bytearray(WHOLE)
    for at, byte in changes:
        content[at] = byte
    (tmp_path / "x").write_bytes(content[:kept])
    found = look(tmp_path / "x")
    if not changes and kept >= 132:
        assert found is not None
        assert found.broken is (kept < PIXELS_END) or not found.image


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian])
def test_the_same_bytes_are_another_text_in_another_character_set(tmp_path: Path, syntax: UID) -> None:
    same = "Grün".encode("latin-1")
    for charset, codec in (
        ("ISO_IR 100", "latin-1"),
        ("ISO_IR 126", "iso8859_7"),
        ("ISO_IR 144", "iso8859_5"),
    ):
        said = same.decode(codec)
        made = data_set(SpecificCharacterSet=charset, SeriesDescription=said)
        assert read(write(tmp_path / charset, made, syntax)).description == said


@pytest.mark.parametrize("again", range(2))
def test_what_is_no_number_counts_as_not_there_each_time(tmp_path: Path, again: int) -> None:
    path = write(tmp_path / str(again), data_set("MR", EchoTime="11.1"))
    path.write_bytes(path.read_bytes().replace(b"11.1", b"elf "))
    assert read(path).echo is None
