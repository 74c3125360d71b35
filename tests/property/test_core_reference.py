"""The fast decider agrees with the plain one, in its answer, its reasons and its end."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import event, example, given

from pdp.core.decide import decide
from pdp.core.decision import Allow, Decision
from pdp.core.model import Instant, Request
from pdp.core.reasons import Code
from tests.property.core_worlds import LAST, laws, questions
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
        count, last = uses.get(id_, (0, decision.evaluated_at))
        uses[id_] = (count, max(last, decision.evaluated_at))
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
