"""What the logs show, and above all what they never show."""

import io
import json
import logging
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
import structlog

from casedrop.errors import SetupProblem
from casedrop.keys import KEY_BYTES
from casedrop.logs import Names, configure, name_key

TOKEN = "0123456789abcdef" * 4
SIGNATURE = "5d1f0e2c" * 8
NAME = "Jansen, P. 1951-03-02"
PRESIGNED = f"https://storage.example.org/bucket/key?X-Amz-Expires=3600&X-Amz-Signature={SIGNATURE}"
KEY = bytes(KEY_BYTES)
log = structlog.get_logger()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(params=[io.StringIO, Terminal], ids=["json", "terminal"])
def stream(request: pytest.FixtureRequest) -> io.StringIO:
    made: io.StringIO = request.param()
    return made


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions, threading.excepthook
    yield
    structlog.reset_defaults()
    root.handlers[:], level, logging.raiseExceptions, threading.excepthook = before
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail() -> NoReturn:
    try:
        os.stat(f"/nowhere/{NAME}/ct.mha")
    except OSError as error:
        raise ValueError(f"while sending {PRESIGNED} with {TOKEN}") from error
    raise AssertionError


def assert_no_canary(text: str) -> None:
    assert text
    for canary in (TOKEN, SIGNATURE, NAME, "Jansen"):
        assert canary not in text


def test_neither_token_nor_signature_nor_name_gets_through(stream: io.StringIO) -> None:
    configure(stream, names="hidden", key=KEY, debug=True, secrets=[TOKEN])
    log.info("settled", folder=NAME, file=Path(NAME) / "ct.mha", title=os.fsencode(NAME), path=[NAME, NAME])
    log.info(PRESIGNED, token=TOKEN, nested={TOKEN: [("Bearer canary", PRESIGNED)]})
    log.info("sent", url=httpx.URL(PRESIGNED), encoded=f"X-Amz-Signature%3D{SIGNATURE}")
    try:
        fail()
    except ValueError as error:
        log.exception("failed")
        log.warning("failed", exc_info=error)
        log.warning("failed", error=error, stack_info=True)
    assert_no_canary(stream.getvalue())
    assert "canary" not in stream.getvalue()


def test_what_libraries_log_comes_without_its_arguments(stream: io.StringIO) -> None:
    configure(stream, names="hidden", key=KEY, debug=True, secrets=[TOKEN])
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as client:
        client.put(PRESIGNED)
    logging.getLogger("watchdog.observers").debug("in-event %s", NAME)
    assert stream.getvalue() == ""
    logging.getLogger("watchdog.observers").warning("Inotify queue overflowed below %r", NAME)
    try:
        fail()
    except ValueError:
        logging.getLogger("anything").exception("Cannot send %s", PRESIGNED)
    logging.getLogger("anything").error("%d", "no number")
    assert "Inotify queue overflowed below" in stream.getvalue()
    assert_no_canary(stream.getvalue())


def test_a_dying_thread_is_logged_without_its_message(
    stream: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(stream, names="hidden", key=KEY)
    thread = threading.Thread(target=fail, name="scanner")
    thread.start()
    thread.join()
    assert "thread_died" in stream.getvalue()
    assert_no_canary(stream.getvalue())
    assert capfd.readouterr().err == ""


def test_an_exception_is_shown_as_types_and_places() -> None:
    stream = io.StringIO()
    configure(stream, names="hidden", key=KEY)
    try:
        fail()
    except ValueError:
        log.exception("failed")
    (line,) = lines(stream)
    outer, inner = line["exception"].split(" <- ")
    assert outer.startswith("ValueError at test_logs:")
    assert outer.endswith(" fail")
    assert inner.startswith("FileNotFoundError at test_logs:")


def test_json_lines_hold_time_level_event_and_facts() -> None:
    stream = io.StringIO()
    names = configure(stream, names="hidden", key=KEY)
    with structlog.contextvars.bound_contextvars(drop="lung"):
        log.info("settled", folder=NAME, files=3, seconds=0.5, held=None)
    log.debug("not shown")
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "event": "settled",
        "drop": "lung",
        "folder": names.of(NAME),
        "files": 3,
        "seconds": 0.5,
        "held": None,
    }


def test_a_name_cannot_forge_a_line_or_speak_to_the_terminal() -> None:
    stream = Terminal()
    configure(stream, names="plain", key=KEY)
    log.info("settled", folder="a\n[error] forged\x1b]0;\udcff")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b]0;" not in stream.getvalue()
    assert "forged" in stream.getvalue()


def test_plain_mode_shows_names_but_no_secrets() -> None:
    stream = io.StringIO()
    configure(stream, names="plain", key=KEY, secrets=[TOKEN])
    log.info("settled", folder=NAME, title=TOKEN)
    (line,) = lines(stream)
    assert (line["folder"], line["title"]) == (NAME, "[hidden]")


def test_a_stream_that_takes_nothing_stops_nobody() -> None:
    stream = io.StringIO()
    configure(stream, names="hidden", key=KEY)
    stream.close()
    log.info("settled")
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", encoding="utf-8")
    configure(full, names="hidden", key=KEY)
    log.info("settled")
    with pytest.raises(OSError, match="No space left"):
        full.close()


def test_a_hidden_name_is_short_the_same_for_one_key_and_another_for_others() -> None:
    hidden = Names("hidden", KEY).of(NAME)
    assert len(hidden) == 10
    assert int(hidden, 16) >= 0
    assert hidden == Names("hidden", KEY).of(NAME)
    assert hidden == Names("hidden", KEY).of(hidden), "hiding twice must not make a third name"
    assert hidden != Names("hidden", b"1" * KEY_BYTES).of(NAME)
    assert hidden != Names("hidden", KEY).of(NAME + "x")
    assert Names("hidden", KEY).of("\udcff") != Names("hidden", KEY).of("0123456789") != "0123456789"
    assert Names("plain", KEY).of(NAME) == NAME


def test_a_name_that_is_hidden_already_keeps_its_code() -> None:
    names = Names("hidden", KEY)
    assert names(None, "", {"case": names.of(NAME)}) == names(None, "", {"case": NAME})


def test_the_key_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    key = name_key(tmp_path)
    assert (len(key), name_key(tmp_path)) == (KEY_BYTES, key)
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_processes_that_start_at_once_agree_on_the_key(tmp_path: Path) -> None:
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(name_key(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


def test_a_key_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    with pytest.raises(SetupProblem, match="cannot be read or made: No such file or directory"):
        name_key(tmp_path / "none")
    (tmp_path / "names.key").write_bytes(b"short")
    with pytest.raises(SetupProblem, match="is damaged"):
        name_key(tmp_path)
