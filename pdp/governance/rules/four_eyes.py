"""Who has an interest in a fact, and so may not be the one to consent to it, certify it, review it or lift it.

Rule 1: unconditional: no policy, no role and no emergency sets it aside. Nobody decides on what they requested,
granted, opened, own or did, or on what they themselves act by.
Rule 2: who belongs to a group owns what the group owns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from pdp.core.model import (
    AnyFact,
    Approval,
    Entitlement,
    Identity,
    Revocation,
    RevocationTarget,
    Session,
    Task,
)
from pdp.core.scope import IdentityScope
from pdp.governance.refusal import Refusal, Rule
from pdp.governance.roles import Principal
from pdp.governance.rules.subjects import records_of
from pdp.governance.view import View


class Tie(NamedTuple):
    """Somebody with an interest, and which it is."""

    who: str
    """A principal, or a group; empty: nobody in particular."""
    how: str
    """As it reads behind the name: `requested approval …`."""


def against_interest(about: str, found: Iterable[Tie], view: View) -> Iterator[Refusal]:
    """Refuse who has any of the interests found, once for each."""
    actor = view.actor
    for who, how in dict.fromkeys(found):
        if actor.is_or_belongs_to(who):
            subject = f"`{who}`" if who == actor.name else f"`{actor.name}` belongs to `{who}`, which"
            yield Refusal(Rule.FOUR_EYES, f"{subject} {how}", "have somebody decide who has no part in it", about)


def ties(fact: AnyFact, view: View) -> Iterator[Tie]:
    """Yield everybody with an interest in an entitlement, approval, session, task or revocation.

    Of those who own a member of a family, only if they are the actor.
    """
    match fact:
        case Entitlement():
            yield Tie(fact.granted_by, f"granted entitlement `{fact.id}`")
            yield from _ties_of_identities(fact.identity, view)
        case Approval():
            yield from _ties_of_approval(fact, view)
        case Session():
            yield Tie(fact.opened_by, f"opened session `{fact.id}`")
            yield from _ties_of_subject(fact.identity, view)
        case Task():
            yield Tie(fact.owner, f"owns task `{fact.id}`")
        case Revocation():
            yield Tie(fact.revoked_by, f"made revocation `{fact.id}`")
            yield from _ties_of_target(fact, view)
        case _:
            pass


def requester(approval: Approval) -> Tie:
    """Return who asked for an approval."""
    return Tie(approval.requested_by, f"requested approval `{approval.id}`")


def _ties_of_identity(identity: Identity) -> Iterator[Tie]:
    yield Tie(identity.id, "is the identity itself")
    yield Tie(identity.owner, f"owns identity `{identity.id}`")


def _ties_of_subject(subject: str, view: View) -> Iterator[Tie]:
    yield Tie(subject, "is the identity itself")
    record = view.identity_of(subject)
    if record is not None:
        yield from _ties_of_identity(record)


def _ties_of_identities(scope: IdentityScope, view: View) -> Iterator[Tie]:
    # A wide pattern covers everybody's name; only whom a record stands for could act by it.
    if scope.covers(view.actor.name) and view.identity_of(view.actor.name) is not None:
        yield Tie(view.actor.name, "is the identity itself")
    for record in sorted(records_of(scope, view, lambda one: _is_of(view.actor, one)), key=lambda one: one.id):
        yield from _ties_of_identity(record)


def _is_of(actor: Principal, record: Identity) -> bool:
    return actor.is_or_belongs_to(record.id) or actor.is_or_belongs_to(record.owner)


def _ties_of_approval(approval: Approval, view: View) -> Iterator[Tie]:
    yield requester(approval)
    if approval.identity:
        yield from _ties_of_subject(approval.identity, view)
    # No index: only imported sessions name an approval that nobody has given yet, but they may.
    for id_ in [one.id for one in view.snapshot.sessions.values() if one.approval == approval.id]:
        session = view.session(id_)
        if session is not None:
            yield from ties(session, view)


def _ties_of_target(revocation: Revocation, view: View) -> Iterator[Tie]:
    """Yield who would gain if the revocation were lifted."""
    id_ = revocation.target_id
    match revocation.target:
        case RevocationTarget.IDENTITY:
            yield from _ties_of_identities(IdentityScope([id_]), view)
        case RevocationTarget.OWNER:
            yield Tie(id_, "is the owner itself")
        case _:
            fact = _target(revocation, view)
            if fact is not None:
                yield from ties(fact, view)


def _target(revocation: Revocation, view: View) -> AnyFact | None:
    reading: Mapping[RevocationTarget, Callable[[str], AnyFact | None]] = {
        RevocationTarget.SESSION: view.session,
        RevocationTarget.TASK: view.task,
        RevocationTarget.APPROVAL: view.approval,
        RevocationTarget.ENTITLEMENT: view.entitlement,
    }
    read = reading.get(revocation.target)
    return None if read is None else read(revocation.target_id)
