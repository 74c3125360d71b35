"""The commands: what a principal can ask to be changed, as plain values.

Fields have the names of the request messages in `governance.proto`, which one conversion by field relies on
(`doors/command_wire`). A field without a default is required. Reason, idempotency key and dry run belong to every
command alike and stand beside it, not in it. What each command does is a function in `rules/`; `table` says who may.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from pdp.core.model import Attribute, Duration, IdentityKind, Instant, Revision, RevocationTarget
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope

Constraints: TypeAlias = dict[str, list[Attribute]]
AS_IT_IS_ACTIONS, AS_IT_IS_RESOURCES = ActionScope([]), ResourceScope([])
"""No pattern at all: the scope stays as it is, or is the parent's or the proposed one."""


class RegisterIdentity(Struct, frozen=True, kw_only=True):
    """Make an identity, or a family of them, known."""

    id: str
    kind: IdentityKind
    owner: str
    labels: dict[str, str] = {}
    credential_max_age: Duration | None = None


class ChangeOwner(Struct, frozen=True, kw_only=True):
    """Have somebody else answer for an identity; also takes over one whose owner has left."""

    identity_id: str
    owner: str


class SuspendIdentity(Struct, frozen=True, kw_only=True):
    """Stop an identity from acting for the time being."""

    identity_id: str


class ReinstateIdentity(Struct, frozen=True, kw_only=True):
    """Let a suspended identity act again."""

    identity_id: str


class RetireIdentity(Struct, frozen=True, kw_only=True):
    """End an identity for good, and with it its sessions, what it asked for and was given, and its credentials."""

    identity_id: str
    credentials: tuple[str, ...] = ()
    """Ids of its credentials."""


class GrantEntitlement(Struct, frozen=True, kw_only=True):
    """Make an identity eligible; in force once somebody else has certified it."""

    id: str = ""
    identity: IdentityScope
    actions: ActionScope
    resources: ResourceScope
    max_session_ttl: Duration | None = None


class NarrowEntitlement(Struct, frozen=True, kw_only=True):
    """Take from what an identity is eligible for."""

    entitlement_id: str
    actions: ActionScope = AS_IT_IS_ACTIONS
    resources: ResourceScope = AS_IT_IS_RESOURCES
    max_session_ttl: Duration | None = None


class CertifyEntitlement(Struct, frozen=True, kw_only=True):
    """Say that an entitlement is to persist, until a date."""

    entitlement_id: str
    until: Instant


class RemoveEntitlement(Struct, frozen=True, kw_only=True):
    """Take an entitlement away."""

    entitlement_id: str


class RequestApproval(Struct, frozen=True, kw_only=True):
    """Ask for consent to a scope and a window."""

    id: str = ""
    identity: str
    actions: ActionScope
    resources: ResourceScope
    ticket: str = ""
    justification: str
    not_before: Instant | None = None
    """None: now."""
    ttl: Duration | None = None
    """None: as long as policy allows, at most `windows.DEFAULT_TTL`."""
    max_uses: int | None = None


class Approve(Struct, frozen=True, kw_only=True):
    """Consent; where policy asks for several people, one of them."""

    approval_id: str


class Reject(Struct, frozen=True, kw_only=True):
    """Refuse consent."""

    approval_id: str


class Withdraw(Struct, frozen=True, kw_only=True):
    """Take back what was asked for, approved or not."""

    approval_id: str


class TakeBreakGlass(Struct, frozen=True, kw_only=True):
    """Act in an emergency without consent beforehand: approval, task and session in one step."""

    id: str = ""
    """Of the approval and of the session."""
    identity: str
    entitlement: str
    task: str = ""
    """Empty: a task of the incident's name."""
    actions: ActionScope
    resources: ResourceScope
    incident: str
    ttl: Duration | None = None


class OpenTask(Struct, frozen=True, kw_only=True):
    """Begin a piece of work."""

    id: str = ""
    owner: str = ""
    """Empty: the principal."""
    parent: str = ""


