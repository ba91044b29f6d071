"""`casedrop status` beside the real service: as JSON, live on a terminal and in a pipe, and for uptime checks."""

import json
import os
import pty
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab import NO_IMAGE, RUN, Lab, mha
from reported import expect_valid
from waiting import wait_for

pytestmark = pytest.mark.long

COMMAND = [sys.executable, "-c", "from casedrop.cli import main; main()"]


class Screen:
    """What a program has written to the terminal it runs on."""

    def __init__(self, process: "subprocess.Popen[bytes]", descriptor: int) -> None:
        self.process = process
        self.descriptor = descriptor
        self.written = b""

    def read(self) -> str:
        """All so far; waits a moment for more."""
        try:
            self.written += os.read(self.descriptor, 1 << 16)
        except OSError:  # the program has ended
            self.process.wait(10)
        return self.written.decode()

    def until(self, words: str) -> str:
        wait_for(lambda: words in self.read(), 30, f"{words} on the terminal")
        return self.read() if self.process.poll() is None else self.written.decode()

    def rest(self) -> str:
        wait_for(lambda: self.read() is not None and self.process.poll() is not None, 30, "the end")
        return self.written.decode()


@contextmanager
def on_a_terminal(lab: Lab, *arguments: str) -> Iterator[Screen]:
    ours, theirs = pty.openpty()
    environ = os.environ | {
        "CASEDROP_CONFIG": str(lab.config),
        "COLUMNS": "80",
        "LINES": "24",
        "TERM": "xterm",
    }
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Screen(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_real_reports_are_as_the_schema_says(lab: Lab) -> None:
    seen: list[dict[str, Any]] = []

    def look() -> None:
        seen.append(lab.report())

    lab.configure(incomplete=60)
    lab.sandbox.faults.add(method="PUT", status=0, call=look, times=3)
    lab.sandbox.faults.add(method="PATCH", path="display-sets/[^/]+/$", status=0, call=look)
    lab.start()
    lab.move_in("P001", ct__mha=mha(), score__json=b'{"score": 1}')
    lab.move_in("P002", ct__mha=mha(9), odd__doc=b"x")
    lab.move_in("P003", score__json=b'{"score": 1}')
    lab.move_in("P004", ct__mha=NO_IMAGE)
    lab.wait_done("P001")
    lab.wait_failed("P002")
    lab.wait_failed("P004")
    wait_for(lambda: lab.case("P003").get("state") == "lacking", 20, "the folder that lacks its image")
    wait_for(lambda: lab.case("P001").get("state") == "done", 20, "the status tells")
    seen.append(json.loads(lab.output("status", "--json")))
    for one in seen:
        expect_valid(one)
    assert seen[-1]["outdated"] == []
    states = {case["folder"]: case["state"] for case in seen[-1]["drops"][0]["cases"]}
    assert states == {"P001": "done", "P002": "failed", "P003": "lacking", "P004": "failed"}


def test_the_status_is_for_the_services_group_and_nobody_else(lab: Lab) -> None:
    assert lab.once() == 0
    assert stat.S_IMODE((lab.state / "status.json").stat().st_mode) == 0o640


def test_on_a_terminal_the_status_is_a_table_that_is_drawn_anew_until_ctrl_c(lab: Lab) -> None:
    lab.start()
    wait_for((lab.state / "status.json").exists, 20, "the service runs")
    with on_a_terminal(lab, "status", "--watch") as screen:
        screen.until("no folders")
        lab.move_in("P001", ct__mha=mha())
        screen.until("done")
        screen.process.send_signal(signal.SIGINT)
        shown = screen.rest()
    assert screen.process.returncode == 0
    assert "Traceback" not in shown
    assert "Aborted" not in shown
    assert "\x1b[?1049h" not in shown, "no other screen: what was seen stays in the scrollback"
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is shown again"


def test_a_name_cannot_command_the_terminal_that_shows_it(lab: Lab) -> None:
    lab.start()
    lab.move_in("P\x1b[31mred\u202e", ct__mha=mha())
    wait_for(lambda: list(lab.failed.glob("*.reason.txt")), 30, "the reason")
    wait_for(lambda: "failed" in str(lab.status()), 10, "the status tells")
    with on_a_terminal(lab, "status") as screen:
        shown = screen.rest()
    assert screen.process.returncode == 0
    assert r"P\x1b[31mred\x202e" in shown
    assert "\u202e" not in shown


@contextmanager
def in_a_pipe(lab: Lab, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    environ = os.environ | {"CASEDROP_CONFIG": str(lab.config), "FORCE_COLOR": "1"}
    piped = subprocess.PIPE
    with subprocess.Popen(
        [*COMMAND, *arguments], env=environ, stdout=piped, stderr=piped, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_in_a_pipe_each_change_is_one_plain_line(lab: Lab) -> None:
    with in_a_pipe(lab, "status", "--watch") as process:
        assert process.stdout
        assert process.stderr
        assert "There is no status yet" in process.stdout.readline()
        lab.start()
        lab.move_in("P001", ct__mha=mha())
        said: list[str] = []
        while not said or "done" not in said[-1]:
            said.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stdout.read() == process.stderr.read() == ""
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d lung[/:].*\n", line) for line in said), said
    assert len(said) == len({line[9:] for line in said})
    assert "\x1b" not in "".join(said)


def test_who_stops_reading_ends_the_watching_without_a_traceback(lab: Lab) -> None:
    with in_a_pipe(lab, "status", "--watch") as process:
        assert process.stdout
        assert process.stderr
        assert "There is no status yet" in process.stdout.readline()
        process.stdout.close()
        lab.start()
        lab.move_in("P001", ct__mha=mha())
        assert process.wait(30) == 1
        assert process.stderr.read() == ""


def test_uptime_checks_get_one_line_and_a_code(lab: Lab) -> None:
    assert "no status yet" in lab.output("status", "--health", code=75)
    lab.start()
    wait_for((lab.state / "status.json").exists, 20, "the service runs")
    wait_for(lambda: lab.status()["scanned"] > 0, 20, "the first look")
    assert lab.output("status", "--health") == "well: lung\n"
    lab.command("pause", "lung")
    wait_for(lambda: lab.status()["stands"] == "paused", 20, "the pause")
    said = lab.output("status", "--health", code=1)
    assert said == "ATTENTION: lung is paused by a person (`casedrop status` says why)\n"
    lab.stop()
    assert lab.output("status", "--health", code=75).startswith("NOT RUNNING: ")


def test_a_configuration_with_mistakes_hides_no_service_that_goes_on_by_the_one_before(lab: Lab) -> None:
    good = lab.config.read_text()
    lab.start()
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001")
    wait_for(lambda: "P001: done" in lab.command("status"), 20, "the status tells")
    lab.config.write_text(good.replace("[limits]", "[limits]\ncsaes = 1"))
    said = lab.command("status")
    assert said.startswith('ATTENTION: limits: unknown key "csaes".')
    assert "P001: done" in said
    assert "other rules" not in said
    mistaken = "ATTENTION: the configuration has mistakes (`casedrop check` says which)"
    assert mistaken in lab.output("status", "--health", code=1)
    lab.stop()
    assert "NOT RUNNING: " in lab.output("status", "--health", code=75)
    (lab.state / "status.json").unlink()
    lab.command("status", code=78)


def test_two_ways_to_show_it_are_one_too_many(lab: Lab) -> None:
    assert "Say one of --json, --watch and --health." in lab.command("status", "--json", "--watch", code=2)


def test_a_run_that_ends_by_itself_shows_on_a_terminal_how_it_goes(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha())
    lab.move_in("P002", ct__mha=mha(9), odd__doc=b"x")
    with on_a_terminal(lab, *RUN, "--once") as screen:
        shown = screen.rest()
    assert screen.process.returncode == 1
    assert "lung/P001: done - http" in shown
    assert "lung/P002: failed - " in shown


def test_a_run_in_a_pipe_says_nothing_on_its_output(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha())
    with in_a_pipe(lab, *RUN, "--once") as process:
        said, _ = process.communicate(timeout=60)
    assert said == ""
