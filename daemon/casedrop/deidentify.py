"""The bytes of one DICOM file in, the bytes that may leave out, by the drop's procedure. Pure.

What comes back in words never holds what a header says: values may name a patient. Importing this takes a
moment and memory, so it is done in the worker processes only.
"""

import hashlib
import hmac
import io
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

from grand_challenge_dicom_de_identifier.deidentifier import VR_DUMMY_VALUES, DicomDeidentifier
from grand_challenge_dicom_de_identifier.exceptions import RejectedDICOMFileError
from pydicom import DataElement, Dataset, dcmread, dcmwrite
from pydicom.config import IGNORE
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import generate_fragments, parse_basic_offsets
from pydicom.multival import MultiValue
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from casedrop import annex_e, jpeg
from casedrop.dicom_model import Needle
from casedrop.errors import CaseProblem
from casedrop.essence import (
    ITEM,
    PIXELS,
    PRIVATE,
    Losses,
    Values,
    as_slice,
    changed,
    elements,
    essence,
    known_vr,
    losses,
    name_of,
    remove_private,
    straighten,
    tags,
    values,
)
from casedrop.identifiers import SHORTEST, SHORTEST_NUMBER, HeaderText, keywords_in, needles
from casedrop.model import Problem, Procedure
from casedrop.slices import Deidentified
from casedrop.spots import OddFormatError, is_technical, read_at

IMPLEMENTATION_UID = "2.25.325863921443217849124301468093417358214"
IMPLEMENTATION_NAME = "CASEDROP"

IDENTIFYING = tags(
    "PatientName PatientID PatientBirthDate OtherPatientIDs OtherPatientNames PatientBirthName "
    "PatientMotherBirthName PatientAddress PatientTelephoneNumbers MedicalRecordLocator MilitaryRank "
    "IssuerOfPatientID AccessionNumber AdmissionID ReferringPhysicianName ReferringPhysicianAddress "
    "ReferringPhysicianTelephoneNumbers PhysiciansOfRecord PerformingPhysicianName OperatorsName "
    "NameOfPhysiciansReadingStudy RequestingPhysician ResponsiblePerson ResponsibleOrganization InstitutionName "
    "InstitutionAddress InstitutionalDepartmentName "
    "PatientComments ImageComments StudyComments FrameComments AcquisitionComments AdditionalPatientHistory "
    "RequestedProcedureComments VisitComments ResultsComments TextComments IdentifyingComments InterpretationText "
    "ImagingServiceRequestComments CommentsOnThePerformedProcedureStep CommentsOnTheScheduledProcedureStep "
    "PatientState MedicalAlerts Allergies Occupation SpecialNeeds".split()
)
"""What "already-done" wants empty or as the configuration says, wherever it stands: who the patient, the
people around them and the place are, and comments. So it wants every other PN too."""

NAMES_AND_NUMBERS = tags(
    "PatientName OtherPatientNames PatientBirthName PatientMotherBirthName PatientID OtherPatientIDs "
    "AccessionNumber AdmissionID PatientBirthDate PatientTelephoneNumbers".split()
)
"""Whose words may stand in nothing that is kept."""

PIXEL_TAGS = tags(PIXELS)
NO_TEXT = frozenset({"CodingSchemeDesignator"})
TEXTS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT", "UR", "PN", "AE", "CS"})
NUMBERS = frozenset({"AS", "DA", "DS", "DT", "IS", "TM", "UI"})
"""Where a patient's number may be met by chance."""

PRIVATE_TEXTS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
READABLE = re.compile(rb"[ -~\x80-\xff]{4}")
LETTERS_OR_NUMBER = re.compile(r"[^\W\d_]{2}|\d{6}")

