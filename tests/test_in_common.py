"""What is kept in mind from slice to slice changes nothing: the same bytes, the same words, the same refusals."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from casedrop.deidentify import deidentify
from casedrop.dicom_file import head, joined, of_the_file, read, written
from casedrop.in_common import LONGEST, MOST_SERIES, InCommon
from casedrop.model import Problem, Procedure
from casedrop.new_uids import IMPLEMENTATION_NAME, IMPLEMENTATION_UID
from casedrop.slices import Deidentified
from identifying import CT, MR, image, items, nested, reference, spliced
from identifying import written as as_file

KEY = bytes(range(32))
SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
]
PROCEDURES = [
    Procedure("grand-challenge"),
    Procedure("grand-challenge", allow=("names-in-text", "changed-values", "changed-size")),
    Procedure("dicom-standard"),
    Procedure("dicom-standard", options=("retain-full-dates", "retain-uids")),
    Procedure("already-done"),
]

pytestmark = pytest.mark.filterwarnings("ignore")


def undefined_length(made: Dataset) -> None:
    made["RequestAttributesSequence"].is_undefined_length = True


CHANGES: dict[str, Callable[[Dataset], Any]] = {
    "another patient": lambda made: setattr(made, "PatientName", "Thorax^Siemens"),
    "no patient": lambda made: setattr(made, "PatientName", None),
    "a name in a text that is kept": lambda made: setattr(made, "ConvolutionKernel", "Zwaardvis"),
    "another patient's name in a text that is kept": lambda made: setattr(
        made, "ConvolutionKernel", "SIEMENS B"
    ),
    "a name only in a sequence": lambda made: setattr(
        made, "OtherPatientIDsSequence", [nested() for _ in range(made.InstanceNumber % 2 + 1)]
    ),
    "another character set": lambda made: setattr(made, "SpecificCharacterSet", "ISO_IR 100"),
    "no character set": lambda made: made.pop("SpecificCharacterSet", None),
    "another sign of numbers": lambda made: setattr(made, "PixelRepresentation", 1),
    "numbers of either kind": lambda made: made.add_new("SmallestImagePixelValue", "US", 40000),
    "a lookup table": lambda made: made.add_new("RedPaletteColorLookupTableDescriptor", "US", [8, 0, 16]),
    "another class": lambda made: setattr(made, "SOPClassUID", MR if made.SOPClassUID == CT else CT),
    "a class that is not known": lambda made: setattr(made, "SOPClassUID", "1.2.3.4"),
    "writing in the picture": lambda made: setattr(made, "BurnedInAnnotation", "YES"),
    "a picture of a screen": lambda made: setattr(made, "ImageType", ["DERIVED", "SCREEN SAVE"]),
    "another size": lambda made: setattr(made, "Rows", 4),
    "cut off": lambda made: setattr(made, "PixelData", made.PixelData[:40]),
    "something behind the pixels": lambda made: setattr(made, "PixelData", made.PixelData + b"MEERVAL"),
    "no place": lambda made: made.pop("ImagePositionPatient", None),
    "another spacing": lambda made: setattr(made, "PixelSpacing", [0.5, 0.5]),
    "values on another scale": lambda made: setattr(made, "RescaleSlope", 2),
    "other references": lambda made: setattr(made, "ReferencedImageSequence", [reference(77), reference(78)]),
    "a sequence without a length": undefined_length,
    "said to be de-identified": lambda made: setattr(made, "DeidentificationMethod", "by hand"),
    "said to be de-identified twice": lambda made: setattr(
        made, "DeidentificationMethod", ["by hand", "again"]
    ),
    "nobody to be removed": lambda made: setattr(made, "PatientIdentityRemoved", "NO"),
    "private of another kind": lambda made: made.add_new(0x00091003, "OB", b"\0\1" * 5),
    "a long value": lambda made: made.add_new("ICCProfile", "OB", b"\1\2" * LONGEST),
    "tables of offsets": lambda made: made.add_new("ExtendedOffsetTable", "OV", bytes(8)),
}
"""What a slice may have that those before it had not."""

SLICES = st.tuples(
    st.integers(1, 4), st.lists(st.sampled_from(sorted(CHANGES)), max_size=3), st.booleans(), st.booleans()
)


def a_slice(number: int, changes: list[str], syntax: UID, *, twisted: bool) -> bytes:
    made = image(number)
    for change in changes:
        CHANGES[change](made)
    data = as_file(made, syntax)
    if twisted and syntax == ExplicitVRLittleEndian:  # a sequence that is said to be bytes, as UN
        return spliced(data, 0x00400260, "UN", items([nested()]))
    return data


def answers(files: list[tuple[bytes, Procedure]], in_common: InCommon | None) -> list[Deidentified | Problem]:
    return [deidentify(data, procedure, KEY, alone=False, in_common=in_common) for data, procedure in files]


@settings(max_examples=40)
@given(
    st.lists(SLICES, min_size=2, max_size=7),
    st.sampled_from(SYNTAXES),
    st.sampled_from(PROCEDURES),
    st.data(),
)
def test_a_slice_is_sent_as_if_none_had_been_before_it(
    slices: list[tuple[int, list[str], bool, bool]], syntax: UID, procedure: Procedure, data: st.DataObject
) -> None:
    files = []
    for number, changes, twisted, elsewhere in slices:
        other = data.draw(st.sampled_from(SYNTAXES)) if elsewhere else syntax
        by = data.draw(st.sampled_from(PROCEDURES)) if elsewhere else procedure
        files.append((a_slice(number, changes, other, twisted=twisted), by))
    assert answers(files, InCommon()) == answers(files, None)


def test_a_name_is_found_in_what_stood_harmlessly_in_the_slice_before() -> None:
    """Only the third slice says whose name the kernel is, in a sequence that the others have not."""
    made = [image(number, ConvolutionKernel="MEERVALKERN") for number in (1, 2, 3)]
    made[2].OtherPatientIDsSequence = [Dataset()]
    made[2].OtherPatientIDsSequence[0].PatientName = "Meervalkern^Olga"
    first, second, third = answers([(as_file(one), PROCEDURES[2]) for one in made], InCommon())
    assert isinstance(first, Deidentified)
    assert isinstance(second, Deidentified)
    assert isinstance(third, Problem)
    assert third.word == "names-in-text"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("sequence", [0x00091002, 0x00087001, 0x50002600])
def test_a_name_is_looked_for_that_stands_only_in_a_sequence_without_a_keyword(
    syntax: UID, sequence: int
) -> None:
    """Private, unknown, and one of a group that repeats; and again where the slice before had it too."""
    named, unnamed = (image(number, ConvolutionKernel="KWALLENBEET") for number in (1, 2))
    named.add_new(sequence, "SQ", [Dataset()])
    named[sequence].value[0].PatientName = "Kwallenbeet^Bo"
    harmless = image(3)
    harmless.add_new(sequence, "SQ", [Dataset()])
    harmless[sequence].value[0].PatientName = "Kwallenbeet^Bo"
    in_common = InCommon()
    found = answers([(as_file(one, syntax), PROCEDURES[2]) for one in (unnamed, harmless, named)], in_common)
    assert [isinstance(one, Deidentified) for one in found] == [True, True, False]
    assert isinstance(found[2], Problem)
    assert found[2].word == "names-in-text"


def test_a_character_set_is_not_the_same_as_one_whose_name_looks_like_several() -> None:
    name, text = b"\x1b$B;3ED\x1b(B^Bo", b"\x1b$B;3ED0!\x1b(B"
    files = []
    for character_set in (b"['ISO 2022 IR 6', 'ISO 2022 IR 87'] ", b"ISO 2022 IR 6\\ISO 2022 IR 87"):
        made = image()
        del made.SpecificCharacterSet, made.PatientName
        data = spliced(as_file(made), 0x00080005, "CS", character_set)
        data = spliced(spliced(data, 0x00100010, "PN", name), 0x00181210, "SH", text)
        files.append((data, PROCEDURES[2]))
    found = answers(files, InCommon())
    assert found == answers(files, None)
    assert [isinstance(one, Deidentified) for one in found] == [True, False]


def test_what_is_empty_and_of_another_kind_than_it_should_be_is_sent_as_what_it_should_be() -> None:
    made = image()
    del made.SeriesInstanceUID
    data = spliced(as_file(made), 0x0020000E, "OB", b"")
    (sent,) = answers([(data, PROCEDURES[2])], InCommon())
    assert isinstance(sent, Deidentified)
    assert b"\x20\0\x0e\0UI" in sent.data


def test_a_number_of_no_certain_kind_is_not_the_same_beside_pixels() -> None:
    """Nobody can tell its kind where there are pixels that do not say whether they have a sign."""
    without, beside = image(1, SmallestImagePixelValue=40000), image(2, SmallestImagePixelValue=40000)
    for made in (without, beside):
        del made.Rows, made.PixelRepresentation
    del without.PixelData
    files = [(as_file(made, ImplicitVRLittleEndian), PROCEDURES[2]) for made in (without, beside)]
    found = answers(files, InCommon())
    assert found == answers(files, None)
    assert [isinstance(one, Deidentified) for one in found] == [True, False]


def test_pixels_without_a_size_that_are_said_to_be_unknown_are_read_by_the_bits_of_each_file() -> None:
    files = []
    for number in (1, 2):
        made = image(number)
        pixels = made.PixelData
        del made.Rows, made.PixelData
        files.append((spliced(as_file(made), 0x7FE00010, "UN", pixels), PROCEDURES[2]))
    found = answers(files, InCommon())
    assert found == answers(files, None)
    assert all(isinstance(one, Deidentified) for one in found)


def test_what_is_private_is_read_by_the_creator_that_its_own_file_names() -> None:
    """That of the second is of no kind that there is, so nobody can tell what its sequence holds."""
    made = image()
    made.private_block(0x0009, "MEERVAL", create=True).add_new(1, "SQ", [nested()])
    whole = as_file(made)
    files = [(data, PROCEDURES[2]) for data in (whole, whole.replace(b"\x09\0\x10\0LO", b"\x09\0\x10\0JO"))]
    found = answers(files, InCommon())
    assert found == answers(files, None)
    assert [isinstance(one, Deidentified) for one in found] == [True, False]


def test_series_that_come_in_turns_do_not_disturb_each_other() -> None:
    in_common = InCommon()
    files = [
        as_file(image(number, SeriesInstanceUID=f"1.2.3.{series}", PatientName=f"Zeester{series}^Ab"))
        for number in (1, 2)
        for series in range(MOST_SERIES + 2)
    ]
    by = [(data, PROCEDURES[2]) for data in files]
    assert answers(by, in_common) == answers(by, None)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_file_is_written_as_pydicom_writes_it(syntax: UID) -> None:
    ours, theirs = (dcmread(io.BytesIO(as_file(image(), syntax))) for _ in range(2))
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = of_the_file(syntax)
    meta.ImplementationClassUID, meta.ImplementationVersionName = UID(IMPLEMENTATION_UID), IMPLEMENTATION_NAME
    theirs.file_meta, theirs.preamble = meta, None
    out = io.BytesIO()
    dcmwrite(out, theirs, enforce_file_format=True)
    assert joined(head(ours, syntax), written(ours, syntax)) == out.getvalue()


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID"])
@pytest.mark.parametrize("empty", [False, True])
def test_what_does_not_say_what_it_is_has_no_head(keyword: str, *, empty: bool) -> None:
    made = image()
    setattr(made, keyword, "")
    if not empty:
        delattr(made, keyword)
    with pytest.raises(AttributeError):
        head(made, ExplicitVRLittleEndian)


@pytest.mark.parametrize("tag", [0x00000002, 0x00020010])
def test_what_stands_in_no_data_set_is_not_written(tag: int) -> None:
    made = image()
    made.add_new(tag, "UI", "1.2.3")
    with pytest.raises(ValueError, match="no data set"):
        written(made, ExplicitVRLittleEndian)


@pytest.mark.parametrize("said", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_file_that_lies_of_its_transfer_syntax_is_read_as_pydicom_reads_it(said: UID) -> None:
    syntaxes = {ExplicitVRLittleEndian, ImplicitVRLittleEndian}
    files = [as_file(image(), said), *(as_file(image(), other) for other in syntaxes - {said})]
    starts = [data.index(b"\x08\0\x05\0") for data in files]
    lie = files[0][: starts[0]] + files[1][starts[1] :]
    found, expected = read(io.BytesIO(lie)), dcmread(io.BytesIO(lie))
    assert found.original_encoding == expected.original_encoding
    assert list(found.items()) == list(expected.items())


def test_a_file_without_a_data_set_is_read_as_pydicom_reads_it() -> None:
    data = as_file(image())
    alone = data[: data.index(b"\x08\0\x05\0CS")]
    assert read(io.BytesIO(alone)).original_encoding == dcmread(io.BytesIO(alone)).original_encoding


FILES = sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*.dcm"))


@settings(max_examples=80)
@given(st.sampled_from(FILES), st.booleans(), st.integers(128, 400), st.integers(-1, 255))
def test_a_file_is_read_as_pydicom_reads_it(path: Path, pixels: bool, at: int, damage: int) -> None:
    data = bytearray(path.read_bytes())
    if damage >= 0 and at < len(data):
        data[at] = damage
    ours, theirs = io.BytesIO(data), io.BytesIO(data)
    try:
        expected = dcmread(theirs, stop_before_pixels=not pixels, force=True)
    except Exception:  # noqa: BLE001
        with pytest.raises(Exception):  # noqa: B017, PT011
            read(ours, pixels=pixels)
        return
    found = read(ours, pixels=pixels)
    assert ours.tell() == theirs.tell()
    assert found.original_encoding == expected.original_encoding
    assert found.original_character_set == expected.original_character_set
    assert list(found.items()) == list(expected.items())
    said = [dict(one.items()) for one in (found.file_meta, expected.file_meta)]
    assert said[0].keys() == said[1].keys()
    assert found.file_meta.get("TransferSyntaxUID") == expected.file_meta.get("TransferSyntaxUID")
