"""Metrics: what is counted, in which buckets, and that no label is unbounded."""

from __future__ import annotations

import urllib.request

import pytest
from msgspec.structs import replace
from opentelemetry.sdk.metrics.export import HistogramDataPoint, Metric
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics import exposition as openmetrics

from pdp.core.decide import refuse
from pdp.core.model import Instant, Request
from pdp.core.reasons import Code
from pdp.core.snapshot import Snapshot
from pdp.evidence.journal.journal import JournalStatus
from pdp.evidence.record import (
    AdministrationOutcome,
    AdministrationRecord,
    ChangeRecord,
    DecisionRecord,
    LifecycleRecord,
)
from pdp.evidence.telemetry.metrics import Gauges, MemoryReader, Metrics, PrometheusEndpoint, PrometheusReader, Sources
from pdp.evidence.telemetry.tally import BOUNDS_NS, Tally
from pdp.evidence.telemetry.telemetry import TelemetryStatus
from pdp.evidence.trace import TraceContext

NOW = Instant(1_772_355_600_000_000_000)
STATUS = JournalStatus(healthy=True, error="", held=5, lag_s=0.25, sequence=9, last_sync_s=0.001, errors=2, lost=0)
TELEMETRY = TelemetryStatus(exported=11, lost=7, failures=3, behind=6)
SOURCES = Sources(Gauges(lambda: 42, lambda: 1.5, lambda: 3), lambda: STATUS, lambda: TELEMETRY, lambda: 4, lambda: 7)
RESOURCE = Resource({"service.name": "pdp"})


def denial(code: Code = Code.STATE_STALE, nanos: int = 1_000, method: str = "Check") -> DecisionRecord:
    """Return the record of a deny that took `nanos`."""
    return DecisionRecord(
        decision_id="d", trace=TraceContext("a" * 32, "b" * 16), method=method, request=Request("a", "b", "c:d"),
        decision=refuse(code, "why", Snapshot(), NOW), started_at=NOW, ended_at=Instant(NOW + nanos),
    )  # fmt: skip


class Collected:
    """Metrics with a reader to look at them."""

    def __init__(self) -> None:
        tally = Tally(NOW)
        self._reader = MemoryReader(tally, RESOURCE)
        self.metrics = Metrics(SOURCES, RESOURCE, tally, [self._reader])

    def all(self) -> dict[str, Metric]:
        """Return all metrics by name."""
        data = self._reader.get_metrics_data()
        assert data is not None
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def values(self, name: str) -> dict[tuple[tuple[str, object], ...], object]:
        """Return the values of a counter or gauge by labels."""
        points = self.all()[name].data.data_points
        return {
            tuple(sorted((point.attributes or {}).items())): point.value
            for point in points
            if not isinstance(point, HistogramDataPoint) and hasattr(point, "value")
        }


@pytest.fixture
def collected() -> Collected:
    """Return fresh metrics."""
    return Collected()


def test_decisions_are_counted_by_method_outcome_and_code(collected: Collected) -> None:
    """Events of the process are no decisions."""
    collected.metrics.count([denial(), denial(), denial(Code.OVERLOADED), LifecycleRecord(name="started", at=NOW)])
    labels = (("method", "Check"), ("outcome", "deny"))
    expected = {(("code", "STATE_STALE"), *labels): 2, (("code", "OVERLOADED"), *labels): 1}
    assert expected == collected.values("pdp.decisions")


@pytest.mark.parametrize(
    ("nanos", "bucket"),
    [(0, 0), (1_000, 0), (1_001, 1), (100_000_000, len(BOUNDS_NS) - 1), (100_000_001, len(BOUNDS_NS))],
)
def test_a_duration_falls_into_its_bucket(collected: Collected, nanos: int, bucket: int) -> None:
    """Upper bounds are inclusive, and the last bucket has none."""
    collected.metrics.count([denial(nanos=nanos)])
    (point,) = collected.all()["pdp.decision.duration"].data.data_points
    assert isinstance(point, HistogramDataPoint)
    assert (point.count, point.bucket_counts[bucket], point.sum) == (1, 1, nanos / 1e9)
    assert point.attributes == {"method": "Check"}


