"""What the scanner says of each name under drop/: looked at by hand with a made-up clock, real folders."""

import errno
import gzip
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from casedrop import contents, once, roots, watch
from casedrop import scan as scan_module
from casedrop.dicom_model import DicomHeader
from casedrop.grand_challenge import ReaderStudy
from casedrop.journal import Journal
from casedrop.model import (
    Drop,
    Entry,
    Finding,
    FindingState,
    JsonValue,
    Listing,
    Problem,
    Snapshot,
    SocketKind,
    SocketRule,
    Weight,
)
from casedrop.scan import ScanLimits, Scanner
from casedrop.table_watch import TableWatch
from casedrop.titles import NAMELESS, Naming
from casedrop.watch import boot_clock
from casedrop.watched import Watched
from lab import mha
from waiting import wait_for

QUIET, INCOMPLETE = 30.0, 900.0
KINDS = {
    "ct-image": SocketKind("ct-image", "Image", "Image"),
    "some-score": SocketKind("some-score", "Float", "Value"),
}
RULES = (
    SocketRule("ct-image", ("*.mha", "*.zip")),
    SocketRule("some-score", value_from=JsonValue("score.json", "/score"), required=False),
)


class Root:
    """A root with a scanner that is told the time."""

    def __init__(self, path: Path, **changed: Any) -> None:
        self.drop = path / "drop"
        self.drop.mkdir()
        (path / roots.IDENTITY).write_text("{}")
        rules = Drop("lung", str(path), "lung-2026", RULES, **changed)
        self.woken = threading.Event()
        self.scanner = Scanner(rules, ScanLimits(QUIET, QUIET, INCOMPLETE), self.woken.set)
        self.scanner.kinds = KINDS

    def write(self, name: str, content: bytes = b"") -> Path:
        path = self.drop / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or mha())
        return path

    def look(self, now: float, name: str = "P1") -> Finding:
        (found,) = [one for one in self.scanner.scan(now).findings if one.folder == name]
        return found

    def settled(self, name: str = "P1") -> Finding:
        self.look(0, name)
        return self.look(QUIET, name)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def is_root() -> bool:
    return os.geteuid() == 0


def test_a_whole_folder_is_ready_after_the_quiet_period_and_two_looks(root: Root) -> None:
    root.write("P1/ct.mha")
    first = root.look(100)
    assert (first.state, first.since, first.until) == (FindingState.SETTLING, 100, 130)
    assert "until copying has finished" in first.why
    assert root.look(129.9).state is FindingState.SETTLING
    found = root.look(130)
    assert found.state is FindingState.READY
    assert found.grouping
    assert found.grouping.plan
    assert found.grouping.plan.signature == found.signature != ""
    assert found.inode == (root.drop / "P1").stat().st_ino


def test_one_look_is_never_enough_even_long_after(root: Root) -> None:
    root.write("P1/ct.mha")
    assert root.look(1e6).state is FindingState.SETTLING


def test_a_folder_that_is_there_at_the_start_settles_like_any_other(root: Root) -> None:
    path = root.write("P1/ct.mha")
    os.utime(path, (1, 1))
    assert root.look(0).state is FindingState.SETTLING
    assert root.look(QUIET).state is FindingState.READY


def test_a_ready_folder_stays_ready_until_it_changes_and_then_settles_anew(root: Root) -> None:
    root.write("P1/ct.mha")
    root.settled()
    assert root.look(1000).state is FindingState.READY
    root.write("P1/score.json", b'{"score": 1}')
    assert root.look(1001).state is FindingState.SETTLING
    assert root.look(1030).state is FindingState.SETTLING
    assert root.look(1031).state is FindingState.READY


def test_junk_that_comes_late_neither_resets_the_clock_nor_becomes_data(root: Root) -> None:
    root.write("P1/ct.mha")
    root.look(0)
    root.write("P1/.DS_Store", b"x")
    root.write("P1/@eaDir/ct.mha", b"x")
    found = root.look(QUIET)
    assert found.state is FindingState.READY
    assert found.grouping
    assert found.grouping.plan
    assert [one.path for one in found.grouping.plan.entries] == ["ct.mha"]


