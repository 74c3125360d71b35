"""Tasks: the pieces of work that justify access. The end of a task ends its sessions and those of its sub-tasks."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from pdp.core.case import MAX_ANCESTORS
from pdp.core.model import FactKind, Put, Task, TaskState
from pdp.core.reasons import Code
from pdp.core.snapshot import in_force
from pdp.governance.commands import CancelTask, CompleteTask, OpenTask
from pdp.governance.refusal import Refusal, Refused, Rule, refused
from pdp.governance.roles import Role
from pdp.governance.rules.preconditions import against_taken, in_state, unknown
from pdp.governance.view import Plan, View

_OPEN_ANOTHER = "open a new task"


def open_task(command: OpenTask, view: View) -> Plan | Refused:
    """Begin a piece of work, of one's own or, as an operator, of somebody else."""
    owner = command.owner or view.actor.name
    against = (
        *against_taken(view.task(command.id)),
        *_against_owner(owner, view),
        *_against_parent(command.parent, view),
    )
    if against:
        return Refused(against)
    return view.plan(Put(Task(id=command.id, owner=owner, parent=command.parent)))


def complete(command: CompleteTask, view: View) -> Plan | Refused:
    """End a task that is done."""
    return _end(command.task_id, TaskState.COMPLETED, view)


def cancel(command: CancelTask, view: View) -> Plan | Refused:
    """End a task that will not be done."""
    return _end(command.task_id, TaskState.CANCELLED, view)


def _end(id_: str, state: TaskState, view: View) -> Plan | Refused:
    task = view.task(id_)
    if task is None:
        return unknown(FactKind.TASK, id_)
    if not _answers_for(task.owner, view):
        message = f"task `{id_}` is not `{view.actor.name}`'s"
        return refused(Rule.NOT_YOURS, message, "have its owner or an operator end it", f"task:{id_}")
    if task.state is not TaskState.OPEN:
        return in_state(task, _OPEN_ANOTHER)
    return view.plan(Put(replace(task, state=state)))


def _answers_for(owner: str, view: View) -> bool:
    return Role.OPERATOR in view.actor.roles or view.actor.is_or_belongs_to(owner)


def _against_owner(owner: str, view: View) -> Iterator[Refusal]:
    if not _answers_for(owner, view):
        message = f"`{view.actor.name}` may not open a task for `{owner}`"
        remedy = "open it for yourself or a group of yours, or have an operator open it"
        yield Refusal(Rule.NOT_YOURS, message, remedy, f"owner:{owner}")


def _against_parent(id_: str, view: View) -> Iterator[Refusal]:
    """Refuse a parent that has ended, itself or by a task above it: no session of the new task could be live."""
    above = 0
    while id_:
        task, above = view.task(id_), above + 1
        if task is None or above > MAX_ANCESTORS:
            message = f"parent task `{id_}` is not known, or over {MAX_ANCESTORS} tasks away"
            yield Refusal(Code.TASK_UNKNOWN, message, "open the parent task", f"task:{id_}")
            return
        revocation = in_force(view.snapshot.revoked_tasks.get(id_, ()), view.now)
        if revocation is not None:
            message = f"parent task `{id_}` is revoked: {revocation.reason}"
            yield Refusal(Code.TASK_REVOKED, message, _OPEN_ANOTHER, f"task:{id_}")
        if task.state is not TaskState.OPEN:
            message = f"parent task `{id_}` is {task.state}"
            yield Refusal(Code.TASK_ENDED, message, _OPEN_ANOTHER, f"task:{id_}")
        id_ = task.parent
