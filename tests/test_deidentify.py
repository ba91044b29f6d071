"""What may leave, byte for byte; every value of identifying.PERSONAL is searched for in it."""

import io
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from casedrop.deidentify import deidentify
from casedrop.dicom_model import WHOLE_SLIDE
from casedrop.essence import ITEM, as_slice, essence
from casedrop.model import ALLOW, ANNEX_E_OPTIONS, Problem, Procedure
from casedrop.new_uids import new_uid
from casedrop.slices import Deidentified
from identifying import (
    CT,
    MR,
    PERSONAL,
    ROOT,
    SERIES,
    STUDY,
    US,
    compressed,
    enhanced,
    image,
    items,
    jpeg,
    jpeg_2000,
    jpeg_ls,
    nested,
    report,
    segment,
    spliced,
    texts,
    written,
)

KEY = bytes(range(32))
GRAND, STANDARD = Procedure("grand-challenge"), Procedure("dicom-standard")
SHIPPED = sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))
NOT_IMAGES = {
    "MR_truncated", "UN_sequence", "badVR", "empty_charset_LEI", "meta_missing_tsyntax", "nested_priv_SQ",
    "no_meta", "no_meta_group_length", "priv_SQ",
}  # fmt: skip
"""Cut off, or without a class."""
WITH_COMMENTS = {"GDCMJ2K_TextGBR"}
"""A JP2 with boxes of somebody's own."""

PLACES = (
    "PatientName PersonName OperatorsName InstitutionName PatientComments StudyDate AccessionNumber "
    "StudyInstanceUID ReviewerName EvaluatorName"
).split()
SEQUENCES = (
    "RequestAttributesSequence SourceImageSequence ProcedureCodeSequence ViewCodeSequence ContentSequence "
    "SharedFunctionalGroupsSequence AnatomicRegionSequence"
).split()

pytestmark = pytest.mark.filterwarnings("ignore")


def sent(data: bytes, procedure: Procedure, *, alone: bool = False) -> bytes:
    found = deidentify(data, procedure, KEY, alone=alone)
    assert isinstance(found, Deidentified), found
    return found.data


def refused(data: bytes, procedure: Procedure, *, alone: bool = False) -> Problem:
    found = deidentify(data, procedure, KEY, alone=alone)
    assert isinstance(found, Problem)
    assert not [text for text in texts() if text.decode() in found.text]
    return found


def read(data: bytes) -> Dataset:
    return dcmread(io.BytesIO(data))


MADE: dict[str, Callable[[], bytes]] = {
    "explicit": lambda: written(image()),
    "implicit": lambda: written(image(), ImplicitVRLittleEndian),
    "big endian": lambda: written(image(), ExplicitVRBigEndian),
    "deflated": lambda: written(image(), DeflatedExplicitVRLittleEndian),
    "compressed": lambda: written(image(), RLELossless),
    "bare": lambda: written(image(), bare=True),
    "mr": lambda: written(image(1, MR, EchoTime=30, EchoNumbers=2, Modality="MR")),
    "enhanced": lambda: written(enhanced()),
    "ultrasound": lambda: written(image(1, US, BurnedInAnnotation="NO")),
    "report": lambda: written(report()),
    "zeros behind": lambda: written(image()) + bytes(512),
}
KNOWN_TO_GRAND = {
    "explicit",
    "implicit",
    "big endian",
    "deflated",
    "compressed",
    "bare",
    "mr",
    "zeros behind",
}


@pytest.mark.parametrize(
    ("kind", "procedure"),
    [(kind, GRAND) for kind in sorted(KNOWN_TO_GRAND)]
    + [(kind, STANDARD) for kind in MADE]
    + [("explicit", Procedure("dicom-standard", options=("retain-patient-characteristics",)))],
    ids=lambda one: one if isinstance(one, str) else one.name,
)
def test_nothing_that_identifies_the_patient_is_sent(kind: str, procedure: Procedure) -> None:
    data = MADE[kind]()
    out = sent(data, procedure)
    assert not [text for text in texts() if text in out]
    assert out[:128] == bytes(128)
    assert sent(data, procedure) == out
    before, after = dcmread(io.BytesIO(data), force=True), read(out)
    assert after.get("PixelData") == before.get("PixelData")
    assert after.SOPClassUID == before.SOPClassUID == after.file_meta.MediaStorageSOPClassUID
    assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID
    assert "SourceApplicationEntityTitle" not in after.file_meta
    assert after.PatientIdentityRemoved == "YES"
    assert after.DeidentificationMethod


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_files_of_many_vendors_keep_their_pixels_and_lose_their_patient(path: Path) -> None:
    data = path.read_bytes()
    before = dcmread(io.BytesIO(data), force=True)
    procedure = Procedure("dicom-standard", allow=("burned-in",))
    if path.stem in NOT_IMAGES:
        refused(data, procedure)
        return
    if path.stem in WITH_COMMENTS:
        assert refused(data, procedure).word == "names-in-text"
        procedure = Procedure("dicom-standard", allow=("burned-in", "names-in-text"))
    out = sent(data, procedure)
    after = read(out)
    assert after.get("PixelData") == before.get("PixelData")
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientName", "PatientID"):
        value = str(before.get(keyword, ""))
        assert len(value) < 4 or value.encode() not in out
    assert sent(data, procedure) == out


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, RLELossless, ImplicitVRLittleEndian])
def test_the_transfer_syntax_stays(syntax: str) -> None:
    assert read(sent(written(image(), syntax), STANDARD)).file_meta.TransferSyntaxUID == syntax


