"""Which decisions a written or dropped fact can alter, as keys that `dependence` gives to decisions.

Keys err on the side of touching too much. When a fact is replaced, what it was touches as well as what it becomes.
"""

from __future__ import annotations

from pdp.core.model import (
    KIND_OF,
    AnyFact,
    Approval,
    ApprovalKind,
    Identity,
    Revocation,
    RevocationTarget,
    Session,
    Signal,
)
from pdp.core.scope import is_pattern

EVERYTHING = "*"
"""The key of a fact whose reach is not worth finding out; every decision has it."""

NEWS = "revision"
"""The key of every commit, whatever it holds; the decisions that wait for a revision to come have it."""


def keys_of_fact(fact: AnyFact) -> tuple[str, ...]:
    """Return the keys of all decisions that the fact can alter by being written or dropped."""
    match fact:
        case Revocation() as revocation:
            family = revocation.target is RevocationTarget.IDENTITY and is_pattern(revocation.target_id)
            return (EVERYTHING,) if family else (f"{revocation.target}:{revocation.target_id}",)
        case Identity() as identity if is_pattern(identity.id):
            return (EVERYTHING,)
        case Session() as session:
            return f"session:{session.id}", f"about:{session.identity}"
        case Approval() as approval if approval.kind is ApprovalKind.BREAK_GLASS:
            return f"approval:{approval.id}", f"about:{approval.identity or approval.requested_by}"
        case Signal() as signal:
            return (f"about:{signal.about}",)
        case _:
            return (f"{KIND_OF[type(fact)]}:{fact.id}",)
