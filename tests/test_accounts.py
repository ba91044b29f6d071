"""How the ledger's records read, and whom a name finds."""

import csv
import io
import unicodedata
from typing import Any

import pytest

from casedrop.accounts import Account, Wanted, accounts, lines, table, where
from casedrop.logs import Names

KEY = Names("hidden", b"k" * 32).of
OTHER_KEY = Names("hidden", b"o" * 32).of


def sent(sources: int = 1, procedure: str = "") -> dict[str, Any]:
    return {
        "sent_as": "ct.mha",
        "bytes": 3,
        "sha256": "ab",
        "sources": [{"path": "=ct.mha", "bytes": 3, "sha256": "ab"}] * sources,
        "taken": [],
        "procedure": {"name": procedure} if procedure else None,
        "begun_before": False,
    }


def account(folder: str, fate: str = "confirmed", files: Any = (), **facts: Any) -> Account:
    began = {
        "event": "began",
        "seq": 1,
        "time": "2026-01-01T00:00:00Z",
        "hash": "ef",
        "platform": "gc.org",
        "study": "lung",
        "display_set": "",
        "drop": "lung",
        "case": 3,
        "hidden_by": "",
        "versions": {"casedrop": "1"},
        "folder": folder,
        "title": "a title",
        "sockets": [
            {"socket": "ct", "kind": "Image", "contents": "cd", "files": list(files) or [sent(2)]},
            {"socket": "score", "kind": "Value", "contents": "12", "files": []},
        ],
    }
    ended = {
        "event": "ended",
        "attempt": 1,
        "time": began["time"],
        "fate": fate,
        "why": [],
        "display_set": "",
    }
    (made,) = accounts([began | facts, ended | {"display_set": "https://gc.org/7/"}], lambda _: "")
    return made


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_is_found_however_its_letters_are_composed(form: Any) -> None:
    name = unicodedata.normalize(form, "Müller")
    hidden = account(KEY(name), hidden_by=KEY(""))
    assert Wanted("Müller", KEY).is_in(account(name))
    assert Wanted("Müller", KEY).is_in(hidden)
    assert not Wanted("Maier", KEY).is_in(hidden)
    assert not Wanted("M*", KEY).is_in(hidden)
    assert Wanted("M*", None).is_in(account(name))


def test_a_display_sets_title_and_a_name_that_looks_like_a_pattern_are_found() -> None:
    assert Wanted("a title", None).is_in(account("P001"))
    assert Wanted("P[1]", None).is_in(account("P[1]"))


def test_names_hidden_with_another_key_are_said_to_be_unknown() -> None:
    strange = account(OTHER_KEY("P001"), hidden_by=OTHER_KEY(""))
    for key in (KEY, None):
        said = where(Wanted("P001", key), [strange])
        assert "Nothing was sent" in said
        assert "hidden with another key" in said


def test_an_attempt_without_an_end_is_under_way_and_where_it_has_come_to_is_asked() -> None:
    (made,) = accounts([account("P001").began], lambda record: f"https://gc.org/{record['case']}/")
    assert (made.fate, made.display_set) == ("under way", "https://gc.org/3/")


def test_the_table_has_a_row_for_each_source_and_value_and_no_formulas() -> None:
    first, second, value = csv.DictReader(io.StringIO(table([account("-2+3")])))
    assert first == second
    assert (first["folder"], first["source_path"], first["source_bytes"]) == ("'-2+3", "'=ct.mha", "3")
    assert (value["socket"], value["sent_sha256"], value["source_path"]) == ("score", "12", "")


def test_a_part_of_a_folder_is_named() -> None:
    part = account("P001", part="v1")
    assert " lung/P001/v1: confirmed" in where(Wanted("P001", None), [part])
    (row, *_) = csv.DictReader(io.StringIO(table([part])))
    assert (row["folder"], row["part"]) == ("P001", "v1")
    assert " lung/P001: confirmed" in where(Wanted("P001", None), [account("P001")])


def test_a_display_set_is_listed_once_and_said_to_be_gone_where_it_is() -> None:
    said = where(Wanted("P001", None), [account("P001", "failed"), account("P001", "display set deleted")])
    assert said.count("\n  https://gc.org/7/") == 1
    assert "(was deleted already)" in said


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([sent()], "1 file, 3 bytes"),
        ([sent(), sent()], "2 files, 6 bytes"),
        ([sent(12, "grand-challenge")], "1 zip of 12 DICOM files, 3 bytes"),
        ([sent(), sent(1, "already-done")], "1 file and 1 zip of 1 DICOM file, 6 bytes"),
        ([sent(3, "already-done")] * 2, "2 zips of 6 DICOM files in all, 6 bytes"),
    ],
)
def test_files_are_counted_and_of_a_series_those_it_was_made_of(files: Any, words: str) -> None:
    assert list(lines(account("P001", files=files)))[1] == f"   {words}, for ct and score"


def test_where_nothing_is_found_it_is_said_what_was_searched() -> None:
    said = where(Wanted("PID4711889", None), [account("P001")])
    assert "Only names of folders and titles of display sets are searched" in said
    assert "no patient IDs" in said
    assert "no patient IDs" not in where(Wanted("P001", None), [account("P001")])


def test_the_table_has_versions_only_where_they_did_something_to_the_file() -> None:
    files = [sent(), sent(1, "dicom-standard"), sent(1, "already-done"), sent()]
    rows = csv.DictReader(io.StringIO(table([account("P001", files=files)])))
    assert [row["versions"] for row in rows] == ["", "casedrop 1", "", "", ""]
