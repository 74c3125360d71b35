"""Entitlement: is the identity still eligible?"""

from __future__ import annotations

from pdp.core.case import ENTITLEMENT, SESSION, Case
from pdp.core.checks.row import Row
from pdp.core.model import RevocationTarget
from pdp.core.reasons import Code, Denial
from pdp.core.wording import instant_text

_ENTITLEMENT = RevocationTarget.ENTITLEMENT


def unknown(case: Case) -> Denial | None:
    """The session's entitlement does not exist, or is somebody else's."""
    session, entitlement = case.session, case.entitlement
    if session is None:
        return None
    if entitlement is None:
        message = f"entitlement `{session.entitlement}` is not known"
        return Denial(Code.ENTITLEMENT_UNKNOWN, message, f"entitlement:{session.entitlement}")
    if not entitlement.identity.covers(session.identity):
        message = f"entitlement `{entitlement.id}` is not `{session.identity}`'s"
        return Denial(Code.ENTITLEMENT_UNKNOWN, message, f"entitlement:{entitlement.id}")
    return None


def revoked(case: Case) -> Denial | None:
    """Revoked by id, also when it is not known."""
    session = case.session
    if session is None:
        return None
    revocation = case.snapshot.revocation(_ENTITLEMENT, session.entitlement, case.now)
    if revocation is None:
        return None
    message = f"entitlement `{session.entitlement}` is revoked: {revocation.reason}"
    return Denial(Code.ENTITLEMENT_REVOKED, message, f"entitlement:{session.entitlement}", revocation)


def lapsed(case: Case) -> Denial | None:
    """Nobody has certified that it should persist, or not for this long."""
    entitlement = case.entitlement
    if entitlement is None:
        return None
    until = entitlement.certified_until
    if until is not None and case.now < until:
        return None
    past = "was never certified" if until is None else f"was certified until {instant_text(until)}"
    return Denial(
        Code.ENTITLEMENT_LAPSED, f"entitlement `{entitlement.id}` {past}", f"entitlement:{entitlement.id}"
    )


ROWS = (
    Row(Code.ENTITLEMENT_UNKNOWN, SESSION, unknown, "have the entitlement granted"),
    Row(Code.ENTITLEMENT_REVOKED, SESSION, revoked, "have an entitlement granted anew"),
    Row(Code.ENTITLEMENT_LAPSED, ENTITLEMENT, lapsed, "have the entitlement certified"),
)
