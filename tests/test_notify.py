"""Messages reach a webhook, and hold no name, no address and no secret."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog

from casedrop import notifier, notify
from casedrop.config import load
from casedrop.errors import ConfigurationError
from casedrop.notices import BATCH, Message
from casedrop.notifier import Notifier
from casedrop.notify import MISSING, Desk, read_addresses
from lab import RUN, Lab, mha
from waiting import wait_for

SECRET = "hunter2-Geheim"


class Hook(ThreadingHTTPServer):
    """A webhook that keeps what it gets; it answers with the `answers`, then 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[dict[str, Any]] = []
        self.answers: list[int] = []

    @property
    def address(self) -> str:
        return f"json://people:{SECRET}@127.0.0.1:{self.server_port}/{SECRET}/"


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(json.loads(body))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def told(lab: Lab, address: str, more: str = "") -> Path:
    """The lab's configuration with [[notify]]; the file of the address."""
    file = lab.top / "notify.url"
    file.write_text(f"{address}\n")
    file.chmod(0o600)
    lab.config.write_text(f'{lab.config.read_text()}\n[[notify]]\nurl_file = "{file}"\n{more}')
    return file


@pytest.mark.long
def test_folders_that_fail_are_one_message_without_a_name(lab: Lab, hook: Hook) -> None:
    told(lab, hook.address)
    lab.move_in("Zwaardvis-A", zwaardvis__xyz=mha())
    lab.move_in("Zwaardvis-B", zwaardvis__xyz=mha())
    lab.once()
    (got,) = hook.got
    assert got["title"] == "Casedrop: 2 failed"
    assert got["message"].count("failed: lung/") == 2
    assert "unmatched-file" in got["message"]
    written = lab.log.read_text() + json.dumps(lab.report()) + lab.command("check", "--offline")
    assert "zwaardvis" not in json.dumps(got).lower()
    assert SECRET.lower() not in written.lower()
    assert lab.sandbox.token not in json.dumps(got)


@pytest.mark.long
def test_a_drop_that_is_held_is_told(lab: Lab, hook: Hook) -> None:
    told(lab, hook.address)
    lab.write_token("wrong")
    assert lab.once() == 75
    (got,) = hook.got
    assert got["title"] == "Casedrop: 1 held"
    assert got["message"].startswith("HELD: lung. ")
    assert str(lab.top) not in got["message"]


def reported(*failed: str) -> dict[str, Any]:
    cases = [{"folder": one, "state": "failed", "since": 5.0, "why": "", "reasons": []} for one in failed]
    held = {"name": "lung", "stands": "", "held": "", "ended": {"failed": len(failed)}}
    return {"time": 1.0, "drops": [held | {"cases": cases}]}


@pytest.mark.long
def test_a_service_that_runs_sends_after_a_minute_to_whom_it_concerns(
    lab: Lab, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(lab, hook.address)
    told(lab, hook.address, 'on = ["held", "digest"]\n')
    now = [0.0]
    monkeypatch.setattr(notify, "boot_clock", lambda: now[0])
    desk = Desk(load(lab.config, {}), [hook.address] * 2, str.upper)
    desk.tell(reported())
    desk.tell(reported("a"))
    now[0] = BATCH
    desk.tell(reported("a"))
    wait_for(lambda: hook.got, what="the message")
    desk.stop()
    (got,) = hook.got
    assert got["message"].startswith("failed: lung/A (")


def test_a_report_that_cannot_be_read_stops_nothing(lab: Lab, hook: Hook) -> None:
    told(lab, hook.address)
    desk = Desk(load(lab.config, {}), [hook.address], str)
    with structlog.testing.capture_logs() as logs:
        desk.tell({})
        desk.tell({})
    assert [one["event"] for one in logs] == ["notices surprised us"]
    desk.tell(reported())


@pytest.mark.long
def test_a_hook_that_does_not_answer_delays_no_folder(lab: Lab, hook: Hook) -> None:
    told(lab, hook.address)
    hook.answers = [500] * 9
    lab.move_in("P1", a__xyz=mha())
    lab.move_in("P2", ct__mha=mha())
    assert lab.once() == 1
    lab.wait_done("P2")
    (line,) = [json.loads(one) for one in lab.log.read_text().splitlines() if "message given up" in one]
    assert line["why"] == "the service answered 500"
    assert line["to"] == "notify number 1"
    assert SECRET not in lab.log.read_text()


@pytest.mark.long
def test_the_test_message_says_what_became_of_it(lab: Lab, hook: Hook) -> None:
    file = told(lab, hook.address, 'drops = "lung"\non = ["held"]\n')
    assert lab.command("notify", "--test") == f"ok notify number 1 ({file}): sent."
    (got,) = hook.got
    assert got["message"] == "This is a test. Messages of lung come here on: held."
    hook.answers = [403]
    said = lab.command("notify", "--test", code=1)
    assert said == f"PROBLEM notify number 1 ({file}): not sent, the service answered 403."


def test_a_test_message_without_a_target_is_a_mistake(lab: Lab) -> None:
    assert "There is no [[notify]]" in lab.command("notify", "--test", code=78)


def test_a_message_that_is_not_taken_is_tried_again_and_then_given_up(hook: Hook) -> None:
    hook.answers = [500, 503, 200, 500, 500, 500]
    sender = Notifier("notify number 1", hook.address, pauses=(0.01, 0.01))
    sender.start()
    with structlog.testing.capture_logs() as logs:
        for title in ("first", "second", "third"):
            sender.post(Message(title, "x"))
        wait_for(lambda: len(hook.got) == 7, what="all tries")
    assert [one["title"] for one in hook.got] == ["first"] * 3 + ["second"] * 3 + ["third"]
    assert [one["event"] for one in logs] == ["message not sent"] * 4 + ["message given up"]
    assert SECRET not in str(logs)


def test_a_server_that_never_answers_is_left(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "TIMEOUT", 0.2)
    silent = threading.Event()
    monkeypatch.setattr(_Handler, "do_POST", lambda _: silent.wait(10))
    assert notifier.send(hook.address, Message("x", "x")).startswith("no answer within")
    silent.set()


def mistakes(lab: Lab) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read_addresses(load(lab.config, {}))
    return caught.value.problems


def test_what_is_wrong_with_the_addresses_is_said_at_once_and_without_them(lab: Lab) -> None:
    odd = told(lab, f"{SECRET}")
    wide = lab.top / "wide.url"
    wide.write_text("json://127.0.0.1/")
    wide.chmod(0o644)
    none = lab.top / "none.url"
    for file in (wide, none):
        lab.config.write_text(f'{lab.config.read_text()}[[notify]]\nurl_file = "{file}"\n')
    said = mistakes(lab)
    assert len(said) == 3
    assert f"{none}: the address cannot be read: No such file or directory." in said
    assert f"{wide}: everyone on this machine can read or change the address. Run: chmod 640 {wide}" in said
    assert any(str(odd) in one and "make nothing of the address" in one for one in said)
    checked = lab.command("check", "--offline", code=78)
    assert all(" ".join(one.split()) in checked for one in said)
    assert SECRET not in checked


def test_a_start_says_what_is_wrong_with_the_token_and_the_addresses(lab: Lab, hook: Hook) -> None:
    file = told(lab, hook.address)
    for secret in (file, lab.token):
        secret.unlink()
    said = lab.command(*RUN, code=78)
    assert f"{file}: the address cannot be read" in said
    assert f"{lab.token}: the token cannot be read" in said


def test_without_apprise_the_extra_is_named(lab: Lab, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    told(lab, hook.address)
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert mistakes(lab) == [MISSING]
