"""What belongs in a folder, as the status page tells it: true of the rules that take the folder."""

from pathlib import Path

import pytest

from casedrop import config, sample
from casedrop.dicom_model import DicomTest
from casedrop.expects import OPTIONAL, Expected, expected
from casedrop.group import group
from casedrop.model import (
    CodeTable,
    Drop,
    Entry,
    EntryKind,
    FolderValue,
    Grouping,
    JsonValue,
    LabTable,
    Listing,
    SocketRule,
    Split,
    TableValue,
    TextValue,
)
from casedrop.settle import is_ready_mark
from casedrop.split import joined, parts, rules_of

FILES = sorted((Path(__file__).parent.parent / "config").rglob("*.toml"))
DROPS = [drop for path in FILES for drop in config.load(path, {}).drops]


def told(*rules: SocketRule, **options: object) -> Expected:
    drop = Drop("lung", "/", "s", rules, **options)  # type: ignore[arg-type]
    return expected(drop, 30, 900)


def grouped(listing: Listing, drop: Drop) -> Grouping:
    if drop.split is None:
        return group(listing, drop, {}, None)
    found, outside = parts(listing, drop.split)
    groupings = {
        name: group(within, rules_of(drop, part), {}, None, part=part)
        for name, (part, within) in found.items()
    }
    return joined(listing.folder, drop, groupings, outside)


@pytest.mark.parametrize("drop", DROPS, ids=lambda drop: str(drop.name))
def test_the_example_of_every_example_configuration_is_what_its_rules_take(drop: Drop) -> None:
    """But for what only the files' contents tell."""
    tree = expected(drop, 30, 900).tree
    assert tree, drop.name
    folder, *lines = tree
    part = lines.pop(0).strip() if drop.split else ""
    files = [line.strip().removesuffix(OPTIONAL) for line in lines]
    paths = [part + path for path in files if not path.startswith("dicom/")]
    entries = [Entry(path, EntryKind.FILE, 9) for path in paths if not is_ready_mark(path, drop)]
    folders = [Entry(part.rstrip("/"), EntryKind.FOLDER)] if part else []
    found = grouped(Listing(folder.rstrip("/"), (*folders, *entries)), drop)
    words = {problem.word for problem in found.problems}
    assert not words & {"two-files", "unmatched-file", "folder-name"}, found.problems
    assert not any("No file" in problem.text for problem in found.problems)


def test_each_source_is_told_in_the_words_of_who_copies_folders() -> None:
    dicom = (DicomTest("Modality", ("CT",)), DicomTest("SliceThickness", maximum=3, unlike=("9",)))
    found = told(
        SocketRule("ct", ("*.mha", "*.nii.gz"), fallback=True),
        SocketRule("series", dicom=dicom, pick="largest", required=False),
        SocketRule("score", value_from=JsonValue("score.json", "/a")),
        SocketRule("remark", value_from=TextValue("remark.txt")),
        SocketRule("visit", value_from=FolderValue(r"_(?P<value>\d)")),
        SocketRule("volume", value_from=TableValue("lab", "Vol")),
        SocketRule("own", value_from=TableValue("own", "Vol")),
        SocketRule("same", value=2.5, has_value=True),
        SocketRule("again", image_of="ct"),
        tables=(LabTable("lab", "/lab.csv"), LabTable("own", csv="own.csv")),
    ).wanted
    series = "Modality CT; SliceThickness at most 3 and not 9"
    assert [(one.what, one.required, one.by_itself) for one in found] == [
        ("one file *.mha or *.nii.gz that nothing else here asks for", True, False),
        (f"one DICOM series with {series} (of several the one with most slices)", False, False),
        ("one JSON file score.json, its value at /a", True, False),
        ("one text file remark.txt", True, False),
        (r"a piece of the folder's name (_(\d))", True, True),
        ('the column "Vol" of the lab\'s table "lab"', True, True),
        ('one table own.csv with a column "Vol"', True, False),
        ("always 2.5", True, True),
        ("the very image of ct", True, True),
    ]


def test_the_rules_of_the_whole_folder_are_sentences() -> None:
    rules = told(
        SocketRule("ct", ("*.mha",)),
        folder=r"(?P<patient>P\d+)",
        title="{patient}",
        ready="READY",
        ignore=("*.log",),
        unmatched="ignore",
        archive="scans",
    ).rules
    waits = "If something required is missing, it waits up to 15 min for it and then goes to failed/."
    assert rules == (
        r"The folder's whole name must fit (P\d+), such as P001. Others stay where they are.",
        "Each folder becomes one archive item.",
        'The title of the archive item is the piece "patient" of the folder\'s name.',
        "In file names * stands for any letters; capitals do not matter.",
        "Last of all put a file named READY into the folder: before that it is not taken.",
        "Passed over are *.log.",
        "Any other file is left out.",
        f"The folder is taken once nothing in it has changed for 30 s. {waits}",
    )