def test_deflated_files_are_sent_inflated() -> None:
    out = read(sent(written(image(), DeflatedExplicitVRLittleEndian), STANDARD))
    assert out.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


@pytest.mark.parametrize("procedure", [GRAND, STANDARD])
def test_what_belonged_together_still_does(procedure: Procedure) -> None:
    first, second = (read(sent(written(image(number)), procedure)) for number in (1, 2))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert first[keyword].value == second[keyword].value == new_uid(KEY, getattr(image(), keyword))
    assert first.SOPInstanceUID != second.SOPInstanceUID


def test_references_lead_to_the_files_they_meant() -> None:
    first, second = (read(sent(written(image(number)), STANDARD)) for number in (1, 2))
    (meant,) = first.ReferencedImageSequence
    assert meant.ReferencedSOPInstanceUID == second.SOPInstanceUID
    assert meant.ReferencedSOPClassUID == CT
    frames = read(sent(written(enhanced()), STANDARD)).PerFrameFunctionalGroupsSequence
    assert frames[2].ReferencedImageSequence[0].ReferencedSOPInstanceUID == second.SOPInstanceUID


def test_new_uids_are_valid_and_depend_on_the_key() -> None:
    made = new_uid(KEY, STUDY)
    assert pydicom.uid.UID(made).is_valid
    assert made.startswith("2.25.")
    assert len(made) <= 64
    assert made == new_uid(KEY, STUDY) != new_uid(KEY, SERIES)
    assert made != new_uid(bytes(32), STUDY)
    assert new_uid(KEY, CT) == CT
    assert new_uid(KEY, "") == ""


def test_several_uids_in_one_attribute_are_each_replaced() -> None:
    data = written(image(IrradiationEventUID=[f"{ROOT}.8", f"{ROOT}.9"]))
    assert read(sent(data, STANDARD)).IrradiationEventUID == [
        new_uid(KEY, f"{ROOT}.8"),
        new_uid(KEY, f"{ROOT}.9"),
    ]


@pytest.mark.parametrize("procedure", [GRAND, STANDARD, Procedure("already-done", patterns=(".*",))])
def test_an_image_of_several_names_or_none_is_refused_in_plain_words(procedure: Procedure) -> None:
    several = [done(SOPInstanceUID=[f"{ROOT}.8", f"{ROOT}.9"]), done(SOPClassUID=[CT, MR])]
    start = several[0].index(b"\x08\0\x18\0UI")
    end = start + 8 + several[0][start + 6]
    none, empty = (several[0][:start] + middle + several[0][end:] for middle in (b"", b"\x08\0\x18\0UI\0\0"))
    for data in (*several, none, empty):
        text = refused(data, procedure).text
        assert text.startswith("{file} must have one SOP")
        assert "UID and has none or several, so nobody can tell which image it is" in text


def test_enhanced_frames_keep_place_and_size() -> None:
    out = read(sent(written(enhanced()), STANDARD))
    assert out.NumberOfFrames == 4
    assert out.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices == 3.0
    assert out.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0].ImagePositionPatient[2] == 9.0


def test_overlays_curves_and_what_the_standard_does_not_know_are_removed() -> None:
    made = image()
    made.add_new(0x60003000, "OW", b"Zwaardvis!" * 10)
    made.add_new(0x60000022, "LO", "Zwaardvis")
    made.add_new(0x50003000, "OW", b"Zwaardvis!")
    made.add_new(0x00081234, "LO", "Zwaardvis")
    out = sent(written(made), STANDARD)
    assert b"Zwaardvis" not in out
    assert not {0x60003000, 0x60000022, 0x50003000, 0x00081234} & set(read(out).keys())


