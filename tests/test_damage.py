"""A journal that is damaged: said once in plain words, never a loop of crashes, and a way back."""

import configparser
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from casedrop import start
from casedrop.journal import Journal
from lab import Lab, mha

UNIT = Path(__file__).parent.parent / "systemd" / "casedrop.service"


def cut_short(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def other_bytes(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be one" * 200)


def bad_pages(path: Path) -> None:
    """As a disk would leave it: the first page is whole."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))


@pytest.mark.long
@pytest.mark.parametrize("damage", [cut_short, other_bytes, bad_pages])
def test_a_damaged_journal_stops_the_service_for_good_and_its_copy_brings_it_back(
    lab: Lab, damage: Callable[[Path], None]
) -> None:
    lab.configure(quiet=0.1)
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0
    path = lab.state / "journal.sqlite"
    journal = Journal(path)
    journal.keep_copy()
    journal.close()  # what stood in the WAL is in the file now
    damage(path)
    damaged = path.read_bytes()
    lab.move_in("P002", ct__mha=mha(5))
    lab.log.unlink()
    for _ in range(2):
        assert lab.once() == 78
    said = lab.log.read_text()
    assert "casedrop restore" in said
    assert "Traceback" not in said
    assert path.read_bytes() == damaged
    assert (lab.drop / "P002").is_dir()
    lab.command("restore")
    assert lab.once() == 0, lab.log.read_text()
    assert sorted(lab.titles()) == ["P001", "P002"]


def test_damage_found_while_the_service_runs_ends_it_for_good_and_a_fault_does_not(tmp_path: Path) -> None:
    assert start.ended_by(sqlite3.DatabaseError("malformed"), tmp_path) == start.DAMAGED
    assert start.ended_by(sqlite3.ProgrammingError("closed"), tmp_path) == start.FAULT
    assert start.ended_by(OSError(5, "broken"), tmp_path) == start.FAULT


def test_systemd_does_not_start_the_service_again_on_a_damaged_journal() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    assert unit["Service"]["Restart"] == "on-failure"
    assert str(start.DAMAGED) in unit["Service"]["RestartPreventExitStatus"].split()
    assert str(start.FAULT) not in unit["Service"]["RestartPreventExitStatus"].split()
