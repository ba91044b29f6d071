"""The header of one DICOM file: read to the pixels and no further, and only what rules and guards need."""

import hashlib
import io
import logging
import math
import os
import re
import secrets
import sys
import unicodedata
import warnings
import zlib
from dataclasses import replace
from functools import lru_cache
from typing import Any, BinaryIO, Literal

import pydicom
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from casedrop import dicom_file, header_texts
from casedrop.dicom_model import ENHANCED, HEAD, DicomHeader, Needle, looks_like_dicom
from casedrop.identifiers import HeaderText, needles
from casedrop.slices import normal_of

_SALT = secrets.token_bytes(32)
"""Another at each start: a digest is good for comparing within this process only."""

_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "ImageType", "Modality", "SeriesDescription", "PatientID", "PatientName",
    "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "FrameOfReferenceUID",
    "ImagePositionPatient", "ImageOrientationPatient", "Rows", "Columns", "NumberOfFrames", "PixelSpacing",
    "SliceThickness", "BurnedInAnnotation", "PatientIdentityRemoved", "AcquisitionDateTime", "AcquisitionDate",
    "AcquisitionTime", "ContentDate", "ContentTime", "SeriesDate", "SeriesTime", "StudyDate", "StudyTime",
    "EchoTime", "SpacingBetweenSlices", "SpecificCharacterSet", "PatientBirthDate",
)  # fmt: skip
_SHARED = "SharedFunctionalGroupsSequence"
_PER_FRAME = "PerFrameFunctionalGroupsSequence"
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_LONG = (b"OB", b"OW", b"OF", b"OD", b"OV", b"OL", b"UN")
"""VRs with two reserved bytes and a length of four bytes (PS3.5, 7.1.2)."""
_WRITTEN = frozenset({"AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI"})
"""VRs whose values are characters, which tell all by themselves (PS3.5, 6.2)."""
_UNDEFINED = 0xFFFFFFFF
_DELIMITER = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
"""Sequence Delimitation Item, the end of compressed pixel data (PS3.5, A.4)."""
_TAIL = 1 << 16
META = 0x0002
"""The group of the file's own elements, before the data set (PS3.10, 7.1)."""
_DEFLATED_HEAD = 1 << 20
"""Bytes of an unpacked deflated data set that are kept to read its header from."""
_MOST_UNPACKED = 1 << 32
"""Bytes of one that are unpacked to see its end; one that goes on counts as cut off."""
_BUFFER = 16384
_MOST = 1e15
"""Numbers from here on, and what is none (NaN), are damage that would break arithmetic."""
_MOST_COSINE = 1.01
"""A direction cosine that was rounded is not more."""
_LEAST_NORMAL = 0.9
"""Length of what stands upright on two rounded axes; much less, and they are none."""
_PLAIN_LETTERS = str.maketrans({"\u00e6": "a", "\u0153": "o", "\u00f8": "o", "\u0142": "l"})
"""Letters of names that Unicode does not take apart into a plain one and an accent."""

# What pydicom warns of quotes the data.
warnings.filterwarnings("ignore", module=r"pydicom\..*")
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def read(
    descriptor: int, keywords: tuple[str, ...] = (), identifying: tuple[str, ...] = ()
) -> DicomHeader | None:
    """The header of an open file, with the values of `keywords`; None where it is no DICOM.

    `identifying` are the attributes whose texts become its `needles`. A file that is DICOM but cannot be
    read gives a header that says `broken`. Raises OSError.
    """
    with os.fdopen(os.dup(descriptor), "rb", buffering=_BUFFER) as file:
        head = file.read(HEAD)
        if not looks_like_dicom(head):
            return None
        size = os.fstat(descriptor).st_size
        try:
            wanted = (*_TAGS, _SHARED, *_frames_too(head), *keywords, *identifying)
            data, whole = _data_set(file, head, size, wanted)
            looked_for = _needles(data, identifying)  # before values are decoded in place
            header = replace(_header(data, keywords, whole), needles=looked_for)
        except OSError:
            raise
        except Exception:  # noqa: BLE001  pydicom raises whatever the file's bytes lead it to
            return DicomHeader(broken=True) if head[128:132] == b"DICM" else None
    named = header.sop_class or header.series or head[128:132] == b"DICM"
    return header if named else None