def test_a_clock_stepping_back_gives_no_negative_duration(collected: Collected) -> None:
    """It counts as none at all."""
    collected.metrics.count([denial(nanos=-5)])
    (point,) = collected.all()["pdp.decision.duration"].data.data_points
    assert isinstance(point, HistogramDataPoint)
    assert (point.sum, point.min) == (0, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pdp.revision", 42),
        ("pdp.state.age", 1.5),
        ("pdp.watch.streams", 3),
        ("pdp.journal.queue", 5),
        ("pdp.journal.lag", 0.25),
        ("pdp.journal.errors", 2),
        ("pdp.index.behind", 7),
        ("pdp.telemetry.exported", 11),
        ("pdp.telemetry.lost", 7),
        ("pdp.telemetry.failures", 3),
        ("pdp.telemetry.behind", 6),
        ("pdp.break_glass.taken", 4),
    ],
)
def test_state_and_evidence_are_looked_up(collected: Collected, name: str, value: float) -> None:
    """Each time a reader collects."""
    assert {(): value} == collected.values(name)


def test_policy_loads_are_counted_by_result(collected: Collected) -> None:
    """A rejected set is worth an alert."""
    collected.metrics.policies_reloaded("loaded")
    collected.metrics.policies_reloaded("rejected")
    assert collected.values("pdp.policy.reloads") == {(("result", "loaded"),): 1, (("result", "rejected"),): 1}


def test_administrative_calls_are_counted_by_method_and_outcome(collected: Collected) -> None:
    """Those that changed something too, whoever called; what changed without a call is none."""
    turned_away = AdministrationRecord(at=NOW, method="Revoke", outcome=AdministrationOutcome.NOT_PERMITTED)
    changed = ChangeRecord(revision=1, changes=(), actor="security", at=NOW, method="Revoke")
    named = replace(turned_away, actor="somebody")
    collected.metrics.count([turned_away, named, changed, replace(changed, method="")])
    method = ("method", "Revoke")
    expected = {(method, ("outcome", "not_permitted")): 2, (method, ("outcome", "changed")): 1}
    assert expected == collected.values("pdp.administration")


def test_no_identity_or_session_becomes_a_label(collected: Collected) -> None:
    """A thousand subjects make one series."""
    record = denial()
    collected.metrics.count([replace(record, request=Request(f"s{number}", "b", "c:d")) for number in range(1000)])
    assert len(collected.values("pdp.decisions")) == 1


def test_prometheus_scrapes_everything() -> None:
    """Counters, gauges and the histogram of durations, over HTTP on loopback."""
    registry, tally = CollectorRegistry(), Tally(NOW)
    metrics = Metrics(SOURCES, RESOURCE, tally, [PrometheusReader(tally, registry)])
    endpoint = PrometheusEndpoint(registry, "127.0.0.1", 0)
    metrics.count([denial(nanos=3_000)])
    with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    endpoint.close()
    metrics.close()
    expected = [
        'pdp_decisions_total{code="STATE_STALE",method="Check",outcome="deny"} 1.0',
        'pdp_decision_duration_seconds_bucket{le="5e-06",method="Check"} 1.0',
        "pdp_revision 42.0",
        "pdp_journal_lag_seconds 0.25",
    ]
    assert expected == [line for line in expected if line in lines]


def test_a_bucket_shows_the_latest_decision_that_has_a_span() -> None:
    """As an exemplar: to OTLP, and in OpenMetrics to whoever asks for that."""
    registry, tally = CollectorRegistry(), Tally(NOW)
    reader = MemoryReader(tally, RESOURCE)
    metrics = Metrics(SOURCES, RESOURCE, tally, [PrometheusReader(tally, registry), reader])
    metrics.count([denial(nanos=1_500), replace(denial(nanos=1_600), trace=TraceContext("c" * 32, "d" * 16))])
    (point,) = tally.durations(NOW).data.data_points
    assert isinstance(point, HistogramDataPoint)
    told = [(one.trace_id, one.span_id, one.value, one.time_unix_nano) for one in point.exemplars]
    assert told == [(int("c" * 32, 16), int("d" * 16, 16), 1.6e-06, NOW)]
    page = openmetrics.generate_latest(registry).decode()
    metrics.close()
    labels = f'{{span_id="{"d" * 16}",trace_id="{"c" * 32}"}}'
    bucket = 'pdp_decision_duration_seconds_bucket{le="2e-06",method="Check"} 2.0'
    assert [line for line in page.splitlines() if line.startswith(f"{bucket} # {labels} 1.6e-06 ")] != []
    assert page.count(" # {") == 1
