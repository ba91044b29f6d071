"""A folder with several time points becomes several display sets, through the real service."""

import gzip
import shutil

import numpy as np
import pytest

from lab import NO_IMAGE, Lab, mha
from test_before_sending import nifti

pytestmark = pytest.mark.long

FOLDERS = """
folder = 'P\\d+'
split = { folders = "*/" }
title = "{folder} {subfolder}"
"""


def visit(side: int, score: float = 1) -> dict[str, bytes]:
    return {"ct.mha": mha(side), "score.json": f'{{"score": {score:g}}}'.encode()}


def drop_visits(lab: Lab, name: str, **visits: dict[str, bytes]) -> None:
    made = lab.desk / name
    for called, files in visits.items():
        (made / called).mkdir(parents=True)
        for file, content in files.items():
            (made / called / file).write_bytes(content)
    made.rename(lab.drop / name)


def test_each_subfolder_becomes_a_display_set(lab: Lab) -> None:
    lab.configure(FOLDERS)
    drop_visits(lab, "P001", v1=visit(8, 1), v2=visit(9, 2), v3=visit(10, 3))
    assert lab.once() == 0, lab.log.read_text()
    assert sorted(lab.titles()) == ["P001 v1", "P001 v2", "P001 v3"]
    assert lab.values("P001 v2")["some-score"] == 2
    receipt = lab.wait_done("P001")
    assert [(one["part"], one["title"]) for one in receipt["display_sets"]] == [
        ("v1", "P001 v1"),
        ("v2", "P001 v2"),
        ("v3", "P001 v3"),
    ]
    assert receipt["display_sets"][0]["sockets"][0]["files"][0]["path"] == "v1/ct.mha"
    assert len({one["display_set"] for one in receipt["display_sets"]}) == 3
    assert (lab.done / "P001" / "v1" / "ct.mha").exists()
    assert sorted(lab.fates()) == ["began"] * 3 + ["confirmed"] * 3