def _frames_too(head: bytes) -> tuple[str, ...]:
    """The groups of each frame take some 0.3 ms a frame to read, and of deflated data too little is kept."""
    enhanced = any(uid.encode() in head for uid in ENHANCED)
    return (_PER_FRAME,) if enhanced and DeflatedExplicitVRLittleEndian.encode() not in head else ()


def patient(descriptor: int) -> tuple[str, str]:
    """PatientName and PatientID as text, for people who asked to see them. Raises OSError."""
    with os.fdopen(os.dup(descriptor), "rb", buffering=_BUFFER) as file:
        try:
            data, _ = _data_set(
                file, file.read(HEAD), os.fstat(descriptor).st_size, ("PatientName", "PatientID")
            )
            return _text(data, "PatientName"), _text(data, "PatientID")
        except OSError:
            raise
        except Exception:  # noqa: BLE001  as above
            return "", ""


def _data_set(
    file: BinaryIO, head: bytes, size: int, keywords: tuple[str, ...]
) -> tuple[Dataset, bool | None]:
    """The wanted elements, and whether the pixel data is whole: None where there is none."""
    tags: list[BaseTag | int] = [_tag(keyword) for keyword in keywords]
    file.seek(0)
    if DeflatedExplicitVRLittleEndian.encode() in head:
        return _deflated(file, tags)
    data = dicom_file.read(file, tags, pixels=False)
    implicit, little = data.original_encoding
    return data, _pixels_whole(file, size, implicit=bool(implicit), little=little is not False)


def _deflated(file: BinaryIO, tags: list[BaseTag | int]) -> tuple[Dataset, bool | None]:
    """A data set that is compressed as a whole (PS3.5, A.5), unpacked piece by piece."""
    file.seek(132)
    read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != META)
    unpacker, kept, count = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO(), 0
    while not unpacker.eof and count < _MOST_UNPACKED and (piece := file.read(_BUFFER)):
        while piece and not unpacker.eof and count < _MOST_UNPACKED:
            unpacked = unpacker.decompress(piece, _DEFLATED_HEAD)
            kept.write(unpacked[: max(_DEFLATED_HEAD - count, 0)])
            count += len(unpacked)
            piece = unpacker.unconsumed_tail
    kept.seek(0)
    data = read_dataset(kept, False, True, stop_when=lambda tag, *_: tag in _PIXELS, specific_tags=tags)
    whole = _pixels_whole(kept, count, implicit=False, little=True)
    return data, whole if unpacker.eof else False


def _pixels_whole(file: BinaryIO, size: int, *, implicit: bool, little: bool) -> bool | None:
    """Whether pixel data that begins where the file stands ends within `size`; None where none does."""
    order: Literal["little", "big"] = "little" if little else "big"
    start = file.tell()
    element = file.read(12)
    group, number = (int.from_bytes(element[at : at + 2], order) for at in (0, 2))
    if len(element) < 12 or group << 16 | number not in _PIXELS:  # noqa: PLR2004  tag, VR, reserved, length
        return None
    long = not implicit and element[4:6] in _LONG
    length = int.from_bytes(element[8:12] if long else element[4:8], order)
    if length != _UNDEFINED:
        return start + (12 if long else 8) + length <= size
    file.seek(max(start, size - _TAIL))
    return _DELIMITER in file.read()


def _header(data: Dataset, keywords: tuple[str, ...], whole: bool | None) -> DicomHeader:
    """An image has pixel data; one that should and has none is cut off. A DICOMDIR says what it is outside."""
    sop_class = _text(data, "SOPClassUID") or _text(
        getattr(data, "file_meta", Dataset()), "MediaStorageSOPClassUID"
    )
    name = "" if (known := UID(sop_class).name) == sop_class else known
    image = whole is not None or "Image Storage" in name or "Rows" in data
    plain = DicomHeader(
        sop_class=sys.intern(sop_class),
        class_name=sys.intern(str(name)),
        image=image,
        broken=image and not whole,
        burned_in=_text(data, "BurnedInAnnotation").upper() == "YES",
        modality=sys.intern(_text(data, "Modality")),
        image_type=tuple(map(sys.intern, _texts(data, "ImageType"))),
        taken=_taken(data),
        echo=_number(data, "EchoTime"),
        values=tuple((word, tuple(map(sys.intern, _texts(data, word)))) for word in keywords),
    )
    return _with_place(_with_origin(plain, data), data)


