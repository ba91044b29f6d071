"""The one rename, and that it can be interrupted anywhere."""

import os
from pathlib import Path

import pytest

from casedrop.errors import FolderChanged
from casedrop.file_away import FOR_PEOPLE, beside, file_away, forget_texts, free_name, rename, write_once


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("drop/P001", "done", "failed"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "drop/P001/ct.mha").write_text("data")
    return tmp_path


def identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def test_folder_and_receipt_arrive_and_a_second_time_changes_nothing(root: Path) -> None:
    known = identity(root / "drop/P001")
    for _ in range(2):
        file_away(root / "drop/P001", root / "done", "P001", known, "receipt")
        assert sorted(os.listdir(root / "done")) == ["P001", "P001.receipt.json"]
    assert (root / "done/P001/ct.mha").read_text() == "data"


def test_a_restart_after_the_rename_finds_its_folder_and_writes_the_receipt(root: Path) -> None:
    known = identity(root / "drop/P001")
    (root / "drop/P001").rename(root / "done/P001")
    file_away(root / "drop/P001", root / "done", "P001", known, "receipt")
    assert (root / "done/P001.receipt.json").read_text() == "receipt"


def test_an_empty_folder_of_the_same_name_is_not_replaced(root: Path) -> None:
    (root / "done/P001").mkdir()
    with pytest.raises(FileExistsError):
        rename(root / "drop/P001", root / "done/P001")
    assert (root / "drop/P001/ct.mha").exists()


@pytest.mark.parametrize("suffix", ["", ".receipt.json", ".receipt.txt"])
def test_a_taken_name_gets_a_suffix_without_colons(root: Path, suffix: str) -> None:
    (root / f"done/P001{suffix}").write_text("somebody's")
    name = free_name(root / "done", "P001", 0)
    assert name == "P001 19700101T000000Z"


def test_another_folder_under_our_name_is_never_taken_for_ours(root: Path) -> None:
    known = identity(root / "drop/P001")
    (root / "drop/P001").rename(root / "elsewhere")
    (root / "drop/P001").mkdir()
    with pytest.raises(FolderChanged):
        file_away(root / "drop/P001", root / "done", "P001", known, "receipt")
    assert os.listdir(root / "done") == []


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127, "\udcff" * 255])
def test_names_of_255_bytes_still_get_their_text(root: Path, name: str) -> None:
    path = beside(root / "failed", name, ".reason.txt")
    path.write_text("why")
    assert path != beside(root / "failed", name[:-1] + "y", ".reason.txt")


def test_a_receipt_in_words_is_written_once_and_over_nothing(root: Path) -> None:
    for text in ("in words", "in others"):
        write_once(root / "done", "P001", FOR_PEOPLE, text)
        assert os.listdir(root / "done") == ["P001.receipt.txt"]
        assert (root / "done/P001.receipt.txt").read_text() == "in words"


def test_a_receipt_in_words_leaves_a_link_of_its_name_alone(root: Path) -> None:
    (root / "done/P001.receipt.txt").symlink_to(root / "drop/P001/ct.mha")
    write_once(root / "done", "P001", FOR_PEOPLE, "in words")
    assert (root / "drop/P001/ct.mha").read_text() == "data"


def test_a_reason_goes_when_its_folder_has_left(root: Path) -> None:
    (root / "failed/P001.reason.txt").write_text("why")
    forget_texts(root / "failed", "P001")
    assert os.listdir(root / "failed") == []


@pytest.mark.parametrize(("folder", "text"), [(0o2770, 0o640), (0o755, 0o644), (0o700, 0o600)])
def test_who_may_read_a_folder_may_read_the_text_beside_it_and_nobody_writes_it(
    root: Path, folder: int, text: int
) -> None:
    if os.geteuid():
        pytest.skip("only root has a group to give")
    os.chown(root / "drop/P001", 1234, 4321)
    (root / "drop/P001").chmod(folder)
    file_away(root / "drop/P001", root / "failed", "P001", identity(root / "drop/P001"), "reason")
    write_once(root / "failed", "P001", FOR_PEOPLE, "receipt")
    for suffix in (".reason.txt", FOR_PEOPLE):
        found = (root / "failed" / f"P001{suffix}").stat()
        assert (found.st_mode & 0o777, found.st_gid) == (text, 4321)
