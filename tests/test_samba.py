"""The share of config/smb.conf.example, served by a real smbd to a user who is not the service's."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from apart import PROGRAM, Apart, apart
from casedrop.sandbox import Sandbox
from lab import mha
from waiting import wait_for

pytestmark = pytest.mark.long

EXAMPLE = Path(__file__).parent.parent / "config" / "smb.conf.example"
USER, PASSWORD = "anna", "drop-it-there"
GLOBAL = """[global]
server role = standalone server
smb ports = {port}
interfaces = 127.0.0.1
bind interfaces only = yes
passdb backend = tdbsam:/var/lib/smb/passdb.tdb
private dir = /var/lib/smb
lock directory = /var/lib/smb
state directory = /var/lib/smb
cache directory = /var/lib/smb
pid directory = /var/lib/smb
ncalrpc dir = /var/lib/smb/ncalrpc
log file = /var/lib/smb/log
load printers = no
disable spoolss = yes
"""
CONF = "/etc/samba/casedrop.conf"
QUICKLY = {
    "CASEDROP_SETTLE__QUIET_SECONDS": "0.4",
    "CASEDROP_SETTLE__RESCAN_SECONDS": "0.5",
    "CASEDROP_SETTLE__INCOMPLETE_SECONDS": "30",
    "CASEDROP_LOGS__NAMES": "plain",
}
AS_SERVICE = "setpriv --reuid=casedrop --regid=casedrop --init-groups --inh-caps=+lease --ambient-caps=+lease"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Server:
    """Installed as the README says, the service as its own user, and smbd for a researcher."""

    def __init__(self, machine: Apart) -> None:
        self.machine = machine
        self.processes: list[subprocess.Popen[bytes]] = []
        self.root = machine.top / "srv/casedrop/lung"
        self.log = machine.top / "var/lib/service.log"

    def start(self, sandbox: Sandbox) -> None:
        token = self.machine.top / "etc/given"
        token.write_text(sandbox.token)
        asked = ("--drop", "lung=lung-2026", "--url", sandbox.url, "--token-file", "/etc/given")
        self.machine.run(PROGRAM, "install", *asked, code=None)
        piece = self.machine.top / "etc/casedrop/drops.d/lung.toml"
        rules = piece.read_text().replace('mode = "rehearse"\n', "")
        piece.write_text(rules.replace("generic-medical-image", "ct-image"))
        self.start_process(
            *AS_SERVICE.split(), PROGRAM, "run", **QUICKLY, CASEDROP_PLATFORM__TOKEN=sandbox.token
        )
        self._start_smbd()

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(20)

    def client(
        self, commands: str, given: int = subprocess.DEVNULL, share: str = "casedrop"
    ) -> "subprocess.Popen[bytes]":
        login = ["smbclient", f"//127.0.0.1/{share}", f"--port={self.port}", f"--user={USER}%{PASSWORD}"]
        return subprocess.Popen(
            self.machine.inside(*login, "-c", commands),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def says(self, commands: str, share: str = "casedrop") -> str:
        """What smbclient says to commands, at its end."""
        return self.client(commands, share=share).communicate(timeout=60)[0].decode()

    def put(self, folder: str, content: bytes, name: str = "P001") -> str:
        path = self.machine.top / "var/lib/ct.mha"
        path.write_bytes(content)
        return self.says(f"cd lung/{folder}; mkdir {name}; cd {name}; lcd /var/lib; put ct.mha")

    def wait_done(self, name: str = "P001") -> None:
        wait_for(
            (self.root / "done" / f"{name}.receipt.json").exists, 60, f"its receipt: {self.log.read_text()}"
        )

    def drop(self) -> dict[str, Any]:
        """What the status says of it, once there is one."""
        with suppress(OSError):
            report = json.loads((self.machine.top / "var/lib/casedrop/status.json").read_text())
            drop: dict[str, Any] = report["drops"][0]
            return drop
        return {}

    def why(self, name: str = "P001") -> str:
        return "".join(one["why"] for one in self.drop().get("cases", ()) if one["folder"] == name)

    def _start_smbd(self) -> None:
        self.port = free_port()
        self.machine.run("groupadd", "researchers")
        self.machine.run("useradd", "--groups", "researchers", USER)
        (self.machine.top / "var/lib/smb").mkdir(mode=0o755)
        self.shares(EXAMPLE.read_text())
        self.machine.run("smbpasswd", "-c", CONF, "-s", "-a", USER, given=f"{PASSWORD}\n{PASSWORD}\n")
        self.start_process("smbd", "--foreground", f"--configfile={CONF}")
        wait_for(lambda: listens(self.port), 30, "smbd")

    def shares(self, conf: str) -> None:
        (self.machine.top / CONF[1:]).write_text(GLOBAL.format(port=self.port) + conf)
        said = self.machine.run("testparm", "-s", CONF)
        assert "Unknown parameter" not in said
        assert "Ignoring" not in said

    def start_process(self, *command: str, **environ: str) -> None:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.machine.inside(*command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | environ,
            )
        self.processes.append(process)


@pytest.fixture
def acls() -> bool:
    return True


@pytest.fixture
def server(tmp_path: Path, sandbox: Sandbox, acls: bool) -> Iterator[Server]:
    if missing := [tool for tool in ("smbd", "smbclient", "setfacl") if shutil.which(tool) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")
    with apart(tmp_path) as machine:
        if not acls:
            machine.run("mount", "--bind", "/bin/false", "/usr/bin/setfacl")
        made = Server(machine)
        try:
            made.start(sandbox)
            yield made
        finally:
            made.close()


@pytest.mark.parametrize("acls", [True, False])
def test_a_folder_put_by_somebody_else_through_the_share_ends_in_done(
    server: Server, sandbox: Sandbox
) -> None:
    server.put("drop", mha())
    server.wait_done()
    folder = server.root / "done" / "P001"
    owner = int(server.machine.run("id", "-u", USER))
    assert folder.stat().st_uid == owner
    assert (folder / "ct.mha").read_bytes() == mha()
    assert len(sandbox.display_sets("lung-2026")) == 1


def test_a_folder_that_the_service_could_not_move_is_not_sent_before_it_can(
    server: Server, sandbox: Sandbox
) -> None:
    """As `cp -r` of a folder that its group may not write."""
    source = server.machine.top / "var/lib/P001"
    source.mkdir(mode=0o755)
    (source / "ct.mha").write_bytes(mha())
    server.machine.run("cp", "-r", "/var/lib/P001", "/srv/casedrop/lung/drop/")
    wait_for(lambda: "could not move it" in server.why(), 30, "it says so")
    assert "1 of lung waits for a person" in server.machine.run(PROGRAM, "status", "--health", code=1)
    assert "waits for a person" in server.log.read_text()
    assert not any("/uploads/" in path for _, path, _ in sandbox.requests)
    server.machine.run("chmod", "-R", "g+rwX", "/srv/casedrop/lung/drop/P001")
    server.wait_done()


def test_a_folder_that_cannot_be_moved_once_it_was_sent_waits_for_a_person(
    server: Server, sandbox: Sandbox
) -> None:
    sandbox.hold_imports()
    server.put("drop", mha())
    wait_for(lambda: len(sandbox.display_sets("lung-2026")) == 1, 30, "it is committed")
    server.machine.run("chmod", "g-w", "/srv/casedrop/lung/drop/P001")
    sandbox.release_imports()
    wait_for(lambda: "moved to done/ (Permission denied). `casedrop check`" in server.why(), 30, "it says so")
    assert "1 of lung waits for a person" in server.machine.run(PROGRAM, "status", "--health", code=1)
    assert server.log.read_text().count("waits for a person") == 1
    server.machine.run("chmod", "g+w", "/srv/casedrop/lung/drop/P001")
    server.wait_done()


def test_a_data_manager_reads_the_status_and_writes_rules_and_nothing_else(server: Server) -> None:
    state = server.machine.top / "var/lib/casedrop"
    wait_for((state / "status.json").exists, 20, "the service runs")
    manager = ("setpriv", "--reuid=4242", "--regid=users", "--groups=casedrop")
    assert "lung" in server.machine.run(*manager, PROGRAM, "status")
    server.machine.run(*manager, "touch", "/etc/casedrop/drops.d/lung.toml", "/etc/casedrop/drops.d/new.toml")
    assert "Permission denied" in server.machine.run(*manager, "ls", "/var/lib/casedrop", code=2)
    for kept in state.iterdir():
        if kept.is_file() and kept.stem != "status":  # status.tmp becomes status.json
            said = server.machine.run(*manager, "cat", f"/var/lib/casedrop/{kept.name}", code=1)
            assert "Permission denied" in said
    for path in ("/etc/casedrop/casedrop.toml", "/etc/casedrop/x"):
        assert "Permission denied" in server.machine.run(*manager, "touch", path, code=1)


def test_through_the_share_drop_and_failed_can_be_written_and_nothing_else(server: Server) -> None:
    server.put("failed", mha())
    assert (server.root / "failed" / "P001" / "ct.mha").exists()
    assert "ACCESS_DENIED" in server.put("done", mha())
    assert "ACCESS_DENIED" in server.says("cd lung; mkdir other")
    assert "ACCESS_DENIED" in server.says("rmdir lung/done")
    assert "NT_STATUS" not in server.says("rename lung/failed/P001 lung/drop/P001")
    server.wait_done()
    assert "ACCESS_DENIED" in server.says("rename lung/done/P001 lung/drop/P001")
    said = server.says("get lung/done/P001.receipt.txt /var/lib/receipt; ls lung/casedrop-status.html")
    assert "NT_STATUS" not in said


def test_by_shares_of_their_own_nobody_changes_what_is_done(server: Server) -> None:
    before, mark, block = EXAMPLE.read_text().partition("# [lung-drop]")
    own = re.sub("(?m)^# ", "", mark + block)
    server.shares(before.replace("read only = no", "read only = yes") + own)
    server.processes[-1].send_signal(signal.SIGHUP)
    wait_for(
        lambda: "BAD_NETWORK_NAME" not in server.says("ls", "lung-drop"), 20, "smbd knows the new shares"
    )
    (server.machine.top / "var/lib/ct.mha").write_bytes(mha())
    copy = "mkdir P001; cd P001; lcd /var/lib; put ct.mha"
    assert "NT_STATUS" not in server.says(copy, "lung-drop")
    server.wait_done()
    said = server.says("cd lung/done/P001; lcd /var/lib; put ct.mha; rm ct.mha")
    assert said.count("NT_STATUS") == 2
    assert "ct.mha" in server.says("ls lung/done/P001/*")
    assert "NT_STATUS" not in server.says(copy, "lung-failed")
