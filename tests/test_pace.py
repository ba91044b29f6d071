"""How fast an upload is said to go, and when the log tells of it."""

import os
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from casedrop import pace, prepare
from casedrop.config import load, read_token
from casedrop.logs import Names
from casedrop.pace import SPAN, Milestones, Pace, figures
from casedrop.pipeline import Progress
from casedrop.sandbox import state
from casedrop.service import Service
from lab import Lab, mha


def speeds(*moved: int, every: float = 1.0) -> Iterator[float | None]:
    found = Pace()
    for number, count in enumerate(moved):
        yield found.speed(number * every, count)


def test_the_speed_is_not_told_before_a_second_has_passed() -> None:
    assert list(speeds(0, 100, 200, every=0.4)) == [None, None, None]
    assert list(speeds(0, 100, 300)) == [None, 100, 150]


def test_the_speed_is_that_of_the_last_seconds_alone() -> None:
    fast, slow = range(0, 30_000, 1000), range(30_000, 30_000 + int(SPAN) * 10 + 20, 10)
    assert [*speeds(*fast, *slow)][-1] == pytest.approx(10)


def test_a_line_that_stands_still_has_a_speed_of_nothing_and_no_time_left() -> None:
    assert [*speeds(0, *[500] * 30)][-1] == 0
    assert figures(0.0, 1000) == {"speed": 0}


def test_the_time_left_is_told_where_the_speed_is_known_and_something_is_left() -> None:
    assert figures(100.0, 1001) == {"speed": 100, "left_seconds": 11}
    assert figures(None, 1000) == figures(100.0, 0) == {}


def test_looking_often_keeps_no_more_than_looking_each_second() -> None:
    found = Pace()
    for number in range(10_000):
        found.speed(number / 100, number)
    assert len(found.seen) <= SPAN + 2


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(0, 30))))
def test_the_log_tells_each_tenth_at_most_once_and_never_sooner_than_allowed(
    steps: list[tuple[float, int]],
) -> None:
    milestones, now, percent = Milestones(), 0.0, 0
    told = []
    for seconds, more in steps:
        now, percent = now + seconds, min(percent + more, 100)
        if milestones.due(now, percent):
            told.append((now, percent))
    assert all(later[0] - before[0] >= pace.TELL_SECONDS for before, later in pairwise(told))
    assert len({percent // pace.STEP for _, percent in told}) == len(told)


def test_a_quick_upload_is_no_line_in_the_log_and_a_slow_one_is() -> None:
    milestones = Milestones()
    assert not any(milestones.due(second, 3 * second) for second in range(30))
    assert milestones.due(30, 90)


def test_no_bytes_at_all_are_counted_without_a_fault() -> None:
    Progress(0).add(0)


@pytest.mark.long
def test_a_large_upload_says_in_the_log_how_far_it_is_and_never_whose(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "TELL_SECONDS", 0.0)
    monkeypatch.setattr(prepare, "part_size", lambda _: 4096)
    monkeypatch.setattr(state, "SMALLEST_PART", 1)
    lab.move_in("Hansen_1950", hansen__mha=mha(32))
    lab.state.mkdir()
    settings = load(lab.config, os.environ)
    token = read_token(settings, os.environ)
    names = Names("hidden", b"key")
    service = Service(settings, lambda: token, names)
    with capture_logs(processors=[names]) as said:
        assert service.run(once=True) == 0
    lines = [one for one in said if one["event"] == "uploading"]
    tenths = [one["percent"] // pace.STEP for one in lines]
    assert tenths == sorted(set(tenths))
    assert len(tenths) >= 8
    assert tenths[-1] == 10
    assert {(one["drop"], one["case"]) for one in lines} == {("lung", names.of("Hansen_1950"))}
    assert "ansen" not in str(said)
