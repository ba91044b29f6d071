"""DICOM files full of what identifies a patient, to search for in what is sent."""

import io
import struct
from pathlib import Path
from typing import Any

from pydicom import DataElement, Dataset, dcmread, dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from casedrop.essence import ITEM

ROOT = "1.3.6.1.4.1.5962.99"
STUDY, SERIES, FRAME = f"{ROOT}.11", f"{ROOT}.12", f"{ROOT}.13"
CT, MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
US, SR = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.88.11"

PERSONAL: dict[str, Any] = {
    "PatientName": "Zwaardvis^Hendrika",
    "PatientID": "PAT83461907",
    "PatientBirthDate": "19530417",
    "OtherPatientIDs": ["BSN117733", "MRN00415"],
    "PatientAddress": "Zeegrasweg 81",
    "PatientTelephoneNumbers": "0612399417",
    "AccessionNumber": "ACC7719042",
    "ReferringPhysicianName": "Kwalstein^Bartholomeus",
    "OperatorsName": "Murene^Olga",
    "InstitutionName": "Sint Zeepaard Ziekenhuis",
    "InstitutionAddress": "Koraalplein 5",
    "InstitutionalDepartmentName": "Radiologie Noordvleugel",
    "StationName": "ZZSCAN07",
    "DeviceSerialNumber": "SN5561203",
    "StudyDate": "20260913",
    "SeriesDate": "20260914",
    "AcquisitionDate": "20260915",
    "ContentDate": "20260916",
    "StudyTime": "091733.417",
    "StudyID": "STU40718",
    "StudyDescription": "Controle mevrouw Zwaardvis",
    "SeriesDescription": "Thorax Zwaardvis",
    "PatientComments": "belt elke dinsdag",
    "ImageComments": "doorgestuurd door huisarts",
    "RequestedProcedureID": "RP991244",
}


def texts() -> list[bytes]:
    """What may be found nowhere."""
    words = []
    for value in PERSONAL.values():
        for text in value if isinstance(value, list) else [value]:
            words += [text, *text.split("^")] if "^" in text else [text]
    return [
        word.encode() for word in (*words, "Zwaardvis", "Meerval", "MEERVAL-PRIVATE", "PADDINGNAME", ROOT)
    ]


def image(number: int = 1, sop_class: str = CT, **changes: Any) -> Dataset:
    """One slice of eight by eight, at `number` times 2.5 mm, with names wherever they may stand."""
    made = Dataset()
    for keyword, value in PERSONAL.items():
        setattr(made, keyword, value)
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = sop_class, f"{ROOT}.1.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = STUDY, SERIES, FRAME
    made.Modality, made.InstanceNumber, made.SeriesNumber = "CT", number, 3
    made.Rows = made.Columns = 8
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 0
    made.PixelSpacing, made.SliceThickness = [0.7, 0.8], 2.5
    made.ImagePositionPatient = [-10.0, 20.0, 2.5 * number]
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.RescaleSlope, made.RescaleIntercept = 1, 0 if sop_class == MR else -1024
    made.PixelData = bytes((number + at) % 256 for at in range(128))
    made.ReferencedImageSequence = [reference(number + 1)]
    made.RequestAttributesSequence = [nested()]
    private = made.private_block(0x0009, "MEERVAL-PRIVATE", create=True)
    private.add_new(1, "LO", "Meerval^Private")
    private.add_new(2, "SQ", [nested()])
    made.add_new(0xFFFCFFFC, "OB", b"PADDINGNAME" * 2)
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    return made


def reference(number: int) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = CT, f"{ROOT}.1.{number}"
    return made


def nested() -> Dataset:
    """Names two sequences deep."""
    code, made = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "T-1", "99ZZ", "Meerval"
    code.PersonName = "Meerval^Nested"
    made.PersonIdentificationCodeSequence = [code]
    made.InstitutionName = PERSONAL["InstitutionName"]
    made.PatientName = PERSONAL["PatientName"]
    made.StudyInstanceUID = STUDY
    return made


def enhanced(frames: int = 4) -> Dataset:
    made = image(1, ENHANCED_MR, Modality="MR", NumberOfFrames=frames, PixelData=bytes(128) * frames)
    for keyword in ("PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient"):
        delattr(made, keyword)
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness, measures.SpacingBetweenSlices = [0.7, 0.8], 2.5, 3.0
    shared.PixelMeasuresSequence = [measures]
    made.SharedFunctionalGroupsSequence = [shared]
    made.PerFrameFunctionalGroupsSequence = [_frame(number) for number in range(frames)]
    return made


