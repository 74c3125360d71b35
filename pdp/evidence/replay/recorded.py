"""A decision as the journal has it, and the request that it answered, read back from its line."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from pdp.core.model import Caller, Credential, Instant, Request
from pdp.core.scope import IdentityScope
from pdp.evidence.instants import parse_instant
from pdp.evidence.line.decision_json import CredentialJson, ReasonJson, RequestJson, UsesJson


class RecordedDecision(Struct, frozen=True):
    """What is read of a decision's line; docs/evidence.md describes its members."""

    seq: int
    time: str
    decision_id: str
    method: str
    request: RequestJson
    outcome: str
    reasons: tuple[ReasonJson, ...]
    revision: int
    evaluated_at: str
    durable: bool = False
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
    masked: tuple[str, ...] = ()
    caller: str = ""
    caller_may_ask: tuple[str, ...] | None = None

    @property
    def code(self) -> str:
        """The primary reason."""
        return self.reasons[0].code

    @property
    def at(self) -> Instant:
        """The decision time it was computed at."""
        return parse_instant(self.evaluated_at)


class _Kind(Struct):
    kind: str


read_decision = msgspec.json.Decoder(RecordedDecision).decode
"""Reads a decision's line; raises msgspec.DecodeError."""
_DECODE_KIND = msgspec.json.Decoder(_Kind).decode


def decision_in(line: bytes) -> RecordedDecision | None:
    """Return the decision of a journal's line, None for a record of another kind; raise msgspec.DecodeError."""
    # The words alone are soon found, but may also stand in the attributes of another record.
    if b'"kind":"decision"' not in line or _DECODE_KIND(line).kind != "decision":
        return None
    return read_decision(line)


def request_of(decision: RecordedDecision) -> Request:
    """Return what was asked, as far as it is on record."""
    asked = decision.request
    caller = None
    if decision.caller_may_ask is not None:
        caller = Caller(decision.caller, IdentityScope(decision.caller_may_ask))
    return Request(
        asked.subject,
        asked.action,
        asked.resource,
        asked.session_id,
        asked.task_id,
        asked.context,
        None if asked.credential is None else _credential(asked.credential),
        caller,
        asked.subject_type,
        asked.subject_properties,
        asked.action_properties,
        asked.resource_properties,
        asked.at_least_revision,
        asked.request_id,
    )


def _credential(written: CredentialJson) -> Credential:
    issued, expires = _instant(written.issued_at), _instant(written.expires_at)
    return Credential(written.id, written.issuer, written.subject, issued, expires)


def _instant(text: str | None) -> Instant | None:
    return None if text is None else parse_instant(text)
