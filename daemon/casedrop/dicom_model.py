"""What Casedrop knows of DICOM files, without a patient's name. Pure.

Tags, classes and values are those of the DICOM standard: PS3.3 (modules), PS3.4 (storage classes), PS3.6
(dictionary), PS3.10 (file format).
"""

import fnmatch
from dataclasses import dataclass, field
from typing import Literal

HEAD = 512
"""Bytes that tell whether a file is DICOM."""

SERIES_GUARDS = (
    "burned-in",
    "cut-off",
    "missing-slices",
    "mixed-geometry",
    "several-images",
    "unsupported-class",
)
"""What is asked of each series that is sent; a rule's or a drop's `allow` lets it pass."""

FOLDER_GUARDS = ("several-patients", "several-studies")
"""What is asked of a whole case folder; only the drop's `allow` lets it pass."""

Pick = Literal["", "largest", "latest"]

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
GRAND_CHALLENGE_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", WHOLE_SLIDE})
"""CT Image, MR Image and VL Whole Slide Microscopy Image Storage: all that the procedure knows (MEASURED.md)."""


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

    `patient` and `patient_name` are keyed digests, good only for telling whether two are the same; "" where
    the element is absent or empty. `position` (mm), `orientation` (direction cosines of rows and columns) and
    `spacing` (mm, between rows and between columns) are those of the patient coordinate system (PS3.3,
    C.7.6.2). `size` is rows and columns. `taken` is the acquisition's date and time as YYYYMMDDHHMMSS, or of
    what comes nearest to it. `image` tells an image from reports, plans and directories. `broken` says that
    the file ends before it should, or cannot be read. `values` are those of the keywords rules name: they may
    be a patient's, so they are never shown.
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
    size: tuple[int, int] | None = None
    frames: int = 1
    taken: str = field(default="", repr=False)
    echo: float | None = None
    values: tuple[tuple[str, tuple[str, ...]], ...] = field(default=(), repr=False)

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
    if head[:2] not in (b"\x02\x00", b"\x08\x00") or len(head) < 8:  # noqa: PLR2004
        return False
    return explicit or (head[3] == 0 and int.from_bytes(head[4:8], "little") < 1 << 16)


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
