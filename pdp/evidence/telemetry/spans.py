"""Spans from records, as those of the OpenTelemetry SDK, for any of its exporters: see `otlp_spans` for the usual way.

Ids, times, parent and links are all in the record, so no tracer runs on the request path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from pdp.evidence.line.links import LinkJson
from pdp.evidence.line.record_json import Document
from pdp.evidence.telemetry import names
from pdp.evidence.telemetry.shape import Shape, shape_of
from pdp.evidence.telemetry.signals import Answer, Away, Taken

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSAMPLED = TraceFlags(TraceFlags.DEFAULT)
_UNSET = Status(StatusCode.UNSET)
_ERROR = Status(StatusCode.ERROR)


class SpanMaker:
    """Makes spans that share one resource and scope."""

    def __init__(self, resource: Resource, version: str = "", *, resource_ids: bool = False) -> None:
        """Describe this process by `resource`; `resource_ids` puts ids of protected resources on spans as well."""
        self._resource = resource
        self._scope = InstrumentationScope(names.SCOPE, version, names.SCHEMA_URL)
        self._resource_ids = resource_ids

    def spans(self, told: Iterable[Document]) -> list[ReadableSpan]:
        """Return the spans of those records that have one."""
        return [span for span in map(self.span, told) if span is not None]

    def span(self, told: Document) -> ReadableSpan | None:
        """Return the record's span; None if it has none."""
        shape = shape_of(told, resource_ids=self._resource_ids)
        if shape is None:
            return None
        return ReadableSpan(
            shape.name,
            # What is exported counts as sampled, whatever the caller's flag said: denials are always kept.
            context=SpanContext(int(shape.trace_id, 16), int(shape.span_id, 16), is_remote=False, trace_flags=_SAMPLED),
            parent=_parent(shape),
            resource=self._resource,
            attributes=shape.attributes,
            links=[_link(link) for link in shape.links],
            kind=SpanKind.SERVER if shape.served else SpanKind.INTERNAL,
            status=_ERROR if shape.failed else _UNSET,
            start_time=shape.start,
            end_time=shape.end,
            instrumentation_scope=self._scope,
        )


class SpanSignal:
    """Records as spans, by an exporter of the OpenTelemetry SDK."""

    name = "spans"

    def __init__(self, exporter: SpanExporter, maker: SpanMaker) -> None:
        """Export what the maker makes."""
        self._exporter = exporter
        self._maker = maker

    def export(self, told: Sequence[Document]) -> Answer:
        """Send the spans of those records that have one."""
        spans = self._maker.spans(told)
        if not spans or self._exporter.export(spans) is SpanExportResult.SUCCESS:
            return Taken()
        return Away("the exporter says no more")

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()


def _link(link: LinkJson) -> Link:
    flags = _SAMPLED if link.sampled else _UNSAMPLED
    context = SpanContext(int(link.trace_id, 16), int(link.span_id, 16), is_remote=True, trace_flags=flags)
    return Link(context, {names.LINK_KIND: link.kind, names.LINK_ID: link.id})


def _parent(shape: Shape) -> SpanContext | None:
    if not shape.parent_span_id:
        return None
    flags = _SAMPLED if shape.parent_sampled else _UNSAMPLED
    return SpanContext(int(shape.trace_id, 16), int(shape.parent_span_id, 16), is_remote=True, trace_flags=flags)
