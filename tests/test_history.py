"""What `casedrop history` tells of folders that have ended."""

import csv
import io
import json
import os
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from casedrop.history import COLUMNS, line, table
from casedrop.journal import NAME, Ended, Journal
from casedrop.model import Case, Failure, Plan, PlannedFile, PlannedSocket, Problem, SourceFile, Weight
from casedrop.stages import Stage
from lab import NO_IMAGE, Lab, mha

DROPS = {"root": "lung"}
STUDY = "https://gc/reader-studies/lung/"
WRONG = Problem("unmatched-file", "odd.txt fits no rule.")


def case(folder: str, stage: Stage = Stage.DONE, since: float = 0.0, **more: object) -> Case:
    made = Case(0, "root", folder, "https://gc/api/v1/", STUDY, "pk", "lung", stage, since)
    return replace(made, **more)  # type: ignore[arg-type]


DONE = case("P001", since=1_800_000_000, set_pk="4c3f", committed=True)
FAILED = case("P002", Stage.FAILED, problems=(WRONG,))


def planned(*sizes: int) -> Plan:
    files = tuple(PlannedFile(f"{size}.mha", "ct.mha", size, 1, 1, 1) for size in sizes)
    return Plan("P001", "P001", (PlannedSocket("ct", "Image", "ct.mha", files),))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / NAME)


def test_a_done_folder_has_its_time_size_and_display_set() -> None:
    assert line(Ended(DONE, 12_300_000), DROPS) == (
        f"2027-01-15T08:00:00Z  lung/P001: done, 12.3 MB, {STUDY}display-sets/4c3f/"
    )


def test_a_failed_folder_has_the_words_of_its_reasons_and_what_of_it_readers_see() -> None:
    assert line(Ended(FAILED, 0), DROPS).endswith("lung/P002: failed (unmatched-file)")
    unfinished = replace(FAILED, set_pk="77", committed=True)
    assert line(Ended(unfinished, 5), DROPS).endswith(
        f"failed (unmatched-file), 5 B, {STUDY}display-sets/77/"
    )


def test_a_folder_that_changed_nothing_of_a_finished_display_set_does_not_name_it(journal: Journal) -> None:
    """Though it was to add to it; one that failed with something asked for does."""
    refused = replace(FAILED, set_pk="77", committed=True, amends=True)
    journal.begin(refused)
    journal.begin(replace(refused, folder="P003", asked=("ct",)))
    before, after = (line(one, DROPS) for one in journal.ended(0.0))
    assert before.endswith("lung/P002: failed (unmatched-file)")
    assert after.endswith(f"lung/P003: failed (unmatched-file), {STUDY}display-sets/77/")


def test_a_folder_is_called_what_people_called_it() -> None:
    assert "lung/P001: " in line(
        Ended(replace(DONE, folder="P001 20270115T080000Z", first_name="P001"), 1), DROPS
    )
    assert "lung/P001/v1: " in line(Ended(replace(DONE, plan=Plan("P001", "", (), part="v1")), 1), DROPS)
    assert "?/P001: " in line(Ended(DONE, 1), {})


def test_no_name_becomes_a_formula_or_a_command() -> None:
    odd = replace(DONE, folder="=cmd|x\x1b[31m\u202e", filed_as="@x")
    (row,) = csv.DictReader(io.StringIO(table([Ended(odd, 7)], DROPS)))
    assert tuple(row) == COLUMNS
    assert row["folder"] == r"'=cmd|x\x1b[31m\x202e"
    assert row["filed_as"] == "'@x"
    assert (row["outcome"], row["bytes"], row["ended"]) == ("done", "7", "2027-01-15T08:00:00Z")


def test_the_journal_tells_what_ended_in_that_order_and_what_was_sent(journal: Journal) -> None:
    odd = os.fsdecode(b"caf\xe9 \n")
    note = Problem("changed-after", "Only a note.", Weight.NOTE)
    packed = planned(5, 7).sockets[0].files[0]
    packed = replace(packed, size=90, packed=(SourceFile("IM1", 50, 1, 1, 1), SourceFile("IM2", 50, 1, 1, 1)))
    series = replace(planned(5), sockets=(PlannedSocket("ct", "Image", "a series", (packed,)),))
    parts = replace(planned(5), title="3", part=odd)
    for one in (
        case("late", since=30.0, plan=planned(5, 7), problems=(note,), set_pk="1", committed=True),
        case(odd, Stage.FAILED, since=10.0, problems=(WRONG,)),
        case("way", Stage.UPLOADING, since=20.0),
        case("series", since=20.0, plan=replace(series, title="2"), archive=True, set_pk="2", committed=True),
        case("part", since=25.0, plan=parts),
    ):
        journal.begin(one)
    found = journal.ended(0.0)
    assert [one.case.folder for one in found] == [odd, "series", "part", "late"]
    assert [one.bytes for one in found] == [0, 90, 5, 12]
    assert [one.case.part for one in found] == ["", "", odd, ""]
    assert [one.case.reasons for one in found] == [["unmatched-file"], [], [], []]
    assert found[1].case.address == "https://gc/api/v1/archives/items/2/"
    assert found[3].case.address == f"{STUDY}display-sets/1/"
    assert [one.case.folder for one in journal.ended(25.0)] == ["part", "late"]


