"""What policies ask of approvals is judged where one asks, and costs nothing elsewhere."""

from __future__ import annotations

import pytest
from msgspec.structs import replace as changed

from pdp.core.aspects import APPROVAL_LIMIT, CONSENT_RULES
from pdp.core.checks.approval import consenting
from pdp.core.model import ApprovalKind, Consent, Duration, Instant
from pdp.core.permissions import permissions
from pdp.core.policy.model import ApprovalRequirement, Limits, Policy
from pdp.core.policy.rules import Limit, PolicySet, merge
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, ResourceScope
from tests.unit.core_story import NOW, REQUEST, approval, chain, loaded, session

STANDARD = frozenset([ApprovalKind.STANDARD])
CONSENTS = (
    Consent(by="first", at=Instant(1), groups=("dba", "on-call")),
    Consent(by="second", at=Instant(2), groups=("security",)),
)
UNDER_CONSENT = [*chain(0), changed(session(0), approval="consent")]


def policy(
    name: str = "asks", *, approvers: int = 1, groups: frozenset[str] = frozenset(), limits: Limits | None = None
) -> Policy:
    """Return a policy on reads of production, which asks for an approval unless it limits."""
    asked = None if limits else ApprovalRequirement(name, STANDARD, approvers=approvers, groups=groups)
    return Policy(name, ("rows.read",), ("database:prod/**",), asked, limits=limits or Limits())


@pytest.mark.parametrize(
    ("asks", "expected"),
    [
        (policy(), 0),
        (policy(limits=Limits(session_ttl=Duration(1), review_within=Duration(1))), 0),
        (policy(approvers=2), CONSENT_RULES),
        (policy(groups=frozenset({"dba"})), CONSENT_RULES),
        (policy(limits=Limits(approval_ttl=Duration(1))), APPROVAL_LIMIT),
        (policy(limits=Limits(break_glass_ttl=Duration(1))), APPROVAL_LIMIT),
    ],
)
def test_a_row_is_reached_only_where_a_policy_asks(asks: Policy, expected: int) -> None:
    """One person's consent is in the approval's state, which is judged anyway."""
    assert merge([asks]).aspects & (CONSENT_RULES | APPROVAL_LIMIT) == expected


def test_the_tightest_limit_on_approvals_counts() -> None:
    """Each kind's, and that on reviews, with the policy that sets it."""
    loose = policy("loose", limits=Limits(approval_ttl=Duration(3), break_glass_ttl=Duration(1)))
    tight = policy("tight", limits=Limits(approval_ttl=Duration(2), review_within=Duration(5)))
    rules = merge([loose, tight])
    found = (rules.approval_ttl, rules.break_glass_ttl, rules.review_within)
    assert found == (Limit(2, "tight"), Limit(1, "loose"), Limit(5, "tight"))


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (frozenset(), {"first", "second"}),
        ({"dba", "on-call"}, {"first"}),
        ({"on-call", "security"}, {"first", "second"}),
        ({"release"}, set()),
    ],
)
def test_the_people_who_consented_are_told_apart_by_group(groups: set[str], expected: set[str]) -> None:
    """Each person once, whatever the number of groups."""
    given = changed(approval(ApprovalKind.STANDARD), consents=CONSENTS)
    assert consenting(given, frozenset(groups)) == expected


def test_an_approval_that_lists_no_consents_is_one_persons_of_no_known_group() -> None:
    """As all were before consents were told apart."""
    given = approval(ApprovalKind.STANDARD)
    assert (consenting(given), consenting(given, frozenset({"dba"}))) == ({"approver"}, set())


def test_the_policies_that_overlap_a_scope_are_found() -> None:
    """Those that cover any request in it, also if they cover more or less than all of it."""
    policies = PolicySet([policy("b"), policy("a"), Policy("c", ("rows.write",), ("**",))])
    found = policies.overlapping(ActionScope(["rows.read"]), ResourceScope(["database:**"]))
    elsewhere = policies.overlapping(ActionScope(["rows.*"]), ResourceScope(["database:test"]))
    assert ([one.name for one in found], [one.name for one in elsewhere]) == (["a", "b"], ["c"])


def test_a_permission_that_too_few_have_consented_to_is_not_listed() -> None:
    """The list says why."""
    asks = changed(policy(approvers=2), resources=("**",))
    listed = permissions(REQUEST, loaded([*UNDER_CONSENT, approval(ApprovalKind.STANDARD)], asks), NOW)
    under_any = changed(asks, actions=("**",))
    nothing = permissions(REQUEST, loaded([*UNDER_CONSENT, approval(ApprovalKind.STANDARD)], under_any), NOW)
    assert [one.conditions for one in listed.permissions] == [("policy `asks` asks for an approval on `**`",)]
    assert [one.code for one in nothing.denials] == [Code.APPROVAL_REQUIRED]


def test_a_limit_on_reviews_asks_nothing_of_a_permission() -> None:
    """It is about the next break-glass."""
    asks = policy(limits=Limits(review_within=Duration(1)))
    listed = permissions(REQUEST, loaded(chain(0), asks), NOW)
    assert [one.conditions for one in listed.permissions] == [()]
