"""What once ended the service, sent something to the wrong place, or moved a folder too soon."""

import hashlib
import json
import os
import sqlite3
import subprocess
import threading
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from casedrop import board, once, roots, watched
from casedrop import journal as journal_module
from casedrop.config import load, read_token
from casedrop.decisions import grant
from casedrop.journal import Journal
from casedrop.judge import Attempt
from casedrop.logs import Names
from casedrop.model import Case, Grouping
from casedrop.rehearsal import would_become
from casedrop.sandbox import Sandbox
from casedrop.sandbox.state import RefusedError, Upload
from casedrop.service import Service
from casedrop.stages import Stage
from lab import NO_IMAGE, Lab, mha
from waiting import wait_for

pytestmark = pytest.mark.long

WHOLE = {"ct__mha": mha(), "score__json": b'{"score": 1}'}
BY_PATIENT = "folder = '(?P<patient>P\\d+)_.*'\ntitle = \"{patient}\""


def checked(lab: Lab, name: str) -> bool:
    return lab.case(name).get("state") == "being checked by Grand Challenge"


def service_of(lab: Lab) -> Service:
    """One that does not run yet, in this process."""
    lab.state.mkdir()
    settings = load(lab.config, os.environ)
    token = read_token(settings, os.environ)
    return Service(settings, lambda: token, Names("hidden", b"key"))


def test_a_failed_folder_whose_title_another_has_by_now_comes_back_wrong_and_stops_nothing(lab: Lab) -> None:
    lab.configure(BY_PATIENT)
    lab.sandbox.faults.add(method="PATCH", path="display-sets/", status=413)
    lab.move_in("P001_a", **WHOLE)
    assert lab.once() == 1
    lab.move_in("P001_b", ct__mha=mha(9))
    assert lab.once() == 0
    (lab.failed / "P001_a" / "odd.txt").write_bytes(b"x")
    (lab.failed / "P001_a").rename(lab.drop / "P001_a")
    assert lab.once() == 1
    assert "odd.txt" in lab.wait_failed("P001_a")


def test_two_wishes_for_one_title_stop_nothing(lab: Lab) -> None:
    lab.move_in("P001", **WHOLE)
    assert lab.once() == 0
    (made,) = lab.sandbox.display_sets("lung-2026")
    lab.sandbox.delete_display_set(made.pk)
    (lab.done / "P001").rename(lab.drop / "P001")
    lab.move_in("P001 ", **WHOLE)
    lab.start()
    for name in ("P001", "P001 "):
        wait_for(lambda name=name: "gone" in lab.case(name).get("why", ""), 30, "both wait")  # type: ignore[misc]
    lab.command("retry", "lung/P001")
    lab.command("retry", "lung/P001 ")
    wait_for(lambda: lab.titles() == ["P001"], 30, "one of the two is made anew")
    assert lab.process is not None
    assert lab.process.poll() is None


def test_a_surprise_in_what_only_shows_how_things_are_stops_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a journal that cannot be read for a moment the service makes a pause."""
    lab.configure('release = "ask"')
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 75
    lab.command("release", "lung/P001")
    lab.move_in("P002", ct__mha=mha(9))
    surprises = [
        KeyError("P002"),
        sqlite3.OperationalError("disk I/O error"),
        sqlite3.OperationalError("again"),
    ]

    def surprising(grouping: Grouping) -> str:
        if surprises:
            raise surprises.pop(0)
        return would_become(grouping)

    monkeypatch.setattr(board, "would_become", surprising)
    monkeypatch.setattr(watched, "RECHECK", 0.1)
    settings = load(lab.config, os.environ)
    token = read_token(settings, os.environ)
    service = Service(settings, lambda: token, Names("hidden", b"key"))
    with capture_logs() as said:
        assert service.run(once=True) == 75
    assert not surprises
    assert [one["event"] for one in said].count("status not shown") == 1
    assert any("disk I/O error" in one["why"] for one in said if one["event"] == "drop held")
    assert lab.titles() == ["P001"]
    assert 'would become the display set "P002"' in lab.case("P002")["why"]


def test_a_journal_that_cannot_be_read_at_the_very_end_changes_nothing_of_how_a_run_ended(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last status is written once more, out of turn."""
    lab.move_in("P001", ct__mha=mha())
    service = service_of(lab)
    code, gather, ended = service._code, board.gather, threading.Event()

    def told(now: float) -> int | None:
        found = code(now)
        if found is not None:
            ended.set()
        return found

    def surprising(*facts: Any) -> dict[str, Any]:
        if ended.is_set():
            raise sqlite3.OperationalError("disk I/O error")
        return gather(*facts)

    monkeypatch.setattr(service, "_code", told)
    monkeypatch.setattr(board, "gather", surprising)
    assert service.run(once=True) == 0
    assert lab.titles() == ["P001"]


