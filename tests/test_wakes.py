"""Where the system tells the service nothing, or not all, of what stirs: everything is found all the same."""

import signal
import subprocess
from pathlib import Path

import pytest

from lab import Lab, mha
from waiting import wait_for

pytestmark = pytest.mark.long

QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


def limited(limit: str, to: int) -> tuple[str, ...]:
    """A command that runs another one in a user namespace with that limit of inotify."""
    if subprocess.run(["unshare", "-Ur", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    script = f'echo {to} > /proc/sys/user/{limit}; exec "$@"'
    return ("unshare", "-Ur", "sh", "-c", script, "sh")


def lines(lab: Lab, *words: str) -> list[str]:
    return [line for line in lab.log.read_text().splitlines() if any(word in line for word in words)]


@pytest.mark.parametrize(
    ("limit", "to"), [("max_inotify_instances", 0), ("max_inotify_watches", 0), ("max_inotify_watches", 4)]
)
def test_at_a_limit_of_inotify_every_folder_is_found_by_looking(lab: Lab, limit: str, to: int) -> None:
    """Of a limit met later, in the middle of watching, watchdog says nothing."""
    lab.start(under=limited(limit, to))
    wait_for((lab.state / "status.json").exists, what="the service runs")
    names = [f"P{number:03}" for number in range(8)]
    for number, name in enumerate(names):
        folder = lab.folder(name, ct__mha=mha(fill=bytes([number])))
        for below in range(4):
            (folder / f"empty {below}").mkdir()
        folder.rename(lab.drop / name)
    for name in names:
        lab.wait_done(name)
    assert sorted(lab.titles()) == names
    assert len(lines(lab, "rescans only")) == (to == 0), lab.log.read_text()
    assert not lines(lab, "thread_died", "surprised", "library_says"), lab.log.read_text()


def test_events_that_did_not_fit_the_queue_cost_no_folder(lab: Lab) -> None:
    """The service is stopped while more happens than the kernel keeps for it."""
    lab.start()
    assert lab.process is not None
    wait_for((lab.state / "status.json").exists, what="the service runs")
    lab.move_in("P000", ct__mha=mha(9))
    lab.wait_done("P000")
    lab.process.send_signal(signal.SIGSTOP)
    for number in range(int(QUEUE.read_text())):
        (lab.drop / f"loose-{number}").touch()
        (lab.drop / f"loose-{number}").unlink()
    names = [f"P{number:03}" for number in range(1, 5)]
    for number, name in enumerate(names):
        lab.move_in(name, ct__mha=mha(fill=bytes([number])))
    lab.process.send_signal(signal.SIGCONT)
    for name in names:
        lab.wait_done(name)
    assert sorted(lab.titles()) == ["P000", *names]
    assert len(lines(lab, "verflow", "events were lost")) == 1, lab.log.read_text()
    lab.move_in("P009", ct__mha=mha(7))
    lab.wait_done("P009")
