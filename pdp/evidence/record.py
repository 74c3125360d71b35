"""What is recorded: one value per decision, change and event of this process's life.

Rule 1: on the request path a record only holds references; what it looks like on disk is worked out behind it, by
`record_json`.
Rule 2: a record never holds a secret: of a credential it knows what the request knows, its id and issuer.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, TypeAlias

from msgspec import Struct

from pdp.core.decision import Allow, Decision
from pdp.core.model import NO_ATTRIBUTES, Attributes, Change, FactKind, Instant, Request, Revision
from pdp.evidence.trace import TraceContext

COUNTS_NO_USE = frozenset({"Explain", "Watch", "ListPermissions"})
"""Methods whose allow is no use of the session; any other counts, so that a new door cannot forget to."""


class Occasion(Struct, frozen=True, gc=False):
    """What one allow used, and for what."""

    sessions: tuple[str, ...]
    approvals: tuple[str, ...]
    entitlements: tuple[str, ...]
    """The session's own, and those of the sessions it was delegated by."""
    action: str
    resource: str


class Use(Struct, frozen=True, gc=False):
    """One use."""

    occasion: Occasion
    at: Instant
    """Decision time."""


class DecisionRecord(Struct, frozen=True, kw_only=True, gc=False):
    """One answered question."""

    decision_id: str
    trace: TraceContext
    """The decision's own span."""
    method: str
    """The RPC without its service: `Check`, `CheckBatch`, `CheckStream`, `Watch`."""
    caller: str = ""
    """Who asked; empty if the transport does not say."""
    request: Request
    decision: Decision
    shadow: Decision | None = None
    """What the shadow policies would have answered, where that is another primary reason."""
    started_at: Instant
    """Wall clock, as `ended_at`; the decision's own clock is `decision.evaluated_at`."""
    ended_at: Instant

    @property
    def at(self) -> Instant:
        """When it happened."""
        return self.started_at

    @property
    def counts_use(self) -> bool:
        """Whether this allow used its sessions and approvals once."""
        return type(self.decision) is Allow and self.method not in COUNTS_NO_USE

    @property
    def use(self) -> Use | None:
        """What this allow used; None: nothing."""
        decision, request = self.decision, self.request
        if not isinstance(decision, Allow) or self.method in COUNTS_NO_USE:
            return None
        sessions, approvals, entitlements = decision.used_sessions, decision.used_approvals, decision.grant.entitlements
        return Use(Occasion(sessions, approvals, entitlements, request.action, request.resource), decision.evaluated_at)


class ChangeRecord(Struct, frozen=True, kw_only=True, gc=False):
    """One commit to the facts, by whom and why."""

    revision: Revision
    changes: tuple[Change, ...]
    actor: str
    role: str = ""
    """The role that permitted it; empty if that is not known here."""
    reason: str = ""
    at: Instant
    ended_at: Instant | None = None
    method: str = ""
    """The RPC without its service (`Revoke`); empty if the change came another way."""
    traceparent: str = ""
    """As stamped into the facts; names the change's span where `trace` is None."""
    trace: TraceContext | None = None
    """The change's own span; None for a change that was made elsewhere."""


class AdministrationOutcome(StrEnum):
    """What became of an administrative call that changed nothing."""

    PERMITTED = "permitted"
    """A query, a dry run, a command that was carried out before, or a call that failed behind its check."""
    NOT_PERMITTED = "not_permitted"
    """No role permits it to the principal, or there is no principal."""
    REFUSED = "refused"
    """A rule stands against the command."""


class AdministrationRecord(Struct, frozen=True, kw_only=True, gc=False):
    """The check of an administrative call that changed nothing; one that did is a ChangeRecord."""

    at: Instant
    method: str
    """The RPC without its service."""
    actor: str = ""
    """The principal's name; empty if it could not be authenticated."""
    role: str = ""
    """The role that permitted it; empty if none did."""
    outcome: AdministrationOutcome
    rule: str = ""
    """The rule or reason code that refused."""
    message: str = ""
    """What is wrong; of a command that was permitted, why it has changed nothing."""
    about: str = ""
    """The fact or policy it is about, as `kind:id`."""
    traceparent: str = ""
    """The caller's."""

    @property
    def durable(self) -> bool:
        """Whether it must be on disk before the caller is answered."""
        return self.outcome is not AdministrationOutcome.PERMITTED


class Lapse(StrEnum):
    """What ended by time alone."""

    SESSION_EXPIRED = "session_expired"
    SESSION_IDLE = "session_idle"
    APPROVAL_EXPIRED = "approval_expired"
    ENTITLEMENT_LAPSED = "entitlement_lapsed"
    REVOCATION_IN_FORCE = "revocation_in_force"
    """One that was written to begin later."""
    REVIEW_OVERDUE = "review_overdue"
    """Of a break-glass."""


class LapseMark(NamedTuple):
    """The place of a lapse among all lapses; they are recorded in this order."""

    ended_at: Instant
    about: str = ""
    """`kind:id` of the fact."""
    what: str = ""


class LapseRecord(Struct, frozen=True, kw_only=True, gc=False):
    """Access that ended by time alone: no change says so, and nobody need have asked."""

    at: Instant
    """Wall clock."""
    ended_at: Instant
    """Decision time, from which on it is denied."""
    what: Lapse
    kind: FactKind
    id: str
    """Of the fact, with `kind`."""
    identity: str = ""
    """Whose access it was, where the fact names one."""
    task: str = ""
    approval: str = ""
    traceparent: str = ""
    """Of the fact: the span that last wrote it."""
    trace: TraceContext
    """The lapse's own span."""

    @property
    def about(self) -> str:
        """The fact, as `kind:id`."""
        return f"{self.kind}:{self.id}"

    @property
    def mark(self) -> LapseMark:
        """Its place among all lapses."""
        return LapseMark(self.ended_at, self.about, self.what)


class LifecycleRecord(Struct, frozen=True, kw_only=True, gc=False):
    """An event of this process: `started`, `stopped`, `policies_loaded`, `journal_repaired`."""

    name: str
    at: Instant
    attributes: Attributes = NO_ATTRIBUTES


AnyRecord: TypeAlias = DecisionRecord | ChangeRecord | AdministrationRecord | LapseRecord | LifecycleRecord
