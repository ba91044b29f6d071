"""Whether a file that is said to be de-identified is: what "already-done" looks at. Pure.

Only what pydicom knows the writer of stands for no name: a private creator is text that anybody may choose.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from pydicom import Dataset
from pydicom._private_dict import private_dictionaries

from casedrop.errors import CaseProblem
from casedrop.essence import (
    PRIVATE,
    elements,
    known_vr,
    name_of,
    tags,
    texts_of,
)
from casedrop.identifiers import SHORTEST
from casedrop.model import Problem, Procedure
from casedrop.near import several

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
    "PatientState MedicalAlerts Allergies Occupation SpecialNeeds EncapsulatedDocument WaveformData "
    "CurrentPatientLocation InsurancePlanIdentification OrderCallbackPhoneNumber PatientTelecomInformation "
    "TextValue UnformattedTextValue".split()
)
"""What "already-done" wants empty or as the configuration says, wherever it stands: who the patient, the
people around them and the place are, and comments. So it wants every other PN too."""
PRIVATE_NUMBERS = frozenset({"AT", "DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
BINARY = "bytes"
"""Stands for what nobody can read."""
PRIVATE_TEXTS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
LETTERS_OR_NUMBER = re.compile(r"[^\W\d_]{2}|\d{6}")


def expect_done(dataset: Dataset, procedure: Procedure) -> None:
    if dataset.get("PatientIdentityRemoved") != "YES":
        raise CaseProblem(
            Problem(
                "not-deidentified-yet",
                "{files} do not say that the patient's identity was removed (PatientIdentityRemoved), and this "
                'drop takes only what is de-identified already (deidentify = "already-done").',
            )
        )
    found = elements(dataset, IDENTIFYING, frozenset({"PN"}))
    filled = {name_of(one.tag) for _, one in found if _filled(texts_of(one), procedure.patterns)}
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
        f"{{files}} are said to be de-identified, but {several(filled)} {state}. De-identify them, or let the "
        f"data manager {cure}.",
    )


def _private_texts(dataset: Dataset) -> Iterator[str]:
    """Of everything that only its writer knows, in nested sequences too."""
    yield _readable(bytes(dataset.get("DataSetTrailingPadding") or b""))
    for tag in list(dataset.keys()):
        vr = dataset.get_item(tag).VR
        if not (tag.is_private or vr == "SQ" or known_vr(tag) == "SQ"):
            continue
        element = dataset[tag]
        if tag.is_private_creator:
            yield from (text for text in texts_of(element) if text not in private_dictionaries)
            continue
        if element.VR == "SQ":
            for item in element.value:
                yield from _private_texts(item)
        elif element.VR in PRIVATE_TEXTS:
            yield from texts_of(element)
        elif element.VR not in PRIVATE_NUMBERS and element.value:
            yield _readable(bytes(element.value)) if element.VR == "UN" else BINARY


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
