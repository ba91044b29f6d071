"""What systemd's journal gets of an event: fields that can be asked for, and no secret in any of them."""

import io
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from casedrop import journald
from casedrop.keys import KEY_BYTES
from casedrop.logs import configure
from test_logs import NAME, PRESIGNED, TOKEN, assert_no_canary, fail, logging_as_before

__all__ = ["logging_as_before"]

KEY = bytes(KEY_BYTES)
log = structlog.get_logger()


class Daemon:
    """Listens where the journal's own socket would be."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(5)

    def raw(self) -> bytes:
        return self.socket.recv(1 << 20)

    def entry(self) -> dict[str, list[str]]:
        return fields(self.raw())


def fields(data: bytes) -> dict[str, list[str]]:
    """As journald reads them."""
    found: dict[str, list[str]] = {}
    while data:
        line, data = data.split(b"\n", 1)
        name, is_line, value = line.partition(b"=")
        if not is_line:
            length = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + length], data[8 + length + 1 :]
        found.setdefault(name.decode(), []).append(value.decode())
    return found


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    path = tmp_path / "socket"
    monkeypatch.setattr(journald.Journal.__init__, "__defaults__", (str(path),))
    made = Daemon(path)
    yield made
    made.socket.close()


def test_an_event_is_a_sentence_and_each_fact_a_field(daemon: Daemon) -> None:
    names = configure(io.StringIO(), names="plain", key=KEY, journal=True)
    log.warning(
        "case", stage="failed", case=names.of("P001"), drop="lung", reasons=["missing-file", "damaged"]
    )
    assert daemon.entry() == {
        "MESSAGE": ['case (stage=failed, case=P001, drop=lung, reasons=["missing-file", "damaged"])'],
        "PRIORITY": ["4"],
        "SYSLOG_IDENTIFIER": ["casedrop"],
        "EVENT": ["case"],
        "STAGE": ["failed"],
        "CASE": ["P001"],
        "DROP": ["lung"],
        "REASONS": ["missing-file", "damaged"],
    }
    log.error("drop held", drop="lung", why="No token.")
    assert daemon.entry()["MESSAGE"] == ["drop held (drop=lung): No token."]
    log.info("stopped")
    assert daemon.entry()["MESSAGE"] == ["stopped"]


def test_neither_token_nor_signature_nor_name_gets_into_any_field(daemon: Daemon) -> None:
    configure(io.StringIO(), names="hidden", key=KEY, debug=True, secrets=[TOKEN])
    configure(io.StringIO(), names="hidden", key=KEY, debug=True, secrets=[TOKEN], journal=True)
    log.info("settled", folder=NAME, file=Path(NAME) / "ct.mha", title=os.fsencode(NAME), path=[NAME, NAME])
    log.info(PRESIGNED, token=TOKEN, nested={TOKEN: [("Bearer canary", PRESIGNED)]}, **{TOKEN: 1})
    log.info("sent", why=f"{PRESIGNED} did not answer {TOKEN}")
    try:
        fail()
    except ValueError:
        log.exception("failed")
    for _ in range(4):
        said = daemon.raw().decode()
        assert_no_canary(said)
        assert "canary" not in said
        assert TOKEN.upper() not in said


def test_a_value_with_line_breaks_is_one_value_and_forges_no_field() -> None:
    found = fields(journald.datagram({"event": "settled", "note": "a\nPRIORITY=0\n", "drop": "lung"}))
    assert found["NOTE"] == ["a\nPRIORITY=0\n"]
    assert (found["PRIORITY"], found["DROP"]) == (["6"], ["lung"])


@pytest.mark.parametrize(
    "key", ["message", "priority", "_PID", "__cursor", "9lives", "é", "a b", "x" * 99, "-"]
)
def test_a_fact_takes_no_field_of_the_journals_own(key: str) -> None:
    found = fields(journald.datagram({"event": "settled", key: "\udcff"}))
    assert (found["PRIORITY"], len(found["MESSAGE"])) == (["6"], 1)
    assert all(name[0].isalpha() and name.isascii() and len(name) <= 64 for name in found)


def test_what_the_journal_does_not_take_is_a_line_on_standard_error(daemon: Daemon) -> None:
    stream = io.StringIO()
    configure(stream, names="hidden", key=KEY, secrets=[TOKEN], journal=True)
    log.info("too long", case=NAME, note=TOKEN + "x" * (1 << 20))
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == "too long"
    assert_no_canary(line)
    daemon.socket.close()
    log.info("nobody is there")
    assert "nobody is there" in stream.getvalue()


def test_only_what_goes_to_the_journal_anyway_goes_there_as_fields(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        found = os.fstat(stream.fileno())
        assert journald.connected(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        assert not journald.connected(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"})
        assert not journald.connected(stream, {})
    assert not journald.connected(stream, {})
    assert not journald.connected(io.StringIO(), {"JOURNAL_STREAM": "1:1"})