def test_options_keep_what_they_name_and_are_named_in_the_file() -> None:
    options = ("retain-patient-characteristics", "retain-full-dates", "retain-institution-identity")
    data = written(image(PatientAge="073Y", PatientSex="F"))
    out = read(sent(data, Procedure("dicom-standard", options=options)))
    assert (out.PatientAge, out.PatientSex) == ("073Y", "F")
    assert (out.StudyDate, out.InstitutionName) == (PERSONAL["StudyDate"], PERSONAL["InstitutionName"])
    assert out.PatientBirthDate != PERSONAL["PatientBirthDate"]
    codes = [item.CodeValue for item in out.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113108", "113106", "113112"]
    assert out.LongitudinalTemporalInformationModified == "UNMODIFIED"


def test_retained_uids_are_the_original_ones() -> None:
    out = read(sent(written(image()), Procedure("dicom-standard", options=("retain-uids",))))
    assert (out.StudyInstanceUID, out.SOPInstanceUID) == (STUDY, f"{ROOT}.1.1")


def test_every_option_can_be_applied() -> None:
    assert sent(written(image()), Procedure("dicom-standard", options=ANNEX_E_OPTIONS))


def test_a_class_the_procedure_does_not_know_is_refused_by_name_with_the_setting_that_takes_it() -> None:
    problem = refused(written(image(1, US, BurnedInAnnotation="NO")), GRAND)
    assert problem.word == "unsupported-class"
    assert "Ultrasound Image Storage" in problem.text
    assert 'deidentify = "dicom-standard"' in problem.text


def test_a_class_of_somebodys_own_is_not_repeated() -> None:
    assert f"{ROOT}.5" not in refused(written(image(1, f"{ROOT}.5")), GRAND).text


@pytest.mark.parametrize(
    ("procedure", "sop_class", "said", "taken"),
    [
        (GRAND, CT, "YES", False),
        (STANDARD, CT, "YES", False),
        (STANDARD, US, None, False),
        (STANDARD, US, "NO", True),
        (STANDARD, CT, None, True),
        (Procedure("dicom-standard", allow=("burned-in",)), US, "YES", True),
    ],
)
def test_names_burned_into_the_picture(
    procedure: Procedure, sop_class: str, said: str | None, taken: bool
) -> None:
    data = written(image(1, sop_class, **({"BurnedInAnnotation": said} if said else {})))
    if taken:
        sent(data, procedure)
    else:
        assert refused(data, procedure).word == "burned-in"


def test_the_only_slice_keeps_its_thickness_or_is_refused() -> None:
    data = written(image(SpacingBetweenSlices=5.0))
    problem = refused(data, GRAND, alone=True)
    assert problem.word == "changed-size"
    assert "SpacingBetweenSlices" in problem.text
    assert 'allow = ["changed-size"]' in problem.text
    allowed = deidentify(data, Procedure(allow=("changed-size",)), KEY, alone=True)
    assert isinstance(allowed, Deidentified)
    assert "SpacingBetweenSlices" in allowed.taken


def test_of_many_slices_positions_tell_the_spacing() -> None:
    found = deidentify(written(image(SpacingBetweenSlices=2.5, SliceLocation=2.5)), GRAND, KEY, alone=False)
    assert isinstance(found, Deidentified)
    assert {"SliceLocation", "SpacingBetweenSlices"} < set(found.taken)


def test_slices_without_positions_need_their_spacing() -> None:
    made = image(SpacingBetweenSlices=2.5)
    del made.ImagePositionPatient
    assert refused(written(made), GRAND).word == "changed-size"


@pytest.mark.parametrize(("slope", "intercept", "taken"), [(1, 0, True), (2.5, 0, False), (1, -5, False)])
def test_a_rescale_that_does_something_is_not_lost_unsaid(
    slope: float, intercept: float, taken: bool
) -> None:
    data = written(image(1, MR, RescaleSlope=slope, RescaleIntercept=intercept))
    if taken:
        sent(data, GRAND)
        return
    problem = refused(data, GRAND)
    assert problem.word == "changed-values"
    sent(data, Procedure(allow=("changed-values",)))
    assert read(sent(data, STANDARD)).RescaleSlope == slope


def test_files_that_end_too_early_are_refused() -> None:
    data = written(image(Rows=64, Columns=64, PixelData=bytes(8192)))
    for cut in (len(data) - 1000, len(data) - 8000):
        assert isinstance(deidentify(data[:cut], STANDARD, KEY, alone=False), Problem)


def test_what_stands_behind_the_end_is_not_sent() -> None:
    problem = refused(written(image()) + b"PADDINGNAME Zwaardvis " * 20, STANDARD)
    assert problem.word == "not-deidentified"


def test_a_name_in_a_text_the_procedure_keeps_is_refused() -> None:
    data = written(image(ConvolutionKernel="B30 zwaardvis"))
    problem = refused(data, STANDARD)
    assert problem.word == "names-in-text"
    assert "ConvolutionKernel" in problem.text
    sent(data, Procedure("dicom-standard", allow=("names-in-text",)))


def done(**changes: Any) -> bytes:
    """A file as it comes out of another program that de-identifies."""
    made = Dataset()
    for element in image():
        if element.keyword not in PERSONAL and element.VR != "SQ" and not element.is_private:
            made.add(element)
    del made[0xFFFCFFFC]
    made.PatientIdentityRemoved, made.PatientID, made.PatientName = "YES", "STUDY-007", ""
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    return clean(written(made))


def clean(data: bytes) -> bytes:
    """Without what identifying.written puts before the data set."""
    found = read(data)
    del found.file_meta[0x00020100], found.file_meta[0x00020102]
    found.preamble = bytes(128)
    out = io.BytesIO()
    dcmwrite(out, found, enforce_file_format=True)
    return out.getvalue()


DONE = Procedure("already-done", patterns=(r"STUDY-\d+",))


def test_already_done_attributes_are_sent_as_they_are() -> None:
    found = deidentify(done(), DONE, KEY, alone=False)
    assert isinstance(found, Deidentified)
    assert (read(found.data), found.taken) == (read(done()), ())
    problem = refused(done(), Procedure("already-done", patterns=(r"OTHER-\d+",)))
    assert "PatientID is neither empty nor as the patterns" in problem.text
    assert "PatientID is not empty." in refused(done(), Procedure("already-done")).text
    assert refused(done(PatientIdentityRemoved="NO"), DONE).word == "not-deidentified-yet"
    assert (
        "OperatorsName and PatientID are neither"
        in refused(done(OperatorsName="Murene^Olga", PatientID="PAT83461907"), DONE).text
    )


@pytest.mark.parametrize(
    "keyword", ["ImageComments", "StudyComments", "AdditionalPatientHistory", "RequestedProcedureComments"]
)
def test_already_done_files_hold_no_comments(keyword: str) -> None:
    assert keyword in refused(done(**{keyword: "belt elke dinsdag"}), DONE).text


def test_already_done_files_hold_no_private_texts() -> None:
    for vr, value, taken in (
        ("LO", "Meerval", False),
        ("UN", b"Meerval ", False),
        ("UT", "STUDY-007", True),
        ("UN", b"\1\2\3\0Meerval", False),
        ("UN", "Meerval".encode("utf-16-le"), False),
        ("UN", b"\1\2\3\4", True),
        ("OB", b"\0\0", True),
        ("DS", "0.25", True),
    ):
        made = read(done())
        made.private_block(0x0009, "CANON_MEC_MR3", create=True).add_new(1, vr, value)
        nest = read(done())
        nest.private_block(0x0009, "CANON_MEC_MR3", create=True).add_new(1, "SQ", [Dataset()])
        inner = nest[0x00091001].value[0].private_block(0x0009, "CANON_MEC_MR3", create=True)
        inner.add_new(1, vr, value)
        for one in (made, nest):
            data = clean(written(one))
            if taken:
                assert read(sent(data, DONE)) == one
            else:
                assert "private attributes are neither" in refused(data, DONE).text


def twice() -> bytes:
    """PatientName stands there a second time: readers take the last."""
    data = done()
    first = read(data).get_item("PatientName")
    assert isinstance(first, RawDataElement)
    name = b"\x10\0\x10\0PN\x0a\0Zwaardvis "
    return data[: first.value_tell - 8] + name + data[first.value_tell - 8 :]


@pytest.mark.parametrize(
    "data",
    [
        b"PADDINGNAME".ljust(128, b" ") + done()[128:],
        twice(),
        done() + b"\x10\0\x10\0PN\x0a\0Zwaardvis " + b"\x10\0\x10\0PN\0\0",
        written(read(done())),
    ],
    ids=["in the preamble", "twice", "behind the image", "in the file meta information"],
)
def test_what_hides_in_already_done_files_does_not_go_along(data: bytes) -> None:
    found = sent(data, DONE)
    assert not [word for word in texts() if word in found and word in data and word != ROOT.encode()]
    assert read(found) == read(done())


def test_already_done_files_hold_no_text_in_padding_or_as_a_private_creator() -> None:
    made = read(done())
    made.add_new(0xFFFCFFFC, "OB", b"PADDINGNAME ")
    assert "DataSetTrailingPadding" in refused(clean(written(made)), DONE).text
    made.add_new(0xFFFCFFFC, "OB", bytes(12))
    sent(clean(written(made)), DONE)
    made = read(done())
    made.private_block(0x0009, "Zwaardvis Hendrika", create=True).add_new(1, "DS", "1.5")
    assert "private attributes" in refused(clean(written(made)), DONE).text


def test_a_name_deep_inside_is_not_already_done() -> None:
    made = read(done())
    made.RequestAttributesSequence = [nested()]
    problem = refused(clean(written(made)), Procedure("already-done"))
    assert "PatientName" in problem.text
    assert "PersonName" in problem.text


def test_identifiable_files_are_sent_as_they_are_where_a_lab_says_so() -> None:
    data = MADE["ultrasound"]()
    assert sent(data, Procedure("send-identifiable")) == data


@pytest.mark.parametrize(
    "data", [b"", b"Zwaardvis", b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICMZwaardvis" * 9]
)
def test_what_is_no_dicom_is_refused_without_a_quote(data: bytes) -> None:
    for procedure in (GRAND, STANDARD, Procedure("send-identifiable"), Procedure("already-done")):
        refused(data, procedure)


@given(
    depth=st.integers(1, 4),
    keyword=st.sampled_from(PLACES),
    inside=st.lists(st.sampled_from(SEQUENCES), min_size=4, max_size=4),
)
@settings(max_examples=60)
def test_names_are_found_however_deep_they_stand(depth: int, keyword: str, inside: list[str]) -> None:
    value = {"StudyDate": "20311217", "StudyInstanceUID": f"{ROOT}.31415"}.get(keyword, "Grootmeerval")
    item = Dataset()
    setattr(item, keyword, value)
    for sequence in inside[:depth]:
        outer = Dataset()
        setattr(outer, sequence, [item])
        item = outer
    made = image()
    made.update(item)
    for procedure in (GRAND, STANDARD):
        assert value.encode() not in sent(written(made), procedure)


@pytest.mark.parametrize("procedure", [GRAND, STANDARD], ids=lambda one: one.name)
@pytest.mark.parametrize("vr", ["UN", "OB", "OW", "UT"])
@pytest.mark.parametrize("many", [1, pytest.param(500, marks=pytest.mark.long)])
@pytest.mark.parametrize("implicit", [True, False])
def test_sequences_that_are_written_as_bytes_are_looked_into(
    procedure: Procedure, vr: str, many: int, implicit: bool
) -> None:
    data = spliced(written(image()), 0x00082112, vr, items([nested()] * many, implicit=implicit))
    out = sent(data, procedure)
    assert not [text for text in texts() if text in out]


@pytest.mark.parametrize("vr", ["UN", "OB", "OW", "UT"])
@pytest.mark.parametrize("procedure", [GRAND, STANDARD], ids=lambda one: one.name)
def test_what_should_be_a_sequence_and_is_none_is_refused(procedure: Procedure, vr: str) -> None:
    for value in (b"Zwaardvis ", items([nested()])[:-40], items([nested()], little=False)[:-2]):
        problem = refused(spliced(written(image()), 0x00082112, vr, value), procedure)
        assert "SourceImageSequence" in problem.text


@pytest.mark.parametrize("vr", ["UN", "OB", "OW"])
@pytest.mark.parametrize("procedure", [GRAND, STANDARD], ids=lambda one: one.name)
def test_texts_that_are_written_as_bytes_are_texts(procedure: Procedure, vr: str) -> None:
    made = image()
    del made.PatientName
    data = spliced(written(made), 0x00100010, vr, b"Kogelvis^Zwaardvis")
    assert b"Kogelvis" not in sent(data, procedure)
    problem = refused(spliced(written(image()), 0x00080070, vr, b"Zwaardvis "), procedure)
    assert (problem.word, "Manufacturer" in problem.text) == ("names-in-text", True)


def test_already_done_files_hide_nothing_in_bytes() -> None:
    for tag, value in ((0x00400275, items([nested()] * 500)), (0x00101060, b"Zwaardvis ")):
        assert refused(spliced(done(), tag, "UN", value), DONE).word == "not-deidentified-yet"


def test_what_bytes_say_of_frames_is_part_of_the_image() -> None:
    made = enhanced(400)
    frames = items(list(made.PerFrameFunctionalGroupsSequence))
    assert len(frames) > 0xFFFF
    del made.PerFrameFunctionalGroupsSequence
    out = read(sent(spliced(written(made), 0x52009230, "UN", frames), STANDARD))
    assert out.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0].ImagePositionPatient[2] == 9.0
    mr = image(1, MR)
    measures = Dataset()
    measures.RescaleSlope = 2.5
    data = spliced(written(mr), 0x00289145, "UN", items([measures]))
    assert refused(data, GRAND).word == "changed-values"


@pytest.mark.parametrize(
    ("changes", "keyword"),
    [
        ({"BodyPartExamined": "ZWAARDVIS"}, "BodyPartExamined"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "PAT83461907"]}, "ImageType"),
        ({"PatientName": "Zwaardvis-Petersen^A", "Manufacturer": "Petersen scan"}, "Manufacturer"),
        ({"PatientName": "Müllerin^A", "Manufacturer": "MUELLERIN"}, "Manufacturer"),
        ({"PatientName": "Müllerin^A", "Manufacturer": "Mullerin"}, "Manufacturer"),
        ({"ConvolutionKernel": "ZwaardvisHendrika"}, "ConvolutionKernel"),
    ],
)
@pytest.mark.parametrize("procedure", [GRAND, STANDARD], ids=lambda one: one.name)
def test_names_are_found_in_any_spelling(procedure: Procedure, changes: dict[str, Any], keyword: str) -> None:
    if keyword == "ConvolutionKernel" and procedure == GRAND:
        return
    problem = refused(written(image(**changes)), procedure)
    assert (problem.word, keyword in problem.text) == ("names-in-text", True)


