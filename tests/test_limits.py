"""The service keeps to the configured rate and hours, and no case is lost or doubled by them."""

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from casedrop import prepare, throttle
from casedrop.budget import burst
from casedrop.config import load, read_token
from casedrop.errors import Waits
from casedrop.hours import KEPT, LATER, SLACK, Schedule, Window
from casedrop.logs import Names
from casedrop.sandbox import state
from casedrop.service import Service
from casedrop.throttle import Throttle
from lab import Lab, mha
from waiting import wait_for

HOUR = 3600
AMSTERDAM = ZoneInfo("Europe/Amsterdam")
NIGHT = Window(22 * 60, 6 * 60, frozenset(range(7)), 1e8)
EVENING = datetime(2026, 11, 27, 22, 0, tzinfo=AMSTERDAM).timestamp()


def limited(lab: Lab, limits: str, hours: str = "") -> None:
    text = lab.config.read_text().replace("[limits]\n", f"[limits]\n{limits}\n")
    lab.config.write_text(text.replace("[[drops]]", f"{hours}\n[[drops]]", 1))


def in_hours(first: float, last: float, rate: float) -> str:
    """From so many hours after now to so many."""
    start, end = (f"{datetime.now(UTC) + timedelta(hours=one):%H:%M}" for one in (first, last))
    return f'[[limits.hours]]\nfrom = "{start}"\nto = "{end}"\nmegabit_per_second = {rate}'


def parts_sent(lab: Lab) -> list[str]:
    return [path for method, path, status in lab.sandbox.requests if method == "PUT" and status == 200]


def nights(now: Callable[[], float] = lambda: EVENING, rate: float = 1e8) -> Throttle:
    window = Window(NIGHT.start, NIGHT.end, NIGHT.days, rate)
    return Throttle(Schedule(0, (window,), AMSTERDAM), now)


def left(size: float) -> Callable[[], int]:
    return lambda: int(size)


def test_a_case_that_would_not_be_through_with_all_others_waits_for_them() -> None:
    throttle = nights()
    half = 8 * HOUR * 1e8 / SLACK / 2
    throttle.enter(1, left(half * 0.9), begun=False)
    throttle.enter(2, left(half * 0.9), begun=False)
    with pytest.raises(Waits, match="Other folders are sent first"):
        throttle.enter(3, left(half * 0.3), begun=False)
    throttle.enter(4, left(half * 0.1), begun=False)
    throttle.leave(1)
    throttle.enter(3, left(half * 0.3), begun=False)


def test_what_was_begun_goes_on_though_it_would_not_be_admitted_now() -> None:
    throttle = nights(lambda: EVENING + 7.9 * HOUR)
    size = left(HOUR * 1e8)
    with pytest.raises(Waits, match="it is sent at 22:00"):
        throttle.enter(1, size, begun=False)
    throttle.enter(1, size, begun=True)


def test_what_can_never_be_sent_waits_for_a_person_and_says_who_acts() -> None:
    for size in (9 * HOUR * 1e8, KEPT * 1e8):
        with pytest.raises(
            Waits, match="The administrator must allow a higher rate or longer hours"
        ) as waits:
            nights().enter(1, left(size), begun=False)
        assert waits.value.person


def test_a_case_that_was_admitted_early_is_not_delayed_past_its_20_hours() -> None:
    now = [0.0]
    throttle = Throttle(Schedule(1e6), lambda: now[0])
    throttle.enter(1, left(10 * HOUR * 1e6 / SLACK), begun=False)
    now[0] = 9 * HOUR
    with pytest.raises(Waits, match="Other folders are sent first"):
        throttle.enter(2, left(2 * HOUR * 1e6 / SLACK), begun=False)
    throttle.leave(1)
    throttle.enter(2, left(2 * HOUR * 1e6 / SLACK), begun=False)


def test_bytes_stop_a_while_after_the_closing_and_the_wait_says_until_when() -> None:
    now = [EVENING + 8 * HOUR + LATER - 1]
    throttle = nights(lambda: now[0], rate=float("inf"))
    assert throttle.allow(1 << 20, lambda: None) == 1 << 20
    now[0] += 2
    with pytest.raises(Waits, match=r"^It is sent at 22:00, when uploads are open \(limits.hours\)\.$"):
        throttle.allow(1 << 20, lambda: None)


def test_who_waits_for_room_on_the_line_can_be_stopped() -> None:
    throttle = Throttle(Schedule(1.0))

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        throttle.allow(1 << 20, stop)


