"""Entitlement: is the identity still eligible?"""

from __future__ import annotations

from pdp.core.aspects import ENTITLEMENT, NO_ENTITLEMENT, SESSION
from pdp.core.case import Case
from pdp.core.checks.row import Row
from pdp.core.reasons import Code, Denial
from pdp.core.snapshot import in_force
from pdp.core.wording import instant_text


def unknown(case: Case) -> Denial | None:
    """The session's entitlement does not exist."""
    id_ = case.session.entitlement
    return Denial(Code.ENTITLEMENT_UNKNOWN, f"entitlement `{id_}` is not known", f"entitlement:{id_}")


def of_another(case: Case) -> Denial | None:
    """The session's entitlement is somebody else's."""
    entitlement, identity = case.entitlement, case.session.identity
    if entitlement.identity.covers(identity):
        return None
    message = f"entitlement `{entitlement.id}` is not `{identity}`'s"
    return Denial(Code.ENTITLEMENT_UNKNOWN, message, f"entitlement:{entitlement.id}")


def revoked(case: Case) -> Denial | None:
    """Revoked by id, also when it is not known."""
    id_ = case.session.entitlement
    revocations = case.snapshot.revoked_entitlements.get(id_)
    revocation = None if revocations is None else in_force(revocations, case.now)
    if revocation is None:
        return None
    message = f"entitlement `{id_}` is revoked: {revocation.reason}"
    return Denial(Code.ENTITLEMENT_REVOKED, message, f"entitlement:{id_}", revocation)


def lapsed(case: Case) -> Denial | None:
    """Nobody has certified that it should persist, or not for this long."""
    entitlement = case.entitlement
    until = entitlement.certified_until
    if until is not None and case.now < until:
        return None
    past = "was never certified" if until is None else f"was certified until {instant_text(until)}"
    message = f"entitlement `{entitlement.id}` {past}"
    return Denial(Code.ENTITLEMENT_LAPSED, message, f"entitlement:{entitlement.id}")


ROWS = (
    Row(Code.ENTITLEMENT_UNKNOWN, SESSION | NO_ENTITLEMENT, unknown, "have the entitlement granted"),
    Row(Code.ENTITLEMENT_UNKNOWN, SESSION | ENTITLEMENT, of_another, "have the entitlement granted to the identity"),
    Row(Code.ENTITLEMENT_REVOKED, SESSION, revoked, "have an entitlement granted anew"),
    Row(Code.ENTITLEMENT_LAPSED, ENTITLEMENT, lapsed, "have the entitlement certified"),
)
