"""DICOM files as scanners write them, made with pydicom: small pixels, whole headers."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "SR": "1.2.840.10008.5.1.4.1.1.88.11",
    "KO": "1.2.840.10008.5.1.4.1.1.88.59",
    "PR": "1.2.840.10008.5.1.4.1.1.11.1",
    "DOC": "1.2.840.10008.5.1.4.1.1.104.1",
    "RTSTRUCT": "1.2.840.10008.5.1.4.1.1.481.3",
}
"""Modality and its usual storage class (PS3.4, B.5)."""

ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
SIDE = 8


def data_set(modality: str = "CT", **elements: Any) -> Dataset:
    """One object: an image of 8 x 8 pixels unless the modality has none; elements by keyword over it.

    An element of None is taken away.
    """
    made = Dataset()
    made.SOPClassUID = CLASSES.get(modality, CLASSES["CT"])
    made.SOPInstanceUID = generate_uid()
    made.Modality = modality
    made.PatientName, made.PatientID, made.PatientBirthDate = "Doe^Jane", "4711", "19500102"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3.1", "1.2.3.1.1"
    made.FrameOfReferenceUID = "1.2.3.9"
    made.SeriesNumber, made.InstanceNumber = 3, 1
    made.SeriesDescription = "Thorax 1.0"
    made.AcquisitionDate, made.AcquisitionTime = "20260102", "101112"
    if modality in ("CT", "MR", "US"):
        _pixels(made)
    if modality in ("CT", "MR"):
        made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        made.ImagePositionPatient, made.ImageOrientationPatient = [-10, -20, 0], [1, 0, 0, 0, 1, 0]
        made.PixelSpacing, made.SliceThickness = [0.7, 0.7], 2.5
    for keyword, value in elements.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return made


def _pixels(made: Dataset) -> None:
    made.Rows = made.Columns = SIDE
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
    made.PixelData = bytes(range(SIDE * SIDE * 2))


def slices(count: int, modality: str = "CT", step: float = 2.5, **elements: Any) -> Iterator[Dataset]:
    """A series of `count` slices that lie `step` mm apart along z."""
    for number in range(count):
        made = data_set(modality, **copy.deepcopy(elements))
        if "InstanceNumber" not in elements:
            made.InstanceNumber = number + 1
        if "ImagePositionPatient" in made and "ImagePositionPatient" not in elements:
            made.ImagePositionPatient = [-10, -20, number * step]
        yield made


def write(path: Path, made: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Path:
    """As a file with preamble and meta information (PS3.10, 7.1)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.get("SOPClassUID", CLASSES["CT"])
    made.file_meta.MediaStorageSOPInstanceUID = made.get("SOPInstanceUID", generate_uid())
    pydicom.dcmwrite(path, made, enforce_file_format=True)
    return path


def write_series(
    folder: Path, count: int, modality: str = "CT", step: float = 2.5, **elements: Any
) -> list[Path]:
    """Files IM0001 … without extension, as a PACS exports them."""
    made = slices(count, modality, step, **elements)
    return [write(folder / f"IM{number:04}", one) for number, one in enumerate(made, 1)]


def sample(name: str) -> Path:
    """One of those that come with pydicom itself; none is downloaded."""
    path = Path(pydicom.__file__).parent / "data" / "test_files" / name
    assert path.exists(), name
    return path