def _with_origin(header: DicomHeader, data: Dataset) -> DicomHeader:
    """Of whom it is, and of which study and series."""
    family_given = _family_given(_text(data, "PatientName"))
    return replace(
        header,
        patient=_digest(_text(data, "PatientID")),
        patient_name=_digest(_sorted_words(_name_words(_text(data, "PatientName")))),
        family_given=_digest(_sorted_words(family_given)),
        beginnings=tuple(
            _digest(_sorted_words(family_given[:count])) for count in range(2, len(family_given) + 1)
        ),
        birth_date=_digest(_text(data, "PatientBirthDate")),
        identity_removed=_text(data, "PatientIdentityRemoved").upper() == "YES",
        study=sys.intern(_text(data, "StudyInstanceUID")),
        series=sys.intern(_text(data, "SeriesInstanceUID")),
        instance_uid=_text(data, "SOPInstanceUID"),
        description=sys.intern(_text(data, "SeriesDescription")),
        number=_whole_number(data, "SeriesNumber"),
        instance=_whole_number(data, "InstanceNumber"),
    )


def _with_place(header: DicomHeader, data: Dataset) -> DicomHeader:
    """Where its pixels lie, and how many there are."""
    orientation, places = _frames(data) if header.sop_class in ENHANCED else (None, ())
    rows, columns = _whole_number(data, "Rows"), _whole_number(data, "Columns")
    return replace(
        header,
        frame_of_reference=sys.intern(_text(data, "FrameOfReferenceUID")),
        position=_numbers(data, "ImagePositionPatient", 3),
        orientation=orientation or _cosines(_numbers(data, "ImageOrientationPatient", 6)),
        spacing=_numbers(data, "PixelSpacing", 2),
        thickness=_number(data, "SliceThickness"),
        between=_number(data, "SpacingBetweenSlices"),
        size=(rows, columns) if rows and columns else None,
        frames=max(_whole_number(data, "NumberOfFrames") or 1, 1),
        frame_positions=places,
    )


def _needles(data: Dataset, identifying: tuple[str, ...]) -> frozenset[Needle]:
    return _looked_for(*header_texts.texts(data, identifying), identifying) if identifying else frozenset()


@lru_cache(maxsize=64)
def _looked_for(
    texts: tuple[HeaderText, ...], removed: bool, identifying: tuple[str, ...]
) -> frozenset[Needle]:
    """Once for the files of a patient, which then share them."""
    return needles(texts, identifying, removed=removed)


def _name_words(name: str) -> list[str]:
    """Without the signs that programs write in different ways; of several scripts the first."""
    first = next((part for part in name.split("=") if part.strip()), "")
    return re.findall(r"[^\W_]+", first.casefold())


def _sorted_words(words: list[str]) -> str:
    """Programs put them in different orders."""
    return " ".join(sorted(words))


def _family_given(name: str) -> list[str]:
    """The words of the first two components (PS3.5, 6.2.1), accents and the e that stands for some left out."""
    first = next((part for part in name.split("=") if part.strip()), "")
    short = "^".join(first.split("^")[:2]).casefold().translate(_PLAIN_LETTERS)
    plain = "".join(one for one in unicodedata.normalize("NFKD", short) if not unicodedata.combining(one))
    return _name_words(re.sub(r"(?<=[aou])e", "", plain)) or _name_words(name)


def _digest(text: str) -> str:
    """Equal for texts that are equal but for case and white space; "" for none."""
    plain = " ".join(text.casefold().split())
    return sys.intern(hashlib.blake2b(plain.encode(), key=_SALT, digest_size=16).hexdigest()) if plain else ""


@lru_cache(maxsize=1024)
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def _value(data: Dataset, keyword: str) -> Any:
    """An element's value, also where it stands once for all frames (PS3.3, C.7.6.16.1.1); None for none."""
    tag, places = _tag(keyword), [data]
    if tag not in data and _tag(_SHARED) in data and data[_tag(_SHARED)].value:
        shared = data[_tag(_SHARED)].value[0]
        places = [one.value[0] for one in shared if one.VR == "SQ" and one.value]
    for place in places:
        if tag in place:
            try:
                return place[tag].value
            except Exception:  # noqa: BLE001  a value that is none of its kind counts as not there
                return None
    return None


