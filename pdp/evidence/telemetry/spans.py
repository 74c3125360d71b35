"""Spans from records: ids, times, parent and links are all in the record, so no tracer runs on the request path.

Rule 1: a deny is an answer, not an error: its status stays unset. Only INTERNAL_ERROR, where no decision could be made,
is an error span.
Rule 2: a span is made from what the record's line says, whether or not it was read back from the journal.
"""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from pdp.core.reasons import Code
from pdp.evidence.instants import parse_instant
from pdp.evidence.line.lapse_json import LapseJson
from pdp.evidence.line.links import LinkJson, link_to
from pdp.evidence.line.record_json import ChangeJson, DecisionJson, Document
from pdp.evidence.telemetry import names
from pdp.evidence.telemetry.due import is_routine
from pdp.evidence.telemetry.told import Attributes, attributes_of

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

    def request(self, told: Iterable[Document]) -> ExportTraceServiceRequest:
        """Return what exports the spans of the records; empty if they have none."""
        return encode_spans(self.spans(told))

    def spans(self, told: Iterable[Document]) -> list[ReadableSpan]:
        """Return the spans of those records that have one."""
        return [span for span in map(self.span, told) if span is not None]

    def span(self, told: Document) -> ReadableSpan | None:
        """Return the record's span; None if it has none."""
        if isinstance(told, DecisionJson):
            routine = is_routine(allowed=told.outcome == "allow", durable=told.durable)
            return None if routine and not told.sampled else self._decision(told)
        if isinstance(told, ChangeJson):
            return self._change(told) if told.span_id else None
        return self._lapse(told) if isinstance(told, LapseJson) else None

    def _decision(self, told: DecisionJson) -> ReadableSpan:
        name = f"{names.DECISION_SERVICE}/{told.method}"
        failed = told.reasons[0].code == Code.INTERNAL_ERROR.value
        attributes = attributes_of(told, resource_ids=self._resource_ids) | _called(name)
        if failed:
            attributes[names.ERROR_TYPE] = Code.INTERNAL_ERROR.value
        start = parse_instant(told.time)
        return ReadableSpan(
            name,
            context=_context(told.trace_id, told.span_id),
            parent=_parent(told),
            resource=self._resource,
            attributes=attributes,
            links=[_link(link) for link in told.links],
            kind=SpanKind.SERVER,
            status=_ERROR if failed else _UNSET,
            start_time=start,
            end_time=start + told.duration_ns,
            instrumentation_scope=self._scope,
        )

    def _change(self, told: ChangeJson) -> ReadableSpan:
        served = bool(told.method)
        name = f"{names.GOVERNANCE_SERVICE}/{told.method}" if served else names.CHANGE_SPAN
        start = parse_instant(told.time)
        return ReadableSpan(
            name,
            context=_context(told.trace_id, told.span_id),
            parent=_parent(told),
            resource=self._resource,
            attributes=attributes_of(told, resource_ids=False) | (_called(name) if served else {}),
            kind=SpanKind.SERVER if served else SpanKind.INTERNAL,
            status=_UNSET,
            start_time=start,
            end_time=start + told.duration_ns,
            instrumentation_scope=self._scope,
        )

    def _lapse(self, told: LapseJson) -> ReadableSpan:
        kind, _, id_ = told.about.partition(":")
        link = link_to(kind, id_, told.fact_traceparent)
        at = parse_instant(told.time)
        return ReadableSpan(
            names.LAPSE_SPAN,
            context=_context(told.trace_id, told.span_id),
            resource=self._resource,
            attributes=attributes_of(told, resource_ids=False),
            links=[] if link is None else [_link(link)],
            kind=SpanKind.INTERNAL,
            status=_UNSET,
            start_time=at,
            end_time=at,
            instrumentation_scope=self._scope,
        )


def _called(method: str) -> Attributes:
    """Return what the RPC conventions ask of a call that was answered: whatever the answer, gRPC's status is OK."""
    return {names.RPC_SYSTEM: "grpc", names.RPC_METHOD: method, names.RPC_STATUS: "OK"}


def _link(link: LinkJson) -> Link:
    flags = _SAMPLED if link.sampled else _UNSAMPLED
    context = SpanContext(int(link.trace_id, 16), int(link.span_id, 16), is_remote=True, trace_flags=flags)
    return Link(context, {names.LINK_KIND: link.kind, names.LINK_ID: link.id})


def _context(trace_id: str, span_id: str) -> SpanContext:
    # What is exported counts as sampled, whatever the caller's flag said: denials are always kept.
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=_SAMPLED)


def _parent(told: DecisionJson | ChangeJson) -> SpanContext | None:
    if not told.parent_span_id:
        return None
    flags = _SAMPLED if told.sampled else _UNSAMPLED
    return SpanContext(int(told.trace_id, 16), int(told.parent_span_id, 16), is_remote=True, trace_flags=flags)
