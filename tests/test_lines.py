"""Lines that break, crawl and hang, in the middle of what they carry: the case ends right, others go on."""

import hashlib
import os
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from lab import Lab, mha
from proxy import Proxy
from waiting import wait_for

pytestmark = pytest.mark.long

PDF = b"%PDF" + os.urandom(20 << 20)
"""Three parts."""


@pytest.fixture
def proxy(lab: Lab) -> Iterator[Proxy]:
    """Everything the service says to the platform and its storage goes this way."""
    address = urlsplit(lab.sandbox.url)
    assert address.port
    with Proxy(address.port) as proxy:
        there = lab.config.read_text().replace(f":{address.port}/", f":{proxy.port}/")
        lab.config.write_text(there)
        yield proxy
        lab.stop()


def expect_whole(lab: Lab, name: str, pdf: bytes) -> None:
    assert lab.titles().count(name) == 1
    values = lab.values(name)
    assert values["report-pdf"]["sha256"] == hashlib.sha256(pdf).hexdigest()
    assert values["ct-image"]["sha256"] == hashlib.sha256(mha()).hexdigest()
    assert (lab.done / name / "r.pdf").read_bytes() == pdf


@pytest.mark.parametrize("after", [1 << 20, 7 << 20], ids=["early", "late"])
def test_a_line_that_breaks_in_the_middle_of_a_part_costs_that_part_only(
    lab: Lab, proxy: Proxy, after: int
) -> None:
    broken = proxy.cut(up=True, after=after)
    lab.move_in("P001", ct__mha=mha(), r__pdf=PDF)
    assert lab.once() == 0, lab.log.read_text()
    assert broken.is_set()
    expect_whole(lab, "P001", PDF)
    arrived = [path for method, path, status in lab.sandbox.requests if (method, status) == ("PUT", 200)]
    assert len(arrived) == len(set(arrived)) == 4


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "uploads/$"),
        ("PATCH", "presigned-urls/$"),
        ("PUT", "/storage/"),
        ("PATCH", "complete-multipart-upload/$"),
        ("POST", "upload-sessions/$"),
        ("POST", "display-sets/$"),
        ("PATCH", "display-sets/[^/]+/$"),
        ("GET", "display-sets/[^/]+/$"),
        ("GET", "/storage/media/"),
    ],
    ids=lambda part: part.strip("/$"),
)
def test_an_answer_cut_in_its_middle_makes_no_second_set(
    lab: Lab, proxy: Proxy, method: str, path: str
) -> None:
    pdf = b"%PDF" + os.urandom(300_000)

    def cut_answer() -> None:
        proxy.cut(up=False, after=10)

    lab.sandbox.faults.add(method=method, path=path, status=0, call=cut_answer)
    lab.move_in("P001", ct__mha=mha(), r__pdf=pdf)
    assert lab.once() == 0, lab.log.read_text()
    expect_whole(lab, "P001", pdf)


def test_over_a_slow_line_a_case_arrives_whole(lab: Lab, proxy: Proxy) -> None:
    proxy.rate = 8e6
    lab.move_in("P001", ct__mha=mha(), r__pdf=PDF)
    assert lab.once() == 0, lab.log.read_text()
    expect_whole(lab, "P001", PDF)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("up", [True, False], ids=["upload", "answer"])
def test_a_line_that_hangs_is_said_and_other_cases_go_on(lab: Lab, proxy: Proxy, *, up: bool) -> None:
    """httpx gives a silent line 60 s."""
    hanging: list[threading.Event] = []

    def hang() -> None:
        hanging.append(proxy.stall(up=up, after=3 << 20 if up else 10))

    moment = "presigned-urls/$" if up else "complete-multipart-upload/$"
    lab.sandbox.faults.add(method="PATCH", path=moment, status=0, call=hang)
    lab.start()
    lab.move_in("P001", ct__mha=mha(), r__pdf=PDF)
    wait_for(lambda: any(one.is_set() for one in hanging), 30, "the line hangs")
    wait_for(lambda: "has moved" in lab.case("P001").get("why", ""), 60, "the hung case is said")
    lab.move_in("P002", ct__mha=mha(5))
    lab.wait_done("P002", 20)
    assert not (lab.done / "P001").exists()
    lab.wait_done("P001", 120)
    expect_whole(lab, "P001", PDF)
