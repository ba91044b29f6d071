"""The same folder, title or files a second time."""

import pytest

from casedrop.watch import file_system
from lab import NO_IMAGE, Lab, mha
from waiting import wait_for

pytestmark = pytest.mark.long

WHOLE = {"ct__mha": mha(), "score__json": b'{"score": 1}'}


def test_the_same_folder_again_is_filed_as_done_without_a_byte(lab: Lab) -> None:
    lab.move_in("P001", **WHOLE)
    assert lab.once() == 0
    first = lab.wait_done("P001")
    (lab.done / "P001").rename(lab.desk / "again")
    before = len(lab.sandbox.requests)
    lab.move_in("P001", **WHOLE)
    assert lab.once() == 0
    assert {method for method, _, _ in lab.sandbox.requests[before:]} == {"GET"}
    (second,) = lab.done.glob("P001 *.receipt.json")
    assert '"already_uploaded": true' in second.read_text()
    assert first["display_set"] in second.read_text()
    assert lab.titles() == ["P001"]
    assert [one["bytes"] for one in lab.status()["cases"]] == [0, len(mha())]
    assert lab.status()["days"][-1]["bytes"] == len(mha())


def test_another_folder_of_the_same_title_is_refused_with_both_named(lab: Lab) -> None:
    lab.move_in("P001", **WHOLE)
    assert lab.once() == 0
    lab.move_in("P001", ct__mha=mha(9))
    assert lab.once() == 1
    reason = lab.wait_failed("P001")
    assert 'belongs to the folder "P001"' in reason
    assert "display-sets/" in reason
    assert lab.values("P001")["some-score"] == 1


def test_the_same_folder_again_waits_for_a_person_when_its_set_was_deleted(lab: Lab) -> None:
    lab.move_in("P001", **WHOLE)
    assert lab.once() == 0
    (made,) = lab.sandbox.display_sets("lung-2026")
    lab.sandbox.delete_display_set(made.pk)
    (lab.done / "P001").rename(lab.drop / "P001")
    assert lab.once() == 75
    assert "gone from Grand Challenge" in lab.case("P001")["why"]
    assert lab.titles() == []
    assert "makes a new one" in lab.command("retry", "lung/P001")
    assert lab.once() == 0
    assert lab.titles() == ["P001"]


def test_the_files_of_one_patient_in_the_folder_of_another_wait_for_a_person(lab: Lab) -> None:
    lab.start()
    lab.move_in("P001", **WHOLE)
    lab.wait_done("P001")
    lab.move_in("P002", **(WHOLE | {"score__json": b'{"score": 2}'}))
    wait_for(lambda: 'the folder "P001"' in lab.case("P002").get("why", ""), 30, "both are named")
    assert lab.case("P002")["state"] == "waiting for a person"
    assert lab.titles() == ["P001"]
    assert "goes on" in lab.command("retry", "lung/P002")
    lab.wait_done("P002")
    assert sorted(lab.titles()) == ["P001", "P002"]


def test_done_dragged_into_drop_is_refused(lab: Lab) -> None:
    lab.move_in("P001", **WHOLE)
    assert lab.once() == 0
    lab.done.rename(lab.drop / "done")
    lab.done.mkdir()
    assert lab.once() == 1
    assert "filed before" in lab.wait_failed("done")
    assert lab.titles() == ["P001"]


def test_our_own_texts_that_come_along_with_a_folder_are_recognised(lab: Lab) -> None:
    lab.move_in("P001", r__pdf=b"%PDF")
    assert lab.once() == 1
    (lab.failed / "P001" / "ct.mha").write_bytes(mha())
    for name in ("P001", "P001.reason.txt"):
        (lab.failed / name).rename(lab.drop / name)
    assert lab.once() == 0
    assert "may be deleted" in lab.case("P001.reason.txt")["why"]


def test_a_failed_folder_that_comes_back_with_anothers_files_waits_for_a_person(lab: Lab) -> None:
    lab.move_in("P001", **WHOLE)
    lab.move_in("P002", ct__mha=NO_IMAGE, score__json=b'{"score": 2}')
    assert lab.once() == 1
    (lab.failed / "P002" / "ct.mha").write_bytes(mha())
    lab.command("retry", "lung/P002")
    assert lab.once() == 75
    assert 'the folder "P001"' in lab.case("P002")["why"]
    assert lab.values("P002").keys() == {"some-score"}


def test_a_failed_folder_put_right_under_another_name_goes_on_and_lets_a_held_drop_go(lab: Lab) -> None:
    if not file_system(str(lab.root)).inodes:
        pytest.skip("the temporary directory is on a file system where a folder may change its inode number")
    lab.start()
    for n in range(5):
        lab.move_in(f"P{n}", ct__mha=mha(), odd__txt=b"")
        lab.wait_failed(f"P{n}")
    lab.move_in("P9", ct__mha=mha(fill=b"9"))
    wait_for(lambda: "in a row" in str(lab.status()), what="the drop is held")
    (lab.failed / "P0" / "odd.txt").unlink()
    (lab.failed / "P0").rename(lab.drop / "A001")
    assert lab.wait_done("A001")["title"] == "A001"
    lab.wait_done("P9")
    assert not (lab.failed / "P0.reason.txt").exists()
    wait_for(lambda: not lab.case("P0"), what="the old name is gone from the status")
