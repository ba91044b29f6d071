"""What an administrator types, and what the exit code says."""

import json
import os
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from casedrop import journal
from casedrop.cli import main
from casedrop.journal import NAME, SCHEMA
from lab import Lab, mha
from reported import expect_valid
from waiting import wait_for

pytestmark = pytest.mark.long

LONG = "x" * 300


def test_a_platform_out_of_reach_is_said_with_its_name_and_is_no_fault_of_the_set_up(lab: Lab) -> None:
    lab.config.write_text(lab.config.read_text().replace(lab.sandbox.url, "http://127.0.0.1:9/api/v1/"))
    folder = lab.folder("P001", ct__mha=mha())
    for command in (["plan", str(folder)], ["check"]):
        said = lab.command(*command, code=75)
        assert said.count("No connection to the platform (127.0.0.1:9): connection refused.") == 1


def test_an_address_that_is_not_the_apis_is_called_that(lab: Lab) -> None:
    lab.config.write_text(lab.config.read_text().replace("/api/v1/", "/"))
    assert "not the address of the API" in lab.command("check", code=78)


@pytest.mark.parametrize("command", ["plan", "check"])
def test_a_wrong_token_is_for_the_administrator(lab: Lab, command: str) -> None:
    lab.write_token("0" * 64)
    folder = lab.folder("P001", ct__mha=mha())
    said = lab.command(command, *([str(folder)] if command == "plan" else []), code=78)
    assert said.count("does not accept the token") == 1


def test_check_sees_a_root_of_another_journal_and_a_damaged_one(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0
    assert "belongs to this journal" in lab.command("check")
    lab.state.rename(lab.top / "lost")
    assert "belongs to another journal" in lab.command("check", code=78)
    lab.state.mkdir()
    (lab.state / "journal.sqlite").write_bytes(b"no database at all, but long enough for one" * 50)
    assert "journal" in lab.command("check", code=78)


def test_plan_knows_a_copy_that_is_not_whole_as_the_service_does(lab: Lab) -> None:
    folder = lab.folder("P001", ct__mha=mha())
    (folder / "more.mha.part").write_bytes(b"half")
    assert "still being copied" in lab.command("plan", str(folder), code=1)


def test_plan_offline_says_what_it_did_not_ask_and_takes_the_rules_of_a_named_drop(lab: Lab) -> None:
    folder = lab.folder("P001", ct__mha=mha())
    assert "Not asked (offline)" in lab.command("plan", str(folder), "--offline", "--drop", "lung")
    assert "There is no drop" in lab.command("plan", str(folder), "--drop", "lang", code=78)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["plan", f"lung/{LONG}"], f"There is no {LONG} in drop/ of lung."),
        (["plan", LONG], "is no folder, and no drop or DROP/NAME (drops are: lung)"),
        (["release", f"lung/{LONG}"], "does not wait to be released"),
        (["retry", f"lung/{LONG}"], f"There is no {LONG} in failed/ of lung"),
    ],
)
def test_a_name_that_is_too_long_for_any_folder_is_one_that_is_not_there(
    lab: Lab, command: list[str], said: str
) -> None:
    lab.configure('release = "ask"')
    assert lab.once() == 0
    code = 1 if command[0] == "release" else 78
    assert said in lab.command(*command, code=code)


def test_the_status_of_a_service_that_has_ended_says_so(lab: Lab) -> None:
    lab.start()
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001")
    wait_for(lambda: "P001: done" in lab.command("status"), 10, "the status tells")
    lab.kill()
    assert lab.process is not None
    lab.process.wait()
    said = lab.command("status", code=75)
    assert "The service is not running" in said
    assert "`systemctl status casedrop`, or the terminal where it was started by hand" in said


def test_a_running_service_that_has_not_read_the_new_rules_is_said_to_need_a_restart(lab: Lab) -> None:
    old = lab.config.read_text()
    lab.start()
    wait_for((lab.state / "status.json").exists, 20, "the service runs")
    outdated = "The running service has other rules for lung than the configuration file"
    for command in ("status", "check"):
        assert outdated not in lab.command(command)
    lab.configure('title = "{folder} a"\nrelease = "ask"')
    for command in ("status", "check"):
        assert outdated in lab.command(command)
    assert "Nothing is let go before" in lab.command("release", "lung", code=1)
    lab.config.write_text(old.replace("quiet_seconds = 0.4", "quiet_seconds = 0.5"))
    assert outdated not in lab.command("status")
    lab.configure('title = "{folder} a"')
    lab.stop()
    assert outdated not in lab.command("status", code=75)


