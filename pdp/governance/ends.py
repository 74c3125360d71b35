"""When access ends by time alone.

Rule 1: an end is foreseen from the fact and its last use; nothing is written when it comes, so only a lapse says so.
Rule 2: what a change ends, also one that names an end already past, is on record as that change and is no lapse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Entitlement,
    Instant,
    Revocation,
    Session,
    SessionState,
)
from pdp.core.snapshot import Use
from pdp.core.wording import SECOND
from pdp.evidence.record import Lapse

_AT_ONCE = SECOND
"""A revocation that begins so soon after it was written was not scheduled: the change itself says when it began."""


class End(NamedTuple):
    """One end of a fact, and what it ends."""

    at: Instant
    what: Lapse

    def by_time(self, written: Instant) -> bool:
        """Whether time alone brings it about for a fact that was written then."""
        return self.at > written + (_AT_ONCE if self.what is Lapse.REVOCATION_IN_FORCE else 0)


def ends_of(fact: AnyFact | None, session_uses: Mapping[str, Use]) -> tuple[End, ...]:
    """Return the ends that time brings to a fact as it is, past or to come; of one instant in the order of `what`."""
    match fact:
        case Session():
            return (_end_of_session(fact, session_uses),) if fact.state is SessionState.OPEN else ()
        case Approval():
            return _ends_of_approval(fact)
        case Entitlement():
            until = fact.certified_until
            return () if until is None else (End(until, Lapse.ENTITLEMENT_LAPSED),)
        case Revocation():
            return (End(fact.effective_at, Lapse.REVOCATION_IN_FORCE),)
        case _:
            return ()


def _end_of_session(session: Session, session_uses: Mapping[str, Use]) -> End:
    """Return the earlier of its two ends: what idles has ended, and cannot be used to live on."""
    if session.idle_timeout is not None:
        use = session_uses.get(session.id)
        idle = Instant((session.not_before if use is None else use.last) + session.idle_timeout)
        if idle < session.expires_at:
            return End(idle, Lapse.SESSION_IDLE)
    return End(session.expires_at, Lapse.SESSION_EXPIRED)


def _ends_of_approval(approval: Approval) -> tuple[End, ...]:
    ends: tuple[End, ...] = ()
    if approval.state is ApprovalState.APPROVED:
        ends = (End(approval.expires_at, Lapse.APPROVAL_EXPIRED),)
    due = approval.review_due
    if approval.kind is ApprovalKind.BREAK_GLASS and due is not None and not approval.reviewed_by:
        ends = (*ends, End(due, Lapse.REVIEW_OVERDUE))
    return ends
