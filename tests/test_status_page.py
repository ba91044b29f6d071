"""The status page on the share, written by the real service: what people see there, and what it never touches."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from casedrop import page_file, roots
from casedrop.errors import SetupProblem
from lab import Lab, mha
from reported import expect_valid
from test_split_cases import drop_visits
from waiting import wait_for

STATUS = page_file.NAME
PAGE = f"{page_file.MARK}<html></html>"


def text(lab: Lab) -> str:
    path = lab.root / STATUS
    return path.read_text() if path.exists() else ""


def wait_page(lab: Lab, *words: str) -> str:
    wait_for(lambda: all(one in text(lab) for one in words), 20, f"{words} on the page: {text(lab)[-3000:]}")
    return text(lab)


def test_a_researcher_finds_what_became_of_each_folder(lab: Lab) -> None:
    lab.configure('contact = "Ann, room 12"')
    lab.move_in("P001", ct__mha=mha())
    lab.move_in("P002", report__pdf=b"%PDF")
    lab.start()
    address = lab.wait_done("P001")["display_set"]
    lab.wait_failed("P002")
    page = wait_page(lab, "No file for the socket", address, "Today: <b>1</b> (634 B)")
    assert f'<a href="{address}" rel="noreferrer noopener" aria-label="display set of P001">' in page
    assert "Ann, room 12" in page
    assert "one file *.pdf" in page
    assert not [one for one in lab.root.iterdir() if one.name.endswith(".tmp")]


@pytest.mark.long
def test_an_upload_under_way_is_a_bar(lab: Lab) -> None:
    lab.sandbox.hold_imports()
    lab.move_in("P001", ct__mha=mha())
    lab.start()
    wait_page(lab, "uploaded, being checked by Grand Challenge")
    lab.sandbox.release_imports()
    lab.wait_done("P001")
    wait_page(lab, "display set of P001")


@pytest.mark.long
def test_an_upload_of_several_files_says_how_many_are_there(lab: Lab) -> None:
    """The part of one hangs while the other gets there."""
    lab.sandbox.faults.add(method="PUT", status=0, delay=300)
    lab.start()
    lab.move_in("P001", ct__mha=mha(), report__pdf=b"%PDF-1.4")
    wait_page(lab, ", 1 of 2 files")
    expect_valid(lab.report())


@pytest.mark.long
def test_a_split_folder_on_its_way_says_how_many_of_its_parts_are_done(lab: Lab) -> None:
    lab.configure('split = { folders = "*/" }\ntitle = "{folder} {subfolder}"')
    drop_visits(lab, "P001", v1={"ct.mha": mha(8)}, v2={"ct.mha": mha(9)})
    lab.sandbox.hold_imports()
    lab.start()
    parts = ("P001/v1", "P001/v2")
    wait_for(lambda: all("checked" in lab.case(one).get("state", "") for one in parts), 30, "both are sent")
    wait_page(lab, "0 of 2 parts done")
    (second,) = [one for one in lab.sandbox.display_sets("lung-2026") if one.title == "P001 v2"]
    lab.sandbox.delete_display_set(second.pk)
    lab.sandbox.release_imports()
    wait_page(lab, "1 of 2 parts done", "Waiting for a person")
    expect_valid(lab.report())


@pytest.mark.long
def test_what_was_counted_is_still_counted_after_a_restart(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0
    before = lab.status()["days"]
    assert before[-1] == {"day": before[-1]["day"], "done": 1, "failed": 0, "bytes": len(mha())}
    assert lab.once() == 0
    assert lab.status()["days"] == before


@pytest.mark.long
def test_a_split_folder_links_to_each_of_its_display_sets(lab: Lab) -> None:
    lab.configure('split = { folders = "*/" }\ntitle = "{folder} {subfolder}"')
    for visit in ("v1", "v2"):
        (lab.desk / "P001" / visit).mkdir(parents=True)
        (lab.desk / "P001" / visit / "ct.mha").write_bytes(mha(fill=visit[1].encode()))
    (lab.desk / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0
    page = text(lab)
    assert "display set v1 of P001" in page
    assert "display set v2 of P001" in page
    assert lab.status()["days"][-1]["bytes"] == 2 * len(mha())
    assert lab.status()["days"][-1]["done"] == 1


@pytest.mark.long
def test_a_service_that_was_stopped_says_so(lab: Lab) -> None:
    lab.start()
    assert "service was stopped" not in wait_page(lab, "Copy one into")
    assert lab.stop() == 0
    assert "The service was stopped" in text(lab)
    lab.start()
    wait_for(lambda: "service was stopped" not in text(lab), 20, "the page of a service that runs")


@pytest.mark.long
def test_hidden_names_are_on_no_page(lab: Lab) -> None:
    lab.configure('page = "hidden"')
    lab.move_in("Doe_Jane", report__pdf=b"%PDF")
    assert lab.once() == 1
    assert "Doe" not in text(lab)
    code = re.search(r'"case": "([0-9a-f]{10})"', lab.log.read_text())
    assert code is not None
    assert code[1] in text(lab)


@pytest.mark.long
def test_there_is_no_page_where_none_is_wanted(lab: Lab) -> None:
    lab.configure('page = "off"')
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0
    assert not (lab.root / STATUS).exists()


@pytest.mark.long
def test_a_page_of_before_goes_where_none_is_wanted_any_more(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0
    assert text(lab)
    half = lab.root / f".{STATUS}.tmp"
    half.write_text("<!doctype html>")
    lab.configure('page = "off"')
    assert lab.once() == 0
    wait_for(lambda: not text(lab) and not half.exists(), 10, "the page is gone, and the half of one")


@pytest.mark.long
def test_a_page_is_not_written_again_while_nothing_happens(lab: Lab) -> None:
    """Only the heartbeat would, after a minute; the rescans of every half second do not."""
    lab.move_in("P001", ct__mha=mha())
    lab.start()
    lab.wait_done("P001")
    wait_page(lab, "display set of P001")
    settled = lab.status()["scanned"] + 4
    wait_for(lambda: lab.status()["scanned"] > settled, 20, "some rescans later")
    before, seen = (lab.root / STATUS).stat().st_ino, lab.status()["scanned"] + 3
    wait_for(lambda: lab.status()["scanned"] > seen, 20, "some more rescans later")
    assert (lab.root / STATUS).stat().st_ino == before


@pytest.mark.long
def test_a_file_of_that_name_that_is_not_ours_is_left_alone_and_said_once(lab: Lab) -> None:
    (lab.root / STATUS).write_text("mine")
    lab.start()
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001")
    wait_for(lambda: "is not Casedrop's" in lab.status()["page"], 10, "it is said")
    assert "NO STATUS PAGE" in lab.command("status")
    assert "is not Casedrop's" in lab.command("check", "--offline", code=78)
    assert lab.log.read_text().count('"event": "no status page"') == 1
    assert (lab.root / STATUS).read_text() == "mine"
    (lab.root / STATUS).unlink()
    lab.move_in("P002", ct__mha=mha(fill=b"\2"))
    wait_page(lab, "display set of P001")
    wait_for(lambda: not lab.status()["page"], 10, "it is well again")


@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("elsewhere"), Path.touch]
)
def test_nothing_else_of_that_name_is_taken_for_ours(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / STATUS)
    with pytest.raises(page_file.ForeignError):
        page_file.write(tmp_path, PAGE, lambda _: None)
    assert os.listdir(tmp_path) == [STATUS]


def test_a_page_of_ours_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / page_file.HIDDEN).write_text("left by a crash")
    for number in range(2):
        page_file.write(tmp_path, f"{PAGE}{number}", lambda _: None)
        assert (tmp_path / STATUS).read_text() == f"{PAGE}{number}"
    assert os.listdir(tmp_path) == [STATUS]


def test_nothing_is_written_on_a_bare_mount_point(tmp_path: Path) -> None:
    with pytest.raises(SetupProblem):
        page_file.write(tmp_path, PAGE, lambda here: roots.expect_there(here, "id"))
    assert os.listdir(tmp_path) == []
