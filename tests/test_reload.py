"""`systemctl reload`: a good configuration is taken by the running process, a bad one changes nothing."""

import hashlib
import json
import os
import re
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from casedrop import roots
from casedrop.config import load
from casedrop.reload import changes
from lab import Lab, mha
from test_shares import Share, share
from waiting import wait_for

__all__ = ["share"]

REALLY = ("env",)
"""The program itself: a forked one has no command to run again."""

BASE = """
[platform]
url = "http://127.0.0.1:1/api/v1/"
[limits]
cases = 2
[[drops]]
name = "lung"
root = "/srv/lung"
reader_study = "lung-2026"
[[drops.sockets]]
socket = "ct-image"
files = "*.mha"
"""
OTHER = BASE[BASE.index("[[drops]]") :].replace("lung", "brain")


@pytest.mark.parametrize(
    ("new", "changed"),
    [
        (BASE, []),
        (BASE.replace("cases = 2", "cases = 3"), ["limits.cases"]),
        (BASE.replace("127.0.0.1:1", "127.0.0.1:2"), ["platform.url"]),
        (BASE.replace("*.mha", "*.mhd"), ["drops.lung.sockets"]),
        (BASE + OTHER, ["drops.brain (new)"]),
        (BASE.replace('"lung"', '"lungs"'), ["drops.lung (gone)", "drops.lungs (new)"]),
        (BASE + '[[notify]]\nurl_file = "/etc/casedrop/chat"\n', ["notify"]),
    ],
)
def test_what_changed_is_said_by_the_options_names(tmp_path: Path, new: str, changed: list[str]) -> None:
    found = []
    for text in (BASE, new):
        (tmp_path / "casedrop.toml").write_text(text)
        found.append(load(tmp_path / "casedrop.toml", {}))
    assert changes(*found) == changed


GOES_ON = "goes on by the new configuration"


def reload(lab: Lab, times: int = 1) -> None:
    assert lab.process is not None
    for _ in range(times):
        lab.process.send_signal(signal.SIGHUP)


