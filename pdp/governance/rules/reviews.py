"""Reviews: the reviewer's choice becomes the change.

Rule 1: nobody reviews what they have a part in (`four_eyes`).
Rule 2: a review of what has changed since the reviewer looked is refused; so is one that changes nothing for good.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, count

from msgspec.structs import replace

from pdp.core.lawful import Fault, fault_of_text
from pdp.core.model import (
    Approval,
    ApprovalKind,
    Entitlement,
    FactKind,
    Put,
    Revocation,
    RevocationTarget,
    Session,
    SessionState,
)
from pdp.governance.commands import (
    CertifyEntitlement,
    DecideReview,
    NarrowEntitlement,
    RemoveEntitlement,
    ReviewChoice,
)
from pdp.governance.refusal import Refusal, Refused, Rule, refused
from pdp.governance.rules import entitlements
from pdp.governance.rules.four_eyes import against_interest, ties
from pdp.governance.rules.narrowing import against_no_change, against_wider_scope, narrowed
from pdp.governance.rules.preconditions import in_state
from pdp.governance.view import Plan, View

_LOOK_AGAIN = "look at the review again, and decide on what it shows then"


def lacks(command: DecideReview) -> Sequence[Fault]:
    """Return that `until` is not there, where it is needed: certified for ever would be the stale path itself."""
    of_entitlement = command.review_id.startswith(f"{FactKind.ENTITLEMENT}:")
    if of_entitlement and command.choice is not ReviewChoice.REMOVE and command.until is None:
        return [("until", "is required to keep or narrow an entitlement")]
    return ()


def decide(command: DecideReview, view: View) -> Plan | Refused:
    """Keep, narrow or remove what is up for review."""
    fact = _reviewed(command.review_id, view)
    if fact is None:
        message = f"nothing is up for review by the id `{command.review_id}`"
        return refused(Rule.NOT_FOUND, message, "name a review that is listed", command.review_id)
    if command.revision and command.revision != fact.revision:
        message = f"`{command.review_id}` has changed since you looked"
        return refused(Rule.WRONG_STATE, message, _LOOK_AGAIN, command.review_id)
    against = tuple(against_interest(command.review_id, ties(fact, view), view))
    if against:
        return Refused(against)
    match fact:
        case Entitlement():
            return _entitlement(fact, command, view)
        case Approval():
            return _emergency(fact, command, view)
        case Session():
            return _session(fact, command, view)


def _reviewed(review_id: str, view: View) -> Entitlement | Approval | Session | None:
    kind, _, id_ = review_id.partition(":")
    if kind == FactKind.ENTITLEMENT:
        return view.entitlement(id_)
    if kind == FactKind.SESSION:
        return view.session(id_)
    approval = view.approval(id_) if kind == FactKind.APPROVAL else None
    return approval if approval is not None and approval.kind is ApprovalKind.BREAK_GLASS else None


def _entitlement(fact: Entitlement, command: DecideReview, view: View) -> Plan | Refused:
    if command.choice is ReviewChoice.REMOVE:
        return entitlements.remove(RemoveEntitlement(entitlement_id=fact.id), view)
    until = command.until or view.now  # `lacks` has asked for it; without it certification refuses what lapses at once
    certified = entitlements.certify(CertifyEntitlement(entitlement_id=fact.id, until=until), view)
    if command.choice is ReviewChoice.KEEP:
        return certified
    narrowing = NarrowEntitlement(entitlement_id=fact.id, actions=command.actions, resources=command.resources)
    narrower = entitlements.narrow(narrowing, view)
    against = [one for plan in (narrower, certified) if isinstance(plan, Refused) for one in plan.reasons]
    if against:
        return Refused(tuple(against))
    own, by = _written(narrower), _written(certified)
    return view.plan(
        Put(replace(own, certified_by=by.certified_by, certified_until=by.certified_until, reviewed_at=view.now))
    )


def _written(plan: Plan | Refused) -> Entitlement:
    """Return what a plan for one entitlement would write."""
    put = plan.changes[0] if isinstance(plan, Plan) else None
    if not isinstance(put, Put) or not isinstance(put.fact, Entitlement):
        message = "the plan writes no entitlement"
        raise TypeError(message)
    return put.fact


def _emergency(fact: Approval, command: DecideReview, view: View) -> Plan | Refused:
    about = f"approval:{fact.id}"
    if fact.reviewed_by:
        message = f"approval `{fact.id}` was reviewed by `{fact.reviewed_by}`"
        return refused(Rule.WRONG_STATE, message, "nothing needs to be done", about)
    if command.choice is ReviewChoice.NARROW:
        message = "what was done in an emergency cannot be narrowed afterwards"
        return refused(Rule.NOT_NARROWER, message, "keep it, which says that it was right, or remove it", about)
    reviewed = Put(replace(fact, reviewed_by=view.actor.name))
    if command.choice is ReviewChoice.KEEP:
        return view.plan(reviewed)
    revocation = Revocation(
        id=_id_of_revocation(fact, view),
        target=RevocationTarget.APPROVAL,
        target_id=fact.id,
        effective_at=view.now,
        reason=view.reason or "not to be kept, by review",
        source="review",
        revoked_by=view.actor.name,
    )
    return view.plan(reviewed, Put(revocation))


def _id_of_revocation(approval: Approval, view: View) -> str:
    """Return an id that is free and can be one, whatever ids whoever took the emergency has chosen."""
    others = (f"review/{approval.revision}/{number}" for number in count(1))
    names = chain([f"approval/{approval.id}/review"], others)
    return next(name for name in names if not fault_of_text(name) and view.revocation(name) is None)


def _session(fact: Session, command: DecideReview, view: View) -> Plan | Refused:
    if fact.state is not SessionState.OPEN:
        return in_state(fact, "nothing needs to be done")
    if command.choice is ReviewChoice.REMOVE:
        return view.plan(Put(replace(fact, state=SessionState.CLOSED)))
    if command.choice is ReviewChoice.NARROW:
        after = replace(
            fact,
            actions=narrowed(command.actions, fact.actions),
            resources=narrowed(command.resources, fact.resources),
        )
        against = (*_against_wider(command, fact), *against_no_change(fact, after))
        if against:
            return Refused(against)
        fact = after
    return view.plan(Put(replace(fact, reviewed_by=view.actor.name)))


def _against_wider(command: DecideReview, fact: Session) -> Iterator[Refusal]:
    yield from against_wider_scope("actions", command.actions, fact, fact.actions)
    yield from against_wider_scope("resources", command.resources, fact, fact.resources)
