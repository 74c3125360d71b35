"""Revocations: they override every grant of their target; it takes one person to make one, and another to lift it."""

from __future__ import annotations

from collections.abc import Iterator

from pdp.core.model import Drop, FactKind, Put, Revocation
from pdp.governance.commands import LiftRevocation, Revoke
from pdp.governance.refusal import Refusal, Refused, Rule, refused
from pdp.governance.rules.four_eyes import against_interest, ties
from pdp.governance.rules.preconditions import against_taken, unknown
from pdp.governance.view import Plan, View


def revoke(command: Revoke, view: View) -> Plan | Refused:
    """Override every grant of a target, known or not, from now or from a later instant on."""
    revocation = Revocation(
        id=command.id,
        target=command.target,
        target_id=command.target_id,
        effective_at=view.now if command.effective_at is None else command.effective_at,
        expires_at=command.expires_at,
        reason=view.reason,
        source=command.source,
        revoked_by=view.actor.name,
    )
    against = (*against_taken(view.revocation(command.id)), *_against_being_over(revocation, view))
    return Refused(against) if against else view.plan(Put(revocation))


def lift(command: LiftRevocation, view: View) -> Plan | Refused:
    """Take back what somebody else has revoked, and nobody gains by who has a part in it."""
    revocation = view.revocation(command.revocation_id)
    if revocation is None:
        return unknown(FactKind.REVOCATION, command.revocation_id)
    about = f"revocation:{revocation.id}"
    if _is_over(revocation, view):
        message = f"revocation `{revocation.id}` is over: it overrides nothing any more"
        return refused(Rule.WRONG_STATE, message, "there is nothing to lift", about)
    against = tuple(against_interest(about, ties(revocation, view), view))
    return Refused(against) if against else view.plan(Drop(FactKind.REVOCATION, revocation.id))


def _is_over(revocation: Revocation, view: View) -> bool:
    return revocation.expires_at is not None and revocation.expires_at <= view.now


def _against_being_over(revocation: Revocation, view: View) -> Iterator[Refusal]:
    if _is_over(revocation, view):
        message = "a revocation that ends before it is made overrides nothing"
        yield Refusal(Rule.WRONG_STATE, message, "name a later `expires_at`, or none", f"revocation:{revocation.id}")
