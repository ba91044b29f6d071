"""Whether what is to be sent still names the patient, whatever the procedure made of it. Pure."""

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import lru_cache

from grand_challenge_dicom_de_identifier.deidentifier import VR_DUMMY_VALUES, DicomDeidentifier
from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement

from casedrop import annex_e
from casedrop.dicom_model import Needle
from casedrop.errors import CaseProblem
from casedrop.essence import (
    PIXEL_TAGS,
    Values,
    elements,
    elements_at,
    known_vr,
    name_of,
    tags,
    texts_of,
)
from casedrop.identifiers import SHORTEST, SHORTEST_NUMBER, HeaderText, keywords_in, needles
from casedrop.model import Problem, Procedure
from casedrop.near import several
from casedrop.new_uids import IMPLEMENTATION_NAME, is_of_the_standard

NAMES_AND_NUMBERS = tags(
    "PatientName OtherPatientNames PatientBirthName PatientMotherBirthName PatientID OtherPatientIDs "
    "AccessionNumber AdmissionID PatientBirthDate PatientTelephoneNumbers".split()
)
"""Whose words may stand in nothing that is kept."""
LONG = 7
"""Letters of a word that no other word holds by chance."""
USUAL = frozenset(
    "ABDOMEN AGFA ANKLE AXIAL BACK BLADDER BODY BONE BOWTIE BRAIN BREAST CANON CHEEK CHEST CLAVICLE "
    "COLON DERIVED DETAIL EDGE ELBOW ESAOTE FACE FAST FEMUR FINGER FLAT FOOT FOREARM FUJIFILM HAND HEAD "
    "HEADNECK HEART HELICAL HITACHI HOLOGIC HUMERUS KIDNEY KNEE KODAK LARGE LEFT LIVER LOCALIZER LUNG "
    "LUNGS MANDIBLE MEDIUM MIXED MOUTH NECK NONE NORM NOSE ORBIT ORIGINAL OTHER PELVIS PHILIPS PRIMARY "
    "PROSTATE RIGHT SAMSUNG SECONDARY SHARP SHOULDER SIEMENS SKULL SMALL SMOOTH SOFT SPINE SPIRAL "
    "SPLEEN STANDARD STERNUM STOMACH THIGH THORAX THUMB TOSHIBA UTERUS WEDGE WHOLEBODY WRIST".split()
)
"""Whole values that headers hold for body parts (PS3.16, Annex L), makers, types of images and kernels: there are
people of each of these names."""
NO_TEXT = frozenset({"CodingSchemeDesignator"})
TEXTS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT", "UR", "PN", "AE", "CS"})
NUMBERS = frozenset({"AS", "DA", "DS", "DT", "IS", "TM", "UI"})
"""Where a patient's number may be met by chance."""


def named_in(dataset: Dataset) -> list[tuple[int, HeaderText]]:
    """What names or numbers the patient, each by the tag of its attribute or of the outermost sequence.

    That may be a private one, which no keyword tells.
    """
    return [
        (int(raw.tag), HeaderText(one.keyword, one.VR, text))
        for raw in list(dataset.values())
        for _, one in elements_at(dataset, raw, NAMES_AND_NUMBERS)
        for text in texts_of(one)
    ]


@lru_cache(8)
def words_of_patient(texts: frozenset[HeaderText]) -> frozenset[Needle]:
    """The files of a series say the same."""
    return needles(texts, {one.keyword for one in texts}, removed=False)


def refuse_words(dataset: Dataset, wanted: frozenset[Needle], procedure: Procedure) -> None:
    """A name in a text that the procedure keeps."""
    if "names-in-text" in procedure.allow or not wanted:
        return
    texts = (one for _, one in elements(dataset, frozenset(), TEXTS) if one.keyword not in NO_TEXT)
    found = sorted({name_of(one.tag) for one in texts if _holds(one, wanted)})
    if found:
        raise CaseProblem(
            Problem(
                "names-in-text",
                f"{{files}} hold in {several(found)} a word of the patient's name, or one of the patient's "
                "numbers, and the procedure keeps that text. Export without it, or let the data manager set "
                'allow = ["names-in-text"].',
            )
        )


def _holds(element: DataElement, wanted: frozenset[Needle]) -> bool:
    return any(_names(text, wanted) for text in texts_of(element) if text and not _is_usual(text))


def _is_usual(text: str) -> bool:
    """Whether this whole value stands there whoever the patient is."""
    return text in OWN_TEXTS or text.upper() in USUAL