def _frames(data: Dataset) -> tuple[tuple[float, ...] | None, tuple[tuple[float, ...], ...]]:
    """Orientation and positions (mm) of frames that are one stack (PS3.3, C.7.6.16.2), else nothing.

    Where echoes or time points of a place are moved against each other, its places are more than its numbers.
    """
    try:
        frames = list(data.get(_PER_FRAME) or ())
        stacks = {_of_frame(one, "FrameContentSequence", "StackID") for one in frames}
        turned = {_of_frame(one, "PlaneOrientationSequence", "ImageOrientationPatient") for one in frames}
        places = tuple(_of_frame(one, "PlanePositionSequence", "ImagePositionPatient") for one in frames)
        numbers = {_of_frame(one, "FrameContentSequence", "InStackPositionNumber") for one in frames}
        orientation = _cosines(next(iter(turned), None) or _numbers(data, "ImageOrientationPatient", 6))
        one_stack = len(stacks) == len(turned) == 1 and (
            numbers == {None} or len(numbers) == len(set(places))
        )
        one_stack = one_stack and len(frames) == data.NumberOfFrames
        known = all(len(one) == 3 and all(map(_sensible, one)) for one in places)  # noqa: PLR2004
        if one_stack and known and orientation:
            return orientation, places
    except Exception:  # noqa: BLE001  what cannot be read tells nothing
        return None, ()
    return None, ()


def _of_frame(frame: Dataset, group: str, keyword: str) -> Any:
    found = frame.get(group)
    value = found[0].get(keyword) if found else None
    return tuple(map(float, value)) if isinstance(value, MultiValue) else value


def _texts(data: Dataset, keyword: str) -> tuple[str, ...]:
    tag = _tag(keyword)
    raw = data.get_item(tag, keep_deferred=True) if tag in data else None
    if isinstance(raw, RawDataElement) and raw.VR in _WRITTEN:
        charsets = data.original_character_set
        return _decoded(
            raw._replace(value_tell=0), charsets if isinstance(charsets, str) else tuple(charsets)
        )
    return _as_texts(_value(data, keyword))


@lru_cache(maxsize=1024)
def _decoded(raw: RawDataElement, charsets: str | tuple[str, ...]) -> tuple[str, ...]:
    """Once for the files of a series, which say most of it alike."""
    encoding = charsets if isinstance(charsets, str) else list(charsets)
    try:
        return _as_texts(convert_raw_data_element(raw, encoding=encoding).value)
    except Exception:  # noqa: BLE001  a value that is none of its kind counts as not there
        return ()


def _as_texts(value: Any) -> tuple[str, ...]:
    if value is None or isinstance(value, bytes | Sequence):
        return ()
    return tuple(
        str(one).strip(" \0") for one in (value if isinstance(value, MultiValue | list) else [value])
    )


def _text(data: Dataset, keyword: str) -> str:
    return "\\".join(_texts(data, keyword))


def _numbers(data: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    try:
        found = tuple(float(text) for text in _texts(data, keyword))
    except ValueError:
        return None
    return found if len(found) == count and all(map(_sensible, found)) else None


def _cosines(found: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """None where these are no direction cosines of two axes that stand upright on each other."""
    if found is None or len(found) != 6 or not all(abs(one) <= _MOST_COSINE for one in found):  # noqa: PLR2004
        return None
    return found if math.hypot(*normal_of(found)) >= _LEAST_NORMAL else None


def _sensible(number: float) -> bool:
    return abs(number) < _MOST


def _number(data: Dataset, keyword: str) -> float | None:
    found = _numbers(data, keyword, 1)
    return found[0] if found else None


def _whole_number(data: Dataset, keyword: str) -> int | None:
    found = _number(data, keyword)
    return None if found is None else int(found)


def _taken(data: Dataset) -> str:
    """When the image was made, as YYYYMMDDHHMMSS, from the nearest element that says it; "" for none."""
    both = _text(data, "AcquisitionDateTime")
    if both[:8].isdigit():
        return both[:14].split(".")[0].ljust(14, "0")
    for what in ("Acquisition", "Content", "Series", "Study"):
        date = _text(data, f"{what}Date")
        if date[:8].isdigit():
            return date[:8] + _text(data, f"{what}Time")[:6].ljust(6, "0")
    return ""
