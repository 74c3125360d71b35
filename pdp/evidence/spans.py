"""Spans from records: ids, times, parent and links are all in the record, so no tracer runs on the request path.

Rule 1: a deny is an answer, not an error: its status stays unset. Only INTERNAL_ERROR, where no decision could be made,
is an error span.
Rule 2: denials, durable decisions, changes and lapses are always exported; a routine allow as its trace is sampled.
"""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from pdp.core.decision import Allow, Decision
from pdp.core.model import KIND_OF, AnyFact, Change, Put
from pdp.core.reasons import Code
from pdp.evidence import names
from pdp.evidence.instants import instant_text
from pdp.evidence.record import AnyRecord, ChangeRecord, DecisionRecord, LapseRecord
from pdp.evidence.record_json import basis_of
from pdp.evidence.trace import TraceContext, parse_traceparent

AttributeValue = str | int | tuple[str, ...]

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET = Status(StatusCode.UNSET)
_ERROR = Status(StatusCode.ERROR)
_MOST_FACTS = 64
"""References listed on the span of a change; a bulk load has more, the journal has them all."""


def is_exported(record: AnyRecord) -> bool:
    """Whether the record becomes a span."""
    if isinstance(record, DecisionRecord):
        decision = record.decision
        return record.trace.sampled or decision.durable or not isinstance(decision, Allow)
    return isinstance(record, LapseRecord) or (isinstance(record, ChangeRecord) and record.trace is not None)


class SpanMaker:
    """Makes spans that share one resource and scope."""

    def __init__(self, resource: Resource, version: str = "", *, resource_ids: bool = False) -> None:
        """Describe this process by `resource`; `resource_ids` puts ids of protected resources on spans as well."""
        self._resource = resource
        self._scope = InstrumentationScope(names.SCOPE, version, names.SCHEMA_URL)
        self._resource_ids = resource_ids

    def span(self, record: DecisionRecord | ChangeRecord | LapseRecord) -> ReadableSpan:
        """Return the record's span."""
        if isinstance(record, DecisionRecord):
            return self._decision(record)
        if isinstance(record, LapseRecord):
            return self._lapse(record)
        return self._change(record)

    def _decision(self, record: DecisionRecord) -> ReadableSpan:
        name = f"{names.DECISION_SERVICE}/{record.method}"
        failed = record.decision.code is Code.INTERNAL_ERROR
        attributes = decision_attributes(record, resource_ids=self._resource_ids)
        attributes |= {names.RPC_SYSTEM: "grpc", names.RPC_METHOD: name}
        if failed:
            attributes[names.ERROR_TYPE] = Code.INTERNAL_ERROR.value
        return ReadableSpan(
            name,
            context=_context(record.trace, remote=False),
            parent=_parent(record.trace),
            resource=self._resource,
            attributes=attributes,
            links=decision_links(record),
            kind=SpanKind.SERVER,
            status=_ERROR if failed else _UNSET,
            start_time=record.started_at,
            end_time=max(record.started_at, record.ended_at),
            instrumentation_scope=self._scope,
        )

    def _change(self, record: ChangeRecord) -> ReadableSpan:
        trace = record.trace or TraceContext("0" * 32, "0" * 16)
        served = bool(record.method)
        name = f"{names.GOVERNANCE_SERVICE}/{record.method}" if served else names.CHANGE_SPAN
        attributes = _change_attributes(record)
        if served:
            attributes |= {names.RPC_SYSTEM: "grpc", names.RPC_METHOD: name}
        return ReadableSpan(
            name,
            context=_context(trace, remote=False),
            parent=_parent(trace),
            resource=self._resource,
            attributes=attributes,
            kind=SpanKind.SERVER if served else SpanKind.INTERNAL,
            status=_UNSET,
            start_time=record.at,
            end_time=max(record.at, record.ended_at or record.at),
            instrumentation_scope=self._scope,
        )

    def _lapse(self, record: LapseRecord) -> ReadableSpan:
        link = _link(record.kind, record.id, record.traceparent)
        return ReadableSpan(
            names.LAPSE_SPAN,
            context=_context(record.trace, remote=False),
            resource=self._resource,
            attributes=_lapse_attributes(record),
            links=[] if link is None else [link],
            kind=SpanKind.INTERNAL,
            status=_UNSET,
            start_time=record.at,
            end_time=record.at,
            instrumentation_scope=self._scope,
        )


