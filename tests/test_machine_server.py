"""A lab's server: the service as `casedrop install` makes it, behind the share of an smbd, through reboots."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from casedrop.sandbox import Sandbox
from lab import mha
from machine import Machine, Server, machine
from proxy import Proxy
from test_endings import puts
from test_samba import EXAMPLE, PASSWORD, USER, free_port, listens
from waiting import wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

SMB = """[global]
server role = standalone server
smb ports = {port}
interfaces = 127.0.0.1
bind interfaces only = yes
"""
MIB = 1 << 20


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[Server]:
    with machine(tmp_path_factory.mktemp("machine")) as running:
        yield Server(running, sandbox)


def share(lab: Server) -> int:
    """The port of the server's own smbd."""
    port = free_port()
    conf = SMB.format(port=port) + EXAMPLE.read_text()
    lab.machine.run("sh", "-c", 'printf %s "$0" > /etc/samba/smb.conf', conf)
    lab.machine.run("groupadd", "researchers")
    lab.machine.run("useradd", "--groups", "researchers", USER)
    lab.machine.run("sh", "-c", f"printf '{PASSWORD}\\n{PASSWORD}\\n' | smbpasswd -s -a {USER}")
    lab.machine.run("systemctl", "start", "smbd")
    wait_for(lambda: listens(port), 30, "smbd")
    return port


def test_a_folder_put_through_the_share_of_the_server_by_somebody_else_ends_in_done(
    lab: Server, tmp_path: Path
) -> None:
    if shutil.which("smbclient") is None:
        pytest.skip("smbclient not installed")
    lab.install(lab.sandbox.url)
    port = share(lab)
    (tmp_path / "ct.mha").write_bytes(mha(40))
    put = f"cd lung/drop; mkdir P001; cd P001; lcd {tmp_path}; put ct.mha"
    login = ("smbclient", "//127.0.0.1/casedrop", f"--port={port}", f"--user={USER}%{PASSWORD}")
    said = subprocess.run([*login, "-c", put], check=False, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stdout
    lab.wait_done("P001", 60)
    owner = int(lab.machine.run("id", "-u", USER))
    for path, mode in ((lab.done / "P001", "2770"), (lab.done / "P001" / "ct.mha", "660")):
        about = path.stat()
        assert (about.st_uid, about.st_gid, f"{about.st_mode & 0o7777:o}") == (owner, lab.group, mode)
    assert lab.values("P001")["ct-image"]["sha256"] == hashlib.sha256(mha(40)).hexdigest()


@pytest.mark.parametrize("ended", [Machine.reboot, Machine.crash])
def test_after_a_reboot_in_the_middle_of_an_upload_the_service_comes_up_and_goes_on(
    lab: Server, ended: Callable[[Machine], None]
) -> None:
    content = mha(400)
    port = urlsplit(lab.sandbox.url).port
    assert port
    with Proxy(port) as line:
        lab.install(lab.sandbox.url.replace(f":{port}/", f":{line.port}/"))
        hangs = line.stall(up=True, after=3 * MIB)
        lab.move_in("P001", ct__mha=content)
        wait_for(hangs.is_set, 60, "a part is on its way")
        wait_for(lambda: puts(lab.sandbox), 60, "others are there")
        arrived = puts(lab.sandbox)
        ended(lab.machine)
        lab.wait_done("P001", 90)
    assert lab.titles() == ["P001"]
    assert lab.values("P001")["ct-image"]["sha256"] == hashlib.sha256(content).hexdigest()
    sent = puts(lab.sandbox)
    assert len(arrived) < len(set(sent))
    assert all(sent.count(path) == 1 for path in arrived), "it goes on where it was"
