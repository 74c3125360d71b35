"""The laws of the decision: facts grant, policies restrict, revocations override; windows are half-open."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from pdp.core.decide import decide
from pdp.core.decision import Allow
from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    Duration,
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
from pdp.core.scope import is_pattern
from pdp.core.snapshot import Snapshot
from tests.property.core_worlds import (
    MILD,
    TARGETS,
    Dice,
    approval,
    credential_from,
    entitlement,
    facts_of,
    good_world,
    laws,
    policies,
    questions,
    request_from,
    revocation,
    session,
    with_facts,
    without,
)
from tests.property.reference_world import World

_Question = tuple[World, Request, Instant]


def allows(world: World, request: Request, now: Instant) -> bool:
    """Whether the answer is yes."""
    return isinstance(decide(request, world.snapshot(), now), Allow)


def further_revocations() -> st.SearchStrategy[AnyFact]:
    """Return revocations of an id that no world has."""
    return facts_of(lambda dice: revocation("further", dice))


@laws
@given(questions(), st.lists(further_revocations(), min_size=1, max_size=1))
def test_adding_a_revocation_never_allows(question: _Question, added: list[AnyFact]) -> None:
    """Whatever it names, known or not, and whenever it takes effect."""
    world, request, now = question
    assert allows(world, request, now) or not allows(with_facts(world, *added), request, now)


@laws
@given(questions(MILD), st.sampled_from(TARGETS))
def test_a_revocation_of_anything_an_allow_rests_on_denies(
    question: _Question, target: tuple[RevocationTarget, str]
) -> None:
    """From its effect on, at once, and not a moment earlier."""
    world, request, now = question
    snapshot = world.snapshot()
    decision = decide(request, snapshot, now)
    if not isinstance(decision, Allow):
        return
    kind, id_ = target
    snapshot.put(Revocation(id="further", target=kind, target_id=id_, effective_at=now, reason="left"))
    if target in _basis(decision):
        assert not isinstance(decide(request, snapshot, now), Allow)
        assert isinstance(decide(request, _revoked_later(world, kind, id_, now), now), Allow)


def _basis(decision: Allow) -> set[tuple[RevocationTarget, str]]:
    grant = decision.grant
    chain = (grant.session, *grant.ancestors)
    return {
        (RevocationTarget.OWNER, grant.identity.owner),
        *((RevocationTarget.IDENTITY, one.identity) for one in chain),
        *((RevocationTarget.SESSION, one.id) for one in chain),
        *((RevocationTarget.TASK, one.task) for one in chain),
        *((RevocationTarget.ENTITLEMENT, one.entitlement) for one in chain),
        *((RevocationTarget.APPROVAL, one.approval) for one in chain if one.approval),
    }


def _revoked_later(world: World, target: RevocationTarget, id_: str, now: Instant) -> Snapshot:
    later = Instant(now + 1)
    return with_facts(
        world, Revocation(id="further", target=target, target_id=id_, effective_at=later, reason="left")
    ).snapshot()


@laws
@given(questions(), policies())
def test_adding_a_policy_never_allows(question: _Question, added: Policy) -> None:
    """A policy restricts, whatever it says."""
    world, request, now = question
    more = replace(world, policies=(*world.policies, added))
    assert allows(world, request, now) or not allows(more, request, now)


@laws
@given(questions())
def test_neither_order_nor_number_of_policies_matters(question: _Question) -> None:
    """The same policies, in any order and some twice, give the very same decision."""
    world, request, now = question
    turned = replace(world, policies=world.policies[::-1] + world.policies[:1])
    assert decide(request, turned.snapshot(), now) == decide(request, world.snapshot(), now)


@laws
@given(questions())
def test_the_order_in_which_facts_came_does_not_matter(question: _Question) -> None:
    """The same facts in another order give the very same decision, word for word."""
    world, request, now = question
    turned = replace(world, facts=world.facts[::-1])
    assert decide(request, turned.snapshot(), now) == decide(request, world.snapshot(), now)


@laws
@given(questions(), st.integers(0, 40))
def test_removing_a_fact_that_grants_never_allows(question: _Question, place: int) -> None:
    """Every fact but those that restrict: see `restricts`."""
    world, request, now = question
    assume(world.facts)
    removed = world.facts[place % len(world.facts)]
    assume(not restricts(removed, world, request))
    assert allows(world, request, now) or not allows(without(world, removed), request, now)


def restricts(fact: AnyFact, world: World, request: Request) -> bool:
    """Whether a request may be allowed for want of the fact.

    A revocation; a signal, which a condition may read; one of several sessions among which none is named; the record
    of a subject or family that hides the record of a wider family; an emergency that another one has to wait for.
    """
    match fact:
        case Revocation() | Signal():
            return True
        case Session():
            return not request.session
        case Identity():
            return any(is_pattern(one.id) for one in world.all(Identity) if one is not fact)
        case Approval():
            return fact.kind is ApprovalKind.BREAK_GLASS
        case Entitlement() | Task():
            return False


@laws
@given(questions())
def test_without_a_live_session_nothing_is_allowed(question: _Question) -> None:
    """Close every session, or take every session away, and every answer is no."""
    world, request, now = question
    sessions = world.all(Session)
    rest = without(world, *sessions)
    assert not allows(rest, request, now)
    closed = with_facts(rest, *(changed(one, state=SessionState.CLOSED) for one in sessions))
    assert not allows(closed, request, now)


@laws
@given(questions(MILD))
def test_an_allow_rests_on_facts_that_are_there(question: _Question) -> None:
    """Its grant names the live session of the subject, and nothing that the world does not hold."""
    world, request, now = question
    decision = decide(request, world.snapshot(), now)
    if not isinstance(decision, Allow):
        return
    grant = decision.grant
    basis = [grant.identity, grant.session, grant.task, grant.entitlement, *grant.ancestors]
    assert [fact for fact in basis if fact not in world.facts] == []
    assert (grant.approval in world.facts) is bool(grant.session.approval)
    assert grant.session.identity == request.subject
    assert grant.session.not_before <= now < grant.session.expires_at
    assert now < decision.valid_until


GOOD = Dice(0)
WINDOWS = st.tuples(st.integers(1, 18), st.integers(1, 18)).filter(lambda pair: pair[0] < pair[1])


def answers_around(world: World, request: Request, *instants: int) -> list[bool]:
    """Whether it is yes just before, at, and just after each instant."""
    snapshot = world.snapshot()
    return [isinstance(decide(request, snapshot, Instant(one)), Allow) for one in instants]


@pytest.mark.parametrize("of", ["session", "approval"])
@given(window=WINDOWS)
def test_a_window_is_valid_from_its_beginning_and_invalid_at_its_end(of: str, window: tuple[int, int]) -> None:
    """Of a session and of an approval: half-open, to the nanosecond."""
    start, end = map(Instant, window)
    facts: list[AnyFact] = [changed(session("s0", GOOD), approval="p0"), approval("p0", GOOD)]
    place = ("session", "approval").index(of)
    facts[place] = changed(facts[place], not_before=start, expires_at=end)
    world = with_facts(without(good_world(), session("s0", GOOD), approval("p0", GOOD)), *facts)
    assert answers_around(world, request_from(0), start - 1, start, end - 1, end) == [False, True, True, False]


@given(end=st.integers(1, 19))
def test_a_certification_is_over_at_its_end(end: int) -> None:
    """An entitlement certified until an instant is lapsed at it."""
    lapsing = changed(entitlement("e0", GOOD), certified_until=Instant(end))
    world = with_facts(without(good_world(), entitlement("e0", GOOD)), lapsing)
    assert answers_around(world, request_from(0), end - 1, end) == [True, False]


@given(window=WINDOWS)
def test_a_credential_is_good_from_its_issue_and_expired_at_its_expiry(window: tuple[int, int]) -> None:
    """Half-open like every window."""
    start, end = map(Instant, window)
    credential = changed(credential_from(GOOD, "a"), issued_at=start, expires_at=end)
    request = changed(request_from(0), credential=credential)
    assert answers_around(good_world(), request, start - 1, start, end - 1, end) == [False, True, True, False]


@given(window=WINDOWS)
def test_a_revocation_overrides_from_its_effect_until_its_expiry(window: tuple[int, int]) -> None:
    """Half-open too; after its expiry it may as well have been dropped."""
    start, end = map(Instant, window)
    revoked = Revocation(
        id="v", target=RevocationTarget.SESSION, target_id="s0", effective_at=start, expires_at=end, reason="left"
    )
    world = with_facts(good_world(), revoked)
    assert answers_around(world, request_from(0), start - 1, start, end - 1, end) == [True, False, False, True]


@given(timeout=st.integers(1, 9), last=st.integers(1, 9))
def test_a_session_is_idle_once_its_timeout_has_passed_since_its_last_use(timeout: int, last: int) -> None:
    """Not before, and the last use counts, not the first."""
    sleepy = changed(session("s0", GOOD), idle_timeout=Duration(timeout))
    world = with_facts(without(good_world(), session("s0", GOOD)), sleepy)
    world = replace(world, session_uses={"s0": (1, Instant(last))})
    assert answers_around(world, request_from(0), last + timeout - 1, last + timeout) == [True, False]