JPEG = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.(5\d|6\d|70)")
JPEG_LS = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.8[01]")
JPEG_2000 = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.(9[0-3]|20[1-3])")
STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
"""How a picture of these begins: JPEG and JPEG-LS, a JPEG 2000 codestream, a JP2."""
NO_COMMENT = (b"\xff\xe8\x00\x07mrfx", b"\xff\xe8\x00\x20SPIFF\0", b"\xff\xe8\x00\x08\x00\x00\x00\x01")
"""Segments APP8 of JPEG-LS that hold numbers alone: how colours were transformed, SPIFF's header and its end."""
CAP, COM, SOT, SOD, EOC = 0xFF50, 0xFF64, 0xFF90, 0xFF93, 0xFFD9
"""Markers of JPEG 2000 (ISO/IEC 15444-1, Annex A), the first and the last but one bound those of headers."""
ENCODER = re.compile(
    r"((creat(ed by|or)|compressed by|encoded by):? )?(gdcm/)?(openjpeg|jasper|kakadu|openjph|grok)[- ]?"
    r"(version )?v?[\d.]*|"
    r"kdu-layer-info: log_2\{delta-d\((squared-error|mse)\)/delta-l\(bytes\)\}, l\(bytes\)[\s\d.,e+-]*",
    re.IGNORECASE,
)

OFTEN_BURNED_IN = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(3\.1|6\.[12]|7(\.[1-4])?)")
"""Ultrasound and secondary capture: names stand in the picture unless BurnedInAnnotation says NO."""

NO_DICOM = Problem("not-dicom", "{file} is no DICOM image.")
CUT_OFF = Problem("cut-off", "{file} ends before its pixels do: it was not copied whole. Copy it again.")


def deidentify(data: bytes, procedure: Procedure, key: bytes, *, alone: bool) -> Deidentified | Problem:
    """De-identify one file, or say in words without any value why not.

    `key` derives new UIDs from the old ones; `alone` tells that the image has no other file. The same
    arguments give the same bytes. Raises MemoryError, which says nothing of the file.

    "already-done" sends the file unchanged where it says PatientIdentityRemoved = YES and nothing identifying is
    found: the preamble is zeros (or begins a TIFF and holds no text); the attributes of IDENTIFYING and every
    name of a person (PN) are empty or match a pattern, however deep they stand; so do private attributes that
    hold text (LO, LT, SH, ST, UC, UT, and UN that reads as text; their creators apart), PrivateInformation of
    the file meta information and DataSetTrailingPadding; the compressed pixels carry no comment; and nothing
    says that writing is burned in. Descriptions, dates, names of devices and UIDs are not looked at.
    """
    try:
        return _deidentify(data, procedure, key, alone=alone)
    except CaseProblem as no:
        return no.problems[0]
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  libraries quote values in what they raise
        return Problem(
            "not-deidentified",
            f"{{file}} could not be read and de-identified as DICOM ({type(error).__name__}), so nothing of it is "
            "sent. Check that it opens in a viewer, and export it anew.",
        )


def new_uid(key: bytes, uid: str) -> str:
    """The UID that stands for this one wherever the key is the same (a UUID's, PS3.5 B.2).

    UIDs that the standard defines stay (PS3.6, Annex A), not whatever begins like them.
    """
    if not uid or _is_of_the_standard(uid):
        return uid
    mac = hmac.digest(key, uid.encode(), hashlib.sha256)
    return f"2.25.{uuid.UUID(bytes=mac[:16], version=5).int}"


def _is_of_the_standard(uid: str) -> bool:
    return UID(uid, validation_mode=IGNORE).type != ""


class _NewUids(dict[str, Any]):
    """What the engine takes for its map of UIDs; it also asks for several at once."""

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self._key = key

    def __getitem__(self, value: Any) -> Any:
        if isinstance(value, MultiValue | list):
            return [new_uid(self._key, str(one)) for one in value]
        return new_uid(self._key, str(value or ""))


