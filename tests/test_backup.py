"""A backup, made while the service runs, and what becomes of the folders when an old one is put back."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from casedrop import backup, journal
from forked import PROGRAM
from lab import Lab, mha
from waiting import wait_for

JOURNALS = Path(__file__).parent / "journals"


@pytest.fixture
def kept(lab: Lab) -> Path:
    return lab.top / "kept.tar.gz"


def rewritten(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    """The same backup with members of other contents, and a manifest that fits them."""
    with tarfile.open(path) as tar:
        held = {one.name: tar.extractfile(one).read() for one in tar.getmembers()}  # type: ignore[union-attr]
    held = {name: change(name, content) for name, content in held.items()}
    copies = path.parent / "members"
    copies.mkdir()
    pieces = []
    for number, (name, content) in enumerate(held.items()):
        (copies / str(number)).write_bytes(content)
        pieces.append(backup.Piece(name, copies / str(number)))
    path.unlink()
    backup._pack(path, pieces[1:], [piece.path for piece in pieces[1:]], 0)


@pytest.mark.long
def test_a_backup_is_made_while_the_service_runs_and_holds_all_but_the_token(lab: Lab, kept: Path) -> None:
    pieces = lab.top / "drops.d"
    pieces.mkdir()
    more = lab.config.read_text().split("[[drops]]", 1)[1].replace('"lung"', '"other"', 1)
    (pieces / "other.toml").write_text("[[drops]]" + more.replace(str(lab.root), f"{lab.root}2"))
    lab.start()
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001")
    said = lab.command("backup", str(kept))
    assert lab.process
    assert lab.process.poll() is None
    assert "does not hold the token" in said
    assert kept.stat().st_mode & 0o777 == 0o600
    with tarfile.open(kept) as tar:
        names = tar.getnames()
        contents = {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]
    assert names[0] == "manifest.json"
    assert sorted(names[1:]) == [
        "config/casedrop.toml", "config/drops.d/other.toml", "state/journal.sqlite", "state/ledger.jsonl",
        "state/names.key", "state/uids.key",
    ]  # fmt: skip
    assert all(name in said for name in names[1:])
    assert json.loads(contents["manifest.json"])["schema"] == journal.SCHEMA
    assert not any(lab.sandbox.token.encode() in content for content in contents.values())
    assert not list(lab.top.glob(".*"))


@pytest.mark.long
def test_a_backup_goes_onto_another_server_whole(lab: Lab, kept: Path) -> None:
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0
    lab.command("backup", str(kept))
    lost = lab.top / "lost"
    lost.mkdir()
    before = {path.name: path.read_bytes() for path in lab.state.glob("*.key")}
    text = lab.config.read_text()
    lab.state.rename(lost / "state")
    lab.config.unlink()
    lab.command("restore", str(kept))
    assert lab.config.read_text() == text
    assert {path.name: path.read_bytes() for path in lab.state.glob("*.key")} == before
    assert {path.stat().st_mode & 0o077 for path in lab.state.iterdir()} == {0}
    assert "ok" in lab.command("ledger", "--verify")
    (lab.done / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0
    assert lab.titles() == ["P001"]


@pytest.mark.long
def test_what_came_to_done_since_an_old_backup_is_neither_doubled_nor_lost(lab: Lab, kept: Path) -> None:
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0
    lab.command("backup", str(kept))
    lab.move_in("P002", ct__mha=mha(5))
    lab.move_in("P003", ct__mha=mha(6), odd__txt=b"")
    assert lab.once() == 1
    ledger = (lab.state / "ledger.jsonl").read_bytes()
    assert "Say --replace" in lab.command("restore", str(kept), code=78)
    said = lab.command("restore", str(kept), "--replace")
    assert "ledger.jsonl stays" in said
    assert "kept beside" not in said
    assert [path for path in lab.state.glob("journal.sqlite.replaced-*") if path.name.endswith("Z")]
    assert (lab.state / "ledger.jsonl").read_bytes() == ledger
    for name in ("P001", "P002"):
        (lab.done / name).rename(lab.drop / name)
    (lab.failed / "P003" / "odd.txt").unlink()
    (lab.failed / "P003").rename(lab.drop / "P003")
    lab.start()
    wait_for(lambda: "accept" in lab.case("P002").get("why", ""), 30, "P002 waits for a person")
    lab.command("accept", "lung/P002")
    wait_for(lambda: not list(lab.drop.iterdir()), 30, "all are filed")
    lab.wait_done("P003")
    assert lab.stop() == 0
    filed = [path.name for path in lab.done.iterdir() if path.is_dir()]
    assert sorted(name[:4] for name in filed) == ["P001", "P002", "P003"]
    assert sorted(lab.titles()) == ["P001", "P002", "P003"]
    assert "PROBLEM" not in lab.command("ledger", "--verify")


@pytest.mark.long
def test_a_folder_that_was_on_its_way_at_an_old_backup_and_is_done_since_is_sent_once(
    lab: Lab, kept: Path
) -> None:
    lab.sandbox.faults.add(method="GET", path="/cases/upload-sessions/", status=503, times=1000)
    lab.start()
    lab.move_in("P001", ct__mha=mha())
    wait_for(lambda: lab.titles() == ["P001"], 30, "it is committed")
    lab.command("backup", str(kept))
    lab.sandbox.faults.clear()
    lab.wait_done("P001")
    receipt = (lab.done / "P001.receipt.json").read_bytes()
    lab.stop()
    lab.command("restore", str(kept), "--replace")
    assert lab.once() == 0, lab.log.read_text()
    assert lab.titles() == ["P001"]
    assert (lab.done / "P001.receipt.json").read_bytes() == receipt
    names = sorted(path.name for path in lab.done.iterdir())
    assert names == ["P001", "P001.receipt.json", "P001.receipt.txt"]
    assert lab.case("P001")["filed_as"] == "P001"


@pytest.mark.long
def test_nothing_is_restored_under_a_running_service(lab: Lab, kept: Path) -> None:
    lab.start()
    wait_for((lab.state / "status.json").exists, 20, "the service runs")
    lab.command("backup", str(kept))
    assert "Another Casedrop service" in lab.command("restore", str(kept), "--replace", code=75)
    assert not list(lab.state.glob("*.replaced-*"))


def made(lab: Lab, schema: int = journal.SCHEMA) -> None:
    """A state directory as a service of some version leaves it."""
    lab.state.mkdir(mode=0o700)
    path = lab.state / journal.NAME
    if schema == journal.SCHEMA:
        journal.Journal(path).close()
        return
    with sqlite3.connect(path) as db:
        db.executescript((JOURNALS / f"schema-{schema}.sql").read_text())
    db.close()


@pytest.mark.parametrize("schema", range(1, journal.SCHEMA))
def test_a_backup_of_an_older_casedrop_is_taken_as_by_an_upgrade(lab: Lab, kept: Path, schema: int) -> None:
    made(lab, schema)
    lab.command("backup", str(kept))
    db = sqlite3.connect(lab.state / journal.NAME)
    assert db.execute("PRAGMA user_version").fetchone() == (schema,)
    db.close()
    lab.command("restore", str(kept), "--replace")
    (checked,) = journal.Journal(lab.state / journal.NAME).under_way("root")
    assert (checked.set_pk, checked.committed) == ("set-1", True)


def test_a_backup_of_a_newer_casedrop_is_refused_before_anything_is_changed(lab: Lab, kept: Path) -> None:
    made(lab)
    lab.command("backup", str(kept))
    before = (lab.state / journal.NAME).read_bytes()

    def newer(name: str, content: bytes) -> bytes:
        if name != backup.JOURNAL:
            return content
        path = lab.top / "newer"
        path.write_bytes(content)
        with sqlite3.connect(path) as db:
            db.execute(f"PRAGMA user_version = {journal.SCHEMA + 1}")
        db.close()
        return path.read_bytes()

    rewritten(kept, newer)
    assert "Install that Casedrop, or a newer one" in lab.command("restore", str(kept), "--replace", code=78)
    assert (lab.state / journal.NAME).read_bytes() == before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def other(path: Path) -> None:
    path.write_bytes(b"no backup" * 100)


def another_tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as tar:
        tar.add(__file__, "a.py")


@pytest.mark.parametrize("damage", [cut, other, another_tar])
def test_what_is_no_whole_backup_is_refused_before_anything_is_changed(
    lab: Lab, kept: Path, damage: Callable[[Path], None]
) -> None:
    made(lab)
    lab.command("backup", str(kept))
    damage(kept)
    before = sorted(lab.state.iterdir())
    assert "no backup of Casedrop, or a damaged one" in lab.command(
        "restore", str(kept), "--replace", code=78
    )
    assert sorted(lab.state.iterdir()) == before


def test_a_backup_is_never_written_over_a_file_or_onto_the_share(lab: Lab, kept: Path) -> None:
    made(lab)
    kept.write_text("of somebody")
    assert "is there already" in lab.command("backup", str(kept), code=78)
    assert kept.read_text() == "of somebody"
    assert "on the share of lung" in lab.command("backup", str(lab.done / "a.tar.gz"), code=78)
    assert "cannot be made" in lab.command("backup", str(lab.top / "none" / "a.tar.gz"), code=78)
    assert not list(lab.done.iterdir())


@pytest.mark.parametrize("size", ["8k", "52k"])
def test_a_backup_onto_a_full_disk_is_said_to_be_that_and_leaves_nothing(lab: Lab, size: str) -> None:
    made(lab)
    small = lab.top / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "small", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        said = lab.command("backup", str(small / "a.tar.gz"), code=78)
        assert f"The backup {small}/a.tar.gz cannot be made (" in said
        assert "Nothing was written." in said
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def backing_up(lab: Lab, kept: Path, size: int, *first: str) -> subprocess.Popen[bytes]:
    """One of so many bytes that has begun, started by the program `first`."""
    made(lab)
    (lab.state / "names.key").touch()
    os.truncate(lab.state / "names.key", size)
    command = [*first, *PROGRAM, "backup", str(kept), "--config", str(lab.config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: list(lab.top.glob(f"{backup.HIDDEN}*")), what="the backup has begun")
    return process


@pytest.mark.parametrize(
    ("number", "more"),
    [
        (signal.SIGTERM, None),
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGHUP, None),
        (signal.SIGHUP, signal.SIGTERM),
    ],
)
def test_a_backup_that_is_ended_leaves_nothing(
    lab: Lab, kept: Path, number: signal.Signals, more: signal.Signals | None
) -> None:
    """Also where it is told so again and again, as by a session that goes and then by who tidies up."""
    with backing_up(lab, kept, 4 << 30, "env", "--default-signal=HUP") as process:
        process.send_signal(number)
        while more and process.poll() is None:
            process.send_signal(more)
    assert process.returncode in {128 + one for one in (number, more) if one}
    assert not list(lab.top.glob(f"{backup.HIDDEN}*"))
    assert not kept.exists()


def test_a_backup_under_nohup_outlives_its_session(lab: Lab, kept: Path) -> None:
    with backing_up(lab, kept, 64 << 20, "env", "--ignore-signal=HUP") as process:
        process.send_signal(signal.SIGHUP)
    assert process.returncode == 0
    assert kept.exists()


def test_a_restore_onto_a_full_disk_names_the_file_that_has_no_room(lab: Lab, kept: Path) -> None:
    made(lab)
    lab.command("backup", str(kept))
    (lab.state / journal.NAME).unlink()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k,mode=700", "small", str(lab.state)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        said = lab.command("restore", str(kept), code=78)
        assert f"{lab.state / journal.NAME} cannot be written (No space left on device)." in said
        assert [path.name for path in lab.state.iterdir()] == ["lock"]
    finally:
        subprocess.run(["umount", lab.state], check=True)


def test_what_an_editor_hides_among_the_pieces_is_neither_read_nor_kept(lab: Lab, kept: Path) -> None:
    made(lab)
    pieces = lab.config.parent / "drops.d"
    pieces.mkdir()
    (pieces / ".lung.toml").write_text("[[drops]\nhalf a")
    (pieces / ".#lung.toml").symlink_to("me@server.4711")
    lab.command("backup", str(kept))
    (lab.state / journal.NAME).unlink()
    lab.config.unlink()
    assert str(lab.config) in lab.command("restore", str(kept), "--replace")


def test_a_configuration_that_is_there_stays_and_says_so(lab: Lab, kept: Path) -> None:
    made(lab)
    lab.command("backup", str(kept))
    lab.configure('title = "{folder} a"')
    text = lab.config.read_text()
    assert "stays as it is" in lab.command("restore", str(kept), "--replace")
    assert lab.config.read_text() == text


def test_another_key_that_is_there_is_kept_beside_that_of_the_backup(lab: Lab, kept: Path) -> None:
    made(lab)
    key = lab.state / "uids.key"
    key.write_bytes(b"a" * 32)
    lab.command("backup", str(kept))
    key.write_bytes(b"b" * 32)
    lab.command("restore", str(kept), "--replace")
    assert key.read_bytes() == b"a" * 32
    (aside,) = lab.state.glob("uids.key.replaced-*")
    assert aside.read_bytes() == b"b" * 32


def test_a_name_in_a_backup_leads_to_no_other_place(lab: Lab, kept: Path) -> None:
    made(lab)
    lab.command("backup", str(kept))
    rewritten(kept, lambda _, content: content)
    with tarfile.open(kept) as tar:
        pieces = {one.name: tar.extractfile(one).read() for one in tar.getmembers()[1:]}  # type: ignore[union-attr]
    kept.unlink()
    pieces["config/drops.d/../../evil.toml"] = b""
    files = []
    for number, content in enumerate(pieces.values()):
        files.append(lab.top / f"piece-{number}")
        files[-1].write_bytes(content)
    made_of = [backup.Piece(name, path) for name, path in zip(pieces, files, strict=True)]
    backup._pack(kept, made_of, files, 0)
    lab.config.unlink()
    lab.command("restore", str(kept), "--replace", code=78)
    assert not list(lab.top.rglob("evil.toml"))


def test_what_root_puts_back_belongs_to_the_service_as_before(lab: Lab, kept: Path) -> None:
    if os.geteuid():
        pytest.skip("only root puts back what is another user's")
    made(lab)
    (lab.state / "uids.key").write_bytes(b"a" * 32)
    os.chown(lab.state, 61234, 61234)
    lab.command("backup", str(kept))
    (lab.state / "uids.key").unlink()
    lab.command("restore", str(kept), "--replace")
    owners = {path.name: path.stat().st_uid for path in lab.state.iterdir() if "replaced" not in path.name}
    assert owners == dict.fromkeys(["journal.sqlite", "lock", "uids.key"], 61234)


def journal_id(path: Path) -> str:
    opened = journal.Journal(path, looking=True)
    try:
        return opened.id
    finally:
        opened.close()


@pytest.mark.long
@pytest.mark.parametrize("number", [2, 4, 7, 10, 11])
def test_a_restore_that_is_cut_short_at_a_rename_is_finished_by_another(
    lab: Lab, kept: Path, number: int
) -> None:
    """And a start in between takes no half of it: it finds no journal, or makes a new one that no root knows."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    made(lab)
    state, key = lab.state / journal.NAME, lab.state / "uids.key"
    key.write_bytes(b"a" * 32)
    kept_id = journal_id(state)
    lab.command("backup", str(kept))
    state.unlink()
    made_since = journal.Journal(state)
    made_since.keep_copy()
    made_since.close()
    since = journal_id(state)
    key.write_bytes(b"b" * 32)
    cut_at = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject=rename:signal=KILL:when={number}"]
    environ = os.environ | {"CASEDROP_CONFIG": str(lab.config)}
    command = [*cut_at, *PROGRAM, "restore", str(kept), "--replace"]
    assert subprocess.run(command, env=environ, check=False, capture_output=True, timeout=60).returncode == -9
    assert not state.exists() or (journal_id(state), key.read_bytes()) in (
        (since, b"b" * 32),
        (kept_id, b"a" * 32),
    )
    lab.command("restore", str(kept), "--replace")
    assert (journal_id(state), key.read_bytes()) == (kept_id, b"a" * 32)
    aside = [path for path in lab.state.glob("*.replaced-*Z") if "copy" not in path.name]
    assert since in {journal_id(path) for path in aside if path.name.startswith(journal.NAME)}
    assert b"b" * 32 in {path.read_bytes() for path in aside}
    assert not list(lab.state.glob(".*restored*"))
