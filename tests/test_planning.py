"""Where `casedrop plan`, and the other commands that only look, cannot."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from casedrop import (
    completeness,
    decisions,
    history,
    inspection,
    look_back,
    outgoing,
    planning,
    rehearsal,
    rights,
    roots,
)
from casedrop.config import Settings, load
from casedrop.errors import ConfigurationError
from casedrop.findings import Finding
from casedrop.journal import NAME, Journal
from casedrop.root_check import MOUNT

CONFIG = """
[[drops]]
name = "lung"
root = "{root}"
reader_study = "lung-2026"
folder = "(?P<pid>P[0-9]+)"
[[drops.sockets]]
socket = "ct-image"
files = "*.mha"
"""

STATE = """
[state]
directory = "{state}"
"""
TABLE = """
[[drops.sockets]]
socket = "lung-volume"
value_from = {{ table = "scores", column = "score" }}
[[drops.tables]]
name = "scores"
file = "{root}/scores.csv"
key_columns = {{ pid = "id" }}
"""


@pytest.fixture
def share() -> Iterator[Path]:
    """That another user may read: pytest's own folders are closed."""
    with TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        (Path(top) / "drop" / "P001").mkdir(parents=True)
        (Path(top) / "drop" / "P001" / "ct.mha").write_bytes(b"NDims = 3\n")
        yield Path(top)


@contextmanager
def closed(path: Path, to: int = 0) -> Iterator[None]:
    """As another user where this one is root, who may read everything."""
    mode, user = path.stat().st_mode, os.geteuid()
    path.chmod(to)
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)
        path.chmod(mode)


@pytest.mark.parametrize("name", ["drop", "drop/P001", "drop/P001/ct.mha"])
def test_what_this_user_may_not_look_into_is_said(share: Path, tmp_path: Path, name: str) -> None:
    config = tmp_path / "casedrop.toml"
    config.write_text(CONFIG.format(root=share))
    settings = load(config, {})

    def plan() -> None:
        folder, drop = planning.meant(settings, Path("lung/P001"))
        planning.plan_folder(settings, {}, folder, drop_name=drop, offline=True, as_json=False)

    with closed(share / name), pytest.raises(ConfigurationError, match="cannot be looked into"):
        plan()


@pytest.mark.parametrize("name", ["casedrop", "casedrop/drops.d", "casedrop/casedrop.toml"])
def test_who_may_not_read_the_configuration_is_told_who_may_in_one_line(share: Path, name: str) -> None:
    (share / "casedrop" / "drops.d").mkdir(parents=True)
    config = share / "casedrop" / "casedrop.toml"
    config.write_text(CONFIG.format(root=share))
    os.chown(share / name, -1, 4242)
    for mode, said in (
        (0o040, "may be read by root and the group .* alone.*: sudo usermod -aG"),
        (0, "as root: sudo /"),
    ):
        with closed(share / name, mode), pytest.raises(ConfigurationError, match=said) as refused:
            load(config, {})
        assert len(refused.value.problems) == 1
        assert "\n" not in str(refused.value)


@pytest.fixture
def served(share: Path, tmp_path: Path) -> Settings:
    """With a table, and a state directory that is the service's alone."""
    (share / "scores.csv").write_text("id,score\nP001,3\n")
    state = tmp_path / "state"
    state.mkdir()
    Journal(state / NAME).close()
    text = (STATE + CONFIG + TABLE).format(root=share, state=state)
    (tmp_path / "casedrop.toml").write_text(text)
    roots.init(share)
    (share / roots.IDENTITY).chmod(0o644)
    return load(tmp_path / "casedrop.toml", {})


def test_plan_serves_who_may_not_look_into_the_state_directory(served: Settings) -> None:
    before = [*planning.plan_drop(served, {}, "lung", offline=True)]
    with closed(served.state.directory):
        assert [*planning.plan_drop(served, {}, "lung", offline=True)] == before
    assert [(row.folder, row.state) for row in before] == [("P001", rehearsal.SENT)]


@pytest.mark.parametrize(
    "ask",
    [
        lambda settings: history.listing(settings, None, failed=False, as_csv=False),
        lambda settings: decisions.retry(settings, {}, "lung/P001", every=False, reason=""),
        lambda settings: decisions.release(settings, "lung", every=False),
        lambda settings: decisions.pause(settings, "lung", every=False, paused=True),
        outgoing.verify,
        lambda settings: outgoing.where_is(settings, "P001"),
        lambda settings: completeness.look(settings, "lung", ""),
        lambda settings: look_back.pseudonyms(settings, {}, "lung", ""),
    ],
)
def test_what_needs_the_journal_says_who_may_look_at_it(
    served: Settings, ask: Callable[[Settings], object]
) -> None:
    said = r"journal.sqlite cannot be looked at \(Permission denied\). This user may not read it; as root: sudo /"
    with closed(served.state.directory), pytest.raises(ConfigurationError, match=said):
        ask(served)


def test_a_journal_that_is_found_and_may_not_be_read_is_not_to_be_restored(served: Settings) -> None:
    journal = served.state.directory / NAME
    said = r"Permission denied\). This user may not read it; as root: sudo /.*casedrop \.\.\.$"
    with closed(journal), pytest.raises(ConfigurationError, match=said):
        history.listing(served, None, failed=False, as_csv=False)


@pytest.mark.parametrize("name", ["", "state", "share"])
def test_check_says_what_it_may_not_look_at_and_nothing_to_give_this_user_rights(
    served: Settings, share: Path, tmp_path: Path, name: str
) -> None:
    inspection.check_all(served, tmp_path / "casedrop.toml", {}, offline=True)  # so that all is imported
    shut = {"": share / "done", "state": served.state.directory, "share": share}[name]
    with closed(shut):
        found = inspection.check_all(served, tmp_path / "casedrop.toml", {}, offline=True)
    said = [one for one in found if one.level != "ok"]
    as_root = (
        f"This user may not read it; as root: sudo {rights.program()} check --config {tmp_path}/casedrop.toml"
    )
    assert said
    assert {(one.level, one.mend) for one in said} == {("attention", as_root)}


def test_check_by_somebody_else_still_sees_that_a_share_is_gone_and_needs_no_token(
    served: Settings, share: Path, tmp_path: Path
) -> None:
    def found() -> list[Finding]:
        return inspection.check_all(served, tmp_path / "casedrop.toml", {}, offline=False)

    assert [one.level for one in found() if one.what == "token"] == ["problem"]
    (share / "drop").rename(share / "elsewhere")
    with closed(share / "done"):
        theirs = found()
    assert [one.mend for one in theirs if one.level == "problem"] == [MOUNT]
    assert [one.level for one in theirs if one.what == "token"] == ["attention"]
