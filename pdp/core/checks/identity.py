"""Identity: is the subject known, alive and owned?"""

from __future__ import annotations

from pdp.core.aspects import ALWAYS, IDENTITY, INACTIVE, NO_IDENTITY, TYPE_ASKED
from pdp.core.case import Case
from pdp.core.checks.row import Row
from pdp.core.model import IdentityState
from pdp.core.reasons import Code, Denial
from pdp.core.snapshot import in_force

_RETIRED, _SUSPENDED = IdentityState.RETIRED, IdentityState.SUSPENDED


def unknown(case: Case) -> Denial | None:
    """No record covers the subject."""
    return Denial(Code.IDENTITY_UNKNOWN, f"identity `{case.subject}` is not known", f"identity:{case.subject}")


def of_another_kind(case: Case) -> Denial | None:
    """The record is of another kind than the request says."""
    identity, type_ = case.identity, case.request.subject_type
    if type_ == identity.kind:
        return None
    message = f"identity `{case.subject}` is of kind `{identity.kind}`, not `{type_}`"
    return Denial(Code.IDENTITY_UNKNOWN, message, f"identity:{identity.id}")


def revoked(case: Case) -> Denial | None:
    """The subject, or a family it belongs to, is revoked; also when no record of it is known."""
    snapshot, subject = case.snapshot, case.subject
    revocations = snapshot.revoked_identities.get(subject)
    revocation = None if revocations is None else in_force(revocations, case.now)
    if revocation is None and snapshot.revocation_families.patterns:
        for pattern in snapshot.revocation_families.covering(subject):
            revocation = revocation or in_force(snapshot.revoked_identities.get(pattern, ()), case.now)
    if revocation is None:
        return None
    message = f"identity `{subject}` is revoked: {revocation.reason}"
    return Denial(Code.IDENTITY_REVOKED, message, f"identity:{revocation.target_id}", revocation)


def retired(case: Case) -> Denial | None:
    """Offboarded."""
    identity = case.identity
    if identity.state is not _RETIRED:
        return None
    return Denial(Code.IDENTITY_RETIRED, f"identity `{identity.id}` is retired", f"identity:{identity.id}")


def suspended(case: Case) -> Denial | None:
    """Held back for now."""
    identity = case.identity
    if identity.state is not _SUSPENDED:
        return None
    return Denial(Code.IDENTITY_SUSPENDED, f"identity `{identity.id}` is suspended", f"identity:{identity.id}")


def unowned(case: Case) -> Denial | None:
    """Nobody answers for it: no owner, or the owner has left."""
    owner, id_ = case.identity.owner, case.identity.id
    if not owner:
        return Denial(Code.IDENTITY_UNOWNED, f"identity `{id_}` has no owner", f"identity:{id_}")
    revocations = case.snapshot.revoked_owners.get(owner)
    revocation = None if revocations is None else in_force(revocations, case.now)
    if revocation is None:
        return None
    message = f"owner `{owner}` of identity `{id_}` is revoked: {revocation.reason}"
    return Denial(Code.IDENTITY_UNOWNED, message, f"owner:{owner}", revocation)


ROWS = (
    Row(Code.IDENTITY_UNKNOWN, NO_IDENTITY, unknown, "register the identity"),
    Row(Code.IDENTITY_UNKNOWN, IDENTITY | TYPE_ASKED, of_another_kind, "name the kind the identity is registered as"),
    Row(Code.IDENTITY_REVOKED, ALWAYS, revoked, "lift the revocation"),
    Row(Code.IDENTITY_RETIRED, IDENTITY | INACTIVE, retired, "register a new identity"),
    Row(Code.IDENTITY_SUSPENDED, IDENTITY | INACTIVE, suspended, "reinstate the identity"),
    Row(Code.IDENTITY_UNOWNED, IDENTITY, unowned, "have an accountable person or team take the identity over"),
)
