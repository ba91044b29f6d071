"""The machine's date is set by hours while the service runs: nothing settles, fails or ends by it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab import NO_IMAGE, Lab, mha
from waiting import wait_for

pytestmark = pytest.mark.long


class Clock:
    """libfaketime's clock of one process: the date jumps, the boot clock does not."""

    def __init__(self, top: Path) -> None:
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
        if library is None:
            pytest.skip("libfaketime is not installed (package faketime)")
        self.file = top / "clock"
        self.set("+0")
        facts = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.under = ("env", *(f"{name}={value}" for name, value in facts.items()))
        self._expect_fake()

    def set(self, offset: str) -> None:
        """Whole or not at all: the library reads it at every look at the clock."""
        hidden = self.file.with_suffix(".tmp")
        hidden.write_text(offset)
        hidden.replace(self.file)

    def _expect_fake(self) -> None:
        self.set("-10y")
        code = "import time; print(time.gmtime().tm_year, time.clock_gettime(time.CLOCK_BOOTTIME))"
        faked = subprocess.run([*self.under, sys.executable, "-c", code], check=True, capture_output=True)
        true = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        (year, boot), (true_year, true_boot) = faked.stdout.split(), true.stdout.split()
        if int(year) >= int(true_year) or float(true_boot) - float(boot) > 60:
            pytest.skip("libfaketime does not move the date alone here")
        self.set("+0")


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    if shutil.which("env") is None:
        pytest.skip("env is not installed")
    return Clock(tmp_path)


@pytest.mark.parametrize("jump", ["+5h", "-5h"])
def test_a_folder_that_settles_is_not_taken_earlier_or_later(lab: Lab, clock: Clock, jump: str) -> None:
    lab.configure(quiet=6, incomplete=60)
    lab.start(under=clock.under)
    lab.move_in("P001", ct__mha=mha())
    wait_for(lambda: lab.case("P001").get("state") == "settling", what="it settles")
    clock.set(jump)
    (lab.drop / "P001" / "score.json").write_bytes(b'{"score": 1}')
    wait_for(lambda: lab.case("P001").get("until", 0) - lab.report()["time"] > 4, 4, "the period begins anew")
    lab.wait_done("P001", 30)
    assert lab.values("P001").keys() == {"ct-image", "some-score"}


@pytest.mark.parametrize("jump", ["+30h", "-30h"])
def test_a_case_that_is_being_checked_has_all_its_time(lab: Lab, clock: Clock, jump: str) -> None:
    lab.start(under=clock.under)
    lab.sandbox.hold_imports()
    lab.move_in("P001", ct__mha=mha())
    wait_for(lambda: "checked" in lab.case("P001").get("state", ""), 30, "it is being checked")
    clock.set(jump)
    looks = len(lab.sandbox.requests)
    wait_for(lambda: len(lab.sandbox.requests) > looks + 4, 30, "it is looked at under the new date")
    assert "checked" in lab.case("P001")["state"]
    lab.sandbox.release_imports()
    lab.wait_done("P001")
    assert lab.titles() == ["P001"]


@pytest.mark.parametrize("jump", ["+30h", "-30h"])
def test_a_restart_under_another_date_goes_on_with_what_was_sent(lab: Lab, clock: Clock, jump: str) -> None:
    """The age of an upload goes by the platform's date."""
    lab.sandbox.faults.add(method="POST", path="upload-sessions/$", cut=True, call=lab.kill)
    lab.move_in("P001", ct__mha=mha(), r__pdf=b"%PDF")
    lab.once()
    clock.set(jump)
    assert lab.once(*clock.under) == 0, lab.log.read_text()
    assert lab.titles() == ["P001"]
    assert len([path for method, path, _ in lab.sandbox.requests if method == "PUT"]) == 2


@pytest.mark.parametrize("jump", ["+5h", "-5h"])
def test_run_once_tells_of_a_failed_folder_whatever_the_date_does(lab: Lab, clock: Clock, jump: str) -> None:
    lab.sandbox.faults.add(path="upload-sessions/$", status=0, call=lambda: clock.set(jump))
    lab.move_in("P001", ct__mha=NO_IMAGE)
    assert lab.once(*clock.under) == 1
    lab.wait_failed("P001")
