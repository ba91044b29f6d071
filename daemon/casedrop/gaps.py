"""Whether the slices of a series are all there, once each, at even distances. Pure.

By position along the normal of the image plane (PS3.3, C.7.6.2.1.1); where positions are absent, by
InstanceNumber. What lacks at either end nobody can tell.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from casedrop.model import Problem, Weight
from casedrop.near import several, shown
from casedrop.series import Series, opening
from casedrop.slices import dot, normal_of

SAME_PLACE = 1e-3
"""Slices nearer than this (mm), or than a hundredth of the usual distance, lie in one place."""

UNEVEN = 0.1
"""Part of the distance between slices by which it may vary."""

ASIDE = 1.0
"""mm by which a slice may lie beside the line of the others."""

MOST_GAPS = 5


@dataclass(frozen=True, slots=True)
class Place:
    """One position with the files that lie there."""

    at: float
    paths: tuple[str, ...]


def slice_problem(series: Series) -> Problem | None:
    """What is wrong with the slices of a series of single frames that all have positions, or none has."""
    if len(series.files) == 1:
        return None
    if series.header.position is None or series.header.orientation is None:
        return _by_number(series)
    places = _places(series)
    return _by_count(series, places) or _by_distance(series, places)


def _places(series: Series) -> list[Place]:
    """In the order of InstanceNumber where that goes against the normal."""
    orientation = series.header.orientation or ()
    normal = normal_of(orientation)
    along = sorted((dot(one.position or (), normal), path) for path, one in series.files.items())
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
    first, last = (series.files[found[n].paths[0]].instance or 0 for n in (0, -1))
    return found[::-1] if first > last else found


def _by_count(series: Series, places: list[Place]) -> Problem | None:
    """The same number of files at each place, and only one, unless it is several images in one."""
    counts = [len(place.paths) for place in places]
    usual = Counter(counts).most_common(1)[0][0]
    twice = [n for n, place in enumerate(places) if _copied(series, place.paths) or counts[n] > usual]
    if twice:
        return _twice(series, places[twice[0]], [n + 1 for n in twice], len(places))
    if usual > 1 and len(set(counts)) == 1:
        return _several_images(series, usual)
    if short := [n for n, count in enumerate(counts, 1) if count < usual]:
        text = (
            f"{opening(series)} has {usual} images of each slice, but fewer of {_numbers(short)} of "
            f"{len(places)}. Copy the series again."
        )
        return Problem("missing-slices", text, Weight.LACKING)
    return None


def _copied(series: Series, paths: tuple[str, ...]) -> bool:
    """Whether the very same object is there under several names (SOPInstanceUID)."""
    return len({series.files[path].instance_uid or path for path in paths}) < len(paths)


def _twice(series: Series, first: Place, numbers: list[int], of: int) -> Problem:
    verb = "is" if len(numbers) == 1 else "are"
    text = (
        f"{opening(series)}: {_numbers(numbers)} of {of} {verb} there more than once ({several(first.paths)}"
        f"{' ...' if len(numbers) > 1 else ''}). Remove the extra copies."
    )
    return Problem("missing-slices", text)


def _several_images(series: Series, count: int) -> Problem:
    echoes = len({one.echo for one in series.files.values()})
    what = (
        f"{count} echoes (EchoTime differs)"
        if echoes == count
        else f"{count} of each slice, such as phases, directions or contrasts"
    )
    text = (
        f"{opening(series)} holds several images in one series: {what}. A socket takes one image. The "
        "scanner or PACS can export each as a series of its own, or the data manager can set allow = "
        '["several-images"] for the rule.'
    )
    return Problem("several-images", text)


def _by_distance(series: Series, places: list[Place]) -> Problem | None:
    gaps = [abs(b.at - a.at) for a, b in pairwise(places)]
    if len(gaps) == 1:
        return _two_slices(series, places)
    step = min(gaps, default=0)
    if aside := _aside(series, places):
        return aside
    if all(gap <= step * (1 + UNEVEN) for gap in gaps):
        return _thinned(series, places, step)
    lost = [round(gap / step) - 1 for gap in gaps]
    if any(abs(gap / step - 1 - count) > UNEVEN * (1 + count) for gap, count in zip(gaps, lost, strict=True)):
        text = (
            f"{opening(series)} is not one image: its slices lie between {step:.3g} and {max(gaps):.3g} mm "
            "apart. Slices are missing in a way that cannot be told, or it is several images in one series."
        )
        return Problem("mixed-geometry", text)
    return _missing(series, [place.paths[0] for place in places], lost)


def _aside(series: Series, places: list[Place]) -> Problem | None:
    """A slice that does not lie on the line through the first and the last: its plane is moved sideways."""
    positions = [series.files[place.paths[0]].position or () for place in places]
    start, way = positions[0], [b - a for a, b in zip(positions[0], positions[-1], strict=True)]
    length = places[-1].at - places[0].at
    for place, position in zip(places, positions, strict=True):
        part = (place.at - places[0].at) / length
        on_line = [a + part * b for a, b in zip(start, way, strict=True)]
        if (off := math.dist(position, on_line)) > ASIDE:
            text = (
                f"{opening(series)} is not one image: {shown(place.paths[0])} lies {off:.3g} mm beside the line "
                "of the other slices. Remove what does not belong, or ask the data manager to set allow = "
                '["mixed-geometry"] for the rule.'
            )
            return Problem("mixed-geometry", text)
    return None


def _thinned(series: Series, places: list[Place], step: float) -> Problem | None:
    """Slices at twice the distance that the headers tell, or three times: each second, or third, is there.

    Some write the gap between slices there (PS3.3, C.8.3.1 has the distance of their centers): it is asked only
    where it is not below the thickness.
    """
    header = series.header
    between = abs(header.between or 0)
    times = round(step / between) if between else 1
    if times < 2 or between < (header.thickness or 0) or abs(step / between - times) > UNEVEN:  # noqa: PLR2004
        return None
    return _missing(series, [place.paths[0] for place in places], [times - 1] * (len(places) - 1))


def _two_slices(series: Series, places: list[Place]) -> Problem | None:
    """Two positions have one distance, which says nothing: their numbers may."""
    first, last = (series.files[place.paths[0]].instance for place in places)
    if first is None or last is None or last - first <= 1:
        return None
    return _missing(series, [place.paths[0] for place in places], [last - first - 1])


def _by_number(series: Series) -> Problem | None:
    known = sorted((one.instance, path) for path, one in series.files.items() if one.instance is not None)
    if len(known) < len(series.files):
        text = (
            f"{opening(series)} does not say where its slices lie, nor how all of them are numbered, so "
            "nobody can tell whether one is missing."
        )
        return Problem("missing-slices", text)
    numbered: dict[int, list[str]] = {}
    for number, path in known:
        numbered.setdefault(number, []).append(path)
    places = [Place(number, tuple(paths)) for number, paths in numbered.items()]
    if problem := _by_count(series, places):
        return problem
    lost = [b - a - 1 for a, b in pairwise(numbered)]
    return _missing(series, [path for _, path in known], lost) if any(lost) else None


def _missing(series: Series, paths: list[str], lost: list[int]) -> Problem:
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
        f"{opening(series)}: {', '.join(said[:MOST_GAPS])}{more} {verb} missing. Copy the series again; "
        'if it was made so, the data manager can set allow = ["missing-slices"] for the rule.'
    )
    return Problem("missing-slices", text, Weight.LACKING)


def _range(first: int, last: int) -> str:
    return f"slice {first}" if first == last else f"slices {first} to {last}"


def _numbers(numbers: Iterable[int]) -> str:
    known = [str(number) for number in numbers]
    return f"slice{'' if len(known) == 1 else 's'} {several(known)}"
