"""What `casedrop check` tells an administrator: all that is wrong at once, each with what mends it."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from casedrop import config, rights
from casedrop.findings import Finding
from casedrop.inspection import check_all
from casedrop.platform_check import clock_findings
from casedrop.root_check import root_findings, watch_findings
from casedrop.unit_check import unit_findings
from forked import PROGRAM
from lab import Lab, mha
from waiting import wait_for

OTHER = 61234
"""No user of any system, as a lab's Samba users are to the service."""

JSON = {"Content-Type": "application/json"}

UNIT = Path(__file__).parent.parent / "systemd" / "casedrop.service"


def checked(lab: Lab, code: int = 0) -> list[dict[str, Any]]:
    """The findings; each that is not well says what mends it."""
    found: list[dict[str, Any]] = json.loads(lab.output("check", "--json", code=code))
    assert all(list(one) == ["level", "what", "text", "mend"] for one in found)
    assert [one for one in found if one["level"] != "ok" and not one["mend"]] == []
    return found


def of_root(lab: Lab) -> list[Finding]:
    settings = config.load(lab.config, {})
    return root_findings(settings, settings.drops[0])


def not_ok(found: list[Finding]) -> list[Finding]:
    return [one for one in found if one.level != "ok"]


def only_root() -> None:
    if os.geteuid():
        pytest.skip("only root can be another user")


