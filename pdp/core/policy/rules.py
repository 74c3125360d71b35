"""The policy set: which policies apply to a request, merged into one set of rules.

Each class of requests (one combination of matching policies) is merged once and kept: the merge is a pure
function of the immutable set, so keeping it remembers no decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple, TypeVar

from msgspec import Struct

from pdp.core.aspects import (
    AGE_LIMIT,
    APPROVAL_LIMIT,
    APPROVAL_RULES,
    CONDITIONS,
    CONSENT_RULES,
    IDLE_LIMIT,
    SIGNALS_READ,
    TTL_LIMIT,
)
from pdp.core.policy.model import ApprovalRequirement, Condition, Obligation, Policy
from pdp.core.scope import ActionScope, ResourceScope, ScopeIndex
from pdp.core.scope_relations import overlap

_T = TypeVar("_T")

_MOST_CLASSES = 4096
"""Bound on the merges kept; a request beyond it is merged anew."""


class Limit(NamedTuple):
    """The tightest bound among the policies that apply, and the policy that sets it."""

    bound: int
    policy: str


class Rules(Struct, frozen=True):
    """All that the policies covering one class of requests ask for."""

    policies: tuple[str, ...] = ()
    approvals: tuple[ApprovalRequirement, ...] = ()
    requirements: tuple[Condition, ...] = ()
    denials: tuple[Condition, ...] = ()
    session_ttl: Limit | None = None
    idle_timeout: Limit | None = None
    delegation_depth: Limit | None = None
    credential_age: Limit | None = None
    approval_ttl: Limit | None = None
    break_glass_ttl: Limit | None = None
    review_within: Limit | None = None
    obligations: tuple[Obligation, ...] = ()
    durable: bool = False
    variables: frozenset[str] = frozenset()
    """The CEL variables that its conditions read."""
    reads_clock: bool = False
    """Whether `now` is one of them."""

    aspects: int = 0
    """What the policies give a case to judge; bits of `aspects`."""


class PolicySet:
    """An immutable set of policies with its content version."""

    __slots__ = ("_actions", "_merged", "_resources", "_scopes", "policies", "version")

    def __init__(self, policies: Iterable[Policy] = (), version: str = "none") -> None:
        """Index the policies by scope; raise PatternError for a malformed pattern."""
        # Sorted and once each, so that order and number cannot show, not even in messages and obligations.
        ordered = sorted(policies, key=_name)
        self.policies: Sequence[Policy] = [policy for _, same in groupby(ordered, _name) for policy in _distinct(same)]
        self.version = version
        self._actions = ScopeIndex(ActionScope, [policy.actions for policy in self.policies])
        self._resources = ScopeIndex(ResourceScope, [policy.resources for policy in self.policies])
        self._scopes = [(ActionScope(one.actions), ResourceScope(one.resources)) for one in self.policies]
        self._merged: dict[int, Rules] = {}

    def covering(self, action: str, resource: str) -> Rules:
        """Return the merged rules of every policy whose match covers the action and the resource."""
        mask = self._actions.covering(action) & self._resources.covering(resource)
        rules = self._merged.get(mask)
        return self._merge(mask) if rules is None else rules

    def overlapping(self, actions: ActionScope, resources: ResourceScope) -> Sequence[Policy]:
        """Return every policy whose match has something in common with the scopes."""
        return [
            policy
            for policy, (matched, matched_resources) in zip(self.policies, self._scopes, strict=True)
            if overlap(matched, actions) and overlap(matched_resources, resources)
        ]

    def _merge(self, mask: int) -> Rules:
        rules = merge([policy for number, policy in enumerate(self.policies) if mask >> number & 1])
        if len(self._merged) < _MOST_CLASSES:
            self._merged[mask] = rules
        return rules


def merge(policies: Sequence[Policy]) -> Rules:
    """Return what all the given policies ask for together."""
    requirements = tuple(condition for policy in policies for condition in policy.requirements)
    denials = tuple(condition for policy in policies for condition in policy.denials)
    variables = frozenset(root for condition in (*requirements, *denials) for root in condition.program.roots)
    return Rules(
        policies=tuple(policy.name for policy in policies),
        approvals=tuple(policy.approval for policy in policies if policy.approval is not None),
        requirements=requirements,
        denials=denials,
        session_ttl=_tightest(policies, lambda policy: policy.limits.session_ttl),
        idle_timeout=_tightest(policies, lambda policy: policy.limits.idle_timeout),
        delegation_depth=_tightest(policies, lambda policy: policy.limits.delegation_depth),
        credential_age=_tightest(policies, lambda policy: policy.limits.credential_age),
        approval_ttl=_tightest(policies, lambda policy: policy.limits.approval_ttl),
        break_glass_ttl=_tightest(policies, lambda policy: policy.limits.break_glass_ttl),
        review_within=_tightest(policies, lambda policy: policy.limits.review_within),
        obligations=_distinct(obligation for policy in policies for obligation in policy.obligations),
        durable=any(policy.durable for policy in policies),
        aspects=_aspects(policies),
        variables=variables,
        reads_clock="now" in variables,
    )


def _name(policy: Policy) -> str:
    return policy.name


def _distinct(values: Iterable[_T]) -> tuple[_T, ...]:
    """Return each value once, where it first stood; obligations and policies hold mappings and cannot be hashed."""
    kept: list[_T] = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return tuple(kept)


def _aspects(policies: Sequence[Policy]) -> int:
    aspects = 0
    for policy in policies:
        if policy.requirements or policy.denials:
            aspects |= CONDITIONS
        if any("signals" in condition.program.roots for condition in (*policy.requirements, *policy.denials)):
            aspects |= SIGNALS_READ
        if policy.approval is not None:
            aspects |= APPROVAL_RULES
            if policy.approval.approvers > 1 or policy.approval.groups:
                aspects |= CONSENT_RULES
        limits = policy.limits
        for limit, aspect in (
            (limits.credential_age, AGE_LIMIT),
            (limits.session_ttl, TTL_LIMIT),
            (limits.idle_timeout, IDLE_LIMIT),
            (limits.approval_ttl, APPROVAL_LIMIT),
            (limits.break_glass_ttl, APPROVAL_LIMIT),
        ):
            if limit is not None:
                aspects |= aspect
    return aspects


def _tightest(policies: Sequence[Policy], bound_of: Callable[[Policy], int | None]) -> Limit | None:
    limits = [Limit(bound, policy.name) for policy in policies if (bound := bound_of(policy)) is not None]
    return min(limits, default=None)
