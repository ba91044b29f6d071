"""Folders that become items of an archive, through the real service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from casedrop.grand_challenge import GrandChallenge
from casedrop.sandbox import Sandbox
from lab import NO_IMAGE, Lab, mha
from waiting import wait_for

pytestmark = pytest.mark.long

ARCHIVE = "scans-2026"
WHOLE = {
    "ct__mha": mha(),
    "ct_airways__mha": mha(fill=b"\0"),
    "r__pdf": b"%PDF",
    "score__json": b'{"score": 2.5}',
}


def into_archive(lab: Lab) -> None:
    text = lab.config.read_text()
    assert text.count('reader_study = "lung-2026"') == 1
    lab.config.write_text(text.replace('reader_study = "lung-2026"', f'archive = "{ARCHIVE}"'))


@pytest.fixture
def lab(tmp_path: Path, sandbox: Sandbox) -> Iterator[Lab]:
    """Its drop goes to the archive."""
    made = Lab(tmp_path, sandbox)
    into_archive(made)
    yield made
    made.stop()


def items(lab: Lab) -> list[str]:
    return [one.title for one in lab.sandbox.archive_items(ARCHIVE)]


def test_a_folder_becomes_an_item_with_all_its_values(lab: Lab) -> None:
    assert f"archive http://{lab.sandbox.url.split('/')[2]}/archives/{ARCHIVE}/ with" in lab.command("check")
    folder = lab.folder("P001", **WHOLE)
    assert f'Archive item "P001" in archive {ARCHIVE}' in lab.command("plan", str(folder), "--drop", "lung")
    folder.rename(lab.drop / "P001")
    assert lab.once() == 0, lab.log.read_text()
    (item,) = lab.sandbox.archive_items(ARCHIVE)
    assert item.values.keys() == {"ct-image", "airway-segmentation", "report-pdf", "some-score"}
    assert (item.title, item.values["some-score"]) == ("P001", 2.5)
    receipt = lab.wait_done("P001")
    assert (receipt["archive"], "reader_study" in receipt) == (ARCHIVE, False)
    assert receipt["display_set"] == f"{lab.sandbox.url}archives/items/{item.pk}/"
    assert lab.records()[-1]["display_set"] == receipt["display_set"]
    assert lab.records()[0]["study"] == f"archive {ARCHIVE}"
    assert lab.titles() == []


def test_the_same_folder_again_is_filed_without_a_byte(lab: Lab) -> None:
    lab.move_in("P001", **WHOLE)
    assert lab.once() == 0
    (lab.done / "P001").rename(lab.drop / "P001")
    before = len(lab.sandbox.requests)
    assert lab.once() == 0, lab.log.read_text()
    assert {method for method, _, _ in lab.sandbox.requests[before:]} == {"GET"}
    assert items(lab) == ["P001"]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("number", range(1, 5))
def test_a_service_killed_again_and_again_doubles_nothing(lab: Lab, number: int) -> None:
    lab.move_in("P001", **WHOLE)
    kills = 0
    while kills < 12:
        lab.sandbox.faults.clear()
        lab.sandbox.faults.add(status=0, skip=number, call=lab.kill)
        if lab.once() >= 0:
            break
        kills += 1
    lab.sandbox.faults.clear()
    assert kills
    assert lab.once() == 0, lab.log.read_text()
    (item,) = lab.sandbox.archive_items(ARCHIVE)
    assert (item.title, len(item.values)) == ("P001", 4)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_lost_answer_makes_no_second_item(lab: Lab, method: str) -> None:
    lab.sandbox.faults.add(method=method, path="archives/items/", status=500, after=True)
    lab.move_in("P001", **WHOLE)
    assert lab.once() == 0, lab.log.read_text()
    assert items(lab) == ["P001"]


def test_an_item_that_is_done_may_get_what_was_forgotten(lab: Lab) -> None:
    lab.configure('existing_display_set = "add"')
    into_archive(lab)
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0
    (lab.done / "P001").rename(lab.desk / "first")
    lab.move_in("P001", r__pdf=b"%PDF")
    assert lab.once() == 0, lab.log.read_text()
    (item,) = lab.sandbox.archive_items(ARCHIVE)
    assert item.values.keys() == {"ct-image", "report-pdf"}


def test_what_is_said_of_an_item_names_its_archives_page_too(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=NO_IMAGE, score__json=b'{"score": 1}')
    assert lab.once() == 1
    reason = lab.wait_failed("P001")
    assert "The archive item http" in reason
    assert f"/archives/{ARCHIVE}/) exists and readers can see it" in reason


def test_an_item_of_that_title_that_is_not_ours_waits_for_a_person_who_may_accept_it(lab: Lab) -> None:
    archives = GrandChallenge(lab.sandbox.url, lambda: lab.sandbox.token).of(archive=True)
    item = archives.create_display_set(lab.sandbox.state.archives[ARCHIVE].pk, "P001")
    lab.config.write_text(lab.config.read_text().replace("fallback = true", "required = false"))
    archives.update_display_set(item.pk, {"values": [{"interface": "some-score", "value": 1}]})
    lab.move_in("P001", score__json=b'{"score": 1}')
    assert lab.once() == 75
    assert 'The archive already holds the archive item "P001"' in lab.case("P001")["why"]
    assert "holds just what this folder does" in lab.command("accept", "lung/P001")
    assert lab.once() == 0, lab.log.read_text()
    assert lab.receipt(lab.done / "P001.receipt.json")["display_set"].endswith(f"/{item.pk}/")


def test_an_archive_that_is_not_there_holds_the_drop(lab: Lab) -> None:
    lab.config.write_text(lab.config.read_text().replace(ARCHIVE, "lung-2026"))
    said = lab.command("check", code=78)
    assert "There is no archive lung-2026, or this token's user may not see it." in said


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "display-sets/$"), ("PATCH", "display-sets/.+/$"), ("POST", "uploads/$")]
)
def test_a_folder_under_way_ends_where_it_began_though_its_drop_goes_to_an_archive_now(
    tmp_path: Path, sandbox: Sandbox, method: str, path: str
) -> None:
    lab = Lab(tmp_path, sandbox)
    lab.sandbox.faults.add(method=method, path=path, status=500, after=True, call=lab.kill)
    lab.move_in("P001", **WHOLE)
    assert lab.once() < 0
    into_archive(lab)
    lab.move_in("P002", ct__mha=mha(9))
    assert lab.once() == 0, lab.log.read_text()
    assert (lab.titles(), items(lab)) == (["P001"], ["P002"])
    assert "/display-sets/" in lab.wait_done("P001")["display_set"]
    (lab.done / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0, lab.log.read_text()
    assert sorted(items(lab)) == ["P001", "P002"]
    (again,) = lab.done.glob("P001 *.receipt.json")
    assert "/archives/items/" in lab.receipt(again)["display_set"]


def test_a_service_that_is_stopped_while_an_image_is_checked_goes_on_there(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    lab = Lab(tmp_path, sandbox)
    lab.sandbox.hold_imports()
    lab.start()
    lab.move_in("P001", **WHOLE)
    wait_for(lambda: "checked" in lab.case("P001").get("state", ""), 30, "it is committed")
    lab.stop()
    into_archive(lab)
    lab.sandbox.release_imports()
    assert lab.once() == 0, lab.log.read_text()
    assert (lab.titles(), items(lab)) == (["P001"], [])
