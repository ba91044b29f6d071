"""A folder whose display set is finished already: what it lacks is added, or what differs replaced."""

import hashlib

import pytest

from lab import NO_IMAGE, Lab, mha
from waiting import wait_for

pytestmark = pytest.mark.long

FIRST = {"ct__mha": mha(), "score__json": b'{"score": 1}'}
MASK = mha(fill=b"\0")
SHARED_TITLE = """
folder = '(?P<patient>P\\d+).*'
title = "{patient}"
existing_display_set = "add"
"""


def begun(lab: Lab, mode: str) -> None:
    """P001 is done, and out of the way."""
    lab.configure(f'existing_display_set = "{mode}"', quiet=0.1)
    lab.move_in("P001", **FIRST)
    assert lab.once() == 0
    (lab.done / "P001").rename(lab.desk / "first")


def sent(lab: Lab, since: int) -> list[str]:
    """What was asked of display sets since that request, besides looking."""
    return [
        f"{method} {status}"
        for method, path, status in lab.sandbox.requests[since:]
        if method != "GET" and "display-sets/" in path
    ]


def test_only_what_was_forgotten_is_added_and_the_rest_stays(lab: Lab) -> None:
    begun(lab, "add")
    before, since = lab.values("P001"), len(lab.sandbox.requests)
    lab.move_in("P001", ct_airways__mha=MASK)
    assert lab.once() == 0, lab.log.read_text()
    after = lab.values("P001")
    assert after.pop("airway-segmentation")["sha256"] == hashlib.sha256(MASK).hexdigest()
    assert after == before
    assert sent(lab, since) == ["PATCH 200", "PATCH 200"], "one looks whether the set is open"
    (receipt,) = lab.done.glob("P001 *.receipt.json")
    assert lab.receipt(receipt)["amended"] == ["airway-segmentation"]


def test_an_amendment_leaves_the_order_as_it_was(lab: Lab) -> None:
    folder = "folder = '(?P<patient>P\\d+)_(?P<visit>\\d+)'"
    lab.configure(f'{folder}\ntitle = "{{patient}}"\norder = "{{visit}}"\nexisting_display_set = "add"')
    lab.move_in("P001_3", **FIRST)
    assert lab.once() == 0
    lab.move_in("P001_5", ct_airways__mha=MASK)
    assert lab.once() == 0, lab.log.read_text()
    (made,) = lab.sandbox.display_sets("lung-2026")
    assert ("airway-segmentation" in made.values, made.order) == (True, 3)


def test_a_whole_folder_with_one_file_more_sends_only_that(lab: Lab) -> None:
    begun(lab, "add")
    since = len(lab.sandbox.requests)
    lab.move_in("P001", **FIRST, r__pdf=b"%PDF")
    assert lab.once() == 0, lab.log.read_text()
    assert lab.values("P001").keys() == {"ct-image", "some-score", "report-pdf"}
    posts = [path for method, path, _ in lab.sandbox.requests[since:] if method == "POST"]
    assert len([path for path in posts if path.endswith("uploads/")]) == 1


def test_adding_changes_nothing_that_is_there(lab: Lab) -> None:
    begun(lab, "add")
    before = lab.values("P001")
    lab.move_in("P001", **(FIRST | {"score__json": b'{"score": 2}', "r__pdf": b"%PDF"}))
    assert lab.once() == 1
    reason = lab.wait_failed("P001")
    assert "already holds some-score" in reason
    assert "is as it was; nothing of this folder was sent" in reason
    assert lab.values("P001") == before


def test_replacing_sends_what_differs_and_leaves_the_rest(lab: Lab) -> None:
    begun(lab, "replace")
    image = lab.values("P001")["ct-image"]
    lab.move_in("P001", score__json=b'{"score": 2}')
    assert lab.once() == 0, lab.log.read_text()
    assert lab.values("P001") == {"ct-image": image, "some-score": 2}


def test_an_image_that_fails_leaves_no_new_score_beside_the_old_one(lab: Lab) -> None:
    begun(lab, "replace")
    before = lab.values("P001")
    lab.move_in("P001", ct__mha=NO_IMAGE, score__json=b'{"score": 2}')
    assert lab.once() == 1
    assert lab.values("P001") == before
    (lab.failed / "P001" / "ct.mha").write_bytes(mha(9))
    lab.command("retry", "lung/P001")
    assert lab.once() == 0, lab.log.read_text()
    assert lab.values("P001")["some-score"] == 2
    assert lab.values("P001")["ct-image"]["sha256"] == hashlib.sha256(mha(9)).hexdigest()
    assert lab.titles() == ["P001"]


@pytest.mark.parametrize("mode", ["add", "replace"])
def test_the_same_folder_again_sends_nothing(lab: Lab, mode: str) -> None:
    begun(lab, mode)
    since = len(lab.sandbox.requests)
    lab.move_in("P001", **FIRST)
    assert lab.once() == 0
    assert {method for method, _, _ in lab.sandbox.requests[since:]} == {"GET"}


def test_after_an_amendment_each_folder_that_was_sent_is_known(lab: Lab) -> None:
    begun(lab, "add")
    lab.move_in("P001", r__pdf=b"%PDF")
    assert lab.once() == 0
    lab.configure(quiet=0.1)
    since = len(lab.sandbox.requests)
    lab.move_in("P001", **FIRST, r__pdf=b"%PDF")
    assert lab.once() == 0
    (lab.desk / "first").rename(lab.drop / "P001")
    assert lab.once() == 0
    assert {method for method, _, _ in lab.sandbox.requests[since:]} == {"GET"}


