"""Lapses against a naive model that looks at every fact after every step: the same ends, once each, in order.

Random facts are written, used and dropped, time moves, and the sidecar is restarted, with or without time gone by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from pdp.clock import ManualClock
from pdp.core.model import (
    KIND_OF,
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Drop,
    Duration,
    Entitlement,
    FactKind,
    Identity,
    IdentityKind,
    Instant,
    Put,
    Revocation,
    RevocationTarget,
    Session,
    SessionState,
    Task,
)
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.snapshot import Snapshot
from pdp.core.wording import SECOND
from pdp.evidence.memory import MemoryEvidence
from pdp.evidence.record import LapseMark
from pdp.evidence.trace import Ids
from pdp.governance.lapses import Lapses
from pdp.state.memory import MemoryStore
from pdp.state.store import Origin, stamped

START = Instant(1_772_355_600 * SECOND)
STEP = 20 * SECOND
ACTIONS, RESOURCES = ActionScope(["rows.*"]), ResourceScope(["database:**"])
LONG_AGO = Instant(START - 1000 * STEP)

BASIS: tuple[AnyFact, ...] = (
    Identity(id="job", kind=IdentityKind.CI_JOB, owner="team-a"),
    Task(id="t"),
    Entitlement(
        id="e", identity=IdentityScope(["job"]), actions=ACTIONS, resources=RESOURCES,
        certified_until=Instant(START + 100_000 * STEP),
    ),
)  # fmt: skip
"""What sessions rest on: it outlasts them, so that time alone ends them."""

Lapsed: TypeAlias = tuple[int, str, str]
"""When, about which fact, and what; lapses are recorded in the order of these."""

ids = st.sampled_from(["1", "1", "2"])
offsets = st.sampled_from([-2, 0, 1, 2, 3, 5, 8, 12])
idles = st.sampled_from([None, 1, 2, 3, 3])
mostly = st.sampled_from([True, True, True, False])
states = st.sampled_from([ApprovalState.APPROVED, ApprovalState.APPROVED, ApprovalState.WITHDRAWN])
numbers = st.sampled_from([0, 1, 1, 2, 2, 4, 9])
sessions = st.tuples(st.just("session"), ids, offsets, idles, mostly, mostly)
others = st.one_of(
    st.tuples(st.just("approval"), ids, offsets, offsets, states, st.booleans()),
    st.tuples(st.just("entitlement"), ids, st.none() | offsets),
    st.tuples(st.just("revocation"), ids, offsets),
    st.tuples(st.just("drop"), st.sampled_from(FactKind), ids),
)
uses = st.tuples(st.just("use"), ids)
waits = st.tuples(st.just("wait"), numbers)
restarts = st.tuples(st.just("restart"), numbers)
steps = st.lists(st.one_of(sessions, sessions, others, uses, uses, waits, waits, restarts), min_size=10, max_size=40)


class Naive:
    """Knows each fact, when it was written and what had ended then; looks at all of them each time."""

    def __init__(self) -> None:
        self.facts: dict[tuple[FactKind, str], AnyFact] = {}
        self.last_use: dict[str, int] = {}
        self.over: set[Lapsed] = set()
        """What a change has ended."""
        self.told: list[Lapsed] = []

    def put(self, fact: AnyFact, now: int) -> None:
        """Write a fact."""
        key = (KIND_OF[type(fact)], fact.id)
        before = set(self.ends(self.facts[key])) if key in self.facts else set()
        self.facts[key] = fact
        self.over |= {end for end in self.ends(fact) if end[0] <= now and end not in before}

    def look(self, now: int) -> None:
        """Note what has ended by now and was not noted before."""
        ended = {end for fact in self.facts.values() for end in self.ends(fact) if end[0] <= now}
        self.told += sorted(ended - self.over - set(self.told))

    def ends(self, fact: AnyFact) -> Iterator[Lapsed]:
        """Yield when time ends a fact as it is."""
        if isinstance(fact, Session) and fact.state is SessionState.OPEN:
            expiry = (fact.expires_at, f"session:{fact.id}", "session_expired")
            since = self.last_use.get(fact.id, fact.not_before)
            idle = (since + (fact.idle_timeout or 0), f"session:{fact.id}", "session_idle")
            yield idle if fact.idle_timeout is not None and idle[0] < expiry[0] else expiry
        if isinstance(fact, Approval) and fact.state is ApprovalState.APPROVED:
            yield fact.expires_at, f"approval:{fact.id}", "approval_expired"
        if isinstance(fact, Approval) and fact.review_due is not None and not fact.reviewed_by:
            yield fact.review_due, f"approval:{fact.id}", "review_overdue"
        if isinstance(fact, Entitlement) and fact.certified_until is not None:
            yield fact.certified_until, f"entitlement:{fact.id}", "entitlement_lapsed"
        if isinstance(fact, Revocation):
            yield fact.effective_at, f"revocation:{fact.id}", "revocation_in_force"


class World:
    """Lapses and the model, side by side."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.store = MemoryStore()
        self.snapshot = Snapshot()
        self.evidence = MemoryEvidence()
        self.naive = Naive()
        for fact in BASIS:
            self.snapshot.put(fact)

    async def begin(self) -> None:
        """Follow lapses from the last that is on record."""
        mark = max((record.mark for record in self.evidence.lapses), default=LapseMark(START))
        self.lapses = Lapses(self.snapshot, self.store, self.clock, self.evidence, Ids(), mark, wall=self.clock.now)
        await self.lapses.begin()
        await self.look()

    async def look(self) -> None:
        """Have both look at what has ended."""
        await self.lapses.settle()
        self.naive.look(self.clock.now())

    async def take(self, step: tuple[object, ...]) -> None:
        """Take one step."""
        match step:
            case "use", str(id_):
                self._use(id_)
            case "drop", FactKind() as kind, str(id_):
                await self._commit(Drop(kind, id_))
                self.naive.facts.pop((kind, id_), None)
            case "wait", int(number):
                self.clock.advance(number * STEP)
                await self.look()
            case "restart", int(number):
                self.clock.advance(number * STEP)
                await self.begin()
            case _:
                fact = self._fact(step)
                await self._commit(Put(fact))
                self.naive.put(fact, self.clock.now())

    def _use(self, id_: str) -> None:
        """Use a session that lives."""
        session, now = self.snapshot.sessions.get(id_), self.clock.now()
        if session is not None and session.state is SessionState.OPEN and next(self.naive.ends(session))[0] > now:
            self.snapshot.record_use([id_], [], now)
            self.naive.last_use[id_] = now

    def _fact(self, step: tuple[object, ...]) -> AnyFact:
        match step:
            case "session", str(id_), int(end), idle, bool(fresh), bool(is_open):
                return Session(
                    id=id_, identity="job", task="t", entitlement="e", actions=ACTIONS, resources=RESOURCES,
                    not_before=self._at(min(end, 0)) if fresh else LONG_AGO, expires_at=Instant(self._at(end) + 1),
                    idle_timeout=Duration(idle * STEP) if isinstance(idle, int) else None,
                    state=SessionState.OPEN if is_open else SessionState.CLOSED,
                )  # fmt: skip
            case "approval", str(id_), int(end), int(due), ApprovalState() as state, bool(reviewed):
                return Approval(
                    id=id_, kind=ApprovalKind.BREAK_GLASS, state=state, requested_by="r", approved_by="a",
                    actions=ACTIONS, resources=RESOURCES, not_before=LONG_AGO, expires_at=self._at(end),
                    review_due=self._at(due), reviewed_by="security" if reviewed else "",
                )  # fmt: skip
            case "entitlement", str(id_), until:
                return Entitlement(
                    id=id_, identity=IdentityScope(["job"]), actions=ACTIONS, resources=RESOURCES,
                    certified_until=self._at(until) if isinstance(until, int) else None,
                )  # fmt: skip
            case _, str(id_), int(start):
                return Revocation(
                    id=id_,
                    target=RevocationTarget.TASK,
                    target_id="another",
                    effective_at=self._at(start),
                    reason="why",
                )
        raise AssertionError(step)

    def _at(self, offset: int) -> Instant:
        return Instant(self.clock.now() + offset * STEP)

    async def _commit(self, change: Put | Drop) -> None:
        origin = Origin("operator", "", "", self.clock.now())
        revision = await self.store.commit([change], origin)
        written = stamped([change], revision, origin)
        self.lapses.foresee(written)
        self.snapshot.apply(revision, written)


@settings(max_examples=200)
@given(steps)
def test_each_end_that_time_brings_is_recorded_once_and_no_other(taken: list[tuple[object, ...]]) -> None:
    """Never before it, in the order in which they came, and over restarts."""

    async def story() -> None:
        world = World()
        await world.begin()
        for step in taken:
            await world.take(step)
            told = [(record.ended_at, record.about, record.what.value) for record in world.evidence.lapses]
            assert told == world.naive.told

    asyncio.run(story())
