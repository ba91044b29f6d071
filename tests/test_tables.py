"""The lab's own tables: how they are read, and which row is a folder's."""

import codecs
import csv
import io
import os
import string
import unicodedata
import zipfile
from dataclasses import replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casedrop import table_text, tables, workbook
from casedrop.compound import MAX_READ
from casedrop.group import group, needed
from casedrop.model import (
    Drop,
    Entry,
    EntryKind,
    FindingState,
    Grouping,
    LabTable,
    Listing,
    Problem,
    SocketKind,
    SocketRule,
    TableValue,
    Weight,
)
from casedrop.naming import NamingSource
from casedrop.scan import ScanLimits, Scanner
from casedrop.table_files import TableFile
from casedrop.tables import Found, Table, TableProblemError, cell, indexed
from casedrop.titles import Naming, groups, title
from casedrop.values import ValueProblemError, from_cell
from lab import Lab, mha

FILES = Path(__file__).parent / "tables"
SCORES = LabTable("scores", "/scores.csv", keys=(("patient", "Patient"), ("visit", "Visit")))
COLUMNS = ("Patient", "Visit", "Lung volume", "Slices", "Smoker", "Scan date", "Remark", "Doubled")
P1 = {"patient": "P1", "visit": "1", "folder": "P1_1"}


def of_text(
    text: str | bytes, rule: LabTable = SCORES, wanted: tuple[str, ...] = ("Patient", "Visit", "X")
) -> Table:
    content = text.encode() if isinstance(text, str) else text
    return indexed(rule, "scores.csv", wanted, table_text.rows(content, wanted))


def at(table: Table, column: str = "X", **texts: str) -> Found | Problem:
    return cell({table.rule.name: table}, P1 | texts, table.rule.name, column)


def value(found: Found | Problem, kind: str = "String") -> Any:
    assert isinstance(found, Found), found
    return from_cell(found, kind)


def word(found: Found | Problem) -> tuple[str, Weight]:
    assert isinstance(found, Problem), found
    return found.word, found.weight


def of_file(path: Path, rule: LabTable = SCORES, columns: tuple[str, ...] = COLUMNS) -> Table:
    return TableFile(replace(rule, file=str(path)), columns).table()


def saved(path: Path, *rows: list[Any]) -> Path:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


@pytest.mark.parametrize(
    "name", ["german.csv", "german-utf16.txt", "german.xlsx", "english.csv", "english.xlsx"]
)
def test_tables_that_libreoffice_writes_in_german_and_english_say_the_same(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    marked = codecs.BOM_UTF8 if name == "english.csv" else b""
    path.write_bytes(marked + (FILES / name).read_bytes())
    decimal: Any = "," if name.startswith("german") else "."
    table = of_file(path, replace(SCORES, decimal=decimal))
    first = {"patient": "007", "visit": "1"}
    assert value(at(table, "Lung volume", **first), "Float") == 3.5
    assert value(at(table, "Lung volume", patient="P2", visit="2"), "Float") == 1234.25
    assert value(at(table, "Slices", **first), "Integer") == 240
    assert value(at(table, "Slices", **first)) == "240"
    assert value(at(table, "Doubled", **first), "Float") == 7
    assert value(at(table, "Scan date", **first)) == "2026-01-31"
    assert value(at(table, "Remark", **first)) == "größer; „gut“"
    assert value(at(table, "Remark", patient="P2", visit="2")) == 'a "b", c'
    assert word(at(table, "Remark", patient="P3")) == ("empty-cell", Weight.LACKING)
    assert word(at(table, "Remark", patient="P4")) == ("two-rows", Weight.WRONG)
    assert word(at(table, "Remark", patient="7")) == ("no-row", Weight.LACKING)
    if not name.startswith("german-utf16") and name != "german.csv":
        assert value(at(table, "Smoker", **first), "Bool") is True


NAMES = st.text(st.sampled_from("aZ0ü;,|\t\"' .[]\n"), min_size=1, max_size=6).filter(
    lambda name: name.strip() == name
)
CELLS = st.text(st.sampled_from("aZ07ü€;,|\t\"' .\n"), max_size=6)


@given(
    st.lists(NAMES, min_size=2, max_size=5, unique=True),
    st.lists(st.lists(CELLS, min_size=5, max_size=5), max_size=5),
    st.sampled_from(table_text.SEPARATORS),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    st.tuples(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(["\r\n", "\n"])),
)
def test_csv_of_any_separator_and_encoding_is_read_as_it_was_written(
    header: list[str], rows: list[list[str]], separator: str, encoding: str, how: tuple[Any, str]
) -> None:
    quoting, end = how
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end)
    written = [row[: len(header)] for row in rows]
    writer.writerows([header, *written])
    found = list(table_text.rows(text.getvalue().encode(encoding), header))
    assert [(row.number, list(row.cells), row.fault) for row in found] == [
        (number, row, "") for number, row in enumerate(written, 2) if any(map(str.strip, row))
    ]


