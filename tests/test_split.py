"""Which display set of a folder a file belongs to."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casedrop.dicom_model import DicomHeader, DicomTest
from casedrop.group import group, needed
from casedrop.model import (
    Drop,
    Entry,
    EntryKind,
    Grouping,
    JsonValue,
    LabTable,
    Listing,
    SocketRule,
    Split,
    TableValue,
    TextValue,
)
from casedrop.settle import data, is_junk, matches
from casedrop.split import joined, parts, rules_of
from casedrop.titles import NAMELESS, Naming
from test_series import header

BY_FOLDER, BY_NAME = Split(folders="*"), Split(pattern=r"(?P<visit>v\d)_.*")
CT = SocketRule("ct", ("*.mha",))


def listing(*paths: str, folder: str = "P001") -> Listing:
    folders = {path[: path.rfind("/")] for path in paths if "/" in path}
    entries = [Entry(path, EntryKind.FOLDER) for path in folders]
    entries += [Entry(path, EntryKind.FILE, 8) for path in paths if not path.endswith("/")]
    return Listing(folder, tuple(sorted(entries, key=lambda one: one.path)))


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


Headers = Mapping[str, DicomHeader]


def made(
    drop: Drop,
    files: Listing,
    content: bytes = b"",
    headers: Headers = MappingProxyType({}),
    naming: Naming = NAMELESS,
) -> Grouping:
    """What the rules make of the whole folder; all files that are read hold the same."""
    look = partial(group, kinds=None, naming=naming)
    if drop.split is None:
        return look(files, drop, dict.fromkeys(needed(files, drop), content), headers=headers)
    found, outside = parts(data(files, drop.ignore), drop.split)
    groupings = {}
    for name, (part, within) in found.items():
        rules = rules_of(drop, part)
        contents = dict.fromkeys(needed(within, rules), content)
        there = {one.path: headers[one.path] for one in within.entries if one.path in headers}
        groupings[name] = look(within, rules, contents, headers=there, part=part)
    return joined(files.folder, drop, groupings, outside)


def grouped(drop: Drop, files: Listing) -> list[tuple[str, str]]:
    whole = made(drop, files)
    assert (whole.plan is None) is any(one.weight != "note" for one in whole.problems)
    return [(one.word, one.text) for one in whole.problems]


def test_every_problem_says_of_which_part_it_is() -> None:
    drop = Drop("d", "/d", "s", (CT,), title="{folder} {subfolder}", split=BY_FOLDER)
    said = grouped(drop, listing("v1/a.mha", "v2/b.doc", "c.doc"))
    assert [word for word, _ in said] == ["missing-file", "unmatched-file", "unmatched-file"]
    assert said[0][1].startswith('In "v2": No file for the socket "ct"')
    assert "c.doc: outside every part" in said[2][1]


def test_rules_are_said_as_they_were_written_whichever_part_lacks_or_doubles_a_file() -> None:
    rules = (
        SocketRule("ct", ("scans/*.mha", "*.nii")),
        SocketRule("remark", value_from=TextValue("remark.txt")),
        SocketRule("score", value_from=TableValue("scores", "X")),
    )
    tables = (LabTable("scores", csv="tables/*.csv"),)
    drop = Drop("d", "/d", "s", rules, title="{folder} {subfolder}", split=BY_FOLDER, tables=tables)
    assert [text for _, text in grouped(drop, listing("v1/", "v2/", "v3/a.nii", "v3/b.nii"))] == [
        'In "v1" and "v2": No file for the socket "ct" (it takes scans/*.mha or *.nii).',
        'In "v1", "v2" and "v3": No file for the socket "remark" (it takes remark.txt).',
        'In "v1", "v2" and "v3": No file for the table scores (it is read from tables/*.csv).',
        (
            'In "v3": The socket "ct" takes one file, but v3/a.nii and v3/b.nii fit its rule (scans/*.mha, *.nii).'
            " Remove the one that does not belong, or narrow the rule."
        ),
    ]


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


def test_a_table_in_the_folder_is_looked_for_in_the_part_like_any_file() -> None:
    rules = (CT, SocketRule("score", value_from=TableValue("scores", "Score")))
    tables = (LabTable("scores", csv="tables/scores.csv"),)
    drop = Drop("d", "/d", "s", rules, title="{folder} {subfolder}", split=BY_FOLDER, tables=tables)
    whole = made(drop, listing("v1/a.mha", "v1/tables/scores.csv"), b"Score\n1.5\n")
    assert whole.plan, whole.problems
    assert [one.value for one in whole.plan.parts[0].sockets if one.socket == "score"] == ["1.5"]


GLOBS = st.lists(
    st.sampled_from(["*.mha", "*ct*.mha", "**/*.nii.gz", "deep/*", "*.txt", "*"]), min_size=1, max_size=2
).map(tuple)
SOURCES = st.one_of(
    st.builds(lambda globs, fallback: SocketRule("", globs, fallback=fallback), GLOBS, st.booleans()),
    st.builds(
        lambda word, fallback: SocketRule(
            "", dicom=(DicomTest("SeriesDescription", (word,)),), fallback=fallback
        ),
        st.sampled_from(["thorax", "*"]),
        st.booleans(),
    ),
    GLOBS.map(lambda globs: SocketRule("", value_from=JsonValue(globs[0]))),
    GLOBS.map(lambda globs: SocketRule("", value_from=TextValue(globs[0]))),
)
RULES = st.lists(st.tuples(SOURCES, st.sampled_from([False, False, True])), min_size=1, max_size=3).map(
    lambda found: tuple(
        replace(rule, socket=f"s{n}", required=required) for n, (rule, required) in enumerate(found)
    )
)
LEAVING_OUT = ((DicomTest("SeriesDescription", ("scout",)),),)
SPLITS = st.sampled_from([None, BY_FOLDER, BY_NAME, Split(folders="v?"), Split(folders="*/*")])
TITLES = {None: "{folder}", BY_NAME: "{folder} {visit}"}
DROPS = st.builds(
    Drop,
    name=st.just("d"),
    root=st.just("/d"),
    reader_study=st.just("s"),
    sockets=RULES,
    unmatched=st.sampled_from(["fail", "ignore", "ignore"]),
    ignore=st.sampled_from([(), ("*.log",), ("v2/**",), ("deep/",)]),
    ready=st.sampled_from(["", "READY"]),
    leave_out=st.sampled_from([(), LEAVING_OUT]),
    split=SPLITS,
).map(lambda drop: replace(drop, title=TITLES.get(drop.split, "{folder} {subfolder}")))
NAMES = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "v1/", "v2/", "v1/", "v2/", "v1/deep/", "x/v1/", "[v3]/"]),
    st.sampled_from(["", "v1_", "v2_"]),
    st.sampled_from(["ct{}.mha", "m{}.NII.gz", "t{}.txt", "a{}.log", "ct{}.mhd", "IM{}", "IM{}"]),
)


KINDS = st.sampled_from([*[EntryKind.FILE] * 19, EntryKind.SYMLINK])
ODD = st.sampled_from([None, None, Entry("READY", EntryKind.FILE, 8), Entry("v4", EntryKind.FOLDER)])


@st.composite
def folders(draw: st.DrawFn) -> tuple[Listing, dict[str, DicomHeader]]:
    """Each file has a number in its name that no other has; what is called IM is DICOM."""
    paths = [name.format(f"{n:02}") for n, name in enumerate(draw(st.lists(NAMES, min_size=1, max_size=6)))]
    known = [Entry(path, draw(KINDS), 8) for path in paths]
    known += [
        Entry(path, EntryKind.FOLDER)
        for path in {str(one) for path in paths for one in Path(path).parents if one.name}
    ]
    known += filter(None, [draw(ODD)])
    headers: dict[str, DicomHeader] = {}
    for one in known:
        if "IM" in one.path and one.kind is EntryKind.FILE:
            what = draw(st.sampled_from(["thorax", "thorax", "scout", "report"]))
            series = f"{Path(one.path).parent} {what}"
            count = float(sum(known.series == series for known in headers.values()))
            headers[one.path] = header(
                series=series,
                instance=int(count),
                position=(0.0, 0.0, count),
                image=what != "report",
                values=(("SeriesDescription", (what,)),),
            )
    return Listing("P001", tuple(sorted(known, key=lambda one: one.path))), headers


@given(DROPS, folders())
def test_whatever_the_rules_each_file_is_taken_left_out_or_said_once(
    drop: Drop, folder: tuple[Listing, dict[str, DicomHeader]]
) -> None:
    files, headers = folder
    whole = made(drop, files, b"1", headers)
    assert whole.draft is not None
    plans = (whole.draft, *whole.draft.parts)
    left_out = Counter(path for one in plans for path in one.left_out)
    in_series = Counter(path for one in whole.series for path in one.paths)
    objects = Counter(whole.no_images)
    for entry in files.entries:
        path = entry.path
        if entry.kind is EntryKind.FOLDER:
            continue
        claimed = bool(whole.claims.get(path))
        if is_junk(path, drop.ignore) or path == drop.ready:
            assert (claimed, left_out[path], in_series[path]) == (False, 0, 0)
        elif path in headers and path in whole.claims:
            assert in_series[path] + objects[path] == 1
        else:
            is_link = entry.kind is not EntryKind.FILE and path in whole.claims
            assert claimed + left_out[path] + is_link == 1
            assert times_said(whole, path) == (is_link or (not claimed and drop.unmatched == "fail"))


def times_said(whole: Grouping, path: str) -> int:
    """How many problems say that it cannot be sent; a link in a part is one whatever the drop passes over."""
    (number,) = re.findall(r"\d\d", path) or [path]
    return sum(one.word in ("unmatched-file", "not-a-file") and number in one.text for one in whole.problems)


@settings(max_examples=200)
@given(DROPS, folders())
def test_whatever_the_rules_no_file_is_sent_twice_or_unclaimed(
    drop: Drop, folder: tuple[Listing, dict[str, DicomHeader]]
) -> None:
    files, headers = folder
    whole = made(drop, files, b"1", headers)
    plans = (whole.plan, *whole.plan.parts) if whole.plan else ()
    sockets = [socket for one in plans for socket in one.sockets]
    sent = [source.path for one in sockets for file in one.files for source in (file.packed or (file,))]
    assert len(sent) == len(set(sent))
    read_only = {rule.socket for rule in drop.sockets if rule.value_from}
    passed_over = {path for one in whole.series if one.fate != "taken" for path in one.paths}
    passed_over |= {*whole.no_images}
    for path in {path for path, names in whole.claims.items() if names} if whole.plan else ():
        is_read = set(whole.claims[path]) <= read_only
        assert (path in sent) + is_read + (path in passed_over) == 1
