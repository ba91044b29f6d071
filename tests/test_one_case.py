"""Folders dropped on the running service, and what a researcher then finds."""

import hashlib
import json
import os
import re
import shutil
from functools import partial
from typing import Any

import pytest

from casedrop.grand_challenge import GrandChallenge
from lab import NO_IMAGE, Lab, mha
from waiting import wait_for

pytestmark = pytest.mark.long


def test_a_display_set_gets_its_order_with_its_title_and_0_is_refused(lab: Lab) -> None:
    lab.configure("folder = 'P\\d+_(?P<visit>\\d+)'\norder = \"{visit}\"")
    for visit in (30, 7, 0):
        lab.move_in(f"P001_{visit}", ct__mha=mha(visit or 8))
    assert lab.once() == 1
    found = [(one.title, one.order) for one in lab.sandbox.display_sets("lung-2026")]
    assert found == [("P001_7", 7), ("P001_30", 30)]
    assert "({visit}) is no whole number from 1" in lab.wait_failed("P001_0")


@pytest.mark.parametrize(
    "name", ["Pat ient (1)", "Müller", 'it\'s "quoted"', "x" * 200, "a%20b&c", "con:aux?*|", "-rf"]
)
def test_odd_names_of_folders_are_taken_as_they_are(lab: Lab, name: str) -> None:
    lab.move_in(name, ct__mha=mha())
    assert lab.once() == 0
    assert lab.titles() == [name]
    assert (lab.done / name / "ct.mha").exists()


def test_a_folder_whose_required_file_never_comes_fails_with_the_socket_named(lab: Lab) -> None:
    lab.configure(incomplete=1)
    lab.move_in("P001", score__json=b'{"score": 1}')
    assert lab.once() == 1
    reason = lab.wait_failed("P001")
    assert "ct-image" in reason
    assert "Nothing." in reason
    assert lab.titles() == []


def test_a_missing_file_that_comes_in_time_is_waited_for(lab: Lab) -> None:
    lab.configure(incomplete=60)
    lab.start()
    lab.move_in("P001", score__json=b'{"score": 1}')
    wait_for(lambda: lab.case("P001").get("state") == "lacking", what="it says what is lacking")
    assert "ct-image" in lab.case("P001")["why"]
    (lab.drop / "P001" / "ct.mha").write_bytes(mha())
    lab.wait_done("P001")