def test_names_in_bytes_that_nobody_understands_are_found() -> None:
    made = image()
    made.add_new(0x00282000, "OB", b"\0\1ICC" + b"\xff" * 9 + b" ZWAARDVIS\0")
    problem = refused(written(made), STANDARD)
    assert problem.word == "names-in-text"
    sent(written(made), Procedure("dicom-standard", allow=("names-in-text",)))


def test_old_uids_in_what_is_kept_are_found() -> None:
    data = written(image(ConvolutionKernel=f"from {STUDY}"))
    assert refused(data, STANDARD).word == "not-deidentified"
    sent(data, Procedure("dicom-standard", options=("retain-uids",)))


def test_a_number_that_is_met_by_chance_names_nobody() -> None:
    made = image(PatientID="120000", PatientBirthDate="20260913")
    sent(written(made), Procedure("dicom-standard", options=("retain-full-dates",)))


@pytest.mark.parametrize("procedure", [GRAND, STANDARD], ids=lambda one: one.name)
@pytest.mark.parametrize("name", ["Long^Grand", "Basic^Short", "String^Challenge", "Profile^Casedrop"])
def test_what_the_procedures_write_names_nobody(procedure: Procedure, name: str) -> None:
    sent(written(image(PatientName=name)), procedure)
    problem = refused(
        written(image(PatientName=name, Manufacturer=name.split("^", maxsplit=1)[0])), procedure
    )
    assert problem.word == "names-in-text"


