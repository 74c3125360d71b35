"""The policy set: which policies apply to a request, merged into one set of rules.

Each class of requests (one combination of matching policies) is merged once and kept: the merge is a pure
function of the immutable set, so keeping it remembers no decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct

from pdp.core.policy.model import ApprovalRequirement, Condition, Obligation, Policy
from pdp.core.scope import ActionScope, ResourceScope, ScopeIndex



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
    obligations: tuple[Obligation, ...] = ()
    durable: bool = False
    variables: frozenset[str] = frozenset()
    """The CEL variables that its conditions read."""

    @property
    def conditional(self) -> bool:
        """Whether any condition must be evaluated."""
        return bool(self.requirements or self.denials)


class PolicySet:
    """An immutable set of policies with its content version."""

    __slots__ = ("_actions", "_merged", "_resources", "policies", "version")

    def __init__(self, policies: Iterable[Policy] = (), version: str = "none") -> None:
        """Index the policies by scope; raise PatternError for a malformed pattern."""
        self.policies: Sequence[Policy] = tuple(policies)
        self.version = version
        self._actions = ScopeIndex(ActionScope, [policy.actions for policy in self.policies])
        self._resources = ScopeIndex(ResourceScope, [policy.resources for policy in self.policies])
        self._merged = lru_cache(maxsize=4096)(self._merge)

    def covering(self, action: str, resource: str) -> Rules:
        """Return the merged rules of every policy whose match covers the action and the resource."""
        return self._merged(self._actions.covering(action) & self._resources.covering(resource))

    def _merge(self, mask: int) -> Rules:
        return merge([policy for number, policy in enumerate(self.policies) if mask >> number & 1])


def merge(policies: Sequence[Policy]) -> Rules:
    """Return what all the given policies ask for together."""
    requirements = tuple(condition for policy in policies for condition in policy.requirements)
    denials = tuple(condition for policy in policies for condition in policy.denials)
    return Rules(
        policies=tuple(policy.name for policy in policies),
        approvals=tuple(policy.approval for policy in policies if policy.approval is not None),
        requirements=requirements,
        denials=denials,
        session_ttl=_tightest(policies, lambda policy: policy.limits.session_ttl),
        idle_timeout=_tightest(policies, lambda policy: policy.limits.idle_timeout),
        delegation_depth=_tightest(policies, lambda policy: policy.limits.delegation_depth),
        credential_age=_tightest(policies, lambda policy: policy.limits.credential_age),
        obligations=tuple(obligation for policy in policies for obligation in policy.obligations),
        durable=any(policy.durable for policy in policies),
        variables=frozenset(root for condition in (*requirements, *denials) for root in condition.program.roots),
    )


def _tightest(policies: Sequence[Policy], bound_of: Callable[[Policy], int | None]) -> Limit | None:
    limits = [Limit(bound, policy.name) for policy in policies if (bound := bound_of(policy)) is not None]
    return min(limits, default=None)
