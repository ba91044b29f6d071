"""What the headers of MetaImage, NIfTI and NRRD say of the voxels: their grid, type, and where they stand. Pure.

Sources: the MetaIO documentation and ITK's MetaImageIO (rows of TransformMatrix are the axes, all is LPS),
nifti1.h and nifti2.h (RAS; qform and sform), the definition of NRRD, sections 3 to 7.
"""

import math
import re
import struct
import zlib
from dataclasses import dataclass, replace
from typing import Any

from casedrop import gz, headers
from casedrop.grids import Grid, Grids

HEAD = headers.HEAD
"""Bytes from the start of a file that are looked at; a longer header says nothing."""

FROM_THE_END = -1
"""For a start: the data are the last bytes of their file."""


@dataclass(frozen=True, slots=True)
class Volume:
    """`size` bytes of voxels begin at byte `start` of their file (None: they cannot be found by counting bytes).

    `packed` says that they stand there as gzip or zlib. `code` is struct's letter of a voxel that means what it
    is, "" where it is scaled, has several parts or is of another type; `order` is "<" or ">".
    """

    grids: Grids
    size: int = 0
    start: int | None = None
    packed: bool = False
    code: str = ""
    order: str = "<"


def volume(path: str, head: bytes) -> Volume | None:
    """By the first HEAD bytes of a file; None where it is of another format, damaged, or says too little."""
    lower = path.lower()
    try:
        if lower.endswith((".mha", ".mhd")):
            return _metaimage(head, apart=lower.endswith(".mhd"))
        if lower.endswith(".nii"):
            return _nifti(head)
        if lower.endswith(".nii.gz"):
            return _nifti(unpacked_head(head))
        if lower.endswith(".nrrd"):
            return _nrrd(head)
        if found := headers.geometry(path, head):
            return Volume((Grid(tuple(count for count in found.size if count is not None)),))
    except (ValueError, KeyError, IndexError, OverflowError, struct.error, zlib.error):
        pass
    return None


def unpacked_head(head: bytes) -> bytes:
    """The same of a file that may be packed by gzip. Raises zlib.error."""
    return zlib.decompressobj(wbits=31).decompress(head, HEAD) if gz.is_one(head) else head


_META_CODES = {
    "MET_CHAR": "b", "MET_UCHAR": "B", "MET_SHORT": "h", "MET_USHORT": "H", "MET_INT": "i", "MET_UINT": "I",
    "MET_LONG": "i", "MET_ULONG": "I", "MET_LONG_LONG": "q", "MET_ULONG_LONG": "Q", "MET_FLOAT": "f",
    "MET_DOUBLE": "d",
}  # fmt: skip


