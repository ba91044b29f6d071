"""What our client makes of the recorded answers of a real server, replayed over a real connection."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest
from recording import recorded

from casedrop.answers import Meaning
from casedrop.errors import Refused, SetupProblem, Unavailable, Unclear
from casedrop.grand_challenge import GrandChallenge, Upload

UPLOAD = Upload("pk", "s3", "Initialized", "http://x/", 0.0)
MD5 = bytes(16)
Call = Callable[[GrandChallenge], Any]


class Player(BaseHTTPRequestHandler):
    """Answers everything with one recorded answer."""

    answer: ClassVar[dict[str, Any]] = {}

    def play(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = self.answer["body"]
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response_only(self.answer["status"])
        for name, value in self.answer["headers"].items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_PUT = play  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def client() -> Iterator[GrandChallenge]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Player)
    Thread(target=server.serve_forever, daemon=True).start()
    client = GrandChallenge(f"http://127.0.0.1:{server.server_port}/api/v1/", lambda: "0" * 64)
    yield client
    client.close()
    server.shutdown()
    server.server_close()


def part(client: GrandChallenge) -> str:
    return client.put_part(f"{client.url}part", [b"x"], 1, MD5)


REFUSALS: list[tuple[str, int, Call, Meaning]] = [
    ("03", 5, lambda c: c.presign(UPLOAD, [0]), Meaning.REFUSED),
    ("03", 7, lambda c: c.presign(UPLOAD, [1]), Meaning.GONE),
    ("04", 20, lambda c: c.parts(UPLOAD), Meaning.GONE),
    ("04", 41, lambda c: c.create_upload("x"), Meaning.REFUSED),
    ("05", 4, lambda c: c.create_display_set("s", "t"), Meaning.TITLE_TAKEN),
    ("05", 31, lambda c: c.update_display_set("pk", {}), Meaning.REFUSED),
    ("05", 32, lambda c: c.update_display_set("pk", {}), Meaning.REFUSED),
    ("05", 48, lambda c: c.update_display_set("pk", {}), Meaning.REFUSED),
    ("05", 56, lambda c: c.update_display_set("pk", {}), Meaning.TITLE_TAKEN),
    ("05", 62, lambda c: c.update_display_set("pk", {}), Meaning.FORBIDDEN),
    ("05", 67, lambda c: c.update_display_set("pk", {}), Meaning.CLOSED),
    ("06", 36, lambda c: c.upload("pk"), Meaning.GONE),
    ("06", 53, lambda c: c.update_display_set("pk", {}), Meaning.UPLOAD_DIED),
    ("10", 3, lambda c: c.of(archive=True).create_display_set("pk", "t"), Meaning.TITLE_TAKEN),
    ("10", 21, lambda c: c.of(archive=True).update_display_set("pk", {}), Meaning.REFUSED),
    ("10", 27, lambda c: c.of(archive=True).display_set("pk"), Meaning.GONE),
    ("16", 3, part, Meaning.URL_EXPIRED),
    ("16", 4, part, Meaning.URL_EXPIRED),
    ("19", 15, lambda c: c.update_display_set("pk", {}), Meaning.UPLOAD_DIED),
    ("19", 21, lambda c: c.update_display_set("pk", {}), Meaning.TITLE_TAKEN),
    ("19", 29, lambda c: c.update_display_set("pk", {}), Meaning.CLOSED),
    ("19", 42, lambda c: c.of(archive=True).update_display_set("pk", {}), Meaning.TITLE_TAKEN),
]

FAILURES: list[tuple[str, int, Call, type[Exception]]] = [
    ("04", 12, lambda c: c.presign(UPLOAD, [1]), Unavailable),
    ("12", 5, lambda c: c.presign(UPLOAD, [1]), Unavailable),
    ("01", 9, lambda c: c.whoami(), SetupProblem),
    ("01", 8, lambda c: c.create_upload("x"), SetupProblem),
    ("05", 14, lambda c: c.create_display_set("s", "t"), SetupProblem),
    ("05", 45, lambda c: c.update_display_set("pk", {}), SetupProblem),
    ("10", 4, lambda c: c.of(archive=True).create_display_set("pk", "t"), SetupProblem),
    ("10", 9, lambda c: c.of(archive=True).create_display_set("pk", "t"), SetupProblem),
    ("12", 2, lambda c: c.create_upload("x"), Unavailable),
    ("17", 1, lambda c: c.whoami(), Unavailable),
    ("17", 2, lambda c: c.create_upload("x"), Unclear),
    ("17", 9, lambda c: c.update_display_set("pk", {}), Unclear),
    ("04", 11, lambda c: c.complete(UPLOAD, {1: "e"}), Unclear),
    ("05", 42, lambda c: c.update_display_set("pk", {}), Unclear),
]


@pytest.mark.parametrize(("number", "row", "call", "means"), REFUSALS)
def test_a_recorded_no_is_understood(
    client: GrandChallenge, number: str, row: int, call: Call, means: Meaning
) -> None:
    Player.answer = recorded(number, row)
    with pytest.raises(Refused) as no:
        call(client)
    assert no.value.meaning is means


@pytest.mark.parametrize(("number", "row", "call", "raised"), FAILURES)
def test_a_recorded_failure_is_for_the_one_who_must_act(
    client: GrandChallenge, number: str, row: int, call: Call, raised: type[Exception]
) -> None:
    Player.answer = recorded(number, row)
    with pytest.raises(raised):
        call(client)


def test_recorded_records_are_read(client: GrandChallenge) -> None:
    """19_one_patch_commit.jsonl:13, 14, 5; 03_uploads.jsonl:1; 01_auth_pagination.jsonl:2; 02_sockets.jsonl:2, 3;
    10_archives.jsonl:1, 2, 20, 24."""
    Player.answer = recorded("19", 13)
    found = client.display_set("pk")
    assert found.values["results-json-file"].value == [1]
    assert found.values["a-pdf-file-socket"].file
    assert found.values["generic-medical-image"].image
    Player.answer = recorded("19", 14)
    session = client.session("pk")
    assert (session.status, session.images) == ("Succeeded", (found.values["generic-medical-image"].image,))
    Player.answer = recorded("19", 5)
    assert client.create_session([]).status == "Queued"
    Player.answer = recorded("03", 1)
    upload = client.create_upload("case1.mha")
    assert (upload.status, upload.age < 5) == ("Initialized", True)
    Player.answer = recorded("01", 2)
    study = client.reader_study("upload-target")
    assert study
    assert study.slug == "upload-target"
    Player.answer = recorded("10", 1)
    archive = client.of(archive=True).reader_study("upload-archive")
    assert archive
    assert archive.archive
    assert archive.url.endswith("/archives/upload-archive/")
    for number, row, sockets in (("10", 20, ["t-ct-image", "t-report-pdf", "t-score-float"]), ("10", 2, [])):
        Player.answer = recorded(number, row)
        item = client.of(archive=True).display_set("pk")
        assert (item.title, sorted(item.values)) == ("item-1795488238", sockets)
    Player.answer = recorded("10", 24)
    assert [one.title for one in client.of(archive=True).display_sets("pk")] == [
        "arch-1795488238",
        "item-1795488238",
    ]
    Player.answer = recorded("01", 4)
    assert client.reader_study("upload-target") is None
    Player.answer = recorded("02", 2)
    kind = client.socket("t-ct-image")
    assert kind
    assert (kind.super_kind, kind.segments) == ("Image", ())
    Player.answer = recorded("02", 3)
    kind = client.socket("t-lung-segmentation")
    assert kind
    assert kind.segments == (1,)