def test_parts_are_told_apart_by_a_pattern_of_the_path(lab: Lab) -> None:
    lab.configure("split = { pattern = '(?P<visit>v\\d)_.*' }\ntitle = \"{folder} {visit}\"")
    config = lab.config.read_text().replace('json = "score.json"', 'json = "*_score.json"')
    lab.config.write_text(config)
    files = {"v1_ct.mha": mha(8), "v1_score.json": b'{"score": 1}', "v2_ct.mha": mha(9)}
    (lab.desk / "P001").mkdir()
    for name, content in files.items():
        (lab.desk / "P001" / name).write_bytes(content)
    (lab.desk / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0, lab.log.read_text()
    assert sorted(lab.titles()) == ["P001 v1", "P001 v2"]
    assert lab.values("P001 v1")["some-score"] == 1


def test_nothing_is_sent_while_one_part_lacks_something(lab: Lab) -> None:
    lab.configure(FOLDERS)
    drop_visits(lab, "P001", v1=visit(8), v2={"score.json": b'{"score": 2}'})
    assert lab.once() == 1
    reason = lab.wait_failed("P001")
    assert 'In "v2": No file for the socket "ct-image"' in reason
    assert "Nothing." in reason
    assert lab.titles() == []


def test_nothing_is_sent_before_every_part_was_read_whole(lab: Lab) -> None:
    lab.configure(FOLDERS)
    config = lab.config.read_text().replace('files = "*.mha"', 'files = ["*.mha", "*.nii.gz"]')
    lab.config.write_text(config)
    whole = gzip.compress(nifti(np.ones((4, 4, 4), np.int16)), mtime=0)
    drop_visits(lab, "P001", v1=visit(8), v2={"ct.nii.gz": whole[: len(whole) // 2]})
    assert lab.once() == 1
    reason = lab.wait_failed("P001")
    assert 'In "v2":' in reason
    assert "cut off" in reason
    assert lab.titles() == []
    (lab.failed / "P001" / "v2" / "ct.nii.gz").write_bytes(whole)
    (lab.failed / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0, lab.log.read_text()
    assert sorted(lab.titles()) == ["P001 v1", "P001 v2"]


def test_a_file_outside_every_part_is_unmatched(lab: Lab) -> None:
    lab.configure(FOLDERS)
    drop_visits(lab, "P001", v1=visit(8), v2=visit(9))
    (lab.drop / "P001" / "notes.txt").write_bytes(b"x")
    assert lab.once() == 1
    assert "notes.txt: outside every part of the folder" in lab.wait_failed("P001")
    assert lab.titles() == []


def test_where_one_part_fails_a_retry_sends_only_that(lab: Lab) -> None:
    lab.configure(FOLDERS)
    drop_visits(lab, "P001", v1=visit(8, 1), v2={"ct.mha": NO_IMAGE, "score.json": b'{"score": 2}'})
    assert lab.once() == 1
    reason = lab.wait_failed("P001")
    assert '- "v1": complete, the display set http' in reason
    assert '- "v2": not complete.' in reason
    assert 'In "v2": The socket "ct-image": Grand Challenge could not use' in reason
    before = len(lab.sandbox.requests)
    (lab.failed / "P001" / "v2" / "ct.mha").write_bytes(mha(9))
    (lab.failed / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0, lab.log.read_text()
    sent = [
        path for method, path, _ in lab.sandbox.requests[before:] if method == "POST" and "uploads" in path
    ]
    assert len([path for path in sent if path.endswith("/uploads/")]) == 1
    assert sorted(lab.titles()) == ["P001 v1", "P001 v2"]
    found = {one["part"]: one for one in lab.wait_done("P001")["display_sets"]}
    assert (found["v1"]["already_uploaded"], found["v2"]["already_uploaded"]) == (True, False)
    assert [one["bytes"] for one in lab.case("P001")["display_sets"]] == [len(mha(8)), len(mha(9))]


def test_a_later_drop_with_one_visit_more_sends_only_that(lab: Lab) -> None:
    lab.configure(FOLDERS)
    drop_visits(lab, "P001", v1=visit(8, 1), v2=visit(9, 2))
    assert lab.once() == 0
    shutil.rmtree(lab.done / "P001")
    before = len(lab.sandbox.requests)
    drop_visits(lab, "P001", v1=visit(8, 1), v2=visit(9, 2), v3=visit(10, 3))
    assert lab.once() == 0, lab.log.read_text()
    made = [path for method, path, _ in lab.sandbox.requests[before:] if method == "POST"]
    assert len([path for path in made if path.endswith("/display-sets/")]) == 1
    assert sorted(lab.titles()) == ["P001 v1", "P001 v2", "P001 v3"]
    assert [one["bytes"] for one in lab.case("P001")["display_sets"]] == [0, 0, len(mha(10))]


@pytest.mark.parametrize("number", range(2, 40, 4))
def test_a_visit_that_comes_while_others_are_sent_is_sent_once_too(lab: Lab, number: int) -> None:
    lab.configure(FOLDERS)
    drop_visits(lab, "P001", v1=visit(8, 1), v2=visit(9, 2))

    def more() -> None:
        folder = lab.drop / "P001" / "v3"
        if folder.parent.exists():
            folder.mkdir()
            for name, content in visit(10, 3).items():
                (folder / name).write_bytes(content)

    lab.sandbox.faults.add(status=0, skip=number, call=more)
    lab.once()
    if (lab.failed / "P001").exists():
        assert "the folder was changed afterwards" in lab.wait_failed("P001")
        (lab.failed / "P001").rename(lab.drop / "P001")
        assert lab.once() == 0, lab.log.read_text()
    assert len(lab.wait_done("P001")["display_sets"]) == len(list((lab.done / "P001").iterdir()))
    assert len(lab.titles()) == len(set(lab.titles())) == len(list((lab.done / "P001").iterdir()))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("number", range(1, 5))
def test_a_service_killed_again_and_again_doubles_no_part(lab: Lab, number: int) -> None:
    lab.configure(FOLDERS)
    drop_visits(lab, "P001", v1=visit(8, 1), v2=visit(9, 2))
    kills = 0
    while kills < 12:
        lab.sandbox.faults.clear()
        lab.sandbox.faults.add(status=0, skip=number, call=lab.kill)
        code = lab.once()
        if code >= 0:
            break
        kills += 1
    lab.sandbox.faults.clear()
    assert kills
    assert lab.once() == 0, lab.log.read_text()
    assert sorted(lab.titles()) == ["P001 v1", "P001 v2"]
    assert {one["part"] for one in lab.wait_done("P001")["display_sets"]} == {"v1", "v2"}


def test_each_part_has_its_own_row_of_a_table(lab: Lab) -> None:
    scores = lab.top / "scores.csv"
    scores.write_text("Patient;Visit;Score\nP001;v1;1,5\nP001;v2;2,5\n")
    lab.configure(
        FOLDERS + f'[[drops.tables]]\nname = "scores"\nfile = "{scores}"\ndecimal = ","\n'
        'key_columns = { folder = "Patient", subfolder = "Visit" }\n'
    )
    config = lab.config.read_text()
    rule = 'value_from = { json = "score.json", pointer = "/score" }'
    assert rule in config
    lab.config.write_text(config.replace(rule, 'value_from = { table = "scores", column = "Score" }'))
    drop_visits(lab, "P001", v1={"ct.mha": mha(8)}, v2={"ct.mha": mha(9)})
    assert lab.once() == 0, lab.log.read_text()
    assert [lab.values(f"P001 {name}")["some-score"] for name in ("v1", "v2")] == [1.5, 2.5]


def test_plan_shows_every_display_set(lab: Lab) -> None:
    lab.configure(FOLDERS)
    drop_visits(lab, "P001", v1=visit(8, 1), v2=visit(9, 2))
    said = lab.command("plan", str(lab.drop / "P001"))
    assert 'Display set "P001 v1"' in said
    assert 'Display set "P001 v2"' in said
    assert "v2/ct.mha -> ct-image" in said


def test_a_part_that_is_done_is_not_sent_again_under_another_title(lab: Lab) -> None:
    lab.configure(FOLDERS)
    drop_visits(lab, "P001", v1=visit(8, 1), v2={"ct.mha": NO_IMAGE, "score.json": b'{"score": 2}'})
    assert lab.once() == 1
    lab.configure(FOLDERS.replace("{folder} {subfolder}", "{folder}-{subfolder}"))
    (lab.failed / "P001" / "v2" / "ct.mha").write_bytes(mha(9))
    (lab.failed / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0, lab.log.read_text()
    assert sorted(lab.titles()) == ["P001 v1", "P001 v2"]
    assert [one["title"] for one in lab.wait_done("P001")["display_sets"]] == ["P001-v1", "P001 v2"]


def test_an_incomplete_display_set_of_a_part_that_is_no_more_is_told(lab: Lab) -> None:
    lab.configure(FOLDERS)
    drop_visits(lab, "P001", v1=visit(8, 1), v2={"ct.mha": NO_IMAGE, "score.json": b'{"score": 2}'})
    assert lab.once() == 1
    (lab.failed / "P001" / "v2").rename(lab.failed / "P001" / "v3")
    (lab.failed / "P001" / "v3" / "ct.mha").write_bytes(mha(9))
    (lab.failed / "P001").rename(lab.drop / "P001")
    assert lab.once() == 1
    reason = lab.wait_failed("P001")
    assert 'was begun for the part "v2", which the folder has no more. It is incomplete' in reason
    assert '- "v3": complete' in reason


def test_two_parts_of_the_same_files_wait_and_name_each_other(lab: Lab) -> None:
    lab.configure(FOLDERS)
    drop_visits(lab, "P001", v1={"ct.mha": mha(8)}, v2={"ct.mha": mha(8)})
    assert lab.once() == 75
    said = lab.case("P001/v1")["why"] + lab.case("P001/v2")["why"]
    assert "Remove the wrong one" in said
    assert "casedrop retry DROP/P001/v" in said
