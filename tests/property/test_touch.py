"""A change that shares no key with a decision cannot alter it; so a watch that is not touched tells the truth."""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from pdp.core.case import Case
from pdp.core.decide import decide
from pdp.core.decision import Allow, Decision
from pdp.core.dependence import keys_of
from pdp.core.model import KIND_OF, AnyFact, Change, Drop, Instant, Put, Request
from tests.property.core_worlds import any_fact, laws, questions
from tests.property.reference_world import World


def told(decision: Decision) -> tuple[object, ...]:
    """Return what a decision tells, but the revision it was made at."""
    if isinstance(decision, Allow):
        return decision.code, decision.grant, decision.policies, decision.valid_until, decision.durable
    return decision.reasons, decision.basis, decision.policies, decision.reconsider_at


def changes() -> st.SearchStrategy[Change]:
    """Return writes and drops of facts that worlds have."""
    return st.builds(_change, any_fact(), st.booleans())


def _change(fact: AnyFact, drop: bool) -> Change:
    return Drop(KIND_OF[type(fact)], fact.id) if drop else Put(fact)


@laws
@given(questions(), st.lists(changes(), min_size=1, max_size=2))
def test_a_change_that_touches_nothing_a_decision_depends_on_leaves_it_as_it_is(
    question: tuple[World, Request, Instant], changed: list[Change]
) -> None:
    """Outcome, reasons word for word, basis and end are the same; also of a request that names a revision to come."""
    world, request, now = question
    snapshot = world.snapshot()
    before = decide(request, snapshot, now)
    keys = keys_of(Case(request, snapshot, now))
    touched = snapshot.apply(snapshot.revision + 1, changed)
    event(f"touched: {not keys.isdisjoint(touched)}")
    if keys.isdisjoint(touched):
        assert told(decide(request, snapshot, now)) == told(before)
