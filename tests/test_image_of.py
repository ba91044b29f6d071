"""One image in two sockets of a display set: uploaded once, and the same image on the platform."""

from pathlib import Path

import pytest

from casedrop.check import grid_mistakes
from casedrop.group import check_rules, group
from casedrop.model import Drop, Entry, EntryKind, Listing, SocketKind, SocketRule
from lab import Lab, mha
from waiting import wait_for

CT = SocketRule("ct-image", ("*.mha",))
AGAIN = SocketRule("generic-medical-image", image_of="ct-image")
DROP = Drop("lung", "/lab", "lung-2026", (AGAIN, CT))
KINDS = {slug: SocketKind(slug, "Image", "Image") for slug in ("ct-image", "generic-medical-image")}
RULE = """
[[drops.sockets]]
socket = "generic-medical-image"
image_of = "ct-image"
"""


def twice(lab: Lab, drop: str = "") -> None:
    lab.configure(drop, quiet=0.1)
    lab.config.write_text(lab.config.read_text() + RULE)


def images(lab: Lab, title: str = "P001") -> dict[str, str]:
    """By socket, the pk of the image that it holds."""
    (found,) = [one for one in lab.sandbox.state.display_sets.values() if one.title == title]
    return {slug: value.image for slug, value in found.values.items() if value.image}


def uploads(lab: Lab) -> int:
    return sum(1 for method, path, _ in lab.sandbox.requests if (method, path[-8:]) == ("POST", "uploads/"))


@pytest.mark.parametrize("required", [True, False])
def test_a_socket_takes_the_image_of_another_whatever_the_order_of_rules(*, required: bool) -> None:
    ct = SocketRule("ct-image", ("*.mha",), required=required)
    drop = Drop("lung", "/lab", "lung-2026", (AGAIN, ct))
    listing = Listing("P1", (Entry("a.mha", EntryKind.FILE, 5),))
    plan = group(listing, drop, {}, KINDS).plan
    assert plan is not None
    assert [(one.socket, one.image_of) for one in plan.sockets] == [
        ("ct-image", ""),
        ("generic-medical-image", "ct-image"),
    ]


def test_without_the_image_only_that_is_said() -> None:
    grouping = group(Listing("P1", ()), DROP, {}, KINDS)
    assert [one.word for one in grouping.problems] == ["missing-file"]
    assert "ct-image" in grouping.problems[0].text


def test_only_an_image_socket_can_hold_the_image_of_another() -> None:
    kinds = KINDS | {"generic-medical-image": SocketKind("generic-medical-image", "PDF file", "File")}
    assert "only with an image socket" in check_rules(DROP, kinds)[0]
    kinds = KINDS | {"ct-image": SocketKind("ct-image", "DICOM Image Set", "Image")}
    assert "names the socket of an image" in grid_mistakes(DROP, kinds)[0]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('image_of = "no-such"', "no rule of this drop fills a socket of that slug"),
        ('image_of = "generic-medical-image"', "names its own socket"),
        ('image_of = "some-score"', "filled with a value"),
        ('image_of = "ct-image"\nfiles = "x.mha"', "a socket has exactly one source"),
    ],
)
def test_a_rule_that_cannot_work_is_said_before_anything_runs(lab: Lab, rule: str, said: str) -> None:
    twice(lab)
    lab.config.write_text(lab.config.read_text().replace('image_of = "ct-image"', rule))
    assert said in lab.command("check", code=78)


def test_the_image_goes_up_once_and_stands_in_both_sockets(lab: Lab) -> None:
    twice(lab)
    lab.move_in("P001", ct__mha=mha(), score__json=b'{"score": 1}')
    assert lab.once() == 0, lab.log.read_text()
    found = images(lab)
    assert found.keys() == {"ct-image", "generic-medical-image"}
    assert len(set(found.values())) == 1
    assert uploads(lab) == 1
    receipt = lab.receipt(lab.done / "P001.receipt.json")
    (again,) = [one for one in receipt["sockets"] if one["socket"] == "generic-medical-image"]
    assert (again["image_of"], again["source"]) == ("ct-image", "the image of ct-image")
    assert lab.command("plan", str(lab.done / "P001"))


@pytest.mark.long
@pytest.mark.parametrize("acted", [False, True])
def test_killed_at_the_second_request_it_ends_as_if_it_had_not_been(lab: Lab, *, acted: bool) -> None:
    twice(lab)
    lab.move_in("P001", ct__mha=mha())
    lab.sandbox.faults.add(method="PATCH", path="display-sets/", skip=2, cut=True, after=acted, call=lab.kill)
    assert lab.once() != 0
    lab.stop()
    assert lab.once() == 0, lab.log.read_text()
    assert len(images(lab)) == 2
    assert len(set(images(lab).values())) == 1
    assert (lab.titles(), uploads(lab)) == (["P001"], 1)


@pytest.mark.long
def test_a_replaced_image_is_replaced_in_both(lab: Lab) -> None:
    twice(lab, 'existing_display_set = "replace"')
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0, lab.log.read_text()
    (before,) = set(images(lab).values())
    (lab.done / "P001").rename(lab.desk / "first")
    lab.move_in("P001", ct__mha=mha(fill=b"\2"))
    assert lab.once() == 0, lab.log.read_text()
    (after,) = set(images(lab).values())
    assert (after != before, uploads(lab), len(images(lab))) == (True, 2, 2)


@pytest.mark.long
def test_the_same_folder_again_is_done_without_a_byte(lab: Lab) -> None:
    twice(lab)
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 0
    (lab.done / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0, lab.log.read_text()
    assert uploads(lab) == 1
    wait_for(lambda: len(list(Path(lab.done).glob("P001*.receipt.json"))) == 2, 5, "a second receipt")