def told(lab: Lab, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in lab.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def events(lab: Lab) -> list[str]:
    """Of starts and ends."""
    known = ("started", "stopped", GOES_ON)
    lines = [json.loads(line) for line in lab.log.read_text().splitlines() if line.startswith("{")]
    return [line["event"] for line in lines if line["event"] in known]


def started(lab: Lab, times: int) -> None:
    """Once, and again for each reload."""
    again = [GOES_ON] * (times - 1)
    wait_for(lambda: events(lab) == ["started", *again], 30, f"it has started {times} times")
    wait_for((lab.state / "status.json").exists, 30, "there is a status")
    wait_for(lambda: lab.status()["scanned"], 30, "it has looked")


@pytest.mark.long
def test_a_good_configuration_is_taken_by_the_same_process_and_what_changed_is_logged(lab: Lab) -> None:
    lab.start(under=REALLY)
    started(lab, 1)
    process = lab.report()["pid"]
    lab.configure('title = "{folder} again"')
    wait_for(lambda: "systemctl reload casedrop" in lab.command("status"), 20, "it is said to be behind")
    reload(lab)
    started(lab, 2)
    assert lab.report()["pid"] == process
    assert [line["changed"] for line in told(lab, "takes the new configuration")] == [["drops.lung.title"]]
    lab.move_in("P001", ct__mha=mha())
    assert lab.wait_done("P001")["title"] == "P001 again"
    assert "ATTENTION" not in lab.command("status")
    assert lab.stop() == 0
    assert events(lab) == ["started", GOES_ON, "stopped"]


@pytest.mark.long
def test_a_bad_configuration_changes_nothing_and_the_status_says_why_until_it_is_mended(lab: Lab) -> None:
    lab.start(under=REALLY)
    started(lab, 1)
    good = lab.config.read_text()
    lab.config.write_text(good.replace('"*.pdf"', "5").replace("[settle]", "[settle]\nquite_seconds = 3"))
    reload(lab)
    wait_for(lambda: lab.report()["refused"], 20, "it is refused")
    for word in ("quite_seconds", "files"):
        assert word in lab.report()["refused"]
    assert len(told(lab, "new configuration not taken")) == 2
    lab.move_in("P001", ct__mha=mha())
    assert lab.wait_done("P001")["title"] == "P001"
    lab.config.write_text(good)
    assert "the new configuration is not taken, the service goes on by the one before" in lab.command(
        "status"
    )
    reload(lab)
    started(lab, 2)
    wait_for(lambda: not lab.report()["refused"], 20, "it is taken back")
    assert [line["changed"] for line in told(lab, "takes the new configuration")] == ["nothing"]
    assert lab.stop() == 0


@pytest.mark.long
def test_another_state_directory_is_refused_as_its_journal_would_know_of_no_case(lab: Lab) -> None:
    lab.start(under=REALLY)
    started(lab, 1)
    lab.config.write_text(lab.config.read_text().replace(str(lab.state), str(lab.top / "elsewhere")))
    reload(lab)
    wait_for(lambda: "state.directory cannot change" in lab.report()["refused"], 20, "it is refused")
    assert not (lab.top / "elsewhere").exists()
    assert lab.stop() == 0


@pytest.mark.long
def test_a_folder_on_its_way_ends_once_and_by_the_rules_it_began_with(lab: Lab) -> None:
    """Reloaded at a request in the middle, several times in a row."""
    pdf = b"%PDF" + bytes(range(256)) * (9 << 12)
    lab.sandbox.faults.add(skip=14, status=0, call=lambda: reload(lab, 5))
    lab.start(under=REALLY)
    started(lab, 1)
    first = lab.status()["rules"]
    lab.configure('title = "{folder} again"')
    lab.move_in("P001", ct__mha=mha(), r__pdf=pdf)
    receipt = lab.wait_done("P001", 60)
    assert (receipt["title"], receipt["rules"]) == ("P001", first)
    wait_for(lambda: lab.status()["rules"] != first, 30, "the new rules are taken")
    lab.move_in("P002", ct__mha=mha(fill=b"\2"))
    receipt = lab.wait_done("P002", 60)
    assert (receipt["title"], receipt["rules"]) == ("P002 again", lab.status()["rules"])
    assert lab.stop() == 0
    assert sorted(lab.titles()) == ["P001", "P002 again"]
    assert lab.values("P001")["report-pdf"]["sha256"] == hashlib.sha256(pdf).hexdigest()
    assert [one for one in lab.fates() if one != "torn"] == ["began", "confirmed"] * 2


@pytest.mark.long
def test_a_stop_in_the_middle_of_a_reload_is_a_stop(lab: Lab) -> None:
    """A request that is held lets the reload wait for it; meanwhile comes the stop."""
    reached, ended = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        ended.wait(20)

    lab.sandbox.faults.add(skip=14, status=0, call=hold)
    lab.start(under=REALLY)
    started(lab, 1)
    lab.move_in("P001", ct__mha=mha())
    assert reached.wait(30)
    reload(lab)
    wait_for(lambda: told(lab, "takes the new configuration"), 20, "it is to run again")
    try:
        assert lab.stop() == 0
    finally:
        ended.set()
    assert events(lab) == ["started", "stopped"]


@pytest.mark.long
def test_while_a_share_hangs_a_reload_is_refused_and_the_other_drop_goes_on(lab: Lab, share: Share) -> None:
    lab.start(under=REALLY)
    started(lab, 1)
    os.stat(share.root / "drop")
    share.freeze()
    reload(lab)
    share.drop("F001", mha(fill=b"\5"))
    wait_for(lambda: "does not answer" in lab.report()["refused"], 30, "it is refused")
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001")
    share.thaw()
    wait_for((share.behind / "done" / "F001.receipt.json").exists, 60, "the share goes on by itself")
    reload(lab)
    started(lab, 2)


@pytest.mark.long
def test_a_drop_does_not_go_while_a_folder_of_it_is_on_its_way(lab: Lab) -> None:
    lab.sandbox.hold_imports()
    lab.start(under=REALLY)
    started(lab, 1)
    lab.move_in("P001", ct__mha=mha())
    wait_for(lambda: lab.case("P001").get("state") == "being checked by Grand Challenge", 30, "it is sent")
    other = lab.top / "other"
    roots.init(other)
    lab.config.write_text(lab.config.read_text().replace(str(lab.root), str(other)))
    reload(lab)
    wait_for(lambda: 'Drop "lung" cannot go' in lab.report()["refused"], 20, "it is refused")
    lab.sandbox.release_imports()
    lab.wait_done("P001")
    reload(lab)
    started(lab, 2)
    assert lab.stop() == 0


@pytest.mark.long
def test_reloads_leave_no_watches_behind(lab: Lab) -> None:
    lab.start(under=REALLY)
    started(lab, 1)
    for times in (2, 3):
        wait_for(lambda: watches(lab) == 1, 20, "it watches, once")
        reload(lab)
        started(lab, times)
    wait_for(lambda: watches(lab) == 1, 20, "it watches, once")
    assert lab.stop() == 0


def watches(lab: Lab) -> int:
    assert lab.process is not None
    found = 0
    for one in Path(f"/proc/{lab.process.pid}/fd").iterdir():
        with suppress(OSError):
            found += "inotify" in os.readlink(one)
    return found


@pytest.mark.long
def test_a_hangup_before_it_listens_ends_no_service(lab: Lab) -> None:
    lab.start(under=REALLY)
    assert lab.process is not None
    blocked = f"/proc/{lab.process.pid}/status"
    wait_for(lambda: re.search(r"SigBlk:\s+0*1$", Path(blocked).read_text(), re.MULTILINE), 20, "it runs")
    reload(lab)
    started(lab, 2)
    assert lab.stop() == 0


@pytest.mark.long
def test_hangups_as_fast_as_can_be_are_looked_at_together(lab: Lab) -> None:
    lab.start(under=REALLY)
    started(lab, 1)
    lab.config.write_text(lab.config.read_text() + "[limits]\n")
    reload(lab, 500)
    wait_for(lambda: lab.report()["refused"], 20, "it is refused")
    assert lab.process is not None
    assert len(os.listdir(f"/proc/{lab.process.pid}/task")) < 100
    assert lab.stop() == 0
