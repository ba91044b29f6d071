"""Copies from other machines, by real clients of another user, that stall in the middle of a file.

None is taken early: each stall outlasts the quiet period, and several looks see it.
"""

import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import smbclient

from apart import PROGRAM
from casedrop.sandbox import Sandbox
from lab import mha
from proxy import Proxy
from test_samba import PASSWORD, USER, Server, acls, free_port, listens, server
from waiting import wait_for

__all__ = ["acls", "server"]
pytestmark = pytest.mark.long

CONTENT = mha(200)
"""8 MB: more than the buffers on the way hold."""
FIRST = 1 << 20
LOOKS = 4
OLD = 1e9
"""When the file was changed on the client."""
SSHD = """Port {port}
ListenAddress 127.0.0.1
HostKey /etc/sshd/host
AuthorizedKeysFile /etc/sshd/key.pub
PidFile none
StrictModes no
UsePAM no
"""


@contextmanager
def put(server: Server) -> Iterator[None]:
    """By smbclient, from a pipe."""
    with server.client("cd lung/drop; mkdir P001; cd P001; put - ct.mha", subprocess.PIPE) as client:
        assert client.stdin
        client.stdin.write(CONTENT[:FIRST])
        client.stdin.flush()
        yield
        client.stdin.write(CONTENT[FIRST:])


@contextmanager
def explorer(server: Server) -> Iterator[None]:
    """As Windows Explorer: the full size before the first byte, the old time before the file is closed."""
    path = r"\\127.0.0.1\casedrop\lung\drop\P001"
    try:
        smbclient.register_session("127.0.0.1", username=USER, password=PASSWORD, port=server.port)
        smbclient.mkdir(path, port=server.port)
        path += r"\ct.mha"
        with smbclient.open_file(path, "wb", share_access="r", port=server.port) as file:
            file.truncate(len(CONTENT))
            file.write(CONTENT[:FIRST])
            file.flush()
            assert smbclient.stat(path, port=server.port).st_size == len(CONTENT)
            yield
            file.write(CONTENT[FIRST:])
            file.flush()
            smbclient.utime(path, (OLD, OLD), port=server.port)
    finally:
        smbclient.reset_connection_cache()


@contextmanager
def rsync(server: Server) -> Iterator[None]:
    """Over ssh, as docs/SAMBA.md says, by a line that stalls; what it writes to, only its user may read."""
    if missing := [tool for tool in ("rsync", "ssh", "sshd") if shutil.which(tool) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")
    asked = ("--drop", "lung=lung-2026", "--researchers", "researchers")
    server.machine.run(PROGRAM, "install", *asked, code=None)
    source = server.machine.top / "var/lib/P001"
    source.mkdir()
    (source / "ct.mha").write_bytes(CONTENT)
    os.utime(source / "ct.mha", (OLD, OLD))
    go_on = threading.Event()
    with Proxy(start_sshd(server)) as line:
        stalls = line.pause(up=True, after=FIRST, until=go_on)
        trusting = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        ssh = f"ssh -F none -p {line.port} -i /etc/sshd/key {trusting}"
        there = f"{USER}@127.0.0.1:/srv/casedrop/lung/drop/"
        copy = ("rsync", "-rt", "--chmod=Dg+rwx,Fg+rw", "-e", ssh, "/var/lib/P001", there)
        with subprocess.Popen(server.machine.inside(*copy)) as client:
            try:
                wait_for(stalls.is_set, 30, "the line stalls")
                (temporary,) = (server.root / "drop" / "P001").iterdir()
                assert temporary.name.startswith(".ct.mha.")
                yield
            finally:
                go_on.set()
        assert client.returncode == 0


def start_sshd(server: Server) -> int:
    """Its port; it runs as the one who copies, who is the only one to log in."""
    home = server.machine.top / "etc/sshd"
    home.mkdir()
    for name in ("host", "key"):
        server.machine.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"/etc/sshd/{name}")
    port = free_port()
    (home / "config").write_text(SSHD.format(port=port))
    server.machine.run("chown", USER, "/etc/sshd/host")
    sshd = shutil.which("sshd")
    assert sshd, "it wants to be called by its whole path"
    login = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups")
    server.start_process(*login, sshd, "-D", "-e", "-f", "/etc/sshd/config")
    wait_for(lambda: listens(port), 30, "sshd")
    return port


@pytest.mark.parametrize(
    ("copy", "why"),
    [
        (put, "ct.mha is still being written"),
        (explorer, "ct.mha is still being written"),
        (rsync, "has the name of a file that is still being copied"),
    ],
)
def test_a_copy_that_stalls_in_the_middle_of_a_file_is_waited_for(
    server: Server, sandbox: Sandbox, copy: Callable[[Server], AbstractContextManager[None]], why: str
) -> None:
    with copy(server):
        wait_for(lambda: why in server.why(), 60, "it says that somebody copies")
        looks: set[float] = set()

        def has_looked_again() -> bool:
            looks.add(server.drop()["scanned"])
            return len(looks) > LOOKS

        wait_for(has_looked_again, 30, "more looks")
        assert why in server.why()
        assert not any("/uploads/" in path for _, path, _ in sandbox.requests)
        assert not list((server.root / "done").iterdir())
    server.wait_done()
    folder = server.root / "done" / "P001"
    assert [path.name for path in folder.iterdir()] == ["ct.mha"]
    assert (folder / "ct.mha").read_bytes() == CONTENT
    (sent,) = sandbox.display_sets("lung-2026")
    assert sent.values["ct-image"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()
