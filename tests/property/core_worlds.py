"""Random worlds for the laws of the core: few ids, short times, so that everything collides with everything.

Most values are good, so that allows are common; each may be bad, so that every denial comes up, alone and with others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Attribute,
    Caller,
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
"""No window ends later, and no answer changes later."""

EXAMPLES = int(os.environ.get("PDP_PROPERTY_EXAMPLES", "200"))
"""How many examples each law of the core is tried on; a thousand and more before a release."""

laws = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
"""How the laws of the core are tried: untimed, for a world is a lot to draw."""

PROGRAMS = {source: Program(source) for source in CONDITIONS}
SUBJECTS = ("a", "f/x")
FAMILIES = ("f/*", "f/**", "**")
OWNERS = ("o1", "o2")
TASKS, ENTITLEMENTS, APPROVALS = ("t0", "t1", "t2"), ("e0", "e1"), ("p0", "p1", "p2")
SESSIONS = ("s0", "s1", "s2", "s3")
ACTIONS, RESOURCES = ("r.x", "r.y"), ("d:p/u", "d:q")
ACTION_PATTERNS = ("**", "r.*", "r.x", "r.**", "*.y")
RESOURCE_PATTERNS = ("**", "d:**", "d:p/*", "d:p/u", "*:**", "d:p/**")
UNKNOWN = "none"


def mostly(good: _T, *bad: _T, weight: int = 4) -> SearchStrategy[_T]:
    """Return the good value, or now and then one of the bad."""
    return st.sampled_from([good] * (weight * len(bad)) + list(bad))


def instants(first: int = 0, last: int = LAST) -> SearchStrategy[Instant]:
    """Return instants, both ends included."""
    return st.integers(first, last).map(Instant)


def durations() -> SearchStrategy[Duration]:
    """Return short durations."""
    return st.integers(1, 16).map(Duration)


def rarely(strategy: SearchStrategy[_T]) -> SearchStrategy[_T | None]:
    """Return nothing, mostly."""
    return st.integers(0, 3).flatmap(lambda one: strategy if one == 3 else st.none())


STARTS = mostly(Instant(0), *map(Instant, range(1, 9)), weight=2)
ENDS = mostly(Instant(LAST), *map(Instant, range(9, LAST)), weight=1)
ACTION_SCOPES = mostly(["**"], *([one] for one in ACTION_PATTERNS), ["r.x", "*.y"], weight=1).map(ActionScope)
RESOURCE_SCOPES = mostly(["**"], *([one] for one in RESOURCE_PATTERNS), ["d:q", "d:p/*"], weight=1).map(ResourceScope)


def identities(id_: str) -> SearchStrategy[Identity]:
    """Return records of one subject or family."""
    return st.builds(
        Identity,
        id=st.just(id_),
        kind=mostly(IdentityKind.WORKLOAD, IdentityKind.AI_AGENT),
        owner=mostly("o1", "o2", ""),
        state=mostly(IdentityState.ACTIVE, IdentityState.SUSPENDED, IdentityState.RETIRED),
        credential_max_age=mostly(None, Duration(6), Duration(9)),
    )


def entitlements(id_: str) -> SearchStrategy[Entitlement]:
    """Return entitlements of one id."""
    return st.builds(
        Entitlement,
        id=st.just(id_),
        identity=mostly("**", "a", "f/*").map(lambda pattern: IdentityScope([pattern])),
        actions=ACTION_SCOPES,
        resources=RESOURCE_SCOPES,
        max_session_ttl=mostly(None, Duration(8), Duration(15)),
        certified_until=mostly(Instant(LAST), None, Instant(9), Instant(12)),
    )


def approvals(id_: str) -> SearchStrategy[Approval]:
    """Return approvals of one id."""
    return st.builds(
        Approval,
        id=st.just(id_),
        kind=st.sampled_from([ApprovalKind.STANDARD, ApprovalKind.BREAK_GLASS]),
        state=mostly(ApprovalState.APPROVED, ApprovalState.PENDING, ApprovalState.REJECTED, ApprovalState.WITHDRAWN),
        identity=mostly("", "a", "f/x"),
        ticket=mostly("CHG-1", "", "X"),
        requested_by=st.sampled_from(["a", "m", "n"]),
        approved_by=mostly("z", "a", "m", "o1", ""),
        actions=ACTION_SCOPES,
        resources=RESOURCE_SCOPES,
        not_before=STARTS,
        expires_at=ENDS,
        max_uses=mostly(None, 1, 2),
        review_due=mostly(Instant(LAST), None, *map(Instant, range(6, 14)), weight=1),
        reviewed_by=mostly("", "r", weight=2),
    )


def tasks(id_: str) -> SearchStrategy[Task]:
    """Return tasks of one id, which may be their own grandparents."""
    return st.builds(
        Task,
        id=st.just(id_),
        owner=mostly("o1", "o2"),
        parent=mostly("", *(set(TASKS) - {id_}), UNKNOWN, weight=2),
        state=mostly(TaskState.OPEN, TaskState.COMPLETED, TaskState.CANCELLED),
    )


def constraints() -> SearchStrategy[dict[str, list[Attribute]]]:
    """Return constraints on the context, mostly none."""
    return mostly({}, {"x": [1]}, {"x": [True, "a"]}, {"z": [0]}, weight=3)


def sessions(id_: str) -> SearchStrategy[Session]:
    """Return sessions of one id, which may be their own grandparents."""
    return st.builds(
        Session,
        id=st.just(id_),
        identity=st.sampled_from(SUBJECTS),
        task=mostly("t0", "t1", "t2", UNKNOWN, weight=1),
        entitlement=mostly("e0", "e1", UNKNOWN),
        approval=mostly("", *APPROVALS, UNKNOWN, weight=1),
        actions=ACTION_SCOPES,
        resources=RESOURCE_SCOPES,
        constraints=constraints(),
        not_before=STARTS,
        expires_at=ENDS,
        idle_timeout=mostly(None, *map(Duration, (2, 5, 9)), weight=2),
        max_uses=mostly(None, 1, 3),
        parent=mostly("", *(set(SESSIONS) - {id_}), UNKNOWN, weight=1),
        state=mostly(SessionState.OPEN, SessionState.CLOSED, weight=6),
    )


TARGETS: Sequence[tuple[RevocationTarget, str]] = (
    *((RevocationTarget.IDENTITY, id_) for id_ in (*SUBJECTS, "f/*", "f/**", "*", UNKNOWN)),
    *((RevocationTarget.SESSION, id_) for id_ in SESSIONS),
    *((RevocationTarget.TASK, id_) for id_ in (*TASKS, UNKNOWN)),
    *((RevocationTarget.APPROVAL, id_) for id_ in (*APPROVALS, UNKNOWN)),
    *((RevocationTarget.ENTITLEMENT, id_) for id_ in (*ENTITLEMENTS, UNKNOWN)),
    *((RevocationTarget.OWNER, id_) for id_ in OWNERS),
    (RevocationTarget.CREDENTIAL, "c0"),
    (RevocationTarget.ISSUER, "i0"),
)


@st.composite
def revocations(draw: st.DrawFn, id_: str) -> Revocation:
    """Return revocations of one id: past, in force or to come."""
    target, target_id = draw(st.sampled_from(TARGETS))
    effective = draw(instants(0, 14))
    expires = draw(st.none() | st.integers(1, 8).map(lambda length: Instant(min(effective + length, LAST))))
    return Revocation(
        id=id_, target=target, target_id=target_id, effective_at=effective, expires_at=expires, reason="left"
    )


def signals(id_: str) -> SearchStrategy[Signal]:
    """Return signals of one id."""
    return st.builds(
        Signal,
        id=st.just(id_),
        revision=st.integers(0, 3),
        about=st.sampled_from([*SUBJECTS, *SESSIONS]),
        name=mostly("risk", "posture"),
        value=st.sampled_from(["high", "low"]),
        expires_at=instants(2),
    )


SOMETIMES_MISSING: tuple[SearchStrategy[AnyFact], ...] = (
    *map(identities, SUBJECTS),
    *map(entitlements, ENTITLEMENTS),
    *map(approvals, APPROVALS),
    *map(tasks, TASKS),
    *map(sessions, SESSIONS),
)
MOSTLY_MISSING: tuple[SearchStrategy[AnyFact], ...] = (
    *map(identities, FAMILIES),
    *map(revocations, ("v0", "v1", "v2", "v3")),
    *map(signals, ("g0", "g1", "g2")),
)
EVERY_FACT: tuple[SearchStrategy[AnyFact], ...] = SOMETIMES_MISSING + MOSTLY_MISSING


def any_fact() -> SearchStrategy[AnyFact]:
    """Return one fact of any kind."""
    return st.one_of(EVERY_FACT)


@st.composite
def fact_sets(draw: st.DrawFn) -> tuple[AnyFact, ...]:
    """Return facts, each id at most once a kind, in any order."""
    present = draw(st.lists(st.integers(0, 7), min_size=len(EVERY_FACT), max_size=len(EVERY_FACT)))
    kept = [
        draw(strategy)
        for strategy, number in zip(EVERY_FACT, present, strict=True)
        if (number == 7) is (strategy in MOSTLY_MISSING)
    ]
    return tuple(draw(st.permutations(kept)))


def conditions(policy: str) -> SearchStrategy[tuple[Condition, ...]]:
    """Return up to two conditions of a policy."""
    one = st.sampled_from(sorted(PROGRAMS)).map(lambda source: Condition(policy, source, PROGRAMS[source]))
    return st.lists(one, max_size=2).map(tuple)


def requirements(policy: str) -> SearchStrategy[ApprovalRequirement]:
    """Return what a policy asks of an approval."""
    return st.builds(
        ApprovalRequirement,
        policy=st.just(policy),
        kinds=st.sampled_from([frozenset(ApprovalKind), frozenset([ApprovalKind.STANDARD])]),
        ticket=mostly(None, re.compile(r"CHG-\d+"), weight=1),
        independent=st.booleans(),
    )


def policies(name: str) -> SearchStrategy[Policy]:
    """Return policies of one name."""
    return st.builds(
        Policy,
        name=st.just(name),
        actions=st.sampled_from(ACTION_PATTERNS).map(lambda pattern: (pattern,)),
        resources=st.sampled_from(RESOURCE_PATTERNS).map(lambda pattern: (pattern,)),
        approval=rarely(requirements(name)),
        requirements=rarely(conditions(name)).map(lambda one: one or ()),
        denials=rarely(conditions(name)).map(lambda one: one or ()),
        limits=st.builds(
            Limits,
            session_ttl=mostly(None, Duration(10), Duration(18)),
            idle_timeout=mostly(None, Duration(3), Duration(8)),
            delegation_depth=mostly(None, 0, 1),
            credential_age=mostly(None, Duration(4), Duration(9)),
        ),
        durable=st.booleans(),
    )


def policy_sets() -> SearchStrategy[tuple[Policy, ...]]:
    """Return up to three policies."""
    return st.integers(0, 3).flatmap(lambda count: st.tuples(*(policies(f"rule-{n}") for n in range(count))))


def uses(ids: Sequence[str]) -> SearchStrategy[dict[str, tuple[int, Instant]]]:
    """Return how often some were used, and when last."""
    return st.dictionaries(st.sampled_from(ids), st.tuples(st.integers(1, 3), instants(0, 9)), max_size=2)


def worlds() -> SearchStrategy[World]:
    """Return whole worlds, at revision 3."""
    return st.builds(
        World,
        facts=fact_sets(),
        policies=policy_sets(),
        session_uses=uses(SESSIONS),
        approval_uses=uses(APPROVALS),
        revision=st.just(3),
        readiness=mostly(Readiness.READY, Readiness.STALE, Readiness.NOT_READY, weight=10),
    )


def contexts() -> SearchStrategy[dict[str, Attribute]]:
    """Return contexts that satisfy some conditions and not others."""
    values: SearchStrategy[Attribute] = st.sampled_from([1, 1.0, True, "a", 2, False])
    return st.fixed_dictionaries({}, optional={"x": values, "y": values, "z": mostly(0, 1)})


def credentials() -> SearchStrategy[Credential]:
    """Return credentials, good and bad."""
    return st.builds(
        Credential,
        id=mostly("c0", "c1", weight=1),
        issuer=mostly("i0", "i1", weight=1),
        subject=mostly("", "a", "f/x", weight=2),
        issued_at=mostly(Instant(2), None, *map(Instant, range(12)), weight=1),
        expires_at=mostly(None, Instant(1), *map(Instant, range(8, 14)), weight=2),
    )


def requests() -> SearchStrategy[Request]:
    """Return requests that name a session, a task, both or neither."""
    return st.builds(
        Request,
        subject=mostly("a", "f/x", UNKNOWN, weight=1),
        action=mostly("r.x", "r.y", weight=2),
        resource=mostly("d:p/u", "d:q", weight=2),
        session=mostly("s0", "", "s1", "s2", "s3", UNKNOWN, weight=1),
        task=mostly("", "t0", "t1", UNKNOWN, weight=1),
        context=contexts(),
        credential=mostly(None, Credential(), weight=1).flatmap(lambda one: st.none() if one is None else credentials()),
        caller=mostly(None, *(Caller("c", IdentityScope([pattern])) for pattern in ("a", "f/*", "**"))),
        subject_type=mostly("", "workload", "ai_agent"),
        at_least_revision=mostly(0, 3, 4, weight=5),
    )


def now() -> SearchStrategy[Instant]:
    """Return instants around which all windows begin and end."""
    return instants(4, 14)


def fit(world: World, request: Request) -> Request:
    """Return the request made by the very identity of the session it names, where there is one."""
    named = next((one for one in world.facts if isinstance(one, Session) and one.id == request.session), None)
    if named is None:
        return request
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    return Request(**fields | {"subject": named.identity})


@st.composite
def questions(draw: st.DrawFn) -> tuple[World, Request, Instant]:
    """Return a world, a request that mostly fits it, and an instant."""
    world, request, instant = draw(worlds()), draw(requests()), draw(now())
    return world, fit(world, request) if draw(mostly(True, False)) else request, instant


def without(world: World, *facts: AnyFact) -> World:
    """Return a world without some of its facts."""
    return replace(world, facts=tuple(fact for fact in world.facts if fact not in facts))


def with_facts(world: World, *facts: AnyFact) -> World:
    """Return a world with some more facts."""
    return replace(world, facts=world.facts + facts)