def test_many_threads_together_keep_to_the_rate() -> None:
    rate = 4e6
    throttle = Throttle(Schedule(rate))
    began, sent = time.monotonic(), 0
    lock = threading.Lock()

    def send() -> None:
        nonlocal sent
        while time.monotonic() < began + 0.5:
            allowed = throttle.allow(1 << 20, lambda: None)
            with lock:
                sent += allowed

    threads = [threading.Thread(target=send) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sent <= rate * (time.monotonic() - began) + burst(rate)
    assert sent > rate * 0.1


@pytest.mark.long
def test_all_drops_together_keep_to_the_rate(lab: Lab) -> None:
    limited(lab, "megabit_per_second = 4")
    text = lab.config.read_text()
    other = (
        text[text.index("[[drops]]") :]
        .replace('"lung"', '"heart"')
        .replace(str(lab.root), f"{lab.top}/heart")
    )
    lab.config.write_text(f"{text}\n{other}")
    lab.command("init")
    image = mha(80)
    lab.move_in("P001", ct__mha=image)
    lab.folder("P002", ct__mha=mha(80, b"\2")).rename(lab.top / "heart/drop/P002")
    began = time.monotonic()
    assert lab.once() == 0
    assert time.monotonic() - began >= (2 * len(image) - burst(5e5)) / 5e5
    assert sorted(lab.titles()) == ["P001", "P002"]
    assert lab.report()["limits"]["megabit_per_second"] == 4
    assert "Uploads go with at most 4 Mbit/s." in lab.command("status", code=75)
    assert "Uploads go with at most 4 Mbit/s." in (lab.root / "casedrop-status.html").read_text()


@pytest.mark.long
def test_while_uploads_are_closed_a_folder_waits_ready_and_is_sent_when_they_are_open(lab: Lab) -> None:
    limited(lab, 'megabit_per_second = 0\ntime_zone = "UTC"', in_hours(2, 4, 800))
    lab.move_in("P001", ct__mha=mha(8))
    lab.start()
    wait_for(lambda: "when uploads are open" in str(lab.case("P001").get("why")), 30, "it waits")
    opens = f"{datetime.now(UTC) + timedelta(hours=2):%H:%M}"
    assert lab.case("P001")["why"] in {
        f"It is sent at {one}, when uploads are open (limits.hours)."
        for one in (opens, f"{datetime.now(UTC) + timedelta(hours=2, minutes=-1):%H:%M}")
    }
    assert lab.report()["limits"]["opens"]
    assert lab.case("P001")["state"] == "uploading"
    assert "Uploads are closed until" in lab.command("status")
    lab.stop()
    assert parts_sent(lab) == []
    lab.configure()
    assert lab.once() == 0
    assert lab.titles() == ["P001"]


@pytest.mark.long
def test_a_folder_too_large_for_every_opening_waits_for_the_administrator(lab: Lab) -> None:
    limited(lab, 'megabit_per_second = 0\ntime_zone = "UTC"', in_hours(-1, 1, 0.00001))
    lab.move_in("P001", ct__mha=mha(32))
    assert lab.once() == 75
    assert lab.case("P001")["state"] == "waiting for a person"
    assert "The administrator must allow a higher rate" in lab.case("P001")["why"]
    assert parts_sent(lab) == []


@pytest.mark.long
def test_a_case_that_is_under_way_when_uploads_close_goes_on_where_it_was_when_they_open(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "part_size", lambda _: 4096)
    monkeypatch.setattr(state, "SMALLEST_PART", 1)
    monkeypatch.setattr(throttle, "MOST", 0.1)
    now = [EVENING + HOUR]

    def close() -> None:
        now[0] = EVENING + 8 * HOUR + LATER

    lab.sandbox.faults.add(method="PUT", path="/storage/.*/4$", status=0, call=close)
    image = mha(32)
    lab.move_in("P001", ct__mha=image)
    service = in_process(lab, lambda: now[0])
    ended: list[int] = []
    thread = threading.Thread(target=lambda: ended.append(service.run(once=True)))
    thread.start()
    wait_for(lambda: "when uploads are open" in str(lab.case("P001").get("why")), 30, "it stops")
    sent = len(parts_sent(lab))
    assert 1 <= sent < len(image) // 4096
    now[0] = EVENING + 24 * HOUR
    thread.join(60)
    assert ended == [0]
    assert lab.titles() == ["P001"]
    assert len(lab.sandbox.state.uploads) <= 1
    assert len(set(parts_sent(lab))) == -(-len(image) // 4096)


@pytest.mark.long
def test_a_folder_whose_files_are_up_is_committed_after_the_closing_though_that_needs_another_try(
    lab: Lab,
) -> None:
    now = [EVENING + HOUR]

    def close() -> None:
        now[0] = EVENING + 8 * HOUR + LATER

    lab.sandbox.faults.add(method="POST", path="/display-sets/$", status=503, call=close)
    lab.move_in("P001", ct__mha=mha(8))
    service = in_process(lab, lambda: now[0])
    thread = threading.Thread(target=lambda: service.run(once=True))
    thread.start()
    lab.wait_done("P001")
    thread.join(60)
    assert now[0] == EVENING + 8 * HOUR + LATER
    assert lab.titles() == ["P001"]


def in_process(lab: Lab, now: Callable[[], float]) -> Service:
    lab.state.mkdir()
    settings = load(lab.config, os.environ)
    token = read_token(settings, os.environ)
    service = Service(settings, lambda: token, Names("hidden", b"key"))
    service.throttle.schedule, service.throttle.now = Schedule(0, (NIGHT,), AMSTERDAM), now
    return service
