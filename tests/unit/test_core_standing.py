"""Whether anything could be allowed under a session, judged without a request."""

from __future__ import annotations

import pytest
from msgspec.structs import replace as changed

from pdp.core.checks import limits
from pdp.core.checks.parent import ANCESTOR_ROWS
from pdp.core.horizon import NEVER
from pdp.core.model import (
    AnyFact,
    ApprovalKind,
    Duration,
    Entitlement,
    Instant,
    Revocation,
    RevocationTarget,
    Session,
    Task,
)
from pdp.core.policy.model import ApprovalRequirement, Limits, Policy
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.standing import STANDING_ROWS, Objection, latest_end, scope_objections, standing
from tests.unit.core_story import END, NOW, approval, chain, loaded, session

PRODUCTION = ResourceScope(["database:prod/**"])
ASKING = Policy(
    name="asking",
    actions=("**",),
    resources=("database:prod/**",),
    approval=ApprovalRequirement("asking", frozenset([ApprovalKind.STANDARD])),
)
SHORT = Policy(name="short", actions=("**",), resources=("**",), limits=Limits(session_ttl=Duration(40)))


def codes(objections: tuple[Objection, ...]) -> list[Code]:
    """Return the codes of objections."""
    return [one.denial.code for one in objections]


def with_basis(*changes: AnyFact) -> list[AnyFact]:
    """Return what a session rests on, without one; later facts replace earlier ones."""
    return [*(fact for fact in chain(0) if not isinstance(fact, Session)), *changes]


def test_it_asks_every_row_that_an_ancestor_is_asked_and_every_limit() -> None:
    """Rows of identity, session, task, entitlement, approval; parents; limits."""
    assert set(ANCESTOR_ROWS) | set(limits.ROWS) < set(STANDING_ROWS)


def test_nothing_stands_against_a_session_that_all_bears() -> None:
    """Also when it is only proposed."""
    assert standing(session(0), loaded(with_basis()), NOW) == ()


def test_a_judgement_writes_nothing() -> None:
    """Neither the proposed session nor what would come with it."""
    snapshot = loaded(with_basis())
    standing(session(0), snapshot, NOW, [Task(id="new"), approval(ApprovalKind.STANDARD)])
    assert (snapshot.sessions, list(snapshot.tasks), snapshot.approvals) == ({}, ["job"], {})


def test_everything_that_stands_against_it_is_said_in_precedence_order() -> None:
    """With what would change each."""
    snapshot = loaded([Task(id="other")], SHORT)
    objections = standing(session(0), snapshot, END)
    assert codes(objections) == [
        Code.IDENTITY_UNKNOWN,
        Code.SESSION_EXPIRED,
        Code.TASK_UNKNOWN,
        Code.ENTITLEMENT_UNKNOWN,
        Code.POLICY_LIMIT,
    ]
    assert objections[0].remedy == "register the identity"


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (["**"], [Code.APPROVAL_REQUIRED]),
        (["database:*/users"], [Code.APPROVAL_REQUIRED]),
        (["database:test/**"], []),
    ],
)
def test_each_policy_is_asked_that_overlaps_the_scope(resources: list[str], expected: list[Code]) -> None:
    """Also one that holds in a part of it only."""
    proposed = changed(session(0), resources=ResourceScope(resources))
    assert codes(standing(proposed, loaded(with_basis(), ASKING), NOW)) == expected


def test_what_would_be_written_with_it_bears_it() -> None:
    """An approval and a task that are not known yet."""
    proposed = changed(session(0), task="new", approval="consent")
    also: list[AnyFact] = [Task(id="new"), approval(ApprovalKind.STANDARD)]
    snapshot = loaded(with_basis(), ASKING)
    assert codes(standing(proposed, snapshot, NOW)) == [Code.TASK_UNKNOWN, Code.APPROVAL_UNKNOWN]
    assert standing(proposed, snapshot, NOW, also) == ()


def test_a_session_that_begins_later_is_judged_when_it_begins() -> None:
    """What comes before matters as little as what has not come by then."""
    over = Revocation(
        id="r",
        target=RevocationTarget.TASK,
        target_id="job",
        effective_at=Instant(0),
        expires_at=Instant(60),
        reason="pause",
    )
    later = changed(session(0), not_before=Instant(60))
    snapshot = loaded(with_basis(over))
    assert codes(standing(session(0), snapshot, NOW)) == [Code.TASK_REVOKED]
    assert standing(later, snapshot, NOW) == ()