def test_a_name_in_place_of_a_date_is_found() -> None:
    made = image(StudyDate="ZWAARDVIS")
    assert refused(written(made), Procedure("dicom-standard", options=("retain-full-dates",)))


def test_uids_that_somebody_made_up_below_the_standards_root_are_replaced() -> None:
    mine = "1.2.840.10008.5.1.4.99.20260913.83461907"
    for procedure in (GRAND, STANDARD):
        out = sent(written(image(StudyInstanceUID=mine)), procedure)
        assert mine.encode() not in out


def test_a_class_newer_than_we_know_stays() -> None:
    newer = f"{CT}.77"
    out = read(sent(written(image(1, newer)), STANDARD))
    assert out.SOPClassUID == out.file_meta.MediaStorageSOPClassUID == newer


COMMENT, COMMENT_2000 = segment(0xFE, b"Zwaardvis"), segment(0x64, b"\0\1Zwaardvis")
EXIF = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x>Zwaardvis</x>")


@pytest.mark.parametrize(
    ("syntax", "good", "bad"),
    [
        (JPEGBaseline8Bit, jpeg(), jpeg(COMMENT)),
        (JPEGBaseline8Bit, jpeg(segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")), jpeg(EXIF)),
        (JPEGLosslessSV1, jpeg(segment(0xEE, b"Adobe\0\x64\0\0\0\0\0")), jpeg() + b"Zwaardvis"),
        (JPEGLSLossless, jpeg_ls(segment(0xE8, b"mrfx\1")), jpeg_ls(COMMENT)),
        (JPEG2000Lossless, jpeg_2000(segment(0x64, b"\0\1Kakadu-v7.2")), jpeg_2000(COMMENT_2000)),
        (HTJ2KLossless, jpeg_2000(segment(0x50, b"\0\2\0\0\0\0")), jpeg_2000(COMMENT_2000)),
        (JPEG2000, jpeg_2000(), jpeg_2000() + b"Zwaardvis"),
    ],
)
@pytest.mark.parametrize("before", [0, 1])
def test_texts_inside_compressed_pixels_are_found(syntax: str, good: bytes, bad: bytes, before: int) -> None:
    sent(compressed(syntax, *[good] * (before + 1)), STANDARD)
    data = compressed(syntax, *[good] * before, bad)
    for procedure in (STANDARD, DONE):
        assert refused(data, procedure).word == "names-in-text"
    sent(data, Procedure("dicom-standard", allow=("names-in-text",)))


def test_jpegs_that_cannot_be_read_are_not_known_to_hold_no_texts() -> None:
    for frame in (jpeg()[:40], b"Zwaardvis " * 4):
        assert refused(compressed(JPEGBaseline8Bit, frame), STANDARD).word == "names-in-text"


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]}, False),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"], "BurnedInAnnotation": "NO"}, False),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "OVERVIEW", "NONE"]}, False),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "OVERVIEW", "NONE"], "SpecimenLabelInImage": "NO"}, True),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "SpecimenLabelInImage": "YES"}, False),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "SpecimenLabelInImage": "NO"}, True),
    ],
)
def test_labels_of_slides_count_as_burned_in(changes: dict[str, Any], taken: bool) -> None:
    made = image(1, WHOLE_SLIDE, Modality="SM", **changes)
    del made.RescaleSlope, made.RescaleIntercept, made.ImagePositionPatient, made.ImageOrientationPatient
    made.SliceThickness = None
    if taken:
        sent(written(made), GRAND)
        return
    assert refused(written(made), GRAND).word == "burned-in"
    sent(written(made), Procedure(allow=("burned-in",)))


