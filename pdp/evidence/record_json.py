"""What a record looks like on disk: one line of JSON, schema version 1, described in docs/evidence.md.

Rule 1: `hash` is the last member; it is the SHA-256 of the line's bytes without that member (and without the line
feed). `prev` is the hash of the line before and is inside what is hashed: that is the chain.
Rule 2: members are added, never renamed, retyped or reused; members that say nothing are left out.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pdp.core.decision import Allow, Deny
from pdp.core.model import NO_ATTRIBUTES, Attribute, Attributes, Credential, Instant, Request
from pdp.core.reasons import Denial
from pdp.core.scope import Scope
from pdp.evidence.administration_json import AdministrationJson, administration_json
from pdp.evidence.fact_json import change_json
from pdp.evidence.instants import instant_text
from pdp.evidence.lapse_json import LapseJson, lapse_json
from pdp.evidence.record import (
    AdministrationRecord,
    AnyRecord,
    ChangeRecord,
    DecisionRecord,
    LapseRecord,
    LifecycleRecord,
)
from pdp.evidence.trace import TraceContext, parse_traceparent

SCHEMA_VERSION = 1
GENESIS = "0" * 64
"""What the first record of a journal has as `prev`."""

_HASH_MEMBER = b',"hash":"'
_HASH_TAIL = len(_HASH_MEMBER) + 64 + len(b'"}')


class CredentialJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a request knew of the credential; never the credential."""

    id: str = ""
    issuer: str = ""
    subject: str = ""
    issued_at: str | None = None
    expires_at: str | None = None


class RequestJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """All that `decide` was asked."""

    subject: str
    action: str
    resource: str
    session_id: str = ""
    task_id: str = ""
    context: Attributes = NO_ATTRIBUTES
    credential: CredentialJson | None = None
    subject_type: str = ""
    subject_properties: Attributes = NO_ATTRIBUTES
    action_properties: Attributes = NO_ATTRIBUTES
    resource_properties: Attributes = NO_ATTRIBUTES
    at_least_revision: int = 0
    request_id: str = ""


class ReasonJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """One reason; `revocation_id` names what overrode."""

    code: str
    message: str = ""
    subject_of_reason: str = ""
    revocation_id: str = ""


class UsesJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """What an allow used once."""

    sessions: tuple[str, ...] = ()
    approvals: tuple[str, ...] = ()
    entitlements: tuple[str, ...] = ()
    """Where there are several: the session's own, and those of the sessions it was delegated by."""


class BasisJson(Struct, frozen=True, gc=False):
    """Ids of the facts an answer was traced to; empty where there is none."""

    identity_id: str = ""
    owner: str = ""
    session_id: str = ""
    task_id: str = ""
    approval_id: str = ""
    ticket: str = ""
    entitlement_id: str = ""


class DecisionJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """The line of a decision."""

    v: int
    seq: int
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
    prev: str
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


class ChangeJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """The line of a change."""

    v: int
    seq: int
    kind: str
    time: str
    revision: int
    changes: tuple[dict[str, Attribute], ...]
    actor: str
    prev: str
    reason: str = ""
    method: str = ""
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    role: str = ""


class LifecycleJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """The line of an event."""

    v: int
    seq: int
    kind: str
    time: str
    name: str
    prev: str
    attributes: Attributes = NO_ATTRIBUTES


def line_of(record: AnyRecord, sequence: int, previous: str) -> tuple[bytes, str]:
    """Return the line, line feed included, and its hash.

    What cannot be said in JSON (a lone surrogate, a value of no JSON type) neither stops the journal nor is lost
    without a word: a decision is written without context and properties, any other record as `record_unwritable`.
    """
    try:
        body = _ENCODE(_document(record, sequence, previous))
    except _UNSAYABLE as error:
        body = _reduced(record, sequence, previous, ascii(str(error)))
    hash_ = hashlib.sha256(body).hexdigest()
    return b'%b,"hash":"%b"}\n' % (body[:-1], hash_.encode()), hash_


def hash_of(line: bytes) -> tuple[str, str]:
    """Return the hash that a line (without line feed) claims and the one it has; raise ValueError if it claims none."""
    member = line[-_HASH_TAIL:]
    if not member.startswith(_HASH_MEMBER) or not member.endswith(b'"}'):
        message = "the line does not end with a hash"
        raise ValueError(message)
    claimed = member[len(_HASH_MEMBER) : -2].decode("ascii", "replace")
    return claimed, hashlib.sha256(line[:-_HASH_TAIL] + b"}").hexdigest()


def basis_of(record: DecisionRecord) -> BasisJson:
    """Return the ids of what the decision was traced to; of a fact not found, the id the request asked for."""
    basis, request = record.decision.basis, record.request
    identity, session, task = basis.identity, basis.session, basis.task
    approval, entitlement = basis.approval, basis.entitlement
    return BasisJson(
        "" if identity is None else identity.id,
        "" if identity is None else identity.owner,
        request.session if session is None else session.id,
        task.id if task is not None else (request.task if session is None else session.task),
        approval.id if approval is not None else ("" if session is None else session.approval),
        "" if approval is None else approval.ticket,
        entitlement.id if entitlement is not None else ("" if session is None else session.entitlement),
    )