@given(st.binary(max_size=200))
def test_whatever_a_file_holds_it_is_a_table_or_said_to_be_none(content: bytes) -> None:
    for data in (content, b"Patient;Visit;X\n" + content):
        try:
            table = of_text(data)
        except TableProblemError:
            continue
        found = at(table)
        assert isinstance(found, Problem) or found.source.startswith("scores.csv, row ")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("Patient,Visits,X\n", "has no column Visit (nearly: Visits; its first row has 3 names)"),
        (
            "A,B\nP1,1\n",
            "has no column Patient and none Visit and none X (the first row must hold the column names)",
        ),
        ("Patient,Visit,X,X\n", "has two columns X"),
        ("", "has no column Patient and none Visit and none X"),
        ('Patient,Visit,X\nP1,1,"3\nP2,1,4\n', "cannot be read on from line 3: a quote is not closed"),
        (b"Patient,Visit,X\nP1,1,\0\n", "is no text"),
        (b"\xff\xfeP", "is no text"),
        ("Patient,Visit,X\nP1,1," + "x" * 200_000, "a cell is too long"),
    ],
)
def test_what_is_no_such_table_says_why(content: str | bytes, why: str) -> None:
    with pytest.raises(TableProblemError) as caught:
        of_text(content)
    assert why in str(caught.value)


def test_a_first_row_that_holds_no_column_names_is_not_told() -> None:
    with pytest.raises(TableProblemError) as caught:
        of_text("Hansen,1950,4.5\n")
    assert "Hansen" not in str(caught.value)


def test_a_table_of_too_many_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_ROWS", 3)
    assert value(at(of_text("Patient,Visit,X\nP1,1,a\nP2,1,b\n"))) == "a"
    with pytest.raises(TableProblemError, match="more than 3 rows"):
        of_text("Patient,Visit,X\nP1,1,a\nP2,1,b\nP3,1,c\n")


@pytest.mark.parametrize(
    ("key", "folder", "same"),
    [
        ("007", "007", True),
        ("007", "7", False),
        (" P1 ", "P1", True),
        ("p1", "P1", False),
        ("Müller", unicodedata.normalize("NFD", "Müller"), True),
        ("", "", False),
    ],
)
def test_keys_are_compared_as_text(key: str, folder: str, same: bool) -> None:
    rule = replace(SCORES, keys=(("patient", "Patient"),))
    table = of_text(f'Patient,Visit,X\n"{key}",1,a\n', rule)
    assert isinstance(at(table, patient=folder), Found) is same


def test_a_double_row_is_wrong_for_its_folders_alone_and_no_cell_is_told() -> None:
    table = of_text("Patient,Visit,X\nP1,1,SECRET\nP2,1,5\n\nP1,1,SECRET\nP3,1,\n")
    double, lacking, empty = at(table), at(table, patient="P9"), at(table, patient="P3")
    assert word(double) == ("two-rows", Weight.WRONG)
    assert word(lacking) == ("no-row", Weight.LACKING)
    assert word(empty) == ("empty-cell", Weight.LACKING)
    assert value(at(table, patient="P2"), "Integer") == 5
    assert table.doubles == [(2, 5)]
    told = " ".join(one.text for one in (double, lacking, empty) if isinstance(one, Problem))
    assert "has 2 rows for this folder by Patient and Visit (rows 2 and 5). Leave the right one." in told
    sought = 'has no row for this folder, with "P9" as Patient and "1" as Visit. It is added'
    assert f"The table scores (scores.csv) {sought}" in told
    assert "Row 6 of the table scores (scores.csv) has nothing in the column X. It is added" in told
    assert "SECRET" not in told
    assert "SECRET" not in repr(table) + repr(at(of_text("Patient,Visit,X\nP1,1,SECRET\n")))


