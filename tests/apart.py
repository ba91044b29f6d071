"""A server's own /etc, /opt, /srv, /var/lib and accounts, in a mount namespace: what root does there stays there.

systemd does not run in it, but its tools do (sysusers, tmpfiles, creds, systemctl's links).
"""

import os
import shutil
import site
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import casedrop

PROGRAM = "/opt/casedrop/bin/casedrop"
NO_DISKS = """
grep -o '^/dev/loop[^ ]* [^ ]*' /proc/mounts | while read -r disk place; do umount -l "$place" || true; done
"""
"""In a mount namespace of one's own: another test's disk would stay mounted there when that test takes it away."""
_OWN = f"""
set -e
{NO_DISKS}
cp -a /etc "$0/etc"
mount --bind "$0/etc" /etc
for one in /opt /srv /var/lib; do mount -t tmpfs -o mode=755 tmpfs $one; done
mkdir /var/lib/systemd
echo ready
exec cat
"""


class Apart:
    def __init__(self, desk: Path, *, program: bool) -> None:
        if os.geteuid():
            pytest.skip("only root makes a server of its own")
        desk.mkdir(exist_ok=True)
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _OWN, str(desk)]
        self._holder = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout
        if self._holder.stdout.readline() != "ready\n":
            pytest.skip("mounts cannot be made here")
        self.top = Path(f"/proc/{self._holder.pid}/root")
        if program:
            self._program()

    def close(self) -> None:
        self._holder.communicate()

    def inside(self, *command: str) -> list[str]:
        return ["nsenter", "-t", str(self._holder.pid), "-m", *command]

    def run(self, *command: str, code: int | None = 0, given: str = "", seconds: float = 60) -> str:
        """What it says there, output and errors; with None, whatever its code."""
        ran = subprocess.run(
            self.inside(*command),
            check=False,
            text=True,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
        )
        assert code in (None, ran.returncode), ran.stdout
        return ran.stdout

    def text(self, path: str) -> str:
        return (self.top / path.lstrip("/")).read_text()

    def _program(self) -> None:
        """A virtual environment that everybody may read, with the libraries of this one."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        python = shutil.which(version, path="/usr/bin") or os.path.realpath(sys.executable)
        self.run(python, "-m", "venv", "--without-pip", "/opt/casedrop")
        there = self.top / "opt/casedrop"
        checkout = Path(casedrop.__file__).parents[2]
        self._lend(checkout / "systemd", "/opt/checkout/systemd")
        lent = [self._lend(checkout / "daemon", "/opt/checkout/daemon")]
        lent += [self._lend(path, f"/opt/site{n}") for n, path in enumerate(site.getsitepackages())]
        (there / "lib" / version / "site-packages" / "casedrop.pth").write_text("\n".join(lent))
        script = there / "bin" / "casedrop"
        script.write_text("#!/opt/casedrop/bin/python\nfrom casedrop.cli import main\nmain()\n")
        script.chmod(0o755)
        can = self.run("setpriv", "--reuid=65534", "--clear-groups", PROGRAM, "--version", code=None)
        if not can.startswith("casedrop "):
            pytest.skip(f"another user cannot run this Python: {can}")

    def _lend(self, path: str | Path, name: str) -> str:
        """It stands there for everybody, also if it lies where only root may go."""
        self.run("mkdir", "-p", name)
        self.run("mount", "--bind", str(path), name)
        return name


@contextmanager
def apart(desk: Path, *, program: bool = True) -> Iterator[Apart]:
    """Without `program`, /opt is empty."""
    made = Apart(desk, program=program)
    try:
        yield made
    finally:
        made.close()
