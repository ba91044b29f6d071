"""The status page as text: what it says of each folder, whatever people have called it."""

import re
from collections.abc import Callable
from datetime import UTC
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from casedrop.model import Case as Record
from casedrop.model import Drop, SocketRule
from casedrop.page import Facts, page
from casedrop.page_style import SCRIPT
from casedrop.stages import Stage
from casedrop.tally import Rested, Tally

NOW = 1_800_000_000.0
DROP = Drop("lung", "/srv/lung", "lung-2026", (SocketRule("ct-image", ("*.mha",)),))
NO_DAYS = Tally(UTC).days(NOW)
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "a\u202eb\u2066c",
    "x" * 255,
    "\U0001f600" * 60,
    "caf\udce9\ud83d",
    "&lt;b&gt;\r\n\0",
    "</title></style><base href=//x>",
)
Said = dict[str, Any]


class Read(HTMLParser):
    """What a browser makes of a page: its tags, and by the id of each section its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._at = "top"
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("h2", "script", "style"):
            self._at = str(dict(attrs).get("id", tag))

    def handle_data(self, data: str) -> None:
        self.text[self._at] = self.text.get(self._at, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def said(folder: str, state: str, why: str = "", ago: float = 60, **more: Any) -> Said:
    return {"folder": folder, "state": state, "since": NOW - ago, "why": why} | more


def report(*cases: Said, held: str = "", paused: str = "", days: list[Said] = NO_DAYS) -> Said:
    return {"name": "lung", "held": held, "paused": paused, "page": "", "days": days, "cases": [*cases]}


def facts(hide: Callable[[str], str] | None = None, *, stopped: bool = False) -> Facts:
    return Facts(NOW, 30, 900, hide, stopped, UTC)


def read(*cases: Said, drop: Drop = DROP, **more: Any) -> Read:
    return Read(page(drop, report(*cases, **more), facts()))


def test_each_folder_stands_where_its_state_belongs() -> None:
    found = read(
        said("P1", "waiting", "ct.mha is still being written."),
        said("P2", "settling", until=NOW + 12),
        said("P3", "uploading", sent_bytes=25_000_000, total_bytes=100_000_000, speed=5_000_000),
        said("P4", "being checked by Grand Challenge"),
        said("P5", "waiting for a person", "The same files are in P0."),
        said("P6", "failed", "No file for socket ct-image.", filed_as="P6 20260101T000000Z"),
        said("P7", "done", bytes=1_500_000, display_set="https://gc.example/display-sets/7/"),
        said("notes.txt", "left alone", "Not a folder."),
    ).text
    assert "P1" in found["waiting"]
    assert "ct.mha is still being written." in found["waiting"]
    assert "settling, until 2027-01-15 08:00:12 UTC" in found["waiting"]
    assert "25.0 MB of 100.0 MB (25 %), 5.0 MB/s, ready about 2027-01-15 08:00:15 UTC" in found["under-way"]
    assert "uploaded, being checked by Grand Challenge" in found["under-way"]
    assert "The same files are in P0." in found["person"]
    assert "No file for socket ct-image." in found["failed"]
    assert "filed as P6 20260101T000000Z" in found["failed"]
    assert "move the folder back into drop/" in found["failed"]
    assert "done, 2027-01-15 07:59:00 UTC, 1.5 MB" in found["done"]
    assert "Not a folder." in found["alone"]


def test_an_upload_is_a_bar_in_bytes_that_has_a_name() -> None:
    (bar,) = read(said("P3", "uploading", sent_bytes=7, total_bytes=5)).all("progress")
    assert bar == {"max": "5", "value": "5", "aria-label": "Upload of P3"}


def test_of_several_files_and_of_several_parts_it_says_how_many_are_done() -> None:
    found = read(
        said("P1", "on its way", "Its parts are on their way.", done_parts=2, total_parts=3),
        said("P1/v3", "uploading", sent_bytes=5, total_bytes=10, sent_files=12, total_files=40),
    ).text["under-way"]
    assert "UTC, 2 of 3 parts done" in found
    assert "(50 %), 12 of 40 files" in found


def test_done_links_to_the_display_set_and_tells_the_page_nothing() -> None:
    parts = [{"part": "v1", "display_set": "https://gc.example/1/", "bytes": 1}]
    found = read(
        said("P1", "done", display_sets=parts), said("P2", "done", display_set="javascript:alert(1)")
    )
    (link,) = found.all("a")[1:]
    assert link == {
        "href": "https://gc.example/1/",
        "rel": "noreferrer noopener",
        "aria-label": "display set v1 of P1",
    }
    assert "display set v1" in found.text["done"]
    assert "javascript:alert(1)" in found.text["done"]


def test_a_failed_folder_of_which_readers_see_something_says_so() -> None:
    found = read(said("P1", "failed", "Bad.", display_set="https://gc.example/1/"))
    assert "Readers may see what came through of it: display set" in found.text["failed"]


def test_what_holds_everything_is_said_first_and_who_acts() -> None:
    drop = Drop("lung", "/", "s", DROP.sockets, contact="Ann, room <12>")
    found = page(drop, report(held="Is the share mounted?", paused="It does not answer."), facts())
    words = " ".join(Read(found).text.values())
    assert "Is the share mounted? This is for the administrator. Please tell Ann, room <12>." in words
    assert "It does not answer. Nothing needs to be done here" in words
    assert found.index("Is the share mounted?") < found.index("Copy one into")


def changed(*retries: bool, folders: int = 0) -> Said:
    first = [
        {"folder": f"P{number}", "what": "v1: some-score", "retry": retry}
        for number, retry in enumerate(retries, 1)
    ]
    return {"table_changes": {"folders": folders or len(first), "first": first}}


def test_rows_of_tables_that_changed_are_said_once_with_who_can_send_them() -> None:
    drop = Drop("lung", "/", "s", DROP.sockets, contact="Ann, room 12")

    def words(found: Said, hide: Callable[[str], str] | None = None) -> str:
        return " ".join(Read(page(drop, report() | found, facts(hide))).text.values())

    mixed = words(changed(True, False, folders=30))
    assert "P1 (v1: some-score), P2 (v1: some-score) and 28 more. Grand Challenge still holds" in mixed
    assert "please tell Ann, room 12: the administrator can send the new values with casedrop retry" in mixed
    assert "casedrop retry lung/NAME, which also says why it sends none of P2." in mixed
    assert "find out why the new values are not sent with casedrop retry lung/NAME." in words(changed(False))
    assert "send the new values with casedrop retry lung/NAME." in words(changed(True))
    assert "code2. Grand Challenge still" in words(changed(True), lambda name: f"code{len(name)}")
    assert "A table has changed" not in words(changed())


def test_a_command_is_set_apart_from_what_is_said_of_it() -> None:
    why = "The administrator says `casedrop retry DROP/<b>`; ` is no command."
    text = page(DROP, report(said("P1", "waiting for a person", why)), facts())
    assert "says <code>casedrop retry DROP/&lt;b&gt;</code>; ` is no command." in text


def test_a_rehearsal_is_no_trouble() -> None:
    drop = Drop("lung", "/", "s", DROP.sockets, mode="rehearse")
    words = " ".join(read(drop=drop, held="This drop rehearses.").text.values())
    assert "This is a rehearsal" in words
    assert "Held" not in words


def test_a_stopped_service_says_so_and_one_that_died_is_told_by_the_page_itself() -> None:
    stopped = Read(page(DROP, report(), facts(stopped=True)))
    assert "Nothing moves until it is started again." in " ".join(stopped.text.values())
    assert "data-stopped" in stopped.all("body")[0]
    running = read()
    assert running.all("body") == [{"data-seen": "1800000000"}]
    (down,) = [one for one in running.all("div") if one.get("id") == "down"]
    assert "hidden" in down
    assert "The service may be down" in " ".join(running.text.values())


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_or_reason_that_is_html_or_turns_text_is_only_text(name: str) -> None:
    plain = read(said("P1", "failed", "why", filed_as="f", display_set="https://gc.example/"))
    sets = [{"part": name, "display_set": f"https://gc.example/{name}", "bytes": 1}]
    text = page(
        Drop(
            name,
            "/",
            name,
            (SocketRule(name, (name,)),),
            folder="x",
            contact=name,
            ready=name,
            ignore=(name,),
        ),
        report(
            said(name, "failed", name, filed_as=name, display_set=f"https://gc.example/{name}"),
            said(name, "done", display_sets=sets),
            said(name, "uploading", sent_bytes=1, total_bytes=2),
            held=name,
            paused=name,
        ),
        facts(),
    )
    found = Read(text)
    assert {tag for tag, _ in found.tags} <= {tag for tag, _ in plain.tags} | {"progress", "section"}
    assert not any(key.startswith("on") for _, attributes in found.tags for key in attributes)
    assert len(found.all("script")) == 1
    assert not re.search("[\u202a-\u202e\u2066-\u2069\ud800-\udfff\0]", text)


def test_hidden_names_are_codes_and_reasons_only_their_words() -> None:
    cases = (
        said("Doe", "failed", "Doe.mha: two files.", reasons=["two-files"], filed_as="Doe 1"),
        said("Doe", "waiting", "Doe.mha is still being written."),
        said("Doe", "uploading", sent_bytes=1, total_bytes=2),
        said(
            "Doe", "done", display_sets=[{"part": "Doe", "display_set": "https://gc.example/1/", "bytes": 1}]
        ),
    )
    text = page(DROP, report(*cases), facts(lambda name: f"code{len(name)}"))
    assert "Doe" not in text
    assert "code3" in text
    assert "two-files" in text


def test_five_thousand_folders_of_the_longest_names_stay_below_a_megabyte() -> None:
    states = ("waiting", "uploading", "left alone", "waiting for a person", "done", "failed")
    cases = [
        said("<" * 250 + str(number), state, "&" * 3000, ago=number)
        for number in range(5000 // len(states))
        for state in states
    ]
    text = page(DROP, report(*cases), facts())
    assert len(text.encode()) < 1_000_000
    found = Read(text).text["waiting"]
    shown = [int(number) for number in re.findall(r"<{250}(\d+)", found)]
    assert shown == [*range(len(shown))]
    assert f"And {833 - len(shown)} more." in found


def test_newest_is_first_and_what_is_older_is_folded() -> None:
    text = page(DROP, report(*(said(f"P{number:03}", "done", ago=number) for number in range(30))), facts())
    assert "20 older" not in text
    assert text.index("P019") < text.index("10 older") < text.index("P020")
    old = page(DROP, report(said("P001", "failed", ago=8 * 86400)), facts())
    assert old.index("1 older") < old.index("P001")


def test_the_days_are_counted_and_drawn_with_the_numbers_as_text() -> None:
    tally = Tally(UTC)
    tally.fill(
        [
            Rested(1, False, NOW, 2_000_000, True),
            Rested(2, False, NOW - 86400, 1_000_000, True),
            Rested(3, True, NOW, 0, True),
            Rested(4, False, NOW, 500_000, False),
            Rested(5, False, NOW - 30 * 86400, 9, True),
        ]
    )
    found = read(said("P1", "done"), days=tally.days(NOW))
    assert "Today: 1 (2.5 MB). In the last 7 days: 2 (3.5 MB)." in found.text["done"]
    folders, sizes = (one["aria-label"] for one in found.all("svg"))
    assert folders == "Folders a day in the last 14 days: 2 done, 1 failed, at most 2 on one day"
    assert sizes == "Size a day in the last 14 days: 3.5 MB in all, at most 2.5 MB on one day"
    assert "2027-01-15112.5 MB" in found.text["days"]


def test_each_day_tells_what_came_to_rest_on_it_whatever_became_of_it_later() -> None:
    """A folder that fails again on the same day, or is told of twice, is counted once."""
    tally = Tally(UTC)

    def now(stage: Stage, since: float) -> list[dict[str, int]]:
        tally.note(Record(1, "r", "P1", "p", "s", "pk", "slug", stage, since))
        tally.fill([Rested(1, True, NOW - 86400, 0, True)])
        return [{key: day[key] for key in ("failed", "done")} for day in tally.days(NOW)[-2:]]

    yesterday, nothing = {"failed": 1, "done": 0}, {"failed": 0, "done": 0}
    assert now(Stage.FAILED, NOW - 86400) == [yesterday, nothing]
    assert now(Stage.PLANNED, NOW - 86300) == [yesterday, nothing]
    assert now(Stage.FAILED, NOW - 86200) == [yesterday, nothing]
    assert now(Stage.DONE, NOW) == [yesterday, {"failed": 0, "done": 1}]
    assert not any(day["done"] for day in tally.days(NOW + 20 * 86400))
    assert not tally.ended


def test_the_page_can_ask_nothing_of_anywhere() -> None:
    text = page(DROP, report(said("P1", "done", display_set="https://gc.example/1/")), facts())
    policy = next(one["content"] for one in Read(text).all("meta") if one.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not {"src", "style", "action"} & {key for _, attributes in Read(text).tags for key in attributes}
    assert SCRIPT in text
    assert '<noscript><meta http-equiv="refresh" content="15"></noscript>' in text


def test_headings_are_in_order_and_tables_have_scopes() -> None:
    tally = Tally(UTC)
    tally.fill([Rested(1, False, NOW, 1, True)])
    found = read(said("P1", "failed"), days=tally.days(NOW))
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert levels.count(1) == 1
    assert all(one.get("scope") in ("col", "row") for one in found.all("th"))
    assert {"header", "main", "footer", "nav"} <= {tag for tag, _ in found.tags}
    assert found.all("html") == [{"lang": "en"}]
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
