"""What a record says, in JSON: the body of its line, described in docs/evidence.md.

Members are added, never renamed, retyped or reused; members that say nothing are left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pdp.core.decision import Allow, Deny
from pdp.core.model import NO_ATTRIBUTES, Attribute, Attributes
from pdp.core.scope import Scope
from pdp.evidence.instants import instant_text
from pdp.evidence.line.administration_json import AdministrationJson, administration_json
from pdp.evidence.line.decision_json import (
    ReasonJson,
    RequestJson,
    ShadowJson,
    UsesJson,
    basis_of,
    optional_text,
    reasons_json,
    request_json,
    shadow_json,
    uses_json,
)
from pdp.evidence.line.fact_json import change_json
from pdp.evidence.line.lapse_json import LapseJson, lapse_json
from pdp.evidence.line.links import LinkJson, links_of
from pdp.evidence.record import (
    AdministrationRecord,
    AnyRecord,
    ChangeRecord,
    DecisionRecord,
    LapseRecord,
    LifecycleRecord,
)
from pdp.evidence.telemetry.due import has_span
from pdp.evidence.trace import TraceContext, parse_traceparent


class DecisionJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """The line of a decision."""

    kind: str
    time: str
    decision_id: str
    trace_id: str
    span_id: str
    method: str
    request: RequestJson
    outcome: str
    reasons: tuple[ReasonJson, ...]
    revision: int
    evaluated_at: str
    durable: bool
    duration_ns: int
    parent_span_id: str = ""
    caller: str = ""
    policy_version: str = ""
    policies: tuple[str, ...] = ()
    identity_id: str = ""
    owner: str = ""
    session_id: str = ""
    task_id: str = ""
    approval_id: str = ""
    ticket: str = ""
    entitlement_id: str = ""
    valid_until: str | None = None
    reconsider_at: str | None = None
    uses: UsesJson | None = None
    omitted: str = ""
    caller_may_ask: tuple[str, ...] | None = None
    """The patterns of the subjects that the caller may ask about; None without a caller."""
    shadow: ShadowJson | None = None
    """Where the shadow policies would have answered something else."""
    masked: tuple[str, ...] = ()
    """Paths of the attributes of the request that stand as digests; see `masking`."""
    identity_kind: str = ""
    approval_kind: str = ""
    sampled: bool = False
    links: tuple[LinkJson, ...] = ()
    """Of a decision that has a span."""


class ChangeJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """The line of a change."""

    kind: str
    time: str
    revision: int
    changes: tuple[dict[str, Attribute], ...]
    actor: str
    reason: str = ""
    method: str = ""
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    role: str = ""
    duration_ns: int = 0
    sampled: bool = False


class LifecycleJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """The line of an event."""

    kind: str
    time: str
    name: str
    attributes: Attributes = NO_ATTRIBUTES


Document: TypeAlias = DecisionJson | ChangeJson | AdministrationJson | LapseJson | LifecycleJson
"""What a record says, member by member."""

Mask: TypeAlias = Callable[[DecisionJson], DecisionJson]
"""Returns what a record says without what must not be on record; may raise."""


def body_of(record: AnyRecord, mask: Mask | None = None) -> bytes:
    """Return what a record says, for `chain.line_of`.

    What cannot be said in JSON (a lone surrogate, a value of no JSON type, one that fails when it is looked at) neither
    stops the journal nor is lost without a word: a decision is written without context and properties, any other record
    as `record_unwritable`.
    """
    try:
        document = document_of(record)
        if mask is not None and isinstance(document, DecisionJson):
            document = mask(document)
        return _ENCODE(document)
    except Exception as error:  # noqa: BLE001  # whatever it is, all records behind this one must get to the disk
        return _reduced(record, ascii(str(error)), mask)


def document_of(record: AnyRecord) -> Document:
    """Return what a record says, member by member."""
    if isinstance(record, DecisionRecord):
        return _decision(record)
    if isinstance(record, ChangeRecord):
        return _change(record)
    if isinstance(record, AdministrationRecord):
        return administration_json(record)
    if isinstance(record, LapseRecord):
        return lapse_json(record)
    return LifecycleJson("lifecycle", instant_text(record.at), record.name, record.attributes)


def _decision(record: DecisionRecord) -> DecisionJson:
    """Return the members of a decision; this is on the request path."""
    decision, trace, request, basis = record.decision, record.trace, record.request, record.decision.basis
    ids = basis_of(request, basis)
    return DecisionJson(
        "decision",
        instant_text(record.started_at),
        record.decision_id,
        trace.trace_id,
        trace.span_id,
        record.method,
        request_json(request),
        "allow" if isinstance(decision, Allow) else "deny",
        reasons_json(decision, ids),
        decision.revision,
        instant_text(decision.evaluated_at),
        decision.durable,
        max(record.ended_at - record.started_at, 0),
        trace.parent_span_id,
        record.caller,
        decision.policy_version,
        decision.policies,
        *ids,
        instant_text(decision.valid_until) if isinstance(decision, Allow) else None,
        optional_text(decision.reconsider_at) if isinstance(decision, Deny) else None,
        uses_json(decision) if isinstance(decision, Allow) and record.counts_use else None,
        "",
        None if request.caller is None else request.caller.may_ask.patterns,
        None if record.shadow is None else shadow_json(record.shadow, ids),
        (),
        "" if basis.identity is None else basis.identity.kind,
        "" if basis.approval is None else basis.approval.kind,
        trace.sampled,
        links_of(decision) if has_span(record) else (),
    )


def _change(record: ChangeRecord) -> ChangeJson:
    trace = trace_of(record) or TraceContext("", "")
    return ChangeJson(
        "change",
        instant_text(record.at),
        record.revision,
        tuple(change_json(change) for change in record.changes),
        record.actor,
        record.reason,
        record.method,
        trace.trace_id,
        trace.span_id,
        trace.parent_span_id,
        record.role,
        max((record.ended_at or record.at) - record.at, 0),
        trace.sampled,
    )


def trace_of(record: ChangeRecord) -> TraceContext | None:
    """Return the change's own span, or the one stamped into its facts if it was made elsewhere."""
    return record.trace if record.trace is not None else parse_traceparent(record.traceparent)


def _reduced(record: AnyRecord, error: str, mask: Mask | None) -> bytes:
    """Return the body of what is left of a record: above all its uses, which limits count on."""
    if isinstance(record, DecisionRecord):
        with contextlib.suppress(Exception):
            document = _decision(record)
            request = replace(
                document.request,
                context=NO_ATTRIBUTES,
                subject_properties=NO_ATTRIBUTES,
                action_properties=NO_ATTRIBUTES,
                resource_properties=NO_ATTRIBUTES,
            )
            left = replace(document, request=request, omitted=error)
            return _ENCODE(left if mask is None else mask(left))
    return _ENCODE(document_of(_unwritable(record, error)))


def _unwritable(record: AnyRecord, error: str) -> LifecycleRecord:
    what = record.decision_id if isinstance(record, DecisionRecord) else type(record).__name__
    attributes: Attributes = {"record": ascii(what), "error": error}
    return LifecycleRecord(name="record_unwritable", at=record.at, attributes=attributes)


def _plain(value: object) -> object:
    """Return what msgspec does not know as something it does."""
    if isinstance(value, Scope):
        return value.patterns
    if isinstance(value, Mapping):
        return dict(value)
    message = f"a record cannot hold a `{type(value).__name__}`"
    raise TypeError(message)


_ENCODE = msgspec.json.Encoder(enc_hook=_plain).encode
