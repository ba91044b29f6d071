"""When Casedrop pauses of its own accord."""

from hypothesis import given
from hypothesis import strategies as some

from casedrop.breaker import IN_A_ROW, LONGEST, Brake, Breaker
from casedrop.model import Problem, Weight

MISSING = (Problem("missing-file", "…", Weight.LACKING),)
TWO = (Problem("two-files", "…"), Problem("note", "…", Weight.NOTE))


def test_five_failures_in_a_row_for_one_reason_put_the_brake_on() -> None:
    brake = Brake()
    for case_id in range(IN_A_ROW):
        assert brake.why == ""
        brake.failed(case_id, TWO)
    assert "5 folders in a row" in brake.why
    assert "two-files" in brake.why
    assert "note" not in brake.why
    assert "Correct the rules in the configuration and reload the service" in brake.why


def test_one_folder_tried_again_and_again_stops_no_other() -> None:
    brake = Brake()
    for _ in range(IN_A_ROW):
        brake.failed(1, TWO)
    assert brake.why == ""


def test_another_reason_or_a_case_that_is_done_starts_the_count_anew() -> None:
    brake = Brake()
    ends = (MISSING, MISSING, MISSING, MISSING, TWO, MISSING, MISSING, MISSING, MISSING)
    for case_id, problems in enumerate(ends):
        brake.failed(case_id, problems)
    assert brake.why == ""
    brake.done()
    brake.failed(10, MISSING)
    assert brake.why == ""


@given(some.lists(some.sampled_from([MISSING, TWO, None]), max_size=20))
def test_the_brake_is_on_exactly_when_the_last_five_failed_alike(
    ends: list[tuple[Problem, ...] | None],
) -> None:
    brake = Brake()
    for case_id, problems in enumerate(ends):
        if problems is None:
            brake.done()
        else:
            brake.failed(case_id, problems)
    last = ends[-IN_A_ROW:]
    assert bool(brake.why) == (len(last) == IN_A_ROW and last[0] is not None and len(set(last)) == 1)


@given(some.lists(some.floats(0, 1000), max_size=30), some.floats(0, 500))
def test_a_host_is_left_alone_as_long_as_it_asked_but_asked_again_within_minutes(
    pauses: list[float], retry_after: float
) -> None:
    breaker = Breaker()
    now = 0.0
    for pause in pauses:
        now += pause
        was_open = bool(breaker.open(now))
        until = breaker.trip("platform", "gone", now, retry_after)
        assert now < until <= now + max(LONGEST, retry_after)
        assert was_open or until >= now + retry_after
    assert not breaker.mended(now)
    later = now + max(LONGEST, retry_after)
    assert breaker.mended(later) == bool(pauses)
    assert breaker.open(later) == ""


def test_what_got_through_ends_a_pause_that_no_host_asked_for() -> None:
    breaker = Breaker()
    breaker.trip("platform", "gone", 0.0, None)
    breaker.trip("storage", "busy", 0.0, 600.0)
    assert breaker.mended(1.0)
    assert breaker.open(1.0) == "busy"
