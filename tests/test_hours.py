"""When uploads are open and how fast they may go, the nights on which clocks change included."""

from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from casedrop.hours import DAY, KEPT, LATER, SLACK, UNLIMITED, Schedule, Window, said

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
ALL = frozenset(range(7))
SPRING, AUTUMN = "2026-03-29", "2026-10-25"
MBIT = 1e6 / 8
HOUR = 3600
ZONES = [AMSTERDAM, ZoneInfo("UTC"), ZoneInfo("Australia/Lord_Howe"), ZoneInfo("America/St_Johns")]


def at(text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=AMSTERDAM, fold=fold).timestamp()


def window(start: int, end: int, rate: float = 200 * MBIT, days: frozenset[int] = ALL) -> Window:
    return Window(start * 60, end * 60, days, rate)


NIGHTS = Schedule(0, (window(22, 6),), AMSTERDAM)
OFFICE = Schedule(UNLIMITED, (window(8, 18, 10 * MBIT, frozenset(range(5))),), AMSTERDAM)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    marks = sorted(draw(st.sets(st.integers(0, DAY), min_size=2, max_size=8)))
    rates = st.sampled_from([0.0, MBIT, 50 * MBIT, UNLIMITED])
    days = st.frozensets(st.integers(0, 6), min_size=1)
    windows = [Window(a, b, draw(days), draw(rates)) for a, b in list(pairwise(marks))[::2]]
    if draw(st.booleans()):  # one over midnight, whose hours no other has
        windows.append(Window(marks[-1] % DAY, marks[0], ALL, draw(rates)))
        assume(windows[-1].start > windows[-1].end)
    return Schedule(draw(rates), tuple(windows), draw(st.sampled_from(ZONES)))


moments = st.one_of(
    st.integers(int(at("2026-01-01")), int(at("2027-12-31"))),
    st.sampled_from([SPRING, AUTUMN, "2026-04-05", "2026-10-04"]).flatmap(
        lambda day: st.integers(int(at(day)) - 3 * 86400, int(at(day)) + 86400)
    ),
)
sizes = st.floats(1, 1e12)


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_starts() -> None:
    friday = Schedule(0, (window(22, 6, days=frozenset({4})),), AMSTERDAM)
    assert friday.rate_at(at("2026-11-27 21:59")) == 0
    assert friday.rate_at(at("2026-11-27 22:00")) == 200 * MBIT
    assert friday.rate_at(at("2026-11-28 05:59")) == 200 * MBIT
    assert friday.rate_at(at("2026-11-28 06:00")) == 0
    assert friday.rate_at(at("2026-11-28 22:00")) == 0
    assert friday.rate_at(at("2026-11-27 05:00")) == 0


def test_outside_every_window_the_general_rate_holds() -> None:
    assert OFFICE.rate_at(at("2026-11-27 09:00")) == 10 * MBIT
    assert OFFICE.rate_at(at("2026-11-27 19:00")) == UNLIMITED
    assert OFFICE.rate_at(at("2026-11-28 09:00")) == UNLIMITED


@pytest.mark.parametrize(("night", "hours"), [(SPRING, 7), (AUTUMN, 9), ("2026-11-28", 8)])
def test_a_night_on_which_clocks_change_is_as_long_as_it_is(night: str, hours: int) -> None:
    evening = datetime.fromisoformat(night) - timedelta(hours=2)
    opens = at(str(evening))
    assert NIGHTS.opens(opens - HOUR) == opens
    closes, rate = next(NIGHTS.changes(opens))
    assert (closes - opens, rate) == (hours * HOUR, 0)
    most = hours * HOUR * 200 * MBIT / SLACK
    assert NIGHTS.through(most * 0.999, opens)
    assert not NIGHTS.through(most * 1.001, opens)


def test_a_window_within_the_hour_that_is_left_out_begins_when_the_clock_jumps_over_its_start() -> None:
    half = Schedule(0, (Window(150, 240, ALL, MBIT),), AMSTERDAM)  # 02:30 to 04:00
    assert list(half.changes(at(f"{SPRING} 01:00")))[:2] == [
        (at(f"{SPRING} 03:00"), MBIT),
        (at(f"{SPRING} 04:00"), 0),
    ]


def test_a_window_within_the_hour_that_comes_twice_is_open_twice() -> None:
    half = Schedule(0, (Window(120, 150, ALL, MBIT),), AMSTERDAM)  # 02:00 to 02:30
    found = list(half.changes(at(f"{AUTUMN} 01:00")))[:4]
    assert found == [
        (at(f"{AUTUMN} 02:00"), MBIT),
        (at(f"{AUTUMN} 02:30"), 0),
        (at(f"{AUTUMN} 02:00", fold=1), MBIT),
        (at(f"{AUTUMN} 02:30", fold=1), 0),
    ]


def test_a_case_is_begun_only_if_it_is_through_before_it_closes() -> None:
    size = 3 * HOUR * 200 * MBIT / SLACK
    late = at("2026-11-28 03:30")
    assert NIGHTS.begins(size, at("2026-11-28 02:59")) == at("2026-11-28 02:59")
    assert NIGHTS.begins(size, late) == at("2026-11-28 22:00")
    assert NIGHTS.begins(4 * size, late) is None


def test_a_slow_line_must_be_through_before_the_platform_drops_the_uploads() -> None:
    slow = Schedule(MBIT)
    most = KEPT * MBIT / SLACK
    assert slow.begins(most * 0.999, 0) == 0
    assert slow.begins(most * 1.001, 0) is None


