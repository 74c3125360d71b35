"""Opening and deciding agree: what is opened is allowed, and no session has more than it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from hypothesis import event, given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from pdp.core.decide import decide
from pdp.core.decision import Allow, Decision
from pdp.core.model import (
    Attribute,
    Duration,
    Identity,
    Instant,
    Put,
    Request,
    Revocation,
    Session,
)
from pdp.core.policy.model import Policy
from pdp.core.reasons import Code
from pdp.core.scope import IdentityScope
from pdp.core.snapshot import Readiness, Snapshot
from pdp.core.standing import standing
from pdp.governance.commands import (
    AS_IT_IS_ACTIONS,
    AS_IT_IS_RESOURCES,
    DelegateSession,
    NarrowSession,
    OpenSession,
    RenewSession,
)
from pdp.governance.refusal import Refused
from pdp.governance.roles import Principal, Role
from pdp.governance.rules import sessions
from pdp.governance.view import Plan, View
from tests.property.core_worlds import (
    ACTIONS,
    APPROVALS,
    LAST,
    MILD,
    NUMBERS,
    RESOURCES,
    SESSIONS,
    SUBJECTS,
    UNKNOWN,
    VALUES,
    Dice,
    laws,
    worlds,
)
from tests.property.reference_world import World

ACTOR = Principal(name="q", roles=frozenset({Role.REQUESTER}), identities=IdentityScope(["**"]))
ABOUT_ITS_BASIS = frozenset(
    code for code in Code if code.startswith(("IDENTITY_", "SESSION_", "PARENT_", "TASK_", "ENTITLEMENT_"))
)
_LIMIT = Code.POLICY_LIMIT
INSTANTS = st.integers(3, 12).map(Instant)


def without_conditions(world: World) -> World:
    """Return the world, ready, with nothing in it that only a request can show."""
    facts = tuple(
        changed(fact, credential_max_age=None) if isinstance(fact, Identity) else fact for fact in world.facts
    )
    policies = tuple(map(_plain, world.policies))
    return replace(world, facts=facts, policies=policies, readiness=Readiness.READY)


def _plain(policy: Policy) -> Policy:
    limits = changed(policy.limits, credential_age=None)
    return changed(policy, requirements=(), denials=(), limits=limits)


PLAIN = worlds(MILD).map(without_conditions)


def opening_from(number: int) -> OpenSession:
    """Grow a command to open a session."""
    dice = Dice(number)
    return OpenSession(
        id="new",
        identity=dice.often(*SUBJECTS),
        task=dice.mostly("t0", "t1", "t2", UNKNOWN),
        entitlement=dice.mostly("e0", "e1", UNKNOWN),
        approval=dice.often("", *APPROVALS),
        actions=dice.actions(),
        resources=dice.resources(),
        not_before=dice.mostly(None, *map(Instant, range(4, 15))),
        ttl=dice.often(None, *map(Duration, range(1, 16))),
        idle_timeout=dice.duration(2, 5),
        max_uses=dice.mostly(None, 1, 3),
    )


def delegation_from(number: int) -> DelegateSession:
    """Grow a command to delegate."""
    dice = Dice(number)
    return DelegateSession(
        id="new",
        parent=dice.often(*SESSIONS),
        identity=dice.often(*SUBJECTS),
        task=dice.mostly("", "t1", UNKNOWN),
        entitlement=dice.mostly("e0", "e1", UNKNOWN),
        approval=dice.often("", *APPROVALS),
        actions=dice.actions() if dice.flip(0.5) else AS_IT_IS_ACTIONS,
        resources=dice.resources() if dice.flip(0.5) else AS_IT_IS_RESOURCES,
        ttl=dice.often(None, *map(Duration, range(1, 16))),
    )


def narrowing_from(number: int) -> NarrowSession:
    """Grow a command to narrow."""
    dice = Dice(number)
    constraints: list[dict[str, list[Attribute]]] = [{}, {"x": [1]}, {"x": [True]}, {"z": [0]}]
    return NarrowSession(
        session_id=dice.often(*SESSIONS),
        actions=dice.actions() if dice.flip(0.5) else AS_IT_IS_ACTIONS,
        resources=dice.resources() if dice.flip(0.5) else AS_IT_IS_RESOURCES,
        constraints=dice.often(*constraints) if dice.flip(0.3) else {},
        ttl=dice.often(*map(Duration, range(1, 16))) if dice.flip(0.5) else None,
        idle_timeout=dice.often(*map(Duration, (2, 5, 9))) if dice.flip(0.3) else None,
        max_uses=dice.often(1, 2, 3) if dice.flip(0.3) else None,
    )


def session_of(outcome: Plan | Refused) -> Session | None:
    """Return the session that is planned, or None if it is refused."""
    if isinstance(outcome, Refused):
        event(f"refused: {outcome.reasons[0].rule}")
        return None
    event("planned")
    (change,) = outcome.changes
    assert isinstance(change, Put)
    assert isinstance(change.fact, Session)
    return change.fact


def codes_of(decision: Decision) -> list[Code]:
    """Return the codes of the reasons against, each once."""
    return [] if isinstance(decision, Allow) else list(dict.fromkeys(one.code for one in decision.reasons))


def with_session(snapshot: Snapshot, session: Session) -> Snapshot:
    """Return the snapshot with a session written."""
    snapshot.put(session)
    return snapshot


def requests_in(session: Session) -> Iterator[Request]:
    """Yield every request that can be asked inside a session's scope."""
    for action, resource in product(ACTIONS, RESOURCES):
        if session.actions.covers(action) and session.resources.covers(resource):
            yield Request(subject=session.identity, action=action, resource=resource, session=session.id)


