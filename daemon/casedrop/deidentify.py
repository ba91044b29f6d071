"""The bytes of one DICOM file in, the bytes that may leave out, by the drop's procedure. Pure.

What comes back in words never holds what a header says: values may name a patient. Importing this takes a
moment and memory, so it is done in the worker processes only.
"""

import hashlib
import hmac
import io
import re
import uuid
from typing import Any

from grand_challenge_dicom_de_identifier.deidentifier import VR_DUMMY_VALUES, DicomDeidentifier
from grand_challenge_dicom_de_identifier.exceptions import RejectedDICOMFileError
from pydicom import DataElement, Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from casedrop import annex_e
from casedrop.errors import CaseProblem
from casedrop.essence import Losses, as_slice, elements, essence, losses, tags
from casedrop.model import Problem, Procedure
from casedrop.slices import Deidentified

STANDARD_ROOT = "1.2.840.10008."
"""UIDs of the standard itself (PS3.6, Annex A): classes, transfer syntaxes, well-known frames of reference."""

IMPLEMENTATION_UID = "2.25.325863921443217849124301468093417358214"
IMPLEMENTATION_NAME = "CASEDROP"

IDENTIFYING = tags(
    "PatientName PatientID PatientBirthDate OtherPatientIDs OtherPatientNames PatientBirthName "
    "PatientMotherBirthName PatientAddress PatientTelephoneNumbers MedicalRecordLocator MilitaryRank "
    "IssuerOfPatientID AccessionNumber AdmissionID ReferringPhysicianName ReferringPhysicianAddress "
    "ReferringPhysicianTelephoneNumbers PhysiciansOfRecord PerformingPhysicianName OperatorsName "
    "NameOfPhysiciansReadingStudy RequestingPhysician ResponsiblePerson ResponsibleOrganization InstitutionName "
    "InstitutionAddress InstitutionalDepartmentName PatientComments".split()
)
"""What "already-done" wants empty or as the configuration says, wherever it stands."""

NAMES_AND_NUMBERS = tags(
    "PatientName OtherPatientNames PatientBirthName PatientMotherBirthName PatientID OtherPatientIDs "
    "AccessionNumber AdmissionID PatientBirthDate PatientTelephoneNumbers".split()
)
"""Whose words may stand in no text that is kept."""

SHORTEST_WORD = 4
NO_TEXT = frozenset({"CodingSchemeDesignator"})
TEXTS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT", "UR", "PN", "AE"})

OFTEN_BURNED_IN = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(3\.1|6\.[12]|7(\.[1-4])?)")
"""Ultrasound and secondary capture: names stand in the picture unless BurnedInAnnotation says NO."""


def deidentify(data: bytes, procedure: Procedure, key: bytes, *, alone: bool) -> Deidentified | Problem:
    """De-identify one file, or say in words without any value why not.

    `key` derives new UIDs from the old ones; `alone` tells that the image has no other file. The same
    arguments give the same bytes.
    """
    try:
        return _deidentify(data, procedure, key, alone=alone)
    except CaseProblem as no:
        return no.problems[0]
    except Exception as error:  # noqa: BLE001  libraries quote values in what they raise
        return Problem(
            "not-deidentified",
            f"{{file}} could not be read and de-identified as DICOM ({type(error).__name__}), so nothing of it is "
            "sent. Check that it opens in a viewer, and export it anew.",
        )


def new_uid(key: bytes, uid: str) -> str:
    """The UID that stands for this one wherever the key is the same (a UUID's, PS3.5 B.2)."""
    if not uid or uid.startswith(STANDARD_ROOT):
        return uid
    mac = hmac.digest(key, uid.encode(), hashlib.sha256)
    return f"2.25.{uuid.UUID(bytes=mac[:16], version=5).int}"


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
        raise CaseProblem(Problem("not-dicom", "{file} is no DICOM image."))
    before = essence(dataset)
    shape = as_slice(before)
    syntax = _transfer_syntax(dataset)
    _expect_whole(dataset, syntax)
    if procedure.name == "send-identifiable":
        return Deidentified(data, shape, "sent as it was, with what identifies the patient")
    _refuse_burned_in(dataset, procedure)
    if procedure.name == "already-done":
        _expect_done(dataset, procedure)
        return Deidentified(data, shape, "de-identified before, sent as it was")
    words = _words(dataset)
    method = _apply(dataset, procedure, key)
    sent = _written(dataset, syntax)
    after = dcmread(io.BytesIO(sent))
    _refuse_words(after, words, procedure)
    alone = alone or ("ImagePositionPatient",) not in before
    return Deidentified(sent, shape, method, _taken(losses(before, essence(after), alone=alone), procedure))


