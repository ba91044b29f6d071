"""The unit under a real systemd: started, watched, restarted, guarded."""

import json
import os
import shutil
import time
from collections.abc import Iterator

import pytest

from casedrop import journal
from casedrop.sandbox import Sandbox
from identifying import image, series, written
from lab import mha
from machine import SOMEBODY, Machine, Server, machine
from proxy import Proxy
from test_dicom_cases import take_dicom
from test_endings import PARTS, big, puts
from test_lines import proxy
from test_tables import saved
from waiting import wait_for

__all__ = ["proxy"]
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(900),  # the first run on a machine makes the tree
]


@pytest.fixture(scope="session")
def server_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine")) as running:
        yield running


@pytest.fixture
def lab(server_machine: Machine, sandbox: Sandbox) -> Iterator[Server]:
    server = Server(server_machine, sandbox)
    yield server
    server.end()


def test_start_waits_until_the_service_is_ready_and_status_is_worth_reading(lab: Server) -> None:
    lab.start()
    assert (lab.shows("ActiveState"), lab.shows("StatusText")) == ("active", "nothing to do")
    assert (lab.state / "status.json").exists(), "one turn is over"
    lab.sandbox.hold_imports()
    lab.move_in("P001", ct__mha=mha())
    wait_for(lambda: lab.shows("StatusText") == "1 on its way", 20, "a folder is on its way")
    lab.sandbox.release_imports()
    lab.wait_done("P001")
    assert lab.titles() == ["P001"]
    assert oct(lab.state.stat().st_mode)[-4:] == "0710"
    assert lab.stop() == 0


def test_killed_in_the_middle_it_starts_again_and_files_the_folder_once(lab: Server) -> None:
    lab.start()
    lab.sandbox.hold_imports()
    lab.move_in("P001", ct__mha=mha())
    wait_for(lambda: lab.titles() == ["P001"], 20, "it is committed")
    first = lab.shows("MainPID")
    lab.signal("KILL")
    wait_for(lambda: lab.shows("MainPID") not in (first, "0"), 20, "it starts again")
    lab.sandbox.release_imports()
    lab.wait_done("P001")
    assert lab.titles() == ["P001"]


def test_ended_for_lack_of_memory_it_files_the_folder_once_there_is_enough(lab: Server) -> None:
    lab.start()
    lab.sandbox.hold_imports()
    lab.move_in("P001", ct__mha=mha())
    wait_for(lambda: lab.titles() == ["P001"], 20, "it is committed")
    lab.give_memory("30M")
    lab.machine.run("systemctl", "restart", "casedrop", code=None)
    wait_for(lambda: lab.shows("NRestarts") != "0", 20, "it is ended at each start")
    assert any("code=killed, status=9/KILL" in line for line in lab.journal("-n", "20"))
    lab.give_memory("infinity")
    lab.machine.run("systemctl", "reset-failed", "casedrop", code=None)
    lab.restart()
    lab.sandbox.release_imports()
    lab.wait_done("P001")
    assert lab.titles() == ["P001"]


def test_a_file_that_takes_too_much_memory_ends_its_process_and_not_the_service(lab: Server) -> None:
    lab.give_memory("300M")
    take_dicom(lab)
    side = 8192
    huge = image(Rows=side, Columns=side, PixelData=bytes(2 * side * side))
    lab.start()
    first = lab.shows("MainPID")
    lab.move_in("P001", IM1=written(huge))
    wait_for(lambda: "memory" in lab.case("P001").get("why", ""), 60, "the file is too much")
    series(lab.desk / "P002", 3)
    lab.give(lab.desk / "P002").rename(lab.drop / "P002")
    lab.wait_done("P002", 60)
    assert (lab.shows("MainPID"), lab.shows("NRestarts")) == (first, "0")
    assert lab.titles() == ["P002"]


def test_a_loop_that_stands_still_is_ended_and_started_again(lab: Server) -> None:
    lab.start()
    first = lab.shows("MainPID")
    lab.signal("STOP")
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001", 40)
    assert lab.shows("MainPID") != first
    assert any("Watchdog timeout" in line for line in lab.journal())


def test_the_journal_finds_a_folder_by_its_name_and_never_shows_the_token(lab: Server) -> None:
    lab.start()
    began = time.time()
    lab.move_in("P001", ct__mha=mha())
    lab.move_in("P002", ct__mha=mha(9))
    lab.wait_done("P001")
    lab.wait_done("P002")
    wait_for(lambda: lab.journal("CASE=P001", "STAGE=done", f"--since=@{began:.0f}"), 10, "its end is there")
    said = lab.journal("CASE=P001", "DROP=lung", f"--since=@{began:.0f}")
    assert all("case=P001" in line for line in said)
    entry = json.loads(lab.machine.run("journalctl", "STAGE=done", "-n1", "-o", "json"))
    assert (entry["_SYSTEMD_UNIT"], entry["PRIORITY"]) == ("casedrop.service", "6")
    assert lab.sandbox.token not in lab.machine.run("journalctl", "-o", "export", "--all")


