"""What systemd is told by the running service, heard at the socket it would listen at."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from casedrop import pages, service
from casedrop.config import load, read_token
from casedrop.logs import Names
from casedrop.systemd import Manager
from casedrop.watch import boot_clock
from lab import Lab, mha
from test_reload import REALLY
from test_shares import Share, share
from waiting import wait_for

__all__ = ["share"]


class Listener:
    """Keeps each datagram that comes, with the time when it came."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.heard: list[tuple[float, str]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while message := self.socket.recv(4096):
            self.heard.append((time.monotonic(), message.decode()))

    @property
    def messages(self) -> list[str]:
        return [message for _, message in self.heard]

    @property
    def told(self) -> list[str]:
        return [message for message in self.messages if message.startswith("STATUS=")]


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    address = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(address))
    monkeypatch.setenv("WATCHDOG_USEC", "120000000")
    made = Listener(str(address))
    yield made
    made.socket.sendto(b"", str(address))


@pytest.mark.long
def test_the_service_is_ready_after_its_first_turn_then_feeds_the_watchdog_and_says_when_it_stops(
    lab: Lab, listener: Listener
) -> None:
    lab.start()
    wait_for(lambda: listener.messages.count("WATCHDOG=1") > 2, 20, "it is alive")
    assert listener.messages[:3] == ["STATUS=nothing to do", "READY=1", "WATCHDOG=1"]
    assert (lab.state / "status.json").exists()
    assert lab.stop() == 0
    assert listener.messages[-1] == "STOPPING=1"
    assert listener.messages.count("READY=1") == 1


def test_a_service_with_nothing_to_do_rests_but_lives_and_does_what_people_ask(
    lab: Lab, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but what is asked wakes it here: it would rest for an hour, as its scanner does."""
    monkeypatch.setattr(service, "TURN_SECONDS", 0.05)
    monkeypatch.setattr(service, "IDLE_SECONDS", 3600.0)
    lab.config.write_text(lab.config.read_text().replace("rescan_seconds = 0.5", "rescan_seconds = 3600"))
    lab.state.mkdir()
    settings = load(lab.config, os.environ)
    token = read_token(settings, os.environ)
    running = service.Service(settings, lambda: token, Names("hidden", b"key"))
    running.manager = Manager(os.environ)
    heard_at_turn = [0]
    running.tell = lambda _: heard_at_turn.append(len(listener.heard))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    wait_for(lambda: running.drops[0].study, what="it moves")
    wait_for(lambda: len(listener.heard) > heard_at_turn[-1] + 9, what="it lives and does not turn")
    lab.command("pause", "lung")
    wait_for(lambda: lab.report()["drops"][0]["stands"] == "paused", what="it paused")
    running.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_page_that_is_still_to_be_written_is_what_a_service_with_nothing_to_do_turns_for(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "IDLE_SECONDS", 3600.0)
    lab.state.mkdir()
    settings = load(lab.config, os.environ)
    token = read_token(settings, os.environ)
    idle = service.Service(settings, lambda: token, Names("hidden", b"key"))
    (watched,) = idle.drops
    now = boot_clock()

    def turned() -> bool:
        nonlocal now
        now += pages.EVERY
        idle.tick(now)
        return bool(watched.study) and not idle.pages.due()

    wait_for(turned, what="its page says how it is")
    sheet = idle.pages.sheets[watched.drop.name]
    soon = sheet.since + 0.5
    assert idle._pause(soon, once=False) > pages.EVERY
    idle.pages.turn(watched, sheet.said | {"done": -1}, 0.0, soon)
    assert idle._pause(soon, once=False) == pytest.approx(pages.EVERY - 0.5)
    idle.close()


@pytest.mark.long
def test_the_status_tells_how_far_things_are_and_is_told_only_when_it_changes(
    lab: Lab, listener: Listener
) -> None:
    lab.sandbox.hold_imports()
    lab.start()
    lab.move_in("P001", ct__mha=mha())
    wait_for(lambda: "STATUS=1 on its way" in listener.messages, 20, "a case is on its way")
    lab.sandbox.release_imports()
    lab.wait_done("P001")
    wait_for(lambda: listener.told[-1] == "STATUS=nothing to do", 20, "it is through")
    told = listener.told
    assert all(one != other for one, other in pairwise(told))
    assert "P001" not in " ".join(told)


@pytest.mark.long
def test_a_share_that_hangs_is_a_held_drop_and_no_silence(lab: Lab, share: Share, listener: Listener) -> None:
    lab.start()
    wait_for(lambda: "READY=1" in listener.messages, 20, "it is ready")
    share.freeze()
    share.drop("F001", mha(6))
    wait_for(lambda: "STATUS=held: far" in listener.messages, 60, "the hung share is said")
    share.thaw()
    times = [when for when, message in listener.heard if message == "WATCHDOG=1"]
    assert max(after - before for before, after in pairwise(times)) < 10


def test_a_socket_without_a_name_in_the_file_system_is_one_too() -> None:
    name = f"casedrop-test-{os.getpid()}"
    listener = Listener(f"\0{name}")
    Manager({"NOTIFY_SOCKET": f"@{name}"}).alive()
    wait_for(lambda: listener.messages == ["READY=1"], what="the message")
    listener.socket.sendto(b"", f"\0{name}")


@pytest.mark.long
def test_a_reload_is_no_stop_and_ends_with_being_ready(lab: Lab, listener: Listener) -> None:
    lab.start(under=REALLY)
    wait_for(lambda: "READY=1" in listener.messages, 20, "it is ready")
    assert lab.process is not None
    good = lab.config.read_text()
    lab.config.write_text(good.replace("[settle]", "[setle]"))
    lab.process.send_signal(signal.SIGHUP)
    wait_for(lambda: listener.messages.count("READY=1") == 2, 20, "the bad one is over")
    wait_for(lambda: "has mistakes" in listener.told[-1], 20, "it is said")
    lab.config.write_text(good)
    lab.process.send_signal(signal.SIGHUP)
    wait_for(lambda: listener.messages.count("READY=1") == 3, 40, "the good one is taken")
    assert "STOPPING=1" not in listener.messages
    assert sum(one.startswith("RELOADING=1") for one in listener.messages) == 2


def test_reloading_carries_the_time_and_what_goes_on_is_ready_again(
    listener: Listener, tmp_path: Path
) -> None:
    manager = Manager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    before = time.monotonic_ns() // 1000
    for tell in (manager.alive, manager.reloading, manager.alive, manager.stopping, manager.goes_on):
        tell()
    manager.alive()
    manager.stopping()
    wait_for(lambda: len(listener.heard) == 4, what="four messages")
    first, reloading, *rest = listener.messages
    assert (first, rest) == ("READY=1", ["READY=1", "STOPPING=1"])
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert before <= int(reloading.split("=")[-1]) <= time.monotonic_ns() // 1000


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "vsock:2:1234", "x" * 200, "a\0b"])
def test_where_nobody_listens_nothing_happens(address: str) -> None:
    manager = Manager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    for tell in (manager.alive, lambda: manager.says("all is well"), manager.reloading, manager.stopping):
        tell()


def test_what_could_not_be_told_is_told_once_somebody_listens(tmp_path: Path) -> None:
    address = str(tmp_path / "late")
    manager = Manager({"NOTIFY_SOCKET": address})
    manager.alive()
    manager.says("1\nwaiting")
    listener = Listener(address)
    manager.alive()
    manager.says("1\nwaiting")
    manager.says("1\nwaiting")
    wait_for(lambda: listener.messages == ["READY=1", "STATUS=1 waiting"], what="both, once")
    listener.socket.sendto(b"", address)
