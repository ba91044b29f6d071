"""The hours in which uploads are open: what the file says of them, and what is wrong between them."""

import os
import re
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from casedrop.config_across import Location, Tables, tables
from casedrop.hours import DAYS, WEEK, Window

LOCAL = "/etc/localtime"
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")


def clock(text: str) -> str:
    if not _CLOCK.fullmatch(text):
        raise ValueError('must be a time of day such as "22:00"')
    return text


def zone_name(name: str) -> str:
    try:
        zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            'must be a time zone such as "Europe/Amsterdam" that this system knows (Debian\'s package tzdata)'
        ) from None
    return name


def zone(name: str) -> ZoneInfo:
    """That of the system for ""; UTC where it has none."""
    if name:
        return ZoneInfo(name)
    try:
        if named := os.environ.get("TZ", "").lstrip(":"):
            return ZoneInfo(named)
        with open(LOCAL, "rb") as file:
            return ZoneInfo.from_file(file, "localtime")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def bytes_per_second(megabit: float) -> float:
    return megabit * 1e6 / 8


def window(start: str, end: str, days: tuple[str, ...], megabit: float) -> Window:
    return Window(_minute(start), _minute(end), frozenset(map(DAYS.index, days)), bytes_per_second(megabit))


def _minute(text: str) -> int:
    hour, minute = text.split(":")
    return 60 * int(hour) + int(minute)


def mistakes(data: Tables) -> Iterator[tuple[Location, str]]:
    """As config_across.across, in the raw data."""
    limits = data.get("limits")
    if not isinstance(limits, dict):
        return
    taken: dict[int, int] = {}
    is_open = limits.get("megabit_per_second") != 0
    listed = [(n, table, found) for n, table in tables(limits, "hours") if (found := _window(table))]
    for n, table, found in listed:
        if table["from"] == table["to"]:
            yield ("limits", "hours", n), 'from and to are the same; a whole day is "00:00" to "24:00"'
            continue
        minutes = set(found.minutes())
        if others := sorted({taken[minute] for minute in minutes & taken.keys()}):
            yield (
                ("limits", "hours", n),
                f"overlaps number {others[0] + 1}; any time of the week has one rate",
            )
        taken |= dict.fromkeys(minutes, n)
    closed = {n for n, table, _ in listed if table.get("megabit_per_second") == 0}
    by_hours = any(n not in closed for n in taken.values())
    if not by_hours and not (is_open and len(taken) < WEEK):
        yield ("limits",), "uploads are always closed: allow a rate above 0 at some time"


def _window(table: dict[str, Any]) -> Window | None:
    """None where a key is wrong, which is said where the key is checked."""
    days = table.get("days", [*DAYS])
    try:
        return window(clock(table["from"]), clock(table["to"]), tuple(days), 1.0)
    except (KeyError, TypeError, ValueError):
        return None
