"""What of a DICOM file makes its voxels mean something, and whether de-identifying left it alone. Pure.

Attributes: PS3.3, C.7.6.2 (image plane), C.7.6.3 (image pixel), C.7.6.16 (functional groups), C.11.1 and C.11.2
(modality and VOI LUT), C.8.5.5 (ultrasound regions).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.values import convert_SQ

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

ASIDE = frozenset({"", "IconImageSequence", "OriginalAttributesSequence"})
"""They speak of another image: a thumbnail, what this one was before, or what a vendor means ("")."""

WRITTEN = frozenset("AE AS CS DA DS DT IS LO LT PN SH ST TM UC UI UR UT".split())
"""Value representations that are characters (PS3.5, 6.2)."""

ITEM = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
"""How a sequence's value begins (PS3.5, 7.5), little and big endian."""

PRIVATE = "private attributes"

NEUTRAL = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}

Place = tuple[str | int, ...]
"""Where an attribute stands: keywords and item numbers, outermost first."""

Essence = dict[Place, Any]

Values = dict[tuple[int, ...], bytes]
"""What stands in a file, undecoded, by tags and item numbers, outermost first; nothing that is empty."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Keywords of what de-identifying took away or changed, by what that means."""

    shape: tuple[str, ...] = ()
    size: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()


def tags(keywords: Iterable[str]) -> frozenset[int]:
    return frozenset(tag for tag in map(tag_for_keyword, keywords) if tag is not None)


PIXEL_TAGS = tags(PIXELS)
_HELD_ELSEWHERE = tags(PIXELS | {"PixelRepresentation"})
"""What SHAPE keeps the same; pydicom decodes the second on the way."""

WANTED_TAGS = tags(SHAPE | SIZE | VALUES | NOTED)


def straighten(dataset: Dataset) -> set[str]:
    """Read what is written as another kind as what it is by PS3.6, nested too; keywords of what cannot be.

    Files hold sequences as UN (PS3.5, 6.2.2: implicit VR little endian) and texts as bytes, which a procedure
    would take for pixels or numbers.
    """
    odd = set()
    for tag, element in list(dataset.items()):
        vr, said = known_vr(tag), element.VR
        if said != "SQ" and (vr == "SQ" or _hidden_items(vr, element)) and (said or not vr):
            items = _items(element, dataset)
            if items is None:
                odd.add(name_of(tag))
                continue
            dataset[tag] = DataElement(tag, "SQ", items)
            said = "SQ"
        elif said == "SQ" and vr not in ("SQ", ""):
            odd.add(name_of(tag))
        elif vr in WRITTEN and said and said not in WRITTEN and isinstance(element, RawDataElement):
            dataset[tag] = element._replace(VR=vr)
        for item in _items_of(dataset, tag, said if vr != "SQ" else vr):
            odd |= straighten(item)
    return odd


def _items_of(dataset: Dataset, tag: BaseTag, vr: str | None) -> Iterable[Dataset]:
    """Those of a sequence, none of anything else. `vr` is what it seems to be."""
    if vr != "SQ":
        return ()
    element = dataset[tag]
    return element.value if element.VR == "SQ" else ()


def remove_private(dataset: Dataset) -> None:
    """Private attributes, nested ones too; none of them is decoded: vendors have hundreds."""
    for tag, element in list(dataset.items()):
        if tag.is_private:
            del dataset[tag]
        for item in _items_of(dataset, tag, "" if tag.is_private else _vr(tag, element)):
            remove_private(item)


def _hidden_items(vr: str, element: DataElement | RawDataElement) -> bool:
    """Whether what PS3.6 does not know is a sequence all the same."""
    return not vr and element.VR in (None, "UN") and bytes(element.value or b"")[:4] in ITEM


def _items(element: DataElement | RawDataElement, dataset: Dataset) -> Sequence | None:
    if not isinstance(element, RawDataElement):
        return None
    value = element.value or b""
    own = (element.is_implicit_VR, element.is_little_endian)
    charset = dataset.original_character_set
    charsets = [charset] if isinstance(charset, str) else list(charset)
    for implicit, little in dict.fromkeys([(True, True), own, (False, True)]):
        if value[:4] not in (b"", ITEM[0 if little else 1]):
            continue
        try:
            items = convert_SQ(value, implicit, little, charsets)
        except (OSError, ValueError, TypeError, NotImplementedError):
            continue
        if all(map(_sound, items)):
            return items
    return None


