"""What `casedrop status` shows: readable at 80 and 200 columns, in a pipe, and whatever folders are called."""

import io
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from rich.cells import cell_len
from rich.console import Console

from casedrop.health import headline, health
from casedrop.lines import Told, lasting, lines, news, size
from casedrop.model import FindingState
from casedrop.status import WAITS, WAITS_FOR_A_PERSON, WORDS
from casedrop.table import MOST, fitting, table
from reported import NOW, SCHEMA, case, drop, expect_valid, report

ADDRESS = "https://grand-challenge.org/reader-studies/lung/display-sets/4c3f2f0a-3f7a-4a6e-a36c-0d2f1a2e5f99/"
SENDING: dict[str, Any] = {"sent_bytes": 450, "total_bytes": 1000, "speed": 12_000_000, "left_seconds": 190}
BUSY = drop(
    case("P001", "uploading", **SENDING),
    case("P002", "being checked by Grand Challenge"),
    case("P003", "settling", "waiting until copying has finished", until=NOW + 12),
    case("P004", WAITS_FOR_A_PERSON, "The display set is gone. " * 6),
    case("P005", "failed", "score.json is missing.", age=7200, reasons=["missing-file"]),
    *[case(f"D{number:02}", "done", age=300 * (number + 1), display_set=ADDRESS) for number in range(30)],
)


def drawn(*drops: dict[str, Any], width: int, runs: bool = True, least: int = 0, **more: Any) -> str:
    out = io.StringIO()
    made = report(*drops, **more)
    expect_valid(made)
    console = Console(file=out, width=width, highlight=False)
    console.print(table(made, NOW, runs=runs, width=width, least=least))
    return out.getvalue()


def row(shown: str, start: str) -> str:
    return next(line for line in shown.splitlines() if line.strip().startswith(start))


@pytest.mark.parametrize("width", [80, 200])
def test_each_case_has_a_row_with_its_state_and_how_far_it_is(width: int) -> None:
    shown = drawn(BUSY, width=width)
    assert all(cell_len(line) <= width for line in shown.splitlines())
    assert row(shown, "P001").split() == "P001 uploading ━━━━╸ 45 %, 12.0 MB/s, 3 min left".split()
    assert "12 s more at most" in row(shown, "P003")
    assert row(shown, "P005").startswith("  P005")
    assert "failed" in row(shown, "P005")
    assert "2 h ago" in row(shown, "P005")


def test_at_80_columns_a_reason_stands_below_its_row_and_at_200_beside_it() -> None:
    narrow, wide = drawn(BUSY, width=80), drawn(BUSY, width=200)
    assert "score.json" not in row(narrow, "P005")
    assert "score.json is missing." in row(wide, "P005")
    for shown in (narrow, wide):
        assert " ".join(shown.split()).count("score.json is missing.") == 1


def test_at_200_columns_the_addresses_of_display_sets_are_whole() -> None:
    assert ADDRESS in drawn(BUSY, width=200)
    assert "https" not in drawn(BUSY, width=80)


def test_what_waits_for_a_person_comes_first_and_the_newest_before_the_older() -> None:
    order = ["P004", "P001", "P002", "P003", "P005", "D00", "D01"]
    shown = drawn(BUSY, width=80).splitlines()
    found = [line.split()[0] for line in shown if line.startswith("  ") and line[2] in "PD"]
    assert found[:7] == order


def test_done_folders_are_counted_and_the_newest_few_shown() -> None:
    shown = drawn(BUSY, width=80)
    assert row(shown, "lung").startswith(
        "lung  1 waiting for a person, 2 on their way, 1 in drop/, 1 failed, 30"
    )
    assert "D04 " in shown
    assert "D05 " not in shown
    assert "and 25 more done (--all shows them)" in shown
    assert "D29 " in drawn(BUSY, width=80, least=999)


def test_thousands_of_folders_in_drop_hide_nothing_that_is_on_its_way() -> None:
    waiting = [case(f"W{number:04}", "ready", age=1) for number in range(5000)]
    shown = drawn(drop(*waiting, case("P001", "uploading", age=900)), width=80)
    assert "uploading" in row(shown, "P001")
    assert f"and {5000 - MOST['in drop/']} more in drop/" in shown
    assert len(shown.splitlines()) < 30


