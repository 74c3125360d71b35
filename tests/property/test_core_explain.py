"""An explanation is the decision, row by row; and no row touches what it does not need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pdp.core.aspects import APPROVAL, CREDENTIAL, ENTITLEMENT, IDENTITY, SESSION, TASK
from pdp.core.case import Case
from pdp.core.checks.table import TABLE
from pdp.core.decide import decide
from pdp.core.decision import Allow
from pdp.core.explain import Verdict, explain
from pdp.core.model import Instant, Request
from tests.property.core_worlds import laws, questions
from tests.property.reference_world import World

_Question = tuple[World, Request, Instant]
_FACTS = {
    "identity": IDENTITY,
    "session": SESSION,
    "task": TASK,
    "entitlement": ENTITLEMENT,
    "approval": APPROVAL,
    "credential": CREDENTIAL,
}


def sparse(question: _Question, kept: Sequence[bool]) -> _Question:
    """Return a question whose world lacks many a fact."""
    world, request, now = question
    facts = tuple(fact for fact, keep in zip(world.facts, kept, strict=False) if keep)
    return replace(world, facts=facts), request, now


def sparse_questions() -> st.SearchStrategy[_Question]:
    """Return questions about worlds with any facts, or nearly none."""
    return st.builds(sparse, questions(), st.lists(st.booleans(), max_size=24)) | questions()


@laws
@given(sparse_questions())
def test_the_failed_rows_are_the_reasons_of_the_denial(question: _Question) -> None:
    """The same denials in the same order, none left out and none added."""
    world, request, now = question
    snapshot = world.snapshot()
    decision, rows = explain(request, snapshot, now)
    failed = tuple(row.denial for row in rows if row.verdict is Verdict.FAILED)
    assert decision == decide(request, snapshot, now, used=False)
    assert failed == (() if isinstance(decision, Allow) else decision.reasons)
    assert [row.code for row in rows] == [row.code for row in TABLE]


@laws
@given(sparse_questions())
def test_a_verdict_fits_what_it_comes_with(question: _Question) -> None:
    """A failed row has its denial, with its own code, and a remedy; no other row has either."""
    world, request, now = question
    for row in explain(request, world.snapshot(), now)[1]:
        failed = row.verdict is Verdict.FAILED
        assert (row.denial is not None, bool(row.remedy)) == (failed, failed)
        assert row.denial is None or row.denial.code is row.code


@laws
@given(sparse_questions())
def test_a_row_about_a_session_is_not_reached_without_one(question: _Question) -> None:
    """Nor one about its task, its entitlement or its approval: nothing passes that was not looked at."""
    world, request, now = question
    snapshot = world.snapshot()
    if not Case(request, snapshot, now).aspects & SESSION:
        rows = zip(TABLE, explain(request, snapshot, now)[1], strict=True)
        about = {told.verdict for row, told in rows if row.needs & (SESSION | TASK | ENTITLEMENT | APPROVAL)}
        assert about == {Verdict.NOT_REACHED}


@laws
@given(questions())
def test_a_row_touches_only_the_facts_it_needs(question: _Question) -> None:
    """With every fact taken away that a row does not need, it still gives a verdict."""
    world, request, now = question
    snapshot = world.snapshot()
    aspects = Case(request, snapshot, now).aspects
    for row in TABLE:
        if aspects & row.needs == row.needs:
            denial = row.check(bare(Case(request, snapshot, now), row.needs))
            assert denial is None or denial.code is row.code


def bare(case: Case, needs: int) -> Case:
    """Take every fact from a case that is not needed."""
    for name, aspect in _FACTS.items():
        if not needs & aspect:
            setattr(case, name, None)
            case.aspects &= ~aspect
    return case
