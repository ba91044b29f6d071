"""Where the voxels of an image lie, and whether two images lie on one grid. Pure.

Two grids are one if their sizes are, and neither spacing, axes nor origin alone put a voxel more than a tenth of
a voxel beside its partner. SimpleITK's 1e-6 of a voxel is finer than what NIfTI's float32 can hold (1.5e-5 mm at
250 mm, and some 1e-4 in the axes of a quaternion): a mask saved as NIfTI would differ from its own image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from casedrop.dicom_model import DicomHeader
from casedrop.slices import Slice, dot, normal_of, stack

NEAR = 0.1
"""Of a voxel."""

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """Voxels along each axis, mm between them, the first voxel's centre and each axis as a unit vector.

    In the patient coordinates of DICOM and ITK (LPS, mm); None where the file does not say it.
    """

    size: tuple[int, ...]
    spacing: Vector | None = None
    origin: Vector | None = None
    axes: tuple[Vector, ...] | None = None


Grids = tuple[Grid, ...]
"""All that a file may mean, where readers differ (NIfTI's two transforms, the order of slices); () if unknown."""


def apart(ones: Grids, others: Grids) -> list[str]:
    """In what the grids of `ones` differ from those of `others`, [] where any two are the same."""
    found = [_differences(one, other) for one in ones for other in others]
    return [] if [] in found else found[0]


def of_series(headers: Sequence[DicomHeader]) -> Grids:
    """The grid of a series of single slices; () of any other. Slices may be stacked from either end."""
    slices = [
        Slice(*(one.size or (0, 0)), one.frames, one.spacing, one.position, one.orientation)
        for one in headers
    ]
    shape = stack(slices)
    orientation = headers[0].orientation
    if shape is None or orientation is None or any(one.position is None for one in headers):
        return ()
    normal = normal_of(orientation)
    places = sorted((one.position for one in headers if one.position), key=lambda at: dot(at, normal))
    size = tuple(count for count in shape.size if count is not None)
    spacing = tuple(mm for mm in shape.voxel_mm if mm is not None)
    back = tuple(-along for along in normal)
    return tuple(
        Grid(size, spacing, origin, (orientation[:3], orientation[3:], along))
        for origin, along in ((places[0], normal), (places[-1], back))
    )


def _differences(one: Grid, other: Grid) -> list[str]:
    size, other_size = _flat(one.size), _flat(other.size)
    if size != other_size:
        return [f"its size is {_by(size)} and not {_by(other_size)} voxels"]
    found = []
    if one.spacing and other.spacing:
        pairs = list(zip(size, one.spacing, other.spacing, strict=False))
        if any((count - 1) * abs(a - b) > NEAR * abs(b) for count, a, b in pairs):
            found.append(f"its spacing is {_list(one.spacing)} and not {_list(other.spacing)} mm")
    voxel = min(other.spacing[: len(size)]) if other.spacing else 1.0
    if one.axes and other.axes:
        steps = other.spacing or (1.0,) * len(size)
        turned = zip(size, steps, one.axes, other.axes, strict=False)
        if any((count - 1) * step * _distance(a, b) > NEAR * voxel for count, step, a, b in turned):
            found.append("its axes point elsewhere (direction)")
    if one.origin and other.origin and _distance(one.origin, other.origin) > NEAR * voxel:
        found.append(f"its origin is {_list(one.origin)} and not {_list(other.origin)} mm")
    return found


def _flat(size: tuple[int, ...]) -> tuple[int, ...]:
    """Without axes of one voxel behind the second: an image of one slice is flat."""
    while len(size) > 2 and size[-1] == 1:  # noqa: PLR2004
        size = size[:-1]
    return size


def _distance(one: Vector, other: Vector) -> float:
    """0 between vectors of unlike spaces, which nobody can compare."""
    if len(one) != len(other):
        return 0.0
    away = [a - b for a, b in zip(one, other, strict=True)]
    return float(dot(away, away) ** 0.5)


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))


def _list(numbers: Vector) -> str:
    return f"({', '.join(f'{number:.6g}' for number in numbers)})"