def _transfer_syntax(dataset: Dataset) -> UID:
    """As the file says or, without file meta information, as its first element was read."""
    said = dataset.file_meta.get("TransferSyntaxUID")
    if said:
        return UID(said)
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _expect_whole(dataset: Dataset, syntax: UID) -> None:
    """Pixels that are not compressed have a length that the header tells."""
    if "PixelData" not in dataset or syntax.is_compressed or "Rows" not in dataset:
        return
    if len(dataset.PixelData) < get_expected_length(dataset):
        raise CaseProblem(
            Problem("cut-off", "{file} ends before its pixels do: it was not copied whole. Copy it again.")
        )


def _refuse_burned_in(dataset: Dataset, procedure: Procedure) -> None:
    said = str(dataset.get("BurnedInAnnotation") or "").strip().upper()
    often = OFTEN_BURNED_IN.fullmatch(str(dataset.SOPClassUID)) and procedure.name != "already-done"
    if "burned-in" in procedure.allow or said == "NO" or (said != "YES" and not often):
        return
    why = "say that" if said == "YES" else f"are {_class_name(dataset)}, where often, and do not deny that"
    raise CaseProblem(
        Problem(
            "burned-in",
            f"{{files}} {why} writing is burned into the picture (BurnedInAnnotation), which de-identifying "
            "cannot take out. Where somebody has seen that it names nobody, the data manager can set "
            'allow = ["burned-in"].',
        )
    )


def _expect_done(dataset: Dataset, procedure: Procedure) -> None:
    if dataset.get("PatientIdentityRemoved") != "YES":
        raise CaseProblem(
            Problem(
                "not-deidentified-yet",
                "{files} do not say that the patient's identity was removed (PatientIdentityRemoved), and this "
                'drop takes only what is de-identified already (deidentify = "already-done").',
            )
        )
    found = elements(dataset, IDENTIFYING, frozenset({"PN"}))
    filled = sorted({_name(one) for _, one in found if _filled(one, procedure.patterns)})
    if filled:
        raise CaseProblem(
            Problem(
                "not-deidentified-yet",
                f"{{files}} are said to be de-identified, but {', '.join(filled)} is neither empty nor as the "
                "patterns of this drop allow. De-identify them, or let the data manager add a pattern.",
            )
        )


def _filled(element: DataElement, patterns: tuple[str, ...]) -> bool:
    texts = [text for text in _texts(element) if text]
    return any(not any(re.fullmatch(pattern, text) for pattern in patterns) for text in texts)


def _name(element: DataElement) -> str:
    return str(element.keyword or "a private attribute")


def _apply(dataset: Dataset, procedure: Procedure, key: bytes) -> str:
    """De-identify in place; by what, in words."""
    standard = procedure.name == "dicom-standard"
    _remove_private(dataset)
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


def _remove_private(dataset: Dataset) -> None:
    """Those of the data set itself without decoding them: vendors have hundreds."""
    for tag in [tag for tag in dataset.keys() if tag.is_private]:  # noqa: SIM118
        del dataset[tag]
    dataset.remove_private_tags()


def _rejected(dataset: Dataset) -> Problem:
    return Problem(
        "class-not-known",
        f"{{files}} are {_class_name(dataset)}, which Grand Challenge's own procedure does not de-identify (it "
        "knows CT Image, MR Image and VL Whole Slide Microscopy Image). The data manager can set deidentify = "
        '"dicom-standard" for this drop or, where files are de-identified before they come, "already-done".',
    )


