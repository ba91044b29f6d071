"""What a Prometheus finds, and what it never finds."""

import http.client
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_fd_to_metric_families, text_string_to_metric_families

from casedrop import __version__, exporter
from casedrop.exporter import Exporter
from casedrop.grand_challenge import GrandChallenge
from casedrop.metrics import STATES, Metrics
from dicoms import data_set, write
from lab import Lab, mha
from waiting import wait_for

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "MONITORING.md").read_text()
RULES = DOCS / "alerts.yml"
GB = 10**9


class Scrape:
    """One GET of /metrics, read by Prometheus' own parser."""

    def __init__(self, port: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert answer.headers["Content-Type"] == exporter.CONTENT_TYPE
            self.text = answer.read().decode()
        families = text_fd_to_metric_families(io.StringIO(self.text))
        self.samples = [sample for family in families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        found = [one.value for one in self.samples if one.name == name and one.labels == labels]
        assert len(found) == 1, (name, labels, found)
        return found[0]

    def labels(self, label: str) -> set[str]:
        return {one.labels[label] for one in self.samples if label in one.labels}


def scraped(port: int, good: Callable[[Scrape], bool], seconds: float = 20) -> Scrape:
    found: list[Scrape] = []

    def look() -> bool:
        with suppress(urllib.error.URLError, http.client.HTTPException, ConnectionError):
            found[:] = [Scrape(port)]
        return bool(found) and good(found[0])

    wait_for(look, seconds, "the numbers that are looked for")
    return found[0]


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind((exporter.HOST, 0))
        number: int = free.getsockname()[1]
        return number


def serving(lab: Lab, port: int) -> None:
    lab.config.write_text(lab.config.read_text().replace("[settle]", f"[metrics]\nport = {port}\n[settle]"))


@pytest.mark.long
def test_a_scrape_tells_of_a_done_and_a_failed_folder_without_a_name(lab: Lab, port: int) -> None:
    serving(lab, port)
    lab.start()
    begun = scraped(port, lambda one: "casedrop_cases" in one.text)
    assert begun("casedrop_ended_total", drop="lung", state="failed") == 0
    lab.move_in("Zwaardvis-A", zwaardvis_ct__mha=mha(16))
    lab.wait_done("Zwaardvis-A")
    bad = lab.folder("Zwaardvis-B", zwaardvis__mha=mha())
    write(bad / "zwaardvis.dcm", data_set(PatientName="Zwaardvis^Hendrika", PatientID="Zwaardvis4711"))
    bad.rename(lab.drop / bad.name)
    assert "zwaardvis.dcm" in lab.wait_failed("Zwaardvis-B")
    now = scraped(port, lambda one: one("casedrop_cases", drop="lung", state="failed") == 1)

    assert now("casedrop_cases", drop="lung", state="done") == 1
    assert sum(now("casedrop_cases", drop="lung", state=state) for state in STATES) == 2
    assert now("casedrop_ended_total", drop="lung", state="done") == 1
    assert now("casedrop_ended_total", drop="lung", state="failed") == 1
    assert now("casedrop_sent_parts_total", drop="lung") == 1
    assert now("casedrop_sent_bytes_total", drop="lung") == len(mha(16))
    assert now("casedrop_tries_total", **{"drop": "lung", "class": "success"}) >= 4
    for request in ("put_part", "create_upload", "complete", "create_display_set", "update_display_set"):
        assert now("casedrop_answers_total", **{"request": request, "class": "success"}) == 1
        assert now("casedrop_request_seconds_count", request=request) == 1
    assert now("casedrop_held", drop="lung") == 0
    assert now("casedrop_paused", drop="lung") == 0
    assert now("casedrop_uploads_paused") == 0
    assert now("casedrop_build_info", version=__version__) == 1
    assert now("process_open_fds") > 0
    written = now("casedrop_report_timestamp_seconds")
    for moment in ("casedrop_scan_timestamp_seconds", "casedrop_journal_copy_timestamp_seconds"):
        labels = {"drop": "lung"} if "scan" in moment else {}
        assert written - 60 < now(moment, **labels) <= written
    free = shutil.disk_usage(lab.root).free
    assert now("casedrop_root_free_bytes", drop="lung") == pytest.approx(free, abs=GB)
    assert now("casedrop_state_free_bytes") == pytest.approx(free, abs=GB)

    assert now.labels("drop") == {"lung"}
    assert now.labels("request") <= documented_requests()
    for secret in ("zwaardvis", "hendrika", "lung-2026", "ct-image", lab.sandbox.token, str(lab.top)):
        assert secret.lower() not in now.text.lower(), secret


@pytest.mark.long
def test_a_held_drop_and_what_waits_in_it_are_told(lab: Lab, port: int) -> None:
    serving(lab, port)
    lab.start()
    scraped(port, lambda one: "casedrop_held" in one.text and not one("casedrop_held", drop="lung"))
    (lab.root / "drop").rename(lab.root / "away")
    scraped(port, lambda one: one("casedrop_held", drop="lung") == 1)


@pytest.mark.long
def test_what_a_person_paused_is_not_called_held_and_its_folders_age(lab: Lab, port: int) -> None:
    serving(lab, port)
    lab.start()
    scraped(port, lambda one: "casedrop_paused" in one.text)
    lab.command("pause", "lung")
    lab.move_in("P001", ct__mha=mha())
    ready = {"drop": "lung", "state": "ready"}
    now = scraped(port, lambda one: one("casedrop_oldest_seconds", **ready) > 0.5)
    assert now("casedrop_cases", **ready) == 1
    assert now("casedrop_paused", drop="lung") == 1
    assert now("casedrop_held", drop="lung") == 0


@pytest.mark.long
def test_a_storage_that_fails_is_counted_apart_from_what_got_through(lab: Lab, port: int) -> None:
    serving(lab, port)
    lab.sandbox.faults.add(method="PUT", status=503)
    lab.start()
    lab.move_in("P001", ct__mha=mha())
    lab.wait_done("P001")
    now = scraped(port, lambda one: one("casedrop_cases", drop="lung", state="done") == 1)
    assert now("casedrop_answers_total", **{"request": "put_part", "class": "unavailable"}) == 1
    assert now("casedrop_tries_total", **{"drop": "lung", "class": "unavailable"}) >= 1
    assert now("casedrop_sent_parts_total", drop="lung") == 1


@pytest.mark.long
def test_a_port_in_use_is_said_and_folders_are_sent_all_the_same(lab: Lab, port: int) -> None:
    serving(lab, port)
    with socket.create_server((exporter.HOST, port)):
        lab.move_in("P001", ct__mha=mha())
        assert lab.once() == 0
    (said,) = [line for line in lab.log.read_text().splitlines() if "metrics not served" in line]
    assert str(port) in said
    assert "in use" in said


@pytest.mark.long
def test_without_a_port_the_library_is_not_even_loaded() -> None:
    code = "import sys, casedrop.start; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def served(port: int) -> Iterator[int]:
    made = Exporter(lambda: b"casedrop_held 0\n", port, retry=0.05)
    made.start()
    wait_for(lambda: connects(port), what="it listens")
    yield port
    made.stop()


def connects(port: int) -> bool:
    with suppress(OSError), socket.create_connection((exporter.HOST, port), timeout=1):
        return True
    return False


def asked(port: int, method: str, path: str) -> int:
    with closing(http.client.HTTPConnection(exporter.HOST, port, timeout=10)) as line:
        line.request(method, path)
        return line.getresponse().status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics", 200),
        ("GET", "/metrics?name=x", 200),
        ("GET", "/", 404),
        ("GET", "/metrics/../etc/passwd", 404),
        ("HEAD", "/metrics", 501),
        ("POST", "/metrics", 501),
    ],
)
def test_only_metrics_are_there_and_only_to_get(served: int, method: str, path: str, status: int) -> None:
    assert asked(served, method, path) == status


