"""Task: is the work that justifies access still going on?"""

from __future__ import annotations

from pdp.core.aspects import NO_TASK, SESSION, SUBTASK, TASK, TASK_ASKED
from pdp.core.case import MAX_ANCESTORS, Case
from pdp.core.checks.row import Row
from pdp.core.model import TaskState
from pdp.core.reasons import Code, Denial
from pdp.core.snapshot import in_force

_OPEN = TaskState.OPEN


def unknown(case: Case) -> Denial | None:
    """The session's task is not known."""
    id_ = case.session.task
    return Denial(Code.TASK_UNKNOWN, f"task `{id_}` is not known", f"task:{id_}")


def parent_unknown(case: Case) -> Denial | None:
    """A parent task is not known, or too far away."""
    last = case.tasks[-1]
    if not last.parent:
        return None
    message = f"parent task `{last.parent}` of task `{last.id}` is not known, or over {MAX_ANCESTORS} tasks away"
    return Denial(Code.TASK_UNKNOWN, message, f"task:{last.parent}")


def mismatch(case: Case) -> Denial | None:
    """The request names another task than its session is for."""
    session = case.session
    if case.asked_task == session.task:
        return None
    message = f"session `{session.id}` is for task `{session.task}`, not `{case.asked_task}`"
    return Denial(Code.TASK_MISMATCH, message, f"session:{session.id}")


def revoked(case: Case) -> Denial | None:
    """The task is revoked; also when it is not known."""
    id_ = case.session.task
    return _revoked(case, id_) if id_ in case.snapshot.revoked_tasks else None


def parent_revoked(case: Case) -> Denial | None:
    """A parent task is revoked; also when it is not known."""
    for task in case.tasks:
        denial = _revoked(case, task.parent)
        if denial is not None:
            return denial
    return None


def ended(case: Case) -> Denial | None:
    """The task or a parent task is completed or cancelled."""
    for task in case.tasks:
        if task.state is not _OPEN:
            return Denial(Code.TASK_ENDED, f"task `{task.id}` is {task.state}", f"task:{task.id}")
    return None


def _revoked(case: Case, id_: str) -> Denial | None:
    revocations = case.snapshot.revoked_tasks.get(id_)
    revocation = None if revocations is None else in_force(revocations, case.now)
    if revocation is None:
        return None
    return Denial(Code.TASK_REVOKED, f"task `{id_}` is revoked: {revocation.reason}", f"task:{id_}", revocation)


ROWS = (
    Row(Code.TASK_UNKNOWN, SESSION | NO_TASK, unknown, "open the task"),
    Row(Code.TASK_UNKNOWN, TASK | SUBTASK, parent_unknown, "open the parent task"),
    Row(Code.TASK_MISMATCH, SESSION | TASK_ASKED, mismatch, "use a session of the task named"),
    Row(Code.TASK_REVOKED, SESSION, revoked, "open a new task"),
    Row(Code.TASK_REVOKED, TASK | SUBTASK, parent_revoked, "open a new task"),
    Row(Code.TASK_ENDED, TASK, ended, "open a new task, and a session for it"),
)