def test_a_decimal_comma_among_commas_does_not_shift_a_row_unseen() -> None:
    table = of_text("Patient,Visit,X\nP1,1,3,5\nP2,1,7\n")
    assert word(at(table)) == ("bad-row", Weight.WRONG)
    assert value(at(table, patient="P2"), "Integer") == 7


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("3.5", ".", 3.5),
        ("3,5", ",", 3.5),
        ("-0,25e3", ",", -250.0),
        (" 7 ", ",", 7.0),
        ("3,5", ".", 'or ask the data manager for decimal = ","'),
        ("3.5", ",", "write the decimal point as a comma, and no other point"),
        ("1.234,5", ",", "is not a number"),
        ("1.234,5", ".", "is not a number"),
        ("1,234.5", ".", "is not a number"),
        ("1 234", ",", "is not a number"),
        ("1'234", ".", "is not a number"),
    ],
)
def test_the_decimal_point_is_what_the_table_says(text: str, decimal: Any, number: float | str) -> None:
    found = at(of_text(f"Patient;Visit;X\nP1;1;{text}\n", replace(SCORES, decimal=decimal)))
    if isinstance(number, float):
        assert value(found, "Float") == number
    else:
        with pytest.raises(ValueProblemError, match=number.replace("'", ".")):
            value(found, "Float")


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([".", ","]))
def test_a_number_comes_back_whatever_the_decimal_point(number: float, decimal: Any) -> None:
    text = repr(number).replace(".", decimal)
    found = at(of_text(f"Patient;Visit;X\nP1;1;{text}\n", replace(SCORES, decimal=decimal)))
    assert value(found, "Float") == number


@pytest.mark.parametrize(
    ("cell_value", "kind", "expected"),
    [
        (7.0, "String", "7"),
        (7.5, "String", "7.5"),
        (True, "String", "true"),
        (2.0, "Integer", 2),
        (2, "Float", 2),
        (True, "Bool", True),
        ("TRUE", "Bool", True),
        ("007", "String", "007"),
        ("7", "Integer", 7),
        ("[1, 2]", "Anything", [1, 2]),
        (7.5, "Anything", 7.5),
        (2.5, "Integer", None),
        (1, "Bool", None),
        (True, "Integer", None),
        (float("inf"), "Float", None),
        ("x", "Float", None),
    ],
)
def test_a_cell_becomes_what_the_socket_holds(cell_value: Any, kind: str, expected: Any) -> None:
    found = Found("scores.csv, row 2, X", cell_value, ".")
    if expected is None:
        with pytest.raises(ValueProblemError):
            from_cell(found, kind)
    else:
        assert (from_cell(found, kind), type(from_cell(found, kind))) == (expected, type(expected))


def test_a_workbooks_numbers_dates_and_truth_values_are_kept(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "a.xlsx",
        ["Patient", "Visit", "X"],
        [7.0, date(2026, 1, 31), True],
        ["P1", datetime(2026, 1, 31, 10, 30), time(8, 15)],  # noqa: DTZ001  a workbook knows no zones
        [None, None, None],
        ["P1", "2026-01-31T10:30:00", 5],
        [0.1, 1, 12345678901],
    )
    table = of_file(path, columns=("Patient", "Visit", "X"))
    assert value(at(table, patient="7", visit="2026-01-31"), "Bool") is True
    assert table.doubles == [(3, 5)]
    assert value(at(table, patient="0.1", visit="1"), "Integer") == 12345678901