@lru_cache(256)
def _names(text: str, wanted: frozenset[Needle]) -> bool:
    """The slices of a series have most texts in common."""
    return bool(keywords_in(text, wanted))


def without_pixels(sent: bytes, after: Dataset) -> bytes:
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


def refuse_bytes(
    rest: bytes, wanted: frozenset[Needle], stood: Values, stands: Values, procedure: Procedure
) -> None:
    """The last look, at the bytes themselves: whatever was not understood may still hold a name or a UID."""
    replaced = {uid for place, uid in _uids(stood) if stands.get(place) != stood[place]}
    replaced -= {uid for place, uid in _uids(stands) if stood.get(place) == stands[place]}
    if any(uid in rest for uid in replaced) and not replaced.isdisjoint(_numbers(rest)):
        raise CaseProblem(
            Problem(
                "not-deidentified",
                "{file} still holds one of its old UIDs after de-identifying, in a text or in what could not be "
                "understood, so nothing of it is sent. Export it without.",
            )
        )
    words = {one for needle in wanted if (one := _one_word(needle))}
    if "names-in-text" in procedure.allow or not _words(rest, words):
        return
    found = _words(OWN_TEXT.sub(b" ", rest), words)
    kept = [(place, word, value) for place, value in stands.items() for word in _words(value, found)]
    named = {word for place, word, value in kept if not _is_chance(place, word, value)}
    if named | (found - {word for _, word, _ in kept}):
        raise CaseProblem(
            Problem(
                "names-in-text",
                "{file} still holds a word of the patient's name, or one of the patient's numbers, after "
                "de-identifying, in what could not be understood as text. Export without it, or let the data "
                'manager set allow = ["names-in-text"].',
            )
        )


def _numbers(rest: bytes) -> Iterator[bytes]:
    """All that could be a UID."""
    return (one.strip(b".") for one in re.findall(rb"[0-9.]{3,}", rest))


def _uids(found: Values) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """UIDs of somebody's own, and where they stand."""
    for place, value in found.items():
        if known_vr(place[-1]) == "UI":
            for uid in value.split(b"\\"):
                bare = uid.strip(b" \0")
                if bare and not is_of_the_standard(bare.decode("latin-1")):
                    yield place, bare


_CODES = (annex_e.BASIC, *annex_e.CODES.values())
OWN_TEXTS = frozenset({
    "Casedrop", IMPLEMENTATION_NAME, *map(annex_e.in_words, _CODES), *(meaning for _, meaning in _CODES),
    f"grand-challenge-dicom-de-identifier:procedure:{DicomDeidentifier().procedure['version']}",
    *(dummy for dummy in VR_DUMMY_VALUES.values() if isinstance(dummy, str)),
})  # fmt: skip
"""What the procedures write, whoever the patient is: there are people called Long and Grand."""
_LONGEST_FIRST = sorted((one for one in OWN_TEXTS if not one.isdigit()), key=len, reverse=True)
OWN_TEXT = re.compile("|".join(map(re.escape, _LONGEST_FIRST)).encode())


def _is_chance(place: tuple[int, ...], word: str, value: bytes) -> bool:
    """`value` is what stands at the place, of which only usual values hold the word."""
    vr = known_vr(place[-1])
    if (word.isdigit() and vr in NUMBERS) or name_of(place[-1]) in NO_TEXT:
        return True
    holding = (one for one in value.split(b"\\") if _words(one, {word}))
    return vr in TEXTS and all(_is_usual(one.strip(b" \0").decode("latin-1")) for one in holding)


def _one_word(needle: Needle) -> str:
    """A needle of one word that is no chance in bytes, else ""."""
    word = needle.text.strip()
    long = len(word) >= (SHORTEST_NUMBER if word.isdigit() else SHORTEST)
    return word if long and " " not in word else ""


def _words(value: bytes, wanted: AbstractSet[str]) -> set[str]:
    """Those of the words that stand in these bytes, whatever their encoding is; long ones within words too.

    Without its zeros UTF-16 reads as text.
    """
    encodings = ("latin-1",) if all(map(str.isascii, wanted)) else ("latin-1", "utf-8")
    found: set[str] = set()
    for encoding in encodings:
        text = value.decode(encoding, "ignore").casefold()
        joined = text.replace("\0", "")
        for one in (text, joined):
            if any(word in one for word in wanted):  # far quicker than to take it apart
                found |= wanted & set(re.findall(r"[^\W_]+", one))
        found |= {word for word in wanted if len(word) >= LONG and not word.isdigit() and word in joined}
    return found