def _sound(item: Dataset) -> bool:
    """Whether every element is as long as it says: read the wrong way, lengths are wild."""
    for tag in item.keys():  # noqa: SIM118
        element = item.get_item(tag)
        if element.VR == "SQ" and not isinstance(element, RawDataElement):
            if not all(map(_sound, element.value)):
                return False
        elif isinstance(element, RawDataElement) and element.length not in (
            len(element.value or b""),
            0xFFFFFFFF,
        ):
            return False
    return True


def values(dataset: Dataset, place: tuple[int, ...] = ()) -> Values:
    """Of a data set as it was just read (and straightened): nothing but sequences is decoded."""
    found: Values = {}
    for tag, element in list(dataset.items()):
        number = int(tag)
        here = (*place, number)
        if _is_private(number):
            found[here] = b"private"
        elif (vr := _vr(tag, element)) == "SQ":
            for at, item in enumerate(_items_of(dataset, tag, vr)):
                found |= values(item, (*here, at))
        elif number not in _HELD_ELSEWHERE and isinstance(element.value, bytes) and element.value.strip(b" "):
            found[here] = element.value
    return found


def changed(before: Values, after: Values) -> tuple[str, ...]:
    """Keywords of what is no longer there or another, the outermost sequence's for what is nested, sorted.

    Lengths of groups (retired, PS3.5, 7.2) are none of it.
    """
    gone = {place for place, value in before.items() if not _same(value, after.get(place))}
    return tuple(sorted({_outermost(place) for place in gone if place[-1] & 0xFFFF}))


def _outermost(place: tuple[int, ...]) -> str:
    return PRIVATE if any(map(_is_private, place[::2])) else name_of(place[0])


def _same(one: bytes, other: bytes | None) -> bool:
    """Spaces that pad a value are no part of it (PS3.5, 6.2)."""
    return one == other or (other is not None and _parts(one) == _parts(other))


def _parts(value: bytes) -> list[bytes]:
    return [part.strip(b" ").rstrip(b"\0 ") for part in value.split(b"\\")]


def _is_private(tag: int) -> bool:
    """PS3.5, 7.8: groups of odd numbers."""
    return bool(tag >> 16 & 1)


@cache
def name_of(tag: int) -> str:
    """The keyword, never what stands there."""
    return PRIVATE if _is_private(tag) else keyword_for_tag(tag) or "attributes without a name"


def essence(dataset: Dataset) -> Essence:
    """One frame is what a file without NumberOfFrames has."""
    found = (
        (place, _value(element))
        for place, element in elements(dataset, WANTED_TAGS)
        if not (ASIDE.intersection(place) or element.is_empty)
    )
    return {place: value for place, value in found if not (place[-1] == "NumberOfFrames" and value == (1.0,))}


def elements(
    dataset: Dataset, tags: frozenset[int], vrs: frozenset[str] = frozenset(), place: Place = ()
) -> Iterator[tuple[Place, DataElement]]:
    """The elements with one of these tags or value representations, those of nested sequences too.

    Only these are decoded: decoding all takes longer than everything else.
    """
    for raw in list(dataset.values()):
        yield from elements_at(dataset, raw, tags, vrs, place)


def elements_at(
    dataset: Dataset,
    raw: DataElement | RawDataElement,
    tags: frozenset[int],
    vrs: frozenset[str] = frozenset(),
    place: Place = (),
) -> Iterator[tuple[Place, DataElement]]:
    """Those of one attribute of the data set: itself, or what is nested in it."""
    tag, vr = raw.tag, _vr(raw.tag, raw)
    if vr == "SQ":
        for number, item in enumerate(_items_of(dataset, tag, vr)):
            yield from elements(item, tags, vrs, (*place, dataset[tag].keyword, number))
    elif int(tag) in tags or vr in vrs:
        element = dataset[tag]
        yield (*place, element.keyword), element


def _vr(tag: BaseTag, element: DataElement | RawDataElement) -> str:
    """Without decoding: implicit files do not say, and UN is what it would be by PS3.6."""
    if element.VR is None or element.VR == "UN":
        return known_vr(tag) or element.VR or ""
    return element.VR


@cache
def known_vr(tag: int) -> str:
    """By PS3.6, "" for what it does not know."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


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
    """Numbers as floats, bytes to an even length (PS3.5, 7.1.1): another way to write them is no other value."""
    if isinstance(element.value, bytes):
        return element.value + b"\0" if len(element.value) % 2 else element.value
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


def texts_of(element: DataElement) -> list[str]:
    """An element's values as texts."""
    return [str(value if value is not None else "").strip() for value in values_of(element.value)]


def values_of(value: Any) -> list[Any] | MultiValue[Any]:
    """Of an element of one or of many values."""
    return value if isinstance(value, MultiValue | list) else [value]
