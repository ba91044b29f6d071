"""How many slices lack between others, as their distances (mm) and their numbers tell. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median_low

UNEVEN = 0.1
"""Part of the distance between slices by which it may vary."""

ROUNDED = (0.1, 0.01)
"""mm to which exporters round positions; two of them are then off by as much together."""

TINY = 1e-3
"""Part of a unit or a step by which floats may be off it."""

MOST_LOST = 3
"""Slices that may lack in one hole of a file; more lie between slabs."""


def slices_lost(gaps: list[float], numbered: list[int], slack: float) -> list[int] | None:
    """How many slices lack in each gap, None where that cannot be told.

    `numbered` are the steps between their numbers, [] where these tell nothing; `slack` is what rounding may
    change of a gap. Distances of rounded positions may fit both a whole stack and one that lacks a slice: what
    the numbers say goes first, then a step that nearly all gaps fit to the bit, which rounding would not leave.
    The least distance is the step where most others lost a slice.
    """
    step, whole = median_low(gaps), [0] * len(gaps)
    if all(abs(gap - step) <= UNEVEN * step for gap in gaps):
        return whole
    if _fit(gaps, numbered, slack):
        return [one - 1 for one in numbered]
    bearable = slack if set(numbered) == {1} else min(slack, sum(gaps) / len(gaps) / 3)
    if max(gaps) - min(gaps) <= 2 * bearable and not _exact(gaps, step):
        return whole
    for one, off in ((step, slack), (min(gaps), 0)):
        steps = [max(round(gap / one), 1) for gap in gaps]
        if _fit(gaps, steps, off):
            return [count - 1 for count in steps]
    return None


def _exact(gaps: list[float], step: float) -> bool:
    """Whether all are whole steps, and more than two of three a single one.

    Rounding, too, may make each second gap twice as long as the others.
    """
    steps = [round(gap / step) for gap in gaps]
    off = max(abs(gap / step - count) for gap, count in zip(gaps, steps, strict=True))
    return off < TINY and 3 * steps.count(1) > 2 * len(steps)


def _fit(gaps: list[float], steps: list[int], slack: float) -> bool:
    """Whether each gap is so many steps of one length, give or take `slack` mm or a part of it; some are more."""
    if max(steps, default=1) == 1:
        return False
    step = sum(gaps) / sum(steps)
    each = list(zip(gaps, steps, strict=True))
    if all(abs(gap - count * step) <= UNEVEN * count * step for gap, count in each):
        return True
    return max((gap - slack) / count for gap, count in each) <= min(
        (gap + slack) / count for gap, count in each
    )


def few_holes(gaps: list[float], slack: float) -> bool:
    """Whether slices that lack leave one stack: slabs lie farther apart or off the step, thick ones in a row."""
    lost, step = slices_lost(gaps, [], slack), median_low(gaps)
    if lost is None or max(lost) > MOST_LOST or 3 * lost.count(0) < 2 * len(lost):
        return False
    off = max(abs(gap - (one + 1) * step) for gap, one in zip(gaps, lost, strict=True))
    return off <= UNEVEN * step + 2 * slack and not any(a and b for a, b in pairwise(lost))


def rounding(axis: Sequence[float]) -> float:
    """The unit (mm) that all these are rounded to, 0 for none."""
    return next((unit for unit in ROUNDED if all(abs(at / unit - round(at / unit)) < TINY for at in axis)), 0)
