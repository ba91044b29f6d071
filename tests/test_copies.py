"""Folders copied the way people and tools copy: none is taken early, each is taken once."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import Lab, mha
from waiting import wait_for

pytestmark = pytest.mark.long

LONGEST = 60.0
"""Seconds, several quiet periods of the lab."""


def source(lab: Lab) -> Path:
    folder = lab.folder("P001", ct__mha=mha(16), score__json=b'{"score": 1}')
    os.utime(folder / "ct.mha", (1e9, 1e9))
    return folder


def cp_r(folder: Path, to: Path) -> None:
    subprocess.run(["cp", "-r", folder, to], check=True)


def cp_a(folder: Path, to: Path) -> None:
    subprocess.run(["cp", "-a", folder, to], check=True)


def mv(folder: Path, to: Path) -> None:
    folder.rename(to / folder.name)


def tar(folder: Path, to: Path) -> None:
    pack = subprocess.run(["tar", "-C", folder.parent, "-c", folder.name], check=True, capture_output=True)
    subprocess.run(["tar", "-C", to, "-x"], check=True, input=pack.stdout)


def rsync(folder: Path, to: Path) -> None:
    need("rsync")
    subprocess.run(["rsync", "-a", folder, to], check=True)


def unzip(folder: Path, to: Path) -> None:
    need("zip")
    need("unzip")
    archive = folder.parent / "a.zip"
    subprocess.run(["zip", "-qr", archive, folder.name], check=True, cwd=folder.parent)
    subprocess.run(["unzip", "-q", archive, "-d", to], check=True)


def need(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")


@pytest.mark.parametrize("copy", [cp_r, cp_a, mv, tar, rsync, unzip])
def test_each_way_of_copying_is_taken_once_and_whole(lab: Lab, copy: Callable[[Path, Path], None]) -> None:
    lab.start()
    copy(source(lab), lab.drop)
    lab.wait_done("P001")
    assert (lab.done / "P001" / "ct.mha").read_bytes() == mha(16)
    assert lab.titles() == ["P001"]


def test_rsync_that_stalls_is_known_by_its_temporary_name(lab: Lab) -> None:
    lab.configure(incomplete=60)
    lab.start()
    folder = lab.drop / "P001"
    folder.mkdir()
    (folder / ".ct.mha.a1B2c3").write_bytes(mha()[:100])
    wait_for(
        lambda: "still being copied" in lab.case("P001").get("why", ""), what="the temporary name is said"
    )
    (folder / ".ct.mha.a1B2c3").write_bytes(mha())
    (folder / ".ct.mha.a1B2c3").rename(folder / "ct.mha")
    lab.wait_done("P001")


def test_a_copy_killed_after_setting_the_size_is_called_cut_off(lab: Lab) -> None:
    lab.configure(incomplete=3)
    code = f"""
import os
file = open({str(lab.drop / "P001" / "ct.mha")!r}, "wb")
file.truncate(1 << 20)
file.write(b"ObjectType = Image")
file.flush()
print("ready", flush=True)
import time; time.sleep(100)
"""
    (lab.drop / "P001").mkdir()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
    assert lab.once() == 1
    assert "cut off" in lab.wait_failed("P001")
    assert lab.titles() == []


def test_a_writer_that_comes_and_goes_never_meets_a_dead_service(lab: Lab) -> None:
    """A lease broken by a writer sends SIGIO, which would end a process that does not ignore it."""
    lab.start()
    path = lab.drop / "P001" / "ct.mha"
    path.parent.mkdir()
    path.write_bytes(mha())
    wait_for((lab.state / "status.json").exists, what="the service runs")
    for _ in range(2000):
        path.open("ab").close()
    lab.wait_done("P001")
    assert lab.stop() == 0
