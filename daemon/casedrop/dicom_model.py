"""What Casedrop knows of DICOM files, without a patient's name. Pure.

Tags, classes and values are those of the DICOM standard: PS3.3 (modules), PS3.4 (storage classes), PS3.6
(dictionary), PS3.10 (file format).
"""

import fnmatch
import re
from dataclasses import dataclass, field
from typing import Literal

HEAD = 4096
"""Bytes that tell whether a file is DICOM."""

ELEMENTS = re.compile(
    rb"DICM\x02\0"
    rb"|(?:\x02\0\x02\0|\x08\0\x16\0|\0\x02\0\x02|\0\x08\0\x16).{4}1\.2\.840\.10008\."
    rb"|\x10\0[\x10\x20]\0[\x02-\x40]\0\0\0[ -~\x80-\xff]{2}"
    rb"|\x10\0\x10\0PN|\0\x10\0\x10PN|\x10\0\x20\0LO|\0\x10\0\x20LO|\x20\0\x0d\0UI|\0\x20\0\x0dUI",
    re.DOTALL,
)
"""What only DICOM has: its mark, a class (SOPClassUID), PatientName, PatientID or StudyInstanceUID; those of the
patient also without a value representation, as a length and letters."""

SERIES_GUARDS = (
    "burned-in",
    "cut-off",
    "missing-slices",
    "mixed-geometry",
    "several-images",
)
"""What is asked of each series that is sent, where a rule's or a drop's `allow` lets it pass."""

FOLDER_GUARDS = ("several-patients", "several-studies")
"""What is asked of a whole case folder; only the drop's `allow` lets it pass."""

Pick = Literal["", "largest", "latest"]

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
ENHANCED = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2.1",
        "1.2.840.10008.5.1.4.1.1.2.2",
        "1.2.840.10008.5.1.4.1.1.4.1",
        "1.2.840.10008.5.1.4.1.1.4.3",
        "1.2.840.10008.5.1.4.1.1.4.4",
        "1.2.840.10008.5.1.4.1.1.128.1",
        "1.2.840.10008.5.1.4.1.1.130",
    }
)
"""Enhanced CT, MR and PET, also legacy converted: frames are slices; those of slabs and localizers lie apart."""

GRAND_CHALLENGE_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", WHOLE_SLIDE})
"""CT Image, MR Image and VL Whole Slide Microscopy Image Storage: all that the procedure knows (MEASURED.md)."""


@dataclass(frozen=True, slots=True)
class Needle:
    """A text of a header to look for, as words between blanks, and the attribute it comes from."""

    keyword: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DicomTest:
    """What one element must be, in a ``dicom`` rule; all that is given must hold.

    Of an element with several values one must fit `globs`, all must lie within the limits, none may fit
    `unlike`. An element that is absent or empty fits only the glob "" and every `unlike`.
    """

    keyword: str
    globs: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    unlike: tuple[str, ...] = ()


DicomRule = tuple[DicomTest, ...]


@dataclass(frozen=True, slots=True)
class DicomHeader:
    """What rules and guards need of one file.

    `patient`, `patient_name`, `family_given` (the name without its other parts and accents) and `birth_date` are
    keyed digests, good only for telling whether two are the same; "" where the element is absent or empty.
    `beginnings` are those of the first two words of `family_given`, of three and so on.
    `class_name` is "" for a class the standard does not name. `position` (mm), `orientation` (direction cosines
    of rows and columns) and `spacing` (mm, between rows and between columns) are those of the patient coordinate
    system (PS3.3, C.7.6.2); `frame_positions` those of an ENHANCED image whose frames are one stack, in their
    order. `between` is SpacingBetweenSlices (mm). `size` is rows and columns. `taken` is the acquisition's date
    and time as YYYYMMDDHHMMSS, or of what comes nearest to it. `image` tells an image from reports, plans and
    directories. `broken` says that the file ends before it should, or cannot be read. `values` are those of the
    keywords rules name: they may be a patient's, so they are never shown, and neither are `needles`, what
    nothing that is sent may hold.
    """

    sop_class: str = ""
    class_name: str = ""
    image: bool = True
    broken: bool = False
    instance_uid: str = field(default="", repr=False)
    study: str = field(default="", repr=False)
    series: str = field(default="", repr=False)
    frame_of_reference: str = field(default="", repr=False)
    patient: str = field(default="", repr=False)
    patient_name: str = field(default="", repr=False)
    family_given: str = field(default="", repr=False)
    beginnings: tuple[str, ...] = field(default=(), repr=False)
    birth_date: str = field(default="", repr=False)
    identity_removed: bool = False
    burned_in: bool = False
    modality: str = ""
    description: str = field(default="", repr=False)
    number: int | None = None
    instance: int | None = None
    image_type: tuple[str, ...] = ()
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    spacing: tuple[float, ...] | None = None
    thickness: float | None = None
    between: float | None = None
    size: tuple[int, int] | None = None
    frames: int = 1
    frame_positions: tuple[tuple[float, ...], ...] = field(default=(), repr=False)
    taken: str = field(default="", repr=False)
    echo: float | None = None
    values: tuple[tuple[str, tuple[str, ...]], ...] = field(default=(), repr=False)
    needles: frozenset[Needle] = field(default=frozenset(), repr=False)

    def value(self, keyword: str) -> tuple[str, ...]:
        return next((values for name, values in self.values if name == keyword), ())


TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class SeriesLine:
    """One series as ``casedrop plan`` shows it: `fate` says in words what becomes of it, or is TAKEN.

    `folder` is where its files lie, `paths` are they; `slices` counts frames; `bytes` is their size.
    """

    modality: str
    description: str = field(repr=False)
    number: int | None
    paths: tuple[str, ...]
    slices: int
    bytes: int
    size: tuple[int, int] | None
    folder: str
    fate: str
    sockets: tuple[str, ...] = ()

    @property
    def files(self) -> int:
        return len(self.paths)

    @property
    def first(self) -> str:
        return self.paths[0]


def looks_like_dicom(head: bytes) -> bool:
    """By the first HEAD bytes of a file: "DICM" after 128 bytes (PS3.10, 7.1), or a data set without those.

    Without preamble a data set starts at group 0002 or 0008 with an element of a plausible VR or length.
    """
    if head[128:132] == b"DICM":
        return True
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    if head[:2] == b"\x00\x08":  # big-endian
        return explicit
    return head[:2] in (b"\x02\x00", b"\x08\x00") and (explicit or _is_implicit(head))


def _is_implicit(head: bytes) -> bool:
    """Two elements without VR, the second where the first ends and after it in order (PS3.5, 7.1.3)."""
    length = int.from_bytes(head[4:8], "little")
    following = head[8 + length : 12 + length]
    if len(head) < 8 or head[3] or length % 2 or not length or length >= HEAD:  # noqa: PLR2004
        return False
    return len(following) < 4 or _tag(head[:4]) < _tag(following) < 0x7FE10000  # noqa: PLR2004


def _tag(data: bytes) -> int:
    return int.from_bytes(data[:2], "little") << 16 | int.from_bytes(data[2:4], "little")


def holds_dicom(head: bytes) -> bool:
    """Whether a file looks like DICOM, or has elements of it somewhere in its first HEAD bytes.

    So has one with something put before its preamble, or with its beginning cut off: nothing reads it, but
    it names its patient all the same.
    """
    return looks_like_dicom(head) or (not _is_archive(head) and ELEMENTS.search(head) is not None)


def _is_archive(head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04") or head[257:262] == b"ustar"


def fits(rule: DicomRule, header: DicomHeader) -> bool:
    """Whether one file has what a rule asks for."""
    return all(_holds(test, header.value(test.keyword)) for test in rule)


def _holds(test: DicomTest, values: tuple[str, ...]) -> bool:
    shown = [value.strip() for value in values if value.strip()]
    if test.globs and not any(_like(value, test.globs) for value in shown or [""]):
        return False
    if any(_like(value, test.unlike) for value in shown):
        return False
    if test.minimum is None and test.maximum is None:
        return True
    return bool(shown) and all(_within(test, value) for value in shown)


def _like(value: str, globs: tuple[str, ...]) -> bool:
    """Without regard to case; "*" wants something there."""
    lower = value.casefold()
    return any(fnmatch.fnmatchcase(lower, glob.casefold()) and bool(value or not glob) for glob in globs)


def _within(test: DicomTest, value: str) -> bool:
    try:
        number = float(value)
    except ValueError:
        return False
    below = test.minimum is not None and number < test.minimum
    above = test.maximum is not None and number > test.maximum
    return not (below or above or number != number)  # noqa: PLR0124  not a number is in no range


def keywords(rules: tuple[DicomRule, ...]) -> tuple[str, ...]:
    """The keywords that rules name, once each."""
    return tuple(sorted({test.keyword for rule in rules for test in rule}))
