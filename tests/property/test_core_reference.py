"""The fast decider agrees with the plain one, in its answer, its reasons and its end."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import event, given

from pdp.core.case import Case
from pdp.core.decide import decide
from pdp.core.decision import Allow, Decision
from pdp.core.horizon import end_of_allow, next_edge
from pdp.core.model import Instant, Request
from pdp.core.reasons import Code
from tests.property.core_worlds import LAST, MILD, laws, questions
from tests.property.reference_decider import Reference
from tests.property.reference_world import World

_FOREVER = 2 * LAST + 20
"""By then every window has ended, every age limit and idle timeout has passed."""


def codes_of(decision: Decision) -> tuple[Code, ...]:
    """Return each code of a decision once, in the order given."""
    if isinstance(decision, Allow):
        return (decision.code,)
    return tuple(dict.fromkeys(denial.code for denial in decision.reasons))


def first_change(world: World, request: Request, now: Instant) -> Instant | None:
    """Return when time alone changes the reference's answer or reasons, or None."""
    codes = Reference(world, now).codes(request)
    later = (Instant(instant) for instant in range(now + 1, _FOREVER))
    return next((instant for instant in later if Reference(world, instant).codes(request) != codes), None)


def used(world: World, decision: Allow) -> World:
    """Return the world in which the allow's sessions were used at its instant; the count is not the law's matter."""
    uses = dict(world.session_uses)
    for id_ in decision.used_sessions:
        uses[id_] = (uses.get(id_, (0, decision.evaluated_at))[0], decision.evaluated_at)
    return replace(world, session_uses=uses)


@laws
@given(questions())
def test_the_decider_agrees_with_the_reference(question: tuple[World, Request, Instant]) -> None:
    """Outcome and codes are those of the design, followed step by step."""
    world, request, now = question
    expected = Reference(world, now).codes(request)
    event(expected[0])
    decision = decide(request, world.snapshot(), now)
    assert codes_of(decision) == expected
    assert isinstance(decision, Allow) == (expected[0] in (Code.GRANTED, Code.GRANTED_BREAK_GLASS))


@laws
@given(questions(MILD))
def test_an_allow_holds_until_its_end_and_changes_there(question: tuple[World, Request, Instant]) -> None:
    """With nothing written, an allow is the same at every instant before `valid_until` and another at it.

    A signal's end is foreseen, but need not change what the conditions that read it come to.
    """
    world, request, now = question
    decision = decide(request, world.snapshot(), now, used=False)
    if not isinstance(decision, Allow):
        return
    change = first_change(world, request, now)
    assert change is not None
    assert decision.valid_until <= change
    assert decision.valid_until == change or reads_signals(world)


@laws
@given(questions(MILD))
def test_an_allow_that_counts_as_a_use_rests_on_that_use(question: tuple[World, Request, Instant]) -> None:
    """`valid_until` of an allow that is a use is that of the world after it: idle timeouts start anew."""
    world, request, now = question
    decision = decide(request, world.snapshot(), now)
    if not isinstance(decision, Allow):
        return
    change = first_change(used(world, decision), request, now)
    assert change is not None
    assert decision.valid_until <= change
    assert decision.valid_until == change or reads_signals(world)


@laws
@given(questions())
def test_a_denial_stays_as_it_is_until_it_may_be_reconsidered(question: tuple[World, Request, Instant]) -> None:
    """With nothing written, neither outcome nor codes of a deny change before `reconsider_at`, or ever without one."""
    world, request, now = question
    decision = decide(request, world.snapshot(), now)
    if isinstance(decision, Allow):
        return
    change = first_change(world, request, now)
    assert change is None or (decision.reconsider_at is not None and decision.reconsider_at <= change)


@laws
@given(questions(MILD))
def test_the_quick_end_of_an_allow_is_the_searched_one(question: tuple[World, Request, Instant]) -> None:
    """`end_of_allow` takes a short cut for the usual allow; it never differs from `next_edge`."""
    world, request, now = question
    case = Case(request, world.snapshot(), now)
    if not isinstance(decide(request, case.snapshot, now), Allow):
        return
    for used_now in (True, False):
        assert end_of_allow(case, used=used_now) == next_edge(case, used=used_now)


def reads_signals(world: World) -> bool:
    """Whether a condition of the world reads signals."""
    conditions = (one for policy in world.policies for one in (*policy.requirements, *policy.denials))
    return any("signals" in one.program.roots for one in conditions)