def test_what_needs_the_fast_hours_to_its_end_begins_before_them() -> None:
    """Of 20 h, 12 are slow and 8 fast: only one that begins right then is through."""
    fast_at_night = Schedule(10 * MBIT, (window(22, 6, 200 * MBIT),), AMSTERDAM)
    size = (12 * 10 + 8 * 200) * HOUR * MBIT / SLACK * 0.9999
    assert fast_at_night.begins(size, at("2026-11-27 09:00")) == at("2026-11-28 06:00") - KEPT


def test_what_is_under_way_at_a_closing_goes_on_a_little_longer() -> None:
    closes = at("2026-11-28 06:00")
    assert NIGHTS.rate_under_way(closes - 1) == 200 * MBIT
    assert NIGHTS.rate_under_way(closes + LATER - 1) == 200 * MBIT
    assert NIGHTS.rate_under_way(closes + LATER) == 0


def test_the_rate_just_before_a_closing_is_the_one_that_goes_on_however_short_its_hours_were() -> None:
    fast, slow = window(21, 22), Window(22 * 60, 22 * 60 + 5, ALL, MBIT)
    evening = Schedule(0, (fast, slow), AMSTERDAM)
    closes = at("2026-11-27 22:05")
    for later in (0, 600, LATER - 1):
        assert evening.rate_under_way(closes + later) == MBIT
    assert evening.rate_under_way(closes + LATER) == 0


def test_a_whole_day_that_begins_at_the_end_of_another_is_that_day() -> None:
    saturday = Schedule(0, (Window(DAY, 0, frozenset({4}), MBIT),), AMSTERDAM)
    assert saturday.rate_at(at("2026-11-27 23:59")) == 0
    assert saturday.rate_at(at("2026-11-28 00:00")) == MBIT
    assert saturday.rate_at(at("2026-11-28 23:59")) == MBIT
    assert saturday.rate_at(at("2026-11-29 00:00")) == 0


def test_the_status_says_the_rate_and_what_comes_next() -> None:
    assert said(Schedule(), 0) == {}
    day = at("2026-11-27 12:00")
    assert said(NIGHTS, day) == {
        "megabit_per_second": 0,
        "changes": at("2026-11-27 22:00"),
        "opens": at("2026-11-27 22:00"),
        "says": "Uploads are closed until 22:00 (limits.hours).",
    }
    night = said(NIGHTS, at("2026-11-27 23:00"))
    assert (night["megabit_per_second"], night["opens"]) == (200, None)
    assert night["says"] == "Uploads go with at most 200 Mbit/s until 06:00."
    assert said(Schedule(MBIT), 0)["says"] == "Uploads go with at most 1 Mbit/s."
    weekend = Schedule(0, (window(8, 18, days=frozenset({0})),), AMSTERDAM)
    assert said(weekend, day)["says"] == "Uploads are closed until Monday 30 November, 08:00 (limits.hours)."
    assert "as fast as the line is until" in said(OFFICE, at("2026-11-28 09:00"))["says"]


@given(schedules(), moments, st.integers(0, 3 * 86400))
def test_between_two_changes_the_rate_is_the_same_and_it_is_what_the_wall_shows(
    schedule: Schedule, now: int, later: int
) -> None:
    moment = now + later
    known = [(float(now), schedule.rate_at(now)), *schedule.changes(now)]
    rate = [rate for since, rate in known if since <= moment][-1]
    wall = datetime.fromtimestamp(moment, schedule.zone)
    minute = wall.weekday() * DAY + wall.hour * 60 + wall.minute
    by_the_wall = [one.rate for one in schedule.windows if minute in set(one.minutes())]
    assert rate == schedule.rate_at(moment) == (by_the_wall or [schedule.rate])[0]
    assert len(by_the_wall) <= 1


@given(schedules(), moments, sizes)
def test_what_may_begin_is_never_under_way_while_it_is_closed_or_after_20_hours(
    schedule: Schedule, now: int, size: float
) -> None:
    begins = schedule.begins(size, now)
    if begins is None:
        return
    end = schedule.through(size, begins)
    assert end is not None
    assert begins <= end <= begins + KEPT
    rates = [schedule.rate_at(begins), *(r for moment, r in schedule.changes(begins) if moment < end)]
    assert min(rates) > 0
    moments = [begins, *(moment for moment, _ in schedule.changes(begins) if moment < end), end]
    room = sum(rate * (b - a) for rate, (a, b) in zip(rates, pairwise(moments), strict=True) if b > a)
    assert room == pytest.approx(size * SLACK, abs=10) or UNLIMITED in (*rates, schedule.rate_at(end))


@given(schedules(), moments, sizes, st.floats(0, 15 * 86400))
def test_what_is_said_never_to_fit_fits_at_no_time(
    schedule: Schedule, now: int, size: float, later: float
) -> None:
    if schedule.begins(size, now) is None:
        assume(now + later + KEPT <= now + 14 * 86400)
        assert not schedule.through(size * 1.000001, now + later)


@given(schedules(), moments)
def test_it_opens_when_it_is_said_to(schedule: Schedule, now: int) -> None:
    opens = schedule.opens(now)
    if opens is None:
        assert not any(rate for _, rate in schedule.changes(now))
    else:
        assert schedule.rate_at(opens) > 0
        assert opens == now or not schedule.rate_at(opens - 60) or opens - 60 < now
