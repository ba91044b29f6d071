"""The status page in a real browser: at every width, light and dark, whatever the folders are called."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from casedrop.model import Drop, SocketRule
from casedrop.page import Facts, page
from casedrop.page_file import MARK, NAME
from casedrop.tally import Rested, Tally
from test_page import HOSTILE, report, said

pytestmark = pytest.mark.long

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = (360, 1280, 2560)
SCHEMES = ("light", "dark")
LINK = "https://grand-challenge.org/reader-studies/lung-2026/display-sets/7f1c/"

CONTRAST = """() => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const color = parts(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("body *")].filter((one) => one.checkVisibility() &&
    [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  return texts.map((one) => {
    const style = getComputedStyle(one), svg = one instanceof SVGElement;
    const [high, low] = [light(parts(svg ? style.fill : style.color)), light(behind(one))].sort((a, b) => b - a);
    return [(high + 0.05) / (low + 0.05), one.tagName + " " + one.textContent.slice(0, 40)];
  }).filter(([ratio]) => ratio < 4.5);
}"""
"""Texts whose contrast is below WCAG's AA, by the colours that the browser has computed."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


def busy(now: float) -> dict[str, Any]:
    tally = Tally()
    tally.fill(Rested(one, one % 7 == 0, now - one * 20_000, one * 10**9, True) for one in range(60))
    cases = (
        said("P1", "waiting", "ct.mha is still being written."),
        said("P2", "settling") | {"until": now + 900},
        said("P3", "uploading", sent_bytes=25, total_bytes=100, speed=5),
        said("P4", "being checked by Grand Challenge"),
        said("P5", "waiting for a person", "The same files are in P0."),
        said("notes.txt", "left alone", "Not a folder."),
        *(said(f"P{number}", "failed", "No file for socket ct-image.") for number in range(100, 130)),
        *(said(f"P{number}", "done", bytes=10**9, display_set=LINK) for number in range(200, 250)),
    )
    return report(*cases, held="Is the share mounted?", paused="It does not answer.", days=tally.days(now))


def hostile() -> dict[str, Any]:
    states = ("waiting", "uploading", "failed", "done", "left alone")
    upload = {"sent_bytes": 1, "total_bytes": 2}
    more: dict[str, dict[str, Any]] = {
        "uploading": upload,
        "done": {"display_set": LINK},
        "failed": {"filed_as": HOSTILE[0]},
    }
    return report(
        *(said(name, state, name * 3, **more.get(state, {})) for name in HOSTILE for state in states),
        held=HOSTILE[0],
        paused=HOSTILE[1],
    )


def five_thousand() -> dict[str, Any]:
    return report(*(said(f"P{number:04}_2026-01-31", "waiting", ago=number) for number in range(5000)))


REPORTS = {
    "empty": report(),
    "busy": busy(time.time()),
    "five thousand": five_thousand(),
    "hostile": hostile(),
}


def write(path: Path, said_of: str, age: float = 0) -> Path:
    names = HOSTILE if said_of == "hostile" else ("*.mha",)
    sockets = tuple(SocketRule(f"socket-{at}", (name,)) for at, name in enumerate(names))
    drop = Drop("lung", "/", "lung-2026", sockets, contact=names[0])
    file = path / NAME
    text = MARK + page(drop, REPORTS[said_of], Facts(time.time() - age, 30, 900))
    file.write_text(text, errors="backslashreplace")
    return file


class Opened:
    """A page with all that the browser has complained of, or asked for besides the file itself."""

    def __init__(self, browser: Browser, file: Path, width: int = 1280, **options: Any) -> None:
        self.page: Page = browser.new_page(viewport={"width": width, "height": 800}, **options)
        self.trouble: list[str] = []
        address = file.as_uri()
        self.page.on("console", lambda message: self.trouble.append(message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: self.trouble.append(dialog.message))
        self.page.on("request", lambda one: self.trouble.append(one.url) if one.url != address else None)
        self.page.goto(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.page.close()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("said_of", REPORTS)
def test_it_fits_can_be_read_and_asks_for_nothing(
    browser: Browser, tmp_path: Path, said_of: str, width: int, scheme: Any
) -> None:
    with Opened(browser, write(tmp_path, said_of), width, color_scheme=scheme) as opened:
        opened.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.page.evaluate(CONTRAST) == []
        assert opened.trouble == []
        dark = opened.page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark is (scheme == "dark")


def test_it_is_read_out_with_landmarks_and_names(browser: Browser, tmp_path: Path) -> None:
    with Opened(browser, write(tmp_path, "busy")) as opened:
        for role in ("banner", "main", "contentinfo", "navigation"):
            assert opened.page.get_by_role(role).count() == 1, role
        assert opened.page.get_by_role("progressbar", name="Upload of P3").count() == 1
        assert opened.page.get_by_role("link", name="display set of P200").count() == 1
        assert opened.page.get_by_role("region", name="Failed").count() == 1
        assert opened.page.get_by_role("img", name="Folders a day").count() == 1


def test_a_page_that_nobody_writes_any_more_says_so_itself(browser: Browser, tmp_path: Path) -> None:
    with Opened(browser, write(tmp_path, "busy", age=170)) as opened:
        warning = opened.page.get_by_text("The service may be down")
        assert not warning.is_visible()
        assert "3 min ago" in opened.page.inner_text("#age")
    with Opened(browser, write(tmp_path, "busy", age=190)) as opened:
        assert opened.page.get_by_text("The service may be down").is_visible()


def test_without_scripts_times_are_whole_and_the_page_still_refreshes(
    browser: Browser, tmp_path: Path
) -> None:
    with Opened(browser, write(tmp_path, "busy"), java_script_enabled=False) as opened:
        assert "If the time above is more than 3 minutes ago" in opened.page.content()
        assert opened.page.inner_text("header time").startswith(time.strftime("%Y-%m-%d"))
        assert not opened.page.get_by_role("button").is_visible()
        assert '<meta http-equiv="refresh" content="15">' in opened.page.content()


def test_a_refresh_keeps_what_is_open_where_one_is_and_what_has_the_focus(
    browser: Browser, tmp_path: Path
) -> None:
    file = write(tmp_path, "busy")
    with Opened(browser, file) as opened:
        opened.page.clock.install()
        opened.page.reload()
        opened.page.locator("#done-older summary").click()
        opened.page.evaluate("scrollTo(0, 900)")
        write(tmp_path, "busy", age=33)
        with opened.page.expect_navigation():
            opened.page.clock.run_for(15_100)
        assert opened.page.evaluate("document.getElementById('done-older').open")
        assert opened.page.evaluate("document.activeElement.parentElement.id") == "done-older"
        opened.page.wait_for_function("scrollY === 900")
        assert opened.trouble == []


def test_who_reads_can_stop_the_refreshing(browser: Browser, tmp_path: Path) -> None:
    with Opened(browser, write(tmp_path, "busy")) as opened:
        opened.page.clock.install()
        opened.page.reload()
        opened.page.evaluate("window.kept = 'the same page'")
        opened.page.get_by_role("button", name="Stop refreshing").click()
        opened.page.clock.run_for(60_000)
        assert opened.page.evaluate("window.kept") == "the same page"
        assert opened.page.get_by_role("button", name="Refresh by itself again").is_visible()


def test_tab_walks_through_the_page_and_out_of_it(browser: Browser, tmp_path: Path) -> None:
    with Opened(browser, write(tmp_path, "busy")) as opened:
        seen = []
        for _ in range(60):
            opened.page.keyboard.press("Tab")
            seen.append(opened.page.evaluate("document.activeElement.outerHTML.slice(0, 40)"))
        assert seen[0].startswith('<button id="refresh"')
        assert any(one.startswith("<summary") for one in seen)
        assert any(one.startswith("<body") for one in seen) or seen.count(seen[0]) > 1


def test_it_can_be_printed(browser: Browser, tmp_path: Path) -> None:
    with Opened(browser, write(tmp_path, "busy"), color_scheme="dark") as opened:
        opened.page.emulate_media(media="print")
        assert not opened.page.get_by_role("navigation").is_visible()
        assert opened.page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert opened.page.pdf().startswith(b"%PDF")