@contextlib.contextmanager
def mounted(*arguments: str | Path) -> Iterator[None]:
    """A mount of a real file system at the last of the arguments."""
    tried = subprocess.run(["mount", *map(str, arguments)], check=False, capture_output=True)
    if tried.returncode:
        pytest.skip(f"cannot mount here: {tried.stderr.decode()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(arguments[-1])], check=True)


def test_all_is_said_at_once_each_with_what_mends_it_and_for_programs(lab: Lab) -> None:
    lab.write_token("0" * 64)
    (lab.root / "casedrop-status.html").write_text("of somebody")
    (lab.root / "done").rename(lab.root / "elsewhere")
    lab.configure(
        "title = '{table.scores.T}'\n[[drops.tables]]\nname = 'scores'\nfile = '/nowhere.csv'\n"
        "key_columns = { folder = 'F' }"
    )
    wrong = [one for one in checked(lab, code=78) if one["level"] == "problem"]
    said = " ".join(one["text"] for one in wrong)
    for text in ("does not accept the token", "drop/, done/ or failed/ is missing", "nowhere.csv"):
        assert text in said
    assert "casedrop-status.html" in said
    assert len(wrong) >= 4


def test_a_good_set_up_has_no_problem_and_leaves_no_trace(lab: Lab) -> None:
    before = sorted(lab.root.rglob("*"))
    found = checked(lab)
    assert {one["level"] for one in found} == {"ok"}
    said = " ".join(one["text"] for one in found)
    for text in (
        "are needed",
        "can be moved to done/ and failed/",
        "tells of changes as they happen",
        "can be asked of the file system",
        "The token belongs to",
        "within five minutes",
        "holds nothing yet",
    ):
        assert text in said
    assert sorted(lab.root.rglob("*")) == before
    assert not lab.state.exists()


def test_a_configuration_with_mistakes_is_told_to_programs_too(lab: Lab) -> None:
    lab.config.write_text("[state]\ndirectry = 1\n")
    found = checked(lab, code=78)
    assert {one["what"] for one in found} == {"configuration"}
    assert len(found) > 1


def test_each_mistake_of_the_configuration_names_the_file_that_is_to_be_mended(lab: Lab) -> None:
    pieces = lab.config.parent / "drops.d"
    pieces.mkdir()
    (pieces / "brain.toml").write_text('[[drops]]\nname = "brain"\nroot = "srv"\nnmae = 1\n')
    lab.config.write_text(lab.config.read_text() + "\n[ledger]\nnmaes = 1\n")
    mends = {one["text"].partition(": ")[0]: one["mend"] for one in checked(lab, code=78)}
    assert mends["ledger"].endswith(f"Mend {lab.config}.")
    assert mends["drops.d/brain.toml"].endswith(f"Mend {pieces}/brain.toml.")
    (pieces / "brain.toml").write_text("[[drops]]\nroot = srv\n")
    assert [one["mend"] for one in checked(lab, code=78)] == [f"Mend {pieces}/brain.toml."]


def test_a_drop_that_rehearses_is_named(lab: Lab) -> None:
    lab.configure('mode = "rehearse"')
    assert 'ATTENTION Drop "lung" rehearses' in lab.command("check", "--offline")


def test_a_folder_that_only_its_owner_may_change_is_named_and_those_of_a_group_are_not(lab: Lab) -> None:
    only_root()
    for name, mode in (("mine", 0o755), ("closed", 0o700), ("shared", 0o777), (".DS_Store", 0o700)):
        folder = lab.drop / name
        folder.mkdir()
        folder.chmod(mode)
    for path in (lab.top, *lab.top.parents[:3], lab.root):
        path.chmod(path.stat().st_mode | 0o055)
    for path in (lab.drop, lab.done, lab.failed):
        path.chmod(0o777)
    said = as_other(lab)
    assert "closed and mine cannot be read or moved by 61234" in said
    assert "setfacl -R -m u:61234:rwX,d:u:61234:rwX" in said
    assert "shared" not in said
    subprocess.run(["setfacl", "-R", "-m", f"u:{OTHER}:rwX", str(lab.drop)], check=True)
    assert "cannot be read or moved" not in as_other(lab)


def test_under_a_sticky_directory_nobody_moves_the_folders_of_others(lab: Lab) -> None:
    only_root()
    (lab.drop / "P001").mkdir()
    (lab.drop / "P001").chmod(0o777)
    for path in (lab.top, *lab.top.parents[:3], lab.root):
        path.chmod(path.stat().st_mode | 0o055)
    for path in (lab.done, lab.failed):
        path.chmod(0o777)
    lab.drop.chmod(0o1777)
    assert "P001 cannot be read or moved" in as_other(lab)


def as_other(lab: Lab) -> str:
    """By a fork, since another user may not read the interpreter of root."""
    _offline(lab)  # so that all is imported
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(OTHER, OTHER, OTHER)
            os.setresuid(OTHER, OTHER, OTHER)
            os.write(writing, _offline(lab).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    os.waitpid(child, 0)
    assert "The configuration is well formed" in said
    return said


def _offline(lab: Lab) -> str:
    found = check_all(config.load(lab.config, {}), lab.config, {}, offline=True)
    return "\n".join(one.line for one in found)


def test_drop_and_done_on_two_mounts_of_one_disk_are_told(lab: Lab) -> None:
    with mounted("--bind", lab.done, lab.done):
        (wrong,) = not_ok(of_root(lab))
    assert (wrong.level, "separate mounts" in wrong.text) == ("problem", True)
    assert wrong.mend == "Mount their parent instead."
    assert not list(lab.root.rglob(".casedrop-probe*"))


def test_a_share_that_may_not_be_written_is_told_with_the_command_that_opens_it(lab: Lab) -> None:
    with mounted("--bind", lab.root, lab.root):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(lab.root)], check=True)
        (wrong,) = not_ok(of_root(lab))
    assert "Read-only file system" in wrong.text
    assert wrong.mend.startswith("sudo setfacl")


def test_a_mount_that_tells_of_no_changes_of_others_is_said_to_be_rescanned(lab: Lab) -> None:
    if not shutil.which("bindfs"):
        pytest.skip("bindfs is not installed")
    there = lab.top / "there"
    there.mkdir()
    if subprocess.run(["bindfs", lab.root, there], check=False, capture_output=True).returncode:
        pytest.skip("bindfs cannot mount here")
    try:
        lab.config.write_text(lab.config.read_text().replace(str(lab.root), str(there)))
        said = " ".join(one.line for one in not_ok(of_root(lab)))
    finally:
        subprocess.run(["umount", "-l", there], check=True)
    assert "seen by the rescan, every 0.5 s" in said
    assert "cannot tell whether a file is still being written" in said
    assert "PROBLEM" not in said