def _metaimage(head: bytes, *, apart: bool) -> Volume | None:
    """`apart` says that the voxels are another file, which is the only one that may lie beside its header."""
    fields: dict[str, str] = {}
    at = 0
    while "ElementDataFile" not in fields:
        end = head.find(b"\n", at) + 1 or len(head)
        key, equals, text = head[at:end].decode("latin-1").partition("=")
        if not equals:
            return None
        fields[key.strip()] = text.strip()
        at = end
    size = tuple(map(int, fields["DimSize"].split()))
    found = Volume((_meta_grid(size, fields),))
    code = _META_CODES.get(fields.get("ElementType", ""), "")
    parts = int(fields.get("ElementNumberOfChannels", "1"))
    if not code or not _true(fields.get("BinaryData", "True")) or min(*size, parts) < 1:
        return found
    big = _true(fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")))
    return replace(
        found,
        size=math.prod(size) * parts * struct.calcsize(f"<{code}"),
        start=_meta_start(fields, None if apart else at),
        packed=_true(fields.get("CompressedData", "False")),
        code=code if parts == 1 else "",
        order=">" if big else "<",
    )


def _true(text: str) -> bool:
    return text[:1] in ("T", "t", "1")


def _meta_start(fields: dict[str, str], behind: int | None) -> int | None:
    """`behind` is where the header ends that has its voxels behind it."""
    skipped = int(fields.get("HeaderSize", "0"))
    is_local = fields["ElementDataFile"].upper() == "LOCAL"
    is_packed = _true(fields.get("CompressedData", "False"))
    if is_local is (behind is None) or skipped < FROM_THE_END or (skipped and (is_local or is_packed)):
        return None
    return behind if is_local else skipped


def _meta_grid(size: tuple[int, ...], fields: dict[str, str]) -> Grid:
    def numbers(*names: str) -> tuple[float, ...] | None:
        found = next((fields[name] for name in names if name in fields), "")
        return tuple(map(float, found.split())) or None

    count = len(size)
    spacing = numbers("ElementSpacing", "ElementSize")
    origin = numbers("Offset", "Origin", "Position")
    matrix = numbers("TransformMatrix", "Rotation", "Orientation")
    axes = None
    if matrix and len(matrix) == count * count:
        axes = tuple(matrix[n * count : (n + 1) * count] for n in range(count))
    return Grid(size, tuple(map(abs, spacing)) if spacing else None, origin, axes)


_NIFTI_CODES = {
    2: "B", 4: "h", 8: "i", 16: "f", 64: "d", 256: "b", 512: "H", 768: "I", 1024: "q", 1280: "Q",
}  # fmt: skip
_NIFTI1 = {
    "datatype": (70, "h"), "bitpix": (72, "h"), "dim": (40, "8h"), "pixdim": (76, "8f"), "offset": (108, "f"),
    "scale": (112, "2f"), "units": (123, "b"), "codes": (252, "2h"), "quaternion": (256, "6f"),
    "rows": (280, "12f"),
}  # fmt: skip
_NIFTI2 = {
    "datatype": (12, "h"), "bitpix": (14, "h"), "dim": (16, "8q"), "pixdim": (104, "8d"), "offset": (168, "q"),
    "scale": (176, "2d"), "units": (500, "i"), "codes": (344, "2i"), "quaternion": (352, "6d"),
    "rows": (400, "12d"),
}  # fmt: skip
_SINGLE = (b"n+1", b"n+2")
_MM = {1: 1000.0, 2: 1.0, 3: 0.001}


def _nifti(head: bytes) -> Volume | None:
    order = "<" if head[:4] in (b"\x5c\1\0\0", b"\x1c\2\0\0") else ">"
    (length,) = struct.unpack(f"{order}i", head[:4])
    if length not in (348, 540):
        return None
    layout = _NIFTI1 if length == 348 else _NIFTI2
    said = {name: struct.unpack_from(f"{order}{code}", head, at) for name, (at, code) in layout.items()}
    axes, *dims = said["dim"]
    size = tuple(map(int, dims[:axes]))
    if not size or min(size) < 1:
        return None
    magic = head[344:347] if length == 348 else head[4:7]
    bits = said["bitpix"][0]
    slope, inter = said["scale"]
    return Volume(
        _nifti_grids(size, said),
        size=math.prod(size) * bits // 8 if bits % 8 == 0 else 0,
        start=max(int(said["offset"][0]), length) if magic in _SINGLE else None,
        code="" if slope not in (0, 1) or (slope and inter) else _NIFTI_CODES.get(said["datatype"][0], ""),
        order=order,
    )


def _nifti_grids(size: tuple[int, ...], said: dict[str, tuple[Any, ...]]) -> Grids:
    """By each transform that is there: readers differ in which they prefer."""
    mm = _MM.get(said["units"][0] & 7, 1.0)
    spacing = tuple(abs(one) * mm for one in said["pixdim"][1:4])
    plain = Grid(size, spacing[: len(size)])
    if len(size) not in (2, 3) and max(size[3:], default=1) > 1:
        return (plain,)
    found = []
    by_quaternion, by_rows = said["codes"]
    if by_rows > 0:
        rows = [said["rows"][n : n + 4] for n in (0, 4, 8)]
        found.append(_lps(plain, tuple(zip(*rows, strict=True)), mm))
    if by_quaternion > 0:
        flip = -1.0 if said["pixdim"][0] < 0 else 1.0
        found.append(_lps(plain, (*_turned(said["quaternion"][:3], flip), said["quaternion"][3:]), mm))
    return tuple(found) or (plain,)


def _turned(quaternion: tuple[float, ...], flip: float) -> tuple[tuple[float, ...], ...]:
    """The three axes in RAS (nifti1.h, method 2)."""
    b, c, d = quaternion
    a = math.sqrt(max(1 - b * b - c * c - d * d, 0.0))
    return (
        (a * a + b * b - c * c - d * d, 2 * (b * c + a * d), 2 * (b * d - a * c)),
        (2 * (b * c - a * d), a * a + c * c - b * b - d * d, 2 * (c * d + a * b)),
        (flip * 2 * (b * d + a * c), flip * 2 * (c * d - a * b), flip * (a * a + d * d - b * b - c * c)),
    )


def _lps(plain: Grid, columns: tuple[tuple[float, ...], ...], mm: float) -> Grid:
    """Three axes and an origin in RAS, in any length."""
    *axes, origin = ((-one[0], -one[1], one[2]) for one in columns)
    return replace(
        plain,
        origin=tuple(number * mm for number in origin),
        axes=tuple(_unit(axis) for axis in axes),
    )


def _unit(vector: tuple[float, ...]) -> tuple[float, ...]:
    length = math.hypot(*vector) or 1.0
    return tuple(number / length for number in vector)


_NRRD_CODES = {
    "b": "signed char|int8|int8_t", "B": "uchar|unsigned char|uint8|uint8_t",
    "h": "short|short int|signed short|signed short int|int16|int16_t",
    "H": "ushort|unsigned short|unsigned short int|uint16|uint16_t", "i": "int|signed int|int32|int32_t",
    "I": "uint|unsigned int|uint32|uint32_t",
    "q": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "Q": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t", "f": "float", "d": "double",
}  # fmt: skip
_NRRD_SPACES = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1), "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1), "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
"""What makes their coordinates LPS."""