@pytest.mark.parametrize(("width", "height"), [(80, 12), (200, 12), (20, 3)])
def test_what_does_not_fit_on_the_screen_is_counted(width: int, height: int) -> None:
    """And what does is as it is elsewhere."""
    whole = table(report(BUSY), NOW, runs=True, width=width)
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, highlight=False)
    console.print(fitting(whole, console))
    *kept, last = out.getvalue().splitlines()
    every = drawn(BUSY, width=width).splitlines()
    assert [line.rstrip() for line in kept] == [line.rstrip() for line in every[: height - 1]]
    assert f"... and {len(every) - height + 1} more lines".startswith(last[:20])
    high = Console(width=width, height=len(every))
    assert fitting(whole, high) is whole


def test_a_drop_says_first_that_it_is_held_or_has_older_rules() -> None:
    held = drop(held="The share is gone.", stands="held", paused="No connection.")
    shown = drawn(held, width=80, outdated=["lung"]).splitlines()
    assert shown[0].startswith("ATTENTION: The running service has other rules for lung")
    assert "  HELD: The share is gone." in shown
    assert "  Uploads paused: No connection." in shown
    assert "no folders" in row("\n".join(shown), "lung  ")


def test_rows_of_tables_that_changed_are_said_with_what_to_do() -> None:
    first = [
        {"folder": "P1", "what": "some-score", "retry": True},
        {"folder": "P2\x1b", "what": "title", "retry": False},
    ]
    changed = drop(table_changes={"folders": 30, "first": first})
    sends = (
        "CHANGED IN A TABLE since they were sent: P1 (some-score) (the first of 30 folders); `casedrop retry"
    )
    for said in (drawn(changed, width=200), lines(report(changed), NOW, runs=True)):
        assert f"  {sends} lung/NAME` sends the new values" in said
        assert r"P2\x1b (title)" in said
        assert "lung/NAME` says why they are not sent" in said


def test_a_service_that_is_not_there_or_silent_is_said_so() -> None:
    assert "The service is not running; this is how things were 1 s ago" in drawn(width=80, runs=False)
    assert "The service wrote this 5 min ago" in drawn(width=80, time=NOW - 300)


HOSTILE = "".join(map(chr, (27, 0x5B, 0x33, 0x31, 0x6D, 0x202E, 0x200F, 0x2066, 7, 0x9B, 0xDC80, 13, 10)))


@given(st.text(max_size=300), st.integers(1, 250))
def test_no_name_can_disturb_the_terminal_and_none_is_too_long_for_any_width(name: str, width: int) -> None:
    name = f"{HOSTILE}{name}[bold red]"
    found = drop(case(name, "uploading", f"{name} is odd", **SENDING), case(name, "failed", name), name=name)
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(
        table(report(found), NOW, runs=True, width=width)
    )
    for shown in (out.getvalue(), lines(report(found), NOW, runs=True)):
        kinds = {unicodedata.category(letter) for letter in shown if letter != "\n"}
        assert kinds.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
    assert r"\x1b[31m\x202e" in lines(report(found), NOW, runs=True)


def test_in_a_pipe_each_folder_has_one_line() -> None:
    said = lines(report(BUSY), NOW, runs=True).splitlines()
    assert "  P001: uploading, 45 %, 12.0 MB/s, 3 min left" in said
    assert "  P003: settling, 12 s more at most - waiting until copying has finished" in said
    assert f"  D00: done, 5 min ago - {ADDRESS}" in said
    assert sum(line.startswith("  D") for line in said) == 30


def changes(told: Told, *cases: dict[str, Any], **more: Any) -> list[str]:
    return news(report(drop(*cases, **more)), NOW, told, runs=True)


def test_news_are_told_once_and_what_ended_before_is_none() -> None:
    told: Told = {}
    waits = case("P1", "settling", "copying", until=NOW + 9)
    assert changes(told, waits, case("P0", "done")) == ["lung/P1: settling, 9 s more at most - copying"]
    assert changes(told, waits | {"until": NOW + 8}, case("P0", "done")) == []
    assert changes(told, case("P1", "done", display_set=ADDRESS), case("P0", "done")) == [
        f"lung/P1: done - {ADDRESS}"
    ]


def test_news_of_an_upload_come_each_tenth() -> None:
    told: Told = {}
    sending = [case("P1", "uploading", sent_bytes=sent, total_bytes=100, speed=sent) for sent in range(100)]
    said = [line for one in sending for line in changes(told, one)]
    assert [line.split(", ")[1] for line in said] == [f"{tenth} %" for tenth in range(0, 100, 10)]


def test_seconds_that_count_on_are_no_news_but_a_hold_and_its_end_are() -> None:
    told: Told = {}
    assert changes(told) == []
    assert changes(told, held="no answer for 30 s") == ["lung: HELD: no answer for 30 s"]
    assert changes(told, held="no answer for 31 s") == []
    assert changes(told) == ["lung: goes on"]