def test_one_frame_is_what_a_file_without_their_number_has() -> None:
    sent(written(image(NumberOfFrames=1)), GRAND)
    refused(written(image(NumberOfFrames=2, PixelData=bytes(256))), GRAND)


def test_vendors_own_geometry_is_not_missed() -> None:
    made, inner = image(), Dataset()
    inner.PixelSpacing = [9, 9]
    made.private_block(0x2005, "MEERVAL-PRIVATE", create=True).add_new(0x0F, "SQ", [inner])
    sent(written(made), STANDARD)


def test_what_is_cut_off_is_taken_where_a_lab_says_so() -> None:
    made = image(Rows=64, Columns=64, PixelData=bytes(8192))
    del made[0xFFFCFFFC]
    data = written(made)[:-1000]
    assert refused(data, STANDARD).word == "cut-off"
    out = sent(data, Procedure("dicom-standard", allow=("cut-off",)))
    assert len(read(out).PixelData) == 7192
    assert len(read(sent(data[:-1], Procedure("dicom-standard", allow=("cut-off",)))).PixelData) == 7192
    assert refused(data[:-7204], Procedure("dicom-standard", allow=("cut-off",))).word == "cut-off"


def test_compressed_files_that_end_too_early_are_said_to() -> None:
    data = compressed(JPEGBaseline8Bit, jpeg())[:-60]
    for allow in ((), ("cut-off",)):
        assert refused(data, Procedure("dicom-standard", allow=allow)).word == "cut-off"