class CompleteTask(Struct, frozen=True, kw_only=True):
    """End a task that is done; its sessions, and those of its sub-tasks, end with it."""

    task_id: str


class CancelTask(Struct, frozen=True, kw_only=True):
    """End a task that will not be done; its sessions, and those of its sub-tasks, end with it."""

    task_id: str


class OpenSession(Struct, frozen=True, kw_only=True):
    """Begin access, just in time."""

    id: str = ""
    identity: str
    task: str
    entitlement: str
    approval: str = ""
    actions: ActionScope
    resources: ResourceScope
    constraints: Constraints = {}
    not_before: Instant | None = None
    """None: now."""
    ttl: Duration | None = None
    """None: as long as all it rests on allows, at most `windows.DEFAULT_TTL`."""
    idle_timeout: Duration | None = None
    max_uses: int | None = None


class RenewSession(Struct, frozen=True, kw_only=True):
    """Move a session's end."""

    session_id: str
    ttl: Duration | None = None
    """From now on; None: as long as all it rests on allows, at most `windows.DEFAULT_TTL`."""


class NarrowSession(Struct, frozen=True, kw_only=True):
    """Take from what a session may do."""

    session_id: str
    actions: ActionScope = AS_IT_IS_ACTIONS
    resources: ResourceScope = AS_IT_IS_RESOURCES
    constraints: Constraints = {}
    ttl: Duration | None = None
    """From now on."""
    idle_timeout: Duration | None = None
    max_uses: int | None = None


class CloseSession(Struct, frozen=True, kw_only=True):
    """End a session, and all that was delegated from it."""

    session_id: str


class DelegateSession(Struct, frozen=True, kw_only=True):
    """Open a session of another identity within one's own."""

    id: str = ""
    parent: str
    identity: str
    entitlement: str
    task: str = ""
    """Empty: the parent's."""
    approval: str = ""
    actions: ActionScope = AS_IT_IS_ACTIONS
    """Empty: the parent's; so are the resources."""
    resources: ResourceScope = AS_IT_IS_RESOURCES
    constraints: Constraints = {}
    ttl: Duration | None = None
    idle_timeout: Duration | None = None
    max_uses: int | None = None


class Revoke(Struct, frozen=True, kw_only=True):
    """Override every grant of a target, known or not, from now or from a later instant on."""

    id: str = ""
    target: RevocationTarget
    target_id: str
    effective_at: Instant | None = None
    """None: now."""
    expires_at: Instant | None = None
    source: str = ""


class LiftRevocation(Struct, frozen=True, kw_only=True):
    """Take back what somebody else has revoked."""

    revocation_id: str


class ReviewChoice(StrEnum):
    """What a reviewer decides."""

    KEEP = "keep"
    NARROW = "narrow"
    REMOVE = "remove"


class DecideReview(Struct, frozen=True, kw_only=True):
    """Decide whether something persists: kept, narrowed to what was used, or removed."""

    review_id: str
    """`kind:id` of the fact."""
    choice: ReviewChoice
    actions: ActionScope = AS_IT_IS_ACTIONS
    """To narrow to; the door fills in what is proposed where none is given."""
    resources: ResourceScope = AS_IT_IS_RESOURCES
    until: Instant | None = None
    """To keep or narrow an entitlement: until when it is certified."""
    revision: Revision = 0
    """The fact's revision that the reviewer has seen; 0: not compared."""


Command: TypeAlias = (
    RegisterIdentity
    | ChangeOwner
    | SuspendIdentity
    | ReinstateIdentity
    | RetireIdentity
    | GrantEntitlement
    | NarrowEntitlement
    | CertifyEntitlement
    | RemoveEntitlement
    | RequestApproval
    | Approve
    | Reject
    | Withdraw
    | TakeBreakGlass
    | OpenTask
    | CompleteTask
    | CancelTask
    | OpenSession
    | RenewSession
    | NarrowSession
    | CloseSession
    | DelegateSession
    | Revoke
    | LiftRevocation
    | DecideReview
)
