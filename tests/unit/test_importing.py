"""An import writes facts as they are, but for those that must stay, and only over the facts it was judged against."""

from __future__ import annotations

from msgspec.structs import replace

from pdp.core.model import AnyFact, Drop, FactKind, Instant, Put, Revocation, RevocationTarget, Task, TaskState
from pdp.governance.importing import imported
from pdp.governance.refusal import Refused, Rule
from pdp.governance.view import Plan

TASK = Task(id="t", revision=7)
REVOCATION = Revocation(
    id="r", target=RevocationTarget.TASK, target_id="t", effective_at=Instant(1), reason="stolen", revision=8
)


def known(*facts: AnyFact) -> dict[tuple[FactKind, str], AnyFact]:
    """Return these facts by kind and id."""
    kinds = {Task: FactKind.TASK, Revocation: FactKind.REVOCATION}
    return {(kinds[type(fact)], fact.id): fact for fact in facts}


def test_what_is_written_over_must_still_be_as_it_was_judged() -> None:
    """Also that there was none: else a task that was made and completed meanwhile would be revived."""
    facts = known(TASK, REVOCATION)
    changes = [Put(replace(TASK, owner="team-a")), Put(Task(id="new")), Drop(FactKind.TASK, "t")]
    expected = Plan(tuple(changes), {(FactKind.TASK, "t"): 7, (FactKind.TASK, "new"): 0})
    assert imported(changes, lambda kind, id_: facts.get((kind, id_))) == expected


def test_every_fact_that_must_stay_is_named() -> None:
    """All at once, with what would satisfy the rule."""
    facts = known(replace(TASK, state=TaskState.COMPLETED), REVOCATION)
    changes = [Put(TASK), Drop(FactKind.REVOCATION, "r"), Put(Task(id="new"))]
    outcome = imported(changes, lambda kind, id_: facts.get((kind, id_)))
    assert isinstance(outcome, Refused)
    assert [(one.rule, one.about) for one in outcome.reasons] == [
        (Rule.WRONG_STATE, "task:t"),
        (Rule.WRONG_STATE, "revocation:r"),
    ]
    assert all(one.remedy for one in outcome.reasons)
