"""The sandbox answers as a real server was recorded to: each test names its recording and row.

A row's `situation` says what its addresses stand for; ids are replaced by those of the sandbox.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from casedrop.answers import Meaning
from casedrop.errors import Refused, Unavailable
from casedrop.grand_challenge import GrandChallenge
from casedrop.sandbox import Sandbox
from waiting import wait_for

STUDY, ARCHIVE = "upload-target", "upload-archive"
SOCKETS = {
    "t-score-float": ("Float", "Value"),
    "t-count-int": ("Integer", "Value"),
    "t-flag-bool": ("Bool", "Value"),
    "t-report-string": ("String", "Value"),
    "results-json-file": ("Anything", "Value"),
    "t-findings-file": ("Anything", "File"),
    "t-report-pdf": ("PDF file", "File"),
    "a-pdf-file-socket": ("PDF file", "File"),
    "t-ct-image": ("Image", "Image"),
    "generic-medical-image": ("Image", "Image"),
}
READ = (
    "pk",
    "title",
    "order",
    "archive",
    "s3_upload_id",
    "status",
    "api_url",
    "error_message",
    "image_set",
    "user",
)
RECORDED = sorted((Path(__file__).parent / "recorded" / "sandbox").glob("*.jsonl"))
HEADER = (
    b"NDims = 3\nDimSize = 4 4 4\nElementSpacing = 1 1 2\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
)


def _rows() -> Iterator[Any]:
    for file in RECORDED:
        for line in file.read_text().splitlines():
            row = json.loads(line)
            yield pytest.param(row, id=f"recording {file.stem} row {row['row']}: {row['note'][:50]}")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(import_seconds=0.02) as running:
        running.add_reader_study(STUDY)
        running.add_archive(ARCHIVE)
        for slug, (kind, super_kind) in SOCKETS.items():
            running.add_socket(slug, kind, super_kind)
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[GrandChallenge]:
    made = GrandChallenge(sandbox.url, lambda: sandbox.token)
    for held in (*sandbox.display_sets(STUDY), *sandbox.archive_items(ARCHIVE)):
        sandbox.delete_display_set(held.pk)
    yield made
    made.close()


def sent(client: GrandChallenge, name: str, content: bytes) -> str:
    upload = client.create_upload(name)
    md5 = hashlib.md5(content, usedforsecurity=False)
    etag = client.put_part(client.presign(upload, [1])[1], [content], len(content), md5.digest())
    return client.complete(upload, {1: etag}).api_url


def _ids(client: GrandChallenge, sandbox: Sandbox, situation: str) -> dict[str, str]:
    """What the addresses of a recorded row stand for."""
    for title in () if situation == "empty study" else ("case-1", "CASE-1"):
        client.create_display_set(STUDY, title)
    display_set = client.create_display_set(STUDY, "subject")
    upload = client.create_upload("a.mha")
    signed = client.presign(upload, [1])[1]
    session = client.create_session([sent(client, "b.mha", b"no image")])
    etag = client.put_part(signed, [b"x"], 1, hashlib.md5(b"x", usedforsecurity=False).digest())
    if situation == "closed":
        sandbox.close_display_set(display_set.pk)
    if situation == "completed":
        client.complete(upload, {1: etag})
    if situation == "aborted":
        client._write(
            "abort", "PATCH", f"uploads/{upload.pk}/{upload.s3_upload_id}/abort-multipart-upload/", None
        )
    image = str(uuid.uuid4())
    if situation == "imported":
        value = {"interface": "t-ct-image", "user_uploads": [sent(client, "ct.mha", HEADER + bytes(128))]}
        client.update_display_set(display_set.pk, {"values": [value]})
        wait_for(lambda: client.display_set(display_set.pk).values, what="the image is attached")
        image = str(client.display_set(display_set.pk).values["t-ct-image"].image).split("/")[-2]
    if situation == "consumed":
        value = {"interface": "t-ct-image", "upload_session": session.api_url}
        client.update_display_set(display_set.pk, {"values": [value]})
    archives = client.of(archive=True)
    archive = archives.reader_study(ARCHIVE)
    assert archive
    titles = ("item", "second") if situation == "item" else ("casedrop-x",)
    item, *more = (archives.create_display_set(archive.pk, title).pk for title in titles)
    return {
        "base": client.url,
        "archive": archive.pk,
        "item": item,
        "second_item": more[0] if more else "",
        "upload": str(uuid.uuid4()) if situation == "consumed" else upload.pk,
        "s3": upload.s3_upload_id,
        "session": session.pk,
        "image": image,
        "display_set": display_set.pk,
        "signed": signed,
        "unsigned": signed.partition("?")[0],
    }


def _answer(sandbox: Sandbox, row: dict[str, Any]) -> httpx.Response:
    """Nothing is verified over HTTP: reading the authorities would take longer than all the rest."""
    authorization = row["authorization"]
    if authorization and "<TOKEN:" in authorization:
        authorization = re.sub("<TOKEN:.*>", sandbox.token, authorization)
    headers = {"Authorization": authorization} if authorization else {}
    url = row["path"] if row["path"].startswith("http") else sandbox.url + row["path"]
    if row["method"] == "PUT":
        return httpx.put(url, content=b"part", headers=headers, verify=False)
    content = None if row["request"] is None else json.dumps(row["request"])
    return httpx.request(row["method"], url, content=content, headers=headers, verify=False)


@pytest.mark.parametrize("recorded", list(_rows()))
def test_an_answer_is_the_recorded_one(
    client: GrandChallenge, sandbox: Sandbox, recorded: dict[str, Any]
) -> None:
    """Status, the texts of refusals, and the fields that Casedrop reads."""
    text = json.dumps(recorded)
    for name, value in _ids(client, sandbox, recorded["situation"]).items():
        text = text.replace(f"{{{name}}}", value)
    row = json.loads(text)
    response = _answer(sandbox, row)
    assert response.status_code == row["status"], response.text
    assert "date" in response.headers
    if row["answer"] == "HTML":
        assert response.headers["content-type"].startswith("text/html")
    elif isinstance(row["answer"], str):
        assert response.text == row["answer"]
    elif row["status"] >= httpx.codes.BAD_REQUEST:
        assert response.json() == row["answer"]
    else:
        _same_shape(response.json(), row["answer"])


def _same_shape(ours: dict[str, Any], recorded: dict[str, Any]) -> None:
    for key in recorded.keys() & {*READ, "count", "next", "presigned_urls", "parts", "results", "values"}:
        assert type(ours[key]) is type(recorded[key]), key
    assert ours.get("status") == recorded.get("status")
    assert ours.get("count") == recorded.get("count")
    assert (ours.get("presigned_urls") or {}).keys() == (recorded.get("presigned_urls") or {}).keys()


def test_an_image_is_attached_after_its_session_succeeded_and_its_upload_is_gone(
    client: GrandChallenge, sandbox: Sandbox
) -> None:
    """Recordings 08 and 19: idle until a PATCH names it, Re-Queued, Succeeded, attached."""
    upload = sent(client, "ct.mha", HEADER + bytes(128))
    session = client.create_session([upload])
    found = client.create_display_set(STUDY, "one-time")
    sandbox.hold_imports()
    assert client.session(session.pk).status == "Queued"
    value = {"interface": "t-ct-image", "upload_session": session.api_url}
    assert client.update_display_set(found.pk, {"title": "P1", "values": [value]}).values == {}
    assert client.session(session.pk).status == "Re-Queued"
    sandbox.release_imports()
    wait_for(lambda: client.display_set(found.pk).values, what="the image is attached")
    image = client.display_set(found.pk).values["t-ct-image"].image
    assert client.session(session.pk).images == (image,)
    assert client.image(str(image)).size == (4, 4, 4)
    assert upload not in httpx.get(f"{client.url}uploads/", headers=client._bearer()).text


@pytest.mark.parametrize("content", [b"no image", HEADER + bytes(127)], ids=["garbage", "cut off"])
def test_an_image_that_cannot_be_read_fails_and_its_upload_stays(
    client: GrandChallenge, content: bytes
) -> None:
    """Recording 07."""
    upload = sent(client, "ct.mha", content)
    session = client.create_session([upload])
    found = client.create_display_set(STUDY, "P1")
    value = {"interface": "t-ct-image", "upload_session": session.api_url}
    client.update_display_set(found.pk, {"values": [value]})
    wait_for(lambda: client.session(session.pk).status == "Failed", what="the import fails")
    assert client.session(session.pk).error_message == "1 file could not be imported"
    assert client.display_set(found.pk).values == {}
    assert client.create_session([upload]).status == "Queued"


def test_files_arrive_unchanged_and_json_that_is_none_vanishes_silently(client: GrandChallenge) -> None:
    """Recordings 06 and 07."""
    pdf, findings = sent(client, "r.pdf", b"no pdf"), sent(client, "f.json", b"{")
    found = client.create_display_set(STUDY, "P1")
    values = [
        {"interface": "t-findings-file", "user_upload": findings},
        {"interface": "t-report-pdf", "user_upload": pdf},
    ]
    client.update_display_set(found.pk, {"values": values})
    wait_for(lambda: client.display_set(found.pk).values, what="the report is attached")
    held = client.display_set(found.pk).values
    assert held.keys() == {"t-report-pdf"}
    assert b"".join(client.download(str(held["t-report-pdf"].file))) == b"no pdf"


def test_a_title_that_is_no_text_is_refused(client: GrandChallenge) -> None:
    """As Django REST framework does, whose ProhibitSurrogateCharactersValidator every text field has."""
    headers = {"Content-Type": "application/json", **client._bearer()}
    body = rb'{"reader_study": "upload-target", "title": "P1\ud800"}'
    answer = httpx.post(f"{client.url}reader-studies/display-sets/", content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (
        httpx.codes.BAD_REQUEST,
        {"title": ["Surrogate characters are not allowed: U+D800."]},
    )


def test_a_patch_with_one_bad_value_changes_nothing(client: GrandChallenge) -> None:
    """Recording 19 row 9."""
    found = client.create_display_set(STUDY, "one-time")
    session = client.create_session([sent(client, "ct.mha", HEADER + bytes(128))])
    values = [
        {"interface": "t-ct-image", "upload_session": session.api_url},
        {"interface": "t-score-float", "value": "high"},
    ]
    body = {"title": "P1", "order": 77, "values": values}
    url = f"{client.url}reader-studies/display-sets/{found.pk}/"
    answer = httpx.patch(url, json=body, headers=client._bearer())
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert list(answer.json()["values"][0]) == []
    assert client.display_set(found.pk) == found
    assert client.session(session.pk).status == "Queued"


def test_an_archives_items_are_made_filled_and_listed_apart_from_display_sets(client: GrandChallenge) -> None:
    """Recordings 10 and 19 (rows 31 to 43): the same commit, and no order."""
    archives = client.of(archive=True)
    archive = archives.reader_study(ARCHIVE)
    assert archive
    assert (archive.slug, archive.archive, client.reader_study(ARCHIVE)) == (ARCHIVE, True, None)
    item = archives.create_display_set(archive.pk, "casedrop-x")
    session = client.create_session([sent(client, "ct.mha", HEADER + bytes(128))])
    bad = [{"interface": "t-score-float", "value": "x"}]
    good = [{"interface": "t-ct-image", "upload_session": session.api_url}]
    with pytest.raises(Refused):
        archives.update_display_set(item.pk, {"title": "A1", "values": good + bad})
    assert archives.display_set(item.pk) == item
    assert client.session(session.pk).status == "Queued"
    archives.update_display_set(item.pk, {"title": "A1", "values": good})
    wait_for(lambda: archives.display_set(item.pk).values, what="the image is attached")
    assert [(one.pk, one.title) for one in archives.display_sets(archive.pk)] == [(item.pk, "A1")]
    with pytest.raises(Refused) as no:
        client.display_set(item.pk)
    assert no.value.meaning is Meaning.GONE


def test_a_list_that_is_in_another_order_from_page_to_page_misses_none_unseen(
    client: GrandChallenge, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recording 10 row 22: the newer item came first."""
    archives = client.of(archive=True)
    archive = archives.reader_study(ARCHIVE)
    assert archive
    for title in ("one", "two"):
        archives.create_display_set(archive.pk, title)
    monkeypatch.setattr("casedrop.grand_challenge.PAGE", 1)
    assert {one.title for one in archives.display_sets(archive.pk)} == {"one", "two"}
    listed = archives.display_sets(archive.pk)
    assert next(listed).title == "one"
    there = list(sandbox.state.study_sets(archive.pk))
    monkeypatch.setattr(sandbox.state, "study_sets", lambda _: there[::-1])
    with pytest.raises(Unavailable):
        next(listed)


