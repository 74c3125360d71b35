"""The answer: a value with its proof.

An `Allow` cannot be made without a `Grant`, and a `Grant` holds every fact that must be there; so "allowed
without a session" cannot be written. A `Deny` holds what was found on the way.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from pdp.core.model import Approval, Entitlement, Identity, Instant, Revision, Session, Task
from pdp.core.policy.model import Obligation
from pdp.core.reasons import Code, Denial


class Grant(Struct, frozen=True):
    """All that an allow rests on."""

    identity: Identity
    session: Session
    task: Task
    entitlement: Entitlement
    approval: Approval | None
    ancestors: tuple[Session, ...]
    """The sessions it was delegated by, nearest first."""

    @property
    def entitlements(self) -> tuple[str, ...]:
        """The ids of the session's entitlement and of its ancestors', each once."""
        if not self.ancestors:
            return (self.entitlement.id,)
        return tuple(dict.fromkeys((self.entitlement.id, *(one.entitlement for one in self.ancestors))))


class Found(Struct, frozen=True):
    """What a denied request was traced to, as far as it exists."""

    identity: Identity | None = None
    session: Session | None = None
    task: Task | None = None
    entitlement: Entitlement | None = None
    approval: Approval | None = None


class Allow(Struct, frozen=True):
    """Yes, for now."""

    grant: Grant
    code: Code
    policies: tuple[str, ...]
    revision: Revision
    policy_version: str
    evaluated_at: Instant
    valid_until: Instant
    """Earliest end among all that it rests on, if nothing is written meanwhile."""
    obligations: tuple[Obligation, ...]
    durable: bool
    """Answer only after the evidence is on disk."""
    used_sessions: tuple[str, ...]
    """The session and its ancestors: each is used once by this allow."""
    used_approvals: tuple[str, ...]
    reads_clock: bool
    """Whether a condition reads `now`, so that time may change the answer at an instant not foreseen."""

    @property
    def basis(self) -> Grant:
        """What it rests on."""
        return self.grant


class Deny(Struct, frozen=True):
    """No, and every reason why, first by precedence."""

    reasons: tuple[Denial, ...]
    basis: Found
    policies: tuple[str, ...]
    revision: Revision
    policy_version: str
    evaluated_at: Instant
    reconsider_at: Instant | None
    """Earliest instant at which time alone may change the answer."""
    durable: bool
    reads_clock: bool = False
    """Whether a condition reads `now`, so that time may change the answer at an instant not foreseen."""

    @property
    def code(self) -> Code:
        """The primary reason."""
        return self.reasons[0].code


Decision: TypeAlias = Allow | Deny
