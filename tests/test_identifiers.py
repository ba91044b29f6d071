"""What names a patient of the DICOM headers is found in titles and values, however it is spelt."""

import importlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from casedrop import dicom_headers, identifiers
from casedrop.contents import group_folder
from casedrop.dicom_model import Needle
from casedrop.header_texts import is_keyword
from casedrop.identifiers import HeaderText, keywords_in, needles
from casedrop.model import IDENTIFYING, Drop, FolderValue, Grouping, JsonValue, SocketKind, SocketRule
from casedrop.watch import list_folder
from lab import mha

KINDS = {
    "ct-image": SocketKind("ct-image", "Image", "Image"),
    "report": SocketKind("report", "Anything", "Value"),
    "remark": SocketKind("remark", "String", "Value"),
}
RULES = (
    SocketRule("ct-image", ("*.mha",)),
    SocketRule("report", value_from=JsonValue("report.json"), required=False),
)
LAB = Drop("lung", "/lab", "lung-2026", RULES, unmatched="ignore")
JANE = {
    "PatientName": "Müller-Schmidt^Jane Ann^^Prof.",
    "PatientBirthDate": "19700131",
    "PatientID": "PAT-00417",
    "AccessionNumber": "ACC778899",
}


def name(text: str, vr: str = "PN", keyword: str = "PatientName") -> frozenset[Needle]:
    return needles([HeaderText(keyword, vr, text)], [keyword], removed=False)


@pytest.mark.parametrize(
    ("header", "title"),
    [
        ("Miller^Jane", "jane"),
        ("Miller^Jane", "CT of MILLER, 2"),
        ("MILLER^JANE", "JaneMiller"),
        ("Miller^Jane", "miller_jane_01"),
        ("Miller^Jane", "miller2"),
        ("Müller^Hans", "Muller"),
        ("Müller^Hans", "Mueller"),
        ("MUELLER^HANS", "Müller"),
        ("Müller^Hans", "Mu\u0308ller"),
        ("Straße^Karl", "STRASSE"),
        ("Søren^Ib", "Soeren"),
        ("Łukasz^Jan", "lukasz"),
        ("Müller-Schmidt^Jo", "schmidt"),
        ("Li^Na", "Li Na"),
        ("Li^Na", "na-li"),
        ("MCDONALD^J", "McDonald"),
        ("Yamada^Tarou=山田^太郎", "山田太郎の肺"),
        ("Миллер^Анна", "АННА"),  # noqa: RUF001
        ("Doe, Jane", "jane"),
    ],
)
def test_a_part_of_the_name_is_found(header: str, title: str) -> None:
    assert keywords_in(title, name(header)) == ("PatientName",)


@pytest.mark.parametrize(
    ("header", "title"),
    [
        ("Miller^Jane", "Millerton Janet"),
        ("Li^Na", "Li 1"),
        ("Doe^Jo", "doe 1"),
        ("Miller^Jane^^Prof.^PhD Med", "prof med phd"),
        ("Anonymous^Patient", "anonymous patient 1"),
        ("", "anything"),
        ("^^", "anything"),
        ("Winter^Jo", "Wintermute"),
    ],
)
def test_what_only_looks_like_it_is_not(header: str, title: str) -> None:
    assert keywords_in(title, name(header)) == ()


@pytest.mark.parametrize(
    "title",
    [
        "born 1970-01-31",
        "31.01.1970",
        "P1_19700131",
        "31/01/1970",
        "01/31/1970",
        "31.1.1970",
        "1970 1 31",
        "31011970",
        "P19700131",
    ],
)
def test_a_birth_date_is_found_in_its_usual_spellings(title: str) -> None:
    for said in ("19700131", "1970.01.31"):
        assert keywords_in(title, name(said, "DA", "PatientBirthDate")) == ("PatientBirthDate",)


@pytest.mark.parametrize("title", ["1970-01-30", "1970", "119700131", "31.01", "v1.31.1970.2x"])
def test_another_date_is_not(title: str) -> None:
    wanted = name("19700131", "DA", "PatientBirthDate")
    assert keywords_in(title, wanted) == (("PatientBirthDate",) if "1.31.1970" in title else ())


