"""What display sets are called: templates, pseudonyms and tables of codes."""

import itertools
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casedrop import codes, config, intake, table_text
from casedrop.codes import Codes, as_table, counted
from casedrop.errors import ConfigurationError
from casedrop.grand_challenge import ReaderStudy
from casedrop.group import group
from casedrop.journal import Journal
from casedrop.model import (
    Case,
    CodeTable,
    Drop,
    Entry,
    EntryKind,
    Finding,
    FindingState,
    Grouping,
    Listing,
    Problem,
    SocketRule,
    Weight,
)
from casedrop.pseudonyms import LETTERS, fingerprint, outside, pseudonym
from casedrop.stages import Stage
from casedrop.tables import TableProblemError, indexed
from casedrop.titles import Naming, order, title
from test_split import listing, made

KEY = bytes(range(32))
TABLE = CodeTable("/codes.csv", "Folder", "Code")
KEYED = Naming(partial(pseudonym, KEY, "lung-2026"))


def drop(template: str, folder: str | None = None, table: CodeTable | None = None) -> Drop:
    rules = (SocketRule("ct-image", ("*.mha",)),)
    return Drop("lung", "/lab", "lung-2026", rules, folder=folder, title=template, codes=table)


def parse(content: bytes) -> Codes:
    columns = (TABLE.folder, TABLE.code)
    return counted(
        indexed(as_table(TABLE), "codes.csv", columns, table_text.rows(content, columns)), TABLE.code
    )


def named(text: str, name: str) -> tuple[str, list[tuple[str, Weight]]]:
    naming = Naming(codes=parse(text.encode()))
    rendered, problems = title(drop("{code}", table=TABLE), name, naming)
    return rendered, [(one.word, one.weight) for one in problems]


def test_a_pseudonym_is_what_the_key_and_the_standard_say() -> None:
    # printf 'casedrop pseudonym 1\0lung-2026\0P1' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0001..1f
    assert pseudonym(KEY, "lung-2026", "P1") == "50KN-TF0Q-GRBS-GKSE"
    assert fingerprint(KEY) == "fc8d71390e3aaa2d"


@given(st.binary(min_size=32, max_size=32), st.text(), st.text())
def test_equal_texts_have_equal_pseudonyms_and_others_have_others(key: bytes, one: str, other: str) -> None:
    first, second = pseudonym(key, "study", one), pseudonym(key, "study", other)
    assert [len(part) for part in first.split("-")] == [4] * 4
    assert set(first) <= {*LETTERS, "-"}
    assert not set(first) & set("ILOU")
    assert (first == second) == (pseudonym(key, "study", one) == pseudonym(key, "study", other))
    if one.strip() and one.isascii() and other.isascii():
        assert (first == second) == (one.strip() == other.strip())
    assert pseudonym(key, "another-study", one) != first
    assert outside(f"{first} 2", "{pseudonym} 2").strip() == "2"


def test_a_name_is_one_however_it_is_composed_and_odd_bytes_are_names_too() -> None:
    assert pseudonym(KEY, "s", "Müller") == pseudonym(KEY, "s", "Mu\u0308ller ")
    assert pseudonym(KEY, "s", "caf\udce9") != pseudonym(KEY, "s", "caf")


def test_a_title_of_a_group_links_time_points_and_one_of_the_folder_does_not() -> None:
    rules = drop("{pseudonym:patient} {visit}", r"(?P<patient>P\d+)_(?P<visit>\d+)")
    titles = [title(rules, name, KEYED)[0] for name in ("P1_1", "P1_2", "P2_1")]
    assert titles == [f"{pseudonym(KEY, 'lung-2026', p)} {v}" for p, v in (("P1", 1), ("P1", 2), ("P2", 1))]
    whole = drop("{pseudonym}", r"(?P<patient>P\d+)_(?P<visit>\d+)")
    assert title(whole, "P1_1", KEYED)[0] == pseudonym(KEY, "lung-2026", "P1_1")
    assert title(drop("{folder}"), "P1_1", KEYED) == ("P1_1", [])


def test_an_empty_group_gets_no_pseudonym() -> None:
    rules = drop("{pseudonym:patient}", r"(?P<patient>P\d+)?.*")
    rendered, (problem,) = title(rules, "x", KEYED)
    assert (rendered, problem.word) == ("", "folder-name")
    assert "nothing for patient" in problem.text


@pytest.mark.parametrize(
    "text", ["Folder,Code\nP1,A1\n", "\ufeffNr;Code;Folder\r\n1; A1;P1 \r\n", "Folder\tCode\nP1\tA1"]
)
def test_a_code_is_found_in_tables_as_spreadsheets_write_them(text: str) -> None:
    assert named(text, "P1") == ("A1", [])