@laws
@given(PLAIN, NUMBERS.map(opening_from), INSTANTS)
def test_what_is_opened_is_allowed_in_all_its_scope_from_its_first_instant(
    world: World, command: OpenSession, now: Instant
) -> None:
    """Whatever policies there are."""
    opened = session_of(sessions.open_session(command, View(world.snapshot(), now, ACTOR)))
    if opened is None:
        return
    snapshot = with_session(world.snapshot(), opened)
    for request in requests_in(opened):
        decision = decide(request, snapshot, opened.not_before)
        assert isinstance(decision, Allow), decision


@laws
@given(PLAIN, NUMBERS.map(opening_from), INSTANTS)
def test_what_is_opened_lasts_until_its_end(world: World, command: OpenSession, now: Instant) -> None:
    """It is no longer than its basis: only idleness, a revocation to come or a late review ends it before."""
    quiet = replace(world, facts=tuple(fact for fact in world.facts if not isinstance(fact, Revocation)))
    opened = session_of(sessions.open_session(command, View(quiet.snapshot(), now, ACTOR)))
    if opened is None or opened.idle_timeout is not None:
        return
    policies = tuple(changed(one, limits=changed(one.limits, idle_timeout=None)) for one in quiet.policies)
    snapshot = with_session(replace(quiet, policies=policies).snapshot(), opened)
    for request in requests_in(opened):
        decision = decide(request, snapshot, Instant(opened.expires_at - 1))
        assert isinstance(decision, Allow) or decision.code is Code.REVIEW_OVERDUE, decision


@laws
@given(PLAIN, NUMBERS.map(opening_from), INSTANTS)
def test_what_does_not_bear_a_session_would_deny_it(world: World, command: OpenSession, now: Instant) -> None:
    """Written all the same, each of its requests is denied for every such cause, and for no other."""
    outcome = sessions.open_session(command, View(world.snapshot(), now, ACTOR))
    begin = max(now, command.not_before or now)
    written = Session(
        id="new",
        identity=command.identity,
        task=command.task,
        entitlement=command.entitlement,
        approval=command.approval,
        actions=command.actions,
        resources=command.resources,
        not_before=begin,
        expires_at=Instant(begin + 1),
    )
    refused_for = {one.rule for one in outcome.reasons} if isinstance(outcome, Refused) else set()
    snapshot = with_session(world.snapshot(), written)
    for request in requests_in(written):
        decision = decide(request, snapshot, begin)
        assert refused_for & ABOUT_ITS_BASIS == ABOUT_ITS_BASIS & set(codes_of(decision))


@laws
@given(PLAIN, NUMBERS.map(delegation_from), INSTANTS, st.sampled_from([{}, *({"x": value} for value in VALUES)]))
def test_no_child_may_do_what_its_parent_may_not(
    world: World, command: DelegateSession, now: Instant, context: dict[str, Attribute]
) -> None:
    """At any instant of its life; but idle timeouts of policies, which a use of the child keeps from passing."""
    policies = tuple(changed(one, limits=changed(one.limits, idle_timeout=None)) for one in world.policies)
    world = replace(world, policies=policies)
    child = session_of(sessions.delegate(command, View(world.snapshot(), now, ACTOR)))
    if child is None:
        return
    snapshot = with_session(world.snapshot(), child)
    parent = snapshot.sessions[child.parent]
    for at, action, resource in product(range(child.not_before, LAST), ACTIONS, RESOURCES):
        request = Request(subject=child.identity, action=action, resource=resource, session=child.id, context=context)
        if isinstance(decide(request, snapshot, Instant(at)), Allow):
            event("allowed")
            asked = changed(request, subject=parent.identity, session=parent.id)
            decision = decide(asked, snapshot, Instant(at))
            assert isinstance(decision, Allow), decision


@laws
@given(PLAIN, st.sampled_from(SESSIONS), st.sampled_from([None, *range(1, 16)]), INSTANTS)
def test_what_is_renewed_lives_on_and_ends_later(world: World, session_id: str, ttl: int | None, now: Instant) -> None:
    """Within every cap; nothing else of it changes."""
    command = RenewSession(session_id=session_id, ttl=None if ttl is None else Duration(ttl))
    snapshot = world.snapshot()
    held = snapshot.sessions.get(session_id)
    if held is None:
        return
    before = changed(held, expires_at=Instant(max(held.not_before, now) + 1))
    renewed = session_of(sessions.renew(command, View(with_session(snapshot, before), now, ACTOR)))
    if renewed is None:
        return
    assert renewed == changed(before, expires_at=renewed.expires_at)
    assert renewed.expires_at > before.expires_at
    assert standing(before, snapshot, now) == ()
    assert standing(renewed, snapshot, now) == ()


@laws
@given(PLAIN, NUMBERS.map(narrowing_from), INSTANTS, st.sampled_from([{}, *({"x": v, "z": 0} for v in VALUES)]))
def test_what_is_narrowed_may_do_nothing_that_it_might_not_before(
    world: World, command: NarrowSession, now: Instant, context: dict[str, Attribute]
) -> None:
    """At any instant from then on; but what was too long for a policy or its entitlement may be shortened to fit."""
    narrowed = session_of(sessions.narrow(command, View(world.snapshot(), now, ACTOR)))
    if narrowed is None:
        return
    before, after = world.snapshot(), with_session(world.snapshot(), narrowed)
    for at, action, resource in product(range(now, LAST), ACTIONS, RESOURCES):
        request = Request(
            subject=narrowed.identity, action=action, resource=resource, session=narrowed.id, context=context
        )
        if isinstance(decide(request, after, Instant(at)), Allow):
            event("allowed")
            decision = decide(request, before, Instant(at))
            too_long = narrowed.expires_at < before.sessions[narrowed.id].expires_at and codes_of(decision) == [_LIMIT]
            assert isinstance(decision, Allow) or too_long, decision
