"""The fields of a MetaImage header (.mha, .mhd). Pure.

Source: the MetaIO documentation (tags of MetaObject and MetaImage); ITK adds a line for each entry of an image's
dictionary, be it of a DICOM header. All that is not known to be technical is a line to leave out.
"""

import re
from typing import IO

from casedrop.dictionary import is_harmless
from casedrop.spots import OddFormatError, Spot, shown_key

LONGEST = 1 << 20
"""Bytes of a header."""
_MOVED = re.compile(rb"(?m)^[ \t\r]*HeaderSize\s*=\s*[1-9]")
"""Blanks within the line alone: voxels that are all line ends stand behind many headers."""


def is_one(head: bytes) -> bool:
    return re.match(rb"\s*[A-Za-z]\w*\s*=", head) is not None and b"ElementDataFile" in head


def spots(file: IO[bytes]) -> list[Spot]:
    """The lines that are filled, each whole. Raises OddFormatError."""
    file.seek(0)
    header, at = file.read(LONGEST), 0
    found: list[tuple[str, int, int]] = []
    while True:
        end = header.find(b"\n", at) + 1
        line = header[at : end or len(header)].decode("latin-1").strip()
        key, equals, text = (part.strip() for part in line.partition("="))
        if key == "ElementDataFile" and equals:
            # With HeaderSize the data is found by counting bytes, so none may go.
            without = None if _MOVED.search(header, 0, at) else b""
            return [Spot(*one, without) for one in found]
        if not end:
            raise OddFormatError
        if words := _filled(key, equals, text):
            found.append((words, at, end))
        at = end


def _filled(key: str, equals: str, text: str) -> str:
    """The line's field in words, "" where it is empty or technical."""
    if not equals:
        return "a line without a name" if key else ""
    return "" if is_harmless(key, text) else shown_key(key)
