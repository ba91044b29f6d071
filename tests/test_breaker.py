"""When Casedrop pauses of its own accord."""

from hypothesis import given
from hypothesis import strategies as some

from casedrop.breaker import IN_A_ROW, LONGEST, Brake, Breaker
from casedrop.model import Problem, Weight

MISSING = (Problem("missing-file", "…", Weight.LACKING),)
TWO = (Problem("two-files", "…"), Problem("note", "…", Weight.NOTE))


def test_five_failures_in_a_row_for_one_reason_put_the_brake_on() -> None:
    brake = Brake()
    for _ in range(IN_A_ROW):
        assert brake.why == ""
        brake.failed(TWO)
    assert "5 folders in a row" in brake.why
    assert "two-files" in brake.why
    assert "note" not in brake.why


def test_another_reason_or_a_case_that_is_done_starts_the_count_anew() -> None:
    brake = Brake()
    for problems in (MISSING, MISSING, MISSING, MISSING, TWO, MISSING, MISSING, MISSING, MISSING):
        brake.failed(problems)
    assert brake.why == ""
    brake.done()
    brake.failed(MISSING)
    assert brake.why == ""


@given(some.lists(some.sampled_from([MISSING, TWO, None]), max_size=20))
def test_the_brake_is_on_exactly_when_the_last_five_failed_alike(
    ends: list[tuple[Problem, ...] | None],
) -> None:
    brake = Brake()
    for problems in ends:
        if problems is None:
            brake.done()
        else:
            brake.failed(problems)
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
    assert breaker.mended() == bool(pauses)
    assert breaker.open(now) == ""
