"""Places in an image file whose text may name somebody, and which texts are only technical. Pure."""

import re
from dataclasses import dataclass
from typing import IO

LONGEST = 1 << 20
"""Bytes of a text that are looked at; a longer one is taken for filled."""
FARTHEST = 1 << 43
"""No file reaches this far, and not every file system can be asked for what lies behind."""
LONGEST_TECHNICAL = 500
"""Characters of a text that only tells a program or a measurement."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Bytes [start, end) of a file, and what stands there in a copy without them.

    `words` names the field in the format's own words, never its text; "" for what belongs to another spot.
    `instead` is None where the image would not be the same without these bytes.
    """

    words: str
    start: int
    end: int
    instead: bytes | None = b""


class OddFormatError(Exception):
    """The file is not built as its format says: what is in it cannot be told."""


def read_at(file: IO[bytes], start: int, count: int) -> bytes:
    """Exactly these bytes. Raises OddFormatError where the file ends before, or can have no such bytes."""
    if not 0 <= start <= start + count <= FARTHEST:
        raise OddFormatError
    file.seek(start)
    found = file.read(count)
    if len(found) != count:
        raise OddFormatError
    return found


def shown_key(key: str) -> str:
    """A field's name as people may see it: a longer or odder one may be a text of its own."""
    return key if re.fullmatch(r"[A-Za-z0-9_|.\[\] -]{1,40}", key) else "a field with an odd name"


_VERSION = r"[ ,/_-]*\(?(version|ver|v|build|release|cc|cs)?[ .]?\d[\w.+-]{0,30}\)?"
_TOOLS = (
    "adobe photoshop", "adobe imageready", "afni", "ants", "aperio image library", "c3d", "convert3d", "dcm2niix",
    "fiji", "freesurfer", "fsl", "fslmaths", "gimp", "imagej", "imagemagick", "inkscape", "insighttoolkit", "itk",
    "itk-snap", "lavc", "libpng", "libtiff", "libvips", "matplotlib", "mricrogl", "mricron", "mrtrix", "nibabel",
    "nilearn", "openslide", "paint.net", "pil", "pillow", "python imaging library", "qupath", "scikit-image",
    "simpleitk", "slicer", "spm", "tifffile", "tifffile.py", "www.inkscape.org",
)  # fmt: skip
_TOOL = re.compile(
    rf"(created (with|by) |written by )?(the )?({'|'.join(map(re.escape, _TOOLS))})"
    rf"({_VERSION}){{0,3}}( \((windows|macintosh|linux)\))?(, https?://(www\.)?[a-z]+\.(org|net|com)/?)?\.?",
    re.IGNORECASE,
)
_NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
_MEASURED = re.compile(
    rf"(\??(TE|TR|TI|FA|Time|PE|phase|mb|dwell|echo|dTE|EchoTime|ETL|TA)[=:]{_NUMBER}(ms|s)?[;, ]*)+"
)
_KNOWN = re.compile(
    r"none|unused|nifti-?1? image|spm compatible|spm - (3d normalized|algebra|realigned|coregistered)|"
    r"creator: gd-jpeg v[\d.]+ \(using ijg jpeg v\d+\)(, (default quality|quality = \d+))?\n?|"
    r"lead technologies inc\. v[\d.]+|lavc\d+[\d.]*|freesurfer \w{3} +\d+ \d{4}",
    re.IGNORECASE,
)


def is_technical(text: str) -> bool:
    """Whether a text only says which program made the image, or how it was measured."""
    bare = text.strip(" \t\r\n\0")
    if len(bare) > LONGEST_TECHNICAL:
        return False
    return not bare or any(pattern.fullmatch(bare) for pattern in (_TOOL, _MEASURED, _KNOWN))


def is_technical_field(raw: bytes) -> bool:
    """The same of a field of fixed length: what stands behind a NUL counts too."""
    return all(is_technical(part.decode("latin-1")) for part in raw.split(b"\0"))
