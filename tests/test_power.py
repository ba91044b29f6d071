"""The power goes: what was not fsynced is gone, and the next start ends as if nothing had happened.

A disk of its own (ext4 in a file) holds root and state directory, and is shut down without its log, so that
it comes back as after a power cut.
"""

import fcntl
import hashlib
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from casedrop.sandbox import Sandbox
from identifying import series
from lab import Lab
from test_crashes import FAILING, LARGE, SMALL, WRITES, end_failed, end_well
from test_dicom_cases import take_dicom

pytestmark = pytest.mark.long

SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32)."""

NO_LOG_FLUSH = 2
LAZY = "commit=300"
"""Seconds: ext4 writes nothing of its own accord while a test runs."""


class Disk:
    def __init__(self, top: Path) -> None:
        self.image = top / "disk.ext4"
        self.path = top / "disk"
        self.path.mkdir()
        with self.image.open("wb") as file:
            file.truncate(256 << 20)  # the spool leaves 64 MB free
        subprocess.run(["mkfs.ext4", "-q", str(self.image)], check=True)
        self.mount()

    def mount(self) -> None:
        command = ["mount", "-o", f"loop,{LAZY}", str(self.image), str(self.path)]
        mounted = subprocess.run(command, check=False, capture_output=True, text=True)
        if mounted.returncode:
            pytest.skip(f"a loop device cannot be mounted here: {mounted.stderr.strip()}")

    def sync(self) -> None:
        subprocess.run(["sync", "-f", str(self.path)], check=True)

    def cut(self) -> None:
        """From now on nothing can be read or written."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def power_on(self) -> None:
        subprocess.run(["umount", str(self.path)], check=True)
        self.mount()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed")
    disk = Disk(tmp_path)
    yield disk
    subprocess.run(["umount", "-l", str(disk.path)], check=True)


@pytest.fixture
def lab(disk: Disk, tmp_path: Path, sandbox: Sandbox) -> Iterator[Lab]:
    lab = Lab(disk.path, sandbox)
    lab.log = tmp_path / "service.log"
    lab.configure(quiet=0.1)
    lab.config.write_text(lab.config.read_text().replace("[settle]", "min_free = 0\n[settle]"))
    yield lab
    lab.stop()


def off_at_request(lab: Lab, disk: Disk, files: dict[str, bytes], number: int, *, acted: bool) -> None:
    def power_cut() -> None:
        disk.cut()
        lab.kill()

    lab.move_in("P001", **files)
    disk.sync()
    lab.sandbox.faults.add(skip=number, cut=True, after=acted, call=power_cut)
    died = lab.once() < 0
    lab.sandbox.faults.clear()
    if died:
        disk.power_on()


def off_at_write(lab: Lab, disk: Disk, files: dict[str, bytes], number: int, writes: str = WRITES) -> None:
    """As the system call is entered: it is not done, and what was not fsynced before it is lost."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    lab.move_in("P001", **files)
    disk.sync()
    inject = f"inject={writes}:signal=KILL:when={number}"
    lab.once("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={writes}", "-e", inject)
    disk.cut()
    disk.power_on()


@pytest.mark.parametrize("number", [5, 8, 11, 14])
def test_after_a_power_cut_at_a_request_there_is_one_display_set(lab: Lab, disk: Disk, number: int) -> None:
    off_at_request(lab, disk, SMALL, number, acted=True)
    end_well(lab, SMALL)


@pytest.mark.parametrize("rename", [1, 2, 3], ids=["folder", "receipt", "receipt in words"])
def test_after_a_power_cut_at_a_rename_folder_and_receipt_are_whole(
    lab: Lab, disk: Disk, rename: int
) -> None:
    off_at_write(lab, disk, SMALL, rename, "renameat2")
    end_well(lab, SMALL)


def test_what_was_filed_stays_filed_when_the_power_goes_right_after(lab: Lab, disk: Disk) -> None:
    lab.move_in("P001", **SMALL)
    disk.sync()
    assert lab.once() == 0, lab.log.read_text()
    disk.cut()
    disk.power_on()
    assert json.loads((lab.done / "P001.receipt.json").read_text())["title"] == "P001"
    sent = len(_posts(lab))
    end_well(lab, SMALL)
    assert len(_posts(lab)) == sent


@pytest.mark.filterwarnings("ignore")
def test_after_a_power_cut_a_series_whose_zip_was_not_on_the_disk_is_packed_again(
    lab: Lab, disk: Disk
) -> None:
    def power_cut() -> None:
        disk.cut()
        lab.kill()

    take_dicom(lab)
    folder = lab.desk / "P001"
    series(folder, 12)
    folder.rename(lab.drop / "P001")
    disk.sync()
    lab.sandbox.faults.add(method="PUT", cut=True, call=power_cut)
    assert lab.once() < 0
    lab.sandbox.faults.clear()
    disk.power_on()
    (zipped,) = (lab.state / "spool").glob("*/*")
    assert hashlib.sha256(zipped.read_bytes()).hexdigest() != zipped.name
    assert lab.once() == 0, lab.log.read_text()
    assert lab.titles() == ["P001"]
    assert lab.values("P001")["ct-image"]["geometry"].size == (8, 8, 12)
    assert [one.name for one in lab.done.iterdir() if one.is_dir()] == ["P001"]


@pytest.mark.one_in_ten
@pytest.mark.parametrize("acted", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(30))
@pytest.mark.parametrize(
    ("files", "end"), [(LARGE, end_well), (FAILING, end_failed)], ids=["large", "failing"]
)
def test_power_cut_at_any_request(
    lab: Lab,
    disk: Disk,
    files: dict[str, bytes],
    end: Callable[[Lab, dict[str, bytes]], None],
    number: int,
    *,
    acted: bool,
) -> None:
    off_at_request(lab, disk, files, number, acted=acted)
    end(lab, files)


@pytest.mark.one_in_ten
@pytest.mark.parametrize("number", range(1, 76))
@pytest.mark.parametrize(
    ("files", "end"), [(SMALL, end_well), (FAILING, end_failed)], ids=["small", "failing"]
)
def test_power_cut_at_any_write(
    lab: Lab, disk: Disk, files: dict[str, bytes], end: Callable[[Lab, dict[str, bytes]], None], number: int
) -> None:
    off_at_write(lab, disk, files, number)
    end(lab, files)


def _posts(lab: Lab) -> list[str]:
    return [path for method, path, _ in lab.sandbox.requests if method in ("POST", "PUT")]
