"""A server whose first process is a real systemd, in a container, with the service installed from its wheel.

Its tree (Debian's packages, and what the wheel depends on) is made once, in CASEDROP_TEST_CACHE or
/var/cache/casedrop-tests; each container has a layer of its own over it. It shares the loopback of the machine,
so that a sandbox here is the platform there.
"""

import fcntl
import hashlib
import itertools
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from apart import NO_DISKS
from casedrop.sandbox import Sandbox
from lab import CONFIG, QUIET, Lab
from waiting import wait_for

PROJECT = Path(__file__).parent.parent
CACHE = Path(os.environ.get("CASEDROP_TEST_CACHE", "/var/cache/casedrop-tests"))
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
"""The Debians that are to work, with systemd 252 and 257, and their Pythons."""
SUITE = os.environ.get("CASEDROP_TEST_SUITE", "bookworm")
PACKAGES = ("systemd", "systemd-sysv", "python3", "python3-venv", "samba", "samba-vfs-modules")
OFF = ("smbd", "nmbd", "samba-ad-dc")
"""What would start by itself, on ports that all containers share."""
TOOLS = ("debootstrap", "systemd-nspawn", "nsenter")
QUICKLY = """[Service]
RestartSec=0.2
WatchdogSec=5
TimeoutAbortSec=1
"""
"""What would take a test minutes otherwise."""
PROGRAM = "/opt/casedrop/bin/casedrop"
GREEDY = """[Service]
Type=oneshot
MemoryMax=50M
MemorySwapMax=0
ExecStart=/usr/bin/python3 -c "bytearray(100 << 20)"
"""
"""Ends by a signal where MemoryMax is kept to."""
CGROUPS = Path("/sys/fs/cgroup")
INTO_GROUPS = NO_DISKS + (
    """while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || true; shift; done; shift; exec "$@" """
)
UNSHARED = ("unshare", "--mount", "--propagation", "private")
BINDS = {"etc": "/etc/casedrop", "state": "/var/lib/casedrop"}
NUMBERS = itertools.count()
"""Of the containers of a process: that of test_machine.py outlives others."""
SOMEBODY = 4242
"""The user who copies folders."""


def make_tree() -> Path:
    """Skips the test, with the reason, where it cannot be made."""
    if os.geteuid():
        pytest.skip("only root makes containers")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"a container needs {', '.join(missing)}")
    try:
        return _cached()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the container's tree cannot be made: {error.cmd[0]}: {error.stdout[-300:]}")


def _cached() -> Path:
    needed = _requirements()
    key = hashlib.sha256(repr((PACKAGES, OFF, needed)).encode()).hexdigest()[:12]
    made = CACHE / f"{SUITE}-{key}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=CACHE, ignore_cleanup_errors=True) as desk:
                _build(Path(desk) / "tree", needed)
                (Path(desk) / "tree").rename(made)
    return made


def _build(tree: Path, needed: list[str]) -> None:
    packages = f"--include={','.join(PACKAGES)}"
    _run("debootstrap", "--variant=minbase", packages, SUITE, str(tree))
    for name in OFF:
        (tree / "etc/systemd/system/multi-user.target.wants" / f"{name}.service").unlink(missing_ok=True)
    wheels = tree / "tmp" / "wheels"
    _run(sys.executable, "-m", "pip", "download", "--dest", str(wheels), *_fitting(), *needed)
    _run("chroot", str(tree), "python3", "-m", "venv", "/opt/casedrop")
    offline = ("--no-index", "--find-links", "/tmp/wheels")
    _run("chroot", str(tree), "/opt/casedrop/bin/pip", "install", *offline, *needed)
    shutil.rmtree(wheels)


def _requirements() -> list[str]:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    needed: list[str] = project["dependencies"]
    return needed


def _fitting() -> list[str]:
    """pip's options for wheels that fit the tree, whatever Python runs the tests."""
    names = [f"{name}_{platform.machine()}" for name in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")]
    platforms = [f"--platform={name}" for name in names]
    return ["--only-binary=:all:", f"--python-version={PYTHONS[SUITE]}", "--implementation=cp", *platforms]


def _run(*command: str) -> None:
    subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _own_cgroups(name: str) -> list[Path]:
    """Containers in one group would take each other's services for their own, and end them."""
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, hierarchy, own = line.split(":", 2)
        top = CGROUPS / (hierarchy.removeprefix("name=") or "unified")
        group = (top if top.exists() else CGROUPS) / own.lstrip("/") / name
        with suppress(OSError):
            group.mkdir(exist_ok=True)
            found.append(group)
    return found


def _disk_over(tree: Path) -> Path:
    """What is changed in `root` of it is kept in memory."""
    disk = Path(tempfile.mkdtemp(prefix="casedrop-disk"))
    try:
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(disk))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"mounts cannot be made here: {error.stdout}")
    for name in ("upper", "work", "root"):
        (disk / name).mkdir()
    layers = f"lowerdir={tree},upperdir={disk / 'upper'},workdir={disk / 'work'}"
    _run("mount", "-t", "overlay", "-o", layers, "overlay", str(disk / "root"))
    return disk