def _deidentify(data: bytes, procedure: Procedure, key: bytes, *, alone: bool) -> Deidentified:
    dataset = dcmread(io.BytesIO(data), force=True)
    if "SOPClassUID" not in dataset:
        raise CaseProblem(CUT_OFF if "MediaStorageSOPClassUID" in dataset.file_meta else NO_DICOM)
    syntax = _transfer_syntax(dataset)
    if procedure.name == "send-identifiable":
        _expect_whole(dataset, syntax, procedure)
        sent_as_is = as_slice(essence(dataset))
        return Deidentified(data, sent_as_is, "sent as it was, with what identifies the patient")
    _straighten(dataset)
    stood = values(dataset)
    _expect_whole(dataset, syntax, procedure)
    _refuse_burned_in(dataset, procedure)
    _refuse_comments(dataset, syntax, procedure)
    if procedure.name == "already-done":
        _expect_done(dataset, procedure)
        return Deidentified(data, as_slice(essence(dataset)), "de-identified before, sent as it was")
    before, wanted = essence(dataset), _wanted(dataset)
    method = _apply(dataset, procedure, key)
    sent = _written(dataset, syntax)
    after = dcmread(io.BytesIO(sent))
    _straighten(after)
    rest, stands, kept = _without_pixels(sent, after), values(after), essence(after)
    _refuse_words(after, wanted, procedure)
    _refuse_bytes(rest, wanted, stood, stands, procedure)
    alone = alone or ("ImagePositionPatient",) not in before
    _expect_same_image(losses(before, kept, alone=alone), procedure)
    return Deidentified(sent, as_slice(kept), method, changed(stood, stands))


def _transfer_syntax(dataset: Dataset) -> UID:
    """As the file says or, without file meta information, as its first element was read."""
    said = dataset.file_meta.get("TransferSyntaxUID")
    if said:
        return UID(said)
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _expect_whole(dataset: Dataset, syntax: UID, procedure: Procedure) -> None:
    """Pixels that are not compressed have a length that the header tells; what has none is no image."""
    if "Rows" not in dataset:
        return
    missing = PIXEL_TAGS.isdisjoint(dataset.keys())
    if missing or (not syntax.is_compressed and "cut-off" not in procedure.allow and _is_short(dataset)):
        raise CaseProblem(CUT_OFF)


def _is_short(dataset: Dataset) -> bool:
    return "PixelData" in dataset and len(dataset.PixelData) < get_expected_length(dataset)


def _straighten(dataset: Dataset) -> None:
    odd = sorted(straighten(dataset))
    if odd:
        raise CaseProblem(
            Problem(
                "not-deidentified",
                f"{{file}} holds {_listed(odd)} in a form that the standard does not know, so nobody can tell "
                "what stands there, and nothing of it is sent. Export it anew.",
            )
        )


def _refuse_burned_in(dataset: Dataset, procedure: Procedure) -> None:
    if "burned-in" not in procedure.allow and (why := _burned_in(dataset, procedure)):
        raise CaseProblem(
            Problem(
                "burned-in",
                f"{{files}} {why}. De-identifying cannot take out what is written in a picture. Where somebody "
                'has seen that it names nobody, the data manager can set allow = ["burned-in"].',
            )
        )


def _burned_in(dataset: Dataset, procedure: Procedure) -> str:
    """Why writing is to be feared in the picture, "" where it is not. Labels of slides: PS3.3, C.8.12.4 and 8."""
    labelled = str(dataset.get("SpecimenLabelInImage") or "").strip().upper()
    kinds = {str(one).strip().upper() for one in _several(dataset.get("ImageType"))}
    if labelled == "YES" or "LABEL" in kinds or ("OVERVIEW" in kinds and labelled != "NO"):
        return "show the label of a slide, or may show it (ImageType, SpecimenLabelInImage)"
    said = str(dataset.get("BurnedInAnnotation") or "").strip().upper()
    if said == "YES":
        return "say that writing is burned into the picture (BurnedInAnnotation)"
    if (
        said == "NO"
        or procedure.name == "already-done"
        or not OFTEN_BURNED_IN.fullmatch(str(dataset.SOPClassUID))
    ):
        return ""
    return (
        f"are {_class_name(dataset)}: writing is often burned into such pictures, and these do not say that there "
        "is none (BurnedInAnnotation)"
    )


def _refuse_comments(dataset: Dataset, syntax: UID, procedure: Procedure) -> None:
    """Texts that stand inside compressed pixels."""
    look = _look(syntax)
    if look is None or "names-in-text" in procedure.allow:
        return
    frames = (frame for _, one in elements(dataset, PIXEL_TAGS) for frame in _frames(one.value))
    try:
        found = sorted({words for frame in frames for words in look(frame)})
    except OddFormatError:
        found = ["what could not be read"]
    if found:
        raise CaseProblem(
            Problem(
                "names-in-text",
                f"{{files}} hold inside their compressed pixels {_listed(found)}, which may name somebody. Export "
                'without it, or let the data manager set allow = ["names-in-text"].',
            )
        )


