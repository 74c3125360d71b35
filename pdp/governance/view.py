"""What a rule looks at: the facts in force, the instant, and who asks.

Rule 1: every fact that a rule reads by id is noted with its revision, and its absence as revision 0; the plan is
committed only if all of them are still so. What was decided on stale facts is decided again, never written.
Rule 2: a view is made for one attempt at one command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct

from pdp.core.model import (
    AnyFact,
    Approval,
    Change,
    Entitlement,
    FactKind,
    Identity,
    Instant,
    Revision,
    Revocation,
    Session,
    Task,
)
from pdp.core.snapshot import Snapshot
from pdp.governance.roles import Principal

Ref: TypeAlias = tuple[FactKind, str]


class Plan(Struct, frozen=True):
    """What a command wants written, and the revisions it was decided on."""

    changes: tuple[Change, ...]
    """The command's own fact first."""
    expected: Mapping[Ref, Revision]


class View:
    """The facts in force at one instant, for one principal; notes which of them were looked at."""

    def __init__(self, snapshot: Snapshot, now: Instant, actor: Principal, reason: str = "") -> None:
        self.snapshot = snapshot
        """For what is not read by id: policies, uses, indexes. What is found there is then read by id."""
        self.now = now
        self.actor = actor
        self.reason = reason
        self._read: dict[Ref, Revision] = {}

    def identity(self, id_: str) -> Identity | None:
        """Return the very record of that id."""
        fact = self._fact(FactKind.IDENTITY, id_)
        return fact if isinstance(fact, Identity) else None

    def identity_of(self, subject: str) -> Identity | None:
        """Return the record that stands for a subject: its own, or the most specific family's."""
        own = self.identity(subject)
        if own is not None:
            return own
        family = self.snapshot.family_of(subject)
        return None if family is None else self.identity(family.id)

    def entitlement(self, id_: str) -> Entitlement | None:
        """Return an entitlement."""
        fact = self._fact(FactKind.ENTITLEMENT, id_)
        return fact if isinstance(fact, Entitlement) else None

    def approval(self, id_: str) -> Approval | None:
        """Return an approval."""
        fact = self._fact(FactKind.APPROVAL, id_)
        return fact if isinstance(fact, Approval) else None

    def task(self, id_: str) -> Task | None:
        """Return a task."""
        fact = self._fact(FactKind.TASK, id_)
        return fact if isinstance(fact, Task) else None

    def session(self, id_: str) -> Session | None:
        """Return a session."""
        fact = self._fact(FactKind.SESSION, id_)
        return fact if isinstance(fact, Session) else None

    def revocation(self, id_: str) -> Revocation | None:
        """Return a revocation."""
        fact = self._fact(FactKind.REVOCATION, id_)
        return fact if isinstance(fact, Revocation) else None

    def plan(self, *changes: Change) -> Plan:
        """Return the plan to write these, if nothing that was looked at has changed."""
        return Plan(changes, dict(self._read))

    def _fact(self, kind: FactKind, id_: str) -> AnyFact | None:
        fact = self.snapshot.fact(kind, id_)
        self._read[kind, id_] = 0 if fact is None else fact.revision
        return fact
