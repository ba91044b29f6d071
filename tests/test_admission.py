"""The platform's limits of how much may be there at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from casedrop.admission import MOST_ROWS, Admission, Need
from casedrop.errors import CaseProblem, Waits
from lab import Lab, mha
from waiting import wait_for

MIB = 1 << 20


@given(some.lists(some.tuples(some.integers(0, 9), some.integers(1, 50), some.booleans()), max_size=60))
def test_what_is_in_always_fits_and_somebody_can_always_go_on(moves: list[tuple[int, int, bool]]) -> None:
    admission = Admission(most_bytes=100)
    for case_id, size, enters in moves:
        if not enters:
            admission.leave(case_id)
            continue
        known = admission.inside.get(case_id)
        try:
            admission.enter(case_id, known or Need(1, size), lambda: 0)
        except Waits:
            assert len(admission.inside) > 0
        assert sum(one.size for one in admission.inside.values()) <= 100


def test_a_limit_is_learned_from_a_refusal_and_what_never_fits_is_refused_with_the_number() -> None:
    admission = Admission()
    admission.enter(1, Need(1, 60), lambda: 0)
    admission.enter(2, Need(1, 50), lambda: 1)
    admission.refused(2, 2, made=1)
    with pytest.raises(Waits):
        admission.enter(2, Need(1, 50), lambda: 1)
    admission.leave(1)
    admission.enter(2, Need(1, 50), lambda: 1)
    admission.leave(2)
    with pytest.raises(CaseProblem, match="GB at once"):
        admission.enter(3, Need(1, 110), lambda: 0)
    with pytest.raises(CaseProblem, match="uploads"):
        admission.enter(4, Need(MOST_ROWS + 1, 1), lambda: 0)


def test_the_platform_is_asked_for_its_count_again_only_where_the_last_one_leaves_no_room() -> None:
    admission, asked = Admission(), list[int]()

    def count() -> int:
        asked.append(MOST_ROWS - 10)
        return asked[-1]

    admission.enter(1, Need(4, 1), count)
    admission.enter(2, Need(4, 1), count)
    assert len(asked) == 1
    admission.leave(1)  # its uploads may be there still
    admission.enter(3, Need(4, 1), count)
    assert len(asked) == 2
    admission.leave(2)
    with pytest.raises(Waits):
        admission.enter(4, Need(10, 1), lambda: MOST_ROWS - 13)
    admission.enter(4, Need(10, 1), lambda: MOST_ROWS - 14)
    assert admission.inside.keys() == {3, 4}


def test_a_case_is_not_taken_for_too_large_where_an_upload_of_another_program_is_in_its_way() -> None:
    """It would have five uploads, and has one so far; the other that is there is not its own."""
    admission = Admission()
    admission.enter(1, Need(5, 1000), lambda: 1)
    admission.refused(1, 2, made=1)
    admission.enter(2, Need(1, 10**9), lambda: 1)
    admission.leave(2)
    admission.enter(3, Need(5, 1000), lambda: 0)
    with pytest.raises(CaseProblem):
        admission.refused(3, 1, made=1)


def test_the_uploads_that_a_case_made_before_a_restart_are_not_in_its_own_way() -> None:
    """Otherwise one of more than a thousand files would wait until they are gone, and begin anew."""
    admission = Admission()
    admission.enter(1, Need(1500, 1, made=900), lambda: 900)
    with pytest.raises(Waits):
        admission.enter(2, Need(1500, 1), lambda: 900)


@pytest.mark.long
def test_more_cases_than_fit_at_once_all_go_through_one_after_the_other(lab: Lab) -> None:
    lab.sandbox.state.most_bytes = 10 * MIB
    for number in range(4):
        lab.move_in(
            f"P{number}", r__pdf=b"%PDF" + bytes([number]) * (9 * MIB), ct__mha=mha(fill=bytes([number]))
        )
    assert lab.once() == 0, lab.log.read_text()
    assert sorted(lab.titles()) == ["P0", "P1", "P2", "P3"]


@pytest.mark.long
def test_a_case_that_can_never_fit_is_refused_with_the_number(lab: Lab) -> None:
    lab.sandbox.state.most_bytes = 4 * MIB
    two_at_once = "[limits]\nconnections = 2"
    lab.config.write_text(lab.config.read_text().replace("[limits]", two_at_once))
    lab.move_in("P1", a_airways__mha=mha(200), ct__mha=mha(201), r__pdf=b"%PDF")
    assert lab.once() == 1
    assert "less than 0.0161 GB at once" in lab.wait_failed("P1")


def test_uploads_that_came_since_they_were_counted_are_waited_for_with_the_reason(lab: Lab) -> None:
    """Several at once may be a few too many, which only the platform's refusal tells."""
    lab.sandbox.state.most_uploads = 0
    lab.sandbox.state.make_upload({"filename": "of another program"})
    lab.start()
    lab.move_in("P1", ct__mha=mha(), r__pdf=b"%PDF")
    wait_for(lambda: "too many uploads" in lab.case("P1").get("why", ""), 30, "it is said")
    lab.sandbox.state.most_uploads = 2000
    lab.wait_done("P1")


@pytest.mark.long
def test_too_many_uploads_of_this_user_are_waited_for(lab: Lab) -> None:
    lab.start()
    wait_for((lab.state / "status.json").exists, what="the service runs")
    for _ in range(MOST_ROWS):
        lab.sandbox.state.make_upload({"filename": "x"})
    lab.move_in("P1", ct__mha=mha())
    wait_for(lambda: "earlier uploads" in lab.case("P1").get("why", ""), 30, "it is said")
    lab.sandbox.expire_uploads()
    lab.wait_done("P1", 60)
