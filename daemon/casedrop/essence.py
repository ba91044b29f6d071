"""What of a DICOM file makes its voxels mean something, and whether de-identifying left it alone. Pure.

Attributes: PS3.3, C.7.6.2 (image plane), C.7.6.3 (image pixel), C.7.6.16 (functional groups), C.11.1 and C.11.2
(modality and VOI LUT), C.8.5.5 (ultrasound regions).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.tag import BaseTag

from casedrop.slices import Slice

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

ASIDE = frozenset({"IconImageSequence", "OriginalAttributesSequence"})
"""They speak of another image: a thumbnail, or what this one was before."""

NEUTRAL = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}

Place = tuple[str | int, ...]
"""Where an attribute stands: keywords and item numbers, outermost first."""

Essence = dict[Place, Any]


@dataclass(frozen=True, slots=True)
class Losses:
    """Keywords of what de-identifying took away or changed, by what that means."""

    shape: tuple[str, ...] = ()
    size: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()


def tags(keywords: Iterable[str]) -> frozenset[int]:
    return frozenset(tag for tag in map(tag_for_keyword, keywords) if tag is not None)


WANTED_TAGS = tags(SHAPE | SIZE | VALUES | NOTED)


def essence(dataset: Dataset) -> Essence:
    found = elements(dataset, WANTED_TAGS)
    return {
        place: _value(element)
        for place, element in found
        if not (ASIDE.intersection(place) or element.tag.is_private or element.is_empty)
    }


def elements(
    dataset: Dataset, tags: frozenset[int], vrs: frozenset[str] = frozenset(), place: Place = ()
) -> Iterator[tuple[Place, DataElement]]:
    """The elements with one of these tags or value representations, those of nested sequences too.

    Only these are decoded: decoding all takes longer than everything else.
    """
    for tag in sorted(dataset.keys()):
        vr = _vr(dataset, tag)
        if vr == "SQ" and dataset[tag].VR == "SQ":
            for number, item in enumerate(dataset[tag].value):
                yield from elements(item, tags, vrs, (*place, dataset[tag].keyword, number))
        elif tag in tags or vr in vrs:
            yield (*place, dataset[tag].keyword), dataset[tag]


def _vr(dataset: Dataset, tag: BaseTag) -> str:
    """Without decoding: implicit files do not say, and UN is what it would be by PS3.6."""
    said = dataset.get_item(tag).VR
    if said in (None, "UN") and dictionary_has_tag(tag):
        return dictionary_VR(tag)
    return said or ""


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
