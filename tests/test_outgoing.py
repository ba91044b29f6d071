"""What the ledger tells of folders that went through the running service."""

import csv
import hashlib
import io
import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from lab import NO_IMAGE, Lab, mha
from test_shares import fill_up, small_disk
from waiting import wait_for

pytestmark = pytest.mark.long

SCORE = b'{"score": 1}'


def ledger(lab: Lab, setting: str) -> None:
    lab.config.write_text(lab.config.read_text().replace("[settle]", f"[ledger]\n{setting}\n[settle]"))


def sockets(record: dict[str, Any]) -> list[str]:
    return [one["socket"] for one in record["sockets"]]


def sent(lab: Lab) -> list[str]:
    """Requests that carry anything of a folder to the platform or its storage."""
    return [path for method, path, _ in lab.sandbox.requests if method != "GET"]


def says(lab: Lab, folder: str, words: str) -> bool:
    return words in lab.case(folder).get("why", "")


def test_a_done_case_is_told_from_its_file_to_its_display_set_and_proved(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha(), score__json=SCORE)
    assert lab.once() == 0
    assert lab.fates() == ["began", "confirmed"]
    began, ended = lab.records()
    (file,) = began["sockets"][0]["files"]
    digest = hashlib.sha256(mha()).hexdigest()
    assert (file["path"], file["sha256"], file["sources"][0]["sha256"]) == ("ct.mha", digest, digest)
    assert sockets(began) == ["ct-image", "some-score"]
    assert ended["holds"] == ["ct-image", "some-score"]
    (made,) = lab.sandbox.display_sets("lung-2026")
    assert f"display-sets/{made.pk}/" in ended["display_set"]
    assert "2 records, none missing or changed" in lab.command("ledger", "--verify")
    assert "lung/P001: confirmed" in lab.command("ledger")
    said = lab.command("where", "P001")
    for words in (
        ended["display_set"],
        "ct-image and some-score",
        "API deletes nothing",
        "by hand",
        "24 hours",
    ):
        assert words in said
    assert "Nothing was sent" in lab.command("where", "P002", code=1)


def test_a_failed_import_and_its_retry_are_two_attempts_each_with_what_it_sent(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=NO_IMAGE, score__json=SCORE)
    assert lab.once() == 1
    (lab.failed / "P001" / "ct.mha").write_bytes(mha())
    lab.command("retry", "lung/P001")
    assert lab.once() == 0
    assert lab.fates() == ["began", "failed", "began", "confirmed"]
    first, failed, second, confirmed = lab.records()
    assert failed["why"] == ["import-failed"]
    assert sockets(first) == ["ct-image", "some-score"]
    assert sockets(second) == ["ct-image"]
    assert second["display_set"] == failed["display_set"] == confirmed["display_set"] != ""
    rows = list(csv.DictReader(io.StringIO(lab.output("ledger", "--csv"))))
    assert [(row["socket"], row["fate"]) for row in rows] == [
        ("ct-image", "failed"),
        ("some-score", "failed"),
        ("ct-image", "confirmed"),
    ]
    assert rows[0]["sent_sha256"] == hashlib.sha256(NO_IMAGE).hexdigest()


