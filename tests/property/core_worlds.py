"""Random worlds for the laws of the core: few ids, short times, so that everything collides with everything.

Each fact is grown from one number, so that a world is cheap to draw (a millisecond, against sixty when every field is
drawn) and still shrinks: 0 grows a fact in which everything is good, other numbers spoil a field here and there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from msgspec.structs import replace as changed

from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Attribute,
    Caller,
    Consent,
    Credential,
    Duration,
    Entitlement,
    Identity,
    IdentityKind,
    IdentityState,
    Instant,
    Request,
    Revocation,
    RevocationTarget,
    Session,
    SessionState,
    Signal,
    Task,
    TaskState,
)
from pdp.core.policy.cel import Program
from pdp.core.policy.model import ApprovalRequirement, Condition, Limits, Policy
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.snapshot import Readiness
from tests.property.reference_world import CONDITIONS, World

_T = TypeVar("_T")

LAST = 20
"""No window ends later."""

laws = settings(max_examples=int(os.environ.get("PDP_PROPERTY_EXAMPLES", "200")), deadline=None)
"""How the laws of the core are tried: untimed, on more examples when the environment asks for them."""

PROGRAMS = [(source, Program(source)) for source in CONDITIONS]
SUBJECTS = ("a", "f/x")
FAMILIES = ("f/*", "f/**", "**")
TASKS, ENTITLEMENTS, APPROVALS = ("t0", "t1", "t2"), ("e0", "e1"), ("p0", "p1", "p2")
SESSIONS = ("s0", "s1", "s2", "s3")
ACTIONS, RESOURCES = ("r.x", "r.y"), ("d:p/u", "d:q")
ACTION_PATTERNS = ("r.*", "r.x", "r.**", "*.y", "*.*")
RESOURCE_PATTERNS = ("d:**", "d:p/*", "d:p/u", "*:**", "d:p/**")
UNKNOWN = "none"
VALUES: Sequence[Attribute] = (1, 1.0, True, "a", 2, False)
TARGETS: Sequence[tuple[RevocationTarget, str]] = (
    *((RevocationTarget.IDENTITY, id_) for id_ in (*SUBJECTS, "f/*", "f/**", "*", UNKNOWN)),
    *((RevocationTarget.SESSION, id_) for id_ in (*SESSIONS, UNKNOWN)),
    *((RevocationTarget.TASK, id_) for id_ in (*TASKS, UNKNOWN)),
    *((RevocationTarget.APPROVAL, id_) for id_ in (*APPROVALS, UNKNOWN)),
    *((RevocationTarget.ENTITLEMENT, id_) for id_ in (*ENTITLEMENTS, UNKNOWN)),
    *((RevocationTarget.OWNER, id_) for id_ in ("o1", "o2")),
    (RevocationTarget.CREDENTIAL, "c0"),
    (RevocationTarget.ISSUER, "i0"),
)

CONSENTS = tuple(
    tuple(Consent(by=by, at=Instant(0), groups=groups) for by, groups in consents)
    for consents in (
        (("z", ()),),
        (("z", ("g1",)), ("y", ("g2",))),
        (("z", ("g1",)), ("y", ("g1", "g2")), ("x", ())),
        (("z", ("g1",)), ("a", ("g2",))),
        (("y", ("o1",)), ("z", ("g1",))),
    )
)
"""Who has consented, by person and groups; `a` is an identity, `o1` an owner."""


class Dice:
    """Choices grown from one number; 0 always chooses the good one."""

    def __init__(self, number: int) -> None:
        """Spoil one choice in ten, in fifty, in five, or none."""
        self._random = Random(number)
        self._chance = (0.0, 0.1, 0.02, 0.2)[number % 4]

    def mostly(self, good: _T, *bad: _T) -> _T:
        """Return the good one, or now and then one of the others."""
        return self._random.choice(bad) if self._random.random() < self._chance else good

    def often(self, first: _T, *others: _T) -> _T:
        """Return any of them; 0 returns the first."""
        return self._random.choice((first, *others)) if self._chance else first

    def flip(self, likelihood: float) -> bool:
        """Return yes with this likelihood; 0 returns no."""
        return self._chance > 0 and self._random.random() < likelihood

    def instant(self, first: int, last: int) -> Instant:
        """Return an instant, both ends included."""
        return Instant(self.often(*range(first, last + 1)))

    def duration(self, *lengths: int) -> Duration | None:
        """Return no duration, or now and then one of these."""
        return self.mostly(None, *map(Duration, lengths))

    def start(self) -> Instant:
        """Return when a window begins."""
        return Instant(self.mostly(0, *range(1, 10)))

    def end(self) -> Instant:
        """Return when a window ends."""
        return Instant(self.mostly(LAST, *range(9, LAST), *range(9, LAST)))

    def actions(self) -> ActionScope:
        """Return the scope of a fact."""
        return ActionScope(self.mostly(["**"], *([one] for one in ACTION_PATTERNS), ["r.x", "*.y"]))

    def resources(self) -> ResourceScope:
        """Return the scope of a fact."""
        return ResourceScope(self.mostly(["**"], *([one] for one in RESOURCE_PATTERNS), ["d:q", "d:p/*"]))


def identity(id_: str, dice: Dice) -> Identity:
    """Grow the record of a subject or family."""
    return Identity(
        id=id_,
        kind=dice.mostly(IdentityKind.WORKLOAD, IdentityKind.AI_AGENT),
        owner=dice.mostly("o1", "o2", ""),
        state=dice.mostly(IdentityState.ACTIVE, IdentityState.SUSPENDED, IdentityState.RETIRED),
        credential_max_age=dice.duration(6, 9),
    )


def entitlement(id_: str, dice: Dice) -> Entitlement:
    """Grow an entitlement."""
    return Entitlement(
        id=id_,
        identity=IdentityScope([dice.mostly("**", "a", "f/*")]),
        actions=dice.actions(),
        resources=dice.resources(),
        max_session_ttl=dice.duration(8, 15),
        certified_until=dice.mostly(Instant(LAST), None, *map(Instant, range(5, 16))),
    )


def approval(id_: str, dice: Dice) -> Approval:
    """Grow an approval."""
    return Approval(
        id=id_,
        kind=dice.often(ApprovalKind.STANDARD, ApprovalKind.BREAK_GLASS),
        state=dice.mostly(
            ApprovalState.APPROVED, ApprovalState.PENDING, ApprovalState.REJECTED, ApprovalState.WITHDRAWN
        ),
        identity=dice.mostly("", "a", "f/x"),
        ticket=dice.mostly("CHG-1", "", "X"),
        requested_by=dice.often("m", "n", "a"),
        approved_by=dice.mostly("z", "a", "m", "o1", ""),
        actions=dice.actions(),
        resources=dice.resources(),
        not_before=dice.start(),
        expires_at=dice.end(),
        max_uses=dice.mostly(None, 1, 2, 3),
        review_due=dice.mostly(Instant(LAST), None, *map(Instant, range(6, 14))),
        reviewed_by=dice.often("", "r"),
        consents=dice.often((), *CONSENTS) if dice.flip(0.7) else (),
    )


def task(id_: str, dice: Dice) -> Task:
    """Grow a task, which may be its own grandparent."""
    return Task(
        id=id_,
        owner=dice.mostly("o1", "o2"),
        parent=dice.mostly("", *(one for one in TASKS if one != id_), *(one for one in TASKS if one != id_), UNKNOWN),
        state=dice.mostly(TaskState.OPEN, TaskState.COMPLETED, TaskState.CANCELLED),
    )


def session(id_: str, dice: Dice) -> Session:
    """Grow a session, which may be its own grandparent."""
    constraints: list[dict[str, list[Attribute]]] = [{}, {"x": [1]}, {"x": [True, "a"]}, {"z": [0]}]
    return Session(
        id=id_,
        identity=dice.often(*SUBJECTS),
        task=dice.mostly("t0", "t1", "t2", UNKNOWN),
        entitlement=dice.mostly("e0", "e1", UNKNOWN),
        approval=dice.often("", "", *APPROVALS) if dice.flip(0.95) else dice.mostly("", UNKNOWN),
        actions=dice.actions(),
        resources=dice.resources(),
        constraints=dice.mostly(*constraints),
        not_before=dice.start(),
        expires_at=dice.end(),
        idle_timeout=dice.duration(2, 5, 9, 12),
        max_uses=dice.mostly(None, 1, 3),
        parent=dice.often(*(one for one in SESSIONS if one != id_), UNKNOWN) if dice.flip(0.3) else "",
        state=dice.mostly(SessionState.OPEN, SessionState.CLOSED),
    )


def revocation(id_: str, dice: Dice) -> Revocation:
    """Grow a revocation: past, in force or to come."""
    target, target_id = dice.often(*TARGETS)
    effective = dice.instant(0, 14)
    expires = Instant(effective + dice.often(*range(1, 9))) if dice.flip(0.5) else None
    return Revocation(
        id=id_, target=target, target_id=target_id, effective_at=effective, expires_at=expires, reason="left"
    )


def signal(id_: str, dice: Dice) -> Signal:
    """Grow a signal."""
    return Signal(
        id=id_,
        revision=dice.often(0, 1, 2, 3),
        about=dice.often(*SUBJECTS, *SESSIONS),
        name=dice.mostly("risk", "posture"),
        value=dice.often("high", "low"),
        expires_at=dice.instant(2, LAST),
    )


_Grow = Callable[[Dice], AnyFact]
USUAL: tuple[_Grow, ...] = (
    *(partial(identity, id_) for id_ in SUBJECTS),
    *(partial(entitlement, id_) for id_ in ENTITLEMENTS),
    *(partial(approval, id_) for id_ in APPROVALS),
    *(partial(task, id_) for id_ in TASKS),
    *(partial(session, id_) for id_ in SESSIONS),
)
"""Facts that are there unless something is wrong."""
UNUSUAL: tuple[_Grow, ...] = (
    *(partial(identity, id_) for id_ in FAMILIES),
    *(partial(revocation, id_) for id_ in ("v0", "v1", "v2", "v3")),
    *(partial(signal, id_) for id_ in ("g0", "g1", "g2")),
)
EVERY = USUAL + UNUSUAL

NUMBERS = st.integers(0, 2**32 - 1)
MILD = NUMBERS.map(lambda number: number - number % 4 + 2 if number else 0)
"""Numbers that spoil little, for worlds in which much is allowed."""


def any_fact() -> SearchStrategy[AnyFact]:
    """Return one fact of any kind."""
    return st.builds(lambda grow, number: grow(Dice(number)), st.sampled_from(EVERY), NUMBERS)


def facts_of(grow: _Grow) -> SearchStrategy[AnyFact]:
    """Return facts grown in one way."""
    return NUMBERS.map(lambda number: grow(Dice(number)))


def facts_from(numbers: Sequence[int]) -> tuple[AnyFact, ...]:
    """Grow a set of facts, each id at most once a kind, in any order."""
    facts: list[AnyFact] = []
    for grow, number in zip(EVERY, numbers, strict=False):
        dice = Dice(number)
        if dice.flip(0.06) if grow in USUAL else not dice.flip(0.15):
            continue
        facts.append(grow(dice))
    if numbers[-1] % 4:
        Random(numbers[-1]).shuffle(facts)
    return tuple(facts)


def fact_sets(numbers: SearchStrategy[int] = NUMBERS) -> SearchStrategy[tuple[AnyFact, ...]]:
    """Return sets of facts."""
    return st.lists(numbers, min_size=len(EVERY) + 1, max_size=len(EVERY) + 1).map(facts_from)


def good_world() -> World:
    """Return the world in which nothing is wrong, so that the good request is allowed."""
    return World(facts=tuple(grow(Dice(0)) for grow in USUAL))


def policy_from(name: str, number: int) -> Policy:
    """Grow a policy."""
    dice = Dice(number)

    def conditions() -> tuple[Condition, ...]:
        chosen = [dice.often(*PROGRAMS) for _ in range(dice.often(1, 2) if dice.flip(0.2) else 0)]
        return tuple(Condition(name, source, program) for source, program in chosen)

    kinds = dice.often(frozenset(ApprovalKind), frozenset([ApprovalKind.STANDARD]))
    ticket = dice.mostly(None, re.compile(r"CHG-\d+"))
    asked = None
    if dice.flip(0.2):
        groups = frozenset(dice.often((), ("g1",), ("g1", "g2")))
        asked = ApprovalRequirement(name, kinds, ticket, dice.flip(0.5), dice.often(1, 1, 2, 3), groups)
    return Policy(
        name=name,
        actions=(dice.often("**", *ACTION_PATTERNS),),
        resources=(dice.often("**", *RESOURCE_PATTERNS),),
        approval=asked,
        requirements=conditions(),
        denials=conditions(),
        limits=Limits(
            session_ttl=dice.duration(10, 18),
            idle_timeout=dice.duration(3, 8),
            delegation_depth=dice.mostly(None, 0, 1),
            credential_age=dice.duration(4, 9),
            approval_ttl=dice.duration(12, 19),
            break_glass_ttl=dice.duration(8, 16),
        ),
        durable=dice.flip(0.5),
    )


def policies() -> SearchStrategy[Policy]:
    """Return policies of a name that no world has."""
    return NUMBERS.map(partial(policy_from, "further"))


def world_from(facts: tuple[AnyFact, ...], numbers: Sequence[int]) -> World:
    """Grow the rest of a world around its facts, at revision 3."""
    dice, *rest = map(Dice, numbers[:2])
    used = range(dice.often(0, 1, 2))
    return World(
        facts=facts,
        policies=tuple(policy_from(f"rule-{place}", number) for place, number in enumerate(numbers[2:])),
        session_uses={dice.often(*SESSIONS): (dice.often(1, 2, 3), dice.instant(0, 9)) for _ in used},
        approval_uses={dice.often(*APPROVALS): (dice.often(1, 2, 3), dice.instant(0, 9)) for _ in used},
        revision=3,
        readiness=Readiness.READY if not rest[0].flip(0.05) else dice.often(Readiness.STALE, Readiness.NOT_READY),
    )


def worlds(numbers: SearchStrategy[int] = NUMBERS) -> SearchStrategy[World]:
    """Return whole worlds with up to three policies."""
    return st.builds(world_from, fact_sets(numbers), st.lists(numbers, min_size=2, max_size=5))


def credential_from(dice: Dice, subject: str) -> Credential:
    """Grow a credential."""
    return Credential(
        id=dice.often("c1", "c0"),
        issuer=dice.often("i1", "i0"),
        subject=dice.often("", subject) if dice.flip(0.9) else dice.mostly("", "a", "f/x"),
        issued_at=dice.mostly(Instant(3), None, *map(Instant, range(12))),
        expires_at=dice.mostly(None, *map(Instant, range(5, 16))),
    )


def request_from(number: int) -> Request:
    """Grow a request that names a session, a task, both or neither."""
    dice = Dice(number)
    subject = dice.often(*SUBJECTS) if dice.flip(0.95) else dice.mostly("a", UNKNOWN)
    session_, task_ = dice.often(("s0", ""), ("", "t0"), ("s1", ""), ("s2", "")), dice.mostly(None, "t0", "t1", UNKNOWN)
    context: dict[str, Attribute] = {"x": dice.often(*VALUES), "z": dice.mostly(0, 1)}
    for name in ("x", "z"):
        if dice.flip(0.2):
            del context[name]
    callers = [Caller("c", IdentityScope([pattern])) for pattern in ("**", "a", "f/*")]
    return Request(
        subject=subject,
        action=dice.often(*ACTIONS),
        resource=dice.often(*RESOURCES),
        session=dice.mostly(session_[0], "", "s3", UNKNOWN),
        task=session_[1] if task_ is None else task_,
        context=context,
        credential=credential_from(dice, subject) if dice.flip(0.5) else None,
        caller=dice.mostly(None, *callers),
        subject_type=dice.mostly("", "workload", "ai_agent"),
        at_least_revision=dice.mostly(0, 3, 4),
    )


def requests(numbers: SearchStrategy[int] = NUMBERS) -> SearchStrategy[Request]:
    """Return requests."""
    return numbers.map(request_from)


def asked_by(request: Request, subject: str) -> Request:
    """Return the request with another subject."""
    return changed(request, subject=subject)


def question_from(world: World, request: Request, now: int, fit: int) -> tuple[World, Request, Instant]:
    """Have the request made by the very identity of the session it names, mostly."""
    named = world.one(Session, request.session)
    if named is not None and fit:
        request = asked_by(request, named.identity)
    return world, request, Instant(now)


def questions(numbers: SearchStrategy[int] = NUMBERS) -> SearchStrategy[tuple[World, Request, Instant]]:
    """Return a world, a request that mostly fits it, and an instant around which windows begin and end."""
    return st.builds(question_from, worlds(numbers), requests(numbers), st.integers(4, 14), st.integers(0, 7))


def without(world: World, *facts: AnyFact) -> World:
    """Return a world without some of its facts."""
    return replace(world, facts=tuple(fact for fact in world.facts if fact not in facts))


def with_facts(world: World, *facts: AnyFact) -> World:
    """Return a world with some more facts."""
    return replace(world, facts=world.facts + facts)
