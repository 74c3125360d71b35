"""Break-glass: at once, where policies permit it, for a short while, and to be reviewed."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from pdp.core.decide import decide
from pdp.core.decision import Allow
from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Duration,
    FactKind,
    IdentityState,
    Instant,
    Request,
    RevocationTarget,
    Session,
    Task,
    TaskState,
)
from pdp.core.policy.model import Limits, Policy
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.governance.commands import TakeBreakGlass
from pdp.governance.refusal import Rule
from pdp.governance.rules.emergencies import take_break_glass
from pdp.governance.rules.windows import DEFAULT_REVIEW_WITHIN
from pdp.governance.view import Plan
from tests.unit.core_story import loaded
from tests.unit.rules_story import (
    AGENT,
    ASKED,
    HOUR,
    JOB,
    NOW,
    OPENED,
    READ,
    READER,
    REQUESTER,
    ROWS,
    STORY,
    policy,
    reasons,
    revoked,
    rules,
    view_of,
    written,
)

BOTH = frozenset(ApprovalKind)
PERMITTED = policy("permits", kinds=BOTH)
TAKE = TakeBreakGlass(
    id="bg", identity="agent", entitlement="reader", actions=READ, resources=ROWS, incident="INC-1", ttl=HOUR
)
APPROVAL = Approval(
    id="bg",
    kind=ApprovalKind.BREAK_GLASS,
    state=ApprovalState.APPROVED,
    identity="agent",
    ticket="INC-1",
    justification="for the test",
    requested_by="release-manager",
    approved_by="release-manager",
    actions=READ,
    resources=ROWS,
    not_before=NOW,
    expires_at=Instant(NOW + HOUR),
    review_due=Instant(NOW + DEFAULT_REVIEW_WITHIN),
)
SESSION = replace(OPENED, id="bg", revision=0, task="INC-1", approval="bg")
UNREVIEWED = replace(APPROVAL, id="earlier", review_due=NOW)


def taken(command: TakeBreakGlass, *facts: AnyFact, policies: tuple[Policy, ...] = (PERMITTED,)) -> list[AnyFact]:
    """Return what is written."""
    return written(take_break_glass(command, view_of(REQUESTER, *facts, policies=policies)))


def refusing(
    command: TakeBreakGlass, *facts: AnyFact, policies: tuple[Policy, ...] = (PERMITTED,)
) -> list[Rule | Code]:
    """Return the rules that refuse."""
    return rules(take_break_glass(command, view_of(REQUESTER, *facts, policies=policies)))


def test_approval_session_and_task_of_an_emergency_are_one_step() -> None:
    """The task is of the incident's name, and of who took it."""
    assert taken(TAKE) == [APPROVAL, SESSION, Task(id="INC-1", owner="release-manager")]


def test_an_emergency_is_acted_in_at_once() -> None:
    """The very next decision allows, and says why."""
    request = Request(subject="agent", action="rows.read", resource="database:prod/users", session="bg")
    decision = decide(request, loaded([*STORY, *taken(TAKE)], PERMITTED), NOW)
    assert isinstance(decision, Allow)
    assert decision.code is Code.GRANTED_BREAK_GLASS


@pytest.mark.parametrize("incident", ["job", "INC-1"])
def test_an_open_task_is_taken_as_it_is(incident: str) -> None:
    """Named, or by the incident's name."""
    command = replace(TAKE, incident=incident) if incident == "job" else replace(TAKE, task="job")
    facts = taken(command)
    assert [type(fact) for fact in facts] == [Approval, Session]
    assert facts[1] == replace(SESSION, task="job")


@pytest.mark.parametrize(
    ("policies", "about"),
    [
        ((), ""),
        ((policy("only-limits", Limits(session_ttl=HOUR)),), ""),
        ((policy("standard", approvers=1),), "policy:standard"),
        ((PERMITTED, policy("standard", approvers=1)), "policy:standard"),
    ],
)
def test_glass_is_broken_only_where_every_policy_permits_it(policies: tuple[Policy, ...], about: str) -> None:
    """And at least one asks for an approval."""
    outcome = take_break_glass(TAKE, view_of(REQUESTER, policies=policies))
    assert [(one.rule, one.about) for one in reasons(outcome)] == [(Rule.BREAK_GLASS_NOT_PERMITTED, about)]


def test_who_takes_an_emergency_needs_no_second_person() -> None:
    """Approvers, groups and independence are asked of standard approvals; this one is reviewed."""
    strict = policy("strict", kinds=BOTH, approvers=2, groups=frozenset({"security"}), independent=True)
    assert len(taken(TAKE, policies=(strict,))) == 3


def test_nobody_breaks_glass_for_identities_that_are_not_theirs() -> None:
    """The principal's identities say whom it may ask for."""
    view = view_of(replace(REQUESTER, identities=IdentityScope(["ci/*"])), policies=[PERMITTED])
    assert rules(take_break_glass(TAKE, view)) == [Rule.NOT_YOURS]


