"""What a drop would become, a line for each display set."""

import csv
import io

from casedrop.model import Grouping, Plan, PlannedSocket, Problem, Weight
from casedrop.rehearsal import LACKING, SENT, WAITS, WRONG, Row, as_csv, line, rows, summary, would_become
from casedrop.split import of_parts


def plan(title: str, part: str = "") -> Plan:
    return Plan(
        "P001", title, (PlannedSocket("ct", "Image", "ct.mha"), PlannedSocket("v", "Value", "x")), part=part
    )


def test_a_folder_is_a_row_for_each_of_its_display_sets() -> None:
    split = Plan("P001", "", (), parts=(plan("P001 v1", "v1"), plan("P001 v2", "v2")))
    found = rows("P001", Grouping(split), {})
    assert [(row.part, row.title, row.state, row.sockets) for row in found] == [
        ("v1", "P001 v1", SENT, ("ct", "v")),
        ("v2", "P001 v2", SENT, ("ct", "v")),
    ]
    assert would_become(Grouping(split)) == (
        'would become the display sets "P001 v1" (ct, v) and "P001 v2" (ct, v)'
    )


def test_a_folder_that_cannot_go_says_why_once() -> None:
    lacking = Problem("missing-file", "No file.", Weight.LACKING)
    assert rows("P001", Grouping(None, (lacking,)), {}) == [Row("P001", LACKING, why="No file.")]
    assert rows("P001", Grouping(None, (lacking, Problem("x", "Bad."))), {}) == [
        Row("P001", WRONG, why="No file. Bad.")
    ]


def test_one_bad_part_of_a_folder_does_not_hide_the_good_ones() -> None:
    lacking = Problem("missing-file", "No file.", Weight.LACKING)
    parts = {"v1": Grouping(plan("P001 v1", "v1")), "v2": Grouping(None, (lacking,))}
    outside = Problem("unmatched-file", "notes.txt: outside every part.")
    told = of_parts(parts)
    found = rows("P001", Grouping(None, tuple(told), parts=parts), {})
    assert [(row.part, row.state, row.title, row.why) for row in found] == [
        ("v1", WAITS, "P001 v1", 'This part is well, but "v2" is not, and a folder is sent whole.'),
        ("v2", LACKING, "", "No file."),
    ]
    assert line(found[0]).startswith('P001/v1: waits for the whole folder "P001 v1" with ct, v')
    assert summary(found) == "0 display sets would be made of 0 folders, 1 lacking."
    (*_, besides) = rows("P001", Grouping(None, (*told, outside), parts=parts), {})
    assert besides == Row("P001", WRONG, why="notes.txt: outside every part.")
    well = {"v1": parts["v1"]}
    first, _ = rows("P001", Grouping(None, (outside,), parts=well), {})
    assert first.why == "Nothing is sent before this is put right: notes.txt: outside every part."


def test_two_folders_of_one_title_are_told() -> None:
    titles: dict[str, str] = {}
    assert rows("A", Grouping(plan("same")), titles)[0].state == SENT
    (second,) = rows("B", Grouping(plan("same")), titles)
    assert second.state == WRONG
    assert '"A" has this title too' in second.why


def test_the_summary_counts_folders_and_display_sets() -> None:
    found = [
        Row("A", SENT, "v1", "A v1", ("ct",)),
        Row("A", SENT, "v2", "A v2", ("ct",)),
        Row("B", LACKING, why="No file."),
        Row("C", WRONG, why="Bad."),
    ]
    assert summary(found) == "2 display sets would be made of 1 folder, 1 lacking, 1 wrong."
    assert summary([]) == "0 display sets would be made of 0 folders."
    assert line(found[0]) == 'A/v1: would be sent "A v1" with ct'
    assert line(found[2]) == "B: lacking - No file."
    placed = Row("A", SENT, "v1", "A v1", ("ct", "v"), 3, (("v", 2.5),))
    assert line(placed) == 'A/v1: would be sent "A v1" in place 3 with ct, v = 2.5'


def test_a_row_can_be_read_back_from_csv() -> None:
    row = Row('A "1"\n', WRONG, "v1", "A; v1", ("ct", "v"), 3, (("v", 2.5),), "Bad, really.")
    (read,) = csv.DictReader(io.StringIO(as_csv([row])))
    assert read == {
        "folder": 'A "1"\\x0a',
        "part": "v1",
        "state": "wrong",
        "title": "A; v1",
        "order": "3",
        "sockets": "ct v",
        "values": '{"v": 2.5}',
        "why": "Bad, really.",
    }
