"""The service once each way, before every commit: a folder done, one failed, a kill, a slow copy."""

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import NO_IMAGE, Lab, mha
from waiting import wait_for

LONGEST = 60.0
"""Seconds, several quiet periods of the lab."""


def test_image_segmentation_report_and_score_become_one_display_set(lab: Lab) -> None:
    lab.start()
    pdf = b"%PDF-1.4 report"
    lab.move_in(
        "P001", ct__mha=mha(), ct_airways__mha=mha(fill=b"\0"), r__pdf=pdf, score__json=b'{"score": 2.5}'
    )
    receipt = lab.wait_done("P001")
    values = lab.values("P001")
    assert values["some-score"] == 2.5
    assert values["report-pdf"]["sha256"] == hashlib.sha256(pdf).hexdigest()
    assert values.keys() == {"ct-image", "airway-segmentation", "report-pdf", "some-score"}
    assert {one["socket"] for one in receipt["sockets"]} == values.keys()
    assert (lab.done / "P001" / "ct.mha").read_bytes() == mha()
    assert not list(lab.drop.iterdir())


def test_an_image_the_platform_refuses_fails_and_its_retry_completes_the_same_display_set(lab: Lab) -> None:
    lab.start()
    lab.move_in("P001", ct__mha=NO_IMAGE, score__json=b'{"score": 1}')
    reason = lab.wait_failed("P001")
    assert "could not be imported" in reason
    assert "some-score" in reason
    (lab.failed / "P001" / "ct.mha").write_bytes(mha())
    (lab.failed / "P001").rename(lab.drop / "P001")
    lab.wait_done("P001")
    assert lab.titles() == ["P001"]
    assert lab.values("P001").keys() == {"ct-image", "some-score"}
    assert not (lab.failed / "P001.reason.txt").exists()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("POST", "display-sets/$", marks=pytest.mark.long),
        ("PATCH", "display-sets/[^/]+/$"),
        pytest.param("POST", "upload-sessions/$", marks=pytest.mark.long),
        pytest.param("PUT", ".", marks=pytest.mark.long),
    ],
)
def test_killed_after_a_request_before_it_is_journalled_ends_in_one_display_set(
    lab: Lab, method: str, path: str
) -> None:
    lab.sandbox.faults.add(method=method, path=path, cut=True, after=True, call=lab.kill)
    lab.move_in("P001", ct__mha=mha(), score__json=b'{"score": 1}')
    assert lab.once() == -9
    assert lab.once() == 0, lab.log.read_text()
    assert lab.titles() == ["P001"]
    assert lab.values("P001").keys() == {"ct-image", "some-score"}
    assert (lab.done / "P001").is_dir()


def explorer(path: Path, content: bytes, go_on: threading.Event) -> None:
    """As Windows Explorer over SMB: the full size before the first byte, the old time restored."""
    with path.open("wb") as file:
        file.truncate(len(content))
        file.write(content[:100])
        file.flush()
        os.utime(path, (1e9, 1e9))
        go_on.wait(LONGEST)
        file.write(content[100:])


def stalled(path: Path, content: bytes, go_on: threading.Event) -> None:
    with path.open("wb") as file:
        file.write(content[:100])
        file.flush()
        go_on.wait(LONGEST)
        file.write(content[100:])


@pytest.mark.parametrize("writer", [pytest.param(explorer, marks=pytest.mark.long), stalled])
def test_a_stall_in_the_middle_of_a_file_is_waited_out(
    lab: Lab, writer: Callable[[Path, bytes, threading.Event], None]
) -> None:
    lab.start()
    folder = lab.drop / "P001"
    folder.mkdir()
    go_on = threading.Event()
    copying = threading.Thread(target=writer, args=(folder / "ct.mha", mha(16), go_on))
    copying.start()
    wait_for(lambda: "still being written" in lab.case("P001").get("why", ""), 30, "it says who writes")
    assert not list(lab.done.iterdir())
    go_on.set()
    copying.join()
    lab.wait_done("P001")
    assert lab.titles() == ["P001"]
