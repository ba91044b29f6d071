"""Wherever the service dies, the next start ends as if it had not: the crash matrix.

A case is killed at every request and at every write; a random tenth of that is run, all with `--all-crashes`.
"""

import hashlib
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from lab import NO_IMAGE, Lab, mha

pytestmark = pytest.mark.long

PDF = b"%PDF" + bytes(range(256)) * (9 << 12)
"""9 MiB: two parts."""

SMALL = {"ct__mha": mha()}
LARGE = SMALL | {"ct_airways__mha": mha(fill=b"\0"), "r__pdf": PDF, "score__json": b'{"score": 2.5}'}
FAILING = {"ct__mha": NO_IMAGE, "r__pdf": b"%PDF", "score__json": b'{"score": 1}'}

WRITES = "fsync,fdatasync,renameat2,rename,ftruncate,unlink"


def end_well(lab: Lab, files: dict[str, bytes]) -> None:
    assert lab.once() == 0, lab.log.read_text()
    assert lab.titles() == ["P001"]
    values = lab.values("P001")
    assert values["ct-image"]["sha256"] == hashlib.sha256(mha()).hexdigest()
    if "r__pdf" in files:
        assert values["report-pdf"]["sha256"] == hashlib.sha256(PDF).hexdigest()
        assert values["some-score"] == 2.5
    assert len(values) == len(files)
    assert sorted(one.name for one in lab.done.iterdir()) == ["P001", "P001.receipt.json", "P001.receipt.txt"]
    assert {one.name for one in (lab.done / "P001").iterdir()} == {one.replace("__", ".") for one in files}
    assert lab.receipt(lab.done / "P001.receipt.json")["title"] == "P001"
    assert not [*lab.drop.iterdir(), *lab.failed.iterdir()]
    assert [one for one in lab.fates() if one != "torn"] == ["began", "confirmed"]
    assert "none missing or changed" in lab.command("ledger", "--verify")


def end_failed(lab: Lab, files: dict[str, bytes]) -> None:
    filed_before = (lab.failed / "P001").exists()
    assert lab.once() == 1 or filed_before, lab.log.read_text()
    assert lab.titles() == ["P001"]
    assert lab.values("P001").keys() == {"report-pdf", "some-score"}
    assert sorted(one.name for one in lab.failed.iterdir()) == ["P001", "P001.reason.txt"]
    assert len([*(lab.failed / "P001").iterdir()]) == len(files)
    assert "could not use ct.mha as an image" in lab.wait_failed("P001")
    assert not [*lab.drop.iterdir(), *lab.done.iterdir()]
    assert [one for one in lab.fates() if one != "torn"] == ["began", "failed"]
    assert "none missing or changed" in lab.command("ledger", "--verify")


def killed_at_request(lab: Lab, files: dict[str, bytes], number: int, *, acted: bool) -> None:
    lab.configure(quiet=0.1)
    lab.sandbox.faults.add(skip=number, cut=True, after=acted, call=lab.kill)
    lab.move_in("P001", **files)
    lab.once()
    lab.sandbox.faults.clear()


def killed_at_write(lab: Lab, files: dict[str, bytes], number: int) -> None:
    """As the system call is entered: nothing of it is done, everything before it is."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    lab.configure(quiet=0.1)
    lab.move_in("P001", **files)
    inject = f"inject={WRITES}:signal=KILL:when={number}"
    lab.once("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={WRITES}", "-e", inject)


@pytest.mark.one_in_ten
@pytest.mark.parametrize("acted", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(26))
def test_killed_at_any_request_of_a_small_case(lab: Lab, number: int, *, acted: bool) -> None:
    killed_at_request(lab, SMALL, number, acted=acted)
    end_well(lab, SMALL)


@pytest.mark.one_in_ten
@pytest.mark.parametrize("number", range(1, 76))
def test_killed_at_any_write_of_a_small_case(lab: Lab, number: int) -> None:
    killed_at_write(lab, SMALL, number)
    end_well(lab, SMALL)


@pytest.mark.one_in_ten
@pytest.mark.parametrize("acted", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(50))
@pytest.mark.parametrize(
    ("files", "end"), [(LARGE, end_well), (FAILING, end_failed)], ids=["large", "failing"]
)
def test_killed_at_any_request(
    lab: Lab,
    files: dict[str, bytes],
    end: Callable[[Lab, dict[str, bytes]], None],
    number: int,
    *,
    acted: bool,
) -> None:
    killed_at_request(lab, files, number, acted=acted)
    end(lab, files)


@pytest.mark.one_in_ten
@pytest.mark.parametrize("number", range(1, 87))
@pytest.mark.parametrize(
    ("files", "end"), [(LARGE, end_well), (FAILING, end_failed)], ids=["large", "failing"]
)
def test_killed_at_any_write(
    lab: Lab, files: dict[str, bytes], end: Callable[[Lab, dict[str, bytes]], None], number: int
) -> None:
    killed_at_write(lab, files, number)
    end(lab, files)


@pytest.mark.parametrize(
    ("kept", "killed"), [(5, 9), (5, 16), (9, 13), (9, 18), (13, 16), (13, 20), (16, 19)]
)
def test_with_an_older_journal_nothing_is_sent_twice_or_filed_unconfirmed(
    lab: Lab, kept: int, killed: int
) -> None:
    """The journal is copied at one request, the service killed at a later one, and the copy put back."""
    lab.configure(quiet=0.1)
    old = lab.top / "old"
    lab.sandbox.faults.add(skip=kept, status=0, call=partial(_copy, lab.state, old))
    lab.sandbox.faults.add(skip=killed - kept - 1, cut=True, after=True, call=lab.kill)
    lab.move_in("P001", **SMALL)
    lab.once()
    lab.sandbox.faults.clear()
    shutil.rmtree(lab.state)
    shutil.copytree(old, lab.state)
    code = lab.once()
    filled = [one for one in lab.sandbox.display_sets("lung-2026") if one.values]
    assert len(filled) <= 1
    assert lab.titles().count("P001") == len(filled)
    if code:
        assert code == 75
        assert "accept" in lab.case("P001")["why"]
        assert "holds just what this folder does" in lab.command("accept", "--all")
        assert lab.once() == 0
        assert lab.titles().count("P001") == 1
    assert (lab.done / "P001").exists()


def _copy(state: Path, to: Path) -> None:
    shutil.copytree(state, to)
