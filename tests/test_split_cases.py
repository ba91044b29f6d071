"""A folder with several time points becomes several display sets, through the real service."""

import shutil
from pathlib import Path

import pytest

from lab import Lab, mha
from waiting import wait_for

pytestmark = pytest.mark.long

FOLDERS = """
folder = 'P\\d+'
split = { folders = "*/" }
title = "{folder} {subfolder}"
"""


def visit(side: int, score: float = 1) -> dict[str, bytes]:
    return {"ct.mha": mha(side), "score.json": b'{"score": %g}' % score}


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
    assert lab.fates() == ["began"] * 3 + ["confirmed"] * 3 or sorted(lab.fates()) == ["began"] * 3 + ["confirmed"] * 3


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
    assert 'In "v2": No file for socket ct-image' in reason
    assert "Nothing." in reason
    assert lab.titles() == []


def test_a_file_outside_every_part_is_unmatched(lab: Lab) -> None:
    lab.configure(FOLDERS)
    drop_visits(lab, "P001", v1=visit(8), v2=visit(9))
    (lab.drop / "P001" / "notes.txt").write_bytes(b"x")
    assert lab.once() == 1
    assert "notes.txt: outside every part of the folder" in lab.wait_failed("P001")
    assert lab.titles() == []


def test_where_one_part_fails_the_reason_tells_which_are_complete_and_a_retry_sends_only_the_others(lab: Lab) -> None:
    lab.configure(FOLDERS)
    drop_visits(lab, "P001", v1=visit(8, 1), v2={"ct.mha": b"no image at all", "score.json": b'{"score": 2}'})
    assert lab.once() == 1
    reason = lab.wait_failed("P001")
    assert '- "v1": complete, http' in reason
    assert '- "v2": not complete.' in reason
    assert 'In "v2": Socket ct-image: Grand Challenge could not use' in reason
    before = len(lab.sandbox.requests)
    (lab.failed / "P001" / "v2" / "ct.mha").write_bytes(mha(9))
    (lab.failed / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0, lab.log.read_text()
    sent = [path for method, path, _ in lab.sandbox.requests[before:] if method == "POST" and "uploads" in path]
    assert len([path for path in sent if path.endswith("/uploads/")]) == 1
    assert sorted(lab.titles()) == ["P001 v1", "P001 v2"]
    found = {one["part"]: one for one in lab.wait_done("P001")["display_sets"]}
    assert (found["v1"]["already_uploaded"], found["v2"]["already_uploaded"]) == (True, False)


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


def test_a_folder_that_changes_under_way_settles_again_and_doubles_nothing(lab: Lab) -> None:
    lab.configure(FOLDERS)
    lab.sandbox.faults.slow("uploads", 0.2) if hasattr(lab.sandbox.faults, "slow") else None
    drop_visits(lab, "P001", v1=visit(8, 1), v2=visit(9, 2))
    lab.start()
    wait_for(lambda: bool(lab.sandbox.requests), 20, "the first request")
    wait_for(lambda: bool(lab.records()), 20, "the first attempt")
    late = lab.drop / "P001" / "v3"
    try:
        late.mkdir()
        for name, content in visit(10, 3).items():
            (late / name).write_bytes(content)
    except FileNotFoundError:
        pytest.skip("it was filed away before")
    wait_for(lambda: (lab.done / "P001").exists() or (lab.failed / "P001").exists(), 30, "the folder's end")
    lab.stop()
    assert len(lab.titles()) == len(set(lab.titles()))


def test_a_case_killed_again_and_again_ends_once_in_all_its_parts(lab: Lab) -> None:
    lab.configure(FOLDERS)
    drop_visits(lab, "P001", v1=visit(8, 1), v2=visit(9, 2))
    for number in range(1, 40):
        count = len(lab.sandbox.requests) + number % 5 + 1
        lab.start("--once")
        assert lab.process is not None
        process = lab.process
        wait_for(lambda c=count, p=process: len(lab.sandbox.requests) >= c or p.poll() is not None, 30, "a request")
        if process.poll() is not None:
            break
        lab.kill()
        lab.process.wait()
    assert lab.once() == 0
    assert sorted(lab.titles()) == ["P001 v1", "P001 v2"]
    assert {one["part"] for one in lab.wait_done("P001")["display_sets"]} == {"v1", "v2"}


def test_plan_shows_every_display_set(lab: Lab, tmp_path: Path) -> None:
    lab.configure(FOLDERS)
    drop_visits(lab, "P001", v1=visit(8, 1), v2=visit(9, 2))
    said = lab.command("plan", str(lab.drop / "P001"))
    assert 'Display set "P001 v1"' in said
    assert 'Display set "P001 v2"' in said
    assert "v2/ct.mha -> ct-image" in said
