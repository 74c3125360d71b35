"""What a record says, in JSON: the body of its line, described in docs/evidence.md.

Members are added, never renamed, retyped or reused; members that say nothing are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pdp.core.model import NO_ATTRIBUTES, Attribute, Attributes, Instant
from pdp.core.scope import Scope
from pdp.evidence.instants import instant_text
from pdp.evidence.line.administration_json import AdministrationJson, administration_json
from pdp.evidence.line.decision_json import (
    ReasonJson,
    RequestJson,
    ShadowJson,
    UsesJson,
    allow_json,
    credential_json,
    optional_text,
)
from pdp.evidence.line.fact_json import change_json
from pdp.evidence.line.flat_decision import FlatDecision, flatten
from pdp.evidence.line.lapse_json import LapseJson, lapse_json
from pdp.evidence.line.links import LinkJson
from pdp.evidence.record import (
    AdministrationRecord,
    AnyRecord,
    ChangeRecord,
    DecisionRecord,
    LapseRecord,
    LifecycleRecord,
)
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
        if isinstance(record, DecisionRecord):
            return decision_body(flatten(record), mask)
        return _ENCODE(document_of(record))
    except Exception as error:  # noqa: BLE001  # whatever it is, all records behind this one must get to the disk
        what = record.decision_id if isinstance(record, DecisionRecord) else type(record).__name__
        return unwritable_body(what, record.at, error)


def decision_body(flat: FlatDecision, mask: Mask | None) -> bytes:
    """Return what a decision says; raise, whatever, if it cannot even be said without context and properties."""
    try:
        return _masked_body(flat, mask)
    except Exception as error:  # noqa: BLE001  # whatever it is, what is left counts: above all its uses
        left = replace(
            flat.request,
            context=NO_ATTRIBUTES,
            subject_properties=NO_ATTRIBUTES,
            action_properties=NO_ATTRIBUTES,
            resource_properties=NO_ATTRIBUTES,
        )
        return _masked_body(replace(flat, request=left, omitted=ascii(str(error))), mask)


def unwritable_body(what: str, at: Instant, error: Exception) -> bytes:
    """Return what is said in place of a record that cannot be."""
    attributes: Attributes = {"record": ascii(what), "error": ascii(str(error))}
    return _ENCODE(document_of(LifecycleRecord(name="record_unwritable", at=at, attributes=attributes)))


def document_of(record: AnyRecord) -> Document:
    """Return what a record says, member by member."""
    if isinstance(record, DecisionRecord):
        return _decision(flatten(record))
    if isinstance(record, ChangeRecord):
        return _change(record)
    if isinstance(record, AdministrationRecord):
        return administration_json(record)
    if isinstance(record, LapseRecord):
        return lapse_json(record)
    return LifecycleJson("lifecycle", instant_text(record.at), record.name, record.attributes)


def _masked_body(flat: FlatDecision, mask: Mask | None) -> bytes:
    document = _decision(flat)
    return _ENCODE(document if mask is None else mask(document))


def _decision(flat: FlatDecision) -> DecisionJson:
    trace, basis, credential = flat.trace, flat.basis, flat.credential
    return DecisionJson(
        "decision",
        instant_text(flat.started_at),
        flat.decision_id,
        trace.trace_id,
        trace.span_id,
        flat.method,
        flat.request if credential is None else replace(flat.request, credential=credential_json(credential)),
        "allow" if flat.allowed else "deny",
        allow_json(flat.code, basis) if flat.allowed else flat.denials,
        flat.revision,
        instant_text(flat.evaluated_at),
        flat.durable,
        max(flat.ended_at - flat.started_at, 0),
        trace.parent_span_id,
        flat.caller,
        flat.policy_version,
        flat.policies,
        basis.identity_id,
        basis.owner,
        basis.session_id,
        basis.task_id,
        basis.approval_id,
        basis.ticket,
        basis.entitlement_id,
        optional_text(flat.ends_at) if flat.allowed else None,
        None if flat.allowed else optional_text(flat.ends_at),
        flat.uses,
        flat.omitted,
        flat.caller_may_ask,
        flat.shadow,
        (),
        flat.identity_kind,
        flat.approval_kind,
        trace.sampled,
        flat.links,
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


def plain(value: object) -> object:
    """Return what msgspec does not know as something it does."""
    if isinstance(value, Scope):
        return value.patterns
    if isinstance(value, Mapping):
        return dict(value)
    message = f"a record cannot hold a `{type(value).__name__}`"
    raise TypeError(message)


_ENCODE = msgspec.json.Encoder(enc_hook=plain).encode
