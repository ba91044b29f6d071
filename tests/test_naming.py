"""Keys and tables on disk, the service that uses them, and who can look back."""

from dataclasses import replace
from pathlib import Path

import pytest

from casedrop import pseudonym_key
from casedrop.config import load
from casedrop.errors import ConfigurationError, SetupProblem
from casedrop.model import CodeTable, Drop, FindingState, SocketKind, SocketRule
from casedrop.naming import CREDENTIAL, NamingSource, read_key
from casedrop.pseudonyms import fingerprint, pseudonym
from casedrop.scan import ScanLimits, Scanner
from lab import Lab, mha

CONFIG = """
[pseudonyms]
{key}
[[drops]]
name = "lung"
root = "/srv/casedrop/lung"
reader_study = "lung-2026"
title = "{title}"
[[drops.sockets]]
socket = "ct-image"
files = "*.mha"
"""


def key_of(tmp_path: Path, key_file: Path | None, title: str = "{pseudonym}", **environ: str) -> bytes | None:
    path = tmp_path / "casedrop.toml"
    path.write_text(CONFIG.format(key=f'key_file = "{key_file}"' if key_file else "", title=title))
    return read_key(load(path, {}), environ)


def refusal(tmp_path: Path, key_file: Path | None, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        key_of(tmp_path, key_file, **environ)
    return str(caught.value)


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = pseudonym_key.make(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert pseudonym_key.read(path, private=True) == made
    with pytest.raises(ConfigurationError, match="never replaced"):
        pseudonym_key.make(path)
    assert pseudonym_key.read(path, private=True) == made
    assert pseudonym_key.make(tmp_path / "other") != made
    with pytest.raises(ConfigurationError, match="No such file"):
        pseudonym_key.make(tmp_path / "nowhere" / "key")


def test_an_archive_has_other_pseudonyms_than_the_reader_study_of_the_same_slug() -> None:
    study = Drop("lung", "/lab", "lung-2026", ())
    archive = replace(study, reader_study="", archive="lung-2026")
    made = {NamingSource(one, bytes(32))().pseudonym("P1") for one in (study, archive)}
    assert made == {pseudonym(bytes(32), "lung-2026", "P1"), pseudonym(bytes(32), "archive lung-2026", "P1")}


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o660, 0o601])
def test_a_key_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    made = pseudonym_key.make(path)
    path.chmod(mode)
    assert "chmod 640" in refusal(tmp_path, path)
    path.chmod(0o640)
    assert key_of(tmp_path, path) == made


@pytest.mark.parametrize("content", ["", "00", "zz" * 32, "00" * 33])
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)
    said = refusal(tmp_path, path)
    assert "holds no key" in said
    assert not content or content not in said.replace("/", "")


def test_the_key_comes_from_a_file_or_a_credential_and_two_must_agree(tmp_path: Path) -> None:
    path, credential = tmp_path / "key", tmp_path / CREDENTIAL
    made = pseudonym_key.make(path)
    credential.write_bytes(path.read_bytes())
    place = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert key_of(tmp_path, None, **place) == key_of(tmp_path, path, **place) == made
    credential.unlink()
    pseudonym_key.make(credential)
    assert "different keys" in refusal(tmp_path, path, **place)


def test_without_pseudonyms_no_key_is_needed_and_with_them_it_is(tmp_path: Path) -> None:
    assert key_of(tmp_path, None, title="{folder}") is None
    assert key_of(tmp_path, tmp_path / "gone", title="{folder}") is None
    assert "casedrop keygen" in refusal(tmp_path, None)
    assert "casedrop keygen" in refusal(tmp_path, tmp_path / "gone")


class Desk:
    """A drop with a table of codes, and its scanner that is told the time."""

    def __init__(self, path: Path) -> None:
        self.table = path / "codes.csv"
        self.table.write_text("Folder,Code\nP1,A1\n")
        drop = Drop("lung", str(path), "lung-2026", (SocketRule("ct-image", ("*.mha",)),))
        drop = replace(drop, title="{code}", codes=CodeTable(str(self.table), "Folder", "Code"))
        for name in ("P1", "P2"):
            (path / "drop" / name).mkdir(parents=True)
            (path / "drop" / name / "ct.mha").write_bytes(mha())
        self.scanner = Scanner(drop, ScanLimits(30, 30, 900), lambda: None)
        self.scanner.kinds = {"ct-image": SocketKind("ct-image", "Image", "Image")}
        self.scanner.naming = NamingSource(drop, None)

    def look(self, now: float) -> dict[str, tuple[FindingState, str]]:
        found = self.scanner.scan(now).findings
        plans = {one.folder: one.grouping.plan if one.grouping else None for one in found}
        return {one.folder: (one.state, p.title if (p := plans[one.folder]) else "") for one in found}


def test_a_folder_without_a_row_waits_and_goes_on_once_the_changed_table_was_seen_twice_alike(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path)
    desk.look(0)
    assert desk.look(30) == {"P1": (FindingState.READY, "A1"), "P2": (FindingState.LACKING, "")}
    desk.table.write_text("Folder,Code\nP1,A1\nP2,A")
    desk.look(31)
    desk.table.write_text("Folder,Code\nP1,A1\nP2,A2\n")
    assert desk.look(32)["P2"] == (FindingState.LACKING, "")
    assert desk.look(33)["P2"] == (FindingState.READY, "A2")


