"""Task: is the work that justifies access still going on?"""

from __future__ import annotations

from collections.abc import Iterator

from pdp.core.case import SESSION, TASK, Case
from pdp.core.checks.row import Row
from pdp.core.model import RevocationTarget, Task, TaskState
from pdp.core.reasons import Code, Denial

_TASK, _OPEN = RevocationTarget.TASK, TaskState.OPEN

MAX_PARENT_TASKS = 32
"""Longest chain of parent tasks that is followed."""


def unknown(case: Case) -> Denial | None:
    """The session's task, or a parent task of it, is not known."""
    session = case.session
    if session is None:
        return None
    if case.task is None:
        return Denial(Code.TASK_UNKNOWN, f"task `{session.task}` is not known", f"task:{session.task}")
    for task in lineage(case):
        if task.parent and task.parent not in case.snapshot.tasks:
            message = f"parent task `{task.parent}` of task `{task.id}` is not known"
            return Denial(Code.TASK_UNKNOWN, message, f"task:{task.parent}")
    return None


def mismatch(case: Case) -> Denial | None:
    """The request names another task than its session is for."""
    session = case.session
    if session is not None and case.asked_task and case.asked_task != session.task:
        message = f"session `{session.id}` is for task `{session.task}`, not `{case.asked_task}`"
        return Denial(Code.TASK_MISMATCH, message, f"session:{session.id}")
    return None


def revoked(case: Case) -> Denial | None:
    """The task or a parent task is revoked; also when it is not known."""
    session = case.session
    if session is None:
        return None
    for id_ in (session.task, *(task.parent for task in lineage(case) if task.parent)):
        revocation = case.snapshot.revocation(_TASK, id_, case.now)
        if revocation is not None:
            return Denial(Code.TASK_REVOKED, f"task `{id_}` is revoked: {revocation.reason}", f"task:{id_}", revocation)
    return None


def ended(case: Case) -> Denial | None:
    """The task or a parent task is completed or cancelled."""
    for task in lineage(case):
        if task.state is not _OPEN:
            return Denial(Code.TASK_ENDED, f"task `{task.id}` is {task.state}", f"task:{task.id}")
    return None


def lineage(case: Case) -> Iterator[Task]:
    """Yield the task and the parent tasks that are known, nearest first."""
    task, tasks = case.task, case.snapshot.tasks
    for _ in range(MAX_PARENT_TASKS):
        if task is None:
            return
        yield task
        if not task.parent:
            return
        task = tasks.get(task.parent)


ROWS = (
    Row(Code.TASK_UNKNOWN, SESSION, unknown, "open the task"),
    Row(Code.TASK_MISMATCH, SESSION, mismatch, "use a session of the task named"),
    Row(Code.TASK_REVOKED, SESSION, revoked, "open a new task"),
    Row(Code.TASK_ENDED, TASK, ended, "open a new task, and a session for it"),
)