def test_only_what_was_sent_counts(journal: Journal) -> None:
    """Nothing of a folder that failed with nothing there or is the same again; of one that adds, what it added."""
    plan = planned(5, 7)
    more = replace(plan.sockets[0], socket="seg", files=plan.sockets[0].files[:1])
    plan = replace(plan, sockets=(*plan.sockets, more))
    there: dict[str, Any] = {"plan": plan, "set_pk": "1", "committed": True}
    for one in (
        case("refused", Stage.FAILED, since=1.0, plan=plan),
        case("unfinished", Stage.FAILED, since=2.0, **there),
        case("twin", since=3.0, twin_of=2, **there),
        case("adds", since=4.0, twin_of=2, amends=True, added=("seg",), **there),
        case("split", since=5.0, **there | {"plan": replace(plan, parts=(plan,))}),
    ):
        made = journal.begin(replace(one, plan=replace(one.settled, title=one.folder)))
        assert made.sent_size == journal.ended(made.since)[-1].bytes
    assert [one.bytes for one in journal.ended(0.0)] == [0, 17, 0, 5, 0]
    assert line(journal.ended(5.0)[0], DROPS).endswith(f"lung/split: done, {STUDY}display-sets/1/")


@pytest.mark.long
def test_what_failed_and_was_mended_is_told_as_both(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha(), odd__doc=b"x")
    assert lab.once() == 1
    (lab.failed / "P001" / "odd.doc").unlink()
    began = datetime.now(UTC)
    assert "in drop/ again" in lab.output("retry", "lung/P001")
    assert lab.once() == 0
    failed, done = lab.output("history").splitlines()
    assert failed.endswith("lung/P001: failed (unmatched-file)")
    assert f"lung/P001: done, {len(mha())} B, " in done
    assert lab.output("history", "--since", f"{began:%Y-%m-%dT%H:%M:%S}").splitlines()[-1] == done
    assert lab.output("history", "--failed").splitlines() == [failed]
    day = lab.status()["days"][-1]
    assert day == {"day": day["day"], "done": 1, "failed": 1, "bytes": len(mha())}
    assert lab.once() == 0
    assert lab.status()["days"][-1] == day


@pytest.mark.long
def test_what_was_told_of_a_failure_stays_as_it_was_told(lab: Lab) -> None:
    """Though the folder is called otherwise by now, and is done."""
    lab.move_in("P001", ct__mha=NO_IMAGE)
    lab.move_in("P002", odd__doc=b"x")
    assert lab.once() == 1
    told, in_cells = lab.output("history").splitlines(), lab.output("history", "--csv").splitlines()
    assert f"P001: failed (import-failed), {len(NO_IMAGE)} B, http" in told[-1]
    (lab.failed / "P001" / "ct.mha").write_bytes(mha())
    (lab.failed / "P002" / "odd.doc").rename(lab.failed / "P002" / "ct.mha")
    (lab.failed / "P001").rename(lab.drop / "P001")
    (lab.failed / "P002").rename(lab.drop / "P003")
    assert lab.once() == 1
    assert lab.output("history").splitlines()[:2] == told
    assert lab.output("history", "--csv").splitlines()[:3] == in_cells


def test_an_older_casedrop_noted_less_of_a_failure(journal: Journal, tmp_path: Path) -> None:
    began = journal.begin(case("P001", since=2.0, failed_before=(Failure(1.0, ("closed",)),), set_pk="1"))
    journal.close()
    with closing(sqlite3.connect(tmp_path / NAME)) as db, db:
        (record,) = db.execute("SELECT record FROM cases").fetchone()
        noted = json.loads(record)
        noted["failed_before"] = [{"since": 1.0, "reasons": ["closed"]}]
        db.execute("UPDATE cases SET record = ?", (json.dumps(noted),))
    again = Journal(tmp_path / NAME)
    assert again.case(began.id) == began
    assert line(again.ended(0.0)[0], DROPS).endswith("lung/P001: failed (closed)")


def test_thousands_of_cases_are_told_at_once(journal: Journal, tmp_path: Path) -> None:
    journal.begin(case("P001", plan=planned(1, 2, 3, 4), set_pk="1", committed=True))
    with closing(sqlite3.connect(tmp_path / NAME)) as db, db:
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
            " INSERT INTO cases SELECT i, root, folder, filed_as, stage, study, NULL, record, NULL FROM cases, n"
        )
    began = time.monotonic()
    assert len(journal.ended(0.0)) == 5000
    assert time.monotonic() - began < 10


@pytest.mark.long
def test_the_history_is_told_while_the_service_runs(lab: Lab) -> None:
    assert "start the service once" in lab.command("history", code=78)
    lab.start()
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001")
    lab.move_in("P002", ct__mha=mha(9), odd__doc=b"x")
    lab.wait_failed("P002")
    first, second = lab.output("history").splitlines()
    assert f"lung/P001: done, {len(mha())} B, {lab.sandbox.url.removesuffix('api/v1/')}" in first
    assert "lung/P002: failed (unmatched-file)" in second
    assert lab.output("history", "--failed").splitlines() == [second]
    assert lab.output("history", "--since", "2026-01-01").splitlines() == [first, second]
    assert "Nothing has ended" in lab.output("history", "--since", "2999-01-01")
    assert len(lab.output("history", "--csv").splitlines()) == 3
