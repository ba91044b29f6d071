"""Shares and disks that misbehave: hung, dead, unmounted, full, read-only. Real mounts; what needs a tool or a
right that is missing is skipped with the reason."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from casedrop import page_file, roots
from lab import Lab, mha
from waiting import wait_for

pytestmark = pytest.mark.long

SECOND = """
[[drops]]
name = "far"
root = "{root}"
reader_study = "lung-2026"
title = "far {{folder}}"
[[drops.sockets]]
socket = "ct-image"
files = "*.mha"
"""


class Share:
    """A second root behind a FUSE mount that can be stopped, killed and mounted again."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.behind = lab.top / "behind"
        self.root = lab.top / "far"
        for path in (self.behind, self.root):
            path.mkdir()
        roots.init(self.behind)
        self.mount()
        lab.config.write_text(lab.config.read_text() + SECOND.format(root=self.root))

    def mount(self) -> None:
        command = ["bindfs", "-f", str(self.behind), str(self.root)]
        self.server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: os.path.ismount(self.root) or self.server.poll() is not None, what="the mount")
        if self.server.poll() is not None:
            pytest.skip("bindfs cannot mount here")

    def unmount(self) -> None:
        self.server.send_signal(signal.SIGCONT)
        subprocess.run(["fusermount", "-u", "-z", str(self.root)], check=False, capture_output=True)
        self.server.kill()
        self.server.wait()

    def freeze(self) -> None:
        """Whoever asks the share from now on waits in the kernel."""
        self.server.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.server.send_signal(signal.SIGCONT)

    def drop(self, name: str, content: bytes) -> None:
        """Written behind the mount, so that a hung mount does not hang the test."""
        self.lab.folder(name, ct__mha=content).rename(self.behind / "drop" / name)

    def held(self) -> str:
        return held(self.lab, "far")


def held(lab: Lab, name: str) -> str:
    try:
        found = [drop["held"] for drop in lab.report()["drops"] if drop["name"] == name]
    except OSError:
        return ""
    return str(found[0])


@pytest.fixture
def share(lab: Lab) -> Iterator[Share]:
    if shutil.which("bindfs") is None:
        pytest.skip("bindfs is not installed")
    share = Share(lab)
    yield share
    lab.stop()
    share.unmount()


def test_a_share_that_hangs_stops_no_other_drop_and_goes_on_by_itself(lab: Lab, share: Share) -> None:
    lab.start()
    share.drop("F001", mha(5))
    wait_for((share.behind / "done" / "F001.receipt.json").exists, 30, "the share works")
    share.freeze()
    share.drop("F002", mha(6))
    wait_for(lambda: "has not answered" in share.held(), 60, "the hung share is said")
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001")
    page = page_file.NAME
    wait_for(lambda: "display set of P001" in (lab.root / page).read_text(), 20, "the other page goes on")
    share.thaw()
    wait_for((share.behind / "done" / "F002.receipt.json").exists, 60, "it goes on by itself")
    wait_for(lambda: "display set of F002" in (share.behind / page).read_text(), 20, "and so does its page")
    assert share.held() == ""


def test_a_dead_mount_holds_its_drop_and_a_new_one_lets_it_go_on(lab: Lab, share: Share) -> None:
    lab.start()
    wait_for((lab.state / "status.json").exists, what="the drops are watched")
    share.server.kill()
    share.server.wait()
    wait_for(lambda: "Is the share mounted?" in share.held(), 60, "the dead mount is said")
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001")
    share.unmount()
    wait_for(lambda: "Is the share mounted?" in share.held(), 60, "the bare mount point is no root")
    assert not any(share.root.iterdir())
    share.mount()
    share.drop("F001", mha(5))
    wait_for((share.behind / "done" / "F001.receipt.json").exists, 90, "it goes on after the new mount")


