"""The service's own death: soon, whatever hangs, and the next start goes on at the first missing part."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from casedrop.sandbox import Sandbox
from lab import Lab, mha
from proxy import Proxy
from test_lines import proxy
from test_shares import Share, share
from waiting import wait_for

__all__ = ["proxy", "share"]
pytestmark = pytest.mark.long

PARTS = 25
MIB = 1 << 20
SOON = 10
"""Seconds; systemd kills after 90."""


def puts(sandbox: Sandbox) -> list[str]:
    """Where parts were sent that the storage took."""
    return [path for method, path, status in sandbox.requests if (method, status) == ("PUT", 200)]


def big(lab: Lab) -> str:
    """200 MB of no holes, and its sha256."""
    folder = lab.folder("P001", ct__mha=mha())
    whole = hashlib.sha256()
    with (folder / "r.pdf").open("wb") as file:
        for _ in range(PARTS):
            part = b"%PDF" + os.urandom(8 * MIB - 4)
            whole.update(part)
            file.write(part)
    folder.rename(lab.drop / "P001")
    return whole.hexdigest()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_big_upload_that_dies_half_way_goes_on_at_the_first_missing_part(
    lab: Lab, proxy: Proxy, number: signal.Signals
) -> None:
    proxy.rate = 40e6
    sha256 = big(lab)
    lab.start()
    assert lab.process is not None
    wait_for(lambda: len(puts(lab.sandbox)) >= PARTS // 2, 60, "half of it is there")
    lab.process.send_signal(number)
    lab.process.wait(SOON)
    half = puts(lab.sandbox)
    assert len(half) < PARTS
    assert lab.once() == 0, lab.log.read_text()
    sent = Counter(puts(lab.sandbox))
    assert len(sent) == PARTS + 1
    assert all(sent[path] == 1 for path in half)
    assert lab.values("P001")["report-pdf"]["sha256"] == sha256


def test_stopped_while_a_part_hangs_on_its_line_it_ends_soon(lab: Lab, proxy: Proxy) -> None:
    hangs = proxy.stall(up=True, after=3 * MIB)
    big(lab)
    lab.start()
    wait_for(hangs.is_set, 60, "the line hangs")
    assert_ends_soon(lab)
    assert lab.once() == 0, lab.log.read_text()
    assert lab.titles() == ["P001"]


def test_stopped_while_a_share_hangs_it_ends_soon_and_starts_again(lab: Lab, share: Share) -> None:
    """Threads wait in the kernel for the share and cannot be ended."""
    lab.start()
    share.drop("F001", mha(5))
    wait_for((share.behind / "done" / "F001.receipt.json").exists, 30, "the share works")
    lab.sandbox.faults.add(method="POST", path="uploads/$", status=0, call=share.freeze)
    share.drop("F002", mha(6))
    wait_for(lambda: "has not answered" in share.held(), 60, "the hung share is said")
    assert_ends_soon(lab)
    lab.start()
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001", 60)
    share.thaw()
    wait_for((share.behind / "done" / "F002.receipt.json").exists, 90, "it goes on by itself")
    assert sorted(lab.titles()) == ["P001", "far F001", "far F002"]


def assert_ends_soon(lab: Lab) -> None:
    began = time.monotonic()
    assert lab.stop() == 0
    assert time.monotonic() - began < SOON


STOPPED_WHILE_ITS_EVENT_IS_LOCKED = """
import os, signal, threading
from casedrop.start import stop_on_signals

wake = threading.Event()
stop_on_signals(wake.set)
with wake._cond:
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGTERM)
assert wake.wait(10)
"""


def test_a_signal_at_the_worst_moment_ends_the_service() -> None:
    """While the main thread holds the lock of the very event that is to wake it."""
    code = [sys.executable, "-c", STOPPED_WHILE_ITS_EVENT_IS_LOCKED]
    assert subprocess.run(code, check=False, timeout=30).returncode == 0
