"""A drop's root: made by init, known by its identity, tried by a real rename."""

from pathlib import Path

import pytest

from casedrop import roots
from casedrop.errors import SetupProblem


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "lung"
    roots.init(path)
    return path


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_init_may_be_repeated_and_keeps_the_identity(root: Path) -> None:
    before = roots.root_id(root)
    assert not roots.init(root)
    assert roots.root_id(root) == before


def test_a_link_in_the_place_of_the_hidden_file_is_not_written_through(root: Path) -> None:
    precious = root.parent / "precious"
    precious.write_text("precious")
    (root / f"{roots.IDENTITY}.tmp").symlink_to(precious)
    roots.open_root(root, "mine", 0, lambda *_: None).close()
    assert precious.read_text() == "precious"
    assert not (root / roots.IDENTITY).is_symlink()
    roots.expect_owner(root, "mine")


def test_what_a_crash_left_of_the_test_rename_is_cleared_by_the_next(root: Path) -> None:
    clean = names(root)
    for name in roots.FOLDERS:
        (root / name / ".casedrop-probe").mkdir()
    roots.expect_folders(root)
    assert names(root) == clean


def test_a_missing_folder_is_said_and_nothing_of_the_test_is_left(root: Path) -> None:
    (root / "failed").rmdir()
    before = names(root)
    with pytest.raises(SetupProblem, match="missing"):
        roots.expect_folders(root)
    assert names(root) == before


def test_a_root_is_one_services_at_a_time_and_one_journals_for_good(root: Path) -> None:
    counted: dict[str, int] = {}
    opened = roots.open_root(root, "mine", 0, counted.__setitem__)
    assert counted == {opened.id: 1}
    with pytest.raises(SetupProblem, match="in use"):
        roots.open_root(root, "mine", 1, counted.__setitem__)
    opened.close()
    with pytest.raises(SetupProblem, match="another journal"):
        roots.open_root(root, "other", 0, counted.__setitem__)
    roots.take_over(root, "other", 0)
    taken = roots.open_root(root, "other", 0, counted.__setitem__)
    assert (taken.id, taken.restored) == (opened.id, False)
    taken.close()


def test_a_journal_behind_the_root_is_known_for_a_restored_one(root: Path) -> None:
    roots.open_root(root, "mine", 0, lambda *_: None).close()
    again = roots.open_root(root, "mine", 0, lambda *_: None)
    assert again.restored
    again.close()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"root": 1}'])
def test_a_damaged_identity_file_is_said_in_words(root: Path, damage: str) -> None:
    (root / roots.IDENTITY).write_text(damage)
    with pytest.raises(SetupProblem, match="damaged"):
        roots.open_root(root, "mine", 0, lambda *_: None)


def test_a_bare_mount_point_is_no_root(tmp_path: Path, root: Path) -> None:
    with pytest.raises(SetupProblem, match="Is the share mounted"):
        roots.expect_there(tmp_path, roots.root_id(root))
    with pytest.raises(SetupProblem, match="another root"):
        roots.expect_there(root, "some other id")
