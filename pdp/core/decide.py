"""The decision: `decide(request, snapshot, now) -> Decision`.

Rule 1: facts grant, policies restrict, revocations override. Without a live session no allow exists.
Rule 2: every answer is computed at the call, from one snapshot and one instant.
Rule 3: in doubt, deny, and say which doubt.

Pure: no clock, I/O, logging, tracing or environment. All rules are rows of `checks.table`.
"""

from __future__ import annotations

from collections.abc import Iterable

from pdp.core.aspects import APPROVAL_USES, BREAK_GLASS, SESSION_USES
from pdp.core.case import Case
from pdp.core.checks.table import checks_reached
from pdp.core.decision import Allow, Decision, Deny, Found, Grant
from pdp.core.horizon import NEVER, end_of_allow, next_edge
from pdp.core.model import ApprovalKind, Instant, Request
from pdp.core.reasons import Code, Denial
from pdp.core.snapshot import Snapshot

_COUNTED = SESSION_USES | APPROVAL_USES
_GRANTED, _GRANTED_BREAK_GLASS = Code.GRANTED, Code.GRANTED_BREAK_GLASS


def decide(request: Request, snapshot: Snapshot, now: Instant, *, used: bool = True) -> Decision:
    """Answer one request at one instant.

    `used`: whether an allow is meant to count as a use of its session; only its `valid_until` depends on it.
    """
    case = Case(request, snapshot, now)
    denials = []
    for check in checks_reached(case.aspects):
        denial = check(case)
        if denial is not None:
            denials.append(denial)
    grant = case.grant()
    if denials or grant is None:
        # INVARIANT: with no denial the grant is complete; a table that broke this must not allow.
        return deny(case, tuple(denials) or (Denial(Code.INTERNAL_ERROR, "the decision table has a gap"),))
    return allow(case, grant, used=used)


def allow(case: Case, grant: Grant, *, used: bool) -> Allow:
    """Return the allow that a complete grant gives."""
    snapshot, rules = case.snapshot, case.rules
    sessions, approvals, counted = _used(case, grant)
    break_glass = bool(case.aspects & BREAK_GLASS) or (bool(grant.ancestors) and _any_break_glass(snapshot, approvals))
    return Allow(
        grant,
        _GRANTED_BREAK_GLASS if break_glass else _GRANTED,
        rules.policies,
        snapshot.revision,
        snapshot.policies.version,
        case.now,
        end_of_allow(case, used=used),
        rules.obligations,
        rules.durable or break_glass or counted,
        sessions,
        approvals,
        rules.reads_clock,
    )


def deny(case: Case, denials: tuple[Denial, ...]) -> Deny:
    """Return the deny for at least one reason."""
    snapshot, rules = case.snapshot, case.rules
    edge = next_edge(case, used=False)
    return Deny(
        denials,
        case.found(),
        rules.policies,
        snapshot.revision,
        snapshot.policies.version,
        case.now,
        None if edge == NEVER else edge,
        rules.durable,
        rules.reads_clock,
    )


def refuse(code: Code, message: str, snapshot: Snapshot, now: Instant) -> Deny:
    """Return a deny for a doubt that lies outside the table: the sidecar itself, or a malformed request."""
    version = snapshot.policies.version
    return Deny((Denial(code, message),), Found(), (), snapshot.revision, version, now, None, durable=False)


def _any_break_glass(snapshot: Snapshot, approvals: Iterable[str]) -> bool:
    """Whether any of the approvals is an emergency's: what was delegated under it must be told and kept as such."""
    return any(snapshot.approvals[id_].kind is ApprovalKind.BREAK_GLASS for id_ in approvals)


def _used(case: Case, grant: Grant) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Return the sessions and approvals that an allow uses, and whether any of them limits its uses.

    An allow uses its session and every session that was delegated from, or delegation would evade their limits.
    """
    session = grant.session
    if not grant.ancestors:
        return (session.id,), (session.approval,) if session.approval else (), bool(case.aspects & _COUNTED)
    chain = (session, *grant.ancestors)
    approvals = tuple(dict.fromkeys(one.approval for one in chain if one.approval))
    limits = [one.max_uses for one in chain] + [case.snapshot.approvals[id_].max_uses for id_ in approvals]
    return tuple(one.id for one in chain), approvals, any(limit is not None for limit in limits)
