"""What stands in the ledger, and that a crash anywhere leaves it whole."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casedrop.chain import check, lines
from casedrop.errors import Waits
from casedrop.journal import Journal
from casedrop.ledger import Ledger, head
from casedrop.logs import Names
from casedrop.model import (
    Case,
    Plan,
    PlannedFile,
    PlannedSocket,
    Procedure,
    ProcedureName,
    SourceFile,
    UploadRef,
)
from casedrop.stages import Stage

SERIES = PlannedFile(
    "series",
    "ct.zip",
    500,
    1,
    1,
    0,
    sha256="5e",
    packed=(SourceFile("Jane/1.dcm", 200, 1, 1, 1, "a1"), SourceFile("Jane/2.dcm", 210, 1, 1, 2, "a2")),
    taken=("SliceThickness",),
)
HEADER = PlannedFile("Jane.mhd", "seg.mhd", 90, 1, 1, 3, content="ObjectType = Image", sha256="be")
IMAGE = PlannedSocket("ct", "Image", "series", (SERIES,))
MASK = PlannedSocket("seg", "Image", "Jane.mhd", (HEADER,))
SCORE = PlannedSocket("score", "Value", "score.json, /score", value={"who": "Jane"})
ALL = (IMAGE, MASK, SCORE)
PLAN = Plan("Jane Doe", "Jane's first", ALL)
CASE = Case(
    3,
    "r",
    "Jane Doe",
    "https://gc.org/api/v1/",
    "https://gc.org/s/",
    "pk",
    "lung",
    Stage.UPLOADING,
    1.0,
    plan=PLAN,
)


class Book:
    """A ledger beside a real journal, and a look at both."""

    def __init__(self, top: Path, names: Any = "plain", key: bytes = b"k" * 32) -> None:
        self.path = top / "ledger.jsonl"
        self.journal = Journal(top / "journal.sqlite")
        self.ledger = Ledger(self.path, self.journal, Names(names, key).of)

    def records(self) -> list[dict[str, Any]]:
        with self.path.open("rb") as file:
            return [one.record for one in lines(file) if one.record]

    def events(self) -> list[str]:
        return [one.get("fate", one["event"]) for one in self.records()]

    def wrong(self) -> list[str]:
        with self.path.open("rb") as file:
            return [said for ok, said in check(lines(file), head(self.journal.ledger_head()))[1] if not ok]

    def forget(self, noted: str, attempt: str) -> None:
        """As if the service had died between the record and its note in the journal."""
        self.journal.note_ledger(noted, {CASE.id: attempt})

    def noted(self) -> tuple[str, str]:
        return self.journal.ledger_head(), self.journal.open_attempt(CASE.id)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


def test_an_attempt_tells_what_of_which_files_goes_where_and_how_it_ended(book: Book) -> None:
    case = replace(CASE, uploads={"series": UploadRef("u", "5e", 8)})
    book.ledger.began(case, "lung", ALL)
    book.ledger.ended(replace(case, set_pk="7", committed=True), "confirmed")
    began, ended = book.records()
    assert (began["platform"], began["study"], began["drop"]) == ("gc.org", "lung", "lung")
    assert (began["folder"], began["title"], began["display_set"]) == ("Jane Doe", "Jane's first", "")
    image, mask, score = began["sockets"]
    (zipped,) = image["files"]
    assert (zipped["sha256"], zipped["bytes"], zipped["sent_as"]) == ("5e", 500, "ct.zip")
    assert zipped["sources"] == [
        {"path": "Jane/1.dcm", "bytes": 200, "sha256": "a1"},
        {"path": "Jane/2.dcm", "bytes": 210, "sha256": "a2"},
    ]
    assert zipped["taken"] == ["SliceThickness"]
    assert began["versions"] == {}
    assert zipped["begun_before"]
    assert mask["files"][0]["sources"] == [{"path": "Jane.mhd", "bytes": 90, "sha256": ""}]
    assert score["files"] == []
    assert "who" not in book.path.read_text()
    assert ended["attempt"] == began["seq"]
    assert ended["display_set"] == "https://gc.org/s/display-sets/7/"
    assert not book.path.stat().st_mode & 0o077
    assert book.wrong() == []


@pytest.mark.parametrize(
    ("procedure", "acts"),
    [
        ("grand-challenge", True),
        ("dicom-standard", True),
        ("already-done", False),
        ("send-identifiable", False),
    ],
)
def test_versions_are_put_down_where_they_did_something(
    book: Book, procedure: ProcedureName, acts: bool
) -> None:
    series = replace(SERIES, procedure=Procedure(procedure))
    book.ledger.began(CASE, "lung", (SCORE, replace(IMAGE, files=(HEADER, series))))
    assert ("pydicom" in book.records()[0]["versions"]) is acts


@pytest.mark.parametrize("own", ["0f", ""])
def test_a_source_has_its_own_sum_or_none_never_that_of_the_copy_without_its_texts(
    book: Book, own: str
) -> None:
    """A copy that an earlier version made is known without the sum of its source."""
    file = PlannedFile("ct.mha", "ct.mha", 9, 1, 1, 2, sha256="c0", stripped=("Comment",), stripped_size=5)
    book.ledger.began(CASE, "lung", (replace(IMAGE, files=(replace(file, source_sha256=own),)),))
    (told,) = book.records()[0]["sockets"][0]["files"]
    assert (told["bytes"], told["sha256"]) == (5, "c0")
    assert told["sources"] == [{"path": "ct.mha", "bytes": 9, "sha256": own}]


def test_an_attempt_goes_on_while_it_named_all_that_is_sent(book: Book) -> None:
    for sockets in (ALL, ALL, (IMAGE,), (SCORE,)):
        book.ledger.began(CASE, "lung", sockets)
    assert book.events() == ["began"]
    book.ledger.ended(CASE, "failed")
    book.ledger.ended(CASE, "failed")
    book.ledger.began(CASE, "lung", (IMAGE,))
    assert book.events() == ["began", "failed", "began"]
    other = replace(SCORE, value=2)
    book.ledger.began(CASE, "lung", (IMAGE, other))
    assert book.events()[3:] == ["not known", "began"]


def test_what_never_began_has_no_end(book: Book) -> None:
    book.ledger.ended(CASE, "failed")
    assert book.events() == []


def test_a_record_the_journal_did_not_note_is_found_and_not_written_twice(book: Book) -> None:
    before = book.noted()
    book.ledger.began(CASE, "lung", ALL)
    under_way = book.noted()
    book.forget(*before)
    book.ledger.began(CASE, "lung", ALL)
    assert book.noted() == under_way
    book.ledger.ended(CASE, "confirmed")
    at_rest = book.noted()
    book.forget(*under_way)
    book.ledger.ended(CASE, "confirmed")
    assert book.noted() == at_rest
    assert book.events() == ["began", "confirmed"]


def test_a_line_cut_short_stays_and_the_next_record_tells_of_it(book: Book) -> None:
    book.ledger.began(CASE, "lung", ALL)
    torn = b'{"attempt":1,"ca'
    with book.path.open("ab") as file:
        file.write(torn)
    assert book.wrong() == []
    book.ledger.ended(CASE, "confirmed")
    assert torn in book.path.read_bytes()
    assert book.events() == ["began", "torn", "confirmed"]
    assert book.wrong() == []


def test_a_missing_end_is_told_for_ever_and_the_ledger_goes_on(book: Book) -> None:
    book.ledger.began(CASE, "lung", ALL)
    kept = book.path.read_bytes()
    book.ledger.ended(CASE, "confirmed")
    book.path.write_bytes(kept)
    assert "ends at record 1" in book.wrong()[0]
    book.ledger.began(CASE, "lung", (SCORE,))
    assert book.events() == ["began", "lost", "began"]
    assert [one["seq"] for one in book.records()] == [1, 3, 4]
    (said,) = book.wrong()
    assert "had been 2" in said


def test_a_ledger_taken_away_whole_is_told_too(book: Book) -> None:
    book.ledger.began(CASE, "lung", ALL)
    book.path.unlink()
    book.ledger.ended(CASE, "confirmed")
    assert book.events() == ["lost", "confirmed"]
    assert book.wrong()


def test_a_new_journal_goes_on_with_the_old_ledger_but_takes_over_none_of_its_attempts(
    book: Book, tmp_path: Path
) -> None:
    book.ledger.began(CASE, "lung", ALL)
    (tmp_path / "journal.sqlite").rename(tmp_path / "lost.sqlite")
    anew = Book(tmp_path)
    anew.ledger.ended(CASE, "failed")
    anew.ledger.began(CASE, "lung", ALL)
    assert anew.events() == ["began", "began"]
    assert anew.wrong() == []


def test_many_threads_make_one_chain(book: Book) -> None:
    def attempt(number: int) -> None:
        case = replace(CASE, id=number)
        book.ledger.began(case, "lung", ALL)
        book.ledger.ended(case, "confirmed")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(attempt, range(1, 41)))
    assert sorted(book.events()) == ["began"] * 40 + ["confirmed"] * 40
    assert book.wrong() == []


def test_where_it_cannot_be_written_the_attempt_waits_and_says_so(book: Book) -> None:
    book.path.mkdir()
    with pytest.raises(Waits, match="nothing is sent"):
        book.ledger.began(CASE, "lung", ALL)
    book.path.rmdir()
    book.ledger.began(CASE, "lung", ALL)
    assert book.events() == ["began"]


def test_hidden_names_stand_nowhere_in_it(tmp_path: Path) -> None:
    book = Book(tmp_path, "hidden")
    book.ledger.began(CASE, "lung", ALL)
    assert "Jane" not in book.path.read_text()
    assert book.records()[0]["folder"] == Names("hidden", b"k" * 32).of("Jane Doe")


def test_names_that_are_no_text_are_kept(book: Book) -> None:
    odd = os.fsdecode(b"caf\xe9\n")
    book.ledger.began(replace(CASE, folder=odd), "lung", ALL)
    assert book.records()[0]["folder"] == odd
    assert book.wrong() == []


STEPS = st.lists(st.sampled_from(["began", "score", "ended", "tear", "unnoted"]), max_size=12)


@given(STEPS, st.integers(1, 60))
def test_whatever_happens_between_the_records_the_ledger_verifies_and_each_attempt_ends_once(
    steps: list[str], length: int
) -> None:
    with TemporaryDirectory() as top:
        book = Book(Path(top))
        book.ledger.ended(CASE, "none")
        before = book.noted()
        for step in steps:
            after = book.noted()
            if step == "began":
                book.ledger.began(CASE, "lung", ALL)
            elif step == "score":
                book.ledger.began(CASE, "lung", (replace(SCORE, value=1),))
            elif step == "ended":
                book.ledger.ended(CASE, "failed")
            elif step == "tear":
                line = json.dumps({"event": "began", "seq": 1, "words": "x" * 60}).encode()
                with book.path.open("ab") as file:
                    file.write(line[:length])
            else:
                book.forget(*before)
                continue
            before = after
        book.ledger.ended(CASE, "failed")
        assert book.wrong() == []
        story = [one for one in book.events() if one != "torn"]
        assert story == [one for pair in zip(story[::2], story[1::2], strict=True) for one in pair]
        assert set(story[::2]) <= {"began"}
        assert set(story[1::2]) <= {"failed", "not known"}
        book.journal.close()