def _class_name(dataset: Dataset) -> str:
    """Only a name of the standard: a UID of somebody's own is not repeated."""
    uid = UID(dataset.SOPClassUID)
    return (
        uid.name
        if uid.startswith(STANDARD_ROOT) and uid.name != uid
        else "of a class that is not the standard's"
    )


def _say_method(dataset: Dataset, procedure: Procedure) -> None:
    """PS3.15 E.1.1 and PS3.3 C.7.1.1: what was applied, in words and in codes of CID 7050."""
    codes = [annex_e.BASIC, *(annex_e.CODES[option] for option in procedure.options)]
    dataset.DeidentificationMethod = ["Casedrop", *(f"{value} {meaning}"[:64] for value, meaning in codes)]
    dataset.DeidentificationMethodCodeSequence = [_code(*one) for one in codes]
    dataset.PatientIdentityRemoved = "YES"
    kept = "retain-full-dates" in procedure.options
    dataset.LongitudinalTemporalInformationModified = "UNMODIFIED" if kept else "REMOVED"


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


def _taken(lost: Losses, procedure: Procedure) -> tuple[str, ...]:
    """What may be lost, by the names of the attributes; what may not is a problem."""
    if lost.shape:
        text = f"De-identifying {{files}} changed {', '.join(lost.shape)}, so it would be another image."
        raise CaseProblem(Problem("image-changed", text))
    for names, allowed, what in (
        (lost.size, "changed-size", "another size or place"),
        (lost.values, "changed-values", "other voxel values"),
    ):
        if names and allowed not in procedure.allow:
            raise CaseProblem(_changes(names, allowed, what, procedure))
    return (*lost.size, *lost.values, *lost.harmless)


def _changes(names: tuple[str, ...], allowed: str, what: str, procedure: Procedure) -> Problem:
    other = "" if procedure.name == "dicom-standard" else 'deidentify = "dicom-standard", which keeps it, or '
    return Problem(
        allowed,
        f'De-identifying {{files}} by "{procedure.name}" takes {", ".join(names)} away, so the image on Grand '
        f"Challenge would have {what} than here. The data manager can set {other}allow = "
        f'["{allowed}"].',
    )


def _words(dataset: Dataset) -> frozenset[str]:
    """What names or numbers the patient, in lower case; dates also with hyphens."""
    words = set()
    for _, element in elements(dataset, NAMES_AND_NUMBERS):
        for text in _texts(element):
            words |= {text, *re.split(r"[\s^=\\,]+", text)}
            if element.VR == "DA":
                words.add(f"{text[:4]}-{text[4:6]}-{text[6:]}")
    dummies = {str(value).lower() for value in VR_DUMMY_VALUES.values()}
    return frozenset(word.lower() for word in words if len(word) >= SHORTEST_WORD) - dummies


def _refuse_words(dataset: Dataset, words: frozenset[str], procedure: Procedure) -> None:
    """The last look: a name in a text that the procedure keeps (whole words, whatever the case)."""
    if "names-in-text" in procedure.allow or not words:
        return
    any_word = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, sorted(words))) + r")(?!\w)")
    texts = (one for _, one in elements(dataset, frozenset(), TEXTS) if one.keyword not in NO_TEXT)
    found = sorted({_name(one) for one in texts if _holds(one, any_word)})
    if found:
        raise CaseProblem(
            Problem(
                "names-in-text",
                f"{{files}} hold in {', '.join(found)} a word of the patient's name, or one of the patient's "
                "numbers, and the procedure keeps that text. Export without it, or let the data manager set "
                'allow = ["names-in-text"].',
            )
        )


def _holds(element: DataElement, any_word: re.Pattern[str]) -> bool:
    kept = (text for text in _texts(element) if text != VR_DUMMY_VALUES.get(element.VR))
    return any(any_word.search(text.lower()) for text in kept)


def _texts(element: DataElement) -> list[str]:
    values = element.value if isinstance(element.value, MultiValue | list) else [element.value]
    return [str(value if value is not None else "").strip() for value in values]
