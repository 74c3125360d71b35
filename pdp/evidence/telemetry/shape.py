"""Which span a record has: one account of it, for the SDK's exporters and for the protocol's own messages.

Rule 1: a deny is an answer, not an error: its status stays unset. Only INTERNAL_ERROR, where no decision could be made,
is an error span.
Rule 2: a span is made from what the record's line says, and from nothing else.
"""

from __future__ import annotations

from msgspec import Struct

from pdp.core.reasons import Code
from pdp.evidence.instants import parse_instant
from pdp.evidence.line.lapse_json import LapseJson
from pdp.evidence.line.links import LinkJson, link_to
from pdp.evidence.line.record_json import ChangeJson, DecisionJson, Document
from pdp.evidence.telemetry import names
from pdp.evidence.telemetry.due import is_routine
from pdp.evidence.telemetry.told import Attributes, attributes_of


class Shape(Struct, frozen=True, gc=False):
    """A span; ids in hexadecimal digits, times in nanoseconds since 1970."""

    name: str
    trace_id: str
    span_id: str
    attributes: Attributes
    start: int
    end: int
    served: bool = False
    """It is the answer to a call; else it is something within."""
    failed: bool = False
    parent_span_id: str = ""
    """Always of another process; empty: there is none."""
    parent_sampled: bool = False
    links: tuple[LinkJson, ...] = ()


def shape_of(told: Document, *, resource_ids: bool) -> Shape | None:
    """Return the record's span; None if it has none. Ids of protected resources only if asked for."""
    if isinstance(told, DecisionJson):
        routine = is_routine(allowed=told.outcome == "allow", durable=told.durable)
        return None if routine and not told.sampled else _decision(told, resource_ids=resource_ids)
    if isinstance(told, ChangeJson):
        return _change(told) if told.span_id else None
    return _lapse(told) if isinstance(told, LapseJson) else None


def _decision(told: DecisionJson, *, resource_ids: bool) -> Shape:
    name = f"{names.DECISION_SERVICE}/{told.method}"
    failed = told.reasons[0].code == Code.INTERNAL_ERROR.value
    attributes = attributes_of(told, resource_ids=resource_ids) | _called(name)
    if failed:
        attributes[names.ERROR_TYPE] = Code.INTERNAL_ERROR.value
    start = parse_instant(told.time)
    return Shape(
        name,
        told.trace_id,
        told.span_id,
        attributes,
        start,
        start + told.duration_ns,
        served=True,
        failed=failed,
        parent_span_id=told.parent_span_id,
        parent_sampled=told.sampled,
        links=told.links,
    )


def _change(told: ChangeJson) -> Shape:
    served = bool(told.method)
    name = f"{names.GOVERNANCE_SERVICE}/{told.method}" if served else names.CHANGE_SPAN
    start = parse_instant(told.time)
    return Shape(
        name,
        told.trace_id,
        told.span_id,
        attributes_of(told, resource_ids=False) | (_called(name) if served else {}),
        start,
        start + told.duration_ns,
        served=served,
        parent_span_id=told.parent_span_id,
        parent_sampled=told.sampled,
    )


def _lapse(told: LapseJson) -> Shape:
    kind, _, id_ = told.about.partition(":")
    link = link_to(kind, id_, told.fact_traceparent)
    at, attributes = parse_instant(told.time), attributes_of(told, resource_ids=False)
    links = () if link is None else (link,)
    return Shape(names.LAPSE_SPAN, told.trace_id, told.span_id, attributes, at, at, links=links)


def _called(method: str) -> Attributes:
    """Return what the RPC conventions ask of a call that was answered: whatever the answer, gRPC's status is OK."""
    return {names.RPC_SYSTEM: "grpc", names.RPC_METHOD: method, names.RPC_STATUS: "OK"}
