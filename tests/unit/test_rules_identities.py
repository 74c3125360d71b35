"""Identities: registered with an owner, taken over, held back, and retired for good."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pdp.core.model import (
    AnyFact,
    ApprovalState,
    Drop,
    FactKind,
    Identity,
    IdentityKind,
    IdentityState,
    Instant,
    Revocation,
    RevocationTarget,
    SessionState,
)
from pdp.core.reasons import Code
from pdp.governance.commands import (
    ChangeOwner,
    RegisterIdentity,
    ReinstateIdentity,
    RetireIdentity,
    SuspendIdentity,
)
from pdp.governance.refusal import Rule
from pdp.governance.rules import identities
from pdp.governance.view import Plan
from tests.unit.rules_story import (
    AGENT,
    ASKED,
    FAMILY,
    HOUR,
    NOW,
    OPENED,
    OPERATOR,
    reasons,
    revoked,
    rules,
    view_of,
    written,
)

LEFT = revoked(RevocationTarget.OWNER, "payments")
SUSPENDED, RETIRED = replace(AGENT, state=IdentityState.SUSPENDED), replace(AGENT, state=IdentityState.RETIRED)
ROBOT = RegisterIdentity(id="robot", kind=IdentityKind.WORKLOAD, owner="payments", labels={"tier": "1"})


def test_an_identity_is_registered_active() -> None:
    """With what was said of it."""
    expected = Identity(id="robot", kind=IdentityKind.WORKLOAD, owner="payments", labels={"tier": "1"})
    assert written(identities.register(ROBOT, view_of(OPERATOR))) == [expected]


def test_what_is_registered_must_still_be_unknown_when_it_is_written() -> None:
    """Two who register the same identity do not overwrite each other."""
    outcome = identities.register(ROBOT, view_of(OPERATOR))
    assert isinstance(outcome, Plan)
    assert outcome.expected == {(FactKind.IDENTITY, "robot"): 0}


def test_an_identity_is_not_registered_over_another() -> None:
    """Nor may its owner have left; both are said at once."""
    outcome = identities.register(replace(ROBOT, id="agent"), view_of(OPERATOR, LEFT))
    assert rules(outcome) == [Rule.ALREADY_EXISTS, Code.IDENTITY_UNOWNED]


def test_somebody_else_takes_an_identity_over() -> None:
    """Also one whose owner has left."""
    command = ChangeOwner(identity_id="agent", owner="treasury")
    assert written(identities.change_owner(command, view_of(OPERATOR, LEFT))) == [replace(AGENT, owner="treasury")]


@pytest.mark.parametrize(
    ("command", "fact", "expected"),
    [
        (ChangeOwner(identity_id="nobody", owner="treasury"), AGENT, Rule.NOT_FOUND),
        (ChangeOwner(identity_id="agent", owner="payments"), AGENT, Rule.ALREADY_EXISTS),
        (ChangeOwner(identity_id="agent", owner="treasury"), RETIRED, Rule.WRONG_STATE),
        (
            ChangeOwner(identity_id="agent", owner="gone"),
            revoked(RevocationTarget.OWNER, "gone"),
            Code.IDENTITY_UNOWNED,
        ),
    ],
)
def test_nobody_takes_over_what_is_not_to_be_had(
    command: ChangeOwner, fact: Identity | Revocation, expected: Rule
) -> None:
    """Each refusal says which rule."""
    assert rules(identities.change_owner(command, view_of(OPERATOR, fact))) == [expected]


def test_an_identity_is_suspended_and_reinstated() -> None:
    """There and back."""
    assert written(identities.suspend(SuspendIdentity(identity_id="agent"), view_of(OPERATOR))) == [SUSPENDED]
    assert written(identities.reinstate(ReinstateIdentity(identity_id="agent"), view_of(OPERATOR, SUSPENDED))) == [
        AGENT
    ]


@pytest.mark.parametrize("state", [IdentityState.SUSPENDED, IdentityState.RETIRED])
def test_only_an_active_identity_is_suspended(state: IdentityState) -> None:
    """And the refusal says which state it is in."""
    outcome = identities.suspend(SuspendIdentity(identity_id="agent"), view_of(OPERATOR, replace(AGENT, state=state)))
    assert [(one.rule, one.message) for one in reasons(outcome)] == [
        (Rule.WRONG_STATE, f"identity `agent` is {state} already")
    ]


@pytest.mark.parametrize("state", [IdentityState.ACTIVE, IdentityState.RETIRED])
def test_only_a_suspended_identity_is_reinstated(state: IdentityState) -> None:
    """Retired is for good."""
    command = ReinstateIdentity(identity_id="agent")
    assert rules(identities.reinstate(command, view_of(OPERATOR, replace(AGENT, state=state)))) == [Rule.WRONG_STATE]


def test_who_is_not_known_is_neither_suspended_nor_reinstated_nor_retired() -> None:
    """The refusal names the identity."""
    view = view_of(OPERATOR)
    assert rules(identities.suspend(SuspendIdentity(identity_id="x"), view)) == [Rule.NOT_FOUND]
    assert rules(identities.reinstate(ReinstateIdentity(identity_id="x"), view)) == [Rule.NOT_FOUND]
    assert rules(identities.retire(RetireIdentity(identity_id="x"), view)) == [Rule.NOT_FOUND]


def test_retiring_leaves_nothing_to_act_by() -> None:
    """Its open sessions, what it asked for and was given, its credentials; its own fact first."""
    own = replace(ASKED, id="a-own", state=ApprovalState.APPROVED)
    by_it = replace(ASKED, id="a-by", identity="other", requested_by="agent")
    others = replace(ASKED, id="a-others", identity="other")
    view = view_of(OPERATOR, OPENED, replace(OPENED, id="s-2", identity="other"), own, by_it, others)

    facts = written(identities.retire(RetireIdentity(identity_id="agent", credentials=("c-1", "c-1")), view))

    assert facts == [
        RETIRED,
        replace(OPENED, state=SessionState.CLOSED),
        replace(by_it, state=ApprovalState.WITHDRAWN),
        replace(own, state=ApprovalState.WITHDRAWN),
        Revocation(
            id="agent/credential/c-1",
            target=RevocationTarget.CREDENTIAL,
            target_id="c-1",
            effective_at=NOW,
            reason="for the test",
            source="identity:agent",
            revoked_by="platform-operator",
        ),
    ]


def test_retiring_leaves_as_it_is_what_has_ended() -> None:
    """By state or by time: what it ended by stays on record."""
    past = Instant(NOW - HOUR)
    over: list[AnyFact] = [
        replace(OPENED, id="s-closed", state=SessionState.CLOSED),
        replace(OPENED, id="s-expired", not_before=Instant(0), expires_at=NOW),
        replace(ASKED, id="a-rejected", state=ApprovalState.REJECTED),
        replace(ASKED, id="a-expired", state=ApprovalState.APPROVED, not_before=Instant(0), expires_at=past),
    ]
    view = view_of(OPERATOR, *over)
    assert written(identities.retire(RetireIdentity(identity_id="agent"), view)) == [RETIRED]


def test_a_retired_identity_is_not_retired_again() -> None:
    """It is for good."""
    assert rules(identities.retire(RetireIdentity(identity_id="agent"), view_of(OPERATOR, RETIRED))) == [
        Rule.WRONG_STATE
    ]


def test_a_family_retires_with_all_that_it_stands_for() -> None:
    """But not those with a record of their own, or of a closer family."""
    apart = replace(FAMILY, id="ci/apart")
    closer = replace(FAMILY, id="ci/release/*")
    subjects = ("ci/1", "ci/apart", "ci/release/1", "agent")
    sessions = [replace(OPENED, id=f"s {subject}", identity=subject) for subject in subjects]
    approvals = [replace(ASKED, id=f"a {subject}", identity=subject) for subject in (*subjects, "")]

    outcome = identities.retire(
        RetireIdentity(identity_id="ci/**"), view_of(OPERATOR, apart, closer, *sessions, *approvals)
    )

    assert [fact.id for fact in written(outcome)] == ["ci/**", "s ci/1", "a ci/1"]


def test_retiring_rests_on_all_that_it_writes() -> None:
    """A session that is narrowed meanwhile is not written over."""
    outcome = identities.retire(RetireIdentity(identity_id="agent"), view_of(OPERATOR, OPENED, ASKED))
    assert isinstance(outcome, Plan)
    assert {
        (FactKind.IDENTITY, "agent"): AGENT.revision,
        (FactKind.SESSION, "s-1"): OPENED.revision,
        (FactKind.APPROVAL, "consent"): ASKED.revision,
    }.items() <= outcome.expected.items()


def test_retiring_lifts_no_revocation_by_writing_over_it() -> None:
    """The id of a credential's revocation may be that of another target's."""
    other = replace(LEFT, id="agent/credential/c-1")
    command = RetireIdentity(identity_id="agent", credentials=("c-1",))
    assert rules(identities.retire(command, view_of(OPERATOR, other))) == [Rule.ALREADY_EXISTS]


def test_retiring_drops_nothing() -> None:
    """What has been stays on record."""
    outcome = identities.retire(RetireIdentity(identity_id="agent"), view_of(OPERATOR, OPENED, ASKED))
    assert isinstance(outcome, Plan)
    assert not any(isinstance(change, Drop) for change in outcome.changes)


def test_identities_that_nobody_answers_for_are_listed_by_id() -> None:
    """Without an owner, or whose owner is revoked now; the retired need none."""
    orphan = replace(AGENT, id="a-orphan", owner="")
    retired = replace(orphan, id="a-retired", state=IdentityState.RETIRED)
    later = replace(revoked(RevocationTarget.OWNER, "build-team"), effective_at=Instant(NOW + 1))
    snapshot = view_of(OPERATOR, LEFT, orphan, retired, later).snapshot
    assert identities.unowned(snapshot, NOW, 9) == [orphan, AGENT]
    assert identities.unowned(snapshot, NOW, 1) == [orphan]


def test_many_sessions_are_closed_bit_by_bit() -> None:
    """Others are to be answered in between; once nothing is left, there is nothing to do."""
    many = [replace(OPENED, id=f"s-{number:04}") for number in range(1100)]
    command = RetireIdentity(identity_id="agent")
    first = identities.retire(command, view_of(OPERATOR, *many))
    gone = replace(AGENT, state=IdentityState.RETIRED)
    second = identities.retire(command, view_of(OPERATOR, gone, *many[1000:]))
    assert isinstance(first, Plan)
    assert isinstance(second, Plan)
    assert (len(first.changes), len(second.changes)) == (1 + 1000, 100)
    assert rules(identities.retire(command, view_of(OPERATOR, gone))) == [Rule.WRONG_STATE]
