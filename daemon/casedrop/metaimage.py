"""The fields of a MetaImage header (.mha, .mhd). Pure.

Source: the MetaIO documentation (tags of MetaObject and MetaImage); ITK adds a line for each entry of an image's
dictionary, be it of a DICOM header. All that is not known to be technical is a line to leave out.
"""

import re
from typing import IO

from casedrop.spots import OddFormatError, Spot, is_technical, shown_key

LONGEST = 1 << 20
"""Bytes of a header."""

_NUMBERS = re.compile(r"[-+0-9.eE \t]*|nan|-?inf", re.IGNORECASE)
_NUMERIC = re.compile(
    r"NDims|DimSize|Element(Spacing|Size|Min|Max|NumberOfChannels|NBits)|Offset|Position|Origin|TransformMatrix|"
    r"Rotation|Orientation|CenterOfRotation|HeaderSize|CompressedDataSize|CompressionLevel|ParentID|Color|"
    r"ElementToIntensityFunction(Slope|Offset)|ITK_original_\w+|ITK_non_uniform_sampling_deviation|"
    r"bitpix|cal_(max|min)|datatype|dim\[\d\]|dim_info|intent_code|intent_p[123]|nifti_type|pixdim\[\d\]|qfac|"
    r"[qs]form_code|qoffset_[xyz]|quatern_[bcd]|scl_(inter|slope)|slice_(code|duration|end|start)|srow_[xyz]|"
    r"toffset|vox_offset|xyzt_units"
)
"""Tags of MetaIO, and what SimpleITK copies of a NIfTI header."""
_CHOICES = {
    "ObjectType": r"Image", "ObjectSubType": r"Image|", "BinaryData": r"True|False",
    "BinaryDataByteOrderMSB": r"True|False", "ElementByteOrderMSB": r"True|False", "CompressedData": r"True|False",
    "ElementType": r"MET_\w+", "Modality": r"MET_MOD_\w+", "AnatomicalOrientation": r"[A-Z?]{1,3}",
    "DistanceUnits": r"\w{1,2}", "ITK_InputFilterName": r"\w{1,30}ImageIO", "ITK_VoxelUnits": r"\w{1,2}",
    "qform_code_name": r"NIFTI_XFORM_\w+", "sform_code_name": r"NIFTI_XFORM_\w+", "ITK_sform_corrected": r"YES|NO",
    "ElementDataFile": r".*",
}  # fmt: skip
_NIFTI_TEXTS = ("descrip", "aux_file", "intent_name", "db_name", "ITK_FileNotes")


def is_one(head: bytes) -> bool:
    return re.match(rb"\s*[A-Za-z]\w*\s*=", head) is not None and b"ElementDataFile" in head


def spots(file: IO[bytes]) -> list[Spot]:
    """The lines that are filled, each whole. Raises OddFormatError."""
    file.seek(0)
    header, at = file.read(LONGEST), 0
    found = []
    moved = re.search(rb"(?m)^\s*HeaderSize\s*=\s*[1-9]", header) is not None
    while True:
        end = header.find(b"\n", at) + 1
        line = header[at : end or len(header)].decode("latin-1").strip()
        key, equals, text = (part.strip() for part in line.partition("="))
        if words := _filled(key, equals, text):
            # With HeaderSize the data is found by counting bytes, so none may go.
            found.append(Spot(words, at, end, None if moved else b""))
        if key == "ElementDataFile":
            return found
        if not end:
            raise OddFormatError
        at = end


def _filled(key: str, equals: str, text: str) -> str:
    """The line's field in words, "" where it is empty or technical."""
    if not equals:
        return "a line without a name" if key else ""
    if not text:
        return ""
    if _NUMERIC.fullmatch(key):
        harmless = _NUMBERS.fullmatch(text) is not None
    elif key in _CHOICES:
        harmless = re.fullmatch(_CHOICES[key], text) is not None
    else:
        harmless = key in _NIFTI_TEXTS and is_technical(text)
    return "" if harmless else shown_key(key)