def test_numbers_of_the_hospital_are_found_whole() -> None:
    wanted = name("ACC-778899", "SH", "AccessionNumber")
    assert keywords_in("scan acc 778899", wanted) == ("AccessionNumber",)
    assert keywords_in("ACC778899", wanted) == ("AccessionNumber",)
    assert not keywords_in("ACC-7788990", wanted)
    assert not keywords_in("one 12", name("12", "SH", "AccessionNumber"))


def test_where_the_identity_was_removed_the_patient_id_is_a_pseudonym_and_so_is_its_like() -> None:
    texts = [HeaderText("PatientID", "LO", "SUB-0001"), HeaderText("PatientName", "PN", "SUB-0001")]
    assert keywords_in("SUB-0001", needles(texts, IDENTIFYING, removed=False)) == ("PatientID", "PatientName")
    assert not needles(texts, IDENTIFYING, removed=True)
    kept = [texts[0], HeaderText("PatientName", "PN", "Miller^Jane")]
    assert keywords_in("SUB-0001 Miller", needles(kept, IDENTIFYING, removed=True)) == ("PatientName",)


WORDS = st.text(st.characters(categories=("Lu", "Ll", "Lo")), min_size=4, max_size=12)


@given(WORDS, st.sampled_from([" {} ", "CT {}", "{}_1", "({})", "x-{}.mha"]))
def test_whatever_the_name_it_is_found_as_a_word_in_any_case(family: str, around: str) -> None:
    wanted = name(f"{family}^Jo")
    if family.casefold() not in identifiers.NOBODY:
        assert keywords_in(around.format(family), wanted) == ("PatientName",)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_is_too_odd_and_none_is_ever_shown(header: str, title: str) -> None:
    for vr in ("PN", "DA", "LO"):
        wanted = name(header, vr)
        keywords_in(title, wanted)
        assert all(repr(one) == "Needle(keyword='PatientName')" for one in wanted)


def header(**values: Any) -> Dataset:
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 100"
    made.SOPClassUID = CTImageStorage
    made.SOPInstanceUID = "1.2.3"
    for keyword, value in values.items():
        setattr(made, keyword, value)
    made.Rows = made.Columns = 1
    made.PixelData = b"\0\0"
    return made