def test_a_first_part_below_five_mebibytes_is_refused_at_the_end(client: GrandChallenge) -> None:
    """Recording 04 row 27."""
    upload = client.create_upload("small.bin")
    md5 = hashlib.md5(b"x", usedforsecurity=False)
    urls = client.presign(upload, [1, 2])
    parts = [
        {"PartNumber": number, "ETag": client.put_part(url, [b"x"], 1, md5.digest())}
        for number, url in urls.items()
    ]
    url = f"{upload.api_url}{upload.s3_upload_id}/complete-multipart-upload/"
    answer = httpx.patch(url, json={"parts": parts}, headers=client._bearer())
    assert answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR
    assert client.upload(upload.pk).status == "Initialized"


def test_a_damaged_part_and_a_changed_signature_are_refused(client: GrandChallenge) -> None:
    url = client.presign(client.create_upload("a.bin"), [1])[1]
    wrong = {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    assert "BadDigest" in httpx.put(url, content=b"x", headers=wrong).text
    assert httpx.put(url.replace("/1?", "/2?"), content=b"x").status_code == httpx.codes.FORBIDDEN


def test_a_lost_answer_is_lost_after_the_deed_and_a_cut_line_before_it(
    client: GrandChallenge, sandbox: Sandbox
) -> None:
    found = client.create_display_set(STUDY, "one-time")
    calls: list[int] = []
    sandbox.faults.add(method="GET", path=r"self/$", cut=True, call=lambda: calls.append(1))
    with pytest.raises(Unavailable):
        client.whoami()
    assert calls == [1]
    sandbox.faults.add(method="PATCH", path=r"display-sets/.+/$", status=500, after=True)
    url = f"{client.url}reader-studies/display-sets/{found.pk}/"
    assert httpx.patch(url, json={"title": "P1"}, headers=client._bearer()).status_code == 500
    assert client.display_set(found.pk).title == "P1"