def test_a_child_is_delegated_as_deep_as_policies_let_it() -> None:
    """Its ancestors are followed from the session proposed."""
    flat = Policy(name="flat", actions=("**",), resources=("**",), limits=Limits(delegation_depth=1))
    facts = chain(2)
    assert codes(standing(changed(session(9), parent="s-1"), loaded(facts, SHORT, flat), NOW)) == [
        Code.POLICY_LIMIT,
        Code.POLICY_LIMIT,
    ]
    assert standing(changed(session(9), parent="s-2"), loaded(facts, flat), NOW) == ()


def test_a_scope_beyond_what_it_rests_on_is_said_with_what_is_allowed() -> None:
    """Each fact that is narrower, actions first."""
    reader = Entitlement(
        id="reader", identity=IdentityScope(["agent"]), actions=ActionScope(["rows.read"]), resources=PRODUCTION
    )
    proposed = changed(session(0), approval="consent", actions=ActionScope(["rows.*", "rows.read", "keys.list"]))
    consent = changed(approval(ApprovalKind.STANDARD), resources=PRODUCTION)
    objections = scope_objections(proposed, loaded(with_basis(reader)), [consent])
    assert [(one.denial.code, one.denial.message, one.denial.about, one.remedy) for one in objections] == [
        (
            Code.ACTION_OUT_OF_SCOPE,
            "actions `rows.*`, `keys.list` are outside entitlement `reader`",
            "entitlement:reader",
            "ask for actions within `rows.read`",
        ),
        (
            Code.RESOURCE_OUT_OF_SCOPE,
            "resource `**` is outside approval `consent`",
            "approval:consent",
            "ask for resources within `database:prod/**`",
        ),
        (
            Code.RESOURCE_OUT_OF_SCOPE,
            "resource `**` is outside entitlement `reader`",
            "entitlement:reader",
            "ask for resources within `database:prod/**`",
        ),
    ]


def test_a_scope_lies_within_every_ancestor_and_what_that_rests_on() -> None:
    """What several of them rest on is said once."""
    narrow = changed(session(2), resources=PRODUCTION)
    reader = Entitlement(
        id="reader", identity=IdentityScope(["agent"]), actions=ActionScope(["rows.*"]), resources=ResourceScope(["**"])
    )
    objections = scope_objections(session(0, "s-1"), loaded([*chain(2), narrow, reader]))
    assert [one.denial.about for one in objections] == ["entitlement:reader", "session:s-2"]


@pytest.mark.parametrize(
    ("facts", "policies", "expected"),
    [
        ([], [], (END, "approval:consent")),
        ([], [SHORT], (Instant(50), "policy:short")),
        ([changed(approval(ApprovalKind.STANDARD), expires_at=Instant(90))], [], (Instant(90), "approval:consent")),
        ([changed(session(2), expires_at=Instant(80))], [], (Instant(80), "session:s-2")),
        ([changed(session(2), entitlement="brief")], [], (Instant(70), "entitlement:brief")),
    ],
)
def test_it_ends_with_the_first_of_all_that_it_rests_on(
    facts: list[AnyFact], policies: list[Policy], expected: tuple[Instant, str]
) -> None:
    """Whatever end it names itself; of several, the one whose name comes first."""
    brief = Entitlement(
        id="brief",
        identity=IdentityScope(["agent"]),
        actions=ActionScope(["**"]),
        resources=ResourceScope(["**"]),
        certified_until=Instant(70),
    )
    proposed = changed(session(0, "s-1"), approval="consent", not_before=Instant(10), expires_at=Instant(11))
    snapshot = loaded([*chain(2), approval(ApprovalKind.STANDARD), brief, *facts], *policies)
    assert latest_end(proposed, snapshot) == expected


def test_an_entitlement_bounds_the_whole_window() -> None:
    """From the session's beginning, not from now."""
    reader = Entitlement(
        id="reader",
        identity=IdentityScope(["agent"]),
        actions=ActionScope(["**"]),
        resources=ResourceScope(["**"]),
        max_session_ttl=Duration(15),
        certified_until=END,
    )
    proposed = changed(session(0), not_before=Instant(60))
    assert latest_end(proposed, loaded(with_basis(reader))) == (Instant(75), "entitlement:reader")


def test_what_rests_on_nothing_known_has_no_end_of_its_own() -> None:
    """It is objected to for other causes."""
    assert latest_end(session(0), loaded([])) == (NEVER, "")
