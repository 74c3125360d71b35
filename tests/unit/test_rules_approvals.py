"""Approvals: asked for within what policies would accept, and given by others, as many as policies ask for."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Consent,
    Duration,
    IdentityState,
    Instant,
    RevocationTarget,
)
from pdp.core.policy.model import Limits, Policy
from pdp.core.reasons import Code
from pdp.core.scope import IdentityScope, ResourceScope
from pdp.governance.commands import Approve, Reject, RequestApproval, Withdraw
from pdp.governance.refusal import Rule
from pdp.governance.roles import Principal
from pdp.governance.rules import approvals
from pdp.governance.view import Plan
from tests.unit.rules_story import (
    AGENT,
    APPROVER,
    ASKED,
    HOUR,
    NOW,
    OPENED,
    OPERATOR,
    OWNER,
    READ,
    REQUESTER,
    ROWS,
    policy,
    reasons,
    revoked,
    rules,
    view_of,
    written,
)

ASK = RequestApproval(id="consent", identity="agent", actions=READ, resources=ROWS, justification="to fix a row")
APPROVE = Approve(approval_id="consent")
SECOND = Principal(name="on-call-engineer", groups=frozenset({"security"}))
TWO = policy("two", approvers=2)
BOARD = policy("board", groups=frozenset({"change-board"}))
SECURITY = policy("security", groups=frozenset({"security", "audit"}))
LATER = Instant(NOW + HOUR)


def approval_of(command: RequestApproval, *policies: Policy) -> Approval:
    """Return the approval that a command asks for."""
    [fact] = written(approvals.request(command, view_of(REQUESTER, policies=policies)))
    assert isinstance(fact, Approval)
    return fact


def test_an_approval_is_asked_for_from_now_on() -> None:
    """For an hour, where nothing else is said."""
    assert approval_of(replace(ASK, ticket="CHG-1", max_uses=3)) == replace(
        ASKED, revision=0, ticket="CHG-1", max_uses=3
    )


def test_an_approval_is_asked_for_ahead() -> None:
    """Its window begins when it is asked to."""
    asked = approval_of(replace(ASK, not_before=LATER, ttl=Duration(2 * HOUR)))
    assert (asked.not_before, asked.expires_at) == (LATER, LATER + 2 * HOUR)


@pytest.mark.parametrize(
    ("caps", "ttl", "expected"),
    [
        ([HOUR // 2, HOUR // 4], None, HOUR // 4),
        ([5 * HOUR], None, HOUR),
        ([5 * HOUR], 5 * HOUR, 5 * HOUR),
        ([HOUR // 2], HOUR // 3, HOUR // 3),
    ],
)
def test_an_approval_lasts_as_long_as_the_tightest_policy_allows(
    caps: list[int], ttl: Duration | None, expected: int
) -> None:
    """At most an hour, unless more is asked for."""
    policies = [policy(f"cap-{cap}", Limits(approval_ttl=Duration(cap))) for cap in caps]
    asked = approval_of(replace(ASK, ttl=ttl), *policies)
    assert asked.expires_at - asked.not_before == expected


def test_an_approval_longer_than_a_policy_allows_is_not_asked_for() -> None:
    """The refusal names the policy, and what it allows."""
    view = view_of(REQUESTER, policies=[policy("short", Limits(approval_ttl=Duration(HOUR // 2))), policy("any")])
    [one] = reasons(approvals.request(replace(ASK, ttl=HOUR), view))
    assert (one.rule, one.about, one.remedy) == (Code.POLICY_LIMIT, "policy:short", "ask for at most 30m")


def test_a_scope_that_reaches_into_a_policy_keeps_to_it() -> None:
    """Also where most of it lies beyond."""
    wide = replace(ASK, resources=ResourceScope(["**"]), ttl=HOUR)
    view = view_of(REQUESTER, policies=[policy("short", Limits(approval_ttl=Duration(1)))])
    assert rules(approvals.request(wide, view)) == [Code.POLICY_LIMIT]


def test_a_policy_on_something_else_asks_nothing() -> None:
    """Its match has nothing in common with the scope."""
    elsewhere = replace(ASK, resources=ResourceScope(["database:test/**"]), ttl=HOUR)
    assert approval_of(elsewhere, policy("short", Limits(approval_ttl=Duration(1)))).expires_at == LATER


@pytest.mark.parametrize("ticket", ["", "CHG-x"])
def test_a_ticket_has_the_form_that_every_policy_asks_for(ticket: str) -> None:
    """The refusal names the form."""
    view = view_of(REQUESTER, policies=[policy("form", ticket=re.compile(r"CHG-\d+")), policy("any", ticket=None)])
    [one] = reasons(approvals.request(replace(ASK, ticket=ticket), view))
    assert (one.rule, one.about, one.remedy) == (
        Code.TICKET_REQUIRED,
        "policy:form",
        r"name a ticket like `CHG-\d+`",
    )


def test_what_only_an_emergency_opens_is_not_asked_for() -> None:
    """No approval of that kind would satisfy the policy."""
    view = view_of(REQUESTER, policies=[policy(kinds=frozenset({ApprovalKind.BREAK_GLASS}))])
    assert rules(approvals.request(ASK, view)) == [Code.APPROVAL_REQUIRED]


@pytest.mark.parametrize(
    ("command", "facts", "expected"),
    [
        (replace(ASK, identity="nobody"), [], Code.IDENTITY_UNKNOWN),
        (replace(ASK, identity="ci/**"), [], Code.IDENTITY_UNKNOWN),
        (ASK, [replace(AGENT, state=IdentityState.SUSPENDED)], Code.IDENTITY_SUSPENDED),
        (ASK, [replace(AGENT, state=IdentityState.RETIRED)], Code.IDENTITY_RETIRED),
        (ASK, [replace(AGENT, owner="")], Code.IDENTITY_UNOWNED),
        (ASK, [revoked(RevocationTarget.OWNER, "payments")], Code.IDENTITY_UNOWNED),
        (ASK, [revoked(RevocationTarget.IDENTITY, "agent")], Code.IDENTITY_REVOKED),
        (ASK, [ASKED], Rule.ALREADY_EXISTS),
        (replace(ASK, justification=" "), [], Code.REQUEST_INVALID),
        (replace(ASK, not_before=Instant(NOW - HOUR), ttl=HOUR), [], Code.APPROVAL_EXPIRED),
    ],
)
def test_what_could_never_be_acted_under_is_not_asked_for(
    command: RequestApproval, facts: list[AnyFact], expected: Rule
) -> None:
    """An identity that cannot act, an id that is taken, no justification, a window that is over."""
    assert rules(approvals.request(command, view_of(REQUESTER, *facts))) == [expected]


def test_an_approval_is_asked_for_one_of_a_family() -> None:
    """Which has no record of its own."""
    assert approval_of(replace(ASK, identity="ci/7")).identity == "ci/7"


def test_nobody_asks_for_identities_that_are_not_theirs() -> None:
    """The principal's identities say whom it may ask for, itself besides."""
    stranger = replace(REQUESTER, identities=IdentityScope(["ci/*"]))
    assert rules(approvals.request(ASK, view_of(stranger))) == [Rule.NOT_YOURS]
    assert isinstance(approvals.request(ASK, view_of(replace(stranger, name="agent"))), Plan)


