"""An OTLP/gRPC collector on loopback: the real services of the protocol, with verbs `away` and `back`."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.ports import free_port


class Collector:
    """Keeps what it gets, over all the times it was away."""

    def __init__(self) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.spans: list[Span] = []
        self.logs: list[LogRecord] = []
        self.metrics: dict[str, Metric] = {}
        self.rejected = 0
        """How many spans, and log records, of each export it says it threw away."""
        self.code: grpc.StatusCode | None = None
        """With what it answers exports of spans and log records; None: it takes them."""
        self.poison = ""
        """Words of a request in an export that it calls invalid."""
        self.metadata: dict[str, object] = {}
        """Of the last export."""
        self._changed = threading.Condition()
        self._server: grpc.Server | None = None

    def back(self, credentials: grpc.ServerCredentials | None = None) -> None:
        """Listen; with TLS if there are credentials."""
        server = grpc.server(ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Traces(self), server)
        logs_service_pb2_grpc.add_LogsServiceServicer_to_server(_Logs(self), server)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(self), server)
        address = f"127.0.0.1:{self.port}"
        if credentials is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, credentials)
        server.start()
        self._server = server

    def away(self) -> None:
        """Stop listening, and cut the connections."""
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None

    def take(
        self, spans: list[Span] | None = None, logs: list[LogRecord] | None = None, metrics: list[Metric] | None = None
    ) -> None:
        """Keep what an export brought."""
        with self._changed:
            self.spans += spans or []
            self.logs += logs or []
            self.metrics |= {metric.name: metric for metric in metrics or []}
            self._changed.notify_all()

    def judge(self, items: Iterable[Span | LogRecord], context: grpc.ServicerContext) -> None:
        """End a call that is not to succeed."""
        self.metadata = dict(context.invocation_metadata())
        if self.code is not None:
            context.abort(self.code, "not\nnow")
        if self.poison and any(self.poison in attributes(item.attributes).values() for item in items):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "an attribute is too long")

    def decisions(self) -> set[str]:
        """Return the ids of the decisions whose spans arrived."""
        with self._changed:
            return {str(attributes(span.attributes).get("pdp.decision.id")) for span in self.spans}

    def span(self, span_id: bytes) -> Span | None:
        """Return a span by its id, if it has arrived."""
        with self._changed:
            return next((span for span in self.spans if span.span_id == span_id), None)


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(  # noqa: N802  # the name is the protocol's
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        spans = [one for of in request.resource_spans for scope in of.scope_spans for one in scope.spans]
        self._collector.judge(spans, context)
        self._collector.take(spans=spans)
        partial = trace_service_pb2.ExportTracePartialSuccess(rejected_spans=self._collector.rejected)
        return trace_service_pb2.ExportTraceServiceResponse(partial_success=partial)


class _Logs(logs_service_pb2_grpc.LogsServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(  # noqa: N802  # as above
        self, request: logs_service_pb2.ExportLogsServiceRequest, context: grpc.ServicerContext
    ) -> logs_service_pb2.ExportLogsServiceResponse:
        logs = [one for of in request.resource_logs for scope in of.scope_logs for one in scope.log_records]
        self._collector.judge(logs, context)
        self._collector.take(logs=logs)
        partial = logs_service_pb2.ExportLogsPartialSuccess(rejected_log_records=self._collector.rejected)
        return logs_service_pb2.ExportLogsServiceResponse(partial_success=partial)


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(  # noqa: N802  # as above
        self, request: metrics_service_pb2.ExportMetricsServiceRequest, _: grpc.ServicerContext
    ) -> metrics_service_pb2.ExportMetricsServiceResponse:
        metrics = [one for of in request.resource_metrics for scope in of.scope_metrics for one in scope.metrics]
        self._collector.take(metrics=metrics)
        return metrics_service_pb2.ExportMetricsServiceResponse()


def attributes(pairs: object) -> dict[str, object]:
    """Return attributes as Python values."""
    found: dict[str, object] = {}
    for pair in pairs:  # type: ignore[attr-defined]  # a repeated field
        assert isinstance(pair, KeyValue)
        found[pair.key] = _value(pair.value)
    return found


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)
