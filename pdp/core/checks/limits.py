"""Limits: are session and approval shorter, fresher and nearer to their origin than policies and entitlement allow?"""

from __future__ import annotations

from pdp.core.aspects import APPROVAL, APPROVAL_LIMIT, ENTITLEMENT, IDLE_LIMIT, PARENT, SESSION, TTL_LIMIT
from pdp.core.case import Case
from pdp.core.checks.row import Row
from pdp.core.model import ApprovalKind
from pdp.core.policy.rules import Limit
from pdp.core.reasons import Code, Denial
from pdp.core.wording import duration_text, instant_text

_BREAK_GLASS = ApprovalKind.BREAK_GLASS
_UNLIMITED = Limit(1 << 62, "")


def session_too_long(case: Case) -> Denial | None:
    """The session's whole window is longer than a policy allows: that is a standing permission."""
    session, limit = case.session, case.rules.session_ttl or _UNLIMITED
    window = session.expires_at - session.not_before
    if window <= limit.bound:
        return None
    allowed = duration_text(limit.bound)
    message = f"session `{session.id}` lasts {duration_text(window)}, policy `{limit.policy}` allows {allowed}"
    return Denial(Code.POLICY_LIMIT, message, f"policy:{limit.policy}")


def session_longer_than_entitled(case: Case) -> Denial | None:
    """The session's whole window is longer than its entitlement allows."""
    session, most = case.session, case.entitlement.max_session_ttl
    if most is None or session.expires_at - session.not_before <= most:
        return None
    window, id_ = duration_text(session.expires_at - session.not_before), case.entitlement.id
    message = f"session `{session.id}` lasts {window}, entitlement `{id_}` allows {duration_text(most)}"
    return Denial(Code.POLICY_LIMIT, message, f"entitlement:{id_}")


def approval_too_long(case: Case) -> Denial | None:
    """The approval's whole window is longer than a policy allows for its kind."""
    approval, rules = case.approval, case.rules
    limit = (rules.break_glass_ttl if approval.kind is _BREAK_GLASS else rules.approval_ttl) or _UNLIMITED
    window = approval.expires_at - approval.not_before
    if window <= limit.bound:
        return None
    allowed = duration_text(limit.bound)
    message = f"approval `{approval.id}` lasts {duration_text(window)}, policy `{limit.policy}` allows {allowed}"
    return Denial(Code.POLICY_LIMIT, message, f"policy:{limit.policy}")


def idle_too_long(case: Case) -> Denial | None:
    """The session was not used for longer than a policy allows."""
    limit, last = case.rules.idle_timeout or _UNLIMITED, case.last_use()
    if case.now < last + limit.bound:
        return None
    message = (
        f"session `{case.session_id}` was last used at {instant_text(last)}, "
        f"policy `{limit.policy}` allows {duration_text(limit.bound)} without use"
    )
    return Denial(Code.POLICY_LIMIT, message, f"policy:{limit.policy}")


def delegated_too_far(case: Case) -> Denial | None:
    """More ancestors than a policy allows."""
    limit, depth = case.rules.delegation_depth or _UNLIMITED, len(case.ancestors)
    if depth <= limit.bound:
        return None
    message = f"session `{case.session_id}` is delegated {depth} deep, policy `{limit.policy}` allows {limit.bound}"
    return Denial(Code.POLICY_LIMIT, message, f"policy:{limit.policy}")


ROWS = (
    Row(Code.POLICY_LIMIT, SESSION | TTL_LIMIT, session_too_long, "open a shorter session"),
    Row(Code.POLICY_LIMIT, SESSION | ENTITLEMENT, session_longer_than_entitled, "open a shorter session"),
    Row(Code.POLICY_LIMIT, APPROVAL | APPROVAL_LIMIT, approval_too_long, "ask for a shorter approval"),
    Row(Code.POLICY_LIMIT, SESSION | IDLE_LIMIT, idle_too_long, "open a new session"),
    Row(Code.POLICY_LIMIT, SESSION | PARENT, delegated_too_far, "act under a session nearer to the origin"),
)
