"""The service in numbers, for Prometheus: what happened is counted, how it is comes from the status report.

Labels are names of drops, states, names of requests and kinds of endings. Nothing of a case is among them.
"""

import time
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import prometheus_client as prometheus
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from casedrop import __version__
from casedrop.meter import Meter
from casedrop.model import FindingState
from casedrop.stages import AT_REST, Stage
from casedrop.status import ENDED, WAITS, WAITS_FOR_A_PERSON, WORDS
from casedrop.watched import BY_A_PERSON, HELD, REHEARSING

STATES = tuple(dict.fromkeys([*FindingState, WAITS, *WORDS.values(), WAITS_FOR_A_PERSON]))
"""All that a case of the report can be in."""

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics(Meter):
    """A registry of its own, so that two services in one process do not meet."""

    def __init__(self, drops: Iterable[str]) -> None:
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        prometheus.ProcessCollector(registry=self.registry)
        self._now = _Now()
        self.registry.register(self._now)
        version = self._gauge("casedrop_build_info", "The version that runs; always 1.", "version")
        version.labels(__version__).set(1)
        self._bytes = self._counter("casedrop_sent_bytes", "Bytes of parts the storage has taken.", "drop")
        self._parts = self._counter("casedrop_sent_parts", "Parts the storage has taken.", "drop")
        self._tries = self._counter(
            "casedrop_tries", "Steps of cases and looks at them, by how they ended.", "drop", "class"
        )
        self._ended = self._counter(
            "casedrop_ended", "Folders that were done, failed, or changed and settle again.", "drop", "state"
        )
        self._answers = self._counter(
            "casedrop_answers",
            "Requests to the platform and its storage, by how they ended.",
            "request",
            "class",
        )
        self._seconds = prometheus.Histogram(
            "casedrop_request_seconds",
            "How long requests to the platform and its storage took.",
            ["request"],
            buckets=SECONDS,
            registry=self.registry,
        )
        for drop in drops:  # a rate is seen from the first one on only if there was a 0 before
            self._bytes.labels(drop)
            self._parts.labels(drop)
            for stage in AT_REST:
                self._ended.labels(drop, WORDS[stage])

    def page(self) -> bytes:
        """What a scrape gets, in Prometheus' text format 0.0.4."""
        return prometheus.generate_latest(self.registry)

    def request(self, drop: str, name: str, seconds: float, ended: str, size: int) -> None:
        self._seconds.labels(name).observe(seconds)
        self._answers.labels(name, ended).inc()
        if size and ended == "success":
            self._parts.labels(drop).inc()
            self._bytes.labels(drop).inc(size)

    def tried(self, drop: str, ended: str) -> None:
        self._tries.labels(drop, ended).inc()

    def ended(self, drop: str, stage: str) -> None:
        self._ended.labels(drop, WORDS[Stage(stage)]).inc()

    def show(self, report: Mapping[str, Any]) -> None:
        self._now.report = report

    def _counter(self, name: str, says: str, *labels: str) -> prometheus.Counter:
        return prometheus.Counter(name, says, labels, registry=self.registry)

    def _gauge(self, name: str, says: str, *labels: str) -> prometheus.Gauge:
        return prometheus.Gauge(name, says, labels, registry=self.registry)


class _Now(Collector):
    """Gauges made from the last report at each scrape; none before the first."""

    report: Mapping[str, Any] | None = None

    def collect(self) -> Iterator[Metric]:
        report = self.report
        if report is None:
            return
        drops = report["drops"]
        yield GaugeMetricFamily("casedrop_report_timestamp_seconds", "When this was so.", report["time"])
        yield GaugeMetricFamily(
            "casedrop_journal_copy_timestamp_seconds",
            "When the journal was last copied; 0: never.",
            report["copied"],
        )
        yield GaugeMetricFamily(
            "casedrop_state_free_bytes", "Free in the state directory's file system.", report["free"]
        )
        if (expires := report.get("token_expires")) is not None:
            yield GaugeMetricFamily(
                "casedrop_token_expires_timestamp_seconds", "When the token's last day is over.", expires
            )
        yield GaugeMetricFamily(
            "casedrop_configuration_refused",
            "1 while the service goes on by an older configuration, since the newest has mistakes.",
            bool(report.get("refused")),
        )
        yield GaugeMetricFamily(
            "casedrop_uploads_paused",
            "1 while the platform or its storage does not answer, or takes no more.",
            any(one["paused"] for one in drops),
        )
        yield GaugeMetricFamily(
            "casedrop_uploads_open",
            "0 while limits.hours close uploads.",
            report.get("limits", {}).get("megabit_per_second") != 0,
        )
        yield _by_drop(
            "casedrop_held",
            "1 while the drop takes no new folder until something is mended.",
            {one["name"]: one["stands"] == HELD for one in drops},
        )
        yield _by_drop(
            "casedrop_paused",
            "1 while people want the drop to send nothing: it is paused, or rehearses.",
            {one["name"]: one["stands"] in (BY_A_PERSON, REHEARSING) for one in drops},
        )
        yield _by_drop(
            "casedrop_scan_timestamp_seconds",
            "When the last good look at the drop began; 0: never.",
            {one["name"]: one["scanned"] for one in drops},
        )
        yield _by_drop(
            "casedrop_root_free_bytes",
            "Free in the root's file system at the last look.",
            {one["name"]: one["free"] for one in drops if one["free"] is not None},
        )
        yield from _cases(drops, time.time())


def _by_drop(name: str, says: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, says, labels=["drop"])
    for drop, value in values.items():
        family.add_metric([drop], value)
    return family


def _cases(drops: Iterable[Mapping[str, Any]], now: float) -> Iterator[Metric]:
    """Counts of every state, so that a graph falls to 0 and does not end."""
    counts = GaugeMetricFamily("casedrop_cases", "Cases by state.", labels=["drop", "state"])
    oldest = GaugeMetricFamily(
        "casedrop_oldest_seconds",
        "How long ago the oldest case in each state was begun, its folder last changed, or it was first left "
        "alone; 0: there is none.",
        labels=["drop", "state"],
    )
    for drop in drops:
        moving = [case for case in drop["cases"] if case["state"] not in ENDED]
        there = Tally(case["state"] for case in moving) + Tally(drop["ended"])
        for state in STATES:
            counts.add_metric([drop["name"], state], there[state])
        for state in (state for state in STATES if state not in ENDED):
            since = min((case["since"] for case in moving if case["state"] == state), default=now)
            oldest.add_metric([drop["name"], state], max(now - since, 0.0))
    yield from (counts, oldest)
