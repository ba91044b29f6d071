"""One image in two sockets of a display set: uploaded once, and the same image on the platform."""

from dataclasses import replace
from pathlib import Path

import pytest

from casedrop.check import grid_mistakes
from casedrop.group import check_rules, group
from casedrop.model import Drop, Entry, EntryKind, Listing, SocketKind, SocketRule
from casedrop.sandbox.state import Stored
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


@pytest.mark.long
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
    lab.sandbox.faults.add(method="PATCH", path="display-sets/", skip=1, cut=True, after=acted, call=lab.kill)
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


@pytest.mark.long
@pytest.mark.parametrize("change", ["taken away", "changed"])
def test_a_folder_that_goes_or_changes_while_the_image_is_taken_in_leaves_no_half_display_set(
    lab: Lab, change: str
) -> None:
    twice(lab)
    lab.sandbox.hold_imports()
    lab.start()
    lab.move_in("P001", ct__mha=mha())
    wait_for(lambda: "checked" in lab.case("P001").get("state", ""), 30, "its image is being taken in")
    if change == "taken away":
        (lab.drop / "P001").rename(lab.desk / "gone")
    else:
        (lab.drop / "P001" / "ct.mha").write_bytes(mha(fill=b"\2"))
    lab.sandbox.release_imports()
    wait_for(lambda: len(images(lab)) == 2, 30, "both sockets hold it")
    assert (len(set(images(lab).values())), uploads(lab)) == (1, 1)
    if change == "changed":
        assert "the folder was changed afterwards" in lab.wait_failed("P001")


@pytest.mark.long
def test_an_image_that_an_editor_put_there_is_never_taken_for_the_folders(lab: Lab) -> None:
    twice(lab)
    lab.move_in("P001", ct__mha=mha())

    def swap() -> None:
        """Just as the image is being compared."""
        state = lab.sandbox.state
        (image,), (made,) = state.images.values(), state.display_sets.values()
        state.images["other"] = replace(image, pk="other")
        made.values["ct-image"] = Stored(state.next_value_pk(), image="other")

    lab.sandbox.faults.add(method="GET", path="cases/images/", status=0, call=swap)
    assert lab.once() == 0, lab.log.read_text()
    assert "other" not in images(lab).values()
    assert (len(images(lab)), len(set(images(lab).values()))) == (2, 1)


@pytest.mark.long
def test_a_reader_who_answers_in_between_is_told_of_as_it_is(lab: Lab) -> None:
    twice(lab)
    lab.move_in("P001", ct__mha=mha())

    def answer() -> None:
        (made,) = lab.sandbox.display_sets("lung-2026")
        lab.sandbox.close_display_set(made.pk)

    lab.sandbox.faults.add(method="PATCH", path="display-sets/", skip=1, status=0, call=answer)
    assert lab.once() == 1
    reason = lab.wait_failed("P001")
    assert "Not sent: generic-medical-image." in reason
    assert "Nothing was sent" not in reason