def write(path: Path, data: Dataset, syntax: UID = ExplicitVRLittleEndian, *, preamble: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data["PixelData"].VR = "OW"
    if preamble:
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(path, data, enforce_file_format=True)
    else:
        order = {
            "implicit_vr": syntax == ImplicitVRLittleEndian,
            "little_endian": syntax != ExplicitVRBigEndian,
        }
        pydicom.dcmwrite(path, data, **order)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "P1"
    path.mkdir()
    (path / "ct.mha").write_bytes(mha())
    return path


def grouped(folder: Path, drop: Drop = LAB) -> Grouping:
    return group_folder(str(folder), list_folder(str(folder)), drop, KINDS)


def said(folder: Path, drop: Drop = LAB) -> list[str]:
    return [one.text for one in grouped(folder, drop).problems if one.word == "identifier"]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("preamble", [True, False])
def test_headers_of_every_file_claimed_or_not_are_read_whatever_their_encoding(
    folder: Path, syntax: UID, preamble: bool
) -> None:
    write(folder / "series" / "IM0001", header(PatientName="Other^Body"))
    write(folder / "series" / "IM0002", header(**JANE), syntax, preamble=preamble)
    renamed = folder.rename(folder.parent / "mueller ct")
    (text,) = said(renamed)
    assert text.startswith("The title holds what the DICOM headers of the folder have as PatientName,")
    assert "Rename the folder" in text
    assert not grouped(renamed).plan
    assert "mueller" not in text.lower()


def test_values_are_looked_through_to_the_bottom_and_named_by_socket_and_attribute(folder: Path) -> None:
    write(folder / "a.dcm", header(**JANE))
    (folder / "report.json").write_text(
        '{"findings": [{"note": "seen by Jane Ann on 31.1.1970"}], "id": "x"}'
    )
    (text,) = said(folder)
    assert text.startswith('The value of the socket "report" holds what')
    assert "PatientBirthDate and PatientName" in text
    for key in ("PAT-00417", "pat 00417"):
        (folder / "report.json").write_text(f'{{"{key}": 1}}')
        assert "as PatientID," in said(folder)[0]
    (folder / "report.json").write_text('{"accession": 19700131}')
    assert "as PatientBirthDate," in said(folder)[0]
    (folder / "report.json").write_text('{"volume": 417, "note": "no finding"}')
    assert not said(folder)
    assert grouped(folder).plan


def test_a_value_out_of_the_folders_name_is_what_is_sent_of_it(folder: Path) -> None:
    write(folder / "a.dcm", header(**JANE))
    rules = (RULES[0], SocketRule("remark", value_from=FolderValue("_(?P<value>.+)$")))
    drop = replace(LAB, sockets=rules, folder="(?P<code>[^_]+)_.*", title="{code}")
    (text,) = said(folder.rename(folder.parent / "P1_jane"), drop)
    assert text.startswith('The value of the socket "remark"')


def test_an_order_that_is_the_patients_number_is_refused(folder: Path) -> None:
    write(folder / "a.dcm", header(**JANE | {"PatientID": "4711008"}))
    drop = replace(LAB, folder=r"(?P<code>\w+)_(?P<number>\d+)", title="{code}", order="{number}")
    renamed = folder.rename(folder.parent / "P1_4711008")
    (text,) = said(renamed, drop)
    assert text.startswith("The order holds what the DICOM headers of the folder have as PatientID,")
    assert not said(renamed.rename(folder.parent / "P1_17"), drop)


def test_which_attributes_count_is_the_drops_and_none_is_off(folder: Path) -> None:
    write(folder / "a.dcm", header(**JANE, InstitutionName="St. Mary"))
    renamed = folder.rename(folder.parent / "PAT-00417 St Mary")
    assert "as PatientID," in said(renamed)[0]
    assert "as InstitutionName," in said(renamed, replace(LAB, identifier_check=("InstitutionName",)))[0]
    assert not said(renamed, replace(LAB, identifier_check=("PatientName",)))
    assert not said(renamed, replace(LAB, identifier_check=()))


def test_a_removed_identity_lets_the_patient_id_be_the_title(folder: Path) -> None:
    removed = header(PatientID="SUB-0417", PatientName="SUB-0417", PatientIdentityRemoved="YES")
    write(folder / "a.dcm", removed)
    renamed = folder.rename(folder.parent / "SUB-0417")
    assert not said(renamed)
    write(renamed / "b.dcm", header(PatientID="SUB-0417"))
    assert said(renamed)


def test_it_is_said_beside_all_other_problems(folder: Path) -> None:
    write(folder / "a.dcm", header(**JANE))
    (folder / "ct.mha").unlink()
    words = {one.word for one in grouped(folder.rename(folder.parent / "jane")).problems}
    assert words == {"missing-file", "identifier"}


def test_text_in_utf8_that_does_not_say_so_is_found(folder: Path) -> None:
    made = header()
    made.SpecificCharacterSet = ""
    made.add_new("PatientName", "PN", "Grünewald^X".encode())
    write(folder / "a.dcm", made)
    assert said(folder.rename(folder.parent / "grunewald"))


@pytest.fixture
def heard() -> Iterator[list[str]]:
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    listener = Listener()
    logging.getLogger().addHandler(listener)
    yield lines
    logging.getLogger().removeHandler(listener)


@pytest.mark.filterwarnings("ignore:Unknown encoding")  # said by the writing of it
@pytest.mark.parametrize("cut", [0, 30, 140, 200, 300])
def test_damaged_headers_are_no_error_and_the_library_says_nothing_of_them(
    folder: Path, cut: int, heard: list[str]
) -> None:
    made = header(PatientBirthDate="19700131")
    made.SpecificCharacterSet = "ISO 2022 canary"
    made.add_new("PatientName", "PN", b"CANARY^\x1b$)C\xff\xfe")
    write(folder / "a.dcm", made)
    whole = (folder / "a.dcm").read_bytes()
    (folder / "a.dcm").write_bytes((whole[:-cut] if cut else whole).replace(b"19700131", b"canaryXX"))
    with warnings.catch_warnings(record=True) as warned:
        importlib.reload(dicom_headers)  # its filters, which pytest took away
        grouped(folder)
    assert not [one for one in (*heard, *(str(one.message) for one in warned)) if "canary" in one.lower()]


def test_keywords_are_those_of_dicom_that_hold_text() -> None:
    assert all(map(is_keyword, (*IDENTIFYING, "InstitutionName", "PatientAddress")))
    assert not any(map(is_keyword, ("PatientNme", "PixelData", "OtherPatientIDsSequence", "")))
