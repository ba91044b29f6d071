"""The identifying texts of a DICOM data set. Pure.

Source: DICOM PS3.10, 7 (files), PS3.5, 6.1 (character sets), PS3.15, E.1 (PatientIdentityRemoved).
"""

from collections.abc import Iterator
from typing import Any

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.valuerep import TEXT_VR_DELIMS

from casedrop.identifiers import HeaderText

REMOVED = "PatientIdentityRemoved"
PSEUDONYM = "PatientID"
TEXT = ("AE", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "UC", "UI", "UR", "UT")


def texts(header: Dataset, keywords: tuple[str, ...]) -> tuple[tuple[HeaderText, ...], bool]:
    """The texts of these attributes at the top of a data set, and whether PatientIdentityRemoved is YES."""
    wanted = sorted({*keywords, PSEUDONYM, REMOVED})
    found = [text for keyword in wanted for text in _texts(header, keyword)]
    removed = any(one.keyword == REMOVED and one.text.upper() == "YES" for one in found)
    return tuple(one for one in found if one.keyword != REMOVED), removed


def is_keyword(keyword: str) -> bool:
    """Whether an attribute of this keyword exists and holds text (DICOM PS3.6, 6)."""
    tag = tag_for_keyword(keyword)
    return tag is not None and dictionary_VR(tag) in TEXT


def _texts(header: Dataset, keyword: str) -> Iterator[HeaderText]:
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in header:
        return
    raw: Any = header.get_item(tag).value
    if not isinstance(raw, bytes):
        raw = str(raw or "").encode()
    charsets = convert_encodings(header.get("SpecificCharacterSet") or "ISO_IR 6")
    # Files often hold UTF-8 without saying so.
    said = {decode_bytes(raw, charsets, TEXT_VR_DELIMS), raw.decode("utf-8", "replace")}
    for text in said:
        for one in text.split("\\"):
            yield HeaderText(keyword, dictionary_VR(tag), one.strip(" \0"))
