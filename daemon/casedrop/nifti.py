"""The texts of NIfTI-1, NIfTI-2 and ANALYZE 7.5 headers. Pure.

Sources: nifti1.h and nifti2.h of the NIfTI standard, nifti1_io.h (codes of extensions), the ANALYZE 7.5 file
format (dsr.h). All spots keep their length.
"""

import math
import re
import struct
from typing import IO

from casedrop.spots import OddFormatError, Spot, is_technical_field, read_at

NIFTI1 = {"data_type": (4, 10), "db_name": (14, 18), "descrip": (148, 80), "aux_file": (228, 24)}
INTENT = {"intent_name": (328, 16)}
ANALYZE = {
    "generated": (263, 10), "scannum": (273, 10), "patient_id": (283, 10), "exp_date": (293, 10),
    "exp_time": (303, 10),
}  # fmt: skip
NIFTI2 = {"descrip": (240, 80), "aux_file": (320, 24), "intent_name": (508, 16), "unused_str": (525, 15)}
EXTENSIONS = {
    0: "unknown", 2: "DICOM", 4: "AFNI", 6: "comment", 8: "XCEDE", 10: "JIM", 14: "FreeSurfer", 16: "Python",
    18: "MIND", 30: "VoxBo", 32: "CIFTI", 38: "Eval", 40: "Matlab", 42: "Quantiphyse", 44: "MRS",
}  # fmt: skip
MOST = 64 << 20
"""Bytes of extensions that are looked at."""

_WORDS = {
    "data_type": rb"u?int\d*|short|float\d*|double|rgb\d*|complex\d*|char|dsr *",
    "intent_name": rb"Label|Warp|Vector|Tensor|Conn(Dense|Parcel)\w*",
    "aux_file": rb"Red-Yellow|Blue-Lightblue|MGH-(Cortical|Subcortical)|Greyscale|Render[123]t?",
}


def spots(file: IO[bytes]) -> list[Spot]:
    """What is filled. Raises OddFormatError."""
    size, order = _size(read_at(file, 0, 4))
    header = read_at(file, 0, size)
    if size == 540:
        fields, start = NIFTI2, struct.unpack(f"{order}q", header[168:176])[0]
    else:
        is_nifti = header[344:347] in (b"n+1", b"ni1")
        fields = NIFTI1 | (INTENT if is_nifti else ANALYZE)
        start = _whole(*struct.unpack(f"{order}f", header[108:112])) if is_nifti else 0
    found = [
        Spot(name, at, at + length, bytes(length))
        for name, (at, length) in fields.items()
        if not _is_harmless(name, header[at : at + length])
    ]
    return found + _extensions(file, size, start, order)


def is_one(head: bytes) -> bool:
    """Whether a file that begins so has such a header."""
    return head[:4] in {struct.pack(f"{order}i", size) for order in "<>" for size in (348, 540)}


def _size(first: bytes) -> tuple[int, str]:
    for order in "<>":
        (size,) = struct.unpack(f"{order}i", first)
        if size in (348, 540):
            return size, order
    raise OddFormatError


def _whole(offset: float) -> int:
    if not math.isfinite(offset):
        raise OddFormatError
    return int(offset)


def _is_harmless(name: str, raw: bytes) -> bool:
    known = re.fullmatch(_WORDS.get(name, b""), raw.rstrip(b"\0 "))
    return known is not None or is_technical_field(raw)


def _extensions(file: IO[bytes], size: int, start: int, order: str) -> list[Spot]:
    """All between the header and the voxels in one spot: the extender and what it announces become zeros."""
    if start <= size:
        return []
    if start - size > MOST:
        return [Spot("header extensions", size, start, None)]
    between = read_at(file, size, start - size)
    if not any(between):
        return []
    kinds = ", ".join(_kinds(between[4:], order)) or "unknown"
    return [Spot(f"header extensions ({kinds})", size, start, bytes(start - size))]


def _kinds(extensions: bytes, order: str) -> list[str]:
    found = []
    while len(extensions) >= 8:
        length, code = struct.unpack(f"{order}2i", extensions[:8])
        if length < 8:
            break
        found.append(EXTENSIONS.get(code, str(code)))
        extensions = extensions[length:]
    return list(dict.fromkeys(found))