def test_a_split_folder_has_its_files_in_subfolders() -> None:
    ct = SocketRule("ct", ("ct.mha",))
    found = told(ct, split=Split("*"), title="{folder} {subfolder}", ready="READY")
    assert found.tree == ("P001/", "  visit1/", "    ct.mha", "  READY")
    assert "Each subfolder */ becomes one display set; its files lie in it." in found.rules


def test_an_image_of_several_files_says_and_shows_what_it_brings_along() -> None:
    found = told(SocketRule("slide", ("*.mrxs", "*.VMS")), SocketRule("ct", ("ct.mhd",), required=False))
    assert [one.what for one in found.wanted] == [
        "one file *.mrxs (with the folder of its name beside it) or *.VMS (with the files it names beside it)",
        "one file ct.mhd (with the data file that it names beside it)",
    ]
    assert found.tree == (
        "P001/",
        "  P001.mrxs",
        "  P001/Slidedat.ini, Index.dat, Data0000.dat, …",
        "  ct.mhd   (optional)",
        "  ct.raw   (optional)",
    )


def test_the_example_marks_what_no_rule_requires() -> None:
    found = told(
        SocketRule("score", value_from=JsonValue("score.json", "/a")),
        SocketRule("other", value_from=JsonValue("score.json", "/b"), required=False),
        SocketRule("mask", ("*_mask.mha",), required=False),
        SocketRule("series", dicom=(), required=False),
        SocketRule("same", dicom=(), required=False),
    )
    lines = ("score.json", "P001_mask.mha   (optional)", "dicom/IM0001, IM0002, …   (optional)")
    assert found.tree == ("P001/", *(f"  {line}" for line in lines))


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{folder} {subfolder}", "made of the folder's name, then the subfolder's name"),
        ("{table.scores.Code}", 'the column "Code" of the lab\'s table "scores"'),
        ("{table.own.A.b c}", 'the column "A.b c" of the table own.csv'),
        (
            "Case {code}",
            'made of "Case", then the folder\'s code in a table of the lab',
        ),
        ("{pseudonym}-{visit}", 'made of a pseudonym of the folder\'s name, then the piece "visit" of the'),
        ("{pseudonym:patient}", 'a pseudonym of the piece "patient" of the folder\'s name (P1 in P1_1)'),
    ],
)
def test_what_a_title_or_order_is_made_of_is_said_without_braces(template: str, words: str) -> None:
    by_path = Split(pattern=r"(?P<visit>v\d)_.*")
    found = told(
        SocketRule("ct", ("*.mha",)),
        folder=r"(?P<patient>P\d)_\d",
        split=by_path if "visit" in template else Split("*"),
        title=template,
        order=template,
        codes=CodeTable("/codes.csv", "Folder", "Code"),
        tables=(LabTable("scores", "/scores.csv"), LabTable("own", csv="own.csv")),
    ).rules
    title, place = found[2:4]
    assert title.startswith(f"The title of the display set is {words}")
    assert place.startswith(f"Its place among the display sets is {words}")
    assert "{" not in title


@pytest.mark.parametrize(
    ("expression", "made"),
    [
        (r"(?P<patient>P\d+)_(?P<visit>\d+)", "P001_001"),
        (r"(sub|case)-[0-9]{4}(_.*)?", "sub-0001"),
        (r"R-\d{4}", "R-0001"),
        (r"[A-Z]{2}\.\d", "AA.1"),
        (r"(?i)patient\d\d\d", "patient001"),
        (r"[^A-Za-z0-9]", "-"),
        (r"(?!x)y(?=z)z", ""),
        (r"(?P<id>[^(]+)", "P<id>"),
    ],
)
def test_an_example_of_a_name_is_one_that_the_expression_takes(expression: str, made: str) -> None:
    assert sample.name(expression) == made


def test_there_is_no_example_where_none_can_be_made_up() -> None:
    ct = SocketRule("ct", ("*.mha",))
    assert told(ct, folder="(?!x)y(?=z)z").tree == ()
    assert told(SocketRule("ct", ("[!a]?x*.mha",))).tree == ()
    assert told(ct, SocketRule("pet", ("P*.mha", "ct*.mha", "image*.mha"))).tree == ()
    assert told(ct, split=Split(pattern="(?P<v>.*)_ct.mha")).tree == ()