def _look(syntax: UID) -> Callable[[bytes], list[str]] | None:
    for pattern, look in ((JPEG, _in_jpeg), (JPEG_LS, _in_jpeg_ls), (JPEG_2000, _in_jpeg_2000)):
        if pattern.fullmatch(syntax):
            return look
    return None


def _frames(pixels: bytes) -> Iterator[bytes]:
    """Fragments put together to pictures (PS3.5, A.4); none where they are not encapsulated."""
    if pixels[:4] != ITEM[0]:
        return
    buffer = io.BytesIO(pixels)
    parse_basic_offsets(buffer)
    whole: list[bytes] = []
    for fragment in generate_fragments(buffer):
        if whole and fragment.startswith(STARTS):
            yield b"".join(whole)
            whole = []
        whole.append(fragment)
    yield b"".join(whole)


def _in_jpeg(frame: bytes) -> list[str]:
    """What fills a fragment up to an even length is no part of the picture."""
    if not jpeg.is_one(frame):
        raise OddFormatError
    spots = jpeg.spots(io.BytesIO(frame.rstrip(b"\0\xff")))
    return [spot.words for spot in spots if not frame.startswith(NO_COMMENT, spot.start)]


def _in_jpeg_ls(frame: bytes) -> list[str]:
    """In its coded data FF is followed by less than 80 (ITU-T T.87, A.1); jpeg knows only 00."""
    return _in_jpeg(re.sub(rb"\xff[\x01-\x7f]", b"\xff\0", frame))


def _in_jpeg_2000(frame: bytes) -> list[str]:
    """Comments in the headers of the picture and of its tile-parts, and what stands behind it."""
    file, at, end, found = io.BytesIO(frame), _codestream(frame), len(frame), set()
    while at < len(frame):
        marker = int.from_bytes(read_at(file, at, 2))
        if marker == EOC:
            found |= {"data behind the image"} if frame[at + 2 :].strip(b"\0\xff") else set()
            break
        if marker == SOD:
            at = end
            continue
        length = int.from_bytes(read_at(file, at + 2, 2))
        if marker == SOT:
            size = int.from_bytes(read_at(file, at + 6, 4))
            end = at + size if size else frame.rfind(EOC.to_bytes(2))
        elif marker == COM and not _is_encoder(read_at(file, at + 4, length - 2)):
            found.add("comment (COM)")
        if not CAP <= marker < SOD or length < 2 or end <= at:  # noqa: PLR2004  a length counts itself
            raise OddFormatError
        at += 2 + length
    return sorted(found)


def _codestream(frame: bytes) -> int:
    """Where the first segment begins, in a JP2 behind its boxes (ISO/IEC 15444-1, Annex I)."""
    at, file = 0, io.BytesIO(frame)
    while not frame.startswith(STARTS[1], at):
        size, kind = int.from_bytes(read_at(file, at, 4)), read_at(file, at + 4, 4)
        if kind not in (b"jP  ", b"ftyp", b"rreq", b"jp2h", b"jp2c"):
            raise OddFormatError
        at += 8 if kind == b"jp2c" else max(size, 8)
    return at + 2


def _is_encoder(comment: bytes) -> bool:
    """Whether a comment (a number that tells its kind, then text) only says what made the picture."""
    text = comment[2:].decode("latin-1").strip(" \t\r\n\0")
    return is_technical(text) or ENCODER.fullmatch(text) is not None


