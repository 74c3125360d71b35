"""What a session rests on, noted, so that a session is opened or prolonged only on facts that are still so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pdp.core.case import MAX_ANCESTORS
from pdp.core.model import AnyFact, Session, Task
from pdp.core.reasons import Code
from pdp.core.standing import Objection, scope_objections, standing
from pdp.governance.refusal import Refusal
from pdp.governance.view import View

_PRECEDENCE = {code: place for place, code in enumerate(Code)}


def against_standing(session: Session, view: View) -> Iterator[Refusal]:
    """Refuse a session under which nothing would be allowed now, or when it begins, for whatever cause."""
    _note(session, view)
    yield from refusals(standing(session, view.snapshot, view.now))


def against_proposal(session: Session, view: View, also: Iterable[AnyFact] = ()) -> Iterator[Refusal]:
    """Refuse a new session under which nothing, or not all of its scope, would be allowed.

    `also`: facts that would be written together with it.
    """
    _note(session, view)
    facts = tuple(also)
    objections = standing(session, view.snapshot, view.now, facts)
    yield from refusals((*objections, *scope_objections(session, view.snapshot, facts)))


def refusals(objections: Iterable[Objection]) -> Iterator[Refusal]:
    """Yield objections as refusals, in the precedence of their codes."""
    for one in sorted(objections, key=lambda one: _PRECEDENCE[one.denial.code]):
        yield Refusal(one.denial.code, one.denial.message, one.remedy, one.denial.about)


def _note(session: Session, view: View) -> None:
    for one in _chain(session, view):
        view.identity_of(one.identity)
        view.entitlement(one.entitlement)
        if one.approval:
            view.approval(one.approval)
        tuple(lineage(one.task, view))


def _chain(session: Session, view: View) -> Iterator[Session]:
    """Yield the session and those it was delegated by, as far as a decision follows them."""
    yield session
    for _ in range(MAX_ANCESTORS):
        parent = view.session(session.parent) if session.parent else None
        if parent is None:
            return
        yield parent
        session = parent


def lineage(task: str, view: View) -> Iterator[Task]:
    """Yield a task and its parent tasks, as far as a decision follows them and they are known; nearest first."""
    for _ in range(MAX_ANCESTORS + 1):
        known = view.task(task) if task else None
        if known is None:
            return
        yield known
        task = known.parent
