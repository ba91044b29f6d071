"""What the header of an image file says of its size: MetaImage, NIfTI-1, PNG, JPEG.

Sources: the MetaIO format documentation, the NIfTI-1 standard (nifti1.h), the PNG specification (IHDR),
ITU-T T.81 (start of frame).
"""

import struct
import zlib

from casedrop.model import Geometry

HEAD = 1 << 18
"""How many bytes from the start of a file are enough."""


def geometry(name: str, head: bytes) -> Geometry | None:
    """From the first HEAD bytes; None where the format is another, damaged, or not two or three axes."""
    lower = name.lower()
    try:
        if lower.endswith((".mha", ".mhd")):
            return _metaimage(head)
        if lower.endswith(".nii.gz"):
            return _nifti(zlib.decompressobj(wbits=31).decompress(head, 1024))
        if lower.endswith(".nii"):
            return _nifti(head)
        if lower.endswith(".png"):
            return _png(head)
        if lower.endswith((".jpg", ".jpeg")):
            return _jpeg(head)
    except (ValueError, KeyError, IndexError, struct.error, zlib.error):
        pass
    return None


def _metaimage(head: bytes) -> Geometry | None:
    fields = {}
    for line in head.split(b"\n"):
        key, found, text = line.decode("latin-1").partition("=")
        if not found:
            return None
        fields[key.strip()] = text.split()
        if key.strip() == "ElementDataFile":
            break
    spacing = fields.get("ElementSpacing") or fields.get("ElementSize") or []
    return _axes([int(n) for n in fields["DimSize"]], [abs(float(mm)) for mm in spacing])


def _nifti(head: bytes) -> Geometry | None:
    order = "<" if struct.unpack("<i", head[:4]) == (348,) else ">"
    if struct.unpack(f"{order}i", head[:4]) != (348,):
        return None
    axes, *dims = struct.unpack(f"{order}8h", head[40:56])
    spacing = struct.unpack(f"{order}8f", head[76:108])[1:]
    scale = {1: 1000.0, 2: 1.0, 3: 0.001}.get(head[123] & 7, 1.0)
    return _axes(dims[:axes], [abs(mm) * scale for mm in spacing[:axes]])


def _png(head: bytes) -> Geometry | None:
    if head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        return None
    return _axes(list(struct.unpack(">II", head[16:24])), [])


def _jpeg(head: bytes) -> Geometry | None:
    at = 2
    while head[:2] == b"\xff\xd8" and head[at] == 0xFF:
        marker, length = head[at + 1], struct.unpack(">H", head[at + 2 : at + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return _axes([width, height], [])
        at += 2 + length
    return None


def _axes(size: list[int], spacing: list[float]) -> Geometry | None:
    """Two or three axes; a two-dimensional image has no depth to compare."""
    while len(size) > 3 and size[-1] == 1:
        size = size[:-1]
    if len(size) not in (2, 3):
        return None
    depth = size[2] if len(size) == 3 else None
    x, y, z = (*spacing, None, None, None)[:3]
    return Geometry((int(size[0]), int(size[1]), depth), (x, y, z if depth is not None else None))


def same(sent: Geometry, held: Geometry) -> bool:
    """Whether what the platform holds is what was sent, as far as both say."""
    pairs = [*zip(sent.size, held.size, strict=True), *zip(sent.voxel_mm, held.voxel_mm, strict=True)]
    return all(a is None or b is None or abs(a - b) <= max(abs(a), abs(b)) * 1e-3 for a, b in pairs)
