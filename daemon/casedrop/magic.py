"""Whether a file begins as its extension says. Pure.

Only what is certain is told: beginnings by which readers themselves know a format. Sources: PNG specification 5.2,
ITU-T T.81 (SOI), TIFF 6.0 and BigTIFF, nifti1.h and nifti2.h (sizeof_hdr), MetaIO (MetaImage::CanRead looks for
NDims in the first 8000 bytes), the definition of NRRD, PKWARE's APPNOTE 4.3, RFC 1952, ISO/IEC 14496-12 (ftyp),
and for PDF what readers accept: %PDF within the first 1024 bytes.
"""

from collections.abc import Callable

from casedrop import gz, jpeg, nifti, nrrd, png

HEAD = 8000
"""Bytes from the start of a file that are enough."""

Begins = Callable[[bytes], bool]


def _is_tiff(head: bytes) -> bool:
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _is_zip(head: bytes) -> bool:
    return head[:4] in (b"PK\3\4", b"PK\5\6")


def _is_pdf(head: bytes) -> bool:
    return b"%PDF" in head[:1024]


def _is_metaimage(head: bytes) -> bool:
    return b"NDims" in head


def _is_mp4(head: bytes) -> bool:
    return head[4:8] == b"ftyp"


BEGINNINGS: dict[str, Begins] = {
    "PNG": png.is_one,
    "JPEG": jpeg.is_one,
    "TIFF": _is_tiff,
    "NIfTI": nifti.is_one,
    "NRRD": nrrd.is_one,
    "zip": _is_zip,
    "gzip": gz.is_one,
    "PDF": lambda head: head.startswith(b"%PDF-"),
    "MP4": _is_mp4,
    "MetaImage": lambda head: head.startswith((b"ObjectType =", b"NDims =")),
}
"""What a file may be taken for; none of these can begin another format here, nor a text."""

MUST: dict[tuple[str, ...], tuple[str, Begins]] = {
    (".png",): ("PNG", png.is_one),
    (".jpg", ".jpeg"): ("JPEG", jpeg.is_one),
    (".tif", ".tiff", ".svs", ".ndpi", ".scn", ".bif"): ("TIFF", _is_tiff),
    (".nii",): ("NIfTI", nifti.is_one),
    (".mha", ".mhd"): ("MetaImage", _is_metaimage),
    (".nrrd",): ("NRRD", nrrd.is_one),
    (".pdf",): ("PDF", _is_pdf),
    # ITK also reads a .nii.gz that was never packed: zlib passes it through.
    (".nii.gz",): ("gzip", lambda head: gz.is_one(head) or nifti.is_one(head)),
    (".gz", ".tgz"): ("gzip", gz.is_one),
}
"""Extensions of formats that have one beginning; the first that fits counts."""

MAY_NOT: dict[tuple[str, ...], str] = {
    (".zip",): "zip",
    (".mp4",): "MP4",
    (".json",): "JSON",
    (".csv",): "CSV",
    (".txt",): "text",
}
"""Extensions of formats that may begin in many ways, but not as another one."""


def mistaken(path: str, head: bytes) -> str:
    """The rest of a sentence that begins with the file; "" where nothing is wrong, or nobody can tell."""
    lower = path.lower()
    other = next((name for name, begins in BEGINNINGS.items() if begins(head)), "")
    for endings, (name, begins) in MUST.items():
        if lower.endswith(endings):
            return "" if begins(head) else _words(name, other)
    for endings, name in MAY_NOT.items():
        if lower.endswith(endings):
            return _words(name, other) if other not in ("", name) else ""
    return ""


def _words(name: str, other: str) -> str:
    article = "an" if other in ("MP4", "NRRD") else "a"
    return f"is no {name}; it begins as {article} {other}" if other else f"is no {name}, by how it begins"
