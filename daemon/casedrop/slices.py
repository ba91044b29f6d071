"""De-identified files, and the image that the slices in them become. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from casedrop.model import Geometry

APART = 1e-3
"""mm between two slices, below which they lie at one place; and how far of straight a stack may be."""

TURNED = 1e-4
"""By how much a direction cosine may differ within a stack."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One file as part of a stack: pixels, mm, and direction cosines; None where it says no such thing."""

    rows: int
    columns: int
    frames: int = 1
    spacing: tuple[float, ...] | None = None
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Deidentified:
    """What is sent: `shape` is that of `data`, `method` says by what it was de-identified, with versions.

    `taken` names all that was taken away or replaced, by keyword (PS3.6), sorted: what is nested by the keyword
    of the outermost sequence, private attributes together; () where the file is sent as it was.
    """

    data: bytes
    shape: Slice
    method: str
    taken: tuple[str, ...] = ()


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
    if slices[0].orientation is None:
        return None
    normal = normal_of(slices[0].orientation)
    if any(not _parallel(one.orientation, slices[0].orientation) for one in slices):
        return None
    positions = [one.position for one in slices if one.position is not None]
    places = sorted((dot(position, normal), position) for position in positions)
    if len(places) != len(slices) or any(after[0] - before[0] < APART for before, after in pairwise(places)):
        return None
    along = places[-1][0] - places[0][0]
    straight = [last - start for last, start in zip(places[-1][1], places[0][1], strict=True)]
    sideways = dot(straight, straight) - along**2
    return along / (len(slices) - 1) if sideways < (APART * along) ** 2 else None


def normal_of(orientation: tuple[float, ...]) -> tuple[float, float, float]:
    """Of the image plane, from the direction cosines of its rows and columns (PS3.3, C.7.6.2.1.1)."""
    a, b, c, d, e, f = orientation
    return b * f - c * e, c * d - a * f, a * e - b * d


def _parallel(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    if one is None or other is None:
        return False
    return all(abs(a - b) < TURNED for a, b in zip(one, other, strict=True))


def dot(one: Sequence[float], other: Sequence[float]) -> float:
    """The scalar product."""
    return sum(a * b for a, b in zip(one, other, strict=True))