def _frame(number: int) -> Dataset:
    place, made = Dataset(), Dataset()
    place.ImagePositionPatient = [0.0, 0.0, 3.0 * number]
    made.PlanePositionSequence = [place]
    made.ReferencedImageSequence = [reference(number)]
    made.FrameContentSequence = [Dataset()]
    made.FrameContentSequence[0].FrameComments = "Zwaardvis"
    made.FrameContentSequence[0].FrameAcquisitionDateTime = "20260915091733"
    return made


def report() -> Dataset:
    made = image(1, SR, Modality="SR")
    del made.PixelData, made.Rows, made.Columns
    made.SeriesInstanceUID = f"{ROOT}.14"
    said = Dataset()
    said.ValueType, said.TextValue = "TEXT", "Mevrouw Zwaardvis"
    made.ContentSequence = [said]
    made.VerifyingObserverSequence = [Dataset()]
    made.VerifyingObserverSequence[0].VerifyingObserverName = "Murene^Olga"
    return made


def written(dataset: Dataset, syntax: str = ExplicitVRLittleEndian, *, bare: bool = False) -> bytes:
    """The file's bytes; `bare` without preamble and file meta information."""
    out = io.BytesIO()
    if bare:
        dcmwrite(out, dataset, implicit_vr=False, little_endian=True)
        return out.getvalue()
    if syntax == RLELossless and not dataset.PixelData.startswith(ITEM[0]):
        dataset.PixelData = encapsulate([rle(bytes(range(64)), bytes(64))])
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.SourceApplicationEntityTitle = "ZZSCAN07"
    meta.PrivateInformationCreatorUID, meta.PrivateInformation = UID(f"{ROOT}.77"), b"Zwaardvis "
    dataset.file_meta, dataset.preamble = meta, b"PADDINGNAME".ljust(128, b" ")
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def rle(*planes: bytes, gap: bytes = b"") -> bytes:
    """A frame whose bytes, 64 of each plane, stand as they are (PS3.5, G.3 to G.5)."""
    segments = [bytes([63]) + plane + b"\x80" for plane in planes]
    places = [64 + len(gap) + 66 * number for number in range(len(planes))]
    head = struct.pack("<16L", len(planes), *places, *[0] * (15 - len(planes)))
    return head + gap + b"".join(segments)


def jpeg(*segments: bytes) -> bytes:
    scan = b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(range(1, 200)) + b"\xff\0\x10"
    return b"\xff\xd8" + b"".join(segments) + scan + b"\xff\xd9"


def jpeg_ls(*segments: bytes) -> bytes:
    return jpeg(*segments).replace(b"\xff\0\x10", b"\xff\x7f\xff\x40")


def jpeg_2000(*segments: bytes) -> bytes:
    size = segment(0x51, b"\0\0" + 8 * b"\0\0\0\x08" + b"\0\1\x0f\1\1")
    part = b"\xff\x90\0\x0a\0\0\0\0\0\x14\0\1\xff\x93zzzzzz"
    return b"\xff\x4f" + size + b"".join(segments) + part + b"\xff\xd9"


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2) + content


def compressed(syntax: str, *frames: bytes) -> bytes:
    made = image(NumberOfFrames=len(frames)) if len(frames) > 1 else image()
    made.PixelData = encapsulate(list(frames))
    return written(made, syntax)


def items(found: list[Dataset], *, implicit: bool = True, little: bool = True) -> bytes:
    """The value of a sequence, as UN has it unless told otherwise."""
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = little, implicit
    write_data_element(out, DataElement(0x00082112, "SQ", Sequence(found)), ["utf-8"])
    return out.getvalue()[8 if implicit else 12 :]


LONG = frozenset("OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Value representations with four bytes of length (PS3.5, 7.1.2)."""


def spliced(data: bytes, tag: int, vr: str, value: bytes) -> bytes:
    """An explicit little endian file with one more element, which is written as said and not as known."""
    before = dcmread(io.BytesIO(data))
    after = before.get_item(min(one for one in before.keys() if one > tag))  # noqa: SIM118
    long = after.VR in LONG
    start = after.value_tell if isinstance(after, RawDataElement) else after.file_tell
    assert start
    at = start - (12 if long else 8)
    form, rest = ("<HH2sHI", (0, len(value))) if vr in LONG else ("<HH2sH", (len(value),))
    head = struct.pack(form, tag >> 16, tag & 0xFFFF, vr.encode(), *rest)
    return data[:at] + head + value + data[at:]


def series(folder: Path, count: int, sop_class: str = CT, **changes: Any) -> list[bytes]:
    """Write a series under names that say nothing of its order; its files' bytes in the order of slices."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [written(image(number, sop_class, **changes)) for number in range(1, count + 1)]
    for number, data in enumerate(files, 1):
        (folder / f"Zwaardvis_{(number * 7919) % 10007:05}").write_bytes(data)
    return files