class Machine:
    """`top` here is /srv/casedrop there; of it `etc` is /etc/casedrop, and `state` /var/lib/casedrop.

    The rest of its disk lies in memory, and outlives reboots.
    """

    def __init__(self, tree: Path, top: Path) -> None:
        self.top = top
        top.chmod(0o755)
        for name in BINDS:
            (top / name).mkdir()
        self._wheel = Path(tempfile.mkdtemp(prefix="wheel", dir=top))
        _run(sys.executable, "-m", "pip", "wheel", "--no-deps", f"--wheel-dir={self._wheel}", str(PROJECT))
        shutil.copytree(PROJECT / "systemd", self._wheel / "systemd")
        self._name = f"casedrop-{os.getpid()}-{next(NUMBERS)}"
        self._groups = _own_cgroups(self._name)
        self._disk = _disk_over(tree)
        try:
            self.boot()
            self._install()
        except BaseException:
            self.close()
            raise

    def boot(self) -> None:
        """Also after it has been shut down, or its power cut."""
        self._nspawn = subprocess.Popen(
            [
                *UNSHARED,
                *("sh", "-c", INTO_GROUPS, "sh", *map(str, self._groups), "--"),
                *("systemd-nspawn", "--quiet", "--boot", f"--directory={self._disk / 'root'}"),
                *(f"--machine={self._name}", "--register=no", "--keep-unit", "--resolv-conf=off"),
                *("--capability=all", f"--bind={self.top}:/srv/casedrop", f"--bind-ro={self._wheel}:/mnt"),
                *(f"--bind={self.top / name}:{there}" for name, there in BINDS.items()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._is_up, 60, "systemd in the container")

    def reboot(self) -> None:
        """As a person asks for it."""
        self.run("systemctl", "reboot", code=None)
        self._nspawn.wait(60)
        self.boot()

    def crash(self) -> None:
        """All that runs in it ends at once, as in a power cut, but what was written stays; and up again."""
        os.kill(self._leader(), signal.SIGKILL)
        self._nspawn.wait(60)
        self.boot()

    def keeps_to_memory_max(self) -> bool:
        """systemd-nspawn lends what there is of cgroups' first version for reading only."""
        self.run("mount", "-o", "remount,bind,rw", "/sys/fs/cgroup/memory", code=None)
        self.run("systemctl", "daemon-reexec")
        self.run("sh", "-c", f"echo '{GREEDY}' > /run/systemd/system/greedy.service")
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "start", "greedy", code=None)
        return self.run("systemctl", "show", "greedy", "--property=Result", "--value").strip() != "success"

    def close(self) -> None:
        self._nspawn.terminate()
        try:
            self._nspawn.wait(15)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        for place in (self._disk / "root", self._disk):
            _run("umount", "--lazy", str(place))
        self._disk.rmdir()
        for group in self._groups:
            for folder, _, _ in os.walk(group, topdown=False):
                with suppress(OSError):
                    os.rmdir(folder)

    def run(self, *command: str, code: int | None = 0) -> str:
        """What it says there; with None, whatever its code."""
        ran = self._enter(*command)
        assert code in (None, ran.returncode), ran.stdout
        return ran.stdout

    def _enter(self, *command: str) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "-t", str(self._leader()), *"-m -u -i -n -p -C -r -w".split()]
        return subprocess.run(
            [*enter, *command],
            check=False,
            text=True,
            timeout=60,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def _leader(self) -> int:
        pid = self._nspawn.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def _is_up(self) -> bool:
        if self._nspawn.poll() is not None:
            pytest.skip("systemd-nspawn cannot run here")
        with suppress(IndexError):
            return self._enter("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")
        return False

    def _install(self) -> None:
        self.run("sh", "-c", "/opt/casedrop/bin/pip install --no-deps --no-index /mnt/*.whl")
        for name in ("sysusers", "tmpfiles"):
            self.run("install", "-D", f"/mnt/systemd/casedrop.{name}", f"/etc/{name}.d/casedrop.conf")
        self.run("sh", "-c", "cp /mnt/systemd/*.service /etc/systemd/system/")
        self.run("mkdir", "/etc/systemd/system/casedrop.service.d")
        self.run("sh", "-c", f"echo '{QUICKLY}' > /etc/systemd/system/casedrop.service.d/quickly.conf")
        self.run("systemd-sysusers")
        self.run("systemd-tmpfiles", "--create", "casedrop.conf")
        self.run("systemctl", "daemon-reload")


class Server(Lab):
    """The lab on a machine; its service is the unit there, and folders belong to somebody else."""

    def __init__(self, machine: Machine, sandbox: Sandbox) -> None:
        self.machine = machine
        self.group = int(machine.run("id", "-g", "casedrop"))
        super().__init__(machine.top, sandbox)
        self.config = self.top / "etc" / "casedrop.toml"
        self.token = self.top / "etc" / "token"
        for path in (self.root, *self.root.rglob("*")):
            shutil.chown(path, "root", self.group)
            path.chmod(0o2770 if path.is_dir() else 0o660)

    def write_token(self, token: str) -> None:
        path = self.top / "etc" / "token"
        path.write_text(token)
        path.chmod(0o600)

    def configure(
        self, drop: str = "", quiet: float = QUIET, incomplete: float = 2, import_seconds: float = 60
    ) -> None:
        text = CONFIG.replace('token_file = "{token}"\n', "").format(
            url=self.sandbox.url,
            state="/var/lib/casedrop",
            root="/srv/casedrop/lung",
            drop=drop,
            quiet=quiet,
            incomplete=incomplete,
            import_seconds=import_seconds,
        )
        path = self.top / "etc" / "casedrop.toml"
        path.write_text(text + '[logs]\nnames = "plain"\n')
        path.chmod(0o644)

    def install(self, url: str) -> str:
        """By its command, to run with one socket of images; what the command says."""
        self.config.unlink()
        self.token.rename(self.top / "given")
        asked = ("--drop", "lung=lung-2026", "--url", url, "--token-file", "/srv/casedrop/given")
        said = self.machine.run(PROGRAM, "install", *asked, "--start")
        with self.config.open("a") as file:
            file.write("[settle]\nquiet_seconds = 0.4\nrescan_seconds = 0.5\n")
        piece = self.top / "etc" / "drops.d" / "lung.toml"
        rules = piece.read_text().replace('mode = "rehearse"\n', "")
        piece.write_text(rules.replace("generic-medical-image", "ct-image"))
        assert "PROBLEM" not in self.machine.run(PROGRAM, "check")
        self.machine.run("systemctl", "reload", "casedrop")
        return said

    def start(self, *_: str, under: tuple[str, ...] = ()) -> None:  # noqa: ARG002  as Lab's
        self.machine.run("systemctl", "start", "casedrop")

    def restart(self) -> None:
        self.machine.run("systemctl", "restart", "casedrop")

    def stop(self) -> int:
        self.machine.run("systemctl", "stop", "casedrop")
        return int(self.shows("ExecMainStatus"))

    def shows(self, name: str) -> str:
        """A property of the unit."""
        return self.machine.run("systemctl", "show", "casedrop", "--property", name, "--value").strip()

    def give_memory(self, most: str) -> None:
        """From its next start on; the test is skipped, with the reason, where that would change nothing."""
        if not self.machine.keeps_to_memory_max():
            pytest.skip("no MemoryMax is kept to in a container here")
        there = "/run/systemd/system/casedrop.service.d"
        self.machine.run("mkdir", "-p", there)
        self.machine.run("sh", "-c", f"printf '[Service]\\nMemoryMax={most}\\n' > {there}/memory.conf")
        self.machine.run("systemctl", "daemon-reload")

    def signal(self, name: str) -> None:
        self.machine.run("systemctl", "kill", "--kill-who=main", f"--signal={name}", "casedrop")

    def journal(self, *matches: str) -> list[str]:
        """The messages of the unit, since the last boot."""
        return self.machine.run("journalctl", "-u", "casedrop", "-o", "cat", *matches).splitlines()

    def give(self, path: Path) -> Path:
        """To who copies folders, as a share with a forced group does."""
        for each in (path, *path.rglob("*")):
            os.chown(each, SOMEBODY, self.group)
            each.chmod(0o2770 if each.is_dir() else 0o660)
        return path

    def folder(self, name: str, **files: bytes) -> Path:
        return self.give(super().folder(name, **files))

    def end(self) -> None:
        self.machine.run("systemctl", "stop", "casedrop", "casedrop@*")
        self.machine.run("systemctl", "reset-failed")
        self.machine.run("rm", "-rf", "/run/systemd/system/casedrop.service.d")
        self.machine.run("systemctl", "daemon-reload")
        for path in (self.root, self.desk):
            shutil.rmtree(path)
        for path in (self.state, self.top / "etc"):
            for each in path.iterdir():
                shutil.rmtree(each) if each.is_dir() else each.unlink()


@contextmanager
def machine(top: Path) -> Iterator[Machine]:
    made = Machine(make_tree(), top)
    try:
        yield made
    finally:
        made.close()
