"""A decision on its way to the process that writes its line: all that the line says, side by side.

Rule 1: it is made on the thread that decides, so nothing is worked out here that can be worked out there: instants are
numbers, an allow's reason is its code, nothing is masked.
Rule 2: it holds no facts, only what the line says of them.
"""

from __future__ import annotations

from msgspec import Struct

from pdp.core.decision import Allow
from pdp.core.model import Credential, Instant, Revision
from pdp.evidence.line.decision_json import (
    BasisJson,
    ReasonJson,
    RequestJson,
    ShadowJson,
    UsesJson,
    basis_of,
    denials_json,
    request_json,
    shadow_json,
    uses_json,
)
from pdp.evidence.line.links import LinkJson, links_of
from pdp.evidence.record import COUNTS_NO_USE, DecisionRecord
from pdp.evidence.telemetry.due import has_span
from pdp.evidence.trace import TraceContext


class FlatDecision(Struct, frozen=True, array_like=True, gc=False):
    """What the line of a decision says; see `record_json` for how it says it."""

    decision_id: str
    trace: TraceContext
    method: str
    caller: str
    started_at: Instant
    ended_at: Instant
    request: RequestJson
    """All of it but the credential."""
    credential: Credential | None
    caller_may_ask: tuple[str, ...] | None
    allowed: bool
    code: str
    """The primary reason."""
    denials: tuple[ReasonJson, ...]
    """Every reason of a denial."""
    revision: Revision
    policy_version: str
    policies: tuple[str, ...]
    evaluated_at: Instant
    ends_at: Instant | None
    """When an allow ends, or a denial may."""
    durable: bool
    basis: BasisJson
    identity_kind: str
    approval_kind: str
    uses: UsesJson | None
    shadow: ShadowJson | None
    links: tuple[LinkJson, ...]
    omitted: str = ""


def flatten(record: DecisionRecord) -> FlatDecision:
    """Return what the line of a decision says."""
    decision, request = record.decision, record.request
    facts, ids = decision.basis, basis_of(request, decision.basis)
    allow = decision if isinstance(decision, Allow) else None
    return FlatDecision(
        record.decision_id,
        record.trace,
        record.method,
        record.caller,
        record.started_at,
        record.ended_at,
        request_json(request),
        request.credential,
        None if request.caller is None else request.caller.may_ask.patterns,
        allow is not None,
        decision.code,
        () if isinstance(decision, Allow) else denials_json(decision),
        decision.revision,
        decision.policy_version,
        decision.policies,
        decision.evaluated_at,
        decision.valid_until if isinstance(decision, Allow) else decision.reconsider_at,
        decision.durable,
        ids,
        "" if facts.identity is None else facts.identity.kind,
        "" if facts.approval is None else facts.approval.kind,
        None if allow is None or record.method in COUNTS_NO_USE else uses_json(allow),
        None if record.shadow is None else shadow_json(record.shadow, ids),
        links_of(decision) if has_span(record) else (),
    )