def test_too_little_memory_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("casedrop.deidentify.read", none_left)
    with pytest.raises(MemoryError):
        deidentify(written(image()), GRAND, KEY, alone=False)


def test_what_is_often_burned_in_is_said_in_a_sentence() -> None:
    assert (
        "are Ultrasound Image Storage: writing is often burned into such pictures, and these do not say that "
        "there is none (BurnedInAnnotation). De-identifying cannot take out what is written in a picture."
    ) in refused(written(image(1, US)), STANDARD).text


def test_all_that_was_taken_is_named() -> None:
    made = image(ProtocolName="", DerivationDescription="Thorax")
    del made.StudyTime
    found = deidentify(written(made), STANDARD, KEY, alone=False)
    assert isinstance(found, Deidentified)
    named = {
        "private attributes",
        "RequestAttributesSequence",
        "ReferencedImageSequence",
        "DataSetTrailingPadding",
    }
    own = {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"}
    gone = {keyword for keyword in PERSONAL if keyword != "StudyTime"}
    assert found.taken == tuple(sorted(named | own | gone | {"DerivationDescription"}))


def test_what_was_looked_at_before_is_named_too() -> None:
    found = deidentify(written(image(NumberOfFrames=1)), GRAND, KEY, alone=False)
    assert isinstance(found, Deidentified)
    assert "NumberOfFrames" in found.taken


def test_kept_values_are_not_named_however_they_are_padded() -> None:
    options = ANNEX_E_OPTIONS
    made = image(PatientSex="F", PatientAge="073Y", WindowCenter=["40", "-600"])
    found = deidentify(written(made), Procedure("dicom-standard", options=options), KEY, alone=False)
    assert isinstance(found, Deidentified)
    assert not {"PatientSex", "PatientAge", "StudyInstanceUID", "WindowCenter", "StudyDate"} & set(
        found.taken
    )


def test_the_shape_is_that_of_what_is_sent() -> None:
    made = image()
    made.NominalScannedPixelSpacing = [0.7, 0.8]
    found = deidentify(written(made), Procedure(allow=("changed-size",)), KEY, alone=False)
    assert isinstance(found, Deidentified)
    assert found.shape == as_slice(essence(read(found.data)))
    slide = image(1, WHOLE_SLIDE, Modality="SM")
    del slide.RescaleSlope, slide.RescaleIntercept
    lost = deidentify(written(slide), Procedure(allow=("changed-size",)), KEY, alone=False)
    assert isinstance(lost, Deidentified)
    assert "ImagePositionPatient" not in read(lost.data)
    assert lost.shape.position is None


def test_nothing_allowed_lets_a_name_through() -> None:
    for name, options in product(("grand-challenge", "dicom-standard"), ((), ANNEX_E_OPTIONS[3:4])):
        procedure = Procedure(name, allow=ALLOW, options=options)
        out = sent(written(image()), procedure)
        assert not [text for text in texts() if text in out]


def test_problems_quote_nothing() -> None:
    broken: list[Any] = [written(image())[:300], written(image(BurnedInAnnotation="YES")), written(report())]
    for data in broken:
        refused(data, GRAND)


HIDDEN = b"Zwaardvis^Hendrika"


@pytest.mark.parametrize("procedure", [GRAND, STANDARD])
def test_a_text_behind_the_pixels_is_not_sent(procedure: Procedure) -> None:
    made = image()
    made.PixelData += HIDDEN
    assert refused(written(made), procedure).word == "not-deidentified"


def test_a_compression_that_nobody_looks_into_is_refused() -> None:
    made = image()
    made.PixelData = encapsulate([HIDDEN])
    assert refused(written(made, MPEG4HP41), STANDARD).word == "names-in-text"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientBirthDateInAlternativeCalendar", "S28"),
        ("FileAccessURI", "https://example.org/Zwaardvis"),
        ("RetrieveURL", "https://example.org/Zwaardvis"),
        ("SecondaryReviewDate", "20260913"),
        ("EncryptedContent", HIDDEN),
    ],
)
def test_what_the_table_of_the_standard_does_not_list_goes_where_it_can_hold_anything(
    keyword: str, value: Any
) -> None:
    assert keyword not in dcmread(io.BytesIO(sent(written(image(1, **{keyword: value})), STANDARD)))