def test_check_tells_the_kind_of_each_socket(lab: Lab) -> None:
    said = lab.command("check")
    assert "with ct-image: Image, airway-segmentation: Image (Segmentation)" in said
    assert "some-score: Value (Float)" in said


def test_a_folder_that_comes_back_under_the_same_watcher_leaves_no_name_in_the_log(lab: Lab) -> None:
    lab.start()
    lab.move_in("Hansen_1950", ct__mha=mha(), odd__txt=b"")
    lab.wait_failed("Hansen_1950")
    (lab.failed / "Hansen_1950" / "odd.txt").unlink()
    (lab.failed / "Hansen_1950").rename(lab.drop / "Hansen_1950")
    lab.wait_done("Hansen_1950")
    lab.stop()
    log = lab.log.read_text()
    assert "Hansen" not in log
    assert all(json.loads(line)["event"] for line in log.splitlines())
    assert '"reasons": ["unmatched-file"]' in log


def test_retry_by_a_reason_that_is_not_there_says_which_are(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha(), odd__txt=b"")
    assert lab.once() == 1
    assert "--reason`: unmatched-file" in lab.wait_failed("P001")
    assert "the reasons there are: unmatched-file" in lab.command(
        "retry", "lung", "--all", "--reason", "x", code=1
    )


def test_the_version_is_told(lab: Lab) -> None:
    assert lab.command("--version").startswith("casedrop ")


def test_the_service_does_not_run_as_root_unless_told_to(lab: Lab) -> None:
    if os.geteuid():
        pytest.skip("only for root")
    said = lab.command("run", "--once", code=78)
    assert "does not run as root" in said
    assert "sudo -u casedrop casedrop run" in said
    assert not lab.state.exists()


def test_what_the_service_keeps_is_for_its_user_alone_but_the_status(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0
    modes = {path.name: path.stat().st_mode & 0o777 for path in lab.state.iterdir()}
    assert modes.pop("status.json") == 0o640
    assert {name for name, mode in modes.items() if mode & 0o077} == set()
    assert lab.state.stat().st_mode & 0o777 == 0o700
    readers = lab.root.stat().st_mode & 0o444
    assert (lab.root / "casedrop-status.html").stat().st_mode & 0o777 == readers | 0o600


def test_a_token_that_expires_soon_is_told_by_check_and_status_and_sends_all_the_same(lab: Lab) -> None:
    day = datetime.now(UTC).date() + timedelta(days=3)
    lab.config.write_text(lab.config.read_text().replace("[platform]", f"[platform]\ntoken_expires = {day}"))
    expected = f"The token expires in 3 days: {day} is its last day"
    assert expected in lab.command("check")
    lab.move_in("P001", ct__mha=mha(8))
    assert lab.once() == 0
    assert expected in lab.command("status", code=75)
    expect_valid(lab.report())


@pytest.mark.parametrize("schema", [1, SCHEMA - 1])
def test_who_only_asks_leaves_the_journal_of_an_older_casedrop_to_it(lab: Lab, schema: int) -> None:
    lab.state.mkdir()
    path = lab.state / NAME
    with closing(sqlite3.connect(path)) as db:
        db.executescript((Path(__file__).parent / "journals" / f"schema-{schema}.sql").read_text())
    for command in ("history", "matrix lung", "ledger", "ledger --verify"):
        lab.command(*command.split())
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (schema,)


def test_a_journal_that_another_program_keeps_locked_is_told_in_words(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.state.mkdir()
    path = lab.state / NAME
    journal.Journal(path).close()
    monkeypatch.setattr(journal, "_connected", lambda there: sqlite3.connect(there, timeout=0.1))
    monkeypatch.setattr(sys, "argv", ["casedrop", "pause", "lung", "--config", str(lab.config)])
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 75
    assert "The journal cannot be read or written now (database is locked)" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["check", "--offline"], ["history"], ["matrix", "lung"], ["ledger"]])
def test_an_empty_journal_is_told_to_who_asks_and_filled_by_nobody(lab: Lab, command: list[str]) -> None:
    lab.state.mkdir()
    (lab.state / NAME).touch()
    said = lab.command(*command, code=78)
    assert f"The journal {lab.state / NAME} cannot be used (it is empty)." in said
    assert (lab.state / NAME).read_bytes() == b""