def test_all_that_stands_against_a_request_is_said_at_once() -> None:
    """So that it can be mended at once."""
    view = view_of(
        REQUESTER,
        replace(AGENT, owner=""),
        policies=[policy("form", ticket=re.compile("CHG")), policy("short", Limits(approval_ttl=Duration(1)))],
    )
    assert rules(approvals.request(replace(ASK, ttl=HOUR), view)) == [
        Code.IDENTITY_UNOWNED,
        Code.TICKET_REQUIRED,
        Code.POLICY_LIMIT,
    ]


def test_the_consent_of_one_person_is_enough_where_no_policy_asks_for_more() -> None:
    """The person, the instant and the groups are on record."""
    assert written(approvals.approve(APPROVE, view_of(APPROVER, ASKED))) == [
        replace(
            ASKED,
            state=ApprovalState.APPROVED,
            approved_by="change-manager",
            consents=(Consent(by="change-manager", at=NOW, groups=("change-board",)),),
        )
    ]


def test_the_last_of_the_people_that_a_policy_asks_for_approves() -> None:
    """Until then it is pending."""
    [first] = written(approvals.approve(APPROVE, view_of(APPROVER, ASKED, policies=[TWO, policy("one", approvers=1)])))
    assert isinstance(first, Approval)
    assert (first.state, first.approved_by) == (ApprovalState.PENDING, "")

    [second] = written(approvals.approve(APPROVE, view_of(SECOND, first, policies=[TWO])))
    assert isinstance(second, Approval)
    assert (second.state, second.approved_by) == (ApprovalState.APPROVED, "on-call-engineer")
    assert [one.by for one in second.consents] == ["change-manager", "on-call-engineer"]


def test_nobody_consents_twice() -> None:
    """Two people are two people."""
    [first] = written(approvals.approve(APPROVE, view_of(APPROVER, ASKED, policies=[TWO])))
    assert rules(approvals.approve(APPROVE, view_of(APPROVER, first, policies=[TWO]))) == [Rule.ALREADY_EXISTS]


def test_who_is_in_no_group_of_approvers_does_not_approve() -> None:
    """The refusal names the groups of each policy."""
    view = view_of(REQUESTER, replace(ASKED, requested_by="somebody"), policies=[BOARD, SECURITY])
    assert [(one.rule, one.about, one.remedy) for one in reasons(approvals.approve(APPROVE, view))] == [
        (Rule.GROUP_REQUIRED, "policy:board", "have somebody in `change-board` approve"),
        (Rule.GROUP_REQUIRED, "policy:security", "have somebody in `audit` or `security` approve"),
    ]