def test_a_folder_whose_row_never_comes_is_wrong_in_the_end(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.look(0)
    assert desk.look(901)["P2"] == (FindingState.WRONG, "")


def test_a_table_that_cannot_be_used_stops_the_drop_with_its_reason(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.table.unlink()
    with pytest.raises(SetupProblem, match=r"codes.csv cannot be read \(No such file"):
        desk.look(0)
    desk.table.write_text("Name,Code\n")
    with pytest.raises(SetupProblem, match=r"codes.csv has no column Folder"):
        desk.look(1)
    desk.table.write_text("Folder,Code\nP1,A1\n")
    assert desk.look(2)["P1"][0] is FindingState.SETTLING


def use_pseudonyms(lab: Lab, path: Path) -> None:
    lab.configure('title = "{pseudonym:patient} {visit}"\nfolder = "(?P<patient>[A-Za-z ]+)_(?P<visit>.+)"')
    lab.config.write_text(f'[pseudonyms]\nkey_file = "{path}"\n{lab.config.read_text()}')


@pytest.mark.long
def test_time_points_are_linked_by_a_pseudonym_that_only_this_machine_can_look_back(lab: Lab) -> None:
    path = lab.top / "key"
    said = lab.command("keygen", str(path))
    mark = fingerprint(pseudonym_key.read(path, private=True))
    assert mark in said
    use_pseudonyms(lab, path)
    assert f"ok The key of pseudonyms has the fingerprint {mark}" in lab.command("check", "--offline", code=0)
    assert not (lab.state / "journal.sqlite").exists()
    for number, name in enumerate(("Jane Doe_1", "Jane Doe_2", "Someone Else_1")):
        lab.move_in(name, ct__mha=mha(fill=bytes([number])))
    assert lab.once() == 0, lab.status()
    key = pseudonym_key.read(path, private=True)
    jane, other = (pseudonym(key, "lung-2026", name) for name in ("Jane Doe", "Someone Else"))
    assert sorted(lab.titles()) == sorted([f"{jane} 1", f"{jane} 2", f"{other} 1"])
    (lab.drop / "Jane Doe_3").mkdir()
    every = lab.command("pseudonyms", "lung")
    assert f"Jane Doe_1 {jane} 1 http" in every
    assert f"Jane Doe_3 {jane} 3 drop/" in every
    assert lab.command("pseudonyms", "lung", f"{jane} 2").startswith("Jane Doe_2 ")
    assert lab.command("pseudonyms", "lung", "Someone Else_1").split()[2] == other
    assert "No folder" in lab.command("pseudonyms", "lung", "nobody", code=1)
    assert "known are lung" in lab.command("pseudonyms", "breast", code=78)
    assert "Jane" not in lab.log.read_text()


@pytest.mark.long
def test_another_key_than_the_first_never_makes_a_title(lab: Lab) -> None:
    first, second = lab.top / "first", lab.top / "second"
    pseudonym_key.make(first)
    pseudonym_key.make(second)
    use_pseudonyms(lab, first)
    assert lab.once() == 0
    use_pseudonyms(lab, second)
    lab.move_in("Jane Doe_1", ct__mha=mha())
    assert lab.once() == 78
    assert lab.titles() == []
    said = lab.command("check", "--offline", code=78)
    assert "not the one used so far" in said
    assert fingerprint(pseudonym_key.read(first, private=True)) in said
    assert second.read_text().strip() not in said + lab.log.read_text()
    use_pseudonyms(lab, first)
    assert lab.once() == 0


@pytest.mark.long
def test_a_plan_offline_shows_a_pseudonyms_form_where_the_key_may_not_be_read(lab: Lab) -> None:
    use_pseudonyms(lab, lab.top / "gone")
    folder = lab.folder("Jane Doe_1", ct__mha=mha())
    said = lab.command("plan", str(folder), "--offline")
    assert 'Display set "????-????-????-???? 1"' in said
    assert "casedrop keygen" in lab.command("plan", str(folder), code=78)


@pytest.mark.long
def test_codes_come_from_a_table_and_check_tells_who_else_could_read_it(lab: Lab) -> None:
    table = lab.top / "codes.csv"
    table.write_text("Folder;Code\nJane Doe;A 17\n")
    table.chmod(0o644)
    lab.configure(f'title = "{{code}}"\ncodes = {{ file = "{table}", folder = "Folder", code = "Code" }}')
    said = lab.command("check", "--offline", code=78)
    assert "can be read: 1 row; a folder's row is found by Folder." in said
    assert f"chmod 640 {table}" in said
    table.chmod(0o640)
    lab.command("check", "--offline")
    lab.move_in("Jane Doe", ct__mha=mha())
    assert lab.once() == 0, lab.status()
    assert lab.titles() == ["A 17"]
    assert lab.command("pseudonyms", "lung", "a 17").startswith("Jane Doe A 17 http")
    lab.move_in("John Doe", ct__mha=mha(9))
    assert lab.once() == 1
    assert "no code" in lab.wait_failed("John Doe")
