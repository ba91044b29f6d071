"""Bars for a number of days, as SVG that takes its colours from the page. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, TOP, FLOOR = 320, 110, 14, 92


@dataclass(frozen=True, slots=True)
class Bar:
    """A day's bar: `day` below it, the `bad` part stands on top of the rest."""

    day: str
    good: float
    bad: float = 0


def bars(title: str, most: str, found: Sequence[Bar]) -> str:
    """`title` is read out in the picture's place, `most` stands at the highest bar's height."""
    top = max((one.good + one.bad for one in found), default=0) or 1
    step = WIDTH / max(len(found), 1)
    drawn = "".join(
        _bar(one, number * step + step * 0.15, step * 0.7, top) for number, one in enumerate(found)
    )
    days = "".join(
        f'<text x="{(number + 1) * step:.1f}" y="{HEIGHT - 4}" text-anchor="end">{escape(one.day)}</text>'
        for number, one in enumerate(found)
        if (len(found) - 1 - number) % 3 == 0
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<text x="0" y="9">{escape(most)}</text>'
        f'<line class="axis" x1="0" x2="{WIDTH}" y1="{FLOOR}" y2="{FLOOR}"/>{drawn}{days}</svg>'
    )


def _bar(one: Bar, left: float, width: float, top: float) -> str:
    good, bad = ((FLOOR - TOP) * part / top for part in (one.good, one.bad))
    return _rect("bar", left, FLOOR - good, width, good) + _rect(
        "bar bad", left, FLOOR - good - bad, width, bad
    )


def _rect(kind: str, left: float, upper: float, width: float, height: float) -> str:
    if not height:
        return ""
    return f'<rect class="{kind}" x="{left:.1f}" y="{upper:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
