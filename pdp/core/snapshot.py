"""All facts and policies in memory, at one revision.

Rule 1: only `apply` and `record_use` change it, on the event-loop thread, between decisions; so a decision, which
never awaits, sees one consistent state.
Rule 2: a change is folded whole; revisions only grow.
Rule 3: a revocation is never evicted for size; it is dropped only by a change that says so.
Rule 4: the same facts give the same decisions, word for word, in whatever order they came; indexes have no order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias, TypeVar

from msgspec import Struct

from pdp.core.model import (
    KIND_OF,
    AnyFact,
    Approval,
    ApprovalKind,
    Change,
    Drop,
    Entitlement,
    FactKind,
    Identity,
    Instant,
    Revision,
    Revocation,
    RevocationTarget,
    Session,
    Signal,
    Task,
)
from pdp.core.policy.rules import PolicySet
from pdp.core.scope import FamilyIndex, is_pattern
from pdp.core.touch import NEWS, keys_of_fact


class Readiness(Enum):
    """Whether the state may be decided on."""

    NOT_READY = "no snapshot has been loaded yet"
    STALE = "no heartbeat came from the store within the staleness bound"
    READY = "ready"


Revoked: TypeAlias = dict[str, Collection[Revocation]]
"""The revocations of one kind of target by the target's id, those not in force included."""


def in_force(revocations: Iterable[Revocation], now: Instant) -> Revocation | None:
    """Return the one of the revocations that has overridden longest at `now`, or None."""
    longest: Revocation | None = None
    for one in revocations:
        if one.in_force(now) and (longest is None or (one.effective_at, one.id) < (longest.effective_at, longest.id)):
            longest = one
    return longest


class Use(Struct, gc=False):
    """How often a session or approval was used, and when last."""

    count: int
    last: Instant