def test_a_row_that_is_not_there_or_has_no_code_yet_is_lacking() -> None:
    for text in ("Folder,Code\nP2,A2\n", "Folder,Code\nP1,\n", "Folder,Code\nP1\n", "Folder,Code\n"):
        assert named(text, "P1") == ("", [("no-code", Weight.LACKING)])


def test_two_rows_of_a_folder_and_one_code_of_two_folders_are_wrong_for_these_folders_alone() -> None:
    text = "Folder,Code\nP1,A1\nP1,A1\nP2,A2\nP3,A2\nP4,A4\n\n,A4\n"
    assert named(text, "P1") == ("", [("two-codes", Weight.WRONG)])
    for name in ("P2", "P3"):
        assert named(text, name) == ("", [("code-twice", Weight.WRONG)])
    assert named(text, "P4") == ("A4", [])


def test_folder_names_are_compared_as_the_table_and_a_mac_write_them() -> None:
    assert named("Folder,Code\nMüller,A1\n", "Mu\u0308ller") == ("A1", [])
    assert named('Folder,Code\n"a,b",A1\n', "a,b") == ("A1", [])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"Folder\nP1\n", "has no column Code"),
        (b"", "has no column Folder and none Code"),
        (b"Folder,Code\nP1,\x81\n", "in an encoding nobody can tell; save it as CSV UTF-8"),
    ],
)
def test_what_is_no_such_table_says_why(content: bytes, why: str) -> None:
    with pytest.raises(TableProblemError, match=why):
        parse(content)


def ordered(name: str, template: str = "{visit}") -> tuple[int, list[str]]:
    rules = replace(drop("{folder}", r"P\d+_(?P<visit>.*)"), order=template)
    place, problems = order(rules, name, KEYED)
    return place, [one.word for one in problems]


@given(st.integers(1, 2**31 - 1), st.text("0", max_size=3))
def test_an_order_is_a_whole_number_in_the_folders_name(number: int, zeros: str) -> None:
    assert ordered(f"P1_{zeros}{number}") == (number, [])
    assert ordered(f"P1_{number} ") == (number, [])
    assert ordered(f"P1_{number}", "") == (0, [])


@pytest.mark.parametrize(
    "text", ["0", "000", str(2**31), "9" * 200, "-1", "+1", "1.0", "1,0", "1e3", "", "x", "٣"]
)
def test_an_order_that_is_none_is_refused_with_what_the_name_makes_of_it(text: str) -> None:
    assert ordered(f"P1_{text}") == (0, ["bad-order"])
    rules = replace(drop("{folder}", r"(?P<visit>.*)"), order="{visit}")
    ((said,)) = order(rules, "CANARY", KEYED)[1]
    assert "({visit}) is no whole number from 1 to 2147483647" in said.text
    assert 'By the folder\'s name it is "CANARY": rename the folder.' in said.text


def test_a_folder_this_drop_does_not_take_is_told_so_once() -> None:
    rules = replace(drop("{folder}", r"P\d+_(?P<visit>\d+)"), order="{visit}")
    found = group(Listing("x", (Entry("a.mha", EntryKind.FILE, 5),)), rules, {}, None)
    assert [one.word for one in found.problems] == ["folder-name"]


@given(st.binary(max_size=200), st.text(max_size=5))
def test_no_table_is_too_odd(content: bytes, name: str) -> None:
    try:
        parsed = parse(b"Folder,Code\n" + content)
    except TableProblemError:
        return
    found = codes.code(parsed, name)
    assert isinstance(found, Problem) or found


def test_no_code_stands_in_what_is_said_of_a_table() -> None:
    parsed = parse(b"Folder,Code\nP1,CANARY\nP2,CANARY\n")
    assert "CANARY" not in repr(parsed) + str(codes.code(parsed, "P1"))


def test_a_folder_waits_for_its_code_beside_what_else_it_lacks() -> None:
    entries = (Entry("a.txt", EntryKind.FILE, 5),)
    found = group(Listing("P1", entries), drop("{code}", table=TABLE), {}, None)
    assert [one.word for one in found.problems] == ["no-code", "missing-file", "unmatched-file"]