def decision_attributes(record: DecisionRecord, *, resource_ids: bool) -> dict[str, AttributeValue]:
    """Return what a span says of a decision; what there is none of is left out."""
    decision, request, basis = record.decision, record.request, basis_of(record)
    resource_type, _, resource_id = request.resource.partition(":")
    identity, approval = decision.basis.identity, decision.basis.approval
    attributes: dict[str, AttributeValue] = {
        names.OUTCOME: "allow" if isinstance(decision, Allow) else "deny",
        names.REASON_CODE: decision.code.value,
        names.REASON_CODES: _codes(decision),
        names.DECISION_ID: record.decision_id,
        names.REQUEST_ID: request.request_id,
        names.CALLER: record.caller,
        names.SUBJECT_ID: request.subject,
        names.IDENTITY_ID: basis.identity_id,
        names.IDENTITY_KIND: "" if identity is None else identity.kind.value,
        names.IDENTITY_OWNER: basis.owner,
        names.SESSION_ID: basis.session_id,
        names.TASK_ID: basis.task_id,
        names.APPROVAL_ID: basis.approval_id,
        names.APPROVAL_KIND: "" if approval is None else approval.kind.value,
        names.APPROVAL_TICKET: basis.ticket,
        names.ENTITLEMENT_ID: basis.entitlement_id,
        names.ACTION: request.action,
        names.RESOURCE_TYPE: resource_type,
        names.RESOURCE_ID: resource_id if resource_ids else "",
        names.POLICY_NAMES: decision.policies,
        names.POLICY_VERSION: decision.policy_version,
        names.REVISION: decision.revision,
        names.VALID_UNTIL: instant_text(decision.valid_until) if isinstance(decision, Allow) else "",
    }
    return {name: value for name, value in attributes.items() if value not in ("", ())}


def decision_links(record: DecisionRecord) -> list[Link]:
    """Return links to where the approval was given, the session opened, and what overrides was revoked."""
    basis = record.decision.basis
    facts: list[tuple[str, AnyFact]] = []
    if basis.approval is not None:
        facts.append(("approval", basis.approval))
    if basis.session is not None:
        facts.append(("session", basis.session))
    if not isinstance(record.decision, Allow):
        by = {denial.by.id: denial.by for denial in record.decision.reasons if denial.by is not None}
        facts += (("revocation", revocation) for revocation in by.values())
    links = (_link(kind, fact.id, fact.traceparent) for kind, fact in facts)
    return [link for link in links if link is not None]


def _link(kind: str, id_: str, traceparent: str) -> Link | None:
    """Return a link to the span that last wrote a fact, if it was traced."""
    trace = parse_traceparent(traceparent)
    if trace is None:
        return None
    return Link(_context(trace, remote=True), {names.LINK_KIND: kind, names.LINK_ID: id_})


def _codes(decision: Decision) -> tuple[str, ...]:
    if isinstance(decision, Allow):
        return (decision.code.value,)
    return tuple(denial.code.value for denial in decision.reasons)


def _change_attributes(record: ChangeRecord) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        names.REVISION: record.revision,
        names.CHANGE_ACTOR: record.actor,
        names.CHANGE_REASON: record.reason,
        names.CHANGE_FACTS: _references(record.changes),
    }
    return {name: value for name, value in attributes.items() if value not in ("", ())}


def _lapse_attributes(record: LapseRecord) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        names.LAPSE_WHAT: record.what.value,
        names.LAPSE_ABOUT: record.about,
        names.LAPSE_ENDED_AT: instant_text(record.ended_at),
        names.IDENTITY_ID: record.identity,
        names.TASK_ID: record.task,
        names.APPROVAL_ID: record.approval,
    }
    return {name: value for name, value in attributes.items() if value}


def _references(changes: Sequence[Change]) -> tuple[str, ...]:
    return tuple(
        f"{KIND_OF[type(change.fact)].value}:{change.fact.id}"
        if isinstance(change, Put)
        else f"{change.kind.value}:{change.id}"
        for change in changes[:_MOST_FACTS]
    )


def _context(trace: TraceContext, *, remote: bool) -> SpanContext:
    # What is exported counts as sampled, whatever the caller's flag said: denials are always kept.
    flags = _SAMPLED if trace.sampled or not remote else TraceFlags(TraceFlags.DEFAULT)
    return SpanContext(int(trace.trace_id, 16), int(trace.span_id, 16), is_remote=remote, trace_flags=flags)


def _parent(trace: TraceContext) -> SpanContext | None:
    if not trace.parent_span_id:
        return None
    flags = _SAMPLED if trace.sampled else TraceFlags(TraceFlags.DEFAULT)
    return SpanContext(int(trace.trace_id, 16), int(trace.parent_span_id, 16), is_remote=True, trace_flags=flags)
