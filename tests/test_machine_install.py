"""`casedrop install` under a real systemd: from the wheel to a running service, and gone again."""

from collections.abc import Iterator

import pytest

from casedrop.sandbox import Sandbox
from lab import mha
from machine import PROGRAM, Server, machine
from waiting import wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[Server]:
    with machine(tmp_path_factory.mktemp("machine")) as running:
        yield Server(running, sandbox)


def test_installed_by_its_command_the_service_runs_guarded_and_leaves_only_data_behind(lab: Server) -> None:
    assert "only the group's bits help" in lab.install(lab.sandbox.url)
    assert lab.shows("ActiveState") == "active"
    assert not lab.token.exists(), "it is kept encrypted"
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

    lab.machine.run(PROGRAM, "install", "--start")
    assert lab.shows("ActiveState") == "active", "the token that was left is found"
    lab.machine.run("sh", "-c", "echo damaged > /etc/casedrop/token.cred")
    said = lab.machine.run(PROGRAM, "install", "--start", code=78)
    assert "journalctl -u casedrop.service" in said
    assert "Failed" in said.partition("What it said last")[2], "why it did not start"
