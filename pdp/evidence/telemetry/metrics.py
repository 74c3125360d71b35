"""Metrics of decisions, administration, state and evidence.

Rule 1: never an identity, session or other unbounded value as a label.
Rule 2: nothing is measured on the request path: counts come from records in batches, the rest is looked up when a
reader collects.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from wsgiref.simple_server import WSGIServer

from msgspec import Struct
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    Metric,
    MetricExporter,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry, start_http_server

from pdp.evidence.journal.journal import JournalStatus
from pdp.evidence.record import AnyRecord
from pdp.evidence.telemetry import names
from pdp.evidence.telemetry.prometheus_durations import DurationCollector
from pdp.evidence.telemetry.tally import Tally
from pdp.evidence.telemetry.telemetry import TelemetryStatus


class Gauges(Struct, frozen=True):
    """Where the values come from that only others know; called on the collecting thread, must be cheap."""

    revision: Callable[[], int]
    state_age_s: Callable[[], float]
    """Seconds since the store was last heard of."""
    watch_streams: Callable[[], int]


class Sources(Struct, frozen=True):
    """Everything that is looked up when a reader collects."""

    gauges: Gauges
    journal: Callable[[], JournalStatus]
    telemetry: Callable[[], TelemetryStatus]
    break_glass_taken: Callable[[], int]
    index_behind: Callable[[], int]
    """Records on disk that cannot be found in the index yet."""


class _WithDurations(MetricReader):
    """Adds the tallied durations to what the SDK collects; mixed into a reader."""

    tally: Tally
    resource: Resource

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> None:
        durations = self.tally.durations(time.time_ns())
        whole = MetricsData(_added(durations, metrics_data.resource_metrics, self.resource))
        super()._receive_metrics(whole, timeout_millis, **kwargs)  # type: ignore[safe-super]  # the reader's own


def _added(metric: Metric, collected: Sequence[ResourceMetrics], resource: Resource) -> list[ResourceMetrics]:
    """Return what was collected of the one resource and scope there are, with one metric more.

    The exporter sends one entry for each resource and scope: of two that are equal it would leave out the first.
    """
    scopes = [scope for of_resource in collected for scope in of_resource.scope_metrics]
    scope = scopes[0].scope if scopes else InstrumentationScope(names.SCOPE, "", names.SCHEMA_URL)
    metrics = [*(one for of_scope in scopes for one in of_scope.metrics), metric]
    return [ResourceMetrics(resource, [ScopeMetrics(scope, metrics, names.SCHEMA_URL)], "")]


class PrometheusReader(PrometheusMetricReader):
    """Serves to a Prometheus registry."""

    def __init__(self, tally: Tally, registry: CollectorRegistry) -> None:
        """Register with `registry`."""
        registry.register(DurationCollector(tally))
        super().__init__(registry=registry, disable_target_info=True, scope_info_enabled=False)


class PushReader(_WithDurations, PeriodicExportingMetricReader):
    """Pushes to an exporter, periodically and at the end."""

    def __init__(self, tally: Tally, resource: Resource, exporter: MetricExporter, interval_s: float = 60.0) -> None:
        """Push to `exporter`."""
        self.tally, self.resource = tally, resource
        super().__init__(exporter, export_interval_millis=interval_s * 1000)


class MemoryReader(_WithDurations, InMemoryMetricReader):
    """Keeps what was collected last, for tests."""

    def __init__(self, tally: Tally, resource: Resource) -> None:
        """Start empty."""
        self.tally, self.resource = tally, resource
        super().__init__()


def otlp_metrics(endpoint: str, *, insecure: bool, timeout_s: float = 5.0) -> MetricExporter:
    """Return an exporter to an OTLP/gRPC collector."""
    return OTLPMetricExporter(endpoint=endpoint, insecure=insecure, timeout=timeout_s)


class PrometheusEndpoint:
    """Serves a registry over HTTP, in its own thread."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        """Listen on `host`:`port`; 0 takes a free port. Raises OSError if that is taken."""
        server, self._thread = start_http_server(port, host, registry)
        self._server: WSGIServer = server

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Metrics:
    """The instruments of this process."""

    def __init__(self, sources: Sources, resource: Resource, tally: Tally, readers: Sequence[MetricReader]) -> None:
        """Give the readers all instruments."""
        self._tally = tally
        self._provider = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        meter = self._provider.get_meter(names.SCOPE, schema_url=names.SCHEMA_URL)
        self._reloads = meter.create_counter(names.POLICY_RELOADS, description="loads of the policy set, by result")
        _observe_calls(meter, tally)
        _observe_state(meter, sources.gauges)
        _observe_evidence(meter, sources)

    def count(self, records: Sequence[AnyRecord]) -> None:
        """Count the decisions and administrative calls among the records."""
        self._tally.count(records)

    def policies_reloaded(self, result: str) -> None:
        """Count a load of the policy set: `loaded`, or `rejected` when the last good set stays."""
        self._reloads.add(1, {names.LABEL_RESULT: result})

    def close(self, timeout_s: float = 5.0) -> None:
        """Collect a last time and let the readers go."""
        self._provider.shutdown(timeout_millis=timeout_s * 1000)


def _observe_calls(meter: Meter, tally: Tally) -> None:
    def decisions(_: CallbackOptions) -> Iterator[Observation]:
        return tally.decisions()

    def administration(_: CallbackOptions) -> Iterator[Observation]:
        return tally.administration()

    def lapses(_: CallbackOptions) -> Iterator[Observation]:
        return tally.lapses()

    def shadow(_: CallbackOptions) -> Iterator[Observation]:
        return tally.shadow_differences()

    meter.create_observable_counter(names.DECISIONS, [decisions], description="decisions by outcome and primary code")
    meter.create_observable_counter(
        names.ADMINISTRATION, [administration], description="administrative calls by method and outcome"
    )
    meter.create_observable_counter(names.LAPSES, [lapses], description="access that ended by time alone, by what")
    differences = "decisions that the shadow policies would have answered otherwise, by both primary codes"
    meter.create_observable_counter(names.SHADOW_DIFFERENCES, [shadow], description=differences)


def _observe_state(meter: Meter, gauges: Gauges) -> None:
    revision, age, streams = gauges.revision, gauges.state_age_s, gauges.watch_streams
    _gauge(meter, names.METRIC_REVISION, "", "revision of the facts that decisions are computed from", revision)
    _gauge(meter, names.STATE_AGE, "s", "time since the store was last heard of", age)
    _gauge(meter, names.WATCH_STREAMS, "", "open watches", streams)


def _observe_evidence(meter: Meter, sources: Sources) -> None:
    def queue() -> int:
        return sources.journal().held

    def lag() -> float:
        return sources.journal().lag_s

    def errors() -> int:
        return sources.journal().errors

    _gauge(meter, names.JOURNAL_QUEUE, "", "records in memory, not yet confirmed on disk", queue)
    _gauge(meter, names.JOURNAL_LAG, "s", "age of the oldest record not yet confirmed on disk", lag)
    _sum(meter, names.JOURNAL_ERRORS, "failed attempts to write the journal", errors)
    _gauge(meter, names.INDEX_BEHIND, "", "records on disk that the index does not have yet", sources.index_behind)
    _sum(meter, names.BREAK_GLASS_TAKEN, "break-glasses that were taken", sources.break_glass_taken)
    _observe_telemetry(meter, sources.telemetry)


def _observe_telemetry(meter: Meter, status: Callable[[], TelemetryStatus]) -> None:
    _sum(meter, names.TELEMETRY_EXPORTED, "records acknowledged by the collector", lambda: status().exported)
    _sum(meter, names.TELEMETRY_LOST, "records due that were never exported", lambda: status().lost)
    _sum(meter, names.TELEMETRY_FAILURES, "attempts to export that failed", lambda: status().failures)
    behind = "records of the journal behind the last one up to which all that is due was exported"
    _gauge(meter, names.TELEMETRY_BEHIND, "", behind, lambda: status().behind)


def _gauge(meter: Meter, name: str, unit: str, description: str, value: Callable[[], float]) -> None:
    meter.create_observable_gauge(name, [lambda _: [Observation(value())]], unit=unit, description=description)


def _sum(meter: Meter, name: str, description: str, value: Callable[[], int]) -> None:
    meter.create_observable_counter(name, [lambda _: [Observation(value())]], description=description)