@pytest.mark.parametrize(("order", "place"), [("", None), ('\norder = "{n}"', 1)])
def test_a_receipt_tells_the_title_and_place_that_were_given_though_the_rules_have_changed(
    lab: Lab, order: str, place: int | None
) -> None:
    lab.configure(f"folder = 'P(?P<n>[0-9]+)'\ntitle = \"first {{folder}}\"{order}")
    lab.move_in("P001", ct__mha=NO_IMAGE)
    assert lab.once() == 1
    lab.configure('folder = \'P(?P<n>[0-9]+)\'\ntitle = "second {folder}"\norder = "{n}5"')
    (lab.failed / "P001" / "ct.mha").write_bytes(mha())
    (lab.failed / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0
    receipt = lab.wait_done("P001")
    (made,) = lab.sandbox.display_sets("lung-2026")
    assert receipt["title"] == made.title == "first P001"
    assert receipt.get("order") == place
    assert made.order == (place or 10)
    assert "first P001" in (lab.done / "P001.receipt.txt").read_text()


def test_a_value_the_platform_refuses_leaves_no_half_made_set(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha(), score__json=b'{"score": "high"}')
    assert lab.once() == 1
    assert "some-score" in lab.wait_failed("P001")
    assert "P001" not in lab.titles()


def test_all_that_is_wrong_is_said_at_once(lab: Lab) -> None:
    folder = lab.folder("P001", a__mha=mha(), b__mha=mha(), notes__doc=b"x", score__json=b"{")
    os.symlink("/etc/passwd", folder / "link")
    os.mkfifo(folder / "pipe")
    folder.rename(lab.drop / "P001")
    assert lab.once() == 1
    reason = lab.wait_failed("P001")
    for word in ("a.mha", "b.mha", "notes.doc", "link", "pipe", "valid JSON"):
        assert word in reason
    assert "Traceback" not in reason


def test_damaged_dicom_under_another_name_is_not_sent_as_it_is(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=bytes(128) + b"DICM" + bytes(100))
    assert lab.once() == 1
    assert "is DICOM, but cut off or damaged" in lab.wait_failed("P001")
    assert lab.titles() == []


def test_loose_files_and_empty_folders_stay_and_are_no_failure(lab: Lab) -> None:
    (lab.drop / "loose.mha").write_bytes(mha())
    (lab.drop / "New folder").mkdir()
    assert lab.once() == 0
    assert sorted(one.name for one in lab.drop.iterdir()) == ["New folder", "loose.mha"]
    assert lab.case("loose.mha")["state"] == "left alone"


def test_a_zero_byte_file_and_a_file_of_several_parts_arrive_whole(lab: Lab) -> None:
    big = b"%PDF" + os.urandom(20 << 20)
    lab.move_in("P001", ct__mha=mha(), r__pdf=b"")
    lab.move_in("P002", ct__mha=mha(), r__pdf=big)
    assert lab.once() == 0
    assert lab.values("P001")["report-pdf"]["sha256"] == hashlib.sha256(b"").hexdigest()
    assert lab.values("P002")["report-pdf"]["sha256"] == hashlib.sha256(big).hexdigest()


def test_a_title_the_platform_already_holds_waits_for_a_person(lab: Lab) -> None:
    GrandChallenge(lab.sandbox.url, lambda: lab.sandbox.token).create_display_set("lung-2026", "P001")
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 75
    assert (lab.drop / "P001").is_dir()
    assert "never touches what it did not make" in lab.case("P001")["why"]
    assert not any(path.endswith("uploads/") for method, path, _ in lab.sandbox.requests if method == "POST")


def test_a_wrong_token_holds_the_drop_and_a_mended_one_lets_it_go_on(lab: Lab) -> None:
    lab.write_token("0" * 64)
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 75
    assert (lab.drop / "P001").is_dir()
    assert "token" in lab.status()["held"]
    lab.write_token(lab.sandbox.token)
    assert lab.once() == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"method": "POST", "path": "uploads/$", "status": 503},
        {"method": "POST", "path": "uploads/$", "status": 429, "headers": {"Retry-After": "1"}},
        {"method": "POST", "path": "uploads/$", "cut": True, "after": True},
        {"method": "PUT", "path": ".", "status": 503},
        {"method": "PUT", "path": ".", "cut": True},
        {"method": "PATCH", "path": "complete-multipart-upload/$", "status": 500, "after": True},
        {"method": "POST", "path": "upload-sessions/$", "status": 500, "after": True},
        {"method": "POST", "path": "display-sets/$", "status": 500, "after": True},
        {"method": "POST", "path": "display-sets/$", "cut": True, "after": True},
        {"method": "PATCH", "path": "display-sets/[^/]+/$", "status": 500},
        {"method": "PATCH", "path": "display-sets/[^/]+/$", "status": 500, "after": True},
        {"method": "PATCH", "path": "display-sets/[^/]+/$", "cut": True, "after": True},
        {"method": "GET", "path": "display-sets/[^/]+/$", "status": 502},
    ],
    ids=str,
)
def test_an_error_or_a_lost_answer_costs_time_but_makes_no_second_set(
    lab: Lab, fault: dict[str, Any]
) -> None:
    lab.sandbox.faults.add(**fault)
    lab.move_in("P001", ct__mha=mha(), score__json=b'{"score": 1}')
    assert lab.once() == 0, lab.log.read_text()
    assert lab.titles() == ["P001"]
    assert lab.values("P001").keys() == {"ct-image", "some-score"}


