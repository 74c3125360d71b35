"""The decision: `decide(request, snapshot, now) -> Decision`.

Rule 1: facts grant, policies restrict, revocations override. Without a live session no allow exists.
Rule 2: every answer is computed at the call, from one snapshot and one instant.
Rule 3: in doubt, deny, and say which doubt.

Pure: no clock, I/O, logging, tracing or environment. All rules are rows of `checks.table`.
"""

from __future__ import annotations

from pdp.core.case import Case
from pdp.core.checks.table import checks_reached
from pdp.core.decision import Allow, Decision, Deny, Found, Grant
from pdp.core.horizon import NEVER, next_edge
from pdp.core.model import ApprovalKind, Instant, Request
from pdp.core.reasons import Code, Denial
from pdp.core.snapshot import Snapshot

_BREAK_GLASS = ApprovalKind.BREAK_GLASS


def decide(request: Request, snapshot: Snapshot, now: Instant, *, used: bool = True) -> Decision:
    """Answer one request at one instant.

    `used`: whether an allow is meant to count as a use of its session; only its `valid_until` depends on it.
    """
    case = Case(request, snapshot, now)
    denials = []
    for check in checks_reached(case.present):
        denial = check(case)
        if denial is not None:
            denials.append(denial)
    grant = case.grant()
    if denials or grant is None:
        # INVARIANT: with no denial the grant is complete; a table that broke this must not allow.
        return deny(case, tuple(denials) or (Denial(Code.INTERNAL_ERROR, "the decision table has a gap"),), used=used)
    return allow(case, grant, used=used)


def allow(case: Case, grant: Grant, *, used: bool) -> Allow:
    """Return the allow that a complete grant gives."""
    snapshot, rules, approval = case.snapshot, case.rules, grant.approval
    break_glass = approval is not None and approval.kind is _BREAK_GLASS
    sessions, approvals = _used(grant)
    return Allow(
        grant,
        Code.GRANTED_BREAK_GLASS if break_glass else Code.GRANTED,
        rules.policies,
        snapshot.revision,
        snapshot.policies.version,
        case.now,
        next_edge(case, used=used),
        rules.obligations,
        rules.durable or break_glass or _limited(case, grant),
        sessions,
        approvals,
    )


def deny(case: Case, denials: tuple[Denial, ...], *, used: bool) -> Deny:
    """Return the deny for at least one reason."""
    snapshot, rules = case.snapshot, case.rules
    edge = next_edge(case, used=False if denials else used)
    return Deny(
        denials,
        case.found(),
        rules.policies,
        snapshot.revision,
        snapshot.policies.version,
        case.now,
        None if edge == NEVER else edge,
        rules.durable,
    )


def refuse(code: Code, message: str, snapshot: Snapshot, now: Instant) -> Deny:
    """Return a deny for a doubt that lies outside the table: the sidecar itself, or a malformed request."""
    version = snapshot.policies.version
    return Deny((Denial(code, message),), Found(), (), snapshot.revision, version, now, None, durable=False)


def _used(grant: Grant) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the sessions and approvals that an allow uses: its own, and those it was delegated by."""
    chain = (grant.session, *grant.ancestors)
    approvals = tuple(dict.fromkeys(session.approval for session in chain if session.approval))
    return tuple(session.id for session in chain), approvals


def _limited(case: Case, grant: Grant) -> bool:
    """Whether any of what it uses counts its uses, so that losing the record would lose a count."""
    chain = (grant.session, *grant.ancestors)
    if any(session.max_uses is not None for session in chain):
        return True
    approvals = (case.snapshot.approvals.get(session.approval) for session in chain if session.approval)
    return any(approval is not None and approval.max_uses is not None for approval in approvals)