def test_it_listens_on_this_machine_alone(served: int) -> None:
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    assert [line[1] for line in listening if line[1].endswith(f":{served:04X}") and line[3] == "0A"] == [
        f"0100007F:{served:04X}"
    ]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("::1", served), timeout=1)


def test_a_client_that_says_nothing_is_left(served: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter._Handler, "timeout", 0.1)
    with socket.create_connection((exporter.HOST, served)) as silent:
        assert asked(served, "GET", "/metrics") == 200
        assert silent.recv(1) == b""


def test_it_serves_once_its_port_is_free(port: int) -> None:
    made = Exporter(lambda: b"", port, retry=0.05)
    with socket.create_server((exporter.HOST, port)) as holder:
        made.start()
        holder.listen()
    wait_for(lambda: connects(port), what="it listens")
    assert asked(port, "GET", "/metrics") == 200
    made.stop()


def test_a_fault_while_the_numbers_are_made_costs_that_scrape_alone(port: int) -> None:
    pages = iter([b"broken", b"{}"])

    def page() -> bytes:
        return json.dumps(json.loads(next(pages))).encode()

    made = Exporter(page, port)
    made.start()
    wait_for(lambda: connects(port), what="it listens")
    with pytest.raises(http.client.RemoteDisconnected):
        asked(port, "GET", "/metrics")
    assert asked(port, "GET", "/metrics") == 200
    made.stop()


