"""The facts a decision rests on, and the request it answers.

Rule 1: every value is immutable; a changed fact is a new value with a new revision.
Rule 2: identifiers are compared byte for byte: no case folding, no normalisation, no path clean-up.
Rule 3: windows are half-open: valid from `not_before`, invalid at `expires_at`.

Facts are `msgspec.Struct`s outside the garbage collector's sight: a million sessions must cost neither a
gigabyte nor pauses. They hold no reference cycles, which is what `gc=False` asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NewType, TypeAlias

from msgspec import Struct

from pdp.core.scope import ActionScope, IdentityScope, ResourceScope

Instant = NewType("Instant", int)
"""Nanoseconds since 1970-01-01T00:00:00Z."""

Duration = NewType("Duration", int)
"""Nanoseconds."""

Revision: TypeAlias = int
"""Position in the totally ordered change log; 0 is before the first change."""

if TYPE_CHECKING:
    Attribute: TypeAlias = "bool | int | float | str | list[Attribute] | dict[str, Attribute] | None"
else:
    # msgspec resolves no recursive alias, and codecs need it to read these types; `lawful` checks the shape.
    Attribute: TypeAlias = Any
"""A JSON-shaped value, as it arrives in a context or in properties."""

Attributes: TypeAlias = Mapping[str, Attribute]

NO_ATTRIBUTES: Attributes = {}


class IdentityKind(StrEnum):
    """What sort of subject an identity is."""

    WORKLOAD = "workload"
    SERVICE_ACCOUNT = "service_account"
    CI_JOB = "ci_job"
    AI_AGENT = "ai_agent"
    HUMAN = "human"


class IdentityState(StrEnum):
    """Lifecycle of an identity; only `active` may act."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    RETIRED = "retired"


class ApprovalKind(StrEnum):
    """`standard` is asked for before; `break_glass` is taken in an emergency and reviewed after."""

    STANDARD = "standard"
    BREAK_GLASS = "break_glass"


class ApprovalState(StrEnum):
    """Lifecycle of an approval; only `approved` consents."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class TaskState(StrEnum):
    """Lifecycle of a task; only `open` justifies access."""

    OPEN = "open"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class SessionState(StrEnum):
    """Lifecycle of a session; only `open` grants."""

    OPEN = "open"
    CLOSED = "closed"


class RevocationTarget(StrEnum):
    """What a revocation can name."""

    IDENTITY = "identity"
    SESSION = "session"
    TASK = "task"
    APPROVAL = "approval"
    ENTITLEMENT = "entitlement"
    CREDENTIAL = "credential"
    ISSUER = "issuer"
    OWNER = "owner"


class FactKind(StrEnum):
    """The kinds of fact; also the first half of a reference `kind:id`."""

    IDENTITY = "identity"
    ENTITLEMENT = "entitlement"
    APPROVAL = "approval"
    TASK = "task"
    SESSION = "session"
    REVOCATION = "revocation"
    SIGNAL = "signal"


class Fact(Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """What every fact has: an id, the revision that last wrote it, the trace of the call that did."""

    id: str
    revision: Revision = 0
    traceparent: str = ""


class Identity(Fact, frozen=True, kw_only=True, gc=False):
    """Lifecycle record of a subject, or of a family of subjects when `id` is a pattern."""

    kind: IdentityKind
    owner: str = ""
    state: IdentityState = IdentityState.ACTIVE
    labels: dict[str, str] = {}
    credential_max_age: Duration | None = None


class Entitlement(Fact, frozen=True, kw_only=True, gc=False):
    """What an identity (or family) is eligible for; lapsed unless certified into the future."""

    identity: IdentityScope
    actions: ActionScope
    resources: ResourceScope
    max_session_ttl: Duration | None = None
    certified_by: str = ""
    certified_until: Instant | None = None
    granted_by: str = ""
    """Who made it; somebody else certifies it."""
    reviewed_at: Instant | None = None
    """When somebody last certified it, also by keeping or narrowing it in a review; None: nobody has."""


class Consent(Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """One person's consent to an approval."""

    by: str
    at: Instant
    groups: tuple[str, ...] = ()
    """The groups the person was in."""


