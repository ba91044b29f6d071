"""The identifying texts of one DICOM file's header. They are compared and dropped: nothing here keeps them.

Source: DICOM PS3.10, 7 (files), PS3.5, 6.1 (character sets), PS3.15, E.1 (PatientIdentityRemoved).
"""

import logging
import warnings
from collections.abc import Iterator
from functools import cache
from typing import IO, Any

from casedrop.identifiers import HeaderText

REMOVED = "PatientIdentityRemoved"
PSEUDONYM = "PatientID"


def read(file: IO[bytes], keywords: tuple[str, ...]) -> tuple[list[HeaderText], bool]:
    """The texts of these attributes at the top of a data set, and whether PatientIdentityRemoved is YES.

    Reads up to the pixels, also without preamble. What cannot be read says nothing: such a file is not
    sent as DICOM either. Raises OSError.
    """
    pydicom = _pydicom()
    wanted = sorted({*keywords, PSEUDONYM, REMOVED})
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=wanted)
        texts = [text for keyword in wanted for text in _texts(header, keyword)]
    except OSError:
        raise
    except Exception:  # noqa: BLE001  what pydicom raises on damaged files is not one class
        return [], False
    removed = any(one.keyword == REMOVED and one.text.upper() == "YES" for one in texts)
    return [one for one in texts if one.keyword != REMOVED], removed


def is_keyword(keyword: str) -> bool:
    """Whether an attribute of this keyword exists and holds text (DICOM PS3.6, 6)."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword  # noqa: PLC0415

    tag = tag_for_keyword(keyword)
    return tag is not None and dictionary_VR(tag) in TEXT


TEXT = ("AE", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "UC", "UI", "UR", "UT")


@cache
def _pydicom() -> Any:
    """Stop the warnings and log lines in which pydicom quotes values, the very texts nobody may see."""
    import pydicom  # noqa: PLC0415

    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"pydicom\b")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    return pydicom


def _texts(header: Any, keyword: str) -> Iterator[HeaderText]:
    from pydicom.charset import convert_encodings, decode_bytes  # noqa: PLC0415
    from pydicom.datadict import dictionary_VR, tag_for_keyword  # noqa: PLC0415
    from pydicom.valuerep import TEXT_VR_DELIMS  # noqa: PLC0415

    tag = tag_for_keyword(keyword)
    if tag is None or tag not in header:
        return
    raw = header.get_item(tag).value
    if not isinstance(raw, bytes):
        raw = str(raw or "").encode()
    charsets = convert_encodings(header.get("SpecificCharacterSet") or "ISO_IR 6")
    # Files often hold UTF-8 without saying so.
    said = {decode_bytes(raw, charsets, TEXT_VR_DELIMS), raw.decode("utf-8", "replace")}
    for text in said:
        for one in text.split("\\"):
            yield HeaderText(keyword, dictionary_VR(tag), one.strip(" \0"))
