"""Delegation sheds nothing: a session is held to all that the sessions it was delegated by are held to."""

from __future__ import annotations

import pytest
from msgspec.structs import replace as changed

from pdp.core.case import MAX_ANCESTORS, Case
from pdp.core.decision import Allow
from pdp.core.dependence import keys_of
from pdp.core.model import (
    AnyFact,
    ApprovalKind,
    Attribute,
    Instant,
    Revocation,
    RevocationTarget,
    Task,
    TaskState,
)
from pdp.core.reasons import Code
from tests.unit.core_story import NOW, REQUEST, approval, chain, codes, decided, loaded, session


def test_a_chain_of_the_greatest_length_is_followed_to_its_origin() -> None:
    """Each ancestor once: the work grows with the chain, not with the power of it."""
    decision = decided(chain(MAX_ANCESTORS))
    assert isinstance(decision, Allow)
    assert len(decision.grant.ancestors) == MAX_ANCESTORS


def test_a_chain_beyond_the_greatest_length_has_ended() -> None:
    """Its origin cannot be seen, so it may not be live."""
    assert codes(decided(chain(MAX_ANCESTORS + 1))) == [Code.PARENT_SESSION_ENDED]


def test_a_revocation_far_up_a_long_chain_is_foreseen() -> None:
    """The end of an allow is found over the whole chain."""
    revoked = Revocation(
        id="r",
        target=RevocationTarget.SESSION,
        target_id=f"s-{MAX_ANCESTORS}",
        effective_at=Instant(70),
        reason="ended",
    )
    decision = decided([*chain(MAX_ANCESTORS), revoked])
    assert isinstance(decision, Allow)
    assert decision.valid_until == 70


def test_sessions_that_are_their_own_ancestors_have_ended() -> None:
    """A cycle is a denial, also where a revocation has to be foreseen in it, and has its keys."""
    revoked = Revocation(
        id="r", target=RevocationTarget.SESSION, target_id="s-1", effective_at=Instant(70), reason="ended"
    )
    facts: list[AnyFact] = [*chain(1), session(1, parent="s-0"), revoked]
    assert codes(decided(facts)) == [Code.PARENT_SESSION_ENDED]
    assert {"session:s-0", "session:s-1"} <= keys_of(Case(REQUEST, loaded(facts), NOW))


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"region": "eu"}, [Code.GRANTED]),
        ({"region": "us"}, [Code.CONTEXT_VIOLATED]),
        ({}, [Code.CONTEXT_MISSING]),
    ],
)
def test_a_constraint_of_an_ancestor_binds_what_it_delegates(
    context: dict[str, Attribute], expected: list[Code]
) -> None:
    """Also when the session itself constrains nothing."""
    facts = [*chain(2), changed(session(2), constraints={"region": ["eu"]})]
    assert codes(decided(facts, changed(REQUEST, context=context))) == expected


def test_what_is_delegated_under_an_emergency_is_told_and_kept_as_one() -> None:
    """Break-glass of an ancestor is break-glass: its own code, and durable evidence."""
    facts = [*chain(2), changed(session(2), approval="consent"), approval(ApprovalKind.BREAK_GLASS)]
    decision = decided(facts)
    assert isinstance(decision, Allow)
    assert (decision.code, decision.durable) == (Code.GRANTED_BREAK_GLASS, True)


def test_what_is_delegated_under_a_standard_approval_is_no_emergency() -> None:
    """The kind of the approval decides, not that there is one."""
    facts = [*chain(2), changed(session(2), approval="consent"), approval(ApprovalKind.STANDARD)]
    decision = decided(facts)
    assert isinstance(decision, Allow)
    assert (decision.code, decision.durable) == (Code.GRANTED, False)


def test_a_use_counts_for_every_session_of_the_chain_and_each_approval_once() -> None:
    """Or delegation would evade their limits."""
    facts: list[AnyFact] = [
        *chain(1),
        changed(session(0, "s-1"), approval="consent"),
        changed(session(1), approval="consent", max_uses=3),
        approval(ApprovalKind.STANDARD),
    ]
    decision = decided(facts)
    assert isinstance(decision, Allow)
    assert decision.used_sessions == ("s-0", "s-1")
    assert decision.used_approvals == ("consent",)
    assert decision.durable


def test_a_task_ends_with_any_task_above_it() -> None:
    """However far above."""
    tasks: list[AnyFact] = [Task(id="job", parent="t-1"), Task(id="t-1", parent="t-2"), Task(id="t-2")]
    assert codes(decided([*chain(0), *tasks])) == [Code.GRANTED]
    assert codes(decided([*chain(0), *tasks, Task(id="t-2", state=TaskState.CANCELLED)])) == [Code.TASK_ENDED]


def test_tasks_that_are_their_own_parents_are_not_known_to_go_on() -> None:
    """Nobody can say what work such a task is part of."""
    tasks: list[AnyFact] = [Task(id="job", parent="t-1"), Task(id="t-1", parent="job")]
    assert codes(decided([*chain(0), *tasks])) == [Code.TASK_UNKNOWN]


@pytest.mark.parametrize(("above", "expected"), [(MAX_ANCESTORS, Code.GRANTED), (MAX_ANCESTORS + 1, Code.TASK_UNKNOWN)])
def test_tasks_are_followed_as_far_as_sessions_are(above: int, expected: Code) -> None:
    """So many parents, and no more."""
    tasks = [Task(id=f"t-{number}", parent=f"t-{number + 1}") for number in range(1, above)]
    top: list[AnyFact] = [Task(id="job", parent="t-1"), *tasks, Task(id=f"t-{above}")]
    assert codes(decided([*chain(0), *top])) == [expected]