@pytest.mark.parametrize(
    "made",
    [
        image(1, "1.2.840.10008.5.1.4.1.1.6"),
        image(1, "1.2.840.10008.5.1.4.1.1.3"),
        image(1, ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"]),
    ],
)
def test_retired_ultrasound_and_pictures_of_a_screen_may_show_names(made: Dataset) -> None:
    assert refused(written(made), STANDARD).word == "burned-in"


def test_private_bytes_are_not_already_done() -> None:
    made = image(PatientIdentityRemoved="YES")
    for keyword in PERSONAL:
        delattr(made, keyword)
    made.RequestAttributesSequence = []
    made.private_block(0x0029, "VENDOR", create=True).add_new(0x10, "OB", b"\0\1" + HIDDEN)
    assert refused(written(made), Procedure("already-done")).word == "not-deidentified-yet"


@pytest.mark.parametrize("procedure", [GRAND, STANDARD], ids=lambda one: one.name)
def test_tables_and_headers_before_compressed_pixels_hold_no_names(procedure: Procedure) -> None:
    good = written(image(), RLELossless)
    sent(good, procedure)
    table = ITEM[0] + b"\4\0\0\0\0\0\0\0"
    assert good.count(table) == 1
    named = ITEM[0] + b"\x08\0\0\0\0\0\0\0Zwaa"
    assert "places in its compressed pixels" in refused(good.replace(table, named), procedure).text
    header = good.index(table) + len(table) + 8
    hidden = good[: header + 40] + b"Zwaardvis^Hendrika  " + good[header + 60 :]
    assert "beside the pixels of a frame" in refused(hidden, procedure).text
    made = image(FloatPixelData=b"Zwaardvis   ")
    assert "pixels twice" in refused(written(made), procedure).text


def test_texts_of_orders_and_worklists_do_not_go_along_by_the_standard() -> None:
    made = image(
        PlacerOrderNumberProcedure="ORDER77",
        OwnerID="OWNER77",
        WorklistLabel="LIST77",
        ConvolutionKernel="B30f",
    )
    out = sent(written(made), STANDARD)
    assert not [word for word in (b"ORDER77", b"OWNER77", b"LIST77") if word in out]
    assert read(out).ConvolutionKernel == "B30f"


def real(name: str, **changes: Any) -> bytes:
    """As scanners write it, without the patient in any description."""
    made = image(
        PatientName=name,
        StudyDescription="Routine",
        SeriesDescription="Axial 5 mm",
        Manufacturer="SIEMENS",
        BodyPartExamined="HEAD",
        ConvolutionKernel="STANDARD",
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
    )
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    return written(made)


@pytest.mark.parametrize(
    "name", ["Head^Hendrika", "Siemens^Werner", "Standard^Jo", "Axial^Jo", "Jo^Original"]
)
@pytest.mark.parametrize("procedure", [GRAND, STANDARD], ids=lambda one: one.name)
def test_a_patient_may_be_called_like_a_body_part_or_a_maker(name: str, procedure: Procedure) -> None:
    sent(real(name), procedure)


@pytest.mark.parametrize("procedure", [GRAND, STANDARD], ids=lambda one: one.name)
def test_a_usual_word_in_another_text_is_still_a_name(procedure: Procedure) -> None:
    for said in ("Mrs Head", "Head 1953"):
        assert refused(real("Head^Hendrika", Manufacturer=said), procedure).word == "names-in-text"


@pytest.mark.parametrize(
    "hidden", ["HZwaardvis", "PatZwaardvis2", "xPAT83461907x", "Zwaardvis".encode("utf-16-le")]
)
def test_a_name_is_found_within_a_word_and_in_wide_characters(hidden: str | bytes) -> None:
    value = hidden if isinstance(hidden, bytes) else hidden.encode()
    data = spliced(written(image()), 0x00080070, "UN", value + b" " * (len(value) % 2))
    for procedure in (GRAND, STANDARD):
        assert refused(data, procedure).word == "names-in-text"


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00291099, "DS", b"Zwaardvis "),
        (0x00291099, "IS", b"Zwaardvis "),
        (0x00291099, "UN", b"SV10\4\3\2\1Zwaardvis "),
        (0x00089999, "LO", b"Zwaardvis "),
        (0x00189999, "UN", b"Zwaardvis "),
        (0x00100012, "LO", b"Zwaardvis "),
        (0x60004000, "LT", b"Zwaardvis "),
        (0x60000022, "LO", b"Zwaardvis "),
        (0x00401102, "ST", b"Zeegrasweg "),
        (0x00401103, "LO", b"0612399417"),
        (0x00402017, "LO", b"ORDER 77"),
        (0x00102160, "SH", b""),
    ],
)
def test_already_done_files_hold_nothing_that_may_be_a_text_of_somebody(
    tag: int, vr: str, value: bytes
) -> None:
    data = spliced(done(), tag, vr, value)
    if value:
        assert refused(data, DONE).word == "not-deidentified-yet"
    else:
        sent(data, DONE)


def test_lengths_of_groups_within_sequences_are_no_change() -> None:
    made = read(done())
    made.SourceImageSequence = [Dataset()]
    made.SourceImageSequence[0].ReferencedSOPInstanceUID = f"{ROOT}.9"
    item = made.SourceImageSequence[0]
    item.add_new(0x00080000, "UL", 26)
    assert "SourceImageSequence" in read(sent(clean(written(made)), DONE))


def test_a_word_that_stands_somewhere_for_everybody_is_still_found_elsewhere() -> None:
    for name, kept in (("Sharp^Hendrika", "SHARP"), ("Head^Hendrika", "HEAD")):
        made = image(PatientName=name, StudyDescription="", SeriesDescription="", ConvolutionKernel=kept)
        sent(written(made), STANDARD)
        made.ICCProfile = f"profile of {kept.title()} Ltd".encode()
        assert refused(written(made), STANDARD).word == "names-in-text"
