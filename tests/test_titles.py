"""What display sets are called: templates, pseudonyms and tables of codes."""

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casedrop import codes, table_text
from casedrop.codes import Codes, as_table, counted
from casedrop.group import group
from casedrop.model import CodeTable, Drop, Entry, EntryKind, Listing, Problem, SocketRule, Weight
from casedrop.pseudonyms import LETTERS, fingerprint, outside, pseudonym
from casedrop.tables import TableProblemError, indexed
from casedrop.titles import Naming, order, title

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
def test_an_order_that_is_none_is_refused_and_only_its_template_is_named(text: str) -> None:
    assert ordered(f"P1_{text}") == (0, ["bad-order"])
    rules = replace(drop("{folder}", r"(?P<visit>.*)"), order="{visit}")
    ((said,)) = order(rules, "CANARY", KEYED)[1]
    assert "({visit}) is no whole number from 1 to 2147483647" in said.text
    assert "CANARY" not in said.text


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
