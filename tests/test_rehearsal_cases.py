"""A study is rehearsed before anything is sent, and let go one by one."""

import gzip

import numpy as np
import pytest

from lab import Lab, mha
from test_before_sending import nifti
from waiting import wait_for

pytestmark = pytest.mark.long


def waits_for_a_person(lab: Lab, name: str) -> bool:
    return bool(lab.case(name).get("state") == "waiting for a person")


def test_plan_of_a_drop_tells_of_every_folder(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha(), score__json=b'{"score": 1}')
    lab.move_in("P002", score__json=b'{"score": 1}')
    lab.move_in("P003", ct__mha=mha(), other__doc=b"x")
    (lab.drop / "loose.txt").write_bytes(b"x")
    said = lab.command("plan", "lung", code=1)
    assert 'P001: would be sent "P001" with ct-image, some-score = 1' in said
    assert 'P002: lacking - No file for the socket "ct-image"' in said
    assert "P003: wrong - No rule takes other.doc" in said
    assert "loose.txt: left alone" in said
    assert "1 display set would be made of 1 folder, 1 lacking, 1 wrong, 1 left alone." in said
    assert "P001,,would be sent,P001,,ct-image some-score," in lab.output("plan", "lung", "--csv", code=1)


def test_plan_of_a_drop_says_what_it_does_not_check(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha())
    not_checked = "Not checked here: whether a folder taken before has the same title or the very same files"
    assert not_checked in lab.command("plan", "lung")
    assert not_checked in lab.command("plan", "lung/P001")
    assert "Not checked" not in lab.output("plan", "lung", "--csv")


def test_plan_tells_of_each_part_of_a_split_folder(lab: Lab) -> None:
    lab.configure('split = { folders = "*/" }\ntitle = "{folder} {subfolder}"')
    config = lab.config.read_text().replace('files = "*.mha"', 'files = ["*.mha", "*.gz"]')
    lab.config.write_text(config)
    good, bad, cut = (lab.drop / "P001" / name for name in ("v1", "v2", "v3"))
    for visit in (good, bad, cut):
        visit.mkdir(parents=True)
    (good / "ct.mha").write_bytes(mha())
    (bad / "odd.doc").write_bytes(b"x")
    (cut / "ct.nii.gz").write_bytes(gzip.compress(nifti(np.ones((4, 4, 4), np.int16)))[:-20])
    said = lab.command("plan", "lung", code=1)
    assert 'P001/v1: waits for the whole folder "P001 v1" with ct-image' in said
    assert 'This part is well, but "v2" and "v3" are not, and a folder is sent whole.' in said
    assert 'P001/v2: wrong - No file for the socket "ct-image"' in said
    assert "P001/v3: lacking - " in said
    assert "0 display sets would be made of 0 folders, 1 wrong." in said
    assert 'In "v3": ' in lab.command("plan", "lung/P001", code=1)


def test_plan_of_one_folder_of_a_drop_goes_by_its_name(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha())
    lab.move_in("P002", odd__doc=b"x")
    assert 'Display set "P001"' in lab.command("plan", "lung/P001")
    assert "no drop or DROP/NAME (drops are: lung)" in lab.command("plan", "lang/P001", code=78)
    assert lab.once() == 1
    assert f"`casedrop plan {lab.failed / 'P002'}`" in lab.command("plan", "lung/P002", code=78)
    assert "There is no P003 in drop/ of lung." in lab.command("plan", "lung/P003", code=78)


def test_plan_of_a_folder_that_holds_the_case_folders_says_which_command_was_meant(lab: Lab) -> None:
    for place in (lab.root, lab.drop, lab.failed, lab.root.parent):
        said = lab.command("plan", str(place), code=78)
        assert f"{place} is no case folder, it holds those of the drop lung" in said
        assert "`casedrop plan lung` tells of all in its drop/" in said
    for name, side in (("P001", 8), ("P002", 9)):
        lab.folder(name, ct__mha=mha(side))
    said = lab.command("plan", str(lab.desk), code=1)
    assert "P001 in it would be taken by itself." in said
    assert f"`casedrop plan {lab.desk / 'P001'} --drop lung`" in said
    (lab.desk / "P001" / "odd.doc").write_bytes(b"x")
    (lab.desk / "P002" / "odd.doc").write_bytes(b"x")
    assert "by itself" not in lab.command("plan", str(lab.desk), code=1)


def test_a_rehearsal_says_what_would_be_sent_and_sends_nothing(lab: Lab) -> None:
    lab.configure('mode = "rehearse"')
    lab.move_in("P001", ct__mha=mha(), score__json=b'{"score": 1}')
    lab.move_in("P002", odd__doc=b"x")
    lab.start()
    wait_for(lambda: "would become" in lab.case("P001").get("why", ""), 20, "the rehearsal")
    wait_for(lambda: lab.case("P002").get("state") == "wrong", 20, "the wrong folder")
    assert lab.case("P001")["why"] == 'would become the display set "P001" (ct-image, some-score)'
    assert "rehearses" in lab.command("status")
    lab.stop()
    assert lab.titles() == []
    assert not any(method == "POST" for method, _, _ in lab.sandbox.requests)
    assert {one.name for one in lab.drop.iterdir()} == {"P001", "P002"}
    assert lab.once() == 75


def test_a_settled_folder_waits_until_it_is_released(lab: Lab) -> None:
    lab.configure('release = "ask"')
    lab.move_in("P001", ct__mha=mha(8))
    lab.move_in("P002", ct__mha=mha(9))
    lab.start()
    wait_for(lambda: waits_for_a_person(lab, "P001") and waits_for_a_person(lab, "P002"), 20, "both")
    assert "the administrator lets it go with `casedrop release lung/P001`" in lab.case("P001")["why"]
    assert "P001 is let go" in lab.command("release", "lung/P001")
    lab.wait_done("P001")
    assert lab.titles() == ["P001"]
    assert "P002 is let go" in lab.command("release", "--all")
    lab.wait_done("P002")