def test_a_slow_share_gives_no_shorter_quiet_period(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was listed at the end of a long first look counts from then, not from that look's beginning."""
    now = [0.0]
    took = [20.0]

    def slow(path: str, _: watch.FileSystem) -> Listing:
        found = watch.list_folder(path)
        now[0] += took[0]
        return found

    slowly = type("Slowly", (), {**vars(watch), "list_folder": staticmethod(slow)})
    monkeypatch.setattr(scan_module, "watch", slowly)
    root.write("P1/ct.mha")
    (first,) = root.scanner._scan(lambda: now[0]).findings
    assert first.since == 20
    now[0], took[0] = 30.0, 0.0
    assert root.scanner._scan(lambda: now[0]).findings[0].state is FindingState.SETTLING
    now[0] = 50.0
    assert root.scanner._scan(lambda: now[0]).findings[0].state is FindingState.READY


def test_what_is_no_case_folder_is_left_alone_and_junk_is_not_even_said(tmp_path: Path) -> None:
    root = Root(tmp_path, folder=r"P\d+")
    root.write("loose.mha")
    root.write("Thumbs.db", b"x")
    root.write("Q1/ct.mha")
    (root.drop / "link").symlink_to(tmp_path)
    os.mkfifo(root.drop / "pipe")
    for name in ("Q1", "P1x", "P12"):
        (root.drop / name).mkdir(exist_ok=True)
    root.scanner.scan(0)
    found = {one.folder: one for one in root.scanner.scan(QUIET).findings}
    assert set(found) == {"loose.mha", "Q1", "P1x", "P12", "link", "pipe"}
    alone = {name for name, one in found.items() if one.state is FindingState.LEFT_ALONE}
    assert alone == {"loose.mha", "Q1", "P1x", "link", "pipe"}
    assert "loose file" in found["loose.mha"].why
    assert "symbolic link" in found["link"].why
    assert r"P\d+" in found["P1x"].why


def test_what_is_left_alone_is_as_old_as_its_first_look_for_as_long_as_it_stays(tmp_path: Path) -> None:
    root = Root(tmp_path, folder=r"P\d+")
    root.write("loose.mha")
    root.write("Q1/ct.mha")
    for when in (0, 100, 200):
        assert [root.look(when, name).since for name in ("loose.mha", "Q1")] == [0, 0]
    (root.drop / "loose.mha").rename(tmp_path / "away.mha")
    root.scanner.scan(300)
    (tmp_path / "away.mha").rename(root.drop / "loose.mha")
    assert root.look(400, "loose.mha").since == 400
    assert root.look(500, "loose.mha").since == 400
    (root.drop / "loose.mha").unlink()
    os.mkfifo(root.drop / "loose.mha")
    assert root.look(600, "loose.mha").since == 600


def test_a_folder_that_cannot_be_listed_is_as_old_as_the_first_look_that_failed(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = errno.EACCES

    def closed(path: str, _: watch.FileSystem) -> Listing:
        raise OSError(error, os.strerror(error), path)

    root.write("P1/ct.mha")
    closing = type("Closing", (), {**vars(watch), "list_folder": staticmethod(closed)})
    with monkeypatch.context() as patch:
        patch.setattr(scan_module, "watch", closing)
        assert [root.look(when).since for when in (0, 100)] == [0, 0]
        error = errno.EIO
        assert [root.look(when).since for when in (200, 300)] == [200, 200]
    assert root.look(400).since == 400


@pytest.mark.parametrize("name", ["New folder", "Neuer Ordner (2)", "untitled folder"])
def test_a_folder_not_yet_named_waits_without_a_limit(root: Root, name: str) -> None:
    root.write(f"{name}/ct.mha")
    root.settled(name)
    found = root.look(INCOMPLETE * 2, name)
    assert (found.state, found.until) == (FindingState.SETTLING, None)
    assert "name" in found.why


def test_an_empty_folder_waits_without_a_limit(root: Root) -> None:
    (root.drop / "P1" / "sub").mkdir(parents=True)
    root.write("P1/Thumbs.db", b"x")
    root.settled()
    found = root.look(INCOMPLETE * 2)
    assert (found.state, found.why, found.until) == (FindingState.SETTLING, "empty", None)


def test_a_folder_without_its_ready_marker_waits(tmp_path: Path) -> None:
    root = Root(tmp_path, ready="READY")
    root.write("P1/ct.mha")
    root.write("P1/READY/READY", b"neither a folder of that name nor a file below")
    assert "READY" in root.settled().why
    (root.drop / "P1" / "READY").rename(tmp_path / "away")
    root.write("P1/READY", b"yes")
    assert root.look(100).state is FindingState.SETTLING
    assert root.look(130).state is FindingState.READY


def test_a_folder_with_more_files_than_allowed_is_refused(root: Root) -> None:
    root.scanner.limits = replace(root.scanner.limits, files=3)
    for number in range(4):
        root.write(f"P1/{number}.mha")
    found = root.settled()
    assert found.state is FindingState.WRONG
    assert "4 files" in found.why


def test_an_unfinished_copy_is_known_by_its_name_and_waited_for_until_the_limit(root: Root) -> None:
    root.write("P1/ct.mha")
    root.write("P1/seg.mha.part")
    found = root.settled()
    assert (found.state, found.until) == (FindingState.LACKING, INCOMPLETE)
    assert "seg.mha.part" in found.why
    broken_off = root.look(INCOMPLETE)
    assert broken_off.state is FindingState.WRONG
    assert broken_off.grouping
    assert [one.word for one in broken_off.grouping.problems] == ["half-copied"]


def test_a_file_that_somebody_writes_is_waited_for_and_named(root: Root) -> None:
    if not watch.file_system(str(root.drop)).lease:
        pytest.skip("the temporary directory is on a file system without leases")
    path = root.write("P1/ct.mha")
    with path.open("r+b"):
        found = root.settled()
        assert (found.state, found.why) == (FindingState.SETTLING, "ct.mha is still being written")
    assert root.look(QUIET + 1).state is FindingState.READY


def test_a_folder_of_which_nobody_can_tell_who_writes_waits_and_says_why(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not watch.file_system(str(root.drop)).lease:
        pytest.skip("the temporary directory is on a file system without leases")

    def no_memory(_: int) -> None:
        raise OSError(errno.ENOMEM, "x")

    root.write("P1/ct.mha")
    with monkeypatch.context() as patched:
        patched.setattr(watch, "_lease", no_memory)
        found = root.settled()
    assert (found.state, found.why) == (FindingState.SETTLING, "cannot be read (Cannot allocate memory)")
    root.look(QUIET + 1)
    assert root.look(2 * QUIET + 1).state is FindingState.READY


def test_what_is_lacking_is_waited_for_until_the_limit_after_the_last_change(root: Root) -> None:
    root.write("P1/score.json", b'{"score": 1}')
    found = root.settled()
    assert (found.state, found.until) == (FindingState.LACKING, INCOMPLETE)
    assert "ct-image" in found.why
    root.write("P1/Thumbs.db", b"junk changes nothing")
    assert root.look(INCOMPLETE - 1).until == INCOMPLETE
    assert root.look(INCOMPLETE).state is FindingState.WRONG


def test_a_change_starts_the_limit_of_a_lacking_folder_anew(root: Root) -> None:
    root.write("P1/score.json", b'{"score": 1}')
    root.settled()
    root.write("P1/score.json", b'{"score": 12}')
    root.look(800)
    found = root.look(1000)
    assert (found.state, found.until) == (FindingState.LACKING, 800 + INCOMPLETE)


def test_what_is_wrong_is_said_after_settling_and_all_at_once(root: Root) -> None:
    for name in ("a.mha", "b.mha", "odd.txt"):
        root.write(f"P1/{name}")
    assert root.look(0).state is FindingState.SETTLING
    found = root.look(QUIET)
    assert found.state is FindingState.WRONG
    assert found.grouping
    assert {one.word for one in found.grouping.problems} == {"two-files", "unmatched-file"}


def test_a_copy_that_died_after_setting_the_size_is_lacking(root: Root) -> None:
    if not watch.file_system(str(root.drop)).holes:
        pytest.skip("the temporary directory is on a file system whose holes say nothing")
    with root.write("P1/ct.mha").open("r+b") as file:
        file.truncate(1 << 20)
    found = root.settled()
    assert found.state is FindingState.LACKING
    assert "ct.mha looks cut off" in found.why


def test_what_was_found_lacking_in_whole_files_is_waited_for_until_something_changes(root: Root) -> None:
    root.write("P1/ct.mha")
    found = root.settled()
    root.scanner.lacks("P1", found.signature, (Problem("cut-off", "ct.mha is cut off.", Weight.LACKING),))
    waits = root.look(QUIET + 1)
    assert (waits.state, waits.why) == (FindingState.LACKING, "ct.mha is cut off.")
    assert root.look(INCOMPLETE).state is FindingState.WRONG
    root.write("P1/ct.mha", mha(9))
    root.look(INCOMPLETE + 1)
    assert root.look(INCOMPLETE + 1 + QUIET).state is FindingState.READY


def test_a_zip_that_has_no_end_yet_is_lacking(root: Root) -> None:
    root.write("P1/ct.zip", b"PK\3\4" + bytes(100))
    found = root.settled()
    assert found.state is FindingState.LACKING
    assert "ct.zip looks cut off" in found.why


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (gzip.compress(bytes(128) + b"DICM" + bytes(100)), "dicom"),
        (b"PK\3\4" + bytes(100) + b"PK\5\6" + b"\1" * 16 + bytes(2), "archive"),
    ],
    ids=["dicom", "archive"],
)
def test_dicom_and_archives_in_doubt_never_leave(root: Root, content: bytes, word: str) -> None:
    root.write("P1/ct.zip", content)
    found = root.settled()
    assert found.state is FindingState.WRONG
    assert found.grouping
    assert found.grouping.plan is None
    assert word in [one.word for one in found.grouping.problems]
    assert "ct.zip" in found.why


def test_links_and_pipes_in_a_folder_are_refused_and_not_opened(root: Root, tmp_path: Path) -> None:
    (tmp_path / "secret.mha").write_bytes(mha())
    root.write("P1/ct.mha")
    (root.drop / "P1" / "seg.mha").symlink_to(tmp_path / "secret.mha")
    os.mkfifo(root.drop / "P1" / "score.json")
    found = root.settled()
    assert found.state is FindingState.WRONG
    assert "seg.mha (symbolic link)" in found.why
    assert "score.json (named pipe)" in found.why


def test_until_the_platform_has_said_its_sockets_a_settled_folder_waits(root: Root) -> None:
    root.write("P1/ct.mha")
    root.scanner.kinds = None
    found = root.settled()
    assert (found.state, found.why) == (FindingState.SETTLING, scan_module.WAITS_FOR_KINDS)
    root.scanner.kinds = KINDS
    assert root.look(QUIET + 1).state is FindingState.READY


def test_files_are_read_once_as_long_as_nothing_changes(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def look(folder: str, *_: object) -> list[Problem]:
        asked.append(folder)
        return []

    monkeypatch.setattr(contents, "_packed_problems", look)
    root.write("P1/ct.mha")
    root.look(0)
    root.look(QUIET - 1)
    assert not asked
    for now in (30, 40, 50):
        root.scanner.kinds = dict(KINDS)
        root.look(now)
    assert len(asked) == 1
    root.scanner.kinds = {**KINDS, "ct-image": SocketKind("ct-image", "PDF file", "File")}
    found = root.look(60)
    assert len(asked) == 2
    assert found.grouping
    assert found.grouping.plan
    assert found.grouping.plan.sockets[0].super_kind == "File"


@pytest.fixture
def read(root: Root, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose headers have been read."""
    if not watch.file_system(str(root.drop)).lease:
        pytest.skip("the temporary directory is on a file system without leases")
    found, real = [], contents._header

    def noted(folder: str, file: Entry, *asked: tuple[str, ...]) -> DicomHeader | None:
        found.append(file.path)
        return real(folder, file, *asked)

    monkeypatch.setattr(contents, "_header", noted)
    return found


def test_headers_are_read_halfway_through_the_quiet_period_and_not_again(root: Root, read: list[str]) -> None:
    root.write("P1/ct.mha")
    root.write("P1/score.json", b'{"score": 1}')
    root.look(0)
    root.look(QUIET / 2 - 1)
    assert not read
    root.look(QUIET / 2)
    root.look(QUIET / 2 + 1)
    assert sorted(read) == ["ct.mha", "score.json"]
    assert root.look(QUIET).state is FindingState.READY
    assert len(read) == 2


def test_a_file_that_changes_after_its_header_was_read_is_read_again(root: Root, read: list[str]) -> None:
    root.write("P1/ct.mha")
    root.write("P1/note.txt", b"plain")
    root.look(0)
    root.look(QUIET / 2)
    root.write("P1/note.txt", bytes(128) + b"DICM" + bytes(100))
    root.look(QUIET - 1)
    found = root.look(2 * QUIET)
    assert read == ["ct.mha", "note.txt", "note.txt"]
    assert "note.txt" in found.why


def test_no_header_is_read_while_somebody_writes_the_folder(root: Root, read: list[str]) -> None:
    with root.write("P1/ct.mha").open("r+b"):
        root.look(0)
        root.look(QUIET / 2)
    assert not read
    assert root.look(QUIET).state is FindingState.READY
    assert read == ["ct.mha"]


def test_no_header_is_read_ahead_of_a_file_that_cannot_be_asked_for_writers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may be changed through a mapping, and look the same: the files of two patients went up as one series."""
    if not is_root():
        pytest.skip("needs root, to be somebody who may not ask")
    with TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        root, read = Root(Path(top)), list[str]()
        monkeypatch.setattr(contents, "_header", lambda _, file, *__: read.append(file.path))
        path = root.write("P1/ct.mha")
        with as_somebody(root.drop, root.drop / "P1"):
            assert not watch.writers(str(path.parent), watch.list_folder(str(path.parent)))
            root.look(0)
            root.look(QUIET / 2)
            assert not read
            root.look(QUIET)
    assert read == ["ct.mha"]


def test_a_file_that_is_not_the_listed_one_tells_nothing(root: Root) -> None:
    """As where two folders are swapped while their headers are read, and back before the next look."""
    root.write("P1/ct.mha")
    path = root.write("P2/ct.mha")
    listing = watch.list_folder(str(root.drop / "P1"))
    with pytest.raises(OSError, match="Stale"):
        contents.read_headers(str(path.parent), listing, root.scanner.drop, {})


def test_a_file_that_cannot_be_read_ahead_does_not_start_the_clock_anew(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    root.write("P1/ct.mha")
    root.look(0)
    with monkeypatch.context() as patched:
        patched.setattr(contents, "_header", broken)
        root.look(QUIET / 2)
    assert root.look(QUIET).state is FindingState.READY


def test_an_error_is_no_answer_of_a_share(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount whose server is gone fails each call after half a minute, and is to be said to hang."""

    def gone(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    root.write("P1/ct.mha")
    root.look(0)
    last = root.scanner.silent_since
    monkeypatch.setattr(watch, "list_folder", gone)
    root.look(1)
    assert root.scanner.silent_since == last is not None


def test_each_file_that_is_read_is_an_answer_of_the_share(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at thousands of files takes minutes, and what answers is not said to hang."""
    heard: list[float | None] = []

    def noted(*_: object) -> None:
        heard.append(root.scanner.silent_since)

    monkeypatch.setattr(contents, "_header", noted)
    for number in range(5):
        root.write(f"P1/{number}.mha")
    root.settled()
    assert len(heard) == len(set(heard)) == 5


def test_a_folder_that_is_a_case_already_is_passed_over_and_settles_anew_when_it_is_back(root: Root) -> None:
    root.write("P1/ct.mha")
    root.settled()
    root.scanner.in_hand = frozenset({"P1"})
    assert root.scanner.scan(40).findings == ()
    root.scanner.in_hand = frozenset()
    assert root.look(50).state is FindingState.SETTLING


def test_a_folder_whose_case_came_to_rest_is_in_the_very_next_look(root: Root) -> None:
    """The look may begin before the loop's turn is over; `run --once` would take the folder for gone."""
    root.write("P1/ct.mha")
    root.scanner.in_hand = frozenset({"P1", "P2"})
    nobody = cast("Any", None)
    Watched(root.scanner.drop, root.scanner, nobody, nobody, nobody).release("P1")
    assert [one.folder for one in root.scanner.scan(1).findings] == ["P1"]
    assert root.scanner.in_hand == {"P2"}


def test_a_look_that_began_before_a_case_came_to_rest_says_nothing_of_its_folder(root: Root) -> None:
    """It passed the folder over; `run --once` would end although the folder lies in drop/."""
    root.write("P1/ct.mha")
    root.scanner.in_hand = frozenset({"P1"})
    nobody = cast("Any", None)
    watched = Watched(root.scanner.drop, root.scanner, nobody, nobody, nobody)
    look = root.scanner.scan(boot_clock())
    watched.release("P1")
    assert look.started <= watched.rested["P1"]
    root.scanner.scan(boot_clock())
    assert [one.folder for one in watched.fresh()] == ["P1"]


def test_a_forgotten_folder_settles_from_the_beginning(root: Root) -> None:
    root.write("P1/ct.mha")
    assert root.settled().state is FindingState.READY
    root.scanner.forget("P1")
    found = root.look(40)
    assert (found.state, found.since) == (FindingState.SETTLING, 40)


def test_a_folder_that_left_and_came_back_under_its_name_settles_anew(root: Root, tmp_path: Path) -> None:
    root.write("P1/ct.mha")
    root.settled()
    (root.drop / "P1").rename(tmp_path / "away")
    assert root.scanner.scan(40).findings == ()
    (tmp_path / "away").rename(root.drop / "P1")
    assert root.look(50).state is FindingState.SETTLING


@contextmanager
def as_somebody(*own: Path) -> Iterator[None]:
    """Whom `own` belongs to: another user where this one is root, who may write everywhere."""
    user = os.geteuid()
    for path in own:
        os.chown(path, user or 65534, -1)
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_folder_that_could_not_be_moved_waits_for_a_person_until_it_can() -> None:
    with TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        root = Root(Path(top))
        root.write("P1/ct.mha")
        folder = root.drop / "P1"
        with as_somebody(root.drop, folder), capture_logs() as logs:
            folder.chmod(0o555)
            found = root.settled()
            assert (found.state, found.until) == (FindingState.STUCK, None)
            assert "`casedrop check`" in found.why
            assert root.look(2 * QUIET).state is FindingState.STUCK
            folder.chmod(0o755)
            assert root.look(2 * QUIET + 1).state is FindingState.READY
        assert [one["event"] for one in logs] == ["waits for a person"]


def test_run_once_leaves_for_later_a_folder_that_could_not_be_moved() -> None:
    with TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        root = Root(Path(top))
        root.write("P1/ct.mha")
        journal = Journal(Path(top) / "journal.sqlite")
        drop, nobody = root.scanner.drop, cast("Any", None)
        watched = Watched(drop, root.scanner, nobody, nobody, TableWatch(drop, journal, lambda: None))
        watched.root, watched.study = (
            roots.Root(root.drop.parent, "id", -1),
            ReaderStudy("pk", "lung-2026", ""),
        )
        with as_somebody(root.drop, root.drop / "P1"):
            (root.drop / "P1").chmod(0o555)
            assert root.settled().state is FindingState.STUCK
            (root.drop / "P1").chmod(0o755)
        assert once.exit_code([watched], journal, {}) == once.LATER
        journal.close()


def test_run_once_does_not_end_before_it_has_counted_what_came_to_rest_earlier(
    root: Root, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    drop, nobody = root.scanner.drop, cast("Any", None)
    watched = Watched(drop, root.scanner, nobody, nobody, TableWatch(drop, journal, lambda: None))
    watched.root, watched.study = roots.Root(tmp_path, "id", -1), ReaderStudy("pk", "lung-2026", "")
    watched.counting = Future()
    root.scanner.scan(1)
    assert once.exit_code([watched], journal, {}) is None
    watched.counting = None
    assert once.exit_code([watched], journal, {}) == once.DONE
    journal.close()


def test_a_drop_that_is_read_only_is_no_folders_fault() -> None:
    with TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        root = Root(Path(top))
        root.write("P1/ct.mha")
        with as_somebody(root.drop, root.drop / "P1"):
            (root.drop / "P1").chmod(0o555)
            root.drop.chmod(0o555)
            assert root.settled().state is FindingState.READY
            for path in (root.drop, root.drop / "P1"):
                path.chmod(0o755)


@pytest.mark.skipif(is_root(), reason="nothing is unreadable for root")
def test_a_folder_that_may_not_be_read_says_so_and_stops_no_other(root: Root) -> None:
    root.write("P1/ct.mha")
    root.write("P2/ct.mha")
    (root.drop / "P2").chmod(0)
    assert root.settled().state is FindingState.READY
    found = root.look(QUIET + 1, "P2")
    (root.drop / "P2").chmod(0o700)
    assert (found.state, found.why) == (FindingState.SETTLING, "cannot be read (Permission denied)")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EIO, "x", "{drop}/P2/sub"), "sub cannot be read (Input/output error)"),
        (RuntimeError("surprise"), "fault in Casedrop"),
    ],
    ids=["disk", "fault"],
)
def test_one_folder_that_cannot_be_looked_at_stops_no_other(
    root: Root, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    if isinstance(error, OSError):
        error.filename = error.filename.replace("{drop}", str(root.drop))

    def broken(path: str, _: watch.FileSystem) -> Listing:
        if path.endswith("P2"):
            raise error
        return watch.list_folder(path)

    faulty = type("Faulty", (), {**vars(watch), "list_folder": staticmethod(broken)})
    monkeypatch.setattr(scan_module, "watch", faulty)
    root.write("P1/ct.mha")
    root.write("P2/ct.mha")
    assert root.settled().state is FindingState.READY
    assert said in root.look(QUIET + 1, "P2").why
    monkeypatch.setattr(scan_module, "watch", watch)
    assert root.look(QUIET * 3, "P2").state is FindingState.SETTLING


def test_a_name_that_goes_while_we_look_is_no_failure(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the service itself files a folder away in the middle of a scan."""
    root.write("P1/ct.mha")

    class Vanishing:
        name = "P0"

        def stat(self, *, follow_symlinks: bool) -> os.stat_result:
            raise FileNotFoundError(errno.ENOENT, str(follow_symlinks), self.name)

    real = os.scandir

    class Scandir:
        def __init__(self, path: str) -> None:
            self.found = real(path)

        def __enter__(self) -> Iterator[Any]:
            return iter([Vanishing(), *self.found])

        def __exit__(self, *_: object) -> None:
            self.found.close()

    standing_in = type("Os", (), {**vars(os), "scandir": Scandir})
    monkeypatch.setattr(scan_module, "os", standing_in)
    assert root.look(0).folder == "P1"


def test_a_drop_that_is_not_there_is_a_failure_and_never_an_empty_snapshot(root: Root) -> None:
    root.write("P1/ct.mha")
    before = root.scanner.scan(0)
    root.drop.rename(root.drop.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError):
        root.scanner.scan(1)
    assert root.scanner.latest is before


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["look", "data", "junk", "touch"]), st.floats(0.5, 40)),
        min_size=1,
        max_size=15,
    )
)
def test_never_ready_before_the_quiet_period_since_the_last_change_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, float]]
) -> None:
    root = Root(tmp_path_factory.mktemp("root"))
    path = root.write("P1/ct.mha")
    now, changed = 0.0, 0.0
    for number, (step, pause) in enumerate(steps):
        now += pause
        if step == "data":
            path.write_bytes(mha() + bytes(number))
            changed = now
        elif step == "touch":
            os.utime(path, (number, number))
            changed = now
        elif step == "junk":
            root.write("P1/Thumbs.db", bytes(number + 1))
        found = root.look(now)
        assert found.state is FindingState.SETTLING or now - changed >= QUIET


def running(tmp_path: Path, quiet: float, rescan: float) -> tuple[Root, Callable[[str], FindingState | None]]:
    root = Root(tmp_path)
    root.scanner.limits = ScanLimits(quiet, rescan, INCOMPLETE)

    def state(name: str) -> FindingState | None:
        latest = root.scanner.latest
        return next((one.state for one in latest.findings if one.folder == name), None) if latest else None

    return root, state


def test_an_event_wakes_the_scanner_long_before_the_rescan(tmp_path: Path) -> None:
    root, state = running(tmp_path, quiet=0.3, rescan=3600)
    if not watch.file_system(str(tmp_path)).events:
        pytest.skip("the temporary directory is on a file system without events")
    root.scanner.start()
    wait_for(lambda: root.scanner._waker, what="the scanner listens")
    root.write("P1/ct.mha")
    wait_for(lambda: state("P1") is FindingState.READY, what="the folder is ready")
    assert root.woken.is_set()
    root.scanner.stop()


def test_looks_at_a_slow_drop_take_a_quarter_of_the_time_while_people_copy(tmp_path: Path) -> None:
    slow = 0.2
    root, _ = running(tmp_path, quiet=30, rescan=3600)
    began: list[float] = []
    enough = threading.Event()

    def naming() -> Naming:
        began.append(time.monotonic())
        if len(began) > 1:
            enough.set()
        threading.Event().wait(slow)
        return NAMELESS

    root.scanner.naming = naming
    root.scanner._tell = root.scanner.stir
    root.scanner.start()
    assert enough.wait(30)
    assert began[1] - began[0] > (1 + scan_module.REST) * slow
    root.scanner.stop()


class Rests(threading.Event):
    """Says how long somebody would have waited for it."""

    asked = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.asked = timeout or 0.0
        return True


@pytest.mark.parametrize(("due", "rested"), [(5.0, 5.0), (0.0, 2.0), (60.0, 6.0)])
def test_while_people_copy_what_is_due_is_looked_at_then_or_one_look_later(
    root: Root, due: float, rested: float
) -> None:
    now = boot_clock()
    finding = Finding("P1", FindingState.SETTLING, "", now, now + due)
    root.scanner.latest = Snapshot(now, (finding,))
    root.scanner._stopping = rests = Rests()
    root.scanner.stir()
    root.scanner._wait(took=2.0)
    assert rested - 1 < rests.asked <= rested


def test_without_events_the_rescan_finds_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LEASES", frozenset())
    monkeypatch.setattr(watch, "OVERLAY", "")
    root, state = running(tmp_path, quiet=0.2, rescan=0.1)
    root.scanner.start()
    wait_for(lambda: root.scanner.latest, what="a first look")
    root.write("P1/ct.mha")
    wait_for(lambda: state("P1") is FindingState.READY, what="the folder is ready")
    assert root.scanner._waker is None
    root.scanner.stop()


def test_a_share_that_goes_is_a_problem_in_words_until_it_is_back(tmp_path: Path) -> None:
    root, state = running(tmp_path, quiet=0.2, rescan=0.1)
    root.write("P1/ct.mha")
    root.scanner.start()
    wait_for(lambda: state("P1") is FindingState.READY, what="the folder is ready")
    root.drop.rename(tmp_path / "away")
    wait_for(lambda: root.scanner.problem, what="the problem is said")
    assert "Is the share mounted?" in (root.scanner.problem or "")
    assert state("P1") is FindingState.READY
    (tmp_path / "away").rename(root.drop)
    wait_for(lambda: root.scanner.problem is None, what="all is well again")
    root.scanner.stop()


def test_no_surprise_ends_the_scanner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, state = running(tmp_path, quiet=0.2, rescan=0.1)
    with monkeypatch.context() as patched:
        patched.setattr(root.scanner, "_look", lambda *_: 1 / 0)
        root.write("P1/ct.mha")
        root.scanner.start()
        wait_for(lambda: "fault in Casedrop" in (root.scanner.problem or ""), what="the fault is said")
    wait_for(lambda: state("P1") is FindingState.READY, what="the scanner lives")
    root.scanner.stop()
