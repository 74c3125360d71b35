"""What an import may not undo: facts are written as they are, but what has ended is not revived that way.

Rule 1: a fact does not leave a final state, also when a file that still has it open is imported once more.
Rule 2: a revocation is lifted by the command that says so, with a reason and by somebody else; neither by writing
another one over it nor by removing it. An emergency that nobody has reviewed does not get out of its review either way.
"""

from __future__ import annotations

from collections.abc import Mapping

from pdp.core.lawful import LAST_INSTANT
from pdp.core.model import (
    KIND_OF,
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Identity,
    IdentityState,
    Revocation,
    RevocationTarget,
    Session,
    SessionState,
    Task,
    TaskState,
)

_FINAL: Mapping[type[AnyFact], frozenset[str]] = {
    Task: frozenset({TaskState.COMPLETED, TaskState.CANCELLED}),
    Session: frozenset({SessionState.CLOSED}),
    Identity: frozenset({IdentityState.RETIRED}),
    Approval: frozenset({ApprovalState.REJECTED, ApprovalState.WITHDRAWN}),
}
"""The states that a fact does not leave: what they ended, an import must not bring back."""


def revived(fact: AnyFact, known: AnyFact | None) -> str:
    """Return why a fact may not be written over the one that is known; empty if it may."""
    if isinstance(fact, Revocation) and isinstance(known, Revocation):
        return _weakened(fact, known)
    if isinstance(fact, Approval) and isinstance(known, Approval) and _leaves_its_review(fact, known):
        return f"break-glass `{fact.id}` waits for its review: its kind and who took it stay, and when it is due"
    final = _FINAL.get(type(fact), frozenset())
    if type(known) is not type(fact) or getattr(known, "state", "") not in final:
        return ""
    before, after = getattr(known, "state", ""), getattr(fact, "state", "")
    if before == after:
        return ""
    return f"{KIND_OF[type(fact)]} `{fact.id}` is {before}, which is final; it cannot become {after} again"


def kept(id_: str, known: AnyFact | None) -> str:
    """Return why the fact that is known may not be removed; empty if it may, or if there is none."""
    if isinstance(known, Revocation):
        return f"revocation `{id_}` is not removed by an import; lift it"
    if isinstance(known, Approval) and _waits_for_review(known):
        return f"break-glass `{id_}` is not removed by an import before it is reviewed"
    return ""


def _weakened(fact: Revocation, known: Revocation) -> str:
    if _names(fact) != _names(known):
        return f"revocation `{fact.id}` is of {known.target} `{known.target_id}`; another target needs an id of its own"
    if known.revoked_by != fact.revoked_by:
        return f"revocation `{fact.id}` stays `{known.revoked_by}`'s: somebody else lifts it"
    if fact.effective_at > known.effective_at or _end(fact) < _end(known):
        return f"revocation `{fact.id}` is not shortened by an import; lift it"
    return ""


def _waits_for_review(approval: Approval) -> bool:
    return approval.kind is ApprovalKind.BREAK_GLASS and not approval.reviewed_by


def _leaves_its_review(approval: Approval, known: Approval) -> bool:
    if not _waits_for_review(known):
        return False
    due = LAST_INSTANT if known.review_due is None else known.review_due
    later = approval.review_due is None or approval.review_due > due
    return later or _taken(approval) != _taken(known)


def _taken(approval: Approval) -> tuple[ApprovalKind, str, str]:
    return approval.kind, approval.identity, approval.requested_by


def _end(revocation: Revocation) -> int:
    return LAST_INSTANT if revocation.expires_at is None else revocation.expires_at


def _names(revocation: Revocation) -> tuple[RevocationTarget, str]:
    return revocation.target, revocation.target_id
