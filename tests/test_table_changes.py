"""A table that says something else, by now, of folders that are done."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from casedrop.codes import Codes
from casedrop.journal import NEXT_SENT_SQL, SENT_TO_SQL, Journal
from casedrop.model import (
    Case,
    CodeTable,
    Drop,
    Grouping,
    Held,
    LabTable,
    Plan,
    PlannedFile,
    PlannedSocket,
    Problem,
    SocketKind,
    SocketRule,
    TableValue,
    Weight,
)
from casedrop.only_rows import Before, why_more
from casedrop.stages import Stage
from casedrop.table_changes import Change, Sent, by_folder, compared, named, not_sent, why_not
from casedrop.tables import Table
from casedrop.titles import Naming
from lab import Lab, mha
from test_tables import of_text
from waiting import wait_for

SCORES = LabTable("scores", "/scores.csv", keys=(("patient", "Patient"), ("visit", "Visit")))
VOLUME = SocketRule("volume", value_from=TableValue("scores", "X"))
NOTE = SocketRule("note", required=False, value_from=TableValue("scores", "Note"))
DROP = Drop(
    "lung",
    "/lab",
    "lung-2026",
    (SocketRule("ct-image", ("*.mha",)), VOLUME, NOTE),
    r"(?P<patient>P\d+)_(?P<visit>\d+)",
    tables=(SCORES,),
)
KINDS = {
    "ct-image": SocketKind("ct-image", "Image", "Image"),
    "volume": SocketKind("volume", "Float", "Value"),
    "note": SocketKind("note", "String", "Value"),
}
COLUMNS = ("Patient", "Visit", "X", "Note", "Title", "No")


def fingerprint(value: object) -> str:
    return PlannedSocket("any", "Value", "", value=value).fingerprint


SENT = Sent("pk", "P1_1", "P1_1", "", {}, "P1_1", 3, {"ct-image": "-", "volume": fingerprint(4.5)})


def table(*rows: str) -> Table:
    return of_text("\n".join([",".join(COLUMNS), *rows, ""]), wanted=COLUMNS)


def told(*rows: str, drop: Drop = DROP, sent: Sent = SENT) -> list[tuple[str, str, bool]]:
    naming = Naming(tables={"scores": table(*rows)})
    found = compared(drop, naming, KINDS, [sent])
    return [(one.what, one.needs, one.stops) for each in found.values() for one in each.changes]


def test_a_row_that_says_what_was_sent_is_no_change() -> None:
    assert told("P1,1,4.5,,,") == []
    assert told("P1,1,4.50,,,") == []
    whole = replace(SENT, held={"volume": fingerprint(5)})
    assert told("P1,1,5,,,", sent=whole) == []


def test_another_value_would_be_replaced_and_one_that_was_empty_before_added() -> None:
    assert told("P1,1,5.5,,,") == [("volume", "replace", False)]
    assert told("P1,1,4.5,calm,,") == [("note", "add", False)]
    assert told("P1,1,5.5,calm,,") == [("volume", "replace", False), ("note", "add", False)]


def test_a_row_that_is_gone_says_nothing_and_an_emptied_cell_cannot_be_sent() -> None:
    assert told() == []
    assert told("P1,1,,,,") == [("volume", "", False)]


def test_a_row_nobody_can_trust_stops_the_whole_folder() -> None:
    assert told("P1,1,SECRET,calm,,") == [("volume", "", True), ("note", "add", False)]
    assert told("P1,1,5,,,", "P1,1,6,,,") == [("volume", "", True), ("note", "", True)]


def test_another_title_or_order_is_told_and_never_sent() -> None:
    drop = replace(DROP, title="{table.scores.Title}", order="{table.scores.No}")
    assert told("P1,1,4.5,,P1_1,3", drop=drop) == []
    assert told("P1,1,4.5,,P1_1,4", drop=drop) == [("order", "", False)]
    assert told("P1,1,4.5,,P1 two,3", drop=drop) == [("title", "", True)]
    assert told("P1,1,4.5,,,x", drop=drop) == [("title", "", True), ("order", "", True)]
    assert told(drop=drop) == []
    assert told("P1,1,4.5,,,", drop=replace(DROP, title="{patient}", order="{visit}")) == []


def test_a_title_that_no_table_makes_is_told_only_where_it_keeps_a_new_value_back() -> None:
    drop = replace(DROP, title="{folder} visit 1")
    assert told("P1,1,4.5,,,", drop=drop) == []
    assert told("P1,1,5.5,,,", drop=drop) == [("volume", "replace", False), ("title", "", True)]
    same = replace(SENT, title="P1_1 visit 1")
    assert told("P1,1,5.5,,,", drop=drop, sent=same) == [("volume", "replace", False)]


def test_another_code_is_another_title() -> None:
    drop = replace(DROP, title="{code}", codes=CodeTable("/codes.csv", "Folder", "Code"))
    naming = Naming(codes=Codes({"P1_1": ("B",)}, {"B": 1}), tables={"scores": table("P1,1,4.5,,,")})
    (found,) = compared(drop, naming, KINDS, [SENT]).values()
    assert [one.what for one in found.changes] == ["title"]


def test_a_table_in_the_folder_and_a_folder_the_drop_takes_no_more_are_left_alone() -> None:
    inside = replace(DROP, title="{table.scores.Title}", tables=(LabTable("scores", csv="*.csv"),))
    assert compared(inside, Naming(), KINDS, [SENT]) == {}
    assert told("P1,1,9,,,", sent=replace(SENT, folder="odd")) == []


def test_a_part_has_the_row_of_its_own() -> None:
    drop = replace(DROP, folder=r"(?P<patient>P\d+)")
    part = replace(SENT, folder="P1", filed_as="P1", title="P1", part="2", groups={"visit": "2"})
    assert told("P1,1,9,,,", "P1,2,4.5,,,", drop=drop, sent=part) == []
    assert told("P1,1,4.5,,,", "P1,2,9,,,", drop=drop, sent=part) == [("volume", "replace", False)]


@pytest.mark.parametrize(
    ("row", "allowing"),
    [
        ("P1,1,5.5,,,", {"replace"}),
        ("P1,1,4.5,calm,,", {"add", "replace"}),
        ("P1,1,5.5,calm,,", {"replace"}),
        ("P1,1,SECRET,calm,,", set()),
        ("P1,1,,,,", set()),
        ("P1,1,,calm,,", {"add", "replace"}),
    ],
)
def test_what_may_be_sent_is_what_existing_display_set_allows(row: str, allowing: set[str]) -> None:
    found = list(compared(DROP, Naming(tables={"scores": table(row)}), KINDS, [SENT]).values())
    said = {mode: why_not(mode, found) for mode in ("refuse", "add", "replace")}
    assert {mode for mode, why in said.items() if not why} == allowing
    assert all("has the service reloaded" in why for mode, why in said.items() if why and allowing)
    assert "SECRET" not in "".join(said.values())
    assert "SECRET" not in not_sent(found[0].changes)


def test_the_parts_of_a_folder_are_told_together() -> None:
    drop = replace(DROP, folder=r"(?P<patient>P\d+)")
    parts = [
        replace(
            SENT, set_pk=number, folder="P1", filed_as="P1", title="P1", part=number, groups={"visit": number}
        )
        for number in "21"
    ]
    naming = Naming(tables={"scores": table("P1,1,9,calm,,", "P1,2,9,,,")})
    (found,) = by_folder(compared(drop, naming, KINDS, parts).values()).values()
    assert named(found) == "1: volume and note; 2: volume"


IMAGE = PlannedSocket(
    "ct-image", "Image", "ct.mha", (PlannedFile("ct.mha", "ct-image.mha", 1, 0, 0, 0, sha256="a"),)
)


def planned(volume: float, *more: PlannedSocket, image: PlannedSocket = IMAGE, **facts: Any) -> Plan:
    value = PlannedSocket("volume", "Value", "scores.csv, row 2, X", value=volume)
    return replace(Plan("P1_1", "P1_1", (image, value, *more)), **facts)


def more_than_rows(now: Plan | None, held: Mapping[str, str] = {}, *problems: Problem) -> str:
    """Of a folder whose volume was 4.5 and is another by its row."""
    was = planned(4.5)
    sent = replace(SENT, held={**was.contents, **held})
    return why_more(DROP, Grouping(now, problems), [Before(was, sent, (Change("volume", "replace"),))])


def with_file(**facts: Any) -> PlannedSocket:
    return replace(IMAGE, files=(replace(IMAGE.files[0], **facts),))


def test_a_folder_of_which_only_the_row_is_another_may_be_sent() -> None:
    assert more_than_rows(planned(5.5)) == ""
    assert more_than_rows(planned(5.5, image=with_file(sha256="", mtime_ns=5))) == ""


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (planned(5.5, title="P1_1 visit 1"), 'its title would be "P1_1 visit 1", and not "P1_1"'),
        (planned(5.5, PlannedSocket("site", "Value", "", value="N")), "site would not be what was sent"),
        (replace(planned(5.5), sockets=planned(5.5).sockets[1:]), "ct-image would not be what was sent"),
        (planned(4.5), "volume would not be what was sent"),
        (planned(5.5, image=with_file(path="other.mha")), "ct-image would not be what was sent"),
        (planned(5.5, image=with_file(stripped=("comment",))), "ct-image would not be what was sent"),
        (planned(5.5, part="v1"), "it would become other display sets"),
    ],
)
def test_whatever_else_the_rules_of_today_would_send_of_it_is_named(now: Plan, said: str) -> None:
    assert said in more_than_rows(now)


def test_a_folder_that_the_rules_take_no_more_is_told_why_and_a_note_is_no_reason() -> None:
    note, wrong = Problem("note", "Nearly.", Weight.NOTE), Problem("missing-file", "No file for socket x.")
    said = more_than_rows(None, {}, note, wrong)
    assert said == "by the rules of today it would not be taken. No file for socket x."


def test_an_image_that_another_folder_has_replaced_since_is_not_put_back() -> None:
    newer = replace(IMAGE, files=(replace(IMAGE.files[0], sha256="b"),)).fingerprint
    assert "ct-image would not be what was sent" in more_than_rows(planned(5.5), {"ct-image": newer})


def test_a_row_of_another_table_that_is_gone_leaves_its_value_as_it_is() -> None:
    note = PlannedSocket("note", "Value", "scores.csv, row 2, Note", value="calm")
    was = planned(4.5, note)
    before = Before(was, replace(SENT, held=was.contents), (Change("volume", "replace"),))
    assert why_more(DROP, Grouping(planned(5.5)), [before]) == ""


def journalled(journal: Journal, number: int, **facts: Any) -> Case:
    folder = f"P{number}_1"
    volume = PlannedSocket("volume", "Value", "scores.csv, row 2, X", value=4.5)
    plan = Plan(folder, folder, (volume,), order=number)
    case = Case(0, "root", folder, "gc/", "gc/s/", "pk", "slug", Stage.DONE, 1.0, plan=plan, filed_as=folder)
    known: dict[str, Any] = {"set_pk": f"set {number}", "held": {"volume": Held(volume.fingerprint, 7)}}
    return journal.begin(replace(case, committed=True, **(known | facts)))


def sent(journal: Journal) -> dict[str, Sent]:
    return {one.set_pk: one for one in journal.sent("root", "gc/", "pk")}


def test_the_journal_tells_of_every_finished_display_set_what_it_holds_and_where_its_folder_is(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    for number in range(1, 250):
        journalled(journal, number)
    odd = os.fsdecode(b"caf\xe9")
    journalled(journal, 300, first_name=odd)
    journalled(journal, 301, deleted=True)
    journalled(journal, 302, stage=Stage.FILING)
    new = {"volume": Held(fingerprint(5), 8)}
    later = journalled(journal, 7, twin_of=7, amends=True, held=new, filed_as="P7_1 later")
    found = sent(journal)
    assert len(found) == 250
    assert found["set 300"].folder == odd
    assert found["set 1"] == replace(
        SENT, set_pk="set 1", title="P1_1", order=1, held={"volume": fingerprint(4.5)}
    )
    assert (found["set 7"].filed_as, found["set 7"].held) == ("P7_1 later", {"volume": fingerprint(5)})
    assert list(journal.sent_to("set 7")) == [found["set 7"]]
    assert [one.id for one in journal.done("root", "P7_1")] == [later.id, 7]


def test_the_parts_of_a_folder_are_done_once_the_whole_folder_is(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    whole = journalled(journal, 1, set_pk="", held={}, stage=Stage.FILING)
    plan = Plan("P1_1", "P1 v1", (), part="v1", groups=(("subfolder", "v1"),))
    journalled(journal, 2, head=whole.id, plan=plan, folder="P1_1", filed_as="")
    assert sent(journal) == {}
    journal.save(whole, stage=Stage.DONE)
    (found,) = sent(journal).values()
    assert (found.filed_as, found.part, found.groups) == ("P1_1", "v1", {"subfolder": "v1"})


@pytest.mark.parametrize(
    ("query", "values", "how"),
    [
        (SENT_TO_SQL, ("pk",), "c USING INDEX cases_by_set"),
        (NEXT_SENT_SQL, ("root", "gc/ pk", 5), "c USING INTEGER PRIMARY KEY (rowid>?)"),
    ],
)
def test_no_more_cases_are_read_than_are_asked_for(
    tmp_path: Path, query: str, values: tuple[str | int, ...], how: str
) -> None:
    Journal(tmp_path / "journal.sqlite").close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as db:
        plan = str(db.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall())
    assert how in plan
    assert "TEMP B-TREE" not in plan


HEAD = "Patient,Visit,Code,Volume,No\n"


def tabled(lab: Lab, mode: str, more: str = "", quiet: float = 0.1) -> Path:
    lab.sandbox.add_socket("lung-volume", "Float", "Value")
    path = lab.top / "scores.csv"
    lab.configure(
        f"""existing_display_set = "{mode}"
        {more or "folder = '(?P<patient>P[0-9]+)_(?P<visit>[0-9]+)'"}
        [[drops.tables]]
        name = "scores"
        file = "{path}"
        key_columns = {{ patient = "Patient", visit = "Visit" }}
        [[drops.sockets]]
        socket = "lung-volume"
        value_from = {{ table = "scores", column = "Volume" }}
        required = false""",
        quiet=quiet,
    )
    return path


def begun(lab: Lab, mode: str) -> Path:
    """P1_1 and P2_1 are done, and their rows have changed since."""
    path = tabled(lab, mode)
    path.write_text(f"{HEAD}P1,1,A,4.5,1\nP2,1,B,3,2\n")
    lab.move_in("P1_1", ct__mha=mha())
    lab.move_in("P2_1", ct__mha=mha(9))
    assert lab.once() == 0, lab.log.read_text()
    assert lab.status()["table_changes"] == {"folders": 0, "first": []}
    path.write_text(f"{HEAD}P1,1,A,735.25,1\nP2,1,B,3,2\n")
    return path


def asked(lab: Lab, since: int) -> list[str]:
    """What was asked of the platform since that request, besides looking."""
    return [method for method, _, _ in lab.sandbox.requests[since:] if method != "GET"]


@pytest.mark.long
def test_a_row_that_changes_is_told_and_sent_when_a_person_says_so(lab: Lab) -> None:
    path = begun(lab, "replace")
    image = lab.values("P1_1")["ct-image"]
    since = len(lab.sandbox.requests)
    lab.start()
    wait_for(lambda: lab.status()["table_changes"]["folders"], 30, "the service notices")
    said = lab.command("status")
    assert "CHANGED IN A TABLE since they were sent: P1_1 (lung-volume); `casedrop retry lung/NAME`" in said
    assert asked(lab, since) == []
    assert (lab.done / "P1_1").is_dir()
    assert "P2_1 is done, and no table says anything else" in lab.command("retry", "lung/P2_1", code=1)
    assert "only what changed in a table is sent: lung-volume." in lab.command("retry", "lung/P1_1")
    wait_for(lambda: list(lab.done.glob("P1_1 *.receipt.json")), 30, "a receipt beside the first one")
    assert lab.values("P1_1") == {"ct-image": image, "lung-volume": 735.25}
    assert sorted(lab.titles()) == ["P1_1", "P2_1"]
    assert asked(lab, since) == ["PATCH", "PATCH"], "one looks whether the display set is open"
    (receipt,) = lab.done.glob("P1_1 *.receipt.json")
    assert json.loads(receipt.read_text())["amended"] == ["lung-volume"]
    wait_for(lambda: not lab.status()["table_changes"]["folders"], 30, "it is told no more")
    path.write_text(f"{HEAD}P1,1,A,4.5,1\nP2,1,B,3,2\n")
    wait_for(lambda: lab.status()["table_changes"]["folders"], 30, "the service notices that it is as before")
    (again,) = [one["folder"] for one in lab.status()["table_changes"]["first"]]
    lab.command("retry", f"lung/{again}")
    wait_for(lambda: len(list(lab.done.glob("P1_1*.receipt.json"))) == 3, 30, "it is sent once more")
    assert lab.values("P1_1")["lung-volume"] == 4.5
    assert "735.25" not in lab.log.read_text()


@pytest.mark.long
def test_a_folder_that_goes_back_for_its_row_alone_is_said_to(lab: Lab) -> None:
    """And it is no longer told as changed in a table; one whose files are others would be sent whole."""
    begun(lab, "replace")
    config = lab.config.read_text()
    lab.config.write_text(config.replace("existing", 'release = "ask"\nexisting'))
    lab.move_in("P2_1", ct__mha=mha(12))
    lab.command("retry", "lung/P1_1")
    rows = "only what changed in a table would be sent: lung-volume"
    assert f"It is done already, and {rows}." in lab.command("plan", "lung/P1_1")
    assert f"- It is done already, and {rows}." in lab.command("plan", "lung")
    assert "It is done already" not in lab.command("plan", "lung/P2_1")
    assert lab.once() == 75
    assert lab.case("P1_1")["why"].startswith(f"{rows}; the administrator lets it go with")
    assert 'would become the display set "P2_1"' in lab.case("P2_1")["why"]
    assert lab.status()["table_changes"] == {"folders": 0, "first": []}
    lab.command("release", "lung/P1_1")
    assert lab.once() == 75
    assert lab.values("P1_1")["lung-volume"] == 735.25
    assert lab.status()["table_changes"] == {"folders": 0, "first": []}


@pytest.mark.long
@pytest.mark.parametrize("mode", ["refuse", "add"])
def test_what_the_drop_does_not_allow_is_told_with_its_rule_and_nothing_moves(lab: Lab, mode: str) -> None:
    begun(lab, mode)
    assert lab.once() == 0
    assert "P1_1 (lung-volume); `casedrop retry lung/NAME` says why they are not sent" in lab.command(
        "status", code=75
    )
    since = len(lab.sandbox.requests)
    said = lab.command("retry", "lung/P1_1", code=1)
    assert f'existing_display_set = "{mode}"' in said
    assert 'sets it to "replace"' in said
    assert lab.once() == 0
    assert asked(lab, since) == []
    assert lab.values("P1_1")["lung-volume"] == 4.5
    assert sorted(one.name for one in lab.done.iterdir() if one.is_dir()) == ["P1_1", "P2_1"]


@pytest.mark.long
def test_a_value_that_was_empty_before_is_added(lab: Lab) -> None:
    path = tabled(lab, "add")
    path.write_text(f"{HEAD}P1,1,A,,1\n")
    lab.move_in("P1_1", ct__mha=mha())
    assert lab.once() == 0, lab.log.read_text()
    path.write_text(f"{HEAD}P1,1,A,735.25,1\n")
    lab.command("retry", "lung/P1_1")
    assert lab.once() == 0, lab.log.read_text()
    assert lab.values("P1_1")["lung-volume"] == 735.25


@pytest.mark.long
def test_a_title_that_would_be_another_is_told_and_no_second_display_set_is_made(lab: Lab) -> None:
    folder = "folder = '(?P<patient>P[0-9]+)_(?P<visit>[0-9]+)'"
    path = tabled(lab, "replace", f'{folder}\ntitle = "{{table.scores.Code}}"\norder = "{{table.scores.No}}"')
    path.write_text(f"{HEAD}P1,1,A,4.5,1\n")
    lab.move_in("P1_1", ct__mha=mha())
    assert lab.once() == 0, lab.log.read_text()
    path.write_text(f"{HEAD}P1,1,Z,735.25,1\n")
    assert "an editor changes it on Grand Challenge" in lab.command("retry", "lung/P1_1", code=1)
    path.write_text(f"{HEAD}P1,1,A,735.25,9\n")
    said = lab.command("retry", "lung/P1_1")
    assert "What cannot be sent: order: an editor changes it on Grand Challenge" in said
    assert lab.once() == 0, lab.log.read_text()
    (made,) = lab.sandbox.display_sets("lung-2026")
    assert (made.title, made.order, made.values["lung-volume"]) == ("A", 1, 735.25)
    assert lab.status()["table_changes"]["first"][0]["what"] == "order"


def split(lab: Lab) -> None:
    """P1 is done with its parts v1, v2 and v3, and the rows of the last two have changed since."""
    more = 'folder = \'(?P<patient>P[0-9]+)\'\nsplit = { folders = "*/" }\ntitle = "{folder} {subfolder}"'
    path = tabled(lab, "replace", more)
    config = lab.config.read_text().replace('visit = "Visit"', 'subfolder = "Visit"')
    lab.config.write_text(config)
    path.write_text(f"{HEAD}P1,v1,A,1,1\nP1,v2,B,2,2\nP1,v3,C,3,3\n")
    for visit, side in (("v1", 8), ("v2", 9), ("v3", 10)):
        (lab.desk / "P1" / visit).mkdir(parents=True)
        (lab.desk / "P1" / visit / "ct.mha").write_bytes(mha(side))
    (lab.desk / "P1").rename(lab.drop / "P1")
    assert lab.once() == 0, lab.log.read_text()
    path.write_text(f"{HEAD}P1,v1,A,1,1\nP1,v2,B,7,2\nP1,v3,C,8,3\n")


@pytest.mark.long
def test_only_the_parts_whose_rows_have_changed_are_amended(lab: Lab) -> None:
    split(lab)
    assert lab.once() == 0
    assert "P1 (v2: lung-volume; v3: lung-volume)" in lab.command("status", code=75)
    since = len(lab.sandbox.requests)
    lab.command("retry", "lung/P1/v2")
    assert lab.once() == 0, lab.log.read_text()
    assert [lab.values(f"P1 {visit}")["lung-volume"] for visit in ("v1", "v2", "v3")] == [1, 7, 8]
    assert asked(lab, since) == ["PATCH"] * 4
    assert len(lab.titles()) == 3
    (receipt,) = lab.done.glob("P1 *.receipt.json")
    found = {one["part"]: one["amended"] for one in json.loads(receipt.read_text())["display_sets"]}
    assert found == {"v1": [], "v2": ["lung-volume"], "v3": ["lung-volume"]}
    assert lab.status()["table_changes"]["folders"] == 0


@pytest.mark.long
def test_a_folder_that_is_not_as_it_was_sent_is_not_sent_with_its_new_row(lab: Lab) -> None:
    begun(lab, "replace")
    (lab.done / "P1_1" / "ct.mha").write_bytes(mha(12))
    assert "more than values of tables would be sent" in lab.command("retry", "lung/P1_1", code=1)
    shutil.rmtree(lab.done / "P1_1")
    assert "is not in done/ any more. Copy it into drop/" in lab.command("retry", "lung/P1_1", code=1)
    lab.move_in("P1_1", ct__mha=mha())
    assert "drop/ already" not in lab.command("retry", "lung/P1_1", code=1)
    assert lab.once() == 0
    assert lab.values("P1_1")["lung-volume"] == 735.25


def refused(lab: Lab, config: str, said: str) -> None:
    """By that configuration P1_1 stays in done/, for that reason."""
    lab.config.write_text(config)
    words = lab.command("retry", "lung/P1_1", code=1)
    assert said in words
    assert (lab.done / "P1_1").is_dir()
    assert not list(lab.drop.iterdir())


@pytest.mark.long
def test_where_the_rules_have_changed_since_a_folder_is_not_sent_with_its_new_row(lab: Lab) -> None:
    begun(lab, "replace")
    as_sent = lab.config.read_text()
    since = len(lab.sandbox.requests)

    def with_lines(lines: str) -> str:
        return as_sent.replace("existing_display_set", f"{lines}\nexisting_display_set")

    refused(lab, with_lines('title = "{folder} visit 1"'), "and the folder a second display set")
    score = 'value_from = { json = "score.json", pointer = "/score" }'
    of_folder = as_sent.replace(score, "value_from = { folder = 'P(?P<value>[0-9]+)_1' }")
    refused(lab, of_folder, "some-score would not be what was sent")
    refused(lab, as_sent.replace('files = "*.mha"', 'files = "*.nii"'), "No rule takes ct.mha")
    image = '[[drops.sockets]]\nsocket = "ct-image"\nfiles = "*.mha"\nfallback = true\n'
    without = with_lines('unmatched = "ignore"').replace(image, "")
    refused(lab, without, "ct-image would not be what was sent")
    refused(lab, with_lines('mode = "rehearse"'), "lung rehearses")
    assert asked(lab, since) == []
    lab.config.write_text(as_sent)
    lab.command("retry", "lung/P1_1")
    assert "P1_1 is in drop/ and on its way" in lab.command("retry", "lung/P1_1", code=1)
    end_well(lab)


@pytest.mark.long
def test_a_part_whose_rules_have_changed_keeps_the_whole_folder_back(lab: Lab) -> None:
    split(lab)
    score = 'value_from = { json = "score.json", pointer = "/score" }'
    config = lab.config.read_text()
    lab.config.write_text(config.replace(score, "value_from = { folder = 'P(?P<value>[0-9]+)' }"))
    assert 'of "v1" some-score would not be what was sent' in lab.command("retry", "lung/P1", code=1)
    lab.config.write_text(config.replace("{folder} {subfolder}", "{folder}-{subfolder}"))
    assert "and the folder a second display set" in lab.command("retry", "lung/P1", code=1)
    assert (lab.done / "P1").is_dir()


@pytest.mark.long
def test_a_service_that_rehearses_or_has_older_rules_is_sent_nothing(lab: Lab) -> None:
    begun(lab, "replace")
    as_sent = lab.config.read_text()
    lab.start()
    wait_for(lambda: lab.status()["table_changes"]["folders"], 30, "the service notices")
    refused(lab, as_sent.replace("existing", 'order = "{visit}"\nexisting'), "Nothing is moved before.")
    lab.stop()
    lab.config.write_text(as_sent.replace("existing", 'mode = "rehearse"\nexisting'))
    assert lab.once() == 0, lab.log.read_text()
    said = lab.command("status", code=75)
    assert "P1_1 (lung-volume); `casedrop retry lung/NAME` says why they are not sent" in said


def end_well(lab: Lab) -> None:
    assert lab.once() == 0, lab.log.read_text()
    assert lab.values("P1_1")["lung-volume"] == 735.25
    assert sorted(lab.titles()) == ["P1_1", "P2_1"]
    assert not [*lab.drop.iterdir(), *lab.failed.iterdir()]
    assert len([*lab.done.glob("P1_1*.receipt.json")]) == 2
    assert lab.status()["table_changes"]["folders"] == 0
    assert sorted(one for one in lab.fates() if one != "torn") == ["began"] * 3 + ["confirmed"] * 3


@pytest.mark.long
def test_where_retry_dies_the_folder_is_in_one_place_or_the_other(lab: Lab) -> None:
    begun(lab, "replace")
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    program = [sys.executable, "-c", "from casedrop.cli import main; main()", "retry", "lung/P1_1"]
    kill = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=renameat2:signal=KILL:when=1"]
    environ = os.environ | {"CASEDROP_CONFIG": str(lab.config)}
    subprocess.run([*kill, *program], env=environ, check=False, capture_output=True, timeout=60)
    assert (lab.done / "P1_1").is_dir() is not (lab.drop / "P1_1").is_dir()
    if (lab.done / "P1_1").is_dir():
        lab.command("retry", "lung/P1_1")
    end_well(lab)


@pytest.mark.long
@pytest.mark.one_in_ten
@pytest.mark.parametrize("acted", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(20))
def test_killed_at_any_request_while_a_new_value_is_sent_it_ends_as_if_it_had_not(
    lab: Lab, number: int, *, acted: bool
) -> None:
    begun(lab, "replace")
    lab.command("retry", "lung/P1_1")
    lab.sandbox.faults.add(skip=number, cut=True, after=acted, call=lab.kill)
    lab.once()
    lab.sandbox.faults.clear()
    end_well(lab)
