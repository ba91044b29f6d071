"""What image files say beside the image, found and taken out. Pure.

Only what may name somebody counts: a text that tells the program that wrote the file or how the image was measured
does not. Dates and times of day do, and so does everything a person may have typed.
"""

import errno
import gzip
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, cast

from casedrop import gz, jpeg, metaimage, nifti, nrrd, png, tiff
from casedrop.edited import CHUNK, Edited
from casedrop.spots import OddFormatError, Spot

HEAD = 1 << 16
"""Bytes that tell a format."""
OCT = b"FOCT"
"""Topcon's .fda and .fds files begin so; they hold a record of the patient by their format."""
LEVEL = 1
"""As nibabel packs: a copy is made once to be summed and once to be sent."""

ZIP = b"PK\x03\x04"
MOST_MEMBERS = 100_000
OF_THE_FILE = (None, errno.EINVAL)
"""What an OSError says that no disk has raised: an unpacker's own, or a place that no file has."""

FORMATS = (png, jpeg, tiff, nrrd, nifti, metaimage)
UNPACKED = (nrrd, nifti, metaimage)
"""Formats that come in gzip: their texts are in front."""


@dataclass(frozen=True, slots=True)
class Found:
    """The spots of a file, `packed` where they are those of what its gzip holds.

    `odd` tells a file that is not built as its format says, so that nobody knows what is in it, `cut` one that
    ends too early. `neutral` says that the spots are only a file's name, which is never sent.
    """

    spots: tuple[Spot, ...] = ()
    packed: bool = False
    odd: bool = False
    neutral: bool = False
    cut: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(spot.words for spot in self.spots if spot.words))

    @property
    def fixed(self) -> tuple[str, ...]:
        """What cannot be taken out."""
        ordered = sorted(self.spots, key=lambda spot: spot.start)
        if any(before.end > after.start for before, after in pairwise(ordered)):
            return self.words
        return tuple(spot.words for spot in self.spots if spot.instead is None)


def find(file: IO[bytes]) -> Found:
    """What of this file may name somebody; nothing where it is of no format that is known here.

    Raises OSError where the disk does. Whatever else goes wrong is the file's: a folder whose file surprises a
    reader would else wait for ever.
    """
    try:
        return _find(file)
    except OSError as error:
        if error.errno not in OF_THE_FILE:
            raise
    except Exception:  # noqa: BLE001, S110
        pass
    return Found(odd=True)


def _find(file: IO[bytes]) -> Found:
    file.seek(0)
    head = file.read(HEAD)
    if head[:4] == OCT:
        return Found((Spot("the patient's record", 0, 0, None),))
    if gz.is_one(head):
        return _find_packed(file, head)
    if head[:4] == ZIP:
        return _find_zipped(file)
    return Found(tuple(spot for one in FORMATS if one.is_one(head) for spot in one.spots(file)))


BROKEN = (gzip.BadGzipFile, zlib.error, EOFError)
"""What a gzip raises that is damaged or cut off."""


def _find_packed(file: IO[bytes], packed_head: bytes) -> Found:
    """The header of the gzip itself is a local edit; what it holds must be packed anew."""
    outside = gz.spots(packed_head)
    file.seek(0)
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            head = unpacked.read(HEAD)
            spots = [spot for one in UNPACKED if one.is_one(head) for spot in one.spots(unpacked)]
    except BROKEN as broken:
        return Found(odd=True, cut=isinstance(broken, EOFError))
    if not spots:
        return Found(tuple(outside), neutral=True)
    return Found(tuple(spots), packed=True)


def _find_zipped(file: IO[bytes]) -> Found:
    """What is in a zip is sent as it is: nothing is taken out of it. Archives in archives are not looked into.

    A zip that cannot be read says nothing here: watch.is_dicom has it refused.
    """
    try:
        with zipfile.ZipFile(file) as packed:
            members = [one for one in packed.infolist() if not one.is_dir()][:MOST_MEMBERS]
            said = dict.fromkeys(words for one in members for words in _member_words(packed, one))
    except (*BROKEN, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError):
        return Found()
    return Found(tuple(Spot(f"in the zip, {words}", 0, 0, None) for words in said))


def _member_words(packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[str, ...]:
    with packed.open(member) as file:
        if file.read(4) == ZIP:
            return ()
        found = find(file)
    if found.odd:
        raise OddFormatError
    return () if found.neutral else found.words


def packed_anew(file: IO[bytes], found: Found) -> Iterator[bytes]:
    """The gzip of what `file` holds without its spots: the same bytes at any time, with the same zlib.

    Raises BROKEN.
    """
    file.seek(0)
    packing = zlib.compressobj(LEVEL, wbits=31)
    with gzip.GzipFile(fileobj=file) as unpacked, Edited(cast("IO[bytes]", unpacked), found.spots) as edited:
        while chunk := edited.read(CHUNK):
            yield packing.compress(chunk)
    yield packing.flush()