def test_policies_with_groups_of_their_own_are_satisfied_by_one_person_each() -> None:
    """A consent counts where its person's groups are named."""
    [first] = written(approvals.approve(APPROVE, view_of(APPROVER, ASKED, policies=[BOARD, SECURITY])))
    assert isinstance(first, Approval)
    assert first.state is ApprovalState.PENDING

    [second] = written(approvals.approve(APPROVE, view_of(SECOND, first, policies=[BOARD, SECURITY])))
    assert isinstance(second, Approval)
    assert second.state is ApprovalState.APPROVED


@pytest.mark.parametrize(
    ("actor", "how"),
    [
        (REQUESTER, "`release-manager` requested approval `consent`"),
        (Principal(name="agent"), "`agent` is the identity itself"),
        (Principal(name="payments"), "`payments` owns identity `agent`"),
        (OWNER, "`head-of-payments` belongs to `payments`, which owns identity `agent`"),
        (Principal(name="opener"), "`opener` opened session `s-1`"),
    ],
)
def test_nobody_approves_what_they_have_a_part_in(actor: Principal, how: str) -> None:
    """Whether or not a policy asks for four eyes."""
    under_it = replace(OPENED, approval="consent", opened_by="opener")
    outcome = approvals.approve(APPROVE, view_of(actor, ASKED, under_it))
    assert [(one.rule, one.message) for one in reasons(outcome)] == [(Rule.FOUR_EYES, how)]


@pytest.mark.parametrize("name", ["agent", "payments"])
def test_nobody_approves_for_whoever_names_it_what_they_act_under(name: str) -> None:
    """An approval for nobody in particular is for the sessions that name it."""
    lent, under_it = replace(ASKED, identity=""), replace(OPENED, approval="consent")
    assert rules(approvals.approve(APPROVE, view_of(Principal(name=name), lent, under_it))) == [Rule.FOUR_EYES]


@pytest.mark.parametrize(
    ("facts", "now", "expected"),
    [
        ([ASKED], Instant(LATER - 1), []),
        ([ASKED], LATER, [Code.APPROVAL_EXPIRED]),
        ([ASKED, revoked(RevocationTarget.APPROVAL, "consent")], NOW, [Code.APPROVAL_REVOKED]),
    ],
)
def test_what_is_over_is_not_approved(facts: list[AnyFact], now: Instant, expected: list[Code]) -> None:
    """Its window is half-open; a revocation overrides it from the start."""
    outcome = approvals.approve(APPROVE, view_of(APPROVER, *facts, now=now))
    assert ([] if isinstance(outcome, Plan) else rules(outcome)) == expected


@pytest.mark.parametrize("state", [ApprovalState.APPROVED, ApprovalState.REJECTED, ApprovalState.WITHDRAWN])
def test_what_is_decided_is_not_decided_again(state: ApprovalState) -> None:
    """Neither way."""
    view = view_of(APPROVER, replace(ASKED, state=state))
    assert [one.message for one in reasons(approvals.approve(APPROVE, view))] == [
        f"approval `consent` is {state} already"
    ]
    assert rules(approvals.reject(Reject(approval_id="consent"), view)) == [Rule.WRONG_STATE]


def test_an_approval_is_rejected_by_somebody_else() -> None:
    """Who asked for it withdraws it."""
    command = Reject(approval_id="consent")
    assert written(approvals.reject(command, view_of(APPROVER, ASKED))) == [
        replace(ASKED, state=ApprovalState.REJECTED)
    ]
    assert rules(approvals.reject(command, view_of(REQUESTER, ASKED))) == [Rule.FOUR_EYES]


@pytest.mark.parametrize("actor", [REQUESTER, OPERATOR])
@pytest.mark.parametrize("state", [ApprovalState.PENDING, ApprovalState.APPROVED])
def test_an_approval_is_withdrawn_by_who_asked_for_it_or_an_operator(actor: Principal, state: ApprovalState) -> None:
    """Also when it has been given."""
    outcome = approvals.withdraw(Withdraw(approval_id="consent"), view_of(actor, replace(ASKED, state=state)))
    assert written(outcome) == [replace(ASKED, state=ApprovalState.WITHDRAWN)]


@pytest.mark.parametrize(
    ("actor", "state", "expected"),
    [
        (APPROVER, ApprovalState.PENDING, Rule.NOT_YOURS),
        (REQUESTER, ApprovalState.REJECTED, Rule.WRONG_STATE),
        (REQUESTER, ApprovalState.WITHDRAWN, Rule.WRONG_STATE),
    ],
)
def test_nothing_else_is_withdrawn(actor: Principal, state: ApprovalState, expected: Rule) -> None:
    """What is somebody else's, or was never given."""
    outcome = approvals.withdraw(Withdraw(approval_id="consent"), view_of(actor, replace(ASKED, state=state)))
    assert rules(outcome) == [expected]


def test_an_unknown_approval_is_not_found() -> None:
    """By any command."""
    view = view_of(APPROVER)
    assert rules(approvals.approve(APPROVE, view)) == [Rule.NOT_FOUND]
    assert rules(approvals.reject(Reject(approval_id="x"), view)) == [Rule.NOT_FOUND]
    assert rules(approvals.withdraw(Withdraw(approval_id="x"), view)) == [Rule.NOT_FOUND]
