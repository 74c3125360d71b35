"""Limits: is the session shorter, fresher and nearer to its origin than policies and its entitlement allow?"""

from __future__ import annotations

from pdp.core.case import ENTITLEMENT, PARENT, SESSION, Case
from pdp.core.checks.row import Row
from pdp.core.reasons import Code, Denial
from pdp.core.wording import duration_text, instant_text


def session_too_long(case: Case) -> Denial | None:
    """The session's whole window is longer than a policy allows: that is a standing permission."""
    session, limit = case.session, case.rules.session_ttl
    if session is None or limit is None or session.expires_at - session.not_before <= limit.bound:
        return None
    window = duration_text(session.expires_at - session.not_before)
    message = (
        f"session `{session.id}` lasts {window}, policy `{limit.policy}` allows {duration_text(limit.bound)}"
    )
    return Denial(Code.POLICY_LIMIT, message, f"policy:{limit.policy}")


def session_longer_than_entitled(case: Case) -> Denial | None:
    """The session's whole window is longer than its entitlement allows."""
    session, entitlement = case.session, case.entitlement
    if session is None or entitlement is None or entitlement.max_session_ttl is None:
        return None
    window = session.expires_at - session.not_before
    if window <= entitlement.max_session_ttl:
        return None
    allowed = duration_text(entitlement.max_session_ttl)
    message = f"session `{session.id}` lasts {duration_text(window)}, entitlement `{entitlement.id}` allows {allowed}"
    return Denial(Code.POLICY_LIMIT, message, f"entitlement:{entitlement.id}")


def idle_too_long(case: Case) -> Denial | None:
    """The session was not used for longer than a policy allows."""
    session, limit = case.session, case.rules.idle_timeout
    if session is None or limit is None:
        return None
    last = case.last_use(session)
    if case.now < last + limit.bound:
        return None
    message = (
        f"session `{session.id}` was last used at {instant_text(last)}, "
        f"policy `{limit.policy}` allows {duration_text(limit.bound)} without use"
    )
    return Denial(Code.POLICY_LIMIT, message, f"policy:{limit.policy}")


def delegated_too_far(case: Case) -> Denial | None:
    """More ancestors than a policy allows."""
    limit, depth = case.rules.delegation_depth, len(case.ancestors)
    if limit is None or depth <= limit.bound:
        return None
    message = f"session `{case.session_id}` is delegated {depth} deep, policy `{limit.policy}` allows {limit.bound}"
    return Denial(Code.POLICY_LIMIT, message, f"policy:{limit.policy}")


ROWS = (
    Row(Code.POLICY_LIMIT, SESSION, session_too_long, "open a shorter session"),
    Row(Code.POLICY_LIMIT, SESSION | ENTITLEMENT, session_longer_than_entitled, "open a shorter session"),
    Row(Code.POLICY_LIMIT, SESSION, idle_too_long, "open a new session"),
    Row(Code.POLICY_LIMIT, SESSION | PARENT, delegated_too_far, "act under a session nearer to the origin"),
)
