"""What people decide with `casedrop accept` and `casedrop retry`, on the running service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from casedrop.sandbox import Sandbox
from lab import Lab, mha
from waiting import wait_for

pytestmark = pytest.mark.long

WHOLE = {"ct__mha": mha(), "r__pdf": b"%PDF", "score__json": b'{"score": 1}'}


@pytest.fixture
def forgetful(tmp_path: Path, sandbox: Sandbox) -> Iterator[Lab]:
    """A lab whose journal was lost after P001 was uploaded, and whose folder is in drop/ again."""
    lab = Lab(tmp_path, sandbox)
    lab.move_in("P001", **WHOLE)
    assert lab.once() == 0
    (lab.done / "P001").rename(lab.drop / "P001")
    lab.state.rename(tmp_path / "lost")
    assert lab.once() == 75
    assert "another journal" in lab.status()["held"]
    lab.command("init", "--take-over")
    lab.start()
    wait_for(lambda: "accept" in lab.case("P001").get("why", ""), 30, "the title that is there is said")
    yield lab
    lab.stop()


def test_after_a_lost_journal_a_folder_that_is_there_already_is_accepted(forgetful: Lab) -> None:
    assert "holds just what this folder does" in forgetful.command("accept", "lung/P001")
    wait_for(lambda: list(forgetful.done.glob("P001 *.receipt.json")), 30, "a receipt beside the first one")
    assert forgetful.titles() == ["P001"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"score__json": b'{"score": 2}'}, "some-score differs"),
        ({"r__pdf": b"%PDF other"}, "report-pdf differs"),
        ({"ct__mha": mha(9)}, "ct-image differs"),
        ({"ct_airways__mha": mha()}, "it lacks airway-segmentation"),
    ],
)
def test_what_differs_is_said_and_nothing_is_accepted(
    tmp_path: Path, sandbox: Sandbox, changed: dict[str, bytes], said: str
) -> None:
    lab = Lab(tmp_path, sandbox)
    lab.move_in("P001", **WHOLE)
    assert lab.once() == 0
    lab.state.rename(tmp_path / "lost")
    lab.command("init", "--take-over")
    (lab.done / "P001").rename(lab.desk / "first")
    lab.move_in("P001", **(WHOLE | changed))
    assert lab.once() == 75
    assert said in lab.command("accept", "--all", code=1)
    assert lab.once() == 75
    assert (lab.drop / "P001").is_dir()


def test_a_set_with_more_than_the_folder_is_not_accepted(forgetful: Lab) -> None:
    forgetful.stop()
    (forgetful.drop / "P001" / "r.pdf").unlink()
    assert forgetful.once() == 75
    assert "for which the folder has nothing" in forgetful.command("accept", "--all", code=1)


def test_accept_and_retry_say_what_they_do_not_know(lab: Lab) -> None:
    lab.move_in("P001", **WHOLE)
    assert lab.once() == 0
    assert "not under way" in lab.command("accept", "lung/P001", code=78)
    assert "DROP/NAME" in lab.command("accept", code=78)
    assert 'no drop "lunge" (there are: lung)' in lab.command("retry", "lunge/P001", code=78)
    assert "There is no P001 in failed/" in lab.command("retry", "lung/P001", code=78)
    assert "none such" in lab.command("retry", "lung", "--all")
    assert "No folder waits" in lab.command("accept", "--all")


def test_failed_folders_are_moved_back_by_name_by_reason_or_all(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha(), odd__txt=b"")
    lab.move_in("P002", ct__mha=mha(9), odd__txt=b"")
    lab.move_in("P003", r__pdf=b"%PDF")
    assert lab.once() == 1
    for name in ("P001", "P002"):
        (lab.failed / name / "odd.txt").unlink()
    assert "P003" not in lab.command("retry", "lung", "--all", "--reason", "unmatched-file")
    assert lab.once() == 0
    assert sorted(lab.titles()) == ["P001", "P002"]
    (lab.failed / "P003" / "ct.mha").write_bytes(mha())
    assert "is in drop/ again" in lab.command("retry", "lung/P003")
    assert lab.once() == 0
    assert not list(lab.failed.iterdir())


def test_a_deleted_set_is_made_anew_when_a_person_says_so(lab: Lab) -> None:
    lab.start()
    lab.sandbox.hold_imports()
    lab.move_in("P001", **WHOLE)
    wait_for(lambda: "checked" in lab.case("P001").get("state", ""), 30, "it is being checked")
    assert "is under way" in lab.command("retry", "lung/P001", code=1)
    (made,) = lab.sandbox.display_sets("lung-2026")
    lab.sandbox.delete_display_set(made.pk)
    wait_for(lambda: "casedrop retry" in lab.case("P001").get("why", ""), 60, "a person is asked")
    assert "makes a new one" in lab.command("retry", "lung/P001")
    wait_for(
        lambda: lab.titles() == ["P001"], 30, "there is a new one, while the first may still be taken in"
    )
    lab.sandbox.release_imports()
    lab.wait_done("P001")
    (anew,) = lab.sandbox.display_sets("lung-2026")
    assert anew.pk != made.pk
    assert anew.values.keys() == made.values.keys() | {"ct-image", "report-pdf", "some-score"}