@pytest.mark.parametrize(("lasting", "code"), [(False, 0), (True, 75)])
def test_a_journal_that_is_locked_when_a_run_asks_whether_all_is_done_ends_it_without_a_fault(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, lasting: bool, code: int
) -> None:
    lab.move_in("P001", ct__mha=mha())
    service = service_of(lab)
    exit_code, asked = once.exit_code, list[bool]()

    def locked(*_: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    def surprising(*facts: Any) -> int | None:
        found = exit_code(*facts)
        if found is not None and not asked:
            asked.append(True)
            if lasting:
                monkeypatch.setattr(service.journal, "under_way", locked)
            locked()
        return found

    monkeypatch.setattr(once, "exit_code", surprising)
    with capture_logs() as said:
        assert service.run(once=True) == code
    assert asked
    assert lab.titles() == ["P001"]
    assert lasting == any("database is locked" in one["why"] for one in said if one["event"] == "drop held")


def test_a_wish_waits_until_no_thread_has_another_folder_of_its_display_set_in_hand(lab: Lab) -> None:
    """What that thread writes and what the wish writes would undo each other."""
    service = service_of(lab)
    journal = service.journal
    first = Case(0, "root", "P1", lab.sandbox.url, "s/", "pk", "lung-2026", Stage.DONE, 1.0, set_pk="gone")
    done = journal.begin(first)
    amending = journal.begin(replace(first, folder="P1 again", stage=Stage.UPLOADING, twin_of=done.id))
    asked = journal.begin(replace(first, folder="P1 late", stage=Stage.UPLOADING, set_pk="", twin_of=done.id))
    journal.wish(asked.id, "anew")
    service.attempts[amending.id] = Attempt(running=Future())
    service._grant_wishes()
    assert journal.wishes()
    assert journal.case(amending.id) == amending
    service.attempts[amending.id].running = None
    service._grant_wishes()
    assert not journal.wishes()
    assert [journal.case(one.id).deleted for one in (done, amending, asked)] == [True, True, False]
    assert not journal.case(asked.id).twin_of
    service.close()


def test_a_wish_of_a_folder_that_came_to_rest_changes_neither_it_nor_another(lab: Lab) -> None:
    lab.state.mkdir()
    journal = Journal(lab.state / journal_module.NAME)
    first = Case(0, "root", "P1", lab.sandbox.url, "s/", "pk", "lung-2026", Stage.DONE, 1.0, set_pk="there")
    cases = [journal.begin(first)]
    cases += [journal.begin(replace(first, folder=name, twin_of=cases[0].id)) for name in ("P1 again", "P2")]
    grant(journal, cases[1], "anew")
    assert [journal.case(one.id) for one in cases] == cases
    journal.close()


def test_a_folder_in_the_way_of_our_texts_stops_nothing(lab: Lab) -> None:
    lab.move_in("P001", r__pdf=b"%PDF")
    assert lab.once() == 1
    (lab.failed / "P001.late.txt").mkdir()
    (lab.failed / "P001" / "ct.mha").write_bytes(mha())
    (lab.failed / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0, lab.log.read_text()


def test_a_failed_folder_goes_where_the_drop_goes_by_now(lab: Lab) -> None:
    lab.sandbox.add_reader_study("right-2026")
    lab.move_in("P001", odd__txt=b"", **WHOLE)
    assert lab.once() == 1
    lab.config.write_text(lab.config.read_text().replace("lung-2026", "right-2026"))
    (lab.failed / "P001" / "odd.txt").unlink()
    (lab.failed / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0
    assert lab.titles() == []
    assert [one.title for one in lab.sandbox.display_sets("right-2026")] == ["P001"]
    assert not [*lab.failed.iterdir()]


def test_folders_begun_on_another_platform_hold_up_no_new_ones(lab: Lab) -> None:
    lab.sandbox.hold_imports()
    lab.start()
    for number in range(6):
        lab.move_in(f"P{number}", ct__mha=mha(8 + number))
    for number in range(6):
        wait_for(lambda name=f"P{number}": checked(lab, name), 30, "all are begun")  # type: ignore[misc]
    lab.stop()
    with Sandbox(import_seconds=0.1) as other:
        other.furnish()
        lab.write_token(other.token)
        lab.config.write_text(lab.config.read_text().replace(lab.sandbox.url, other.url))
        lab.start()
        lab.move_in("NEW", ct__mha=mha(20))
        lab.wait_done("NEW")
        assert "not the configured platform" in lab.case("P1")["why"]
        lab.stop()


def test_after_a_share_is_mounted_under_another_device_number_each_folder_is_filed_once(lab: Lab) -> None:
    if os.geteuid():
        pytest.skip("mounting needs root")
    image = lab.top / "image"
    subprocess.run(["truncate", "-s", "30M", str(image)], check=True)
    if subprocess.run(["mkfs.ext4", "-q", str(image)], check=False).returncode:
        pytest.skip("mkfs.ext4 does not work here")
    loops = [_loop(image)]
    try:
        for name in roots.FOLDERS:
            (lab.root / name).rmdir()
        (lab.root / roots.IDENTITY).unlink()
        subprocess.run(["mount", loops[0], str(lab.root)], check=True)
        roots.init(lab.root)
        lab.sandbox.hold_imports()
        lab.start()
        (lab.drop / "P001").mkdir()
        (lab.drop / "P001" / "ct.mha").write_bytes(mha())
        wait_for(lambda: checked(lab, "P001"), 30, "it is being checked")
        lab.stop()
        before = lab.root.stat().st_dev
        subprocess.run(["umount", str(lab.root)], check=True)
        loops.append(_loop(image))
        subprocess.run(["mount", loops[1], str(lab.root)], check=True)
        assert lab.root.stat().st_dev != before
        lab.sandbox.release_imports()
        assert lab.once() == 0, lab.log.read_text()
        assert sorted(one.name for one in lab.done.iterdir()) == [
            "P001",
            "P001.receipt.json",
            "P001.receipt.txt",
        ]
    finally:
        lab.stop()
        subprocess.run(["umount", str(lab.root)], check=False)
        for loop in loops:
            subprocess.run(["losetup", "-d", loop], check=False)


def _loop(image: Path) -> str:
    made = subprocess.run(
        ["losetup", "-f", "--show", str(image)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip("no loop devices here")
    return made.stdout.strip()


def test_a_folder_is_not_moved_to_failed_under_a_copy_that_still_runs(lab: Lab) -> None:
    lab.configure(quiet=1)
    lab.sandbox.hold_imports()
    lab.start()
    lab.move_in("P001", **WHOLE)
    wait_for(lambda: checked(lab, "P001"), 30, "it is being checked")
    with (lab.drop / "P001" / "second.mha").open("wb") as late:
        late.write(b"x" * 1000)
        late.flush()
        lab.sandbox.release_imports()
        wait_for(lambda: "nobody changes it" in lab.case("P001").get("why", ""), 30, "it waits for the copy")
        late.write(b"x" * 1000)
        assert (lab.drop / "P001").exists()
    assert "changed afterwards" in lab.wait_failed("P001")


def test_too_many_uploads_teach_no_limit_of_bytes(lab: Lab) -> None:
    state = lab.sandbox.state
    for number in range(1995):
        pk = f"x{number}"
        state.uploads[pk] = Upload(pk, "x", "y", state.folder, datetime.now(UTC))
    lab.start()
    for number in range(4):
        lab.move_in(f"P{number}", ct__mha=mha(8 + number), r__pdf=b"%PDF" + bytes([number]) * 100_000)
    waiting = [f"P{number}" for number in range(4)]
    wait_for(
        lambda: any("limits how much" in lab.case(name).get("why", "") for name in waiting), 30, "some wait"
    )
    with state.lock:
        for pk in [pk for pk in state.uploads if pk.startswith("x")]:
            del state.uploads[pk]
    lab.move_in("BIG", ct__mha=mha(150))
    lab.wait_done("BIG", 60)


def test_an_ignored_file_stays_ignored_for_a_case_begun_when_the_rules_change(lab: Lab) -> None:
    lab.configure('ignore = ["*.log"]')
    lab.sandbox.hold_imports()
    lab.start()
    lab.move_in("P001", x__log=b"1", **WHOLE)
    wait_for(lambda: checked(lab, "P001"), 30, "it is being checked")
    lab.stop()
    lab.configure('unmatched = "ignore"')
    lab.sandbox.release_imports()
    assert lab.once() == 0, lab.log.read_text()


def test_more_folders_than_the_status_shows_are_all_looked_at_once_more(lab: Lab) -> None:
    lab.configure(quiet=3)
    lab.start()
    for number in range(60):
        lab.move_in(f"P{number:02}", ct__mha=mha(4 + number))
    for number in range(60):
        lab.wait_done(f"P{number:02}", 100)
        (lab.done / f"P{number:02}" / "late.txt").write_bytes(b"x")
    wait_for(lambda: len([*lab.done.glob("*.late.txt")]) > 50, 30, "the late files are said")


def test_what_people_mend_in_failed_is_no_late_file(lab: Lab) -> None:
    lab.start()
    lab.move_in("P001", ct__mha=NO_IMAGE)
    lab.wait_failed("P001")
    (lab.failed / "P001" / "ct.mha").write_bytes(mha())
    lab.move_in("P002", ct__mha=mha(9))
    lab.wait_done("P002")
    (lab.done / "P002" / "x").write_bytes(b"x")
    wait_for((lab.done / "P002.late.txt").exists, 30, "late looks are made")
    assert not (lab.failed / "P001.late.txt").exists()


def test_an_import_under_way_is_not_overtaken_after_an_error(lab: Lab) -> None:
    lab.sandbox.hold_imports()
    lab.sandbox.faults.add(method="PATCH", path="display-sets/", status=500, after=True)
    lab.start()
    lab.move_in("P001", **WHOLE)
    wait_for(lambda: checked(lab, "P001"), 30, "it is being checked")
    looks = len(lab.sandbox.requests) + 12
    wait_for(lambda: len(lab.sandbox.requests) > looks, 60, "it is looked at past reassign_seconds")
    assert [one.used for one in lab.sandbox.state.sessions.values()] == [True]
    lab.sandbox.release_imports()
    lab.wait_done("P001")


def test_what_a_host_asks_for_is_kept_to_whatever_else_goes_on(lab: Lab) -> None:
    lab.sandbox.faults.add(method="POST", path="uploads/", status=429, headers={"Retry-After": "600"})
    lab.start()
    lab.move_in("P001", **WHOLE)
    wait_for(lambda: "429" in str(lab.case("P001").get("why")), 30, "uploads are paused")
    lab.move_in("P002", r__pdf=b"%PDF")
    lab.wait_failed("P002")
    lab.move_in("P003", ct__mha=mha(9))
    wait_for(lambda: lab.case("P003").get("state") == "on its way", 30, "it is taken, and waits")
    assert lab.titles() == []


def test_a_display_set_made_long_after_its_request_was_given_up_is_the_one_that_is_used(lab: Lab) -> None:
    state = lab.sandbox.state
    make = state.make_display_set

    def late(body: Any) -> Any:
        state.make_display_set = make  # type: ignore[method-assign]
        threading.Timer(1, make, [body]).start()
        raise RefusedError(500, None)

    state.make_display_set = late  # type: ignore[method-assign]
    lab.start()
    lab.move_in("P001", **WHOLE)
    lab.wait_done("P001")
    wait_for(lambda: len(lab.titles()) > 0, 10, "the late one is there")
    assert [title for title in lab.titles() if title.startswith("casedrop-")] == []


def test_a_folder_filed_under_another_name_keeps_its_own_when_it_comes_back_from_done(lab: Lab) -> None:
    lab.config.write_text(
        lab.config.read_text().replace("fallback = true", "fallback = true\nrequired = false", 1)
    )
    for _ in range(2):
        lab.move_in("P001", r__pdf=b"%PDF")
        assert lab.once() == 0
    (second,) = [one for one in lab.done.iterdir() if one.is_dir() and one.name != "P001"]
    second.rename(lab.drop / second.name)
    assert lab.once() == 0
    assert lab.titles() == ["P001"]


def test_a_link_in_the_place_of_our_hidden_file_is_not_written_through(lab: Lab) -> None:
    precious = lab.top / "precious"
    precious.write_text("precious")
    hidden = f".casedrop-{hashlib.sha256(b'P001').hexdigest()[:16]}.tmp"
    (lab.failed / hidden).symlink_to(precious)
    lab.move_in("P001", r__pdf=b"%PDF")
    assert lab.once() == 1
    assert precious.read_text() == "precious"
    assert not (lab.failed / "P001.reason.txt").is_symlink()


def test_the_journals_copy_is_ours_alone_from_its_first_moment(lab: Lab) -> None:
    lab.move_in("P001", **WHOLE)
    assert lab.once() == 0
    assert {
        oct((lab.state / name).stat().st_mode)[-3:] for name in ("journal.sqlite", "journal.copy.sqlite")
    } == {"600"}


def test_a_step_that_is_tried_again_is_logged_with_its_drop(lab: Lab) -> None:
    lab.sandbox.faults.add(method="POST", path="/uploads/$", status=500)
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0
    (line,) = [json.loads(one) for one in lab.log.read_text().splitlines() if '"case tried"' in one]
    assert (line["drop"], line["tries"]) == ("lung", 1)