class Snapshot:
    """The view of the change log that decisions are computed from."""

    __slots__ = (
        "_facts",
        "approval_uses",
        "approvals",
        "entitlements",
        "families",
        "identities",
        "policies",
        "readiness",
        "reviews",
        "revision",
        "revocation_families",
        "revocations",
        "revocations_until",
        "revoked_approvals",
        "revoked_credentials",
        "revoked_entitlements",
        "revoked_identities",
        "revoked_issuers",
        "revoked_owners",
        "revoked_sessions",
        "revoked_tasks",
        "scheduled_until",
        "session_uses",
        "sessions",
        "sessions_of",
        "signals",
        "signals_about",
        "tasks",
    )

    def __init__(self, policies: PolicySet | None = None) -> None:
        """Start empty, at revision 0, not ready."""
        self.revision: Revision = 0
        self.readiness = Readiness.NOT_READY
        self.policies = policies or PolicySet()
        self.identities: dict[str, Identity] = {}
        self.entitlements: dict[str, Entitlement] = {}
        self.approvals: dict[str, Approval] = {}
        self.tasks: dict[str, Task] = {}
        self.sessions: dict[str, Session] = {}
        self.revocations: dict[str, Revocation] = {}
        self.signals: dict[str, Signal] = {}
        # A dict's value type is invariant; only `put` writes here, and keeps kind and type together.
        own = (self.identities, self.entitlements, self.approvals, self.tasks, self.sessions)
        self._facts: Mapping[FactKind, dict[str, Any]] = dict(
            zip(FactKind, (*own, self.revocations, self.signals), strict=True)
        )
        # Derived from the facts above.
        self.families = FamilyIndex()
        self.sessions_of: dict[tuple[str, str], Collection[str]] = {}
        self.revoked_identities: Revoked = {}
        self.revoked_sessions: Revoked = {}
        self.revoked_tasks: Revoked = {}
        self.revoked_approvals: Revoked = {}
        self.revoked_entitlements: Revoked = {}
        self.revoked_credentials: Revoked = {}
        self.revoked_issuers: Revoked = {}
        self.revoked_owners: Revoked = {}
        self.revocation_families = FamilyIndex()
        self.revocations_until = Instant(0)
        """No revocation ever written begins or expires after this."""
        self.scheduled_until = Instant(0)
        """No revocation ever written begins after this."""
        self.reviews: dict[str, Collection[str]] = {}
        self.signals_about: dict[str, Collection[str]] = {}
        self.session_uses: dict[str, Use] = {}  # folded from evidence, not from the change log, like the next
        self.approval_uses: dict[str, Use] = {}

    def apply(self, revision: Revision, changes: Iterable[Change]) -> frozenset[str]:
        """Fold the changes of one commit; return the keys of the decisions they can alter (see `touch`).

        `revision` must be above the current one, else ValueError.
        """
        if revision <= self.revision:
            message = f"revision {revision} is not above {self.revision}"
            raise ValueError(message)
        touched = {NEWS}
        for change in changes:
            if isinstance(change, Drop):
                old = self._drop(change.kind, change.id)
            else:
                old = self.put(change.fact)
                touched.update(keys_of_fact(change.fact))
            if old is not None:
                touched.update(keys_of_fact(old))
        self.revision = revision
        return frozenset(touched)

    def put(self, fact: AnyFact) -> AnyFact | None:
        """Write one fact and return the one it replaces.

        Part of a commit or of the first load, whose revision the caller sets at the end.
        """
        kind = KIND_OF[type(fact)]
        facts = self._facts[kind]
        old: AnyFact | None = facts.get(fact.id)
        if old is not None:
            self._unindex(old)
        facts[fact.id] = fact
        self._index(fact)
        return old

    def fact(self, kind: FactKind, id_: str) -> AnyFact | None:
        """Return one fact, or None."""
        fact: AnyFact | None = self._facts[kind].get(id_)
        return fact

    def facts(self, kind: FactKind) -> Sequence[AnyFact]:
        """Return all facts of a kind."""
        return tuple(self._facts[kind].values())

    def record_use(self, sessions: Iterable[str], approvals: Iterable[str], now: Instant) -> None:
        """Count one use of each session and approval at `now`."""
        for uses, ids in ((self.session_uses, sessions), (self.approval_uses, approvals)):
            for id_ in ids:
                use = uses.get(id_)
                if use is None:
                    uses[id_] = Use(1, now)
                else:
                    use.count += 1
                    use.last = max(use.last, now)

    def family_of(self, subject: str) -> Identity | None:
        """Return the record of the closest family that covers the subject, or None."""
        for pattern in self.families.covering(subject):
            return self.identities[pattern]
        return None

    def revoked(self, target: RevocationTarget) -> Revoked:
        """Return the revocations of one kind of target."""
        match target:
            case RevocationTarget.IDENTITY:
                return self.revoked_identities
            case RevocationTarget.SESSION:
                return self.revoked_sessions
            case RevocationTarget.TASK:
                return self.revoked_tasks
            case RevocationTarget.APPROVAL:
                return self.revoked_approvals
            case RevocationTarget.ENTITLEMENT:
                return self.revoked_entitlements
            case RevocationTarget.CREDENTIAL:
                return self.revoked_credentials
            case RevocationTarget.ISSUER:
                return self.revoked_issuers
            case RevocationTarget.OWNER:
                return self.revoked_owners

    def _drop(self, kind: FactKind, id_: str) -> AnyFact | None:
        fact: AnyFact | None = self._facts[kind].pop(id_, None)
        if fact is not None:
            self._unindex(fact)
        return fact

    def _index(self, fact: AnyFact) -> None:
        match fact:
            case Session():
                _add(self.sessions_of, (fact.identity, fact.task), fact.id)
            case Revocation():
                _add(self.revoked(fact.target), fact.target_id, fact)
                edge = fact.effective_at if fact.expires_at is None else fact.expires_at
                self.revocations_until = max(self.revocations_until, edge)
                self.scheduled_until = max(self.scheduled_until, fact.effective_at)
                if fact.target is RevocationTarget.IDENTITY and is_pattern(fact.target_id):
                    self.revocation_families.add(fact.target_id)
            case Identity() if is_pattern(fact.id):
                self.families.add(fact.id)
            case Approval() if fact.kind is ApprovalKind.BREAK_GLASS and not fact.reviewed_by:
                _add(self.reviews, fact.identity or fact.requested_by, fact.id)
            case Signal():
                _add(self.signals_about, fact.about, fact.id)
            case _:
                pass

    def _unindex(self, fact: AnyFact) -> None:
        match fact:
            case Session():
                _remove(self.sessions_of, (fact.identity, fact.task), fact.id)
            case Revocation():
                _remove(self.revoked(fact.target), fact.target_id, fact)
                if fact.target is RevocationTarget.IDENTITY and fact.target_id not in self.revoked_identities:
                    self.revocation_families.remove(fact.target_id)
            case Identity() if is_pattern(fact.id):
                self.families.remove(fact.id)
            case Approval() if fact.kind is ApprovalKind.BREAK_GLASS:
                _remove(self.reviews, fact.identity or fact.requested_by, fact.id)
            case Signal():
                _remove(self.signals_about, fact.about, fact.id)
            case _:
                pass


_K = TypeVar("_K")
_V = TypeVar("_V")


def _add(index: dict[_K, Collection[_V]], key: _K, value: _V) -> None:
    """Add to the few values of a key, kept as a tuple; many are kept as the keys of a dict, which adds in no time."""
    held = index.get(key, ())
    if isinstance(held, dict):
        held[value] = None
    elif len(held) < _FEW:
        index[key] = (*held, value)
    else:
        index[key] = dict.fromkeys((*held, value))


def _remove(index: dict[_K, Collection[_V]], key: _K, value: _V) -> None:
    held = index.get(key, ())
    if isinstance(held, dict):
        held.pop(value, None)
    else:
        held = tuple(item for item in held if item != value)
        index[key] = held
    if not held:
        index.pop(key, None)


_FEW = 8
