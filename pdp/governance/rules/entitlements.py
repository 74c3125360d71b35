"""Entitlements: what an identity is eligible for, and who says that it should persist.

Rule 1: an entitlement is made by one person and certified by another, who has no part in it.
Rule 2: it is never widened: more is another entitlement, granted and certified anew.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from pdp.core.model import Drop, Duration, Entitlement, FactKind, IdentityState, Put
from pdp.core.reasons import Code
from pdp.core.scope import IdentityScope
from pdp.core.wording import SECOND, duration_text, second_text
from pdp.governance.commands import CertifyEntitlement, GrantEntitlement, NarrowEntitlement, RemoveEntitlement
from pdp.governance.refusal import Refusal, Refused, Rule
from pdp.governance.rules.four_eyes import against_interest, ties
from pdp.governance.rules.narrowing import against_no_change, against_wider_scope, narrowed
from pdp.governance.rules.preconditions import against_taken, unknown
from pdp.governance.rules.subjects import records_of
from pdp.governance.view import Plan, View

_RETIRED = IdentityState.RETIRED
LONGEST_CERTIFICATION = Duration(400 * 86_400 * SECOND)
"""A year, and time to do it again."""


def grant(command: GrantEntitlement, view: View) -> Plan | Refused:
    """Make an identity eligible; lapsed until somebody else has certified it."""
    against = (*against_taken(view.entitlement(command.id)), *_against_subjects(command.identity, view))
    if against:
        return Refused(against)
    entitlement = Entitlement(
        id=command.id,
        identity=command.identity,
        actions=command.actions,
        resources=command.resources,
        max_session_ttl=command.max_session_ttl,
        granted_by=view.actor.name,
    )
    return view.plan(Put(entitlement))


def narrow(command: NarrowEntitlement, view: View) -> Plan | Refused:
    """Take from what an identity is eligible for; how long that is certified for stays as it is."""
    entitlement = view.entitlement(command.entitlement_id)
    if entitlement is None:
        return unknown(FactKind.ENTITLEMENT, command.entitlement_id)
    after = replace(
        entitlement,
        actions=narrowed(command.actions, entitlement.actions),
        resources=narrowed(command.resources, entitlement.resources),
        max_session_ttl=command.max_session_ttl or entitlement.max_session_ttl,
    )
    against = tuple(_against_wider(command, entitlement)) or tuple(against_no_change(entitlement, after))
    return Refused(against) if against else view.plan(Put(after))


def certify(command: CertifyEntitlement, view: View) -> Plan | Refused:
    """Say, without a part in it, that an entitlement is to persist until an instant."""
    entitlement = view.entitlement(command.entitlement_id)
    if entitlement is None:
        return unknown(FactKind.ENTITLEMENT, command.entitlement_id)
    against = (
        *against_interest(f"entitlement:{entitlement.id}", ties(entitlement, view), view),
        *_against_until(command, view),
    )
    if against:
        return Refused(against)
    certified = replace(entitlement, certified_by=view.actor.name, certified_until=command.until, reviewed_at=view.now)
    return view.plan(Put(certified))


def remove(command: RemoveEntitlement, view: View) -> Plan | Refused:
    """Take an entitlement away; no session goes on under it."""
    if view.entitlement(command.entitlement_id) is None:
        return unknown(FactKind.ENTITLEMENT, command.entitlement_id)
    return view.plan(Drop(FactKind.ENTITLEMENT, command.entitlement_id))


def _against_subjects(scope: IdentityScope, view: View) -> Iterator[Refusal]:
    """Refuse each pattern that no record stands for, or only retired ones."""
    for pattern in scope.patterns:
        scope = IdentityScope([pattern])
        if next(records_of(scope, view, lambda one: one.state is not _RETIRED), None) is not None:
            continue
        retired = min((one.id for one in records_of(scope, view, lambda _: True)), default="")
        if retired:
            message = f"identity `{pattern}` is retired"
            yield Refusal(Code.IDENTITY_RETIRED, message, "register a new identity", f"identity:{retired}")
        else:
            message = f"no identity `{pattern}` is known"
            yield Refusal(Code.IDENTITY_UNKNOWN, message, "register the identity", f"identity:{pattern}")


def _against_wider(command: NarrowEntitlement, entitlement: Entitlement) -> Iterator[Refusal]:
    yield from against_wider_scope("actions", command.actions, entitlement, entitlement.actions)
    yield from against_wider_scope("resources", command.resources, entitlement, entitlement.resources)
    most, ttl = entitlement.max_session_ttl, command.max_session_ttl
    if most is not None and ttl is not None and ttl > most:
        message = (
            f"entitlement `{entitlement.id}` allows sessions of {duration_text(most)}, not of {duration_text(ttl)}"
        )
        remedy = f"name at most {duration_text(most)}"
        yield Refusal(Rule.NOT_NARROWER, message, remedy, f"entitlement:{entitlement.id}")


def _against_until(command: CertifyEntitlement, view: View) -> Iterator[Refusal]:
    about, latest = f"entitlement:{command.entitlement_id}", view.now + LONGEST_CERTIFICATION
    if command.until <= view.now:
        message = f"certified until {second_text(command.until)} it would have lapsed already"
        yield Refusal(Code.ENTITLEMENT_LAPSED, message, "certify until a later instant", about)
    if command.until > latest:
        most = duration_text(LONGEST_CERTIFICATION)
        message = f"{second_text(command.until)} is more than {most} ahead"
        remedy = f"certify for at most {most}, and again then"
        yield Refusal(Code.POLICY_LIMIT, message, remedy, about)