def test_a_formula_without_result_and_a_spreadsheets_error_are_wrong_for_their_row_alone(
    tmp_path: Path,
) -> None:
    path = saved(
        tmp_path / "a.xlsx",
        ["Patient", "Visit", "X"],
        ["P1", 1, "=1+1"],
        ["P2", 1, "#DIV/0!"],
        ["=A1", 1, 1],
        ["P3", 1, 1],
    )
    table = of_file(path, columns=("Patient", "Visit", "X"))
    for patient, why in (("P1", "is a formula without its result"), ("P2", "shows an error")):
        found = at(table, patient=patient)
        assert word(found) == ("bad-row", Weight.WRONG)
        assert isinstance(found, Problem)
        assert why in found.text
    assert value(at(table, patient="P3"), "Integer") == 1
    assert table.keyless == (4,)
    lacking = at(table, patient="P4")
    assert isinstance(lacking, Problem)
    assert "The keys of rows 4 cannot be read" in lacking.text
    assert word(at(of_text("Patient;Visit;X\nP1;1;#NV\n"))) == ("bad-row", Weight.WRONG)


@pytest.mark.long
def test_a_sheet_can_be_chosen_and_what_stands_far_right_costs_nothing(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.create_sheet("Scores")
    for row in (["Patient", "Visit", "X"], ["P1", 1, 5]):
        sheet.append(row)
    sheet["XFD2"] = "far"
    book.save(tmp_path / "a.xlsx")
    chosen = replace(SCORES, sheet="Scores")
    assert value(at(of_file(tmp_path / "a.xlsx", chosen, ("Patient", "Visit", "X"))), "Integer") == 5
    for rule, why in (
        (SCORES, "has no column Patient"),
        (replace(SCORES, sheet="Nope"), "has no sheet Nope"),
    ):
        with pytest.raises(TableProblemError, match=why):
            of_file(tmp_path / "a.xlsx", rule)


def broken(path: Path, part: str, content: bytes) -> Path:
    saved(path, ["Patient", "Visit", "X"], ["P1", 1, 5])
    with zipfile.ZipFile(path) as whole:
        parts = {one: whole.read(one) for one in whole.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as changed:
        for name, data in (parts | {part: content}).items():
            changed.writestr(name, data)
    return path


SHEET = "xl/worksheets/sheet1.xml"
LAUGHS = "<!DOCTYPE x [<!ENTITY a '0123456789'>" + "".join(
    f"<!ENTITY {b} '{f'&{a};' * 10}'>"
    for a, b in zip(string.ascii_lowercase[:9], string.ascii_lowercase[1:10], strict=True)
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("not.xlsx", b"Patient;Visit\n"),
        ("old.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 512),
        ("cut.xlsx", (FILES / "german.xlsx").read_bytes()[:3000]),
        ("zip.csv", b"PK\x03\x04"),
        ("empty.xlsx", b""),
    ],
)
def test_what_is_no_workbook_is_said_to_be_none(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableProblemError, match="is no XLSX workbook that can be read"):
        of_file(tmp_path / name)


@pytest.mark.parametrize("content", [b"<worksheet><sheetData><row>", f"{LAUGHS}]><x>&j;</x>".encode(), b"\0"])
def test_a_workbook_that_is_broken_inside_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(TableProblemError, match=r"is no XLSX|has no column"):
        of_file(broken(tmp_path / "a.xlsx", SHEET, content))


@pytest.mark.long
def test_a_small_workbook_that_unpacks_to_much_ends_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "MEMORY", 60 << 20)
    path = broken(tmp_path / "a.xlsx", SHEET, b"<worksheet><sheetData>" + b" " * (200 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(TableProblemError, match="of memory to read; save it as CSV"):
        of_file(path)


def test_a_file_that_is_none_or_too_large_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "large.csv").write_bytes(b"")
    os.truncate(tmp_path / "large.csv", tables.MOST_BYTES + 1)
    for name, why in (("fifo", "no plain file"), ("folder", "no plain file"), ("large", "larger than 50 MB")):
        with pytest.raises(TableProblemError, match=why):
            of_file(tmp_path / f"{name}.csv")


CT = SocketRule("ct-image", ("*.mha",))
VOLUME = SocketRule("volume", value_from=TableValue("scores", "X"))
KINDS = {
    "ct-image": SocketKind("ct-image", "Image", "Image"),
    "volume": SocketKind("volume", "Float", "Value"),
    "other": SocketKind("other", "Integer", "Value"),
}
VISITS = Drop(
    "lung", "/lab", "lung-2026", (CT, VOLUME), r"(?P<patient>P\d+)_(?P<visit>\d+)", tables=(SCORES,)
)
READING = LabTable("scores", csv="*.csv")
INSIDE = replace(VISITS, tables=(READING,))


def grouped(
    drop: Drop, table: Table | None = None, *, there: frozenset[str] = frozenset(), **files: bytes
) -> Grouping:
    contents = {"ct.mha": b"x"} | {name.replace("__", "."): data for name, data in files.items()}
    listing = Listing("P1_1", tuple(Entry(name, EntryKind.FILE, 1) for name in sorted(contents)))
    read = {name: contents[name] for name in needed(listing, drop)}
    naming = Naming(tables={table.rule.name: table} if table else {})
    return group(listing, drop, read, KINDS, lambda _: there, naming=naming)


def values(grouping: Grouping) -> dict[str, tuple[Any, str]]:
    assert grouping.plan, grouping.problems
    return {one.socket: (one.value, one.source) for one in grouping.plan.sockets if one.super_kind == "Value"}


def words(grouping: Grouping) -> list[tuple[str, Weight]]:
    return [(one.word, one.weight) for one in grouping.problems]


def test_a_socket_takes_the_folders_row_and_the_plan_says_where_from() -> None:
    table = of_text("Patient,Visit,X\nP2,1,9\nP1,1,4.5\n")
    assert values(grouped(VISITS, table)) == {"volume": (4.5, "scores.csv, row 3, X")}


def test_a_row_that_may_still_come_is_waited_for_once_however_many_sockets_want_it() -> None:
    other = SocketRule("other", value_from=TableValue("scores", "X"))
    drop = replace(VISITS, sockets=(CT, VOLUME, other), title="{table.scores.X}")
    assert words(grouped(drop, of_text("Patient,Visit,X\n"))) == [("no-row", Weight.LACKING)]
    assert words(grouped(drop, of_text("Patient,Visit,X\nP1,1,\n"))) == [("empty-cell", Weight.LACKING)]


def test_an_optional_socket_goes_without_but_not_with_a_doubtful_row() -> None:
    drop = replace(VISITS, sockets=(CT, replace(VOLUME, required=False)))
    assert values(grouped(drop, of_text("Patient,Visit,X\n"))) == {}
    assert values(grouped(drop, of_text("Patient,Visit,X\nP1,1,\n"))) == {}
    for text, said in (
        ("P1,1,5\nP1,1,5\n", "two-rows"),
        ("P1,1,a\n", "bad-value"),
        ("P1,1,5,5\n", "bad-row"),
    ):
        assert words(grouped(drop, of_text(f"Patient,Visit,X\n{text}"))) == [(said, Weight.WRONG)]


def test_what_the_finished_display_set_holds_needs_no_row() -> None:
    drop = replace(VISITS, existing_display_set="add")
    grouping = grouped(drop, of_text("Patient,Visit,X\n"), there=frozenset({"volume"}))
    assert grouping.plan
    assert grouping.plan.relies_on == ("volume",)


def test_a_bad_value_is_told_by_its_place_alone() -> None:
    grouping = grouped(VISITS, of_text("Patient,Visit,X\nP1,1,SECRET\n"))
    assert [one.text for one in grouping.problems] == [
        'The socket "volume": scores.csv, row 2, X is not a number.'
    ]


def test_a_title_is_made_of_a_column_whatever_its_name() -> None:
    odd = "Vol. [ml] (new)"
    drop = replace(VISITS, title="{table.scores." + odd + "} visit {visit} {{x}}")
    table = of_text(f"Patient,Visit,{odd},X\nP1,1, A 17 ,5\n", wanted=("Patient", "Visit", odd, "X"))
    naming = Naming(tables={"scores": table})
    assert tables.columns(drop, SCORES) == ("Patient", "Visit", "X", odd)
    assert title(drop, "P1_1", naming) == ("A 17 visit 1 {x}", [])
    rendered, problems = title(drop, "P2_1", naming)
    assert (rendered, [one.word for one in problems]) == ("", ["no-row"])
    assert groups(drop, "P1_1") == {"patient": "P1", "visit": "1", "folder": "P1_1"}


def test_an_order_out_of_a_column_is_waited_for_once_with_the_rest_of_its_row() -> None:
    drop = replace(VISITS, order="{table.scores.No}")
    wanted = ("Patient", "Visit", "X", "No")
    assert tables.columns(drop, SCORES) == wanted

    def made(row: str) -> Grouping:
        return grouped(drop, of_text(f"Patient,Visit,X,No\n{row}", wanted=wanted))

    assert (plan := made("P1,1,4.5,017\n").plan)
    assert plan.order == 17
    assert words(made("")) == [("no-row", Weight.LACKING)]
    assert words(made("P1,1,4.5,\n")) == [("empty-cell", Weight.LACKING)]
    assert words(made("P1,1,4.5,SECRET\n")) == [("bad-order", Weight.WRONG)]
    (odd,) = made("P1,1,4.5,SECRET\n").problems
    assert "It comes from scores.csv, row 2, No: put it right there." in odd.text
    assert "SECRET" not in odd.text
    assert "SECRET" not in made("P1,1,4.5,SECRET\n").problems[0].text


def test_a_table_in_the_folder_is_taken_and_has_one_row() -> None:
    grouping = grouped(INSIDE, d__csv=b"X;Y\n4,5;1\n")
    assert words(grouping) == [("bad-value", Weight.WRONG)]
    comma = replace(INSIDE, tables=(replace(READING, decimal=","),))
    grouping = grouped(comma, d__csv=b"X;Y\n4,5;1\n")
    assert values(grouping) == {"volume": (4.5, "d.csv, row 2, X")}
    assert grouping.claims["d.csv"] == ("table scores",)
    assert words(grouped(INSIDE, d__csv=b"X\n1\n2\n")) == [("two-rows", Weight.WRONG)]
    assert words(grouped(INSIDE, d__csv=b"X\n")) == [("no-row", Weight.LACKING)]


def test_a_table_in_the_folder_may_have_a_row_for_each_visit() -> None:
    drop = replace(INSIDE, tables=(replace(READING, keys=(("visit", "Visit"),)),))
    assert values(grouped(drop, d__csv=b"Visit,X\n2,8\n1,7\n")) == {"volume": (7, "d.csv, row 3, X")}


def test_a_table_in_the_folder_that_is_missing_double_or_none_says_so() -> None:
    assert words(grouped(INSIDE)) == [("missing-file", Weight.LACKING)]
    assert words(grouped(INSIDE, a__csv=b"X\n1\n", b__csv=b"X\n1\n")) == [("two-files", Weight.WRONG)]
    assert words(grouped(INSIDE, a__csv=b"Y\n1\n")) == [("bad-table", Weight.WRONG)]
    large = b"X\n" + b" " * MAX_READ
    assert words(grouped(INSIDE, a__csv=large)) == [("value-too-large", Weight.WRONG)]
    optional = replace(INSIDE, sockets=(CT, replace(VOLUME, required=False)))
    assert values(grouped(optional)) == {}


def test_a_file_is_a_table_or_sent_but_not_both_by_chance() -> None:
    sent = SocketRule("table-file", ("*.csv",))
    kinds = KINDS | {"table-file": SocketKind("table-file", "CSV file", "File")}
    listing = Listing("P1_1", tuple(Entry(name, EntryKind.FILE, 1) for name in ("a.csv", "ct.mha")))
    for fallback, said in ((False, ["two-rules"]), (True, ["missing-file"])):
        drop = replace(INSIDE, sockets=(CT, VOLUME, replace(sent, fallback=fallback)))
        found = group(listing, drop, {"a.csv": b"X\n1\n"}, kinds)
        assert [one.word for one in found.problems] == said


class Desk:
    """A drop with a table, and its scanner that is told the time."""

    def __init__(self, path: Path) -> None:
        self.table = path / "scores.csv"
        self.table.write_text("Patient,Visit,X\nP1,1,5\n")
        drop = replace(VISITS, root=str(path), tables=(replace(SCORES, file=str(self.table)),))
        for name in ("P1_1", "P2_1"):
            (path / "drop" / name).mkdir(parents=True)
            (path / "drop" / name / "ct.mha").write_bytes(mha())
        self.scanner = Scanner(drop, ScanLimits(30, 30, 900), lambda: None)
        self.scanner.kinds = KINDS
        self.source = NamingSource(drop, None)
        self.scanner.naming = self.source

    def look(self, now: float) -> dict[str, tuple[FindingState, Any]]:
        found = self.scanner.scan(now).findings
        plans = {one.folder: one.grouping.plan if one.grouping else None for one in found}
        return {
            one.folder: (one.state, p.sockets[1].value if (p := plans[one.folder]) else None) for one in found
        }


def test_a_row_that_changes_while_the_folder_waits_counts_once_it_was_seen_twice_alike(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path)
    desk.look(0)
    assert desk.look(30) == {"P1_1": (FindingState.READY, 5), "P2_1": (FindingState.LACKING, None)}
    assert desk.source() is desk.source()
    desk.table.write_text("Patient,Visit,X\nP1,1,66\nP2,1,7\n")
    assert desk.look(31)["P1_1"] == (FindingState.READY, 5)
    assert desk.look(32) == {"P1_1": (FindingState.READY, 66), "P2_1": (FindingState.READY, 7)}


@pytest.mark.long
def test_values_and_titles_out_of_a_table_from_check_to_the_platform(lab: Lab) -> None:
    lab.sandbox.add_socket("lung-volume", "Float", "Value")
    table = lab.top / "scores.xlsx"
    head = ["Patient", "Visit", "Study code", "Lung volume", "No"]
    saved(table, head, ["P1", 1, "A 17", 4.5, 7], ["P2", 1, "A 18", 3, 8], ["P2", 1, "A 18", 3, 8])
    lab.configure(
        f"""folder = '(?P<patient>P\\d+)_(?P<visit>\\d+)'
        title = "{{table.scores.Study code}}"
        order = "{{table.scores.No}}"
        [[drops.tables]]
        name = "scores"
        file = "{table}"
        key_columns = {{ patient = "Patient", visit = "Visit" }}
        [[drops.sockets]]
        socket = "lung-volume"
        value_from = {{ table = "scores", column = "Lung volume" }}"""
    )
    said = lab.command("check", "--offline", code=78)
    assert f"ok The table scores {table} can be read: 3 rows; a folder's row is found by " in said
    assert f"PROBLEM The table scores {table}: the same Patient and Visit in rows 3 and 4." in said
    folder = lab.folder("P1_1", ct__mha=mha())
    assert 'Display set "A 17" (order 7)' in lab.command("plan", str(folder), "--offline")
    folder.rename(lab.drop / "P1_1")
    lab.move_in("P2_1", ct__mha=mha(9))
    lab.move_in("P3_1", ct__mha=mha(10))
    assert lab.once() == 1
    (made,) = lab.sandbox.display_sets("lung-2026")
    assert (made.title, made.order, made.values["lung-volume"]) == ("A 17", 7, 4.5)
    assert "rows 3 and 4" in lab.wait_failed("P2_1")
    assert 'has no row for this folder, with "P3" as Patient and "1" as Visit.' in lab.wait_failed("P3_1")
    assert "P3" not in lab.log.read_text()
    saved(table, ["Patient", "Visit"])
    said = lab.command("check", "--offline", code=78)
    assert (
        f"PROBLEM The table scores {table} has no column Lung volume and none Study code and none No "
        "(its first row has 2 names)." in said
    )