def test_a_wrong_token_holds_the_drop_until_the_credential_is_mended_and_the_service_restarted(
    lab: Server,
) -> None:
    lab.write_token("0" * 64)
    lab.start()
    lab.move_in("P001", ct__mha=mha())
    wait_for(lambda: "held: lung" in lab.shows("StatusText"), 20, "the wrong token is said")
    assert "credential" in lab.status()["held"], "it says that a restart is needed"
    lab.write_token(lab.sandbox.token)
    lab.restart()
    lab.wait_done("P001")


def test_a_file_that_somebody_else_has_open_for_writing_is_waited_for(lab: Server) -> None:
    lab.start()
    folder = lab.folder("P001", ct__mha=mha())
    with (folder / "ct.mha").open("ab"):
        folder.rename(lab.drop / "P001")
        wait_for(lambda: "is still being written" in lab.case("P001").get("why", ""), 20, "it is said")
        assert lab.titles() == []
    lab.wait_done("P001")


def test_texts_beside_a_folder_have_its_group_which_the_service_is_a_member_of(lab: Server) -> None:
    lab.machine.run("groupadd", "--force", "readers")
    lab.machine.run("usermod", "--append", "--groups", "readers", "casedrop")
    group = int(lab.machine.run("getent", "group", "readers").split(":")[2])
    folder = lab.folder("P001", ct__mha=mha())
    for path in (folder, folder / "ct.mha"):
        os.chown(path, SOMEBODY, group)
    lab.start()
    folder.rename(lab.drop / "P001")
    lab.wait_done("P001")
    text = (lab.done / "P001.receipt.json").stat()
    assert (text.st_gid, oct(text.st_mode)[-3:]) == (group, "640")


def test_dicom_and_workbooks_are_read_within_the_sandbox(lab: Server) -> None:
    lab.sandbox.add_socket("lung-volume", "Float", "Value")
    take_dicom(
        lab,
        drop="""[[drops.tables]]
        name = "scores"
        file = "/etc/casedrop/scores.xlsx"
        key_columns = { folder = "Folder" }
        [[drops.sockets]]
        socket = "lung-volume"
        value_from = { table = "scores", column = "Volume" }""",
    )
    table = lab.top / "etc" / "scores.xlsx"
    saved(table, ["Folder", "Volume"], ["P001", 4.5])
    table.chmod(0o644)
    series(lab.desk / "P001" / "SE1", 12)
    lab.start()
    lab.give(lab.desk / "P001").rename(lab.drop / "P001")
    receipt = lab.wait_done("P001", 60)
    assert lab.values("P001")["lung-volume"] == 4.5
    (file,) = next(one for one in receipt["sockets"] if one["socket"] == "ct-image")["files"]
    assert file["number"] == 12


def test_a_wrong_configuration_is_said_and_no_reason_to_start_again_and_again(lab: Server) -> None:
    lab.config.write_text(lab.config.read_text().replace("[settle]", "[setle]"))
    lab.machine.run("systemctl", "start", "casedrop", code=1)
    assert (lab.shows("ExecMainStatus"), lab.shows("NRestarts")) == ("78", "0")
    assert any("setle" in line for line in lab.journal("-n", "20"))


def test_reload_takes_a_good_configuration_in_the_same_process_and_leaves_a_bad_one(lab: Server) -> None:
    lab.start()
    process = lab.shows("MainPID")
    good = lab.config.read_text()
    lab.config.write_text(good.replace("[settle]", "[setle]"))
    lab.machine.run("systemctl", "reload", "casedrop")
    wait_for(lambda: "has mistakes" in lab.shows("StatusText"), 20, "the bad one is said")
    lab.config.write_text(good.replace('name = "lung"', 'name = "lung"\ntitle = "new {folder}"'))
    lab.machine.run("systemctl", "reload", "casedrop")
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001")
    wait_for(lambda: lab.shows("ActiveState") == "active", 20, "the reload is over")
    assert lab.titles() == ["new P001"]
    assert (lab.shows("MainPID"), lab.shows("NRestarts")) == (process, "0")


def test_an_instance_runs_beside_the_service_with_a_configuration_and_a_state_of_its_own(lab: Server) -> None:
    home = lab.config.parent / "heart"
    home.mkdir(mode=0o755)
    for name in ("casedrop.toml", "token"):
        shutil.copy2(lab.config.parent / name, home / name)
    (home / "casedrop.toml").write_text(lab.config.read_text().replace("/var/lib/casedrop", "/nowhere"))
    lab.config.write_text(lab.config.read_text().replace("/srv/casedrop/lung", "/srv/casedrop/brain"))
    lab.start()
    lab.machine.run("systemctl", "start", "casedrop@heart")
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001")
    assert (lab.state / "heart" / journal.NAME).exists()
    assert lab.shows("StatusText") == "held: lung", "its root is not there"


def test_stopped_in_a_big_upload_it_goes_on_at_the_next_start(lab: Server, proxy: Proxy) -> None:
    proxy.rate = 40e6
    sha256 = big(lab)
    lab.start()
    wait_for(lambda: len(puts(lab.sandbox)) >= PARTS // 2, 60, "half of it is there")
    assert "uploading" in lab.shows("StatusText")
    assert lab.stop() == 0
    half = puts(lab.sandbox)
    assert len(half) < PARTS
    lab.start()
    lab.wait_done("P001", 60)
    assert all(puts(lab.sandbox).count(path) == 1 for path in half)
    assert lab.values("P001")["report-pdf"]["sha256"] == sha256
