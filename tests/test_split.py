"""Which display set of a folder a file belongs to."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casedrop.group import group
from casedrop.model import (
    Drop,
    Entry,
    EntryKind,
    LabTable,
    Listing,
    SocketRule,
    Split,
    TableValue,
    TextValue,
)
from casedrop.settle import matches
from casedrop.split import joined, parts, rules_of

BY_FOLDER, BY_NAME = Split(folders="*"), Split(pattern=r"(?P<visit>v\d)_.*")
CT = SocketRule("ct", ("*.mha",))


def listing(*paths: str) -> Listing:
    folders = {path[: path.rfind("/")] for path in paths if "/" in path}
    entries = [Entry(path, EntryKind.FOLDER) for path in folders]
    entries += [Entry(path, EntryKind.FILE, 8) for path in paths if not path.endswith("/")]
    return Listing("P001", tuple(sorted(entries, key=lambda one: one.path)))


def names(found: Listing) -> list[str]:
    return [one.path for one in found.entries if one.kind is EntryKind.FILE]


def test_each_folder_is_a_part_and_what_lies_beside_them_is_outside() -> None:
    found, outside = parts(listing("v1/a.mha", "v1/deep/b.mha", "v2/a.mha", "notes.txt"), BY_FOLDER)
    assert {name: names(within) for name, (_, within) in found.items()} == {
        "v1": ["v1/a.mha", "v1/deep/b.mha"],
        "v2": ["v2/a.mha"],
    }
    assert names(outside) == ["notes.txt"]


def test_an_empty_folder_is_a_part_too() -> None:
    found, _ = parts(listing("v1/a.mha", "v2/"), BY_FOLDER)
    assert list(found) == ["v1", "v2"]


def test_parts_may_lie_deeper_and_under_a_name() -> None:
    found, outside = parts(
        listing("visits/v1/a.mha", "visits/a.mha", "other/v1/a.mha"), Split(folders="visits/*")
    )
    assert [(name, part.groups) for name, (part, _) in found.items()] == [("visits/v1", {"subfolder": "v1"})]
    assert names(outside) == ["other/v1/a.mha", "visits/a.mha"]


def test_a_pattern_tells_parts_apart_wherever_the_file_lies() -> None:
    found, outside = parts(listing("v1_a.mha", "v2_a.mha", "x/v1_a.mha"), BY_NAME)
    assert {name: part.groups for name, (part, _) in found.items()} == {
        "v1": {"visit": "v1"},
        "v2": {"visit": "v2"},
    }
    assert names(outside) == ["x/v1_a.mha"]


@pytest.mark.parametrize("odd", ["v1", "[v1]", "v*", "Größe 1", "{a,b}", "!x", "v1 (2)"])
def test_globs_are_relative_to_the_part_whatever_it_is_called(odd: str) -> None:
    rules = (CT, SocketRule("deep", ("scans/*.nii",)), SocketRule("t", value_from=TextValue("remark.txt")))
    found, _ = parts(listing(f"{odd}/a.mha"), BY_FOLDER)
    ((part, _),) = found.values()
    ct, deep, text = rules_of(Drop("d", "/d", "s", rules, split=BY_FOLDER), part).sockets
    assert matches(f"{odd}/a.mha", ct.files)
    assert matches(f"{odd}/x/a.mha", ct.files)
    assert not matches("other/a.mha", ct.files)
    assert matches(f"{odd}/scans/a.nii", deep.files)
    assert not matches(f"{odd}/x/scans/a.nii", deep.files)
    assert isinstance(text.value_from, TextValue)
    assert matches(f"{odd}/remark.txt", (text.value_from.text,))


def grouped(drop: Drop, files: Listing) -> list[tuple[str, str]]:
    assert drop.split is not None
    found, outside = parts(files, drop.split)
    groupings = {
        name: group(within, rules_of(drop, part), {}, None, part=part)
        for name, (part, within) in found.items()
    }
    whole = joined(files.folder, drop, groupings, outside)
    assert (whole.plan is None) is any(one.weight != "note" for one in whole.problems)
    return [(one.word, one.text) for one in whole.problems]


def test_every_problem_says_of_which_part_it_is() -> None:
    drop = Drop("d", "/d", "s", (CT,), title="{folder} {subfolder}", split=BY_FOLDER)
    said = grouped(drop, listing("v1/a.mha", "v2/b.doc", "c.doc"))
    assert [word for word, _ in said] == ["missing-file", "unmatched-file", "unmatched-file"]
    assert said[0][1].startswith('In "v2": No file for socket ct')
    assert "c.doc: outside every part" in said[2][1]


def test_what_is_the_same_for_each_part_is_said_once() -> None:
    rules = (CT, SocketRule("score", value_from=TableValue("scores", "X")))
    tables = (LabTable("scores", csv="*.csv"),)
    drop = Drop("d", "/d", "s", rules, title="{folder} {subfolder}", split=BY_FOLDER, tables=tables)
    ((word, text),) = grouped(drop, listing("v1/a.mha", "v2/a.mha"))
    assert (word, text) == (
        "missing-file",
        'In "v1" and "v2": No file for the table scores (it is read from *.csv).',
    )


def test_two_parts_never_share_a_title() -> None:
    drop = Drop("d", "/d", "s", (CT,), title="{folder} {subfolder}", split=Split(folders="*/*"))
    ((word, text),) = grouped(drop, listing("a/v1/x.mha", "b/v1/y.mha"))
    assert word == "same-title"
    assert 'a/v1 and b/v1 would all be titled "P001 v1"' in text


def test_a_folder_without_any_part_waits_for_one() -> None:
    drop = Drop("d", "/d", "s", (CT,), title="{folder} {subfolder}", split=BY_FOLDER, unmatched="ignore")
    ((word, _),) = grouped(drop, listing("a.mha"))
    assert word == "nothing-to-send"


PATHS = st.lists(
    st.lists(
        st.sampled_from(["v1", "v2", "V1", "x", "v1_a", "v2_b.mha", "c.mha", "ä"]), min_size=1, max_size=3
    ).map("/".join),
    unique=True,
    max_size=8,
)


@given(paths=PATHS, split=st.sampled_from([BY_FOLDER, BY_NAME, Split(folders="v*"), Split(folders="*/v?")]))
def test_every_file_is_in_one_part_or_outside(paths: list[str], split: Split) -> None:
    files = [path for path in paths if not any(other.startswith(f"{path}/") for other in paths)]
    found, outside = parts(listing(*files), split)
    there = [path for _, within in found.values() for path in names(within)]
    assert sorted([*there, *names(outside)]) == sorted(files)
    if split.pattern:
        assert all(re.fullmatch(split.pattern, path) for path in there)


def test_a_file_of_a_part_that_only_bears_the_same_name_is_outside() -> None:
    split = Split(pattern="(?P<p>[^_]*)_(?P<v>[^_]*)_.*")
    found, outside = parts(listing("a b_c_ct.mha", "a_b c_score.json"), split)
    assert [names(within) for _, within in found.values()] == [["a b_c_ct.mha"]]
    assert names(outside) == ["a_b c_score.json"]
