"""People change a folder at any moment between its settling and its filing: what is done is what was sent."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from lab import Lab, mha

pytestmark = [pytest.mark.long, pytest.mark.one_in_ten]

FILES = {"ct__mha": mha(), "r__pdf": b"%PDF first", "score__json": b'{"score": 1}'}


def changed(folder: Path) -> None:
    (folder / "r.pdf").write_bytes(b"%PDF second")


def replaced(folder: Path) -> None:
    (folder.parent.parent / "new").write_bytes(b"%PDF second")
    (folder.parent.parent / "new").rename(folder / "r.pdf")


def truncated(folder: Path) -> None:
    with (folder / "ct.mha").open("rb+") as file:
        file.truncate(100)


def deleted(folder: Path) -> None:
    (folder / "r.pdf").unlink()


def added(folder: Path) -> None:
    (folder / "ct_airways.mha").write_bytes(mha(fill=b"\0"))


def linked(folder: Path) -> None:
    (folder / "r.pdf").unlink()
    (folder / "r.pdf").symlink_to("/etc/hostname")


def renamed(folder: Path) -> None:
    folder.rename(folder.with_name("P002"))


def moved_away(folder: Path) -> None:
    folder.rename(folder.parent.parent.parent / "away")


def exchanged(folder: Path) -> None:
    """Another patient's folder under the same name."""
    folder.rename(folder.parent.parent.parent / "away")
    folder.mkdir()
    (folder / "ct.mha").write_bytes(mha(9))


CHANGES = [changed, replaced, truncated, deleted, added, linked, renamed, moved_away, exchanged]


@pytest.mark.parametrize("number", range(4, 24))
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_at_any_moment_is_sent_or_said(
    lab: Lab, change: Callable[[Path], None], number: int
) -> None:
    lab.configure(quiet=0.1, incomplete=1)
    lab.sandbox.faults.add(skip=number, status=0, call=partial(_where_it_is, lab, change))
    lab.move_in("P001", **FILES)
    assert lab.once() in (0, 1, 75), lab.log.read_text()
    lab.sandbox.faults.clear()
    lab.once()
    _everything_is_somewhere(lab)
    _nothing_is_doubled(lab)
    for folder in lab.done.iterdir():
        if folder.is_dir():
            _is_what_was_sent(lab, folder)
    for folder in lab.failed.iterdir():
        if folder.is_dir():
            assert (lab.failed / f"{folder.name}.reason.txt").exists()


def _where_it_is(lab: Lab, change: Callable[[Path], None]) -> None:
    change(lab.drop / "P001")


def _everything_is_somewhere(lab: Lab) -> None:
    there = [one for place in (lab.drop, lab.done, lab.failed) for one in place.iterdir() if one.is_dir()]
    away = [lab.top / "away"] if (lab.top / "away").exists() else []
    assert {one.name[:4] for one in [*there, *away]} <= {"P001", "P002", "away"}
    assert 1 <= len([*there, *away]) <= 2
    images = [one / "ct.mha" for one in [*there, *away]]
    assert all(image.exists() for image in images)


def _nothing_is_doubled(lab: Lab) -> None:
    titles = [title for title in lab.titles() if not title.startswith("casedrop-")]
    assert len(titles) == len(set(titles))


def _is_what_was_sent(lab: Lab, folder: Path) -> None:
    if (lab.done / f"{folder.name}.late.txt").exists():
        return
    values = lab.values(folder.name[:4])
    sockets = {"ct.mha": "ct-image", "r.pdf": "report-pdf", "ct_airways.mha": "airway-segmentation"}
    for name, socket in sockets.items():
        path = folder / name
        held = values.get(socket, {}).get("sha256")
        assert held == (hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None)
