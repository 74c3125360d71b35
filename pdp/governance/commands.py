"""The lifecycle commands: `command, facts, now -> changes | refusal`.

Pure: they return what is to be written; `desk` writes it. Each says which revisions of which facts it was decided
on, so that a change made meanwhile is noticed at the commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from pdp.core.model import (
    KIND_OF,
    AnyFact,
    Change,
    FactKind,
    Instant,
    Put,
    Revision,
    Revocation,
    RevocationTarget,
    Session,
    SessionState,
    Task,
    TaskState,
)

Ref: TypeAlias = tuple[FactKind, str]


_FINAL: Mapping[type[AnyFact], frozenset[str]] = {
    Task: frozenset({TaskState.COMPLETED, TaskState.CANCELLED}),
    Session: frozenset({SessionState.CLOSED}),
}
"""The states that a fact does not leave: what they ended, an import must not bring back."""


class Plan(Struct, frozen=True):
    """What a command wants written, and the revisions it was decided on."""

    changes: tuple[Change, ...]
    expected: Mapping[Ref, Revision]


class Refusal(Struct, frozen=True):
    """Why a command cannot be carried out, and what would satisfy it."""

    unknown: bool
    """Whether the fact named does not exist."""
    message: str


def revoke(
    id_: str,
    target: RevocationTarget,
    target_id: str,
    reason: str,
    now: Instant,
    *,
    effective_at: Instant | None = None,
    expires_at: Instant | None = None,
    source: str = "",
) -> Plan:
    """Revoke a target, known or not, from now or from a later instant on."""
    revocation = Revocation(
        id=id_,
        target=target,
        target_id=target_id,
        reason=reason,
        effective_at=now if effective_at is None else effective_at,
        expires_at=expires_at,
        source=source,
    )
    return Plan((Put(revocation),), {(FactKind.REVOCATION, id_): 0})


def revived(fact: AnyFact, known: AnyFact | None) -> str:
    """Return why a fact may not be written over the one that is known; empty if it may.

    What has ended stays ended, also when a file that still has it open is imported once more; and a revocation is not
    lifted by writing another one over it.
    """
    if isinstance(fact, Revocation) and isinstance(known, Revocation) and _names(fact) != _names(known):
        return f"revocation `{fact.id}` is of {known.target} `{known.target_id}`; another target needs an id of its own"
    final = _FINAL.get(type(fact), frozenset())
    if type(known) is not type(fact) or getattr(known, "state", "") not in final:
        return ""
    before, after = getattr(known, "state", ""), getattr(fact, "state", "")
    if before == after:
        return ""
    return f"{KIND_OF[type(fact)]} `{fact.id}` is {before}, which is final; it cannot become {after} again"


def _names(revocation: Revocation) -> tuple[RevocationTarget, str]:
    return revocation.target, revocation.target_id


def complete_task(task: AnyFact | None, id_: str) -> Plan | Refusal:
    """Complete an open task; its sessions, and those of its sub-tasks, end with it."""
    if not isinstance(task, Task):
        return Refusal(unknown=True, message=f"task `{id_}` is not known")
    if task.state is not TaskState.OPEN:
        return Refusal(unknown=False, message=f"task `{id_}` is {task.state} already")
    return Plan((Put(replace(task, state=TaskState.COMPLETED)),), {(FactKind.TASK, id_): task.revision})


def close_session(session: AnyFact | None, id_: str) -> Plan | Refusal:
    """Close an open session; those delegated from it end with it."""
    if not isinstance(session, Session):
        return Refusal(unknown=True, message=f"session `{id_}` is not known")
    if session.state is not SessionState.OPEN:
        return Refusal(unknown=False, message=f"session `{id_}` is {session.state} already")
    return Plan((Put(replace(session, state=SessionState.CLOSED)),), {(FactKind.SESSION, id_): session.revision})