def _expect_done(dataset: Dataset, procedure: Procedure) -> None:
    if dataset.get("PatientIdentityRemoved") != "YES":
        raise CaseProblem(
            Problem(
                "not-deidentified-yet",
                "{files} do not say that the patient's identity was removed (PatientIdentityRemoved), and this "
                'drop takes only what is de-identified already (deidentify = "already-done").',
            )
        )
    if _preamble_says(dataset):
        raise CaseProblem(
            Problem(
                "not-deidentified-yet",
                "{files} are said to be de-identified, but their first 128 bytes (the preamble) are not zeros, "
                "and may name somebody. De-identify them with a program that writes files anew.",
            )
        )
    found = elements(dataset, IDENTIFYING, frozenset({"PN"}))
    filled = {name_of(one.tag) for _, one in found if _filled(_texts(one), procedure.patterns)}
    if _filled(_private_texts(dataset), procedure.patterns):
        filled.add(PRIVATE)
    if filled:
        raise CaseProblem(_not_empty(sorted(filled), procedure))


def _not_empty(filled: Sequence[str], procedure: Procedure) -> Problem:
    one = len(filled) == 1 and filled[0] != PRIVATE
    how = " nor as the patterns of this drop allow" if procedure.patterns else ""
    state = f"{'is' if one else 'are'} {f'neither empty{how}' if how else 'not empty'}"
    cure = "add a pattern" if procedure.patterns else "say what may stand there (patterns of already_done)"
    return Problem(
        "not-deidentified-yet",
        f"{{files}} are said to be de-identified, but {_listed(filled)} {state}. De-identify them, or let the "
        f"data manager {cure}.",
    )


def _preamble_says(dataset: Dataset) -> bool:
    """A file may be a TIFF at the same time (PS3.10, 7.1)."""
    preamble = getattr(dataset, "preamble", None) or b""
    if not preamble.strip(b"\0"):
        return False
    return not preamble.startswith(TIFF) or READABLE.search(preamble[4:]) is not None


def _private_texts(dataset: Dataset) -> Iterator[str]:
    """Of everything that only its writer knows, in nested sequences too."""
    meta = getattr(dataset, "file_meta", None) or Dataset()
    yield _readable(bytes(meta.get("PrivateInformation") or b""))
    yield _readable(bytes(dataset.get("DataSetTrailingPadding") or b""))
    for tag in list(dataset.keys()):
        vr = dataset.get_item(tag).VR
        if not (tag.is_private or vr == "SQ" or known_vr(tag) == "SQ") or tag.is_private_creator:
            continue
        element = dataset[tag]
        if element.VR == "SQ":
            for item in element.value:
                yield from _private_texts(item)
        elif element.VR in PRIVATE_TEXTS:
            yield from _texts(element)
        elif element.VR == "UN":
            yield _readable(bytes(element.value or b""))


def _readable(value: bytes) -> str:
    """The text that these bytes are, "" where they are none."""
    bare = value.strip(b" \0")
    for encoding in ("utf-8", "latin-1"):
        try:
            text = bare.decode(encoding)
        except UnicodeDecodeError:
            continue
        is_text = len(text) >= SHORTEST and "".join(text.split()).isprintable()
        return text if is_text and LETTERS_OR_NUMBER.search(text) else ""
    return ""


def _filled(texts: Iterable[str], patterns: tuple[str, ...]) -> bool:
    return any(text and not any(re.fullmatch(pattern, text) for pattern in patterns) for text in texts)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(one for one in (", ".join(names[:-1]), names[-1]) if one)


def _apply(dataset: Dataset, procedure: Procedure, key: bytes) -> str:
    """De-identify in place; by what, in words."""
    standard = procedure.name == "dicom-standard"
    remove_private(dataset)
    if standard or not dataset.get("DeidentificationMethod", "x"):
        dataset.pop("DeidentificationMethod", None)
    engine = DicomDeidentifier(annex_e.procedure(procedure.options) if standard else None)
    engine.uid_map = _NewUids(key)
    try:
        engine.deidentify_dataset(dataset)
    except RejectedDICOMFileError:
        raise CaseProblem(_rejected(dataset)) from None
    if not standard:
        return f"procedure of Grand Challenge, {engine.procedure['version']}"
    _say_method(dataset, procedure)
    return annex_e.method(procedure.options)