def _document(
    record: AnyRecord, sequence: int, previous: str
) -> DecisionJson | ChangeJson | AdministrationJson | LapseJson | LifecycleJson:
    if isinstance(record, DecisionRecord):
        return _decision(record, sequence, previous)
    if isinstance(record, ChangeRecord):
        return _change(record, sequence, previous)
    if isinstance(record, AdministrationRecord):
        return administration_json(record, SCHEMA_VERSION, sequence, previous)
    if isinstance(record, LapseRecord):
        return lapse_json(record, SCHEMA_VERSION, sequence, previous)
    name, time, attributes = record.name, instant_text(record.at), record.attributes
    return LifecycleJson(SCHEMA_VERSION, sequence, "lifecycle", time, name, previous, attributes)


def _decision(record: DecisionRecord, sequence: int, previous: str) -> DecisionJson:
    decision, trace, basis = record.decision, record.trace, basis_of(record)
    allowed = isinstance(decision, Allow)
    return DecisionJson(
        SCHEMA_VERSION,
        sequence,
        "decision",
        instant_text(record.started_at),
        record.decision_id,
        trace.trace_id,
        trace.span_id,
        record.method,
        _request(record.request),
        "allow" if allowed else "deny",
        _reasons(decision, basis),
        decision.revision,
        instant_text(decision.evaluated_at),
        decision.durable,
        max(record.ended_at - record.started_at, 0),
        previous,
        trace.parent_span_id,
        record.caller,
        decision.policy_version,
        decision.policies,
        basis.identity_id,
        basis.owner,
        basis.session_id,
        basis.task_id,
        basis.approval_id,
        basis.ticket,
        basis.entitlement_id,
        instant_text(decision.valid_until) if isinstance(decision, Allow) else None,
        _optional(decision.reconsider_at) if isinstance(decision, Deny) else None,
        _uses(decision) if isinstance(decision, Allow) and record.counts_use else None,
    )


def _uses(allow: Allow) -> UsesJson:
    entitlements = allow.grant.entitlements
    return UsesJson(allow.used_sessions, allow.used_approvals, entitlements if len(entitlements) > 1 else ())


def _request(request: Request) -> RequestJson:
    return RequestJson(
        request.subject,
        request.action,
        request.resource,
        request.session,
        request.task,
        request.context,
        None if request.credential is None else _credential(request.credential),
        request.subject_type,
        request.subject_properties,
        request.action_properties,
        request.resource_properties,
        request.at_least_revision,
        request.request_id,
    )


def _credential(credential: Credential) -> CredentialJson:
    issued, expires = _optional(credential.issued_at), _optional(credential.expires_at)
    return CredentialJson(credential.id, credential.issuer, credential.subject, issued, expires)


def _reasons(decision: Allow | Deny, basis: BasisJson) -> tuple[ReasonJson, ...]:
    if isinstance(decision, Allow):
        return (ReasonJson(decision.code, "", f"session:{basis.session_id}"),)
    return tuple(_reason(denial) for denial in decision.reasons)


def _reason(denial: Denial) -> ReasonJson:
    by = denial.by
    return ReasonJson(denial.code, denial.message, denial.about, "" if by is None else by.id)


def _change(record: ChangeRecord, sequence: int, previous: str) -> ChangeJson:
    trace = trace_of(record) or TraceContext("", "")
    return ChangeJson(
        SCHEMA_VERSION,
        sequence,
        "change",
        instant_text(record.at),
        record.revision,
        tuple(change_json(change) for change in record.changes),
        record.actor,
        previous,
        record.reason,
        record.method,
        trace.trace_id,
        trace.span_id,
        trace.parent_span_id,
        record.role,
    )


def trace_of(record: ChangeRecord) -> TraceContext | None:
    """Return the change's own span, or the one stamped into its facts if it was made elsewhere."""
    return record.trace if record.trace is not None else parse_traceparent(record.traceparent)


def _reduced(record: AnyRecord, sequence: int, previous: str, error: str) -> bytes:
    """Return the body of what is left of a record: above all its uses, which limits count on."""
    if isinstance(record, DecisionRecord):
        with contextlib.suppress(*_UNSAYABLE):
            document = _decision(record, sequence, previous)
            request = replace(
                document.request,
                context=NO_ATTRIBUTES,
                subject_properties=NO_ATTRIBUTES,
                action_properties=NO_ATTRIBUTES,
                resource_properties=NO_ATTRIBUTES,
            )
            return _ENCODE(replace(document, request=request, omitted=error))
    return _ENCODE(_document(_unwritable(record, error), sequence, previous))


def _unwritable(record: AnyRecord, error: str) -> LifecycleRecord:
    what = record.decision_id if isinstance(record, DecisionRecord) else type(record).__name__
    attributes: Attributes = {"record": ascii(what), "error": error}
    return LifecycleRecord(name="record_unwritable", at=record.at, attributes=attributes)


def _optional(instant: Instant | None) -> str | None:
    return None if instant is None else instant_text(instant)


def _plain(value: object) -> object:
    """Return what msgspec does not know as something it does."""
    if isinstance(value, Scope):
        return value.patterns
    if isinstance(value, Mapping):
        return dict(value)
    message = f"a record cannot hold a `{type(value).__name__}`"
    raise TypeError(message)


_UNSAYABLE = (TypeError, ValueError, OverflowError, RecursionError)
_ENCODE = msgspec.json.Encoder(enc_hook=_plain).encode
