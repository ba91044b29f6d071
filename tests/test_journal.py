"""What a restart finds in the journal."""

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from casedrop import roots
from casedrop.database import Statement
from casedrop.errors import ConfigurationError
from casedrop.journal import SCHEMA, Journal, TitleHeldError, copy_of, restore
from casedrop.model import (
    Case,
    Entry,
    EntryKind,
    Geometry,
    Held,
    Plan,
    PlannedFile,
    PlannedSocket,
    Problem,
    UploadRef,
)
from casedrop.stages import IllegalMoveError, Stage
from test_check import mounted

ODD = os.fsdecode(b"caf\xe9 \n.mha")
FILE = PlannedFile(ODD, "ct.mha", 3, 1, 2, 3, None, "ab", 8, ("cd",), Geometry((1, 2, None), (0.5, 1, None)))
PLAN = Plan(
    ODD,
    "Jane",
    (
        PlannedSocket("ct", "Image", ODD, (FILE,)),
        PlannedSocket("v", "Value", "the rule", value={"a": [1, None]}),
    ),
    "mark",
    ("x",),
    (Entry(ODD, EntryKind.FILE, 3),),
)
CASE = Case(0, "root", ODD, "https://gc/", "https://gc/s/", "pk", "slug", Stage.PLANNED, 1.0, plan=PLAN)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def test_a_case_comes_back_as_it_was_after_a_restart(journal: Journal, tmp_path: Path) -> None:
    case = replace(
        journal.begin(CASE),
        stage=Stage.UPLOADING,
        uploads={ODD: UploadRef("u", "ab", 8)},
        sessions={"ct": ("a", "b")},
        held={"v": Held("f", 7)},
        replaced={"v": 6},
        problems=(Problem("word", "text"),),
    )
    journal.save(case)
    journal.close()
    again = Journal(tmp_path / "journal.sqlite")
    assert again.case(case.id) == case
    assert again.latest("root", ODD) == case
    assert again.under_way("root") == [case]