@pytest.mark.parametrize(
    ("limits", "asked", "expected"),
    [
        ([], None, HOUR),
        ([Limits(break_glass_ttl=Duration(HOUR // 2))], None, HOUR // 2),
        ([Limits(break_glass_ttl=Duration(9 * HOUR))], None, HOUR),
        ([Limits(break_glass_ttl=Duration(9 * HOUR))], 9 * HOUR, 9 * HOUR),
        ([Limits(session_ttl=Duration(HOUR // 4))], None, HOUR // 4),
    ],
)
def test_an_emergency_lasts_as_long_as_is_allowed(limits: list[Limits], asked: Duration | None, expected: int) -> None:
    """At most an hour, unless more is asked for; approval and session end together."""
    caps = tuple(policy(f"cap-{number}", one) for number, one in enumerate(limits))
    approval, session, _ = taken(replace(TAKE, ttl=asked), policies=(PERMITTED, *caps))
    assert isinstance(approval, Approval)
    assert isinstance(session, Session)
    assert approval.expires_at == session.expires_at == NOW + expected


@pytest.mark.parametrize(
    ("limits", "facts", "about", "remedy"),
    [
        (Limits(), [], "", "ask for at most 1h"),
        (Limits(break_glass_ttl=Duration(HOUR // 2)), [], "policy:cap", "ask for at most 30m"),
        (Limits(break_glass_ttl=Duration(HOUR // 2 + 456_000_000)), [], "policy:cap", "ask for at most 30m"),
        (Limits(session_ttl=Duration(HOUR // 4)), [], "policy:cap", "ask for at most 15m"),
        (Limits(), [replace(READER, max_session_ttl=HOUR // 4)], "entitlement:reader", "ask for at most 15m"),
    ],
)
def test_an_emergency_longer_than_is_allowed_is_not_taken(
    limits: Limits, facts: list[AnyFact], about: str, remedy: str
) -> None:
    """By policy, entitlement, or where neither says anything; the refusal says which."""
    view = view_of(REQUESTER, *facts, policies=[PERMITTED, policy("cap", limits)])
    [one] = reasons(take_break_glass(replace(TAKE, ttl=Duration(HOUR + 1)), view))
    assert (one.rule, one.about, one.remedy) == (Code.POLICY_LIMIT, about, remedy)


def test_an_emergency_is_reviewed_as_soon_as_the_tightest_policy_asks() -> None:
    """From its start."""
    caps = tuple(policy(f"within-{hours}", Limits(review_within=Duration(hours * HOUR))) for hours in (3, 2))
    [approval, *_] = taken(TAKE, policies=(PERMITTED, *caps))
    assert isinstance(approval, Approval)
    assert approval.review_due == NOW + 2 * HOUR


@pytest.mark.parametrize(
    ("command", "facts", "expected"),
    [
        (TAKE, [UNREVIEWED], Code.REVIEW_OVERDUE),
        (TAKE, [replace(UNREVIEWED, identity="")], Code.REVIEW_OVERDUE),
        (replace(TAKE, identity="ci/**"), [], Code.IDENTITY_UNKNOWN),
        (TAKE, [replace(AGENT, state=IdentityState.SUSPENDED)], Code.IDENTITY_SUSPENDED),
        (TAKE, [revoked(RevocationTarget.OWNER, "payments")], Code.IDENTITY_UNOWNED),
        (replace(TAKE, entitlement="none"), [], Code.ENTITLEMENT_UNKNOWN),
        (TAKE, [replace(READER, certified_until=NOW)], Code.ENTITLEMENT_LAPSED),
        (replace(TAKE, task="job"), [replace(JOB, state=TaskState.COMPLETED)], Code.TASK_ENDED),
        (replace(TAKE, actions=ActionScope(["schema.alter"])), [], Code.ACTION_OUT_OF_SCOPE),
        (replace(TAKE, resources=ResourceScope(["database:**"])), [], Code.RESOURCE_OUT_OF_SCOPE),
        (TAKE, [replace(ASKED, id="bg")], Rule.ALREADY_EXISTS),
        (TAKE, [replace(OPENED, id="bg")], Rule.ALREADY_EXISTS),
    ],
)
def test_an_emergency_sheds_nothing_else(command: TakeBreakGlass, facts: list[AnyFact], expected: Rule | Code) -> None:
    """Identity, task, entitlement, scope, and the reviews of earlier emergencies."""
    assert refusing(command, *facts) == [expected]


def test_a_review_that_is_not_yet_due_stands_against_nothing() -> None:
    """Only an overdue one does, or one that is not of this identity and not of who asks."""
    due = replace(UNREVIEWED, review_due=Instant(NOW + 1))
    reviewed = replace(UNREVIEWED, id="reviewed", reviewed_by="security")
    others = replace(UNREVIEWED, id="others", identity="other", requested_by="somebody")
    assert len(taken(TAKE, due, reviewed, others)) == 3


def test_the_incident_has_the_form_that_policies_ask_of_a_ticket() -> None:
    """It is the approval's ticket."""
    form = policy("form", kinds=BOTH, ticket=re.compile(r"INC-\d+"))
    assert len(taken(TAKE, policies=(form,))) == 3
    assert refusing(replace(TAKE, incident="outage"), policies=(form,)) == [Code.TICKET_REQUIRED]


def test_an_emergency_rests_on_all_that_it_was_judged_by() -> None:
    """A change to any of it has it judged again."""
    outcome = take_break_glass(TAKE, view_of(REQUESTER, policies=[PERMITTED]))
    assert isinstance(outcome, Plan)
    assert outcome.expected == {
        (FactKind.IDENTITY, "agent"): AGENT.revision,
        (FactKind.ENTITLEMENT, "reader"): READER.revision,
        (FactKind.APPROVAL, "bg"): 0,
        (FactKind.SESSION, "bg"): 0,
        (FactKind.TASK, "INC-1"): 0,
    }