def test_a_small_disk_is_told_before_no_folder_is_taken(lab: Lab) -> None:
    lab.state.mkdir(mode=0o700)
    with mounted("-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", lab.state):
        wrong = [one for one in checked(lab, code=78) if one["level"] == "problem"]
    assert ["state.min_free" in one["text"] for one in wrong] == [True]


def test_what_others_copy_must_be_handed_down_to_the_group(lab: Lab) -> None:
    assert not not_ok(of_root(lab))
    lab.drop.chmod(0o775)
    (said,) = not_ok(of_root(lab))
    assert "neither a default ACL nor setgid" in said.text
    lab.drop.chmod(0o2775)
    assert not not_ok(of_root(lab))
    lab.drop.chmod(0o0775)
    os.chmod(lab.drop, 0o775)
    if subprocess.run(["setfacl", "-d", "-m", "u:0:rwX", lab.drop], check=False).returncode == 0:
        assert not not_ok(of_root(lab))


def test_a_limit_of_inotify_is_told_with_the_command_that_lifts_it(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = tmp_path / "sys" / "fs" / "inotify"
    limits.mkdir(parents=True)
    (limits / "max_user_watches").write_text("4\n")
    (limits / "max_user_instances").write_text("128\n")
    monkeypatch.setattr("casedrop.root_check.PROC", str(tmp_path / "sys"))
    drops = config.load(lab.config, {}).drops
    assert [one.level for one in watch_findings(drops)] == ["ok"]
    for name in "abc":
        (lab.drop / name).mkdir()
    (said,) = watch_findings(drops)
    assert said.level == "attention"
    assert "fs.inotify.max_user_watches=524288" in said.mend


@pytest.mark.long
def test_no_watch_to_be_had_is_told_and_folders_can_be_moved_all_the_same(lab: Lab) -> None:
    command = f"echo 0 > /proc/sys/user/max_inotify_watches && exec {sys.executable} -c '{PROGRAM[2]}' check"
    environ = os.environ | {"CASEDROP_CONFIG": str(lab.config)}
    found = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", command], env=environ, check=False, capture_output=True, text=True
    )
    if "unshare" in found.stderr or "max_inotify_watches" in found.stderr:
        pytest.skip("no user namespace to be had here")
    assert "a limit of inotify is met" in found.stdout
    assert "folders can be moved" in found.stdout


@pytest.mark.long
def test_a_clock_that_is_wrong_is_told_with_the_command_that_sets_it(lab: Lab) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("libfaketime is not installed (package faketime)")
    environ = os.environ | {
        "CASEDROP_CONFIG": str(lab.config),
        "LD_PRELOAD": str(library),
        "FAKETIME": "-20m",
        "DONT_FAKE_MONOTONIC": "1",
    }
    found = subprocess.run([*PROGRAM, "check"], env=environ, check=False, capture_output=True, text=True)
    assert "ATTENTION This server's clock is 20 minutes behind Grand Challenge's" in found.stdout
    assert "timedatectl set-ntp true" in found.stdout
    assert found.returncode == 0


def test_a_clock_is_compared_both_ways_and_only_where_the_platform_tells_its_own() -> None:
    assert [one.level for one in clock_findings(299)] == ["ok"]
    (said,) = clock_findings(-3600)
    assert "60 minutes ahead of" in said.text
    assert list(clock_findings(None)) == []