def test_a_title_that_is_let_go_right_after_it_was_refused_is_free(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that stand in one line for a commit the first wants what the second lets go."""
    first = journal.begin(CASE)
    other = journal.begin(replace(CASE, folder="other", study_pk="another study"))
    write = journal._db.write

    def written(*statements: Statement) -> None:
        monkeypatch.undo()
        try:
            write(*statements)
        finally:
            journal.save(first, stage=Stage.FILING, target="failed")

    monkeypatch.setattr(journal._db, "write", written)
    moved = journal.save(other, study_pk=CASE.study_pk)
    assert journal.case(other.id) == moved


def test_a_title_belongs_to_one_folder_until_its_case_fails_with_nothing_sent(journal: Journal) -> None:
    first = journal.begin(CASE)
    with pytest.raises(TitleHeldError) as held:
        journal.begin(replace(CASE, folder="other"))
    assert held.value.holder == first
    journal.begin(replace(CASE, folder="other", study_pk="another study"))
    failing = journal.save(first, stage=Stage.FILING, target="failed")
    journal.save(failing, stage=Stage.FAILED, filed_as="x")
    journal.begin(replace(CASE, folder="other"))


def test_cases_that_several_threads_begin_at_once_are_all_there(journal: Journal) -> None:
    """A split folder's parts are begun by a case's thread, other folders by the loop."""
    wanted = [replace(CASE, plan=replace(PLAN, title=str(number))) for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        begun = list(threads.map(journal.begin, wanted))
    assert {case.id for case in begun} == set(range(1, 41))
    assert journal.cases_of("root") == sorted(begun, key=lambda case: case.id)


def test_an_illegal_move_raises_and_changes_nothing(journal: Journal) -> None:
    case = journal.begin(CASE)
    with pytest.raises(IllegalMoveError):
        journal.save(case, stage=Stage.DONE)
    assert journal.case(case.id) == case


def test_folders_at_rest_are_counted_whole_and_no_longer_when_they_come_again(journal: Journal) -> None:
    made = [replace(CASE, plan=replace(PLAN, title=str(number))) for number in range(3)]
    head, other, part = (journal.begin(case) for case in made)
    part = journal.save(part, head=head.id)
    assert journal.at_rest("root") == {"done": 0, "failed": 0}
    for case, end in ((part, Stage.FAILED), (head, Stage.FAILED), (other, Stage.DONE)):
        journal.save(journal.save(case, stage=Stage.FILING), stage=end)
    assert journal.at_rest("root") == {"done": 1, "failed": 1}
    assert journal.at_rest("another") == {"done": 0, "failed": 0}
    journal.save(journal.case(head.id), stage=Stage.PLANNED)
    assert journal.at_rest("root") == {"done": 1, "failed": 0}


def test_a_failed_case_is_found_by_the_name_it_was_filed_under(journal: Journal) -> None:
    case = journal.save(journal.begin(CASE), stage=Stage.FILING, target="failed", filed_as="Jane 2026")
    assert journal.latest("root", "Jane 2026") == case


def test_a_folder_is_found_by_any_name_it_has_or_had_whatever_else_is_there(journal: Journal) -> None:
    stages = (Stage.UPLOADING, Stage.DONE, Stage.FAILED, Stage.SETTLING)
    known: list[Case] = []
    for folder, filed_as, first, head, stage in product("AB", ("", "A", "B"), ("", "A"), (0, 1), stages):
        case = replace(CASE, folder=folder, filed_as=filed_as, first_name=first, head=head, stage=stage)
        known.append(journal.begin(replace(case, plan=None)))
        for name in "ABC":
            named = [one for one in known if name in (one.folder, one.filed_as) and not one.head]
            assert journal.latest("root", name) == (named[-1] if named else None)
            assert journal.done("root", name) == [one for one in named[::-1] if one.stage is Stage.DONE]
    renamed = [one for one in known if one.first_name and one.stage in (Stage.FAILED, Stage.SETTLING)]
    renamed += [one for one in known if one.filed_as not in ("", one.folder) and one.stage in stages[1:3]]
    whole = sorted((one for one in renamed if not one.head), key=lambda case: case.id)
    names = {one.filed_as or one.folder: one.name for one in whole}
    assert journal.first_names("root") == {name: first for name, first in names.items() if name != first}
    assert journal.latest("another", "A") is None


def test_what_another_process_writes_is_seen_among_the_cases_under_way(
    journal: Journal, tmp_path: Path
) -> None:
    assert journal.under_way("root") == []
    other = Journal(tmp_path / "journal.sqlite")
    case = other.begin(CASE)
    assert journal.under_way("root") == [case]
    assert journal.under_way("another") == []
    moved = other.save(case, stage=Stage.UPLOADING)
    assert journal.under_way("root") == [moved]
    journal.save(journal.save(moved, stage=Stage.FILING), stage=Stage.DONE)
    assert other.under_way("root") == journal.under_way("root") == []
    other.close()


@pytest.mark.parametrize("damage", [b"no database at all, but long enough to be one" * 50, None])
def test_a_damaged_or_newer_journal_is_left_alone_and_said(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "journal.sqlite"
    if damage:
        path.write_bytes(damage)
    else:
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 99")
        db.close()
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="cannot be used"):
        Journal(path)
    assert path.read_bytes() == before


def test_the_kept_copy_holds_every_case_and_is_known_for_an_old_journal(tmp_path: Path) -> None:
    root = tmp_path / "root"
    roots.init(root)
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    opened = roots.open_root(root, journal.id, journal.starts(roots.root_id(root)), journal.count_start)
    opened.close()
    case = journal.begin(CASE)
    journal.keep_copy()
    journal.keep_copy()
    journal.close()
    assert not copy_of(path).stat().st_mode & 0o077
    path.write_bytes(b"damaged")
    assert restore(path, 0).read_bytes() == b"damaged"
    restored = Journal(path)
    assert restored.case(case.id) == case
    again = roots.open_root(root, restored.id, restored.starts(opened.id), restored.count_start)
    assert again.restored


def test_nothing_is_moved_where_there_is_no_good_copy_to_restore(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"the journal")
    with pytest.raises(ConfigurationError, match="no copy"):
        restore(path, 0)
    copy_of(path).write_bytes(b"no database either, and long enough to be seen as one" * 50)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        restore(path, 0)
    assert path.read_bytes() == b"the journal"


def test_to_look_into_a_journal_that_this_process_has_open_takes_no_lock_of_it(
    journal: Journal, tmp_path: Path
) -> None:
    """Else SQLite takes another program that ends for the last one, and that removes what is written to."""
    path = tmp_path / "journal.sqlite"
    journal.begin(CASE)
    looking = Journal(path, looking=True)
    asks = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); "
    asks += "print(db.execute('SELECT count(*) FROM cases').fetchone()[0]); db.close()"
    counted = [sys.executable, "-c", asks, str(path)]
    assert subprocess.run(counted, check=True, capture_output=True, text=True).stdout == "1\n"
    journal.begin(replace(CASE, plan=None, folder="another"))
    assert subprocess.run(counted, check=True, capture_output=True, text=True).stdout == "2\n"
    looking.close()


def test_a_journal_that_is_a_folder_or_on_a_read_only_mount_is_said_to_be_that(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigurationError, match=r"cannot be used \(Is a directory\)"):
        Journal(tmp_path / "folder")
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    said = r"cannot be used \(Read-only file system\)"
    with mounted("-o", "bind,ro", path, path), pytest.raises(ConfigurationError, match=said):
        Journal(path)


def test_a_damaged_journal_names_the_copy_that_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    journal.keep_copy()
    journal.close()
    path.write_bytes(b"no database at all, but long enough to be one" * 50)
    with pytest.raises(ConfigurationError, match="casedrop restore"):
        Journal(path)


def test_an_older_casedrop_goes_on_with_a_journal_to_which_a_newer_one_only_added(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    case = journal.begin(CASE)
    journal.close()
    with sqlite3.connect(path) as db:
        db.executescript(
            "ALTER TABLE cases ADD COLUMN later TEXT; ALTER TABLE wishes ADD COLUMN later TEXT;"
            "CREATE TABLE further (a TEXT); UPDATE cases SET record = json_set(record, '$.later', 1);"
            f"CREATE INDEX cases_later ON cases (later); PRAGMA user_version = {SCHEMA + 1};"
        )
        db.execute("INSERT OR REPLACE INTO meta VALUES ('oldest', ?)", (str(SCHEMA),))
    db.close()
    older = Journal(path)
    assert older.case(case.id) == case
    older.begin(replace(CASE, folder="other", study_pk="another study"))
    older.wish(older.save(case, stage=Stage.UPLOADING).id, "anew")
    assert older.schema == SCHEMA + 1
    older.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'oldest'", (str(SCHEMA + 1),))
    db.close()
    with pytest.raises(ConfigurationError, match="newer Casedrop"):
        Journal(path)


UNDO = {3: "DROP INDEX cases_by_set; DROP INDEX cases_to_look_at;"}
UNDO[4] = "DROP INDEX cases_by_head;"
UNDO[5] = "DROP INDEX cases_filed_as;"
UNDO[2] = "DROP TABLE wishes; DROP INDEX cases_by_files; ALTER TABLE cases DROP COLUMN files;"


@pytest.mark.parametrize("schema", range(1, SCHEMA))
def test_a_journal_of_an_older_schema_is_brought_forward(tmp_path: Path, schema: int) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    case = journal.begin(CASE)
    journal.close()
    with sqlite3.connect(path) as db:
        for later in range(SCHEMA, schema, -1):
            db.executescript(UNDO[later])
        db.execute(f"PRAGMA user_version = {schema}")
    db.close()
    forward = Journal(path)
    assert forward.case(case.id) == case
    assert forward.of_set(case.set_pk) == [case]
    forward.wish(case.id, "anew")
    assert forward.wishes() == {case.id: "anew"}
    forward.granted(case.id)
    assert forward.wishes() == {}


@pytest.mark.parametrize("schema", range(1, SCHEMA))
def test_a_journal_an_older_casedrop_wrote_goes_on_where_it_was(tmp_path: Path, schema: int) -> None:
    """tests/journals holds what each version wrote: a case being checked, and a failed one with an odd name."""
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript((Path(__file__).parent / "journals" / f"schema-{schema}.sql").read_text())
    db.close()
    journal = Journal(path)
    (checked,) = journal.under_way("root")
    assert (checked.stage, checked.set_pk, checked.committed) == (Stage.CONFIRMING, "set-1", True)
    assert checked.settled.sockets[0].files[0].sha256 == "ab" * 32
    assert journal.of_set("set-1") == [checked]
    assert journal.starts("root") == 3
    failed = journal.latest("root", "P002")
    assert failed
    assert (failed.folder, failed.stage) == (ODD, Stage.FAILED)
    with pytest.raises(TitleHeldError):
        journal.begin(replace(checked, folder="other"))
    done = journal.save(journal.save(checked, stage=Stage.FILING, target="done"), stage=Stage.DONE)
    journal.close()
    assert Journal(path).case(done.id) == done
