"""`casedrop install` under a real systemd: from the wheel to a running service, and gone again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from casedrop.sandbox import Sandbox
from lab import mha
from machine import Server, machine
from waiting import wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]

PROGRAM = "/opt/casedrop/bin/casedrop"


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[Server]:
    with machine(tmp_path_factory.mktemp("machine")) as running:
        yield Server(running, sandbox)


def test_installed_by_its_command_the_service_runs_guarded_and_leaves_only_data_behind(lab: Server) -> None:
    lab.config.unlink()
    lab.token.rename(lab.top / "given")
    asked = ("--drop", "lung=lung-2026", "--url", lab.sandbox.url, "--token-file", "/srv/casedrop/given")
    assert "only the group's bits help" in lab.machine.run(PROGRAM, "install", *asked, "--start")
    assert lab.shows("ActiveState") == "active"
    assert not lab.token.exists(), "it is kept encrypted"

    with lab.config.open("a") as file:
        file.write("[settle]\nquiet_seconds = 0.4\nrescan_seconds = 0.5\n")
    piece = Path(lab.top / "etc" / "drops.d" / "lung.toml")
    rules = piece.read_text().replace('mode = "rehearse"\n', "")
    piece.write_text(rules.replace("generic-medical-image", "ct-image"))
    assert "PROBLEM" not in lab.machine.run(PROGRAM, "check")
    lab.machine.run("systemctl", "reload", "casedrop")
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001", 90)

    before = lab.shows("MainPID")
    lab.machine.run(PROGRAM, "install", "--start")
    wait_for(lambda: lab.shows("MainPID") not in (before, "0"), 30, "the service is another")
    assert lab.shows("ActiveState") == "active"

    lab.machine.run(PROGRAM, "install", "--uninstall")
    assert lab.shows("LoadState") == "not-found"
    assert (lab.state / "journal.sqlite").exists()
    assert (lab.done / "P001" / "ct.mha").exists()