def test_of_several_cases_of_one_folder_the_newest_is_the_news() -> None:
    told: Told = {}
    before = case("P1", "done", age=999)
    assert changes(told, before) == []
    assert changes(told, before, case("P1", "failed", "odd", age=1)) == ["lung/P1: failed - odd"]
    assert changes(told, before, case("P1", "failed", "odd", age=1)) == []


def test_a_service_that_stops_and_comes_back_is_news() -> None:
    told: Told = {}
    assert news(report(), NOW, told, runs=True) == []
    assert "not running" in news(report(), NOW, told, runs=False)[0]
    for age in (5, 500, 50_000):
        assert news(report(), NOW + age, told, runs=False) == []
    assert news(report(), NOW, told, runs=True) == ["The service runs."]


def test_times_and_sizes_are_said_in_units_people_count_in() -> None:
    assert [lasting(one) for one in (-5, 0.4, 119, 120, 7199, 7200, 172800)] == (
        ["0 s", "0 s", "119 s", "2 min", "119 min", "2 h", "2 days"]
    )
    assert [size(one) for one in (0, 999, 1000, 12.3e6, 4e9, 5e12)] == (
        ["0 B", "999 B", "1.0 kB", "12.3 MB", "4.0 GB", "5.0 TB"]
    )


def sound(*drops: dict[str, Any], runs: bool = True, **more: Any) -> tuple[int, str]:
    return health(report(*drops, **more), NOW, runs=runs, rescan_seconds=30)


def test_health_is_good_while_drops_take_folders_or_rehearse() -> None:
    assert sound(BUSY | {"cases": []}, drop(name="try", stands="rehearses", held="rehearses")) == (
        0,
        "well: lung, try",
    )


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"stands": "held", "held": "P001 of Hansen"}, "lung is held"),
        ({"stands": "paused", "held": "paused"}, "lung is paused by a person"),
        ({"paused": "no connection"}, "uploads of lung are paused"),
        ({"scanned": NOW - 600}, "lung has not been looked through since 10 min"),
        ({"scanned": 0.0}, "lung has not been looked through yet"),
        ({"cases": [case("Hansen", WAITS_FOR_A_PERSON)]}, "1 of lung waits for a person"),
        ({"cases": [case("Hansen", WAITS_FOR_A_PERSON)] * 2}, "2 of lung wait for a person"),
    ],
)
def test_health_says_each_trouble_without_a_name(trouble: dict[str, Any], said: str) -> None:
    code, line = sound(drop(**trouble), drop(name="other"))
    assert (code, line) == (1, f"ATTENTION: {said} (`casedrop status` says why)")


def test_health_tells_a_service_that_is_gone_or_silent() -> None:
    assert sound(drop(), runs=False)[0] == 75
    assert sound(drop(), time=NOW - 600) == (75, "NOT RUNNING: the last status was written 10 min ago")


def test_a_service_from_before_an_upgrade_is_understood_while_it_still_runs() -> None:
    old = {"time": NOW - 1, "pid": 1, "drops": [{"name": "lung", "held": "", "paused": "", "cases": []}]}
    assert health(old, NOW, runs=True, rescan_seconds=30)[0] == 0
    assert lines(old, NOW, runs=True) == "lung\n  no folders"
    assert table(old, NOW, runs=True, width=80)


def test_a_failed_folder_is_no_trouble_of_the_service() -> None:
    assert sound(drop(case("P1", "failed")))[0] == 0


def test_the_schema_is_one_and_knows_every_state() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    states = {*map(str, FindingState), *WORDS.values(), WAITS, WAITS_FOR_A_PERSON}
    assert set(SCHEMA["$defs"]["case"]["properties"]["state"]["enum"]) == states


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (report(BUSY), "2 on their way (uploading 45 %), 1 waiting, 1 waits for a person"),
        (
            report(drop(name="lung", held="no token", stands="held"), drop(name="brain", stands="held")),
            "held: lung and brain",
        ),
        (
            report(drop(case("P001", "uploading", **SENDING), paused="The platform answered 503.")),
            "1 on its way (uploading 45 %), uploads are paused",
        ),
        (report(drop(case("~$P001", "left alone"), case("P002", "done"))), "nothing to do"),
        (report(drop(case("P001", "ready"), stands="rehearses")), "1 waiting, rehearses: lung"),
    ],
)
def test_systemctl_status_counts_what_is_there_and_names_no_folder(found: dict[str, Any], said: str) -> None:
    assert headline(found) == said