@pytest.mark.long
def test_who_may_only_look_at_a_study_is_told_so_without_a_change_of_it(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0
    before = lab.values("P001")
    assert "may change what is in lung-2026" in lab.command("check")
    lab.sandbox.faults.add(method="PATCH", path="/display-sets/", status=403, headers=JSON)
    said = lab.command("check", code=78)
    assert "may see lung-2026, but not change what is in it. Ask its editors" in said
    assert lab.values("P001") == before


@pytest.mark.long
def test_a_running_service_of_another_version_or_that_has_ended_is_told(lab: Lab) -> None:
    lab.start()
    wait_for((lab.state / "status.json").exists, 20, "the service runs")
    assert [one for one in checked(lab) if one["what"] == "service"] == []
    lab.stop()
    (ended,) = [one for one in checked(lab) if one["what"] == "service"]
    assert ended["mend"] == "sudo systemctl start casedrop"
    path = lab.state / "status.json"
    path.write_text(json.dumps(lab.report() | {"casedrop": "0.0.9", "pid": os.getpid()}))
    (older,) = [one for one in checked(lab) if one["what"] == "service"]
    assert "The running service is Casedrop 0.0.9" in older["text"]
    assert older["mend"] == "sudo systemctl restart casedrop"


@pytest.mark.long
def test_a_probe_that_a_killed_check_left_is_no_case_and_goes_with_the_next(lab: Lab) -> None:
    for path in (lab.drop, lab.done):
        (path / ".casedrop-probe").mkdir()
    lab.move_in("P001", ct__mha=mha())
    lab.start()
    lab.wait_done("P001")
    for _ in range(3):
        lab.command("check")
    assert [one["folder"] for one in lab.status()["cases"]] == ["P001"]
    lab.stop()
    assert not list(lab.root.rglob(".casedrop-probe"))


def test_a_check_by_a_newer_casedrop_leaves_the_journal_to_the_older_one_that_runs(lab: Lab) -> None:
    lab.state.mkdir(mode=0o700)
    path = lab.state / "journal.sqlite"
    db = sqlite3.connect(path)
    db.executescript((Path(__file__).parent / "journals" / "schema-3.sql").read_text())
    db.close()
    assert "brought forward at the next start" in lab.command("check")
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (3,)
    db.close()


def test_root_sees_with_the_rights_of_the_services_user(lab: Lab) -> None:
    only_root()
    for path in (lab.top, *lab.top.parents[:3], lab.root):
        path.chmod(path.stat().st_mode | 0o055)
    for path in (lab.drop, lab.done, lab.failed):
        path.chmod(0o777)
    (lab.drop / "P001").mkdir()
    assert "each folder there now can be moved (1)" in lab.command("check", "--offline")
    lab.state.mkdir()
    os.chown(lab.state, OTHER, OTHER)
    said = lab.command("check", "--offline", code=78)
    assert "P001 cannot be read or moved by 61234" in said
    assert "setfacl -R -m u:61234:rwX" in said


def test_who_is_neither_root_nor_the_services_user_is_told_to_ask_as_root(lab: Lab) -> None:
    only_root()
    lab.state.mkdir()
    for path in (lab.top, *lab.top.parents[:3]):
        path.chmod(path.stat().st_mode | 0o055)
    said = as_other(lab)
    assert f"as root: sudo {rights.program()} check" in said
    assert "PROBLEM" not in said
    assert "setfacl" not in said


def of_unit(
    lab: Lab, tmp_path: Path, root: str, *changes: tuple[str, str], dropin: str = ""
) -> list[Finding]:
    """What is said of the unit as it is shipped, with changes, of a configuration with this root."""
    text = UNIT.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    there = tmp_path / "units"
    shutil.rmtree(there, ignore_errors=True)
    (there / "casedrop.service.d").mkdir(parents=True)
    (there / "casedrop.service").write_text(text)
    (there / "casedrop.service.d" / "more.conf").write_text(dropin)
    lab.configure()
    lab.config.write_text(
        lab.config.read_text().replace(str(lab.root), root).replace(str(lab.state), "/var/lib/casedrop")
    )
    settings = config.load(lab.config, {})
    return list(unit_findings(settings, Path("/etc/casedrop/casedrop.toml"), [str(there)]))


def test_the_unit_as_it_is_shipped_fits_the_roots_it_is_made_for(lab: Lab, tmp_path: Path) -> None:
    assert [one.level for one in of_unit(lab, tmp_path, "/srv/casedrop/lung")] == ["ok"]


def test_a_root_that_the_units_sandbox_closes_is_told_with_the_lines_that_open_it(
    lab: Lab, tmp_path: Path
) -> None:
    (said,) = of_unit(lab, tmp_path, "/data/share/lung")
    assert "ProtectSystem=strict, and no ReadWritePaths holds it" in said.text
    assert "ReadWritePaths=/data/share\\n" in said.mend
    dropin = "[Service]\nReadWritePaths=\\\n  /data/share\n"
    assert [one.level for one in of_unit(lab, tmp_path, "/data/share/lung", dropin=dropin)] == ["ok"]
    (said,) = of_unit(lab, tmp_path, "/home/lung", ("ProtectSystem=strict", "ProtectSystem=full"))
    assert "ProtectHome=yes" in said.text


def test_a_unit_with_a_mount_for_each_folder_of_a_root_is_told(lab: Lab, tmp_path: Path) -> None:
    paths = "ReadWritePaths=/srv/casedrop/lung/drop /srv/casedrop/lung/done /srv/casedrop/lung/failed"
    (said,) = of_unit(lab, tmp_path, "/srv/casedrop/lung", ("ReadWritePaths=-/srv/casedrop", paths))
    assert "mounts of their own, so no folder can be moved" in said.text
    assert "ReadWritePaths=\\nReadWritePaths=/srv/casedrop\\n" in said.mend
    reset = "[Service]\nReadWritePaths=\nReadWritePaths=/srv/casedrop\n"
    found = of_unit(
        lab, tmp_path, "/srv/casedrop/lung", ("ReadWritePaths=-/srv/casedrop", paths), dropin=reset
    )
    assert [one.level for one in found] == ["ok"]


def test_a_unit_without_the_right_to_ask_for_writers_is_told(lab: Lab, tmp_path: Path) -> None:
    changed = ("AmbientCapabilities=CAP_LEASE", "AmbientCapabilities=")
    found = of_unit(lab, tmp_path, "/srv/casedrop/lung", changed)
    assert [one.level for one in found] == ["ok", "attention"]


def test_a_unit_of_another_configuration_is_not_looked_at(lab: Lab, tmp_path: Path) -> None:
    of_unit(lab, tmp_path, "/srv/casedrop/lung")
    assert list(unit_findings(config.load(lab.config, {}), lab.config, [str(tmp_path / "units")])) == []


def test_each_instance_is_looked_at_by_the_unit_of_instances(lab: Lab, tmp_path: Path) -> None:
    there = tmp_path / "units"
    there.mkdir()
    shutil.copy(UNIT.with_name("casedrop@.service"), there)
    lab.config.write_text(lab.config.read_text().replace(str(lab.root), "/data/lung"))
    path = Path("/etc/casedrop/second/casedrop.toml")
    elsewhere = list(unit_findings(config.load(lab.config, {}), path, [str(there)]))
    assert "commands by this configuration look for it in" in elsewhere[1].text
    assert 'Write directory = "/var/lib/casedrop/second" under [state]' in elsewhere[1].mend
    lab.config.write_text(lab.config.read_text().replace(str(lab.state), "/var/lib/casedrop/second"))
    settings = config.load(lab.config, {})
    (said,) = unit_findings(settings, path, [str(there)])
    assert said.text.startswith("casedrop@second.service: the service cannot write in /data/lung")
    own = there / "casedrop@second.service.d"
    own.mkdir()
    (own / "roots.conf").write_text("[Service]\nReadWritePaths=/data/lung\n")
    assert [one.level for one in unit_findings(settings, path, [str(there)])] == ["ok"]


def test_a_state_directory_that_everyone_may_change_is_told(lab: Lab) -> None:
    lab.state.mkdir()
    lab.state.chmod(0o777)
    assert f"sudo chmod o-rwx {lab.state}" in lab.command("check", "--offline", code=78)
    lab.state.chmod(0o710)
    lab.command("check", "--offline")


def test_another_programs_database_in_the_journals_place_hides_no_other_finding(lab: Lab) -> None:
    lab.state.mkdir()
    db = sqlite3.connect(lab.state / "journal.sqlite")
    db.executescript("PRAGMA user_version = 3; CREATE TABLE songs (name TEXT);")
    db.close()
    said = lab.command("check", "--offline", code=78)
    assert "The journal cannot be read (no such table: meta)." in said
    assert "Folders to be watched, drop/ among them: 1;" in said
