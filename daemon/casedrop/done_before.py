"""Whether a file that is said to be de-identified is: what "already-done" looks at. Pure.

Only what pydicom knows the writer of stands for no name: a private creator is text that anybody may choose.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from pydicom import DataElement, Dataset
from pydicom._private_dict import private_dictionaries
from pydicom.datadict import keyword_dict

from casedrop.errors import CaseProblem
from casedrop.essence import (
    PRIVATE,
    elements,
    known_vr,
    name_of,
    texts_of,
)
from casedrop.model import Problem, Procedure
from casedrop.near import several

PATIENT = 0x0010
"""The group of what says who the patient is (PS3.6, 6)."""
TELLING = re.compile(
    r"Comment(?!Type)|(?<!NTPSource)Address|Telephone|Telecom|OrderNumber|OrderCallback|InterpretationText"
)
"""What keywords of PS3.6 have that stand for texts of people, or for where they are."""
HARMLESS = frozenset(
    "AnatomicalOrientationType EthnicGroup ExaminedBodyThickness MeasuredAPDimension MeasuredLateralDimension "
    "PatientAge PatientAlternativeCalendar PatientBodyMassIndex PatientBreedDescription PatientSex "
    "PatientSexNeutered PatientSize PatientSpeciesDescription PatientWeight PregnancyStatus QualityControlSubject "
    "SmokingStatus StrainDescription StrainNomenclature SubjectRelativePositionInImage TypeOfPatientID".split()
)
"""What of the patient's group (0010) may stand there."""
OTHERS = frozenset(
    "AccessionNumber AdmissionID InstitutionName InstitutionalDepartmentName ResponsibleOrganization PatientState "
    "SpecialNeeds EncapsulatedDocument WaveformData CurrentPatientLocation PatientInstitutionResidence TextValue "
    "UnformattedTextValue".split()
)


def _is_identifying(tag: int, keyword: str) -> bool:
    of_patient = tag >> 16 == PATIENT and keyword not in HARMLESS
    return of_patient or keyword in OTHERS or TELLING.search(keyword) is not None


IDENTIFYING = frozenset(tag for keyword, tag in keyword_dict.items() if _is_identifying(tag, keyword))
"""What "already-done" wants empty or as the configuration says, wherever it stands: who the patient, the
people around them and the place are, and comments. So it wants every other PN too."""
NUMBERS = frozenset({"AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})
WRITTEN_NUMBERS = frozenset({"DS", "IS"})
BINARY = "bytes"
"""Stands for what nobody can read."""
TEXTS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
WORD = re.compile(rb"[A-Za-z\x80-\xff]{3}|[0-9]{6}")
"""What makes bytes that nobody knows a text or a number of somebody's."""
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
OVERLAYS = frozenset({0x50, 0x60})
PADDING = 0xFFFCFFFC
CREATORS = frozenset(map(str.casefold, private_dictionaries)) | {
    "siemens mr sdr 01",
    "image private header",
    "ctp",
}
"""Makers and programs that write private attributes, not people."""


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
    filled |= {name for name, text in _own_texts(dataset) if _filled([text], procedure.patterns)}
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


def _own_texts(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """What stands in attributes of whose meaning the standard knows nothing, each with its name; nested ones too.

    In private attributes, those that PS3.6 does not list, overlays and curves, and in the padding behind.
    """
    for tag in list(dataset.keys()):
        is_own = tag.is_private or not known_vr(tag) or tag >> 24 in OVERLAYS or tag == PADDING
        vr = dataset.get_item(tag).VR
        if not is_own and "SQ" not in (vr, known_vr(tag)):
            continue
        element = dataset[tag]
        if element.VR == "SQ":
            for item in element.value:
                yield from _own_texts(item)
        elif tag.is_private_creator:
            yield from ((PRIVATE, text) for text in texts_of(element) if text.casefold() not in CREATORS)
        elif is_own and not element.is_empty:
            yield from ((name_of(tag), text) for text in _texts_in(element))


def _texts_in(element: DataElement) -> Iterable[str]:
    """Plain numbers are none, whatever else only its writer knows is."""
    if element.VR in WRITTEN_NUMBERS:
        return (text for text in texts_of(element) if not NUMBER.fullmatch(text))
    if element.VR in TEXTS:
        return texts_of(element)
    if element.VR in NUMBERS:
        return ()
    value = bytes(element.value) if isinstance(element.value, bytes) else str(element.value).encode()
    if element.VR != "UN":
        return [BINARY] if value.strip(b"\0 ") else []
    return [_readable(value) or BINARY] if WORD.search(value.replace(b"\0", b"")) else []


def _readable(value: bytes) -> str:
    """The text that these bytes are, "" where they are none."""
    bare = value.strip(b" \0").decode("utf-8", "replace")
    return bare if "".join(bare.split()).isprintable() else ""


def _filled(texts: Iterable[str], patterns: tuple[str, ...]) -> bool:
    return any(text and not any(re.fullmatch(pattern, text) for pattern in patterns) for text in texts)