class Approval(Fact, frozen=True, kw_only=True, gc=False):
    """Consent for a scope and a window; `identity` empty means any session that names it."""

    kind: ApprovalKind = ApprovalKind.STANDARD
    state: ApprovalState = ApprovalState.PENDING
    identity: str = ""
    ticket: str = ""
    requested_by: str
    approved_by: str = ""
    actions: ActionScope
    resources: ResourceScope
    not_before: Instant
    expires_at: Instant
    max_uses: int | None = None
    review_due: Instant | None = None
    reviewed_by: str = ""
    justification: str = ""
    consents: tuple[Consent, ...] = ()
    """Who has consented so far, each once, where that is told apart; the last of them is `approved_by`."""


class Task(Fact, frozen=True, kw_only=True, gc=False):
    """The piece of work that justifies access; ends with its parent at the latest."""

    owner: str = ""
    parent: str = ""
    state: TaskState = TaskState.OPEN


class Session(Fact, frozen=True, kw_only=True, gc=False):
    """One identity, acting for one task, under one entitlement and maybe one approval."""

    identity: str
    task: str
    entitlement: str
    approval: str = ""
    actions: ActionScope
    resources: ResourceScope
    constraints: dict[str, list[Attribute]] = {}
    not_before: Instant
    expires_at: Instant
    idle_timeout: Duration | None = None
    max_uses: int | None = None
    parent: str = ""
    state: SessionState = SessionState.OPEN
    opened_by: str = ""
    reviewed_by: str = ""
    """Who has looked at it and kept it as broad as it is."""


class Revocation(Fact, frozen=True, kw_only=True, gc=False):
    """Overrides every grant of its target from `effective_at` on, known or not."""

    target: RevocationTarget
    target_id: str
    effective_at: Instant
    reason: str
    source: str = ""
    expires_at: Instant | None = None
    revoked_by: str = ""
    """Who revoked; somebody else may lift it."""

    def in_force(self, now: Instant) -> bool:
        """Whether it overrides at `now`; past `expires_at` it may as well have been dropped."""
        return self.effective_at <= now and (self.expires_at is None or now < self.expires_at)


class Signal(Fact, frozen=True, kw_only=True, gc=False):
    """An assertion about an identity or session, readable in conditions as `signals.<name>`."""

    about: str
    name: str
    value: Attribute = None
    source: str = ""
    expires_at: Instant


AnyFact: TypeAlias = Identity | Entitlement | Approval | Task | Session | Revocation | Signal

KIND_OF: Mapping[type[AnyFact], FactKind] = {
    Identity: FactKind.IDENTITY,
    Entitlement: FactKind.ENTITLEMENT,
    Approval: FactKind.APPROVAL,
    Task: FactKind.TASK,
    Session: FactKind.SESSION,
    Revocation: FactKind.REVOCATION,
    Signal: FactKind.SIGNAL,
}

TYPE_OF: Mapping[FactKind, type[AnyFact]] = {kind: type_ for type_, kind in KIND_OF.items()}


class Put(Struct, frozen=True, tag="put"):
    """Write a fact, replacing the one of the same kind and id."""

    fact: AnyFact


class Drop(Struct, frozen=True, tag="drop"):
    """Remove a fact."""

    kind: FactKind
    id: str


Change: TypeAlias = Put | Drop


class Credential(Struct, frozen=True, gc=False):
    """What the enforcement point knows of the credential it has verified."""

    id: str = ""
    issuer: str = ""
    subject: str = ""
    issued_at: Instant | None = None
    expires_at: Instant | None = None


class Caller(Struct, frozen=True, gc=False):
    """The authenticated process that asks, and the subjects it may ask about."""

    id: str
    may_ask: IdentityScope


class Request(Struct, frozen=True, gc=False):
    """One question: may this subject do this to that, now, under this session?"""

    subject: str
    action: str
    resource: str
    """`type:id`."""
    session: str = ""
    task: str = ""
    context: Attributes = NO_ATTRIBUTES
    credential: Credential | None = None
    caller: Caller | None = None
    """None: the transport itself admits only permitted callers (socket file mode)."""
    subject_type: str = ""
    subject_properties: Attributes = NO_ATTRIBUTES
    action_properties: Attributes = NO_ATTRIBUTES
    resource_properties: Attributes = NO_ATTRIBUTES
    at_least_revision: Revision = 0
    request_id: str = ""
