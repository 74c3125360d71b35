"""What a session may do now: the pairs of patterns inside all that it rests on, and what policies still ask.

Session, task, entitlement, approval and parents are judged by the rows of the decision table; only the rows about
one action and one resource (scope, context, policy) are replaced by the intersection of patterns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from msgspec import Struct
from msgspec.structs import replace

from pdp.core.case import Case
from pdp.core.checks import approval, credential, limits
from pdp.core.checks.scope import Scoped, scopes_of_ancestors
from pdp.core.checks.table import GROUPS
from pdp.core.horizon import NEVER, next_edge
from pdp.core.model import Instant, Request, Revision
from pdp.core.policy.model import Limits, Policy
from pdp.core.reasons import Denial
from pdp.core.scope import ActionScope, ResourceScope, Scope
from pdp.core.snapshot import Snapshot
from pdp.core.standing import denials_of, judge_under

_ABOUT_ONE_CALL = ("scope", "context", "policy")
_ANY = "**"
_JUDGED_BY_POLICY = credential.ROWS + approval.ROWS + limits.ROWS


class Permission(Struct, frozen=True):
    """A pair of patterns that a request must lie in, and what policies still ask of it."""

    action: str
    resource: str
    conditions: tuple[str, ...]


class Permissions(Struct, frozen=True):
    """What a session may do now, or why nothing."""

    denials: tuple[Denial, ...]
    permissions: tuple[Permission, ...]
    revision: Revision
    policy_version: str
    evaluated_at: Instant
    valid_until: Instant | None


def permissions(request: Request, snapshot: Snapshot, now: Instant) -> Permissions:
    """Return what the request's session may do; its action and resource are not looked at."""
    case = Case(request, snapshot, now)
    judge_under(case, [policy for policy in snapshot.policies.policies if _covers(policy, _ANY, _ANY)])
    rows = [row for group, rows in GROUPS.items() if group not in _ABOUT_ONE_CALL for row in rows]
    denials = tuple(denial for _, denial in denials_of(case, rows))
    edges, withheld = [next_edge(case, used=False)], list[Denial]()
    listed = () if denials or case.grant() is None else tuple(_permissions(case, edges, withheld))
    edge = min(edges)
    until = None if edge == NEVER else edge
    if not listed:
        denials = denials or tuple(dict.fromkeys(withheld))
    return Permissions(denials, listed, snapshot.revision, snapshot.policies.version, now, until)


def _permissions(case: Case, edges: list[Instant], withheld: list[Denial]) -> Iterable[Permission]:
    """Yield the permissions; add when time may change what policies ask of them, and why pairs are left out."""
    facts: list[Scoped] = [case.session, case.entitlement]
    if case.session.approval:
        facts.append(case.approval)
    facts += scopes_of_ancestors(case)
    actions = intersection(ActionScope, [fact.actions for fact in facts])
    resources = intersection(ResourceScope, [fact.resources for fact in facts])
    constraints = tuple(_constraints(case))
    for action, resource in product(actions, resources):
        touching = [policy for policy in case.snapshot.policies.policies if _touches(policy, action, resource)]
        covering = [policy for policy in touching if _covers(policy, action, resource)]
        judge_under(case, touching)
        edges.append(next_edge(case, used=False))
        judge_under(case, covering)
        denials = [denial for _, denial in denials_of(case, _JUDGED_BY_POLICY)]
        withheld += denials
        if not denials:
            conditions = [text for policy in touching for text in _conditions(policy, whole=policy in covering)]
            yield Permission(action, resource, (*constraints, *conditions))


def _constraints(case: Case) -> Iterable[str]:
    """Say what the session, and those it was delegated by, ask of the context of every call."""
    for session in (case.session, *case.ancestors):
        for name in session.constraints:
            yield f"session `{session.id}` constrains `context.{name}`"


def _touches(policy: Policy, action: str, resource: str) -> bool:
    return any(overlap(ActionScope, action, pattern) for pattern in policy.actions) and any(
        overlap(ResourceScope, resource, pattern) for pattern in policy.resources
    )


def _covers(policy: Policy, action: str, resource: str) -> bool:
    return any(overlap(ActionScope, action, pattern) == action for pattern in policy.actions) and any(
        overlap(ResourceScope, resource, pattern) == resource for pattern in policy.resources
    )


def _conditions(policy: Policy, *, whole: bool) -> Iterable[str]:
    """Say what a policy may still ask of a request inside a pair.

    `whole`: it covers the whole pair, so what it asks of session and approval is already known to be met.
    """
    for condition in policy.requirements:
        yield f"policy `{policy.name}` requires: {condition.name}"
    for condition in policy.denials:
        yield f"policy `{policy.name}` denies: {condition.name}"
    if not whole and policy.approval is not None:
        yield f"policy `{policy.name}` asks for an approval on `{'`, `'.join(policy.resources)}`"
    if not whole and replace(policy.limits, review_within=None) != Limits():
        yield f"policy `{policy.name}` limits sessions on `{'`, `'.join(policy.resources)}`"


def intersection(kind: type[Scope], scopes: Sequence[Scope]) -> tuple[str, ...]:
    """Return patterns that cover exactly what all the scopes cover."""
    patterns = scopes[0].patterns
    for scope in scopes[1:]:
        pairs = (overlap(kind, left, right) for left, right in product(patterns, scope.patterns))
        patterns = tuple(dict.fromkeys(pattern for pattern in pairs if pattern is not None))
    return patterns


def overlap(kind: type[Scope], left: str, right: str) -> str | None:
    """Return the pattern of what both patterns cover, or None if that is nothing."""
    segments = _overlap(kind.segments(left), kind.segments(right))
    # What only the empty text satisfies is nothing: no identifier is empty.
    return (_join(kind, segments) or None) if segments is not None else None


def _overlap(left: Sequence[str], right: Sequence[str]) -> list[str] | None:
    common: list[str] = []
    for position in range(max(len(left), len(right)) + 1):
        if left[position:] == ["**"]:
            return common + list(right[position:])
        if right[position:] == ["**"]:
            return common + list(left[position:])
        if position == len(left) or position == len(right):
            return common if len(left) == len(right) else None
        one, other = left[position], right[position]
        if one != other and "*" not in (one, other):
            return None
        common.append(other if one == "*" else one)
    return None


def _join(kind: type[Scope], segments: Sequence[str]) -> str:
    if len(segments) == 1:
        return segments[0]
    return segments[0] + kind.SEPARATORS[0] + kind.SEPARATORS[1].join(segments[1:])