def _rejected(dataset: Dataset) -> Problem:
    return Problem(
        "unsupported-class",
        f"{{files}} are {_class_name(dataset)}, which Grand Challenge's own procedure does not de-identify (it "
        "knows CT Image, MR Image and VL Whole Slide Microscopy Image). The data manager can set deidentify = "
        '"dicom-standard" for this drop or, where files are de-identified before they come, "already-done".',
    )


def _class_name(dataset: Dataset) -> str:
    """Only a name of the standard: a UID of somebody's own is not repeated."""
    uid = UID(dataset.SOPClassUID)
    return uid.name if _is_of_the_standard(uid) else "of a class that is not the standard's"


def _say_method(dataset: Dataset, procedure: Procedure) -> None:
    """PS3.15 E.1.1 and PS3.3 C.7.1.1: what was applied, in words and in codes of CID 7050."""
    codes = [annex_e.BASIC, *(annex_e.CODES[option] for option in procedure.options)]
    dataset.DeidentificationMethod = ["Casedrop", *map(_in_words, codes)]
    dataset.DeidentificationMethodCodeSequence = [_code(*one) for one in codes]
    dataset.PatientIdentityRemoved = "YES"
    kept = "retain-full-dates" in procedure.options
    dataset.LongitudinalTemporalInformationModified = "UNMODIFIED" if kept else "REMOVED"


def _in_words(code: tuple[str, str]) -> str:
    return " ".join(code)[:64]


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _written(dataset: Dataset, syntax: UID) -> bytes:
    """A new preamble and file meta information (PS3.10, 7.1): nothing of the old ones goes along.

    Deflated is written inflated, since another zlib would give other bytes.
    """
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_NAME
    dataset.file_meta, dataset.preamble = meta, bytes(128)
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def _expect_same_image(lost: Losses, procedure: Procedure) -> None:
    if lost.shape:
        text = f"De-identifying {{files}} changed {_listed(lost.shape)}, so it would be another image."
        raise CaseProblem(Problem("image-changed", text))
    for names, allowed, what in (
        (lost.size, "changed-size", "another size or place"),
        (lost.values, "changed-values", "other voxel values"),
    ):
        if names and allowed not in procedure.allow:
            raise CaseProblem(_changes(names, allowed, what, procedure))


def _changes(names: tuple[str, ...], allowed: str, what: str, procedure: Procedure) -> Problem:
    other = "" if procedure.name == "dicom-standard" else 'deidentify = "dicom-standard", which keeps it, or '
    return Problem(
        allowed,
        f'De-identifying {{files}} by "{procedure.name}" takes {_listed(names)} away, so the image on Grand '
        f"Challenge would have {what} than here. The data manager can set {other}allow = "
        f'["{allowed}"].',
    )


def _wanted(dataset: Dataset) -> frozenset[Needle]:
    """What names or numbers the patient."""
    found = elements(dataset, NAMES_AND_NUMBERS)
    return _needles(tuple(HeaderText(one.keyword, one.VR, text) for _, one in found for text in _texts(one)))


@lru_cache(8)
def _needles(texts: tuple[HeaderText, ...]) -> frozenset[Needle]:
    """The files of a series say the same."""
    return needles(texts, {one.keyword for one in texts}, removed=False)


def _refuse_words(dataset: Dataset, wanted: frozenset[Needle], procedure: Procedure) -> None:
    """A name in a text that the procedure keeps."""
    if "names-in-text" in procedure.allow or not wanted:
        return
    texts = (one for _, one in elements(dataset, frozenset(), TEXTS) if one.keyword not in NO_TEXT)
    found = sorted({name_of(one.tag) for one in texts if _holds(one, wanted)})
    if found:
        raise CaseProblem(
            Problem(
                "names-in-text",
                f"{{files}} hold in {_listed(found)} a word of the patient's name, or one of the patient's "
                "numbers, and the procedure keeps that text. Export without it, or let the data manager set "
                'allow = ["names-in-text"].',
            )
        )


def _holds(element: DataElement, wanted: frozenset[Needle]) -> bool:
    return any(_names(text, wanted) for text in _texts(element) if text and text not in OWN_TEXTS)


@lru_cache(256)
def _names(text: str, wanted: frozenset[Needle]) -> bool:
    """The slices of a series have most texts in common."""
    return bool(keywords_in(text, wanted))