@pytest.mark.parametrize("when", [1, 2, 3])
def test_killed_around_the_folders_rename_before_it_is_journalled_files_it_once(lab: Lab, when: int) -> None:
    """The first renameat2 is the folder's, the others its receipts'; the kill comes as each is entered."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    lab.move_in("P001", ct__mha=mha(), score__json=b'{"score": 1}')
    inject = f"inject=renameat2:signal=KILL:when={when}"
    lab.once("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", inject)
    assert (lab.done / "P001").is_dir() == (when > 1)
    assert (lab.done / "P001.receipt.json").exists() == (when > 2)
    assert lab.once() == 0, lab.log.read_text()
    assert sorted(one.name for one in lab.done.iterdir()) == ["P001", "P001.receipt.json", "P001.receipt.txt"]
    assert lab.titles() == ["P001"]


def _is_checked(lab: Lab, name: str) -> bool:
    return lab.case(name).get("state") == "being checked by Grand Challenge"


def test_four_long_imports_do_not_hold_up_a_fifth_case(lab: Lab) -> None:
    lab.start()
    lab.sandbox.hold_imports()
    for number in range(4):
        lab.move_in(f"P00{number}", ct__mha=mha(fill=bytes([number])))
    for number in range(4):
        wait_for(partial(_is_checked, lab, f"P00{number}"), 30, "it is being checked")
    lab.move_in("P009", r__pdf=b"%PDF", ct__mha=mha(9))
    wait_for(partial(_is_checked, lab, "P009"), 30, "the fifth is uploaded too")
    lab.sandbox.release_imports()
    for name in ("P000", "P001", "P002", "P003", "P009"):
        lab.wait_done(name)


def test_nothing_private_is_logged_or_shown_to_the_storage(lab: Lab) -> None:
    lab.move_in("Secretname_Jane", janes_ct__mha=mha(), score__json=b'{"score": 1}')
    lab.move_in("Secretname_John", johns_ct__mha=b"broken")
    assert lab.once() == 1
    log = lab.log.read_text()
    paths = " ".join(path for _, path, _ in lab.sandbox.requests)
    for secret in ("Secretname", "janes_ct", "johns_ct", lab.sandbox.token, "X-Amz-Signature"):
        assert secret not in log
    for secret in ("Secretname", "janes_ct", "johns_ct", lab.sandbox.token):
        assert secret not in paths
    assert all(json.loads(line)["event"] for line in log.splitlines())


def test_what_arrives_after_filing_is_said_beside_the_folder(lab: Lab) -> None:
    lab.configure(quiet=1)
    lab.start()
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001")
    (lab.done / "P001" / "late.mha").write_bytes(mha())
    wait_for((lab.done / "P001.late.txt").exists, 20, "the late note")


def test_the_status_names_folders_so_it_is_not_for_everybody(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0
    for name in ("status.json", "journal.sqlite", "names.key"):
        assert not (lab.state / name).stat().st_mode & 0o007


def test_a_token_revoked_half_way_and_renewed_in_its_file_needs_no_restart(lab: Lab) -> None:
    lab.start()
    lab.sandbox.hold_imports()
    lab.move_in("P001", ct__mha=mha())
    wait_for(partial(_is_checked, lab, "P001"), 30, "it is being checked")
    lab.write_token("0" * 64)
    wait_for(lambda: "token" in lab.status()["held"], 30, "the drop is held")
    lab.write_token(lab.sandbox.token)
    lab.sandbox.release_imports()
    lab.wait_done("P001", 60)
    wait_for(lambda: lab.status()["held"] == "", 10, "the drop is not held any more")


def test_a_second_service_on_the_same_state_directory_says_who_holds_it(lab: Lab) -> None:
    lab.start()
    first = lab.process
    assert first is not None
    wait_for((lab.state / "status.json").exists, what="the service runs")
    lab.start()
    second, lab.process = lab.process, first
    assert second is not None
    assert second.wait(20) == 75
    assert str(first.pid) in lab.log.read_text()


def test_five_folders_failing_alike_stop_new_ones_until_one_goes_through(lab: Lab) -> None:
    lab.start()
    names = [f"P{number:03}" for number in range(20)]
    for number, name in enumerate(names):
        lab.folder(name, readme__txt=b"no rule takes this", ct__mha=mha(fill=bytes([number])))
    for name in names:
        (lab.desk / name).rename(lab.drop / name)
    wait_for(lambda: "in a row" in _held(lab), 30, "the brake is on")
    wait_for(lambda: not any(_begun(lab, name) for name in names), 30, "what was begun is filed")
    failed = sorted(one.name for one in lab.failed.iterdir() if one.is_dir())
    assert 5 <= len(failed) < 10
    for name in names:
        (next(one for one in (lab.drop / name, lab.failed / name) if one.exists()) / "readme.txt").unlink()
    assert "in a row" in _held(lab)
    (lab.failed / failed[0]).rename(lab.drop / failed[0])
    for name in {*names} - {*failed[1:]}:
        lab.wait_done(name)
    assert _held(lab) == ""


def test_run_once_says_that_the_brake_kept_folders_back(lab: Lab) -> None:
    for number in range(12):
        lab.move_in(f"P{number:03}", readme__txt=b"no rule takes this", ct__mha=mha())
    assert lab.once() == 75
    assert "in a row" in _held(lab)
    assert any(lab.drop.iterdir())


def _held(lab: Lab) -> str:
    try:
        return str(lab.status()["held"])
    except OSError:
        return ""


def _begun(lab: Lab, name: str) -> bool:
    return lab.case(name)["state"] in ("on its way", "uploading", "being filed away")


def test_a_wrong_folder_mended_before_it_is_moved_is_judged_again(lab: Lab) -> None:
    """The rename is held up by a directory that is taken away and put back."""
    lab.start()
    lab.move_in("P000", ct__mha=mha(9))
    lab.wait_done("P000")
    lab.failed.rename(lab.root / "away")
    lab.move_in("P001", readme__txt=b"no rule takes this", ct__mha=mha())
    wait_for(lambda: "cannot be moved" in lab.case("P001").get("why", ""), 30, "the move fails")
    (lab.drop / "P001" / "readme.txt").unlink()
    (lab.root / "away").rename(lab.failed)
    lab.wait_done("P001", 60)


def test_uploads_the_platform_has_dropped_before_the_commit_are_sent_anew(lab: Lab) -> None:
    """They live for 24 h: a case that waited longer finds none of its own."""
    lab.sandbox.faults.add(method="POST", path="upload-sessions/$", call=lab.sandbox.expire_uploads)
    lab.move_in("P001", ct__mha=mha(), r__pdf=b"%PDF")
    assert lab.once() == 0, lab.log.read_text()
    assert lab.titles() == ["P001"]
    assert lab.values("P001")["report-pdf"]["sha256"] == hashlib.sha256(b"%PDF").hexdigest()


def test_an_upload_that_was_just_said_to_be_whole_is_not_asked_after_again(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha(), r__pdf=b"%PDF")
    assert lab.once() == 0, lab.log.read_text()
    asked = [path for method, path, _ in lab.sandbox.requests if method == "GET"]
    assert [path for path in asked if re.search("uploads/[^/]+/$", path)] == []


def _answers_to_parts(lab: Lab) -> list[int]:
    """A cut line is 0."""
    return sorted(status for method, _, status in lab.sandbox.requests if method == "PUT")


def test_a_file_that_is_twice_not_whole_in_its_day_waits_for_a_person_with_the_numbers(lab: Lab) -> None:
    """Of two parts one arrives; then 21 hours pass, and the same again."""
    lab.move_in("P001", ct__mha=mha(), r__pdf=b"%PDF".ljust(16 << 20, b"\0"))
    for _ in range(2):
        lab.sandbox.requests.clear()
        lab.sandbox.faults.add(method="PUT", path="/2$", cut=True, times=99)
        lab.start()
        wait_for(lambda: _answers_to_parts(lab)[-3:] == [0, 200, 200], 30, "one part of two went through")
        lab.stop()
        lab.sandbox.faults.clear()
        lab.sandbox.age_uploads(21)
    assert lab.once() == 75
    why = lab.case("P001")["why"]
    assert "begun 2 times" in why
    assert "needs 42 h" in why
    lab.command("retry", "lung/P001")
    assert lab.once() == 0, lab.log.read_text()
    assert lab.values("P001").keys() == {"ct-image", "report-pdf"}


def test_an_upload_that_dies_in_the_commit_itself_is_sent_anew(lab: Lab) -> None:
    lab.sandbox.faults.add(method="PATCH", path="display-sets/", status=502, call=lab.sandbox.expire_uploads)
    lab.move_in("P001", r__pdf=b"%PDF", ct__mha=mha())
    assert lab.once() == 0, lab.log.read_text()
    assert lab.titles() == ["P001"]
    assert lab.values("P001").keys() == {"report-pdf", "ct-image"}


def test_an_address_that_expired_before_its_part_was_sent_is_asked_for_again(lab: Lab) -> None:
    lab.sandbox.faults.add(method="PUT", path="/storage/", status=403)
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0, lab.log.read_text()
    assert [status for method, _, status in lab.sandbox.requests if method == "PUT"] == [403, 200]


def test_a_display_set_deleted_while_it_is_checked_is_left_at_that_once_the_folder_leaves(lab: Lab) -> None:
    lab.start()
    lab.sandbox.hold_imports()
    lab.move_in("P001", ct__mha=mha())
    wait_for(partial(_is_checked, lab, "P001"), 30, "it is being checked")
    (made,) = lab.sandbox.display_sets("lung-2026")
    lab.sandbox.delete_display_set(made.pk)
    wait_for(lambda: "gone from Grand Challenge" in lab.case("P001").get("why", ""), 60, "a person is asked")
    (lab.drop / "P001").rename(lab.desk / "P001")
    assert "gone from Grand Challenge" in lab.wait_failed("P001", 60)
    assert lab.titles() == []


def test_a_folder_filed_under_another_name_keeps_its_own_when_it_comes_back(lab: Lab) -> None:
    """failed/ had that name already, so a time was put behind it: title and done/ know the first name."""
    for _ in range(2):
        lab.move_in("P001", r__pdf=b"%PDF")
        assert lab.once() == 1
    (second,) = [one for one in lab.failed.iterdir() if one.is_dir() and one.name != "P001"]
    (second / "ct.mha").write_bytes(mha())
    second.rename(lab.drop / second.name)
    assert lab.once() == 0, lab.log.read_text()
    assert lab.titles() == ["P001"]
    assert (lab.done / "P001").is_dir()
    assert [one.name for one in lab.failed.iterdir() if not one.name.endswith(".txt")] == ["P001"]


def test_a_value_of_a_socket_that_holds_files_goes_as_json(lab: Lab) -> None:
    rule = '[[drops.sockets]]\nsocket = "findings-json"\nvalue_from = { json = "score.json" }\n'
    lab.config.write_text(lab.config.read_text() + rule)
    lab.move_in("P001", ct__mha=mha(), score__json=b'{"score": 2.5, "remark": "gr\xc3\xb6\xc3\x9fer"}')
    assert lab.once() == 0, lab.log.read_text()
    sent = json.dumps({"score": 2.5, "remark": "größer"}).encode()
    assert lab.values("P001")["findings-json"] == {"sha256": hashlib.sha256(sent).hexdigest()}
    (said,) = [one for one in lab.wait_done("P001")["sockets"] if one["socket"] == "findings-json"]
    assert said["source"] == "score.json"
    assert said["files"][0]["path"] == "findings-json.json"
    (recorded,) = [one for one in lab.records()[0]["sockets"] if one["socket"] == "findings-json"]
    assert recorded["files"][0]["sources"] == []
    (lab.done / "P001").rename(lab.desk / "again")
    (lab.desk / "again").rename(lab.drop / "P001")
    before = len(lab.sandbox.requests)
    assert lab.once() == 0
    assert {method for method, _, _ in lab.sandbox.requests[before:]} == {"GET"}


def test_check_tells_that_a_socket_for_files_takes_no_value(lab: Lab) -> None:
    files = 'socket = "report-pdf"\nfiles = "*.pdf"\nrequired = false'
    value = 'socket = "report-pdf"\nvalue = 1'
    lab.config.write_text(lab.config.read_text().replace(files, value))
    assert "holds a file (PDF file), so it needs `files`" in lab.command("check", code=78)
