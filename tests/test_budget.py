"""However many ask, no more goes out than the rate allows, and a burst."""

from hypothesis import given
from hypothesis import strategies as st

from casedrop.budget import LEAST, MOST, PIECES, Bucket, burst, piece

MBIT = 1e6 / 8
rates = st.floats(0.1, 100_000).map(lambda megabit: megabit * MBIT)
waits = st.floats(0, 5)


@given(st.lists(st.tuples(waits, rates, st.floats(0.01, 1)), min_size=1, max_size=60))
def test_over_any_time_no_more_goes_out_than_the_rates_allow_and_one_burst(
    asked: list[tuple[float, float, float]],
) -> None:
    now, bucket = 0.0, Bucket(0.0)
    seen: list[tuple[float, float, int]] = []  # when, what the rate allowed since the last, what went out
    for wait, rate, share in asked:
        now += wait
        count = max(int(piece(rate) * share), 1)
        went = 0 if bucket.take(count, rate, now) else count
        seen.append((now, rate * wait, went))
    most = PIECES * MOST
    for first in range(len(seen)):
        room = 0.0
        out = seen[first][2]
        for _, allowed, went in seen[first + 1 :]:
            room += allowed
            out += went
            assert out <= room + most + 1
        assert seen[first][2] <= most


@given(rates, st.integers(1, 50))
def test_at_a_steady_rate_the_burst_is_that_of_the_rate(rate: float, pieces: int) -> None:
    bucket, now, out = Bucket(0.0), 0.0, 0
    for _ in range(pieces):
        while wait := bucket.take(piece(rate), rate, now):
            now += wait
        out += piece(rate)
        assert out <= rate * now + burst(rate) + 1


@given(rates)
def test_who_waits_as_long_as_told_may_go_on_and_the_line_is_full(rate: float) -> None:
    bucket, now, pieces = Bucket(0.0), 0.0, 40
    for _ in range(pieces):
        tries = 0
        while wait := bucket.take(piece(rate), rate, now):
            now += wait * 1.000001
            tries += 1
            assert tries <= 2
    assert now <= pieces * piece(rate) / rate * 1.001


@given(rates)
def test_a_piece_is_never_too_small_to_be_worth_it_nor_larger_than_a_read(rate: float) -> None:
    assert LEAST <= piece(rate) <= MOST
    assert PIECES * piece(rate) <= burst(rate)


def test_a_long_idle_line_saves_up_no_more_than_a_burst() -> None:
    bucket = Bucket(0.0)
    rate = 100 * MBIT
    out, now = 0, 1e6
    while not bucket.take(piece(rate), rate, now):
        out += piece(rate)
    assert out <= burst(rate)
