"""What `casedrop plan` prints: readable at 80 columns, nothing left out."""

import json
from dataclasses import replace

from casedrop.group import group
from casedrop.model import Drop, Entry, EntryKind, Listing, SocketRule
from casedrop.reports import plan_json, plan_text
from casedrop.split import Part

DROP = Drop(
    "lung",
    "/lab",
    "lung-2026",
    (
        SocketRule("ct-image", ("*.mha",)),
        SocketRule("some-score", value=2.1, has_value=True),
        SocketRule("airways", ("*_airways.nii.gz",), required=False),
    ),
)


def listing(*paths: str) -> Listing:
    return Listing("P1", tuple(Entry(path, EntryKind.FILE, 5) for path in sorted(paths)))


def text(*paths: str) -> str:
    files = listing(*paths)
    return plan_text(files, group(files, DROP, {}, None), DROP)


def test_a_plan_shows_each_file_with_its_socket_and_the_display_set() -> None:
    shown = text("ct.mha")
    assert "ct.mha -> ct-image" in shown
    assert 'Display set "P1" in reader study lung-2026' in shown
    assert "some-score (Value) = 2.1" in shown


def test_a_display_set_of_a_part_names_it() -> None:
    files = listing("v1/ct.mha")
    made = group(files, DROP, {}, None, part=Part("v1", {"subfolder": "v1"}, "v1"))
    assert 'Display set "P1" of "v1" in reader study lung-2026' in plan_text(files, made, DROP)


def test_a_file_no_rule_takes_stands_there_with_its_near_miss() -> None:
    shown = text("ct.mha", "ct_airway.nii.gz")
    assert "ct_airway.nii.gz -> no rule takes it" in shown
    assert "spelt a little differently" in " ".join(shown.split())
    assert "No display set would be made" in shown


def test_problems_stand_under_what_they_mean_for_the_folder() -> None:
    shown = text("ct_airway.nii.gz").splitlines()
    headings = [line for line in shown if line in ("Wrong", "Lacking", "Notes")]
    assert headings == ["Wrong", "Lacking", "Notes"]


def test_a_long_name_stays_whole_so_that_it_can_be_copied_and_the_rest_is_wrapped() -> None:
    name = "x" * 200 + ".doc"
    shown = text("ct.mha", name)
    assert all(len(line) <= 80 for line in shown.splitlines() if name not in line)
    assert sum(name in line for line in shown.splitlines()) == 2


def test_a_long_folder_name_and_its_title_stay_whole_too() -> None:
    name = "P1 " + "x" * 200
    files = replace(listing("ct.mha"), folder=name)
    shown = plan_text(files, group(files, DROP, {}, None), DROP)
    assert all(len(line) <= 80 for line in shown.splitlines() if "x" * 200 not in line)
    assert sum("x" * 200 in line for line in shown.splitlines()) == 2


def test_a_name_cannot_play_tricks_on_the_terminal() -> None:
    shown = text("ct.mha", "a\x1b[31m\udcff.doc")
    assert "\x1b" not in shown
    assert r"a\x1b[31m\xff.doc" in shown
    shown.encode()


def test_the_same_is_to_be_had_as_json() -> None:
    files = listing("ct.mha")
    said = json.loads(json.dumps(plan_json(files, group(files, DROP, {}, None), DROP)))
    assert said["files"] == {"ct.mha": ["ct-image"]}
    assert said["problems"] == []
    assert said["display_sets"][0]["title"] == "P1"
    assert [one["socket"] for one in said["display_sets"][0]["sockets"]] == ["ct-image", "some-score"]


def test_json_of_a_folder_with_problems_has_no_display_set() -> None:
    files = listing("other.doc")
    said = plan_json(files, group(files, DROP, {}, None), DROP)
    assert said["display_sets"] == []
    assert {one["word"] for one in said["problems"]} == {"missing-file", "unmatched-file"}
