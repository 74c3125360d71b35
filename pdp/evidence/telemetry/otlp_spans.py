"""Records as the protocol's own spans: half as dear as those of the OpenTelemetry SDK, and the same on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.trace.v1.trace_pb2 import (
    SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK,
    SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK,
    ResourceSpans,
    ScopeSpans,
    Span,
    Status,
)

from pdp.evidence.line.links import LinkJson
from pdp.evidence.line.record_json import Document
from pdp.evidence.telemetry import names
from pdp.evidence.telemetry.otlp_values import pairs, resource_of
from pdp.evidence.telemetry.shape import Shape, shape_of

_OF_OURS = int(SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
_OF_ANOTHER = _OF_OURS | int(SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
_UNSET = Status(code=Status.STATUS_CODE_UNSET)
_ERROR = Status(code=Status.STATUS_CODE_ERROR)


class SpanRequests:
    """Makes requests whose spans share one resource and scope."""

    def __init__(self, resource: Mapping[str, object], version: str = "", *, resource_ids: bool = False) -> None:
        """As `SpanMaker`, by the attributes of the resource."""
        self._resource = resource_of(resource)
        self._scope = InstrumentationScope(name=names.SCOPE, version=version)
        self._resource_ids = resource_ids

    def request(self, told: Iterable[Document]) -> ExportTraceServiceRequest:
        """Return what exports the spans of the records; empty if they have none."""
        shapes = (shape_of(document, resource_ids=self._resource_ids) for document in told)
        spans = [_span(shape) for shape in shapes if shape is not None]
        if not spans:
            return ExportTraceServiceRequest()
        scope = ScopeSpans(scope=self._scope, spans=spans, schema_url=names.SCHEMA_URL)
        return ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=self._resource, scope_spans=[scope])])


def _span(shape: Shape) -> Span:
    return Span(
        trace_id=bytes.fromhex(shape.trace_id),
        span_id=bytes.fromhex(shape.span_id),
        parent_span_id=bytes.fromhex(shape.parent_span_id),
        name=shape.name,
        kind=Span.SPAN_KIND_SERVER if shape.served else Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=shape.start,
        end_time_unix_nano=shape.end,
        attributes=pairs(shape.attributes),
        links=[_link(link) for link in shape.links],
        status=_ERROR if shape.failed else _UNSET,
        flags=_OF_ANOTHER if shape.parent_span_id else _OF_OURS,
    )


def _link(link: LinkJson) -> Span.Link:
    return Span.Link(
        trace_id=bytes.fromhex(link.trace_id),
        span_id=bytes.fromhex(link.span_id),
        attributes=pairs({names.LINK_KIND: link.kind, names.LINK_ID: link.id}),
        flags=_OF_ANOTHER,
    )
