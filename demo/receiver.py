"""A small OTLP receiver on loopback that keeps the spans it gets."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class SpanReceiver(TraceServiceServicer):
    """Receives spans while it is entered."""

    def __init__(self) -> None:
        self._spans: dict[str, Span] = {}
        self._changed = threading.Condition()
        self._server = grpc.server(ThreadPoolExecutor(2))
        add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]  # generated
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    def Export(  # noqa: N802  # the name is the protocol's
        self, request: ExportTraceServiceRequest, _: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        """Keep the spans of one export."""
        with self._changed:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    self._spans |= {span.span_id.hex(): span for span in scope.spans}
            self._changed.notify_all()
        return ExportTraceServiceResponse()

    def span_of_decision(self, decision_id: str, timeout_s: float = 10.0) -> Span:
        """Return the span of a decision; raise TimeoutError if it does not arrive."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._find(decision_id) is not None, timeout_s):
                message = f"no span of decision `{decision_id}` arrived"
                raise TimeoutError(message)
            span = self._find(decision_id)
        assert span is not None  # noqa: S101  # just waited for
        return span

    def span(self, span_id: str) -> Span | None:
        """Return a span by its id, if it has arrived."""
        with self._changed:
            return self._spans.get(span_id)

    def _find(self, decision_id: str) -> Span | None:
        for span in self._spans.values():
            if attributes(span).get("pdp.decision.id") == decision_id:
                return span
        return None

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._server.stop(0)


def attributes(told: Span | Span.Link) -> dict[str, str]:
    """Return the attributes of a span or a link as text."""
    return {pair.key: _text(pair.value) for pair in told.attributes}


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return ", ".join(_text(item) for item in value.array_value.values)
    return str(getattr(value, kind)) if kind else ""