def _without_pixels(sent: bytes, after: Dataset) -> bytes:
    """Of a data set as it was just read."""
    kept: list[bytes] = []
    at = 0
    for tag in sorted(PIXEL_TAGS & set(after.keys())):
        element = after.get_item(tag)
        assert isinstance(element, RawDataElement)
        start = element.value_tell
        kept.append(sent[at:start])
        at = start + len(element.value or b"")
    return b"".join((*kept, sent[at:]))


def _refuse_bytes(
    rest: bytes, wanted: frozenset[Needle], stood: Values, stands: Values, procedure: Procedure
) -> None:
    """The last look, at the bytes themselves: whatever was not understood may still hold a name or a UID."""
    replaced = {uid for place, uid in _uids(stood) if stands.get(place) != stood[place]}
    replaced -= {uid for place, uid in _uids(stands) if stood.get(place) == stands[place]}
    if replaced and not replaced.isdisjoint(one.strip(b".") for one in re.findall(rb"[0-9.]{3,}", rest)):
        raise CaseProblem(
            Problem(
                "not-deidentified",
                "{file} still holds one of its old UIDs after de-identifying, in a text or in what could not be "
                "understood, so nothing of it is sent. Export it without.",
            )
        )
    words = {one for needle in wanted if (one := _one_word(needle))}
    if "names-in-text" in procedure.allow or not words & _words(rest, words):
        return
    found = words & _words(OWN_TEXT.sub(b" ", rest), words)
    kept = ((place, word) for place, value in stands.items() for word in found & _words(value, found))
    if found - {word for place, word in kept if _is_chance(place, word)}:
        raise CaseProblem(
            Problem(
                "names-in-text",
                "{file} still holds a word of the patient's name, or one of the patient's numbers, after "
                "de-identifying, in what could not be understood as text. Export without it, or let the data "
                'manager set allow = ["names-in-text"].',
            )
        )


def _uids(found: Values) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """UIDs of somebody's own, and where they stand."""
    for place, value in found.items():
        if known_vr(place[-1]) == "UI":
            for uid in value.split(b"\\"):
                bare = uid.strip(b" \0")
                if bare and not _is_of_the_standard(bare.decode("latin-1")):
                    yield place, bare


_CODES = (annex_e.BASIC, *annex_e.CODES.values())
OWN_TEXTS = frozenset({
    "Casedrop", IMPLEMENTATION_NAME, *map(_in_words, _CODES), *(meaning for _, meaning in _CODES),
    f"grand-challenge-dicom-de-identifier:procedure:{DicomDeidentifier().procedure['version']}",
    *(dummy for dummy in VR_DUMMY_VALUES.values() if isinstance(dummy, str)),
})  # fmt: skip
"""What the procedures write, whoever the patient is: there are people called Long and Grand."""
_LONGEST_FIRST = sorted((one for one in OWN_TEXTS if not one.isdigit()), key=len, reverse=True)
OWN_TEXT = re.compile("|".join(map(re.escape, _LONGEST_FIRST)).encode())


def _is_chance(place: tuple[int, ...], word: str) -> bool:
    return (word.isdigit() and known_vr(place[-1]) in NUMBERS) or name_of(place[-1]) in NO_TEXT


def _one_word(needle: Needle) -> str:
    """A needle of one word that is no chance in bytes, else ""."""
    word = needle.text.strip()
    long = len(word) >= (SHORTEST_NUMBER if word.isdigit() else SHORTEST)
    return word if long and " " not in word else ""


def _words(value: bytes, wanted: AbstractSet[str]) -> set[str]:
    """The words in these bytes, whatever their encoding is."""
    encodings = ("latin-1",) if all(map(str.isascii, wanted)) else ("latin-1", "utf-8")
    return {
        word
        for encoding in encodings
        for word in re.findall(r"[^\W_]+", value.decode(encoding, "ignore").casefold())
    }


def _texts(element: DataElement) -> list[str]:
    return [str(value if value is not None else "").strip() for value in _several(element.value)]


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, MultiValue | list) else [value]