def test_unmounted_while_a_case_is_checked_nothing_is_made_on_the_bare_mount_point(
    lab: Lab, share: Share
) -> None:
    lab.start()
    lab.sandbox.hold_imports()
    share.drop("F001", mha(5))
    wait_for(lambda: "far F001" in lab.titles(), 30, "it is committed")
    share.unmount()
    lab.sandbox.release_imports()
    wait_for(lambda: "Is the share mounted?" in share.held(), 60, "the bare mount point is no root")
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001")
    assert not any(share.root.iterdir())
    share.mount()
    wait_for((share.behind / "done" / "F001.receipt.json").exists, 90, "it is filed after the new mount")
    assert sorted(lab.titles()) == ["P001", "far F001"]


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[None]:
    path.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted without root's rights")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill_up(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_with_too_little_room_for_the_journal_new_folders_wait_and_say_so(lab: Lab) -> None:
    with small_disk(lab.state, "300m"):
        ballast = lab.state / "ballast"
        ballast.write_bytes(bytes(150 << 20))
        lab.start()
        lab.move_in("P001", ct__mha=mha())
        wait_for(lambda: "are free in" in held(lab, "lung"), 30, "the full disk is said")
        assert lab.titles() == []
        ballast.unlink()
        lab.wait_done("P001")
        lab.stop()


def test_a_journal_on_a_full_disk_holds_everything_and_loses_nothing(lab: Lab) -> None:
    lab.config.write_text(lab.config.read_text().replace("[settle]", "min_free = 0\n[settle]"))
    with small_disk(lab.state, "12m"):
        lab.start()
        wait_for((lab.state / "status.json").exists, what="the service runs")
        ballast = lab.state / "ballast"
        fill_up(ballast)
        for number in range(8):
            lab.move_in(f"P{number:03}", ct__mha=mha(fill=bytes([number])))
        wait_for(lambda: "journal" in lab.log.read_text(), 60, "the full disk is said")
        assert lab.process is not None
        assert lab.process.poll() is None
        ballast.unlink()
        for number in range(8):
            lab.wait_done(f"P{number:03}", 90)
        assert sorted(lab.titles()) == [f"P{number:03}" for number in range(8)]
        lab.stop()


def test_done_on_a_full_disk_keeps_the_case_until_there_is_room(lab: Lab) -> None:
    """The rename itself needs no room, the receipt does."""
    shutil.rmtree(lab.root)
    with small_disk(lab.root, "1m"):
        roots.init(lab.root)
        lab.start()
        lab.sandbox.hold_imports()
        lab.folder("P001", ct__mha=mha())
        shutil.copytree(lab.desk / "P001", lab.drop / "P001")
        wait_for(lambda: lab.titles() == ["P001"], 30, "it is committed")
        ballast = lab.root / "ballast"
        fill_up(ballast)
        lab.sandbox.release_imports()
        wait_for(lambda: "cannot be moved to done/" in lab.case("P001").get("why", ""), 30, "it is said")
        ballast.unlink()
        lab.wait_done("P001", 60)
        lab.stop()


def test_a_root_that_cannot_be_written_holds_its_drop_and_recovers(lab: Lab) -> None:
    read_only = ["mount", "-o", "remount,ro", str(lab.root)]
    shutil.rmtree(lab.root)
    with small_disk(lab.root, "1m"):
        roots.init(lab.root)
        shutil.copytree(lab.folder("P001", ct__mha=mha()), lab.drop / "P001")
        subprocess.run(read_only, check=True)
        lab.start()
        wait_for(lambda: "Read-only file system" in held(lab, "lung"), 30, "the read-only share is said")
        subprocess.run(["mount", "-o", "remount,rw", str(lab.root)], check=True)
        lab.wait_done("P001", 60)
        lab.stop()


def test_a_share_that_lets_nobody_change_modes_is_filed_on_all_the_same(lab: Lab) -> None:
    """As network shares may: who may read the texts is then decided by the share."""
    behind = lab.top / "behind"
    lab.root.rename(behind)
    lab.root.mkdir()
    if shutil.which("bindfs") is None:
        pytest.skip("bindfs is not installed")
    refusing = ["--chmod-deny", "--chown-deny", "--chgrp-deny"]
    subprocess.run(["bindfs", *refusing, behind, lab.root], check=True)
    try:
        for name, file in (("P001", {"ct__mha": mha()}), ("P002", {"odd__txt": b""})):
            lab.folder(name, **file).rename(behind / "drop" / name)
        assert lab.once() == 1
        assert sorted(one.name for one in (behind / "failed").iterdir()) == ["P002", "P002.reason.txt"]
        assert (behind / "done" / "P001.receipt.txt").exists()
        assert (behind / page_file.NAME).exists()
    finally:
        subprocess.run(["fusermount", "-u", "-z", lab.root], check=False)
