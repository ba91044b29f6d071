"""What the files of a series have in common, which is looked at once for all of them. Pure.

Of a hundred attributes a slice has ten or twenty that are not as in the slice before. What was found out about
one, and what became of it, holds for the same bytes at the same place again, as long as what else it depends on is
the same too: the procedure, the key, and the attributes of BESIDE.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from pydicom import DataElement
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from casedrop.dicom_file import Written
from casedrop.essence import PIXEL_TAGS, Essence, Values, tags, values_of
from casedrop.identifiers import HeaderText
from casedrop.model import Procedure

BESIDE = tags(
    (
        *("SpecificCharacterSet", "SOPClassUID", "BitsAllocated", "PixelRepresentation", "LUTDescriptor"),
        "WaveformBitsAllocated",
    )
)
"""What other attributes are read by: texts by their character set, numbers of no certain kind by the others and by
whether there are pixels. Private ones are by their creators."""

LOOKED_AT = tags(
    (
        *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
        *("ImageType", "BurnedInAnnotation", "SpecimenLabelInImage"),
    )
)
"""What tells whether the pixels are whole and may be sent, which is asked of every file."""

WRITTEN_BY_PROCEDURES = tags(
    (
        *("DeidentificationMethod", "DeidentificationMethodCodeSequence", "PatientIdentityRemoved"),
        "LongitudinalTemporalInformationModified",
    )
)
OF_EACH_FILE = tags(("SOPInstanceUID", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"))
ALWAYS_OWN = BESIDE | PIXEL_TAGS | WRITTEN_BY_PROCEDURES | OF_EACH_FILE

LONGEST = 1 << 16
"""Bytes of a value that is kept in mind."""

MOST_SERIES = 8

Said = tuple[str | None, int, bytes | None]
"""Value representation, length and value, as they stand in a file."""


@dataclass(frozen=True, slots=True)
class Known:
    """What an attribute told, and what is sent of it (nothing where it is taken away).

    `said` is None where that is not kept in mind.
    """

    said: Said | None
    values: Values
    essence: Essence
    named: tuple[HeaderText, ...]
    sent: Sequence[bytes]


Attributes = dict[int, Known]
"""Those of a file by their tags; what is nested belongs to the outermost one."""


@dataclass(slots=True)
class Series:
    """The attributes of its last file."""

    before: Attributes = field(default_factory=dict)

    def keep(self, found: Attributes) -> None:
        """For the next file, instead of what was kept."""
        self.before = {tag: one for tag, one in found.items() if one.said}


class InCommon:
    """What is kept in mind of the last series."""

    def __init__(self) -> None:
        self._series: dict[object, Series] = {}

    def of(self, dataset: Dataset, procedure: Procedure, key: bytes, syntax: str) -> Series:
        """For a data set that was just read."""
        creators = [int(tag) for tag in dataset.keys() if tag.is_private_creator]  # noqa: SIM118
        beside = tuple((tag, _said(dataset, tag)) for tag in (_SERIES, *sorted(BESIDE), *creators))
        kind = (procedure, key, syntax, dataset.original_encoding, beside, "PixelData" in dataset)
        found = self._series.pop(kind, None) or Series()
        self._series[kind] = found
        if len(self._series) > MOST_SERIES:
            del self._series[next(iter(self._series))]
        return found


def same(dataset: Dataset, known: Attributes) -> Attributes:
    """Those of the known that stand in a data set that was just read, byte for byte."""
    found = {}
    for tag, element in dataset.items():
        one = known.get(int(tag))
        if one is not None and isinstance(element, RawDataElement) and one.said == element[1:4]:
            found[int(tag)] = one
    return found


def without(dataset: Dataset, left_out: AbstractSet[int]) -> Dataset:
    """The rest of a data set that was just read, read by the same rules."""
    if not left_out:
        return dataset
    rest = Dataset({tag: element for tag, element in dataset.items() if int(tag) not in left_out})
    implicit, little = dataset.original_encoding
    rest.set_original_encoding(implicit, little, dataset.original_character_set)
    return rest


def said_in(dataset: Dataset) -> dict[int, Said | None]:
    """All of a data set that was just read; None for what is not to be kept in mind."""
    return {int(tag): _as_it_stands(int(tag), element) for tag, element in dataset.items()}


def attributes(
    said: Mapping[int, Said | None],
    values: Values,
    essence: Essence,
    named: Iterable[tuple[int, HeaderText]],
    sent: Written,
) -> Attributes:
    """What was found of a data set, by attribute."""
    values_of: defaultdict[int, Values] = defaultdict(dict)
    essence_of: defaultdict[int | None, Essence] = defaultdict(dict)
    named_of: defaultdict[int, tuple[HeaderText, ...]] = defaultdict(tuple)
    for place, value in values.items():
        values_of[place[0]][place] = value
    for where, found in essence.items():
        essence_of[tag_for_keyword(str(where[0]))][where] = found
    for tag, text in named:
        named_of[tag] += (text,)
    return {
        tag: Known(said.get(tag), values_of[tag], essence_of[tag], named_of[tag], sent.get(tag, ()))
        for tag in said.keys() | sent.keys()
    }


def values_in(found: Attributes) -> Values:
    return {place: value for one in found.values() for place, value in one.values.items()}


def essence_in(found: Attributes) -> Essence:
    return {place: value for one in found.values() for place, value in one.essence.items()}


def texts_in(found: Attributes) -> frozenset[HeaderText]:
    return frozenset(text for one in found.values() for text in one.named)


def _as_it_stands(tag: int, element: DataElement | RawDataElement) -> Said | None:
    if isinstance(element, RawDataElement) and len(element.value or b"") <= LONGEST and tag not in ALWAYS_OWN:
        return element[1:4]
    return None


def _said(dataset: Dataset, tag: int) -> object:
    """As it stands there or, where reading has decoded it (the character set), what it was decoded to."""
    if tag not in dataset:
        return None
    element = dataset.get_item(tag, keep_deferred=True)  # else pydicom decodes what is empty
    if isinstance(element, RawDataElement):
        return element[1:4]
    return element.VR, *map(str, values_of(element.value))


(_SERIES,) = tags(["SeriesInstanceUID"])
