"""Folders and files with the names and shapes people's computers make."""

import os
import unicodedata
from pathlib import Path

import pytest

from lab import Lab, mha

pytestmark = pytest.mark.long

NAMES = [
    "Jane Doe",
    "-rf",
    "Größe ‘1’ \"quoted\" & 'more'",  # noqa: RUF001
    unicodedata.normalize("NFD", "Müller"),
    "tab\tand\nnewline",
    "CON",
    "aux.txt",
    "a:b?c*d|e",
    "$(touch x);`id`",
    "%41 percent",
    "x" * 255,
    "ü" * 127,
    ".hidden",
    "case",
    "CASE",
    "P001.receipt.json",
    "done",
]


def test_folders_of_any_name_are_done_or_refused_in_words_and_each_once(lab: Lab) -> None:
    for number, name in enumerate(NAMES):
        path = lab.drop / name
        path.mkdir()
        (path / f"{name[:50]}.mha").write_bytes(mha(fill=bytes([number])))
    bad = os.fsdecode(b"caf\xe9")
    (lab.drop / bad).mkdir()
    (lab.drop / bad / "ct.mha").write_bytes(mha(9))
    assert lab.once() == 1
    done = {one.name for one in lab.done.iterdir() if one.is_dir()}
    failed = {one.name for one in lab.failed.iterdir() if one.is_dir()}
    assert done | failed == {*NAMES, bad}, lab.status()
    assert failed == {"tab\tand\nnewline", bad}
    assert len(lab.titles()) == len(set(lab.titles())) == len(done)
    assert len([one for one in lab.done.iterdir() if one.is_file()]) == 2 * len(done)
    log = lab.log.read_text()
    assert not [name for name in ("Jane Doe", "Größe", "percent", "xxxxx") if name in log]


def test_two_folders_that_differ_only_in_how_letters_are_composed_are_one_title(lab: Lab) -> None:
    for number, form in enumerate(("NFC", "NFD")):
        path = lab.drop / unicodedata.normalize(form, "Müller")  # type: ignore[arg-type]
        path.mkdir()
        (path / "ct.mha").write_bytes(mha(fill=bytes([number])))
    assert lab.once() == 1
    assert lab.titles() == ["Müller"]
    (reason,) = lab.failed.glob("*.reason.txt")
    assert "belongs to the folder" in " ".join(reason.read_text().split())


def test_a_deep_tree_hard_links_and_a_sparse_file_are_taken_as_they_are(lab: Lab, tmp_path: Path) -> None:
    deep = lab.folder("P001") / "/".join(f"level{number}" for number in range(20))
    deep.mkdir(parents=True)
    (deep / "ct.mha").write_bytes(mha())
    os.link(deep / "ct.mha", tmp_path / "elsewhere.mha")
    with (lab.desk / "P001" / "r.pdf").open("wb") as file:
        file.write(b"%PDF")
        file.seek(20 << 20)
        file.write(b"end")
    (lab.desk / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0, lab.status()
    assert lab.values("P001").keys() == {"ct-image", "report-pdf"}