def test_a_folder_that_changes_after_its_release_asks_again(lab: Lab) -> None:
    lab.configure('release = "ask"')
    lab.move_in("P001", ct__mha=mha(8))
    assert lab.once() == 75
    assert "let go" in lab.command("release", "lung")
    (lab.drop / "P001" / "score.json").write_bytes(b'{"score": 1}')
    assert lab.once() == 75
    assert lab.titles() == []
    lab.command("release", "lung/P001")
    assert lab.once() == 0
    assert lab.values("P001")["some-score"] == 1


def test_a_folder_released_by_other_rules_asks_again(lab: Lab) -> None:
    lab.configure('release = "ask"')
    lab.move_in("P001", ct__mha=mha())
    assert lab.once() == 75
    assert "let go" in lab.command("release", "lung/P001")
    lab.configure('release = "ask"\ntitle = "{folder} of nobody"')
    assert lab.once() == 75
    assert lab.titles() == []
    assert waits_for_a_person(lab, "P001")
    assert 'would become the display set "P001 of nobody"' in lab.case("P001")["why"]
    assert "let go" in lab.command("release", "lung/P001")
    assert lab.once() == 0
    assert lab.titles() == ["P001 of nobody"]


def test_a_release_says_what_is_not_there_or_does_not_ask(lab: Lab) -> None:
    assert "start the service once" in lab.command("release", "lung/P001", code=78)
    assert lab.once() == 0
    lab.move_in("P001", ct__mha=mha(8))
    assert "does not ask" in lab.command("release", "lung/P001", code=1)
    lab.configure('release = "ask"')
    assert "does not wait to be released" in lab.command("release", "lung/P001", code=1)
    assert "No folder waits" in lab.command("release", "--all")
    assert "Name a drop" in lab.command("release", code=78)


def test_a_release_says_where_a_folder_is_that_does_not_wait_any_more(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha(8))
    lab.move_in("P002", odd__doc=b"x")
    assert lab.once() == 1
    lab.configure('release = "ask"')
    assert "lung/P001 is in done/: it was sent" in lab.command("release", "lung/P001", code=1)
    said = lab.command("release", "lung/P002", code=1)
    assert "lung/P002 is in failed/" in said
    assert "`casedrop retry lung/P002`" in said


@pytest.mark.parametrize("release", ["ask", "auto"])
def test_a_release_of_a_drop_that_rehearses_says_that_it_rehearses(lab: Lab, release: str) -> None:
    lab.configure(f'mode = "rehearse"\nrelease = "{release}"')
    lab.move_in("P001", ct__mha=mha(8))
    assert lab.once() == 75
    for which in ("lung", "lung/P001"):
        said = lab.command("release", which, code=1)
        assert 'lung rehearses (mode = "rehearse")' in said
        assert "Take mode out and reload the service (`systemctl reload casedrop`)" in said


def test_a_paused_drop_sends_nothing_also_after_a_restart_until_it_goes_on(lab: Lab) -> None:
    assert lab.once() == 0
    assert "lung is not paused" in lab.command("resume", "lung")
    assert "lung pauses" in lab.command("pause", "lung")
    assert "lung is paused already" in lab.command("pause", "lung")
    lab.move_in("P001", ct__mha=mha(8))
    assert lab.once() == 75
    assert lab.once() == 75
    assert lab.titles() == []
    assert "casedrop resume lung" in lab.command("status", code=75)
    assert "lung goes on" in lab.command("resume", "lung")
    assert lab.once() == 0
    assert lab.titles() == ["P001"]


def with_a_second_drop(lab: Lab) -> None:
    text = lab.config.read_text()
    other = text[text.index("[[drops]]") :].replace('"lung"', '"heart"')
    lab.config.write_text(f"{text}\n{other.replace(str(lab.root), f'{lab.top}/heart')}")


def test_all_drops_are_paused_and_go_on_together_also_those_that_were_paused_alone(lab: Lab) -> None:
    assert lab.once() == 0
    with_a_second_drop(lab)
    lab.command("init")
    lab.command("pause", "heart")
    assert lab.command("pause") == (
        "lung pauses: nothing more of it is sent, within a second where the service runs. "
        "heart is paused already: nothing is changed."
    )
    lab.move_in("P001", ct__mha=mha(8))
    assert lab.once() == 75
    assert [drop["stands"] for drop in lab.report()["drops"]] == ["paused", "paused"]
    assert "Name one drop, or say --all." in lab.command("resume", "lung", "--all", code=78)
    assert lab.command("resume", "--all").count("goes on") == 2
    assert lab.once() == 0
    assert lab.titles() == ["P001"]


def test_where_one_drop_cannot_be_paused_the_others_are(lab: Lab) -> None:
    assert lab.once() == 0
    with_a_second_drop(lab)
    said = lab.command("pause", code=1)
    assert "lung pauses" in said
    assert "heart: " in said


def test_a_case_under_way_waits_where_its_drop_is_paused_or_rehearses(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha(8))
    lab.sandbox.faults.add(method="POST", path="display-sets", status=0, call=lab.kill)
    lab.once()
    for change in ("pause", "rehearse"):
        if change == "pause":
            lab.command("pause", "lung")
        else:
            lab.command("resume", "lung")
            lab.configure('mode = "rehearse"')
        before = len(lab.sandbox.requests)
        assert lab.once() == 75
        assert {method for method, _, _ in lab.sandbox.requests[before:]} == {"GET"}
    lab.configure()
    assert lab.once() == 0
    assert lab.titles() == ["P001"]
