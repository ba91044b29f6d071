"""Which files a microscope slide of several files is made of, by its own text. Pure.

Sources: the keys by which the platform's importer finds them (panimg, image_builders/tiff.py: `mirax_pattern`,
`vms_pattern`), and those that OpenSlide reads a .vms or .vmu by (openslide-vendor-hamamatsu.c). Texts are read as
Latin-1, which loses no byte; names are UTF-8.
"""

import re
from collections.abc import Mapping
from contextlib import suppress

from casedrop.settle import composed

LINE = re.compile(
    r"(?m)^[^\S\r\n]*(?P<key>[A-Za-z_]\w*(?:\([\d,]*\))?)[^\S\r\n]*=[^\S\r\n]*(?P<value>[^\r\n]*)"
)
MIRAX = re.compile(r"INDEXFILE|FILE_\d+")
PIECES = re.compile(r"ImageFile(?:\([\d,]*\))?|MapFile|OptimisationFile")
PICTURES = re.compile(r"MacroImage|LabelImage|ThumbnailImage")
MEASURES = re.compile(
    r"No(?:Layers|JpegColumns|JpegRows)|BitsPerPixel|PixelOrder|Physical(?:Width|Height)|SourceLens"
    r"|LayerSpacing|[XY]OffsetFromSlideCentre"
)
MEASURED = re.compile(r"[0-9.,+-]*|rgb|bgr", re.IGNORECASE)
"""What is told of a slide beside its pieces, and how; any other line may hold what somebody has typed."""
SECTION = re.compile(r"(?m)^\[(?:Uncompressed )?Virtual Microscope Specimen\]")


def mirax(slidedat: bytes) -> tuple[str, ...]:
    """Names of the files beside Slidedat.ini that it is the list of."""
    return _values(slidedat, MIRAX)


def hamamatsu(head: bytes) -> tuple[str, ...]:
    """Names of the files beside a .vms or .vmu that it names."""
    return (*_values(head, PIECES), *pictures(head)) if _values(head, PIECES) else ()


def pictures(head: bytes) -> tuple[str, ...]:
    """Those of them that show the whole slide, with its label."""
    return _values(head, PICTURES)


def naming(head: bytes, names: Mapping[str, str]) -> str:
    """A .vms or .vmu that names its pieces anew (`names`, by composed name), and tells only measures else."""
    section = SECTION.search(head.decode("latin-1"))
    lines = [section[0]] if section else []
    for key, value in _lines(head):
        if PIECES.fullmatch(key) and composed(value) in names:
            lines.append(f"{key}={names[composed(value)]}")
        elif MEASURES.fullmatch(key) and MEASURED.fullmatch(value):
            lines.append(f"{key}={value}")
    return "".join(f"{line}\n" for line in lines)


def _values(content: bytes, keys: re.Pattern[str]) -> tuple[str, ...]:
    found = [value for key, value in _lines(content) if keys.fullmatch(key) and value]
    return tuple(dict.fromkeys(found))


def _lines(content: bytes) -> list[tuple[str, str]]:
    text = content.decode("latin-1").removeprefix("\xef\xbb\xbf")
    return [(one["key"], _utf8(one["value"].strip())) for one in LINE.finditer(text)]


def _utf8(value: str) -> str:
    with suppress(UnicodeDecodeError):
        return value.encode("latin-1").decode()
    return value
