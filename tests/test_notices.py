"""What a message tells of, when it is sent, and what it never holds."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from casedrop import token_age
from casedrop.notices import BATCH, HOUR, SAYS_WHY, Days, News, Notice, Outbox, cause, digest
from casedrop.status import NEWEST

START = 1_000_000.0
END = datetime(2027, 1, 1, tzinfo=UTC)


def failed(folder: str, since: float = START, *reasons: str) -> dict[str, Any]:
    why = f"{folder}/secret.mha matches no rule."
    return {"folder": folder, "state": "failed", "since": since, "why": why, "reasons": [*reasons]}


def drop(*cases: dict[str, Any], held: str = "", stands: str = "", rooted: bool = True) -> dict[str, Any]:
    return {
        "name": "lung",
        "held": held,
        "stands": stands or ("held" if held else ""),
        "paused": "",
        "ended": {"done": 0, "failed": len(cases)} if rooted else {},
        "cases": [*cases],
        "days": [{"day": "2026-01-01", "done": 3, "failed": 1, "bytes": 2_500_000}] * 14,
    }


def report(one: dict[str, Any], time: float = START) -> dict[str, Any]:
    return {"time": time, "drops": [one]}


def told(news: News, one: dict[str, Any]) -> list[str]:
    return [notice.line for notice in news.of(report(one))]


def hashed(name: str) -> str:
    return f"<{len(name)}>"


@pytest.fixture
def news() -> News:
    return News(hashed)


def test_a_failed_folder_is_told_once_by_its_code_and_the_words_of_its_reasons(news: News) -> None:
    told(news, drop())
    case = failed("Jansen", START + 5, "unclaimed", "bad-json")
    assert told(news, drop(case)) == ["failed: lung/<6> (unclaimed, bad-json)"]
    assert told(news, drop(case)) == []


def test_a_folder_that_fails_again_is_told_again(news: News) -> None:
    told(news, drop())
    told(news, drop(failed("A", START + 5)))
    told(news, drop())
    assert len(told(news, drop(failed("A", START + 9)))) == 1


def test_after_a_restart_what_had_failed_is_not_told_again(news: News) -> None:
    assert told(news, drop(rooted=False)) == []
    assert told(news, drop(failed("A"), failed("B"))) == []
    assert len(told(news, drop(failed("A"), failed("B"), failed("C", START + 9)))) == 1


def test_an_old_failure_that_comes_up_when_a_newer_one_leaves_is_not_told(news: News) -> None:
    listed = [failed(str(number), START - number) for number in range(NEWEST)]
    told(news, drop(*listed))
    assert told(news, drop(*listed[1:], failed("old", START - 9999))) == []
    assert len(told(news, drop(failed("new", START + 1), *listed[1:]))) == 1


def test_a_drop_is_told_when_it_is_held_and_when_it_goes_on(news: News) -> None:
    told(news, drop())
    held = drop(held="The token was refused. Renew it.")
    assert told(news, held) == ["HELD: lung. The token was refused."]
    assert told(news, held) == []
    assert told(news, drop()) == ["lung is no longer held."]


def test_a_drop_that_is_held_at_the_start_is_told(news: News) -> None:
    assert told(news, drop(held="No share.", rooted=False)) == ["HELD: lung. No share."]


def test_a_drop_that_a_person_pauses_while_it_is_held_has_not_resumed(news: News) -> None:
    told(news, drop(held="No share."))
    assert told(news, drop(stands="paused")) == []
    assert told(news, drop(held="No share.")) == []


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ("The token was refused. See /srv.", "The token was refused."),
        (
            "5 folders failed alike (unclaimed; the reasons in failed/ say more). Look.",
            "5 folders failed alike (unclaimed; the reasons in failed/ say more).",
        ),
        ("/srv/casedrop/lung cannot be used. Is it there?", SAYS_WHY),
        ("Look at failed/Jansen.reason.txt first.", SAYS_WHY),
        ("Jansen waits. Look.", SAYS_WHY),
    ],
)
def test_of_why_it_is_held_only_a_first_sentence_without_a_path_or_folder_is_told(
    held: str, said: str
) -> None:
    assert cause(drop(failed("Jansen"), held=held)) == said


def some(count: int, kind: Any = "failed") -> list[Notice]:
    return [Notice(kind, "lung", f"line {number}") for number in range(count)]


def test_what_happens_within_a_minute_is_one_message() -> None:
    box = Outbox(per_hour=6)
    box.put(some(2), 0.0)
    box.put(some(1, "held"), BATCH - 1)
    assert box.due(BATCH - 0.1) is None
    message = box.due(BATCH)
    assert message is not None
    assert message.title == "Casedrop: 2 failed, 1 held"
    assert message.body.startswith("line 0\nline 1\nline 0\n\n")
    assert message.trouble
    assert box.due(BATCH * 9) is None


def test_of_very_many_the_first_are_told_and_the_rest_counted() -> None:
    box = Outbox(per_hour=6)
    box.put(some(500), 0.0)
    message = box.due(BATCH)
    assert message is not None
    assert "line 19\nand 480 more: 480 failed" in message.body
    assert "line 20" not in message.body


def test_beyond_the_limit_of_an_hour_one_message_tells_how_many_more() -> None:
    box = Outbox(per_hour=2)
    sent = []
    for minute in range(75):
        box.put(some(1), minute * BATCH)
        if message := box.due(minute * BATCH + BATCH):
            sent.append((minute, message.title))
    assert sent[:3] == [
        (0, "Casedrop: 1 failed"),
        (1, "Casedrop: 1 failed"),
        (HOUR / BATCH, "Casedrop: 59 more"),
    ]


def test_at_the_end_of_the_service_nothing_waits_for_its_minute() -> None:
    box = Outbox(per_hour=1)
    box.put(some(1), 0.0)
    assert box.due(1.0, ending=True) is not None
    box.put(some(1), 2.0)
    assert box.due(3.0, ending=True) is None


def at(day: int, hour: int) -> float:
    return datetime(2026, 3, day, hour, 30, tzinfo=UTC).timestamp()


def test_the_digest_comes_once_a_day_at_its_hour_and_not_at_a_start() -> None:
    days = Days(7, UTC)
    hours = [(1, 9), (1, 23), (2, 6), (2, 7), (2, 8), (3, 5), (3, 9), (2, 9), (3, 10)]
    assert [(day, hour) for day, hour in hours if days.due(at(day, hour))] == [(2, 7), (3, 9)]


def test_a_start_before_the_hour_leaves_the_digest_of_that_day() -> None:
    days = Days(7, UTC)
    assert [days.due(at(1, hour)) for hour in (6, 7, 8)] == [False, True, False]


def test_the_digest_tells_of_each_drop_in_numbers() -> None:
    uploading = failed("Jansen") | {"state": "uploading"}
    waiting = failed("Jansen") | {"state": "waiting for a person"}
    one = drop(uploading, waiting, held="No share.")
    message = digest([one | {"ended": {"done": 7, "failed": 4}}])
    assert message.body == (
        "lung: yesterday 3 done (2.5 MB), 1 failed; now HELD; 1 on the way, 1 waiting for a person, 4 in failed/."
    )


def test_the_end_of_a_token_is_told_some_days_before_again_and_when_it_is_there(news: News) -> None:
    over = END.timestamp()
    days = [
        news.of({"time": over - left * 86400, "token_expires": over, "drops": []})
        for left in range(20, -3, -1)
    ]
    lines = [one.line.split(":")[0] for notices in days for one in notices]
    assert lines == [
        "The token expires in 14 days",
        "The token expires in 7 days",
        "The token expires in 3 days",
        "The token expires tomorrow",
        "The token has expired",
    ]
    outbox = Outbox(6)
    outbox.put([Notice("token", "", "It expires.")], 0)
    message = outbox.due(BATCH)
    assert message
    assert (message.title, message.trouble) == ("Casedrop: 1 token", True)


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (15 * 86400 + 1, ""),
        (15 * 86400, "The token expires in 14 days: 2026-12-31 is its last day (platform.token_expires)."),
        (86400 + 1, "The token expires tomorrow: 2026-12-31 is its last day (platform.token_expires)."),
        (86400, "The token expires today: 2026-12-31 is its last day (platform.token_expires)."),
        (1, "The token expires today: 2026-12-31 is its last day (platform.token_expires)."),
        (0, "The token has expired: 2026-12-31 was its last day (platform.token_expires)."),
    ],
)
def test_a_token_is_good_to_the_end_of_its_last_day(left: int, words: str) -> None:
    report = {"token_expires": token_age.end(date(2026, 12, 31))}
    said = token_age.words(report, END.timestamp() - left)
    assert said == (f"{words} {token_age.RENEW}" if words else "")


def test_without_a_date_nothing_is_said_of_the_token() -> None:
    assert token_age.words({"token_expires": token_age.end(None)}, START) == ""


def test_the_last_day_there_is_may_stand_for_a_token_that_never_expires() -> None:
    assert token_age.words({"token_expires": token_age.end(date(9999, 12, 31))}, START) == ""
