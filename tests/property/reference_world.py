"""What the reference decider looks at: a world of facts, its conditions in Python, and a plain pattern matcher."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    Attribute,
    Entitlement,
    Identity,
    Instant,
    Request,
    Revocation,
    RevocationTarget,
    Session,
    SessionState,
    Signal,
    Task,
)
from pdp.core.policy.model import Policy
from pdp.core.policy.rules import PolicySet
from pdp.core.snapshot import Readiness, Snapshot, Use

_F = TypeVar("_F", Identity, Entitlement, Approval, Task, Session, Revocation, Signal)


@dataclass(frozen=True)
class World:
    """Everything a decision may depend on, but the request and the instant."""

    facts: tuple[AnyFact, ...] = ()
    policies: tuple[Policy, ...] = ()
    session_uses: Mapping[str, tuple[int, Instant]] = field(default_factory=dict)
    """How often a session was used, and when last."""
    approval_uses: Mapping[str, tuple[int, Instant]] = field(default_factory=dict)
    revision: int = 1
    readiness: Readiness = Readiness.READY

    def all(self, kind: type[_F]) -> list[_F]:
        """Return all facts of a kind."""
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def one(self, kind: type[_F], id_: str) -> _F | None:
        """Return a fact by its id, or None."""
        return next((fact for fact in self.all(kind) if fact.id == id_), None)

    def snapshot(self) -> Snapshot:
        """Load it as the core sees it."""
        snapshot = Snapshot(PolicySet(self.policies))
        for fact in self.facts:
            snapshot.put(fact)
        snapshot.session_uses.update((id_, Use(*use)) for id_, use in self.session_uses.items())
        snapshot.approval_uses.update((id_, Use(*use)) for id_, use in self.approval_uses.items())
        snapshot.revision = self.revision
        snapshot.readiness = self.readiness
        return snapshot


class MissingError(Exception):
    """A condition reads an attribute that is not there."""


class NoTruthError(Exception):
    """A condition is neither true nor false."""


@dataclass(frozen=True)
class Variables:
    """What conditions read."""

    context: Mapping[str, Attribute]
    signals: Mapping[str, Attribute]
    owner: str | None
    kind: str | None
    session: str | None
    task_owner: str | None
    approval_kind: str | None

    def equal(self, value: Attribute, expected: Attribute) -> bool:
        """Compare as CEL does: 1 is 1.0, but true is not 1."""
        return isinstance(value, bool) is isinstance(expected, bool) and value == expected

    def of_context(self, name: str) -> Attribute:
        """Return an attribute of the context, or say that it is missing."""
        return there(self.context.get(name))


def there(value: Attribute) -> Attribute:
    """Return a value that is there; none of the attributes tried here is null."""
    if value is None:
        raise MissingError
    return value


def truth(value: Attribute) -> bool:
    """Return a boolean, or say that it is none."""
    if not isinstance(value, bool):
        raise NoTruthError
    return value


CONDITIONS: Mapping[str, Callable[[Variables], bool]] = {
    "true": lambda _: True,
    "false": lambda _: False,
    "context.x == 1": lambda v: v.equal(v.of_context("x"), 1),
    "context.x": lambda v: truth(v.of_context("x")),
    "context.y == 1 || true": lambda _: True,
    'has(context.x) && context.x == "a"': lambda v: "x" in v.context and v.equal(v.context["x"], "a"),
    'signals.risk == "high"': lambda v: v.equal(there(v.signals.get("risk")), "high"),
    'subject.owner == "o1"': lambda v: there(v.owner) == "o1",
    'subject.kind == "workload"': lambda v: there(v.kind) == "workload",
    'session.id == "s0"': lambda v: there(v.session) == "s0",
    'task.owner == "o1"': lambda v: there(v.task_owner) == "o1",
    'approval.kind == "standard"': lambda v: there(v.approval_kind) == "standard",
}
"""The conditions tried here, in CEL and in Python."""


def reads_session(source: str) -> bool:
    """Whether a condition has no meaning without a session."""
    return source.startswith(("session.", "task.", "approval."))


def split(text: str, separators: str) -> list[str]:
    """Split at the first of the first separator, and at every second one."""
    first, second = separators[0], separators[1]
    head, found, tail = text.partition(first)
    return [head, *tail.split(second)] if found else [head]


def matches(pattern: list[str], value: list[str]) -> bool:
    """Match segment by segment: `*` is any one, a final `**` any number."""
    if pattern == ["**"]:
        return True
    if not pattern or not value:
        return not pattern and not value
    return pattern[0] in ("*", value[0]) and matches(pattern[1:], value[1:])


def covers(patterns: Iterable[str], value: str, separators: str) -> bool:
    """Whether any of the patterns matches."""
    return any(matches(split(pattern, separators), split(value, separators)) for pattern in patterns)


def covers_identity(pattern: str, subject: str) -> bool:
    """Match an identity or family against a subject."""
    return covers([pattern], subject, "//")


def in_scope(actions: Iterable[str], resources: Iterable[str], request: Request) -> tuple[bool, bool]:
    """Whether the action is covered, and whether the resource is."""
    return covers(actions, request.action, ".."), covers(resources, request.resource, ":/")


def specificity(pattern: str) -> list[int]:
    """Order patterns: from the left a literal before `*` before `**`."""
    return [{"*": 1, "**": 2}.get(segment, 0) for segment in pattern.split("/")]


LONGEST_CHAIN = 32


@dataclass(frozen=True)
class WorldAt:
    """What can be looked up in a world at an instant."""

    world: World
    now: Instant

    def revoked(self, target: RevocationTarget, id_: str) -> bool:
        """Whether any revocation of it is in force."""
        return any(
            one.target is target
            and (one.target_id == id_ or (target is RevocationTarget.IDENTITY and covers_identity(one.target_id, id_)))
            and one.effective_at <= self.now
            and (one.expires_at is None or self.now < one.expires_at)
            for one in self.world.all(Revocation)
        )

    def record(self, subject: str) -> Identity | None:
        """Return the most specific record that covers a subject."""
        covering = [one for one in self.world.all(Identity) if covers_identity(one.id, subject)]
        return min(covering, key=lambda one: specificity(one.id), default=None)

    def policies(self, request: Request) -> list[Policy]:
        """Return the policies that apply."""
        return [one for one in self.world.policies if all(in_scope(one.actions, one.resources, request))]

    def candidates(self, request: Request) -> list[Session]:
        """Return the sessions of the subject for the task named."""
        every = self.world.all(Session)
        return [one for one in every if (one.identity, one.task) == (request.subject, request.task)]

    def live(self, request: Request) -> list[Session]:
        """Return the candidates that are open and inside their window."""
        return [
            one
            for one in self.candidates(request)
            if one.state is SessionState.OPEN and one.not_before <= self.now < one.expires_at
        ]

    def session(self, request: Request) -> Session | None:
        """Return the session named, else the one found; none if none or several fit."""
        if request.session:
            return self.world.one(Session, request.session)
        if not request.task or len(self.live(request)) > 1:
            return None
        fitting = self.live(request) or self.candidates(request)
        return max(fitting, key=lambda one: (one.expires_at, one.id), default=None)

    def ancestors(self, session: Session) -> tuple[list[Session], bool]:
        """Return the parent sessions that are known, and whether the chain comes to an end."""
        chain: list[Session] = []
        while session.parent:
            parent = self.world.one(Session, session.parent)
            if parent is None or len(chain) == LONGEST_CHAIN:
                return chain, False
            chain.append(parent)
            session = parent
        return chain, True

    def is_break_glass(self, session: Session | None) -> bool:
        """Whether it rests on an emergency's approval, its own or one of a parent session."""
        chain = [] if session is None else [session, *self.ancestors(session)[0]]
        approvals = [self.world.one(Approval, one.approval) for one in chain]
        return any(one is not None and one.kind is ApprovalKind.BREAK_GLASS for one in approvals)
