"""Whether the slices of a series are all there, once each, at even distances. Pure.

By position along the normal of the image plane (PS3.3, C.7.6.2.1.1); where positions are absent, by
InstanceNumber. What lacks at either end nobody can tell. The looks yield lazily: what a later one says is
worth hearing only where what was found before is let pass.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from casedrop.dicom_model import DicomHeader
from casedrop.distances import UNEVEN, few_holes, rounding, slices_lost
from casedrop.model import Problem, Weight
from casedrop.near import several, shown
from casedrop.series import Series, opening
from casedrop.slices import dot, normal_of

SAME_PLACE = 1e-3
"""Slices nearer than this (mm), or than a hundredth of the usual distance, lie in one place."""

ASIDE = 1.0
"""mm by which a slice may lie beside the line of the others."""

FEWEST_PLACES = 4
"""Fewer frames than these may lie apart as somebody liked."""

MOST_GAPS = 5


@dataclass(frozen=True, slots=True)
class Stack:
    """Slices by their path, or frames by their number; `called` opens a sentence."""

    called: str
    files: Mapping[str, DicomHeader]

    @property
    def header(self) -> DicomHeader:
        return next(iter(self.files.values()))


@dataclass(frozen=True, slots=True)
class Place:
    """One position with the files that lie there."""

    at: float
    paths: tuple[str, ...]


def slice_problems(series: Series) -> Iterator[Problem]:
    """What is wrong with single frames of one orientation, or with the frames of one file."""
    stack = Stack(opening(series), series.files)
    if len(stack.files) == 1:
        yield from _frame_problems(stack)
    elif any(one.position is None or one.orientation is None for one in stack.files.values()):
        yield from _by_number(stack)
    else:
        places = _places(stack)
        yield from _by_count(stack, places)
        yield from _by_distance(stack, places)


def _frame_problems(stack: Stack) -> Iterator[Problem]:
    """Nothing of localizers and slabs, nor where some places have more frames than others.

    Those may be stacks of several kinds. What lacks in a file will not come.
    """
    header = stack.header
    frames = {
        f"frame {n}": replace(header, position=position, instance=None)
        for n, position in enumerate(header.frame_positions, 1)
    }
    if not frames or "LOCALIZER" in header.image_type:
        return
    inner = Stack(stack.called, frames)
    places = _places(inner)
    even = len({len(place.paths) for place in places}) == 1
    if even and len(places) >= FEWEST_PLACES and few_holes(_gaps(places), _slack(inner)):
        yield from (replace(one, weight=Weight.WRONG) for one in _by_distance(inner, places))


def _places(stack: Stack) -> list[Place]:
    """In the order of InstanceNumber where that goes against the normal."""
    normal = normal_of(stack.header.orientation or ())
    along = sorted((dot(one.position or (), normal), path) for path, one in stack.files.items())
    distances = [b - a for (a, _), (b, _) in pairwise(along)]
    usual = sorted(one for one in distances if one > SAME_PLACE)
    close = max(SAME_PLACE, usual[len(usual) // 2] / 100 if usual else 0)
    places: list[list[tuple[float, str]]] = []
    for at, path in along:
        if places and at - places[-1][0][0] <= close:
            places[-1].append((at, path))
        else:
            places.append([(at, path)])
    found = [Place(group[0][0], tuple(path for _, path in group)) for group in places]
    first, last = (stack.files[found[n].paths[0]].instance or 0 for n in (0, -1))
    return found[::-1] if first > last else found


def _by_count(stack: Stack, places: list[Place]) -> Iterator[Problem]:
    """The same number of files at each place, and only one, unless it is several images in one."""
    counts = [len(place.paths) for place in places]
    usual = Counter(counts).most_common(1)[0][0]
    twice = [n for n, place in enumerate(places) if _copied(stack, place.paths) or counts[n] > usual]
    if twice:
        yield _twice(stack, places[twice[0]], [n + 1 for n in twice], len(places))
    if short := [n for n, count in enumerate(counts, 1) if count < usual]:
        text = (
            f"{stack.called} has {usual} images of each slice, but fewer of {_numbers(short)} of "
            f"{len(places)}. Copy the series again."
        )
        yield Problem("missing-slices", text, Weight.LACKING)
    if usual > 1:
        yield _several_images(stack, usual)


def _copied(stack: Stack, paths: tuple[str, ...]) -> bool:
    """Whether the very same object is there under several names (SOPInstanceUID)."""
    return len({stack.files[path].instance_uid or path for path in paths}) < len(paths)


def _twice(stack: Stack, first: Place, numbers: list[int], of: int) -> Problem:
    verb = "is" if len(numbers) == 1 else "are"
    text = (
        f"{stack.called}: {_numbers(numbers)} of {of} {verb} there more than once ({several(first.paths)}"
        f"{' ...' if len(numbers) > 1 else ''}). Remove the extra copies."
    )
    return Problem("missing-slices", text)


def _several_images(stack: Stack, count: int) -> Problem:
    echoes = len({one.echo for one in stack.files.values()})
    what = (
        f"{count} echoes (EchoTime differs)"
        if echoes == count
        else f"{count} of each slice, such as phases, directions or contrasts"
    )
    text = (
        f"{stack.called} holds several images in one series: {what}. A socket takes one image. The "
        "scanner or PACS can export each as a series of its own, or the data manager can set allow = "
        '["several-images"] for the rule.'
    )
    return Problem("several-images", text)


def _by_distance(stack: Stack, places: list[Place]) -> Iterator[Problem]:
    gaps = _gaps(places)
    if len(gaps) < 2:  # noqa: PLR2004  one distance says nothing
        yield from _two_slices(stack, places)
        return
    yield from _aside(stack, places)
    lost = slices_lost(gaps, _steps(stack, places), _slack(stack))
    if lost is None:
        text = (
            f"{stack.called} is not one image: its slices lie between {min(gaps):.3g} and {max(gaps):.3g} mm "
            "apart. Slices are missing in a way that cannot be told, or it is several images in one series."
        )
        yield Problem("mixed-geometry", text)
        return
    lost = lost if any(lost) else _thinned(stack.header, gaps)
    if any(lost):
        yield _missing(stack, [place.paths[0] for place in places], lost)


def _gaps(places: list[Place]) -> list[float]:
    return [abs(b.at - a.at) for a, b in pairwise(places)]


def _steps(stack: Stack, places: list[Place]) -> list[int]:
    """From place to place by InstanceNumber, [] where the numbers do not rise."""
    known = [[stack.files[path].instance for path in place.paths] for place in places]
    lowest = [min((one for one in numbers if one is not None), default=None) for numbers in known]
    steps = [b - a for a, b in pairwise(lowest) if a is not None and b is not None]
    rising = len(steps) == len(places) - 1 and min(steps) > 0
    return [one // math.gcd(*steps) for one in steps] if rising else []


def _slack(stack: Stack) -> float:
    """By how much (mm) rounding may change a distance along the normal."""
    axes = zip(*(one.position or () for one in stack.files.values()), strict=True)
    normal = normal_of(stack.header.orientation or ())
    return SAME_PLACE + sum(abs(part) * rounding(axis) for part, axis in zip(normal, axes, strict=True))


def _aside(stack: Stack, places: list[Place]) -> Iterator[Problem]:
    """The first slice beside the line through the first and the last: its plane is moved sideways."""
    positions = [stack.files[place.paths[0]].position or () for place in places]
    start, way = positions[0], [b - a for a, b in zip(positions[0], positions[-1], strict=True)]
    length = places[-1].at - places[0].at
    for place, position in zip(places, positions, strict=True):
        part = (place.at - places[0].at) / length
        on_line = [a + part * b for a, b in zip(start, way, strict=True)]
        if (off := math.dist(position, on_line)) > ASIDE:
            text = (
                f"{stack.called} is not one image: {shown(place.paths[0])} lies {off:.3g} mm beside the line "
                "of the other slices. Remove what does not belong, or ask the data manager to set allow = "
                '["mixed-geometry"] for the rule.'
            )
            yield Problem("mixed-geometry", text)
            return


def _thinned(header: DicomHeader, gaps: list[float]) -> list[int]:
    """Slices at twice the distance that the headers tell, or three times: each second, or third, is there.

    Some write the gap between slices there (PS3.3, C.8.3.1 has the distance of their centers), above all for
    MR, and reformats inherit what held for the slices they were made of.
    """
    step, between, thickness = sum(gaps) / len(gaps), abs(header.between or 0), header.thickness or 0
    times = round(step / between) if between >= SAME_PLACE else 1
    whole = [0] * len(gaps)
    if times < 2 or between < thickness or abs(step / between - times) > UNEVEN:  # noqa: PLR2004
        return whole
    only_gap = header.modality == "MR" and math.isclose(step, thickness + between, rel_tol=UNEVEN)
    return whole if only_gap or "DERIVED" in header.image_type else [times - 1] * len(gaps)


def _two_slices(stack: Stack, places: list[Place]) -> Iterator[Problem]:
    """Two positions have one distance, which says nothing: their numbers may."""
    paths = [place.paths[0] for place in places if len(place.paths) == 1]
    numbers = [one for path in paths if (one := stack.files[path].instance) is not None]
    if len(numbers) == 2 and numbers[1] - numbers[0] > 1:  # noqa: PLR2004
        yield _missing(stack, paths, [numbers[1] - numbers[0] - 1])


def _by_number(stack: Stack) -> Iterator[Problem]:
    known = sorted((one.instance, path) for path, one in stack.files.items() if one.instance is not None)
    if len(known) < len(stack.files):
        text = (
            f"{stack.called} does not say where its slices lie, nor how all of them are numbered, so "
            "nobody can tell whether one is missing."
        )
        yield Problem("missing-slices", text)
    numbered: dict[int, list[str]] = {}
    for number, path in known:
        numbered.setdefault(number, []).append(path)
    places = [Place(number, tuple(paths)) for number, paths in numbered.items()]
    if not places:
        return
    yield from _by_count(stack, places)
    lost = [b - a - 1 for a, b in pairwise(numbered)]
    if any(lost):
        yield _missing(stack, [place.paths[0] for place in places], lost)


def _missing(stack: Stack, paths: Sequence[str], lost: list[int]) -> Problem:
    """`lost` slices between one path and the next."""
    total = len(paths) + sum(lost)
    said, number = [], 1
    for n, count in enumerate(lost):
        if count:
            between = f"between {shown(paths[n])} and {shown(paths[n + 1])}"
            said.append(f"{_range(number + 1, number + count)} of {total} ({between})")
        number += count + 1
    more = f" and {len(said) - MOST_GAPS} more gaps" if len(said) > MOST_GAPS else ""
    verb = "is" if sum(lost) == 1 else "are"
    text = (
        f"{stack.called}: {', '.join(said[:MOST_GAPS])}{more} {verb} missing. Copy the series again; "
        'if it was made so, the data manager can set allow = ["missing-slices"] for the rule.'
    )
    return Problem("missing-slices", text, Weight.LACKING)


def _range(first: int, last: int) -> str:
    return f"slice {first}" if first == last else f"slices {first} to {last}"


def _numbers(numbers: Iterable[int]) -> str:
    known = [str(number) for number in numbers]
    return f"slice{'' if len(known) == 1 else 's'} {several(known)}"