def whole() -> Metrics:
    """One of everything."""
    made = Metrics(["lung"])
    made.request("lung", "put_part", 0.1, "success", 5)
    made.tried("lung", "success")
    drop: dict[str, Any] = {"name": "lung", "paused": "", "stands": "", "scanned": 0.0, "free": 1}
    drops = [drop | {"ended": {}, "cases": []}]
    made.show({"time": 1.0, "copied": 0.0, "free": 1, "token_expires": 9.0, "drops": drops})
    return made


@pytest.mark.parametrize(("refused", "value"), [("", b"0.0"), ("limits.cases: must be a number.", b"1.0")])
def test_a_configuration_that_was_not_taken_is_told_as_a_number_without_its_mistakes(
    refused: str, value: bytes
) -> None:
    made = Metrics([])
    made.show({"time": 1.0, "copied": 0.0, "free": 1, "refused": refused, "drops": []})
    assert b"casedrop_configuration_refused " + value in made.page()
    assert b"must be a number" not in made.page()


def exported() -> set[str]:
    families = text_string_to_metric_families(whole().page().decode())
    return {sample.name for family in families for sample in family.samples}


def documented_requests() -> set[str]:
    return set(re.findall(r"`(\w+)`", PAGE.split("**Requests**")[1].split("```")[0]))


def test_two_services_in_one_process_count_apart() -> None:
    assert b'sent_parts_total{drop="lung"} 1.0' in whole().page()
    assert b'sent_parts_total{drop="lung"} 0.0' in Metrics(["lung"]).page()


def test_the_page_tells_each_metric_and_no_other() -> None:
    told = set(re.findall(r"^\| `(casedrop_\w+)`", PAGE, re.MULTILINE))
    ours = {name for name in exported() if name.startswith("casedrop_")}
    assert told == {re.sub(r"_(bucket|count|sum)$", "", name) for name in ours}


def test_the_page_tells_each_request() -> None:
    methods = {
        name for name in vars(GrandChallenge) if callable(getattr(GrandChallenge, name)) and name[0] != "_"
    }
    assert documented_requests() == methods - {"of", "close"} | {"get_file"}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_each_alert_asks_for_metrics_and_states_that_there_are(rule: dict[str, Any]) -> None:
    asked_for = set(re.findall(r"\bcasedrop_\w+", rule["expr"]))
    assert asked_for <= exported()
    assert asked_for or "up{" in rule["expr"]
    states = set(re.findall(r'state!?[=~]+"([^"]*)"', rule["expr"]))
    assert {state for alternatives in states for state in alternatives.split("|")} <= set(STATES)
    assert rule["annotations"].keys() == {"summary", "action"}


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Debian: prometheus) is not here")
def test_prometheus_itself_takes_the_rules_and_the_numbers(tmp_path: Path) -> None:
    subprocess.run(["promtool", "check", "rules", RULES], check=True)
    subprocess.run(["promtool", "test", "rules", Path(__file__).parent / "alerts_test.yml"], check=True)
    page = tmp_path / "page"
    page.write_bytes(whole().page())
    with page.open() as text:
        ended = subprocess.run(
            ["promtool", "check", "metrics"], stdin=text, capture_output=True, text=True, check=False
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
