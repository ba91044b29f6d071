"""The sandbox in a browser: the addresses that receipts and reasons name open, whatever the titles hold."""

import re
import signal
import subprocess
import sys
from html.parser import HTMLParser
from itertools import takewhile

import httpx
import pytest

from casedrop.grand_challenge import GrandChallenge
from casedrop.sandbox import Sandbox
from lab import NO_IMAGE, Lab, mha

STUDY = "lung-2026"
ARCHIVE = "scans-2026"
PDF = b"%PDF-1.4 <script>"


class Page(HTMLParser):
    """What a browser makes of an answer: its tags, and its texts in lines."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.lines: list[str] = []
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.lines += [data.strip()] if data.strip() else []

    @property
    def links(self) -> list[str]:
        return [str(attributes["href"]) for tag, attributes in self.tags if tag == "a"]


def got(sandbox: Sandbox, path: str) -> httpx.Response:
    return httpx.get(httpx.URL(sandbox.index).join(path))


def opened(sandbox: Sandbox, path: str, status: int = 200) -> Page:
    answer = got(sandbox, path)
    assert answer.status_code == status
    return Page(answer)


def made(sandbox: Sandbox, title: str, **values: object) -> str:
    """The path of the page of a new display set; sockets as keywords, `_` for `-`."""
    client = GrandChallenge(sandbox.url, lambda: sandbox.token)
    found = client.create_display_set(STUDY, title)
    body = [{"interface": slug.replace("_", "-"), "value": value} for slug, value in values.items()]
    client.update_display_set(found.pk, {"values": body})
    client.close()
    return f"/reader-studies/{STUDY}/display-sets/{found.pk}/"


def test_the_index_leads_to_every_reader_study_and_archive(sandbox: Sandbox) -> None:
    made(sandbox, "P001")
    index = opened(sandbox, "/")
    studies = [f"/reader-studies/{slug}/" for slug in sandbox.state.studies]
    assert index.links == [*studies, *(f"/archives/{slug}/" for slug in sandbox.state.archives)]
    assert index.lines[index.lines.index(STUDY) + 1] == "1"
    for link in index.links:
        opened(sandbox, link)


def test_the_display_set_that_a_receipt_names_shows_what_it_holds(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=mha(), report__pdf=PDF, score__json=b'{"score": 2.5}')
    lab.start()
    address = str(lab.wait_done("P001")["display_set"])
    page = Page(httpx.get(address))
    (held,) = lab.sandbox.display_sets(STUDY)
    size = "8 x 8 x 8 voxels of 0.7 x 0.7 x 1.5 mm"
    assert {"P001", f"Order: {held.order}", "ct-image", size, "some-score", "Float", "2.5"} <= set(page.lines)
    assert httpx.URL(address).path in opened(lab.sandbox, f"/reader-studies/{STUDY}/").links
    (file,) = [link for link in page.links if "/files/" in link]
    answer = got(lab.sandbox, file)
    assert answer.content == PDF
    assert answer.headers["content-disposition"] == 'attachment; filename="report-pdf.pdf"'
    assert answer.headers["content-type"] == "application/octet-stream"


def test_the_display_set_that_a_reason_names_tells_of_the_failed_import(lab: Lab) -> None:
    lab.move_in("P001", ct__mha=NO_IMAGE)
    lab.start()
    (address,) = set(re.findall(r"http\S+/display-sets/[^/\s]+/", lab.wait_failed("P001")))
    page = Page(httpx.get(address))
    at = page.lines.index("Imports that have not succeeded")
    assert page.lines[at + 4 :] == ["ct-image", "Failed", "1 file could not be imported"]


def test_an_archive_shows_its_items_without_an_order(sandbox: Sandbox) -> None:
    client = GrandChallenge(sandbox.url, lambda: sandbox.token).of(archive=True)
    archive = client.reader_study(ARCHIVE)
    assert archive
    item = client.create_display_set(archive.pk, "A1")
    page = opened(sandbox, f"/archives/{ARCHIVE}/")
    assert page.links[1:] == [f"/archives/{ARCHIVE}/items/{item.pk}/"]
    assert "Order" not in page.lines
    assert opened(sandbox, page.links[1]).lines[-2:] == ["A1", "It holds no value yet."]
    opened(sandbox, f"/reader-studies/{STUDY}/display-sets/{item.pk}/", 404)


@pytest.mark.parametrize(
    "title", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&lt;b&gt;"]
)
def test_a_title_or_value_that_is_html_is_only_text(sandbox: Sandbox, title: str) -> None:
    path = made(sandbox, title, radiologist_remark=title)
    for page in (opened(sandbox, path), opened(sandbox, f"/reader-studies/{STUDY}/")):
        assert title in page.lines
        assert not {"script", "img", "b"} & {tag for tag, _ in page.tags}


def test_characters_that_turn_or_hide_text_are_made_visible(sandbox: Sandbox) -> None:
    path = made(sandbox, "a\u202eb\u2069", radiologist_remark="\u200b")
    page = opened(sandbox, path)
    assert "a\\x202eb\\x2069" in page.lines
    assert '"\\x200b"' in page.lines


def test_pages_ask_for_nothing_from_elsewhere_and_can_be_read_by_all(sandbox: Sandbox) -> None:
    path = made(sandbox, "P001", some_score=1)
    for each in ("/", f"/reader-studies/{STUDY}/", path):
        page = opened(sandbox, each)
        tags = [tag for tag, _ in page.tags]
        assert [tags.count(tag) for tag in ("header", "main", "h1", "title")] == [1, 1, 1, 1]
        assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.tags if tag == "th")
        assert not {"script", "link", "img", "iframe"} & set(tags)
        assert all(link.startswith("/") for link in page.links)


def test_what_is_not_there_leads_back_to_the_index(sandbox: Sandbox) -> None:
    path = made(sandbox, "P001")
    for each in ("/archives/none/", f"{path}files/1/", path.replace(STUDY, "retina-2026"), f"{path[:-2]}/"):
        assert opened(sandbox, each, 404).links == ["/"]


def test_pages_never_show_the_token_and_none_is_under_the_api(sandbox: Sandbox) -> None:
    path = made(sandbox, "P001", some_score=1)
    for each in ("/", f"/reader-studies/{STUDY}/", path):
        assert sandbox.token not in got(sandbox, each).text
        assert "<html" not in got(sandbox, f"/api/v1{each}").text


def test_the_sandbox_says_all_it_has_and_where_to_look() -> None:
    command = [sys.executable, "-c", "from casedrop.cli import main; main()", "sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout
            said = "".join(takewhile(lambda line: line != "[platform]\n", running.stdout))
            (index,) = re.findall(r"(http://127\.0\.0\.1:\d+/) ", said)
            slugs = [link.split("/")[2] for link in Page(httpx.get(index)).links]
            assert set(slugs) <= set(said.split())
            assert ARCHIVE in slugs
        finally:
            running.send_signal(signal.SIGTERM)
