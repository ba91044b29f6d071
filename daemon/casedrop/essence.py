"""What of a DICOM file makes its voxels mean something, and whether de-identifying left it alone. Pure.

Attributes: PS3.3, C.7.6.2 (image plane), C.7.6.3 (image pixel), C.7.6.16 (functional groups), C.11.1 and C.11.2
(modality and VOI LUT), C.8.5.5 (ultrasound regions).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pydicom import DataElement, Dataset

from casedrop.model import Geometry

PIXELS = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData"})
SHAPE = PIXELS | frozenset(
    "Rows Columns NumberOfFrames SamplesPerPixel PlanarConfiguration BitsAllocated BitsStored HighBit "
    "PixelRepresentation PhotometricInterpretation TotalPixelMatrixColumns TotalPixelMatrixRows "
    "ExtendedOffsetTable ExtendedOffsetTableLengths".split()
)
"""No procedure may touch these."""

SLICES = frozenset({"SpacingBetweenSlices", "SliceThickness"})
"""Of several slices, positions give the spacing."""

SIZE = SLICES | frozenset(
    "PixelSpacing ImagePositionPatient ImageOrientationPatient ImagerPixelSpacing NominalScannedPixelSpacing "
    "PixelAspectRatio ImagedVolumeWidth ImagedVolumeHeight ImagedVolumeDepth PhysicalDeltaX PhysicalDeltaY "
    "PhysicalUnitsXDirection PhysicalUnitsYDirection ImagePositionVolume ImageOrientationVolume "
    "GridFrameOffsetVector".split()
)
VALUES = frozenset(
    "RescaleSlope RescaleIntercept LUTData LUTDescriptor PixelPaddingValue DoseGridScaling "
    "RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor "
    "BluePaletteColorLookupTableDescriptor RedPaletteColorLookupTableData GreenPaletteColorLookupTableData "
    "BluePaletteColorLookupTableData SegmentedRedPaletteColorLookupTableData "
    "SegmentedGreenPaletteColorLookupTableData SegmentedBluePaletteColorLookupTableData".split()
)
NOTED = frozenset(
    "SliceLocation RescaleType WindowCenter WindowWidth LossyImageCompression LossyImageCompressionRatio "
    "LossyImageCompressionMethod ICCProfile".split()
)
"""Their loss is only written down."""

APART = 1e-3
"""mm between two slices, below which they lie at one place; and how far of straight a stack may be."""

TURNED = 1e-4
"""By how much a direction cosine may differ within a stack."""

NEUTRAL = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}
WANTED = SHAPE | SIZE | VALUES | NOTED

Essence = dict[tuple[str | int, ...], Any]
"""Where an attribute stands (keywords and item numbers, outermost first) to its value."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Keywords of what de-identifying took away or changed, by what that means."""

    shape: tuple[str, ...] = ()
    size: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Slice:
    """One file as part of a stack: pixels, mm, and direction cosines; None where it says no such thing."""

    rows: int
    columns: int
    frames: int = 1
    spacing: tuple[float, ...] | None = None
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None


def essence(dataset: Dataset) -> Essence:
    return dict(_found(dataset, ()))


def losses(before: Essence, after: Essence, *, alone: bool) -> Losses:
    """What is no longer there or another. `alone`: no other slice tells how thick this one is."""
    gone = {place for place, value in before.items() if after.get(place) != value}
    kinds: dict[str, set[str]] = {"shape": set(), "size": set(), "values": set(), "harmless": set()}
    for place in gone | (after.keys() - before.keys()):
        kinds[_kind(str(place[-1]), before.get(place), alone=alone)].add(str(place[-1]))
    return Losses(**{kind: tuple(sorted(names)) for kind, names in kinds.items()})


def as_slice(found: Essence) -> Slice:
    def numbers(keyword: str, count: int) -> tuple[float, ...] | None:
        value = found.get((keyword,))
        return value if isinstance(value, tuple) and len(value) == count else None

    def whole(keyword: str, otherwise: int) -> int:
        value = found.get((keyword,))
        return int(value[0]) if isinstance(value, tuple) and len(value) == 1 else otherwise

    return Slice(
        whole("Rows", 0),
        whole("Columns", 0),
        whole("NumberOfFrames", 1),
        numbers("PixelSpacing", 2),
        numbers("ImagePositionPatient", 3),
        numbers("ImageOrientationPatient", 6),
    )


def stack(slices: Sequence[Slice]) -> Geometry | None:
    """The image that single-frame slices of one orientation become; None where it is not that simple.

    PixelSpacing is row spacing (y) first (PS3.3, 10.7.1.3).
    """
    first = slices[0]
    alike = {(one.rows, one.columns, one.frames, one.spacing) for one in slices}
    if len(alike) > 1 or first.frames != 1 or not first.rows or not first.columns or not first.spacing:
        return None
    y, x = first.spacing
    if len(slices) == 1:
        return Geometry((first.columns, first.rows, None), (x, y, None))
    depth = _spacing(slices)
    return Geometry((first.columns, first.rows, len(slices)), (x, y, depth)) if depth else None


def _spacing(slices: Sequence[Slice]) -> float | None:
    """Mean mm between slices that lie straight behind each other, each at a place of its own."""
    normal = _normal(slices[0].orientation)
    if normal is None or any(not _parallel(one.orientation, slices[0].orientation) for one in slices):
        return None
    positions = [one.position for one in slices if one.position is not None]
    places = sorted((_dot(position, normal), position) for position in positions)
    if len(places) != len(slices) or any(after[0] - before[0] < APART for before, after in pairwise(places)):
        return None
    along = places[-1][0] - places[0][0]
    straight = [last - start for last, start in zip(places[-1][1], places[0][1], strict=True)]
    sideways = _dot(straight, straight) - along**2
    return along / (len(slices) - 1) if sideways < (APART * along) ** 2 else None


def _normal(orientation: tuple[float, ...] | None) -> tuple[float, float, float] | None:
    if orientation is None:
        return None
    a, b, c, d, e, f = orientation
    return b * f - c * e, c * d - a * f, a * e - b * d


def _parallel(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    if one is None or other is None:
        return False
    return all(abs(a - b) < TURNED for a, b in zip(one, other, strict=True))


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _found(dataset: Dataset, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    for element in dataset:
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                yield from _found(item, (*place, element.keyword, number))
        elif element.keyword in WANTED and not element.is_empty:
            yield (*place, element.keyword), _value(element)


def _value(element: DataElement) -> Any:
    """Numbers as floats, so that another way to write them is no other value."""
    if isinstance(element.value, bytes):
        return element.value
    values = element.value if element.VM > 1 else [element.value]
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError):
        return tuple(str(value) for value in values)


def _kind(keyword: str, before: Any, *, alone: bool) -> str:
    if keyword in SHAPE:
        return "shape"
    if keyword in SLICES:
        return "size" if alone else "harmless"
    if keyword in SIZE:
        return "size"
    if keyword in VALUES and before != (NEUTRAL.get(keyword),):
        return "values"
    return "harmless"
