"""What the lifecycle is meant to do, told a second time and simply: who holds what, until when, and who may change it.

It shares no code with the product. Scopes are sets of the few actions and resources there are; a command is a method
that says whether it must be carried out, by returning what it then changes, or None if it must be refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LONGEST_CERTIFICATION = 400 * DAY
STANDARD, BREAK_GLASS = "standard", "break_glass"

ACTIONS: Mapping[str, frozenset[str]] = {
    "rows.read": frozenset({"rows.read"}),
    "rows.write": frozenset({"rows.write"}),
    "rows.*": frozenset({"rows.read", "rows.write", "rows.drop"}),
}
RESOURCES: Mapping[str, frozenset[str]] = {
    "database:prod/users": frozenset({"database:prod/users"}),
    "database:prod/**": frozenset({"database:prod/users", "database:prod/orders"}),
    "database:**": frozenset({"database:prod/users", "database:prod/orders", "database:test/users"}),
}
"""Patterns, and which of all there is they cover."""

Effect: TypeAlias = Callable[[], None]


@dataclass(frozen=True)
class Actor:
    """A principal."""

    name: str
    roles: frozenset[str]
    groups: frozenset[str] = frozenset()
    identities: frozenset[str] = frozenset()

    def asks_for(self, identity: str) -> bool:
        """Whether it may ask for an identity."""
        return identity in self.identities

    def stands_for(self, owner: str) -> bool:
        """Whether an owner is this principal, or a group of its."""
        return owner == self.name or owner in self.groups


@dataclass(frozen=True)
class Scope:
    """One pattern of actions on one of resources."""

    actions: str
    resources: str

    def covers(self, action: str, resource: str) -> bool:
        """Whether it lets an action on a resource through."""
        return action in ACTIONS[self.actions] and resource in RESOURCES[self.resources]

    def inside(self, other: Scope) -> bool:
        """Whether all of it lies in another."""
        return (
            ACTIONS[self.actions] <= ACTIONS[other.actions] and RESOURCES[self.resources] <= RESOURCES[other.resources]
        )

    def meets(self, other: Scope) -> bool:
        """Whether it has something in common with another."""
        return bool(
            ACTIONS[self.actions] & ACTIONS[other.actions] and RESOURCES[self.resources] & RESOURCES[other.resources]
        )


@dataclass(frozen=True)
class Policy:
    """What is asked of a scope."""

    scope: Scope
    kinds: tuple[str, ...] = ()
    approvers: int = 1
    groups: frozenset[str] = frozenset()
    independent: bool = False
    session_ttl: int | None = None
    idle_timeout: int | None = None
    depth: int | None = None
    approval_ttl: int | None = None
    break_glass_ttl: int | None = None
    review_within: int | None = None
    freeze: bool = False


@dataclass
class Identity:
    """Who may act."""

    owner: str
    state: str = "active"


@dataclass
class Entitlement:
    """What an identity is eligible for."""

    identity: str
    scope: Scope
    max_ttl: int | None
    granted_by: str
    certified_until: int | None = None


@dataclass
class Approval:
    """Consent."""

    identity: str
    scope: Scope
    begin: int
    end: int
    max_uses: int | None
    requested_by: str
    kind: str = STANDARD
    state: str = "pending"
    consents: dict[str, frozenset[str]] = field(default_factory=dict)
    review_due: int | None = None
    reviewed_by: str = ""
    uses: int = 0


@dataclass
class Task:
    """Work."""

    owner: str
    parent: str
    state: str = "open"


@dataclass
class Session:
    """Access."""

    id: str
    identity: str
    task: str
    entitlement: str
    approval: str
    scope: Scope
    begin: int
    end: int
    idle: int | None
    max_uses: int | None
    opened_by: str
    parent: str = ""
    state: str = "open"
    uses: int = 0
    last_use: int = 0


@dataclass(frozen=True)
class Revocation:
    """What overrides."""

    target: str
    target_id: str
    effective_at: int
    expires_at: int | None
    revoked_by: str


BASELINE = Policy(Scope("rows.*", "database:**"), session_ttl=DAY, depth=4)
"""Applies always, besides all others."""


@dataclass
class World:
    """Who holds what until when."""

    now: int
    policies: tuple[Policy, ...] = (BASELINE,)
    identities: dict[str, Identity] = field(default_factory=dict)
    entitlements: dict[str, Entitlement] = field(default_factory=dict)
    approvals: dict[str, Approval] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    revocations: dict[str, Revocation] = field(default_factory=dict)

    def may(self, subject: str, id_: str, action: str, resource: str) -> bool:
        """Whether a check must be allowed, now."""
        session = self.sessions.get(id_)
        if session is None or session.identity != subject:
            return False
        covering = [one for one in self.policies if one.scope.covers(action, resource)]
        return (
            self._live(session, self.now, covering)
            and all(one.covers(action, resource) for one in (session.scope, *self._bounds(session)))
            and not any(one.freeze for one in covering)
        )

    def use(self, id_: str) -> None:
        """Count an allow."""
        chain = self.chain(self.sessions[id_])
        for session in chain:
            session.uses += 1
            session.last_use = self.now
        for approval in {one.approval for one in chain if one.approval}:
            self.approvals[approval].uses += 1

    def left(self, id_: str) -> int:
        """Return how many uses a session has left, by all it rests on."""
        chain = self.chain(self.sessions[id_])
        limited = [(one.max_uses, one.uses) for one in chain]
        limited += [(a.max_uses, a.uses) for one in chain if (a := self.approvals.get(one.approval)) is not None]
        return min((most - used for most, used in limited if most is not None), default=1 << 62)

    def chain(self, session: Session) -> list[Session]:
        """Return a session and those it was delegated by."""
        found = [session]
        while found[-1].parent:
            found.append(self.sessions[found[-1].parent])
        return found

    def revoked(self, target: str, id_: str, at: int) -> bool:
        """Whether something is overridden at an instant."""
        return any(
            (one.target, one.target_id) == (target, id_)
            and one.effective_at <= at
            and (one.expires_at is None or at < one.expires_at)
            for one in self.revocations.values()
        )

    def able(self, identity: str, at: int) -> bool:
        """Whether an identity could act."""
        known = self.identities.get(identity)
        return (
            known is not None
            and known.state == "active"
            and not self.revoked("identity", identity, at)
            and not self.revoked("owner", known.owner, at)
        )

    def going_on(self, task: str, at: int) -> bool:
        """Whether a task, and all tasks above it, go on."""
        while task:
            known = self.tasks.get(task)
            if known is None or known.state != "open" or self.revoked("task", task, at):
                return False
            task = known.parent
        return True

    def stands(self, session: Session) -> bool:
        """Whether anything could be allowed under a session, under all the policies that its scope meets."""
        return self._live(session, max(self.now, session.begin), self.meeting(session.scope))

    def contained(self, session: Session) -> bool:
        """Whether a session's scope lies in all that it rests on."""
        return all(session.scope.inside(bound) for bound in self._bounds(session))

    def meeting(self, scope: Scope) -> list[Policy]:
        """Return the policies that have something in common with a scope."""
        return [one for one in self.policies if one.scope.meets(scope)]

    def latest_end(self, session: Session) -> int:
        """Return until when a session may last."""
        chain = self.chain(session)
        ends = [session.begin + one.session_ttl for one in self.meeting(session.scope) if one.session_ttl]
        own = self.entitlements.get(session.entitlement)
        if own is not None and own.max_ttl:
            ends.append(session.begin + own.max_ttl)
        ends += [one.end for one in chain[1:]]
        ends += [self.approvals[one.approval].end for one in chain if one.approval in self.approvals]
        entitlements = [self.entitlements.get(one.entitlement) for one in chain]
        ends += [one.certified_until for one in entitlements if one is not None and one.certified_until is not None]
        return min(ends, default=1 << 62)

    def tied(self, actor: Actor, people: Iterable[str]) -> bool:
        """Whether an actor is one of the people, or in one of the groups among them."""
        return any(who and actor.stands_for(who) for who in people)

    def people_of_identity(self, identity: str) -> Iterator[str]:
        """Yield who has an interest in an identity."""
        if identity in self.identities:
            yield self.identities[identity].owner

    def people_of_session(self, id_: str) -> Iterator[str]:
        """Yield who has an interest in a session."""
        yield self.sessions[id_].opened_by
        yield from self.people_of_identity(self.sessions[id_].identity)

    def people_of_approval(self, id_: str) -> Iterator[str]:
        """Yield who has an interest in an approval."""
        yield self.approvals[id_].requested_by
        yield from self.people_of_identity(self.approvals[id_].identity)
        for session in [one for one, held in self.sessions.items() if held.approval == id_]:
            yield from self.people_of_session(session)

    def people_of_entitlement(self, id_: str) -> Iterator[str]:
        """Yield who has an interest in an entitlement."""
        yield self.entitlements[id_].granted_by
        yield from self.people_of_identity(self.entitlements[id_].identity)

    def copy(self, **changes: object) -> World:
        """Return a world that differs in a few facts."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def _live(self, session: Session, at: int, policies: Iterable[Policy]) -> bool:
        return (
            all(self._bears(one, at) for one in self.chain(session))
            and all(self._satisfies(session, at, policy) for policy in policies)
            and self._short_enough(session)
        )

    def _bears(self, session: Session, at: int) -> bool:
        """Whether a session, and all it rests on itself, is alive, whatever policies say."""
        return (
            self.able(session.identity, at)
            and session.state == "open"
            and session.begin <= at < session.end
            and not self.revoked("session", session.id, at)
            and not (session.idle is not None and at >= max(session.last_use, session.begin) + session.idle)
            and not (session.max_uses is not None and session.uses >= session.max_uses)
            and self.going_on(session.task, at)
            and self._entitled(session, at)
            and (not session.approval or self._approved(session, at))
        )

    def _entitled(self, session: Session, at: int) -> bool:
        known = self.entitlements.get(session.entitlement)
        return (
            known is not None
            and known.identity == session.identity
            and known.certified_until is not None
            and at < known.certified_until
            and not self.revoked("entitlement", session.entitlement, at)
        )

    def _approved(self, session: Session, at: int) -> bool:
        known = self.approvals.get(session.approval)
        return (
            known is not None
            and known.identity == session.identity
            and known.state == "approved"
            and known.begin <= at < known.end
            and not (known.max_uses is not None and known.uses >= known.max_uses)
            and not self.revoked("approval", session.approval, at)
            and not (known.kind == BREAK_GLASS and self._owes_a_review(known.identity, at))
        )

    def _owes_a_review(self, identity: str, at: int) -> bool:
        return any(
            one.kind == BREAK_GLASS and not one.reviewed_by and one.identity == identity and (one.review_due or 0) <= at
            for one in self.approvals.values()
        )

    def _satisfies(self, session: Session, at: int, policy: Policy) -> bool:
        depth, window = len(self.chain(session)) - 1, session.end - session.begin
        return (
            self._consented(session, policy)
            and not (policy.session_ttl is not None and window > policy.session_ttl)
            and not (
                policy.idle_timeout is not None and at >= max(session.last_use, session.begin) + policy.idle_timeout
            )
            and not (policy.depth is not None and depth > policy.depth)
        )

    def _short_enough(self, session: Session) -> bool:
        most = self.entitlements[session.entitlement].max_ttl
        return most is None or session.end - session.begin <= most

    def _consented(self, session: Session, policy: Policy) -> bool:
        approval = self.approvals.get(session.approval)
        if approval is None:
            return not policy.kinds
        most = policy.break_glass_ttl if approval.kind == BREAK_GLASS else policy.approval_ttl
        if most is not None and approval.end - approval.begin > most:
            return False
        if not policy.kinds or approval.kind == BREAK_GLASS:
            return not policy.kinds or BREAK_GLASS in policy.kinds
        if STANDARD not in policy.kinds or not self.enough(approval, policy):
            return False
        return not (policy.independent and self._interested(session, approval))

    def _interested(self, session: Session, approval: Approval) -> bool:
        owner = self.identities[session.identity].owner
        interested = {approval.requested_by, owner, *(one.identity for one in self.chain(session))}
        return any(by in interested or owner in groups for by, groups in approval.consents.items())

    def enough(self, approval: Approval, policy: Policy) -> bool:
        """Whether as many have consented as a policy asks for, of its groups."""
        counted = [by for by, groups in approval.consents.items() if not policy.groups or policy.groups & groups]
        return len(counted) >= policy.approvers

    def _bounds(self, session: Session) -> Iterator[Scope]:
        for one in self.chain(session):
            if one is not session:
                yield one.scope
            if one.entitlement in self.entitlements:
                yield self.entitlements[one.entitlement].scope
            if one.approval in self.approvals:
                yield self.approvals[one.approval].scope