def test_what_sends_nothing_leaves_no_record(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha())
    lab.move_in("P002", odd__txt=b"", ct__mha=mha(9))
    assert lab.once() == 1
    assert lab.fates() == ["began", "confirmed"]
    (lab.done / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0
    assert lab.fates() == ["began", "confirmed"]


def test_an_amendment_in_two_requests_is_one_attempt(lab: Lab) -> None:
    lab.configure('existing_display_set = "replace"', quiet=0.1)
    lab.move_in("P001", ct__mha=mha(), score__json=SCORE)
    assert lab.once() == 0
    (lab.done / "P001").rename(lab.desk / "first")
    lab.move_in("P001", ct__mha=mha(9), score__json=b'{"score": 2}')
    assert lab.once() == 0
    assert lab.fates() == ["began", "confirmed"] * 2
    assert sockets(lab.records()[2]) == ["ct-image", "some-score"]
    assert lab.records()[2]["display_set"] == lab.records()[1]["display_set"]


def test_a_folder_changed_while_it_is_sent_is_given_back_and_begins_anew(lab: Lab) -> None:
    lab.configure(quiet=0.1)

    def change() -> None:
        (lab.drop / "P001" / "ct.mha").write_bytes(mha(9))

    lab.sandbox.faults.add(method="POST", path="display-sets/$", status=0, call=change)
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0
    assert lab.fates() == ["began", "given back", "began", "confirmed"]
    assert lab.records()[1]["display_set"] == ""


def test_a_deleted_display_set_ends_the_attempt_and_the_new_one_is_another(lab: Lab) -> None:
    lab.start()
    lab.sandbox.hold_imports()
    lab.move_in("P001", ct__mha=mha())
    wait_for(lambda: "checked" in lab.case("P001").get("state", ""), 30, "it is being checked")
    (made,) = lab.sandbox.display_sets("lung-2026")
    assert made.pk in lab.command("where", "P001"), "under way, the journal knows it"
    lab.sandbox.delete_display_set(made.pk)
    wait_for(lambda: says(lab, "P001", "casedrop retry"), 60, "a person is asked")
    lab.command("retry", "lung/P001")
    lab.sandbox.release_imports()
    lab.wait_done("P001")
    wait_for(lambda: len(lab.fates()) == 4, what="the end is put down")
    assert lab.fates() == ["began", "display set deleted", "began", "confirmed"]
    assert "(was deleted already)" in lab.command("where", "P001")


def test_neither_the_token_nor_a_signed_address_is_in_it_and_it_is_for_nobody_else(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha(), r__pdf=b"%PDF")
    assert lab.once() == 0
    path = lab.state / "ledger.jsonl"
    for secret in (lab.sandbox.token, "X-Amz", "Signature", "uploads/", "Bearer"):
        assert secret not in path.read_text()
    assert not path.stat().st_mode & 0o077


@pytest.mark.parametrize("name", ["Jane Doe", "Müller"])
def test_hidden_names_are_found_by_their_code(lab: Lab, name: str) -> None:
    ledger(lab, 'names = "hidden"')
    lab.move_in(name, janes_ct__mha=mha())
    assert lab.once() == 0
    for word in (name, "janes_ct", ascii(name)[1:-1]):
        assert word not in (lab.state / "ledger.jsonl").read_text()
    assert name not in lab.command("ledger", "--csv")
    assert "confirmed" in lab.command("where", name)
    assert "confirmed" in lab.command("ledger", "--patient", name)
    (lab.state / "names.key").write_bytes(os.urandom(32))
    assert "names of 1 attempt were hidden with another key" in lab.command("where", name, code=1)


def test_names_are_found_by_patterns_and_what_only_begins_alike_is_said(lab: Lab) -> None:
    for number, name in enumerate(("P001_1", "P001_2", "P0012")):
        lab.move_in(name, ct__mha=mha(fill=bytes([number])))
    assert lab.once() == 0
    assert "Not counted, though their names begin alike" in lab.command("where", "P001_", code=1)
    said = lab.command("where", "P001_*")
    assert said.count("confirmed") == 2
    assert "P0012" not in said
    assert "P001_1" in lab.command("ledger", "--since", "2020-01-01")
    assert "P001_1" not in lab.command("ledger", "--since", "2120-01-01")


@pytest.mark.parametrize("kind", ["directory", "full disk"])
def test_where_the_ledger_cannot_be_written_nothing_is_sent_and_it_goes_on_by_itself(
    lab: Lab, kind: str
) -> None:
    lab.state.mkdir()
    if kind == "directory":
        (lab.state / "ledger.jsonl").mkdir()
        _waits_until(lab, (lab.state / "ledger.jsonl").rmdir)
        return
    with small_disk(lab.top / "small", "64k"):
        ballast = lab.top / "small" / "ballast"
        (lab.state / "ledger.jsonl").symlink_to(lab.top / "small" / "ledger.jsonl")
        (lab.top / "small" / "ledger.jsonl").touch()
        fill_up(ballast)
        _waits_until(lab, ballast.unlink)


def _waits_until(lab: Lab, mend: Callable[[], None]) -> None:
    lab.start()
    lab.move_in("P001", ct__mha=mha())
    wait_for(lambda: says(lab, "P001", "so nothing is sent"), 30, "it says why it waits")
    assert sent(lab) == []
    mend()
    lab.wait_done("P001", 60)
    lab.stop()
    assert lab.fates() == ["began", "confirmed"]
    assert "none missing or changed" in lab.command("ledger", "--verify")


def test_a_change_a_cut_end_and_a_removed_ledger_are_found(lab: Lab) -> None:
    assert "There is no journal" in lab.command("ledger", "--verify", code=1)
    for number in range(2):
        lab.move_in(f"P00{number}", ct__mha=mha(fill=bytes([number])))
    assert lab.once() == 0
    path = lab.state / "ledger.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"P001"', b'"P009"', 1))
    assert "is changed or damaged" in lab.command("ledger", "--verify", code=1)
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    assert "The journal knows of record 4" in lab.command("ledger", "--verify", code=1)
    path.unlink()
    assert "The journal knows of record 4" in lab.command("ledger", "--verify", code=1)
    path.write_bytes(whole)
    lab.command("ledger", "--verify")


def test_an_older_journal_put_back_beside_the_ledger_learns_from_it(lab: Lab) -> None:
    lab.configure(quiet=0.1)
    old = lab.top / "old"

    def keep() -> None:
        shutil.copytree(lab.state, old)

    lab.sandbox.faults.add(method="POST", path="display-sets/$", status=0, call=keep)
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0
    kept = (lab.state / "ledger.jsonl").read_bytes()
    shutil.rmtree(lab.state)
    shutil.copytree(old, lab.state)
    (lab.state / "ledger.jsonl").write_bytes(kept)
    lab.once()
    assert lab.fates() == ["began", "confirmed"]
    assert "none missing or changed" in lab.command("ledger", "--verify")
