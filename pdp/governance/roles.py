"""Who administers: a principal with a name, roles and groups.

Rule 1: no role, no command: each row of `table` says which roles permit it.
Rule 2: a principal's name is what facts and evidence carry, whichever way it authenticated, so that "somebody else" can
be told from "the same person with another key".
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from msgspec import Struct

from pdp.core.scope import IdentityScope


class Role(StrEnum):
    """What a principal may do."""

    REQUESTER = "requester"
    """Asks for approvals; opens tasks and sessions for its identities."""
    APPROVER = "approver"
    """Consents to what others ask for."""
    OPERATOR = "operator"
    """Keeps identities and entitlements; ends, suspends and revokes."""
    REVIEWER = "reviewer"
    """Certifies, and decides what is to persist."""
    AUDITOR = "auditor"
    """Reads everything, changes nothing."""
    IMPORTER = "importer"
    """Writes facts as they are, in the name of the system they come from."""


class Principal(Struct, frozen=True, kw_only=True):
    """An authenticated person or program that administers."""

    name: str
    roles: frozenset[Role] = frozenset()
    groups: frozenset[str] = frozenset()
    """Teams and boards it belongs to; an owner may be such a team."""
    identities: IdentityScope = IdentityScope([])
    """The identities it may ask for; its own name besides."""

    def may_ask_for(self, identity: str) -> bool:
        """Whether it may request approvals and sessions for an identity."""
        return identity == self.name or bool(self.identities.covers(identity))

    def role_among(self, roles: Collection[Role]) -> Role | None:
        """Return the first of its roles, in the order of `Role`, that is among these; None if there is none."""
        return next((role for role in Role if role in roles and role in self.roles), None)

    def is_or_belongs_to(self, owner: str) -> bool:
        """Whether an owner is this principal, or a group of its."""
        return bool(owner) and (owner == self.name or owner in self.groups)


def role_required(principal: Principal, method: str, roles: Collection[Role]) -> str:
    """Return what to tell a principal none of whose roles permits a method."""
    wanted = ", ".join(f"`{role}`" for role in Role if role in roles) or "no role there is"
    return f"`{principal.name}` has no role that permits `{method}`; {wanted} would"
