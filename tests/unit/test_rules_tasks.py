"""Tasks: opened, and ended by who answers for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from pdp.core.case import MAX_ANCESTORS
from pdp.core.model import RevocationTarget, Task, TaskState
from pdp.core.reasons import Code
from pdp.governance.commands import CancelTask, CompleteTask, OpenTask
from pdp.governance.refusal import Refused, Rule
from pdp.governance.roles import Principal, Role
from pdp.governance.rules import tasks
from pdp.governance.view import Plan, View
from tests.unit.rules_story import JOB, OPERATOR, OWNER, REQUESTER, reasons, revoked, rules, view_of, written

STRANGER = Principal(name="somebody", roles=frozenset({Role.REQUESTER}), groups=frozenset({"somewhere"}))


def completed(view: View) -> Plan | Refused:
    """Complete the job."""
    return tasks.complete(CompleteTask(task_id="job"), view)


def cancelled(view: View) -> Plan | Refused:
    """Cancel the job."""
    return tasks.cancel(CancelTask(task_id="job"), view)


def test_a_task_is_of_who_opens_it() -> None:
    """Unless somebody else is named."""
    outcome = tasks.open_task(OpenTask(id="new", parent="job"), view_of(REQUESTER))
    assert written(outcome) == [Task(id="new", owner="release-manager", parent="job")]


@pytest.mark.parametrize(
    ("actor", "owner", "expected"),
    [
        (OWNER, "payments", []),
        (OPERATOR, "treasury", []),
        (STRANGER, "payments", [Rule.NOT_YOURS]),
    ],
)
def test_a_task_is_opened_for_a_group_of_ones_own_and_by_an_operator_for_anybody(
    actor: Principal, owner: str, expected: list[Rule]
) -> None:
    """Nobody else is made to answer for work."""
    outcome = tasks.open_task(OpenTask(id="new", owner=owner), view_of(actor))
    assert ([] if isinstance(outcome, Plan) else rules(outcome)) == expected


def test_a_task_is_not_opened_over_another() -> None:
    """An ended one would be revived."""
    assert rules(tasks.open_task(OpenTask(id="job"), view_of(REQUESTER))) == [Rule.ALREADY_EXISTS]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ((), [Code.TASK_UNKNOWN]),
        ((Task(id="up", parent="gone"),), [Code.TASK_UNKNOWN]),
        ((Task(id="up", state=TaskState.COMPLETED),), [Code.TASK_ENDED]),
        ((Task(id="up", parent="job"), replace(JOB, state=TaskState.CANCELLED)), [Code.TASK_ENDED]),
        ((Task(id="up", parent="job"), revoked(RevocationTarget.TASK, "job")), [Code.TASK_REVOKED]),
        ((Task(id="up", parent="up"),), [Code.TASK_UNKNOWN]),
    ],
)
def test_a_task_is_not_opened_below_one_that_has_ended(facts: tuple[Task, ...], expected: list[Code]) -> None:
    """Itself, or by any task above it: no session of it could be live."""
    assert rules(tasks.open_task(OpenTask(id="new", parent="up"), view_of(REQUESTER, *facts))) == expected


@pytest.mark.parametrize(("above", "expected"), [(MAX_ANCESTORS, []), (MAX_ANCESTORS + 1, [Code.TASK_UNKNOWN])])
def test_tasks_are_stacked_as_high_as_a_decision_looks(above: int, expected: list[Code]) -> None:
    """And no higher."""
    stack = [
        Task(id=f"t-{number}", parent=f"t-{number + 1}" if number < above else "") for number in range(1, above + 1)
    ]
    outcome = tasks.open_task(OpenTask(id="new", parent="t-1"), view_of(REQUESTER, *stack))
    assert ([] if isinstance(outcome, Plan) else rules(outcome)) == expected


@pytest.mark.parametrize(("end", "state"), [(completed, TaskState.COMPLETED), (cancelled, TaskState.CANCELLED)])
@pytest.mark.parametrize("actor", [REQUESTER, OPERATOR, replace(STRANGER, groups=frozenset({"release-manager"}))])
def test_a_task_is_ended_by_its_owner_or_an_operator(
    end: Callable[[View], Plan | Refused], state: TaskState, actor: Principal
) -> None:
    """Also by one of the team that owns it."""
    assert written(end(view_of(actor))) == [replace(JOB, state=state)]


@pytest.mark.parametrize("end", [completed, cancelled])
def test_nobody_else_ends_a_task(end: Callable[[View], Plan | Refused]) -> None:
    """Nor one that nobody owns."""
    assert rules(end(view_of(STRANGER))) == [Rule.NOT_YOURS]
    assert rules(end(view_of(STRANGER, replace(JOB, owner="")))) == [Rule.NOT_YOURS]


@pytest.mark.parametrize("end", [completed, cancelled])
@pytest.mark.parametrize("state", [TaskState.COMPLETED, TaskState.CANCELLED])
def test_a_task_ends_once(end: Callable[[View], Plan | Refused], state: TaskState) -> None:
    """The refusal says how it ended."""
    outcome = end(view_of(REQUESTER, replace(JOB, state=state)))
    assert [(one.rule, one.message) for one in reasons(outcome)] == [
        (Rule.WRONG_STATE, f"task `job` is {state} already")
    ]


def test_an_unknown_task_is_not_ended() -> None:
    """The refusal names it."""
    outcome = tasks.complete(CompleteTask(task_id="x"), view_of(OPERATOR))
    assert [(one.rule, one.message, one.about) for one in reasons(outcome)] == [
        (Rule.NOT_FOUND, "task `x` is not known", "task:x")
    ]