def _nrrd(head: bytes) -> Volume | None:
    blank = re.search(rb"\r?\n\r?\n", head)
    if head[:4] != b"NRRD" or blank is None:
        return None
    lines = head[: blank.start()].decode("latin-1").splitlines()[1:]
    pairs = (line.partition(": ") for line in lines if not line.startswith("#") and ":=" not in line)
    fields = {key.strip().lower().replace(" ", ""): text.strip() for key, _, text in pairs}
    size = tuple(map(int, fields["sizes"].split()))
    found = Volume((_nrrd_grid(size, fields),))
    names = ((code, known.split("|")) for code, known in _NRRD_CODES.items())
    code = next((code for code, known in names if fields["type"].lower() in known), "")
    encoding = fields["encoding"].lower()
    moved = any(fields.get(name, "0") != "0" for name in ("byteskip", "lineskip"))
    if not code or moved or "datafile" in fields or encoding not in ("raw", "gzip", "gz"):
        return found
    order = ">" if fields.get("endian", "little").lower() == "big" else "<"
    length = math.prod(size) * struct.calcsize(f"<{code}")
    return replace(found, size=length, start=blank.end(), packed=encoding != "raw", code=code, order=order)


def _nrrd_grid(size: tuple[int, ...], fields: dict[str, str]) -> Grid:
    """Of the axes that lie in space: one that counts colours or times has `none` for its direction."""
    if "spacedirections" not in fields:
        spacings = tuple(map(float, fields.get("spacings", "").split()))
        return Grid(
            size, spacings if len(spacings) == len(size) and not any(map(math.isnan, spacings)) else None
        )
    said = re.findall(r"none|\([^)]*\)", fields["spacedirections"])
    kept = [(count, _vector(text)) for count, text in zip(size, said, strict=True) if text != "none"]
    counts = tuple(count for count, _ in kept)
    spacing = tuple(math.hypot(*vector) for _, vector in kept)
    signs = _NRRD_SPACES.get(fields.get("space", "").lower())
    if signs is None or any(len(vector) != len(signs) for _, vector in kept):
        return Grid(counts, spacing)
    axes = tuple(_unit(_signed(vector, signs)) for _, vector in kept)
    origin = _signed(_vector(fields["spaceorigin"]), signs) if "spaceorigin" in fields else None
    return Grid(counts, spacing, origin, axes)


def _vector(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.strip("() ").split(",")))


def _signed(vector: tuple[float, ...], signs: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(number * sign for number, sign in zip(vector, signs, strict=True))
