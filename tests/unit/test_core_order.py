"""The same facts give the same decision, word for word, in whatever order they came."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest
from msgspec.structs import replace as changed

from pdp.core.decision import Allow, Decision, Deny
from pdp.core.model import AnyFact, Attribute, Instant, Revocation, RevocationTarget, SessionState, Signal
from pdp.core.policy.cel import Program
from pdp.core.policy.model import Condition, Policy
from pdp.core.reasons import Code
from tests.unit.core_story import NOW, REQUEST, chain, codes, decided, session

FOUND_BY_TASK = changed(REQUEST, session="", task="job")
CALM = Policy(
    name="calm",
    actions=("**",),
    resources=("**",),
    requirements=(Condition("calm", "no risk is known", Program('signals.risk == "low"')),),
)


def in_every_order(facts: Sequence[AnyFact], *policies: Policy) -> list[Decision]:
    """Return the decisions on a request by task, with the facts loaded in every order after the others."""
    return [decided([*chain(0), *order], FOUND_BY_TASK, *policies) for order in permutations(facts)]


def signal(id_: str, value: str, revision: int = 0, about: str = "agent", end: int = 100) -> Signal:
    """Return what is said about the agent's risk."""
    return Signal(id=id_, name="risk", value=value, revision=revision, about=about, expires_at=Instant(end))


def test_of_several_dead_sessions_the_last_to_end_explains_the_denial() -> None:
    """And of those that end together the one with the greatest id, not the one that came first."""
    ended, ends = Instant(40), Instant(100)
    dead: list[AnyFact] = [
        changed(session(0), expires_at=ended),
        changed(session(1), expires_at=ends, state=SessionState.CLOSED),
        changed(session(2), expires_at=ends, not_before=Instant(60)),
    ]
    assert {tuple(codes(decision)) for decision in in_every_order(dead)} == {(Code.SESSION_NOT_STARTED,)}


def test_of_several_revocations_the_one_longest_in_force_is_named() -> None:
    """By its effect, then by its id; one not yet or no longer in force is not."""
    effects = {"v-1": 30, "v-2": 20, "v-3": 20, "v-4": 60}
    revoked: list[AnyFact] = [
        Revocation(
            id=id_, target=RevocationTarget.TASK, target_id="job", effective_at=Instant(effect), reason=f"reason {id_}"
        )
        for id_, effect in effects.items()
    ]
    over = Revocation(
        id="v-0",
        target=RevocationTarget.TASK,
        target_id="job",
        effective_at=Instant(1),
        expires_at=NOW,
        reason="a mistake",
    )
    named = {decision.reasons[0].by for decision in in_every_order([*revoked, over]) if not isinstance(decision, Allow)}
    assert {one.id for one in named if one is not None} == {"v-2"}


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        ([signal("g-1", "low", revision=7), signal("g-2", "high", revision=6)], Code.GRANTED),
        ([signal("g-1", "high", revision=7), signal("g-2", "low", revision=6)], Code.CONTEXT_VIOLATED),
        ([signal("g-1", "high", revision=7, end=50), signal("g-2", "low", revision=6)], Code.GRANTED),
        ([signal("g-1", "high", revision=7), signal("g-2", "low", revision=6, about="s-0")], Code.CONTEXT_VIOLATED),
    ],
)
def test_of_several_signals_of_one_name_the_newest_live_one_counts(signals: list[Signal], expected: Code) -> None:
    """Be it about the session or about the subject: neither masks the other."""
    assert {decision_code for decision in in_every_order(signals, CALM) for decision_code in codes(decision)} == {
        expected
    }


def test_a_closed_session_does_not_shorten_what_is_allowed_beside_it() -> None:
    """Its window begins and ends without any effect."""
    closed = changed(session(1), not_before=Instant(60), expires_at=Instant(70), state=SessionState.CLOSED)
    decision = decided([*chain(0), closed], FOUND_BY_TASK)
    assert isinstance(decision, Allow)
    assert decision.valid_until == 100


@pytest.mark.parametrize(
    ("allowed", "given", "expected"),
    [
        (1, 1.0, Code.GRANTED),
        (1, True, Code.CONTEXT_VIOLATED),
        ([1], [1.0], Code.GRANTED),
        ([1], [True], Code.CONTEXT_VIOLATED),
        ([1], [1, 1], Code.CONTEXT_VIOLATED),
        ({"a": [0]}, {"a": [0]}, Code.GRANTED),
        ({"a": [0]}, {"a": [False]}, Code.CONTEXT_VIOLATED),
        ({"a": 1}, {"a": 1, "b": 1}, Code.CONTEXT_VIOLATED),
    ],
)
def test_a_constraint_compares_as_json_does(allowed: Attribute, given: Attribute, expected: Code) -> None:
    """At any depth: 1 is 1.0, but true is not 1."""
    facts = [*chain(0), changed(session(0), constraints={"x": [allowed]})]
    assert codes(decided(facts, changed(REQUEST, context={"x": given}))) == [expected]


@pytest.mark.parametrize(("source", "expected"), [('now > timestamp("1969-01-01T00:00:00Z")', True), ("true", False)])
def test_a_decision_says_whether_a_condition_reads_the_clock(source: str, expected: bool) -> None:
    """For then time may change it at an instant that is not foreseen; a deny says so too."""
    holds = Policy(name="p", actions=("**",), resources=("**",), requirements=(Condition("p", "c", Program(source)),))
    decisions = [decided(chain(0), REQUEST, holds), decided([*chain(0), session(0, "lost")], REQUEST, holds)]
    assert [type(decision) for decision in decisions] == [Allow, Deny]
    assert [decision.reads_clock for decision in decisions] == [expected, expected]
