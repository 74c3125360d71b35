"""Identity: is the subject known, alive and owned?"""

from __future__ import annotations

from pdp.core.case import ALWAYS, IDENTITY, Case
from pdp.core.checks.row import Row
from pdp.core.model import IdentityState, RevocationTarget
from pdp.core.reasons import Code, Denial

_RETIRED, _SUSPENDED, _OWNER = IdentityState.RETIRED, IdentityState.SUSPENDED, RevocationTarget.OWNER


def unknown(case: Case) -> Denial | None:
    """No record covers the subject, or the record is of another kind than the request says."""
    identity, type_ = case.identity, case.request.subject_type
    if identity is None:
        message = f"identity `{case.subject}` is not known"
        return Denial(Code.IDENTITY_UNKNOWN, message, f"identity:{case.subject}")
    if type_ and type_ != identity.kind and case.subject == case.request.subject:
        message = f"identity `{case.subject}` is of kind `{identity.kind}`, not `{type_}`"
        return Denial(Code.IDENTITY_UNKNOWN, message, f"identity:{identity.id}")
    return None


def revoked(case: Case) -> Denial | None:
    """The subject, or a family it belongs to, is revoked; also when no record of it is known."""
    revocation = case.snapshot.revocation_of_subject(case.subject, case.now)
    if revocation is None:
        return None
    message = f"identity `{case.subject}` is revoked: {revocation.reason}"
    return Denial(Code.IDENTITY_REVOKED, message, f"identity:{revocation.target_id}", revocation)


def retired(case: Case) -> Denial | None:
    """Offboarded."""
    identity = case.identity
    if identity is not None and identity.state is _RETIRED:
        return Denial(Code.IDENTITY_RETIRED, f"identity `{identity.id}` is retired", f"identity:{identity.id}")
    return None


def suspended(case: Case) -> Denial | None:
    """Held back for now."""
    identity = case.identity
    if identity is not None and identity.state is _SUSPENDED:
        return Denial(Code.IDENTITY_SUSPENDED, f"identity `{identity.id}` is suspended", f"identity:{identity.id}")
    return None


def unowned(case: Case) -> Denial | None:
    """Nobody answers for it: no owner, or the owner has left."""
    identity = case.identity
    if identity is None:
        return None
    if not identity.owner:
        return Denial(Code.IDENTITY_UNOWNED, f"identity `{identity.id}` has no owner", f"identity:{identity.id}")
    revocation = case.snapshot.revocation(_OWNER, identity.owner, case.now)
    if revocation is None:
        return None
    message = f"owner `{identity.owner}` of identity `{identity.id}` is revoked: {revocation.reason}"
    return Denial(Code.IDENTITY_UNOWNED, message, f"owner:{identity.owner}", revocation)


ROWS = (
    Row(Code.IDENTITY_UNKNOWN, ALWAYS, unknown, "register the identity"),
    Row(Code.IDENTITY_REVOKED, ALWAYS, revoked, "lift the revocation"),
    Row(Code.IDENTITY_RETIRED, IDENTITY, retired, "register a new identity"),
    Row(Code.IDENTITY_SUSPENDED, IDENTITY, suspended, "reinstate the identity"),
    Row(Code.IDENTITY_UNOWNED, IDENTITY, unowned, "have an accountable person or team take the identity over"),
)
