"""What the importer makes of DICOM: one image of one series, bare or in a zip (CONTRACT, Images)."""

import io
import zipfile
from pathlib import Path
from typing import IO

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from casedrop.model import Geometry
from casedrop.slices import Slice, stack


def image_of(path: Path) -> tuple[Geometry, str] | None:
    """The image and its StudyInstanceUID; None where the file holds no DICOM, or not one whole series."""
    try:
        with path.open("rb") as file:
            found = [one for one in map(_read, _members(file)) if one]
    except (InvalidDicomError, zipfile.BadZipFile, EOFError):
        return None
    if len({one.SeriesInstanceUID for one in found}) != 1 or not all(map(_is_whole, found)):
        return None
    shape = _shape(found)
    return (shape, str(found[0].StudyInstanceUID)) if shape else None


def _members(file: IO[bytes]) -> list[bytes]:
    if not zipfile.is_zipfile(file):
        file.seek(0)
        return [file.read()]
    with zipfile.ZipFile(file) as packed:
        return [packed.read(name) for name in packed.namelist()]


def _read(data: bytes) -> Dataset | None:
    """A file that is no DICOM is passed over, as the importer does."""
    try:
        return dcmread(io.BytesIO(data))
    except InvalidDicomError:
        return None


def _is_whole(one: Dataset) -> bool:
    if one.file_meta.TransferSyntaxUID.is_compressed:
        return True
    frames = int(one.get("NumberOfFrames") or 1)
    return bool(len(one.PixelData) * 8 >= one.Rows * one.Columns * one.BitsAllocated * frames)


def _shape(found: list[Dataset]) -> Geometry | None:
    first = found[0]
    frames = int(first.get("NumberOfFrames") or 1)
    if len(found) == 1 and frames > 1:
        return Geometry((first.Columns, first.Rows, frames), (None, None, None))
    return stack([_slice(one) for one in found]) or Geometry(
        (first.Columns, first.Rows, len(found)), (None, None, None)
    )


def _slice(one: Dataset) -> Slice:
    spacing, position, orientation = (
        tuple(map(float, value)) if (value := one.get(keyword)) else None
        for keyword in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
    )
    return Slice(one.Rows, one.Columns, 1, spacing, position, orientation)