def test_what_was_replaced_since_is_not_there_any_more(lab: Lab) -> None:
    """Amending is no longer allowed when the old folder comes back."""
    begun(lab, "replace")
    lab.move_in("P001", ct__mha=mha(fill=b"\2"), score__json=b'{"score": 1}')
    assert lab.once() == 0, lab.log.read_text()
    lab.configure('existing_display_set = "refuse"', quiet=0.1)
    (lab.desk / "first").rename(lab.drop / "P001")
    assert lab.once() == 1, lab.log.read_text()
    assert "the contents of this one differ" in lab.wait_failed("P001")


@pytest.mark.parametrize("mode", ["add", "replace"])
def test_a_folder_without_what_an_editor_has_removed_is_not_called_uploaded(lab: Lab, mode: str) -> None:
    begun(lab, mode)
    (made,) = lab.sandbox.display_sets("lung-2026")
    lab.sandbox.edit_value(made.pk, "ct-image", None)
    lab.move_in("P001", score__json=b'{"score": 1}')
    assert lab.once() == 1
    assert "nothing in the folder for the required ct-image" in lab.wait_failed("P001")


@pytest.mark.parametrize(("mode", "code"), [("refuse", 1), ("add", 1), ("replace", 0)])
def test_what_an_editor_has_changed_is_not_there_any_more(lab: Lab, mode: str, code: int) -> None:
    begun(lab, mode)
    (made,) = lab.sandbox.display_sets("lung-2026")
    lab.sandbox.edit_value(made.pk, "some-score", 5)
    lab.move_in("P001", **FIRST)
    assert lab.once() == code
    assert lab.values("P001")["some-score"] == (1 if mode == "replace" else 5)


def test_a_closed_display_set_is_found_before_a_byte_is_sent(lab: Lab) -> None:
    begun(lab, "replace")
    (made,) = lab.sandbox.display_sets("lung-2026")
    lab.sandbox.close_display_set(made.pk)
    since = len(lab.sandbox.requests)
    lab.move_in("P001", ct__mha=mha(9))
    assert lab.once() == 1
    assert "has answers of readers (or ground truth)" in lab.wait_failed("P001")
    assert not [path for method, path, _ in lab.sandbox.requests[since:] if method in ("POST", "PUT")]


def test_a_value_an_editor_has_changed_is_theirs_unless_replacing_is_allowed(lab: Lab) -> None:
    begun(lab, "add")
    (made,) = lab.sandbox.display_sets("lung-2026")
    lab.sandbox.edit_value(made.pk, "some-score", 7)
    lab.move_in("P001", **FIRST, r__pdf=b"%PDF")
    assert lab.once() == 1
    assert "already holds some-score" in lab.wait_failed("P001")
    lab.configure('existing_display_set = "replace"', quiet=0.1)
    lab.command("retry", "lung/P001")
    assert lab.once() == 0
    assert lab.values("P001")["some-score"] == 1


def test_what_the_display_set_no_longer_holds_may_not_be_missing_from_the_folder(lab: Lab) -> None:
    begun(lab, "add")
    (made,) = lab.sandbox.display_sets("lung-2026")
    lab.sandbox.edit_value(made.pk, "ct-image", None)
    lab.move_in("P001", r__pdf=b"%PDF")
    assert lab.once() == 1
    assert "nothing in the folder for the required ct-image" in lab.wait_failed("P001")


def test_two_folders_that_amend_one_display_set_go_one_after_the_other(lab: Lab) -> None:
    lab.configure(
        'folder = \'(?P<patient>P\\d+).*\'\ntitle = "{patient}"\nexisting_display_set = "add"', quiet=0.1
    )
    lab.move_in("P001", **FIRST)
    assert lab.once() == 0
    lab.sandbox.hold_imports()
    lab.start()
    lab.move_in("P001_a", ct_airways__mha=MASK)
    wait_for(lambda: "checked" in lab.case("P001_a").get("state", ""), 30, "the first is being checked")
    lab.move_in("P001_b", r__pdf=b"%PDF")
    wait_for(lambda: '"P001_a"' in lab.case("P001_b").get("why", ""), 30, "the second waits for it")
    lab.sandbox.release_imports()
    lab.wait_done("P001_a")
    lab.wait_done("P001_b")
    assert lab.values("P001").keys() == {"ct-image", "some-score", "airway-segmentation", "report-pdf"}


AMENDMENT = {"ct__mha": mha(9), "r__pdf": b"%PDF", "score__json": b'{"score": 2}'}


@pytest.mark.one_in_ten
@pytest.mark.parametrize("acted", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(30))
def test_killed_at_any_request_of_an_amendment_it_ends_as_if_it_had_not(
    lab: Lab, number: int, *, acted: bool
) -> None:
    begun(lab, "replace")
    lab.sandbox.faults.add(skip=number, cut=True, after=acted, call=lab.kill)
    lab.move_in("P001", **AMENDMENT)
    lab.once()
    lab.sandbox.faults.clear()
    assert lab.once() == 0, lab.log.read_text()
    assert lab.titles() == ["P001"]
    values = lab.values("P001")
    assert values["ct-image"]["sha256"] == hashlib.sha256(mha(9)).hexdigest()
    assert values["some-score"] == 2
    assert len(values) == 3
    assert len([*lab.done.glob("P001*.receipt.json")]) == 2
