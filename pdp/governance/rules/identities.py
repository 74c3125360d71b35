"""Identities: who there is, and who answers for them.

Rule 1: somebody answers for every identity: an owner who has left takes over none.
Rule 2: retiring is for good, and leaves nothing behind that the identity could act by. What has ended by time already
is left as it ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nsmallest
from itertools import islice

from msgspec.structs import replace

from pdp.core.model import (
    Approval,
    ApprovalState,
    FactKind,
    Identity,
    IdentityState,
    Instant,
    Put,
    Revocation,
    RevocationTarget,
    Session,
    SessionState,
)
from pdp.core.reasons import Code
from pdp.core.scope import IdentityScope
from pdp.core.snapshot import Snapshot, in_force
from pdp.governance.commands import (
    ChangeOwner,
    RegisterIdentity,
    ReinstateIdentity,
    RetireIdentity,
    SuspendIdentity,
)
from pdp.governance.refusal import Refusal, Refused, Rule, refused
from pdp.governance.rules.preconditions import against_taken, in_state, unknown
from pdp.governance.view import Plan, View

_ACTIVE, _SUSPENDED, _RETIRED = IdentityState.ACTIVE, IdentityState.SUSPENDED, IdentityState.RETIRED
_STANDING = (ApprovalState.PENDING, ApprovalState.APPROVED)
_MOST_AT_ONCE = 1000
"""Sessions, and approvals, that one change ends: tens of milliseconds, in which nobody else is answered."""
_REGISTER_ANEW = "register a new identity"


def register(command: RegisterIdentity, view: View) -> Plan | Refused:
    """Make an identity, or a family of them, known."""
    against = (*against_taken(view.identity(command.id)), *_against_owner(command.owner, view))
    if against:
        return Refused(against)
    identity = Identity(
        id=command.id,
        kind=command.kind,
        owner=command.owner,
        labels=command.labels,
        credential_max_age=command.credential_max_age,
    )
    return view.plan(Put(identity))


def change_owner(command: ChangeOwner, view: View) -> Plan | Refused:
    """Have somebody else answer for an identity that is not retired."""
    identity = view.identity(command.identity_id)
    if identity is None:
        return unknown(FactKind.IDENTITY, command.identity_id)
    if identity.state is _RETIRED:
        return in_state(identity, _REGISTER_ANEW)
    if identity.owner == command.owner:
        message = f"`{command.owner}` owns identity `{identity.id}` already"
        return refused(Rule.ALREADY_EXISTS, message, "name another owner", f"identity:{identity.id}")
    against = tuple(_against_owner(command.owner, view))
    return Refused(against) if against else view.plan(Put(replace(identity, owner=command.owner)))


def suspend(command: SuspendIdentity, view: View) -> Plan | Refused:
    """Stop an active identity from acting for the time being."""
    identity = view.identity(command.identity_id)
    if identity is None:
        return unknown(FactKind.IDENTITY, command.identity_id)
    if identity.state is not _ACTIVE:
        return in_state(identity, "name an active identity")
    return view.plan(Put(replace(identity, state=_SUSPENDED)))


def reinstate(command: ReinstateIdentity, view: View) -> Plan | Refused:
    """Let a suspended identity act again."""
    identity = view.identity(command.identity_id)
    if identity is None:
        return unknown(FactKind.IDENTITY, command.identity_id)
    if identity.state is not _SUSPENDED:
        return in_state(identity, _REGISTER_ANEW if identity.state is _RETIRED else "name a suspended identity")
    return view.plan(Put(replace(identity, state=_ACTIVE)))


def retire(command: RetireIdentity, view: View) -> Plan | Refused:
    """End an identity for good: no session of it stays open, no approval stands, no credential is good.

    A family ends with all its identities but those that have a record of their own, or belong to a closer family.
    What was begun while it was retired, and what is beyond `_MOST_AT_ONCE`, is ended by retiring it once more.
    """
    identity = view.identity(command.identity_id)
    if identity is None:
        return unknown(FactKind.IDENTITY, command.identity_id)
    held = (
        *(Put(replace(session, state=SessionState.CLOSED)) for session in _sessions_of(identity, view)),
        *(Put(replace(approval, state=ApprovalState.WITHDRAWN)) for approval in _approvals_of(identity, view)),
    )
    if identity.state is _RETIRED:
        return view.plan(*held) if held else in_state(identity, _REGISTER_ANEW)
    credentials = [_revocation(identity, credential, view) for credential in dict.fromkeys(command.credentials)]
    against = tuple(refusal for one in credentials for refusal in _against_another_target(one, view))
    if against:
        return Refused(against)
    return view.plan(
        Put(replace(identity, state=_RETIRED)),
        *held,
        *(Put(revocation) for revocation in credentials),
    )


def unowned(snapshot: Snapshot, now: Instant, most: int) -> list[Identity]:
    """Return identities that nobody answers for, the first by id: without an owner, or whose owner is revoked.

    Retired ones are left out: there is nothing to answer for.
    """
    left = {"", *(owner for owner, revoked in snapshot.revoked_owners.items() if in_force(revoked, now) is not None)}
    found = (one for one in snapshot.identities.values() if one.owner in left and one.state is not _RETIRED)
    return nsmallest(most, found, key=lambda one: one.id)


def _against_owner(owner: str, view: View) -> Iterator[Refusal]:
    revocation = in_force(view.snapshot.revoked_owners.get(owner, ()), view.now)
    if revocation is not None:
        message = f"owner `{owner}` is revoked: {revocation.reason}"
        yield Refusal(Code.IDENTITY_UNOWNED, message, "name an owner who has not left", f"owner:{owner}")


def _sessions_of(identity: Identity, view: View) -> list[Session]:
    """Return the open sessions whose subject the record stands for; those delegated by them die with them."""
    snapshot, scope = view.snapshot, IdentityScope([identity.id])
    ids = (
        id_
        for (subject, _), held in snapshot.sessions_of.items()
        if scope.covers(subject) and _record_of(subject, snapshot) == identity
        for id_ in held
    )
    live = (
        id_
        for id_ in ids
        if snapshot.sessions[id_].state is SessionState.OPEN and view.now < snapshot.sessions[id_].expires_at
    )
    found = (view.session(id_) for id_ in sorted(islice(live, _MOST_AT_ONCE)))
    return [one for one in found if one is not None and view.identity_of(one.identity) == identity]


def _record_of(subject: str, snapshot: Snapshot) -> Identity | None:
    return snapshot.identities.get(subject) or snapshot.family_of(subject)


def _approvals_of(identity: Identity, view: View) -> list[Approval]:
    """Return the approvals that one asked for, or was given, whom the record stands for."""
    scope = IdentityScope([identity.id])
    standing = (
        one.id
        for one in view.snapshot.approvals.values()
        if one.state in _STANDING
        and view.now < one.expires_at
        and any(
            person and scope.covers(person) and _record_of(person, view.snapshot) == identity
            for person in (one.identity, one.requested_by)
        )
    )
    first = sorted(islice(standing, _MOST_AT_ONCE))
    return [approval for approval in map(view.approval, first) if approval is not None]


def _revocation(identity: Identity, credential: str, view: View) -> Revocation:
    return Revocation(
        id=f"{identity.id}/credential/{credential}",
        target=RevocationTarget.CREDENTIAL,
        target_id=credential,
        effective_at=view.now,
        reason=view.reason,
        source=f"identity:{identity.id}",
        revoked_by=view.actor.name,
    )


def _against_another_target(revocation: Revocation, view: View) -> Iterator[Refusal]:
    """Refuse to write over the revocation of something else, which would lift it."""
    known = view.revocation(revocation.id)
    if known is not None and (known.target, known.target_id) != (revocation.target, revocation.target_id):
        yield from against_taken(known)
