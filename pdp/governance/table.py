"""Which rule carries out a command, and which roles permit it; one row per command, and per query.

Rule 1: what is not in this table cannot be called (`tests/unit/test_command_table.py` holds it against the contract).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from pdp.core.lawful import Fault
from pdp.governance import commands as c
from pdp.governance.refusal import Refused
from pdp.governance.roles import Role
from pdp.governance.rules import (
    approvals,
    emergencies,
    entitlements,
    identities,
    reviews,
    revocations,
    sessions,
    tasks,
)
from pdp.governance.view import Plan, View

Outcome: TypeAlias = Plan | Refused


def _nothing(_: object) -> Sequence[Fault]:
    return ()


class CommandRow(NamedTuple):
    """One command."""

    command: type[c.Command]
    rule: Callable[[Any, View], Outcome]
    """Takes the command of this row."""
    roles: frozenset[Role]
    """Any of them permits it."""
    needs_reason: bool = False
    lacks: Callable[[Any], Sequence[Fault]] = _nothing
    """Return what one field of the command makes another one need, and is not there."""
    sweeps: bool = False
    """It ends facts that it finds: those that came meanwhile, or were too many, are found when it is decided again."""


_R, _A, _O, _V = Role.REQUESTER, Role.APPROVER, Role.OPERATOR, Role.REVIEWER


def _row(
    command: type[c.Command],
    rule: Callable[[Any, View], Outcome],
    *roles: Role,
    reason: bool = False,
    lacks: Callable[[Any], Sequence[Fault]] = _nothing,
    sweeps: bool = False,
) -> CommandRow:
    return CommandRow(command, rule, frozenset(roles), reason, lacks, sweeps)


ROWS = (
    _row(c.RegisterIdentity, identities.register, _O),
    _row(c.ChangeOwner, identities.change_owner, _O),
    _row(c.SuspendIdentity, identities.suspend, _O, reason=True),
    _row(c.ReinstateIdentity, identities.reinstate, _O),
    _row(c.RetireIdentity, identities.retire, _O, reason=True, sweeps=True),
    _row(c.GrantEntitlement, entitlements.grant, _O),
    _row(c.NarrowEntitlement, entitlements.narrow, _O),
    _row(c.CertifyEntitlement, entitlements.certify, _V),
    _row(c.RemoveEntitlement, entitlements.remove, _O),
    _row(c.RequestApproval, approvals.request, _R),
    _row(c.Approve, approvals.approve, _A),
    _row(c.Reject, approvals.reject, _A, reason=True),
    _row(c.Withdraw, approvals.withdraw, _R, _O),
    _row(c.TakeBreakGlass, emergencies.take_break_glass, _R, reason=True),
    _row(c.OpenTask, tasks.open_task, _R, _O),
    _row(c.CompleteTask, tasks.complete, _R, _O),
    _row(c.CancelTask, tasks.cancel, _R, _O),
    _row(c.OpenSession, sessions.open_session, _R),
    _row(c.RenewSession, sessions.renew, _R),
    _row(c.NarrowSession, sessions.narrow, _R, _O),
    _row(c.CloseSession, sessions.close, _R, _O),
    _row(c.DelegateSession, sessions.delegate, _R),
    _row(c.Revoke, revocations.revoke, _O, _A, _V, reason=True),
    _row(c.LiftRevocation, revocations.lift, _O, reason=True),
    _row(c.DecideReview, reviews.decide, _V, lacks=reviews.lacks),
)

COMMANDS: Mapping[type[c.Command], CommandRow] = {row.command: row for row in ROWS}

ANY_ROLE = frozenset(Role)

QUERIES: Mapping[str, frozenset[Role]] = {
    "ListUnownedIdentities": ANY_ROLE,
    "DescribeSession": ANY_ROLE,
    "ListRevocations": ANY_ROLE,
    "ListReviews": ANY_ROLE,
    "GetReview": ANY_ROLE,
    "GetFact": ANY_ROLE,
    "ListFacts": ANY_ROLE,
    "GetPrincipal": ANY_ROLE,
}
_READERS = frozenset({Role.AUDITOR, Role.REVIEWER, Role.OPERATOR})
EVIDENCE: Mapping[str, frozenset[Role]] = {
    "ListRecords": _READERS,
    "GetRecord": _READERS,
    "VerifyJournal": _READERS,
    "ReplayDecision": _READERS,
}
"""The methods of EvidenceService: records say of everybody what they did, which is not for everybody."""

IMPORT: Mapping[str, frozenset[Role]] = {"ApplyFacts": frozenset({Role.IMPORTER})}

ROLES_OF: Mapping[str, frozenset[Role]] = {
    **{row.command.__name__: row.roles for row in ROWS},
    **QUERIES,
    **EVIDENCE,
    **IMPORT,
}
"""The roles that permit a method of the administration listener."""