RULES = """
[[drops]]
name = "d"
root = "/d"
reader_study = "s"
title = "{title}"
unmatched = "ignore"
folder = '(?P<patient>P[^_]*)_?(?P<visit>.*)'
{split}
[[drops.sockets]]
socket = "ct"
files = "*.mha"
"""
SPLITS = {
    "": (),
    'split = { folders = "*/" }': ("{subfolder}",),
    'split = { folders = "*/*/" }': ("{subfolder}",),
    "split = { pattern = '(?P<a>.*?)_?(?P<b>[^_]*)\\.mha' }": ("{a}", "{b}"),
}
"""With the placeholders that a title must have."""
MORE = st.lists(st.sampled_from(["{folder}", "{visit}", "{subfolder}", " ", "1"]), max_size=2)
NAMES = "ct.mha v1/ct.mha v1\u00a0/ct.mha v2/ct.mha a/v1/ct.mha b/v1/ct.mha 1_12.mha 11_2.mha".split(" ")
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)
FOLDERS = st.dictionaries(
    st.sampled_from(["P1", "P11", "P1_1", "P11_", "P1_ 1", "P1_1 ", "P\u00e9", "Pe\u0301", "P1_12", "P11_2"]),
    PATHS,
    min_size=2,
    max_size=5,
)
ENDS = st.lists(st.sampled_from([None, "failed", "done"]), min_size=40, max_size=40)


@st.composite
def drops(draw: st.DrawFn) -> str:
    """A configuration, accepted or not."""
    split = draw(st.sampled_from(list(SPLITS)))
    whose = draw(st.sampled_from(["{folder}", "{patient}", "{pseudonym:patient}"]))
    words = draw(st.permutations([whose, *SPLITS[split], *draw(MORE)]))
    return RULES.format(title="".join(words), split=split)


class Desk:
    """Folders of one drop on their way into the journal, as the service takes them."""

    def __init__(self, journal: Journal, drop: Drop, number: int, ends: list[str | None]) -> None:
        study = ReaderStudy(f"study {number}", "s", "https://gc/s/")
        self.journal, self.drop, self.ends = journal, drop, iter(ends)
        self.to = intake.Destination(f"root {number}", "https://gc/", study)

    def take(self, folder: str, paths: list[str]) -> None:
        grouping = made(self.drop, listing(*paths, folder=folder), naming=KEYED)
        state = FindingState.READY if grouping.plan else FindingState.WRONG
        finding = Finding(folder, state, "", 0, grouping=grouping, signature="x")
        before = intake.known(self.journal, self.to.root, finding, inodes=False)
        if before and before.stage is not Stage.FAILED:
            return
        case, _ = intake.begin(self.journal, self.to, finding, before)
        assert_titles_are_told_apart(grouping)
        parts = {one.part: one for one in self.journal.parts(case)}
        for plan in case.settled.parts if case.stage is Stage.PLANNED else ():
            part = intake.begin_part(self.journal, case, plan, parts.get(plan.part))
            self.expect_one_for_each_title(part)
            self.end(part)
        self.expect_one_for_each_title(case)
        self.end(case)

    def expect_one_for_each_title(self, case: Case) -> None:
        """Whatever may be sent has its title for itself, and of what may not something is said."""
        going = [one for one in self.journal.cases_of(self.to.root) if may_be_sent(one)]
        twice = [title for title, count in Counter(one.settled.title for one in going).items() if count > 1]
        assert twice == []
        assert may_be_sent(case) or case.problems or case.twin_of or case.settled.parts

    def end(self, case: Case) -> None:
        """A case that was done has its title for good, one that failed with nothing sent gives it back."""
        end = next(self.ends)
        if case.stage is Stage.FILING or (end and case.stage is Stage.PLANNED):
            target = case.target or end or ""
            sent = target == "done" and not case.settled.parts
            case = self.journal.save(case, stage=Stage.FILING, target=target, committed=sent)
            self.journal.save(case, stage=Stage.DONE if target == "done" else Stage.FAILED)


def may_be_sent(case: Case) -> bool:
    is_at_end = case.stage in (Stage.FAILED, Stage.SETTLING) or case.target == "failed"
    return not (is_at_end or case.twin_of or case.settled.parts)


def assert_titles_are_told_apart(grouping: Grouping) -> None:
    """Those of the parts of one folder: where two are one, nothing of the folder is let through."""
    assert grouping.draft is not None
    titles = [one.title for one in grouping.draft.parts]
    said = any(one.word == "same-title" for one in grouping.problems)
    assert said is (len({*titles} - {""}) < len([one for one in titles if one]))
    assert grouping.plan is None or not said


def test_no_two_folders_or_parts_that_may_be_sent_share_a_title(tmp_path: Path) -> None:
    """Whatever configuration is accepted; some folders are done meanwhile, and failed ones come again."""
    journal, numbers = Journal(tmp_path / "journal.sqlite"), itertools.count()

    @settings(max_examples=40)
    @given(drops(), FOLDERS, ENDS)
    def live(text: str, folders: dict[str, list[str]], ends: list[str | None]) -> None:
        (tmp_path / "casedrop.toml").write_text(text)
        try:
            (drop,) = config.load(tmp_path / "casedrop.toml", {}).drops
        except ConfigurationError:
            return
        desk = Desk(journal, drop, next(numbers), ends)
        for folder in (*folders, *folders):
            desk.take(folder, folders[folder])

    live()
