"""Lapses: each end that time brings is recorded once, when it comes, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from pdp.clock import ManualClock
from pdp.core.model import (
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
    IdentityState,
    Instant,
    Put,
    Revocation,
    RevocationTarget,
    Session,
    SessionState,
    Task,
    TaskState,
)
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.snapshot import Snapshot
from pdp.core.wording import SECOND
from pdp.evidence.memory import MemoryEvidence
from pdp.evidence.record import LapseMark, LifecycleRecord
from pdp.evidence.trace import Ids
from pdp.governance.lapses import Lapses
from pdp.state.memory import MemoryStore
from pdp.state.store import Origin, stamped

START = Instant(1_772_355_600 * SECOND)
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
ACTIONS, RESOURCES = ActionScope(["rows.*"]), ResourceScope(["database:**"])
TRACED = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
SESSION = Session(
    id="s-1", identity="job", task="t-1", entitlement="e-0", approval="a-0", actions=ACTIONS, resources=RESOURCES,
    not_before=START, expires_at=Instant(START + HOUR),
)  # fmt: skip
APPROVAL = Approval(
    id="a-1", state=ApprovalState.APPROVED, identity="job", requested_by="requester", approved_by="approver",
    actions=ACTIONS, resources=RESOURCES, not_before=START, expires_at=Instant(START + HOUR),
)  # fmt: skip
BREAK_GLASS = replace(APPROVAL, id="b-1", kind=ApprovalKind.BREAK_GLASS, review_due=Instant(START + HOUR))
ENTITLEMENT = Entitlement(
    id="e-1", identity=IdentityScope(["job"]), actions=ACTIONS, resources=RESOURCES,
    certified_until=Instant(START + HOUR),
)  # fmt: skip
REVOCATION = Revocation(
    id="r-1", target=RevocationTarget.IDENTITY, target_id="job", effective_at=Instant(START + HOUR), reason="leaves"
)


BASIS: tuple[AnyFact, ...] = (
    Identity(id="job", kind=IdentityKind.CI_JOB, owner="team-a"),
    Task(id="t-1"),
    replace(ENTITLEMENT, id="e-0", certified_until=Instant(START + 1000 * HOUR)),
    replace(APPROVAL, id="a-0", expires_at=Instant(START + 1000 * HOUR)),
)
"""What sessions rest on, which goes on for longer than any of them."""


class World:
    """Facts, decision time and evidence, with lapses; verbs: `write`, `drop`, `use`, `wait`, `restart`."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.store = MemoryStore()
        self.snapshot = Snapshot()
        self.evidence = MemoryEvidence()
        self.lapses = self._made(None)
        for fact in BASIS:
            self.snapshot.put(fact)

    async def begin(self, mark: LapseMark | None = None) -> None:
        """Follow lapses from a mark."""
        self.lapses = self._made(mark)
        await self.lapses.begin()
        await self.lapses.settle()

    async def restart(self, down: int = 0) -> None:
        """Follow lapses anew, after some time in which nobody did, from the last that is on record."""
        self.clock.advance(down)
        await self.begin(max((record.mark for record in self.evidence.lapses), default=LapseMark(START)))

    async def write(self, *facts: AnyFact) -> None:
        """Commit facts, and fold them in."""
        await self._commit([Put(fact) for fact in facts])

    async def drop(self, kind: FactKind, id_: str) -> None:
        """Remove a fact."""
        await self._commit([Drop(kind, id_)])

    def use(self) -> None:
        """Use the session."""
        self.snapshot.record_use(["s-1"], [], self.clock.now())

    async def wait(self, nanoseconds: int) -> None:
        """Let time go by, and have it looked at."""
        self.clock.advance(nanoseconds)
        await self.lapses.settle()

    def told(self) -> list[tuple[str, str, int]]:
        """Return what was recorded: what, about which fact, and when it ended, from the start."""
        return [(record.what.value, record.id, record.ended_at - START) for record in self.evidence.lapses]

    def _made(self, mark: LapseMark | None) -> Lapses:
        return Lapses(self.snapshot, self.store, self.clock, self.evidence, Ids(), mark, wall=self.clock.now)

    async def _commit(self, changes: Sequence[Put | Drop]) -> None:
        origin = Origin("operator", "a test", TRACED, self.clock.now())
        revision = await self.store.commit(changes, origin)
        written = stamped(changes, revision, origin)
        self.lapses.foresee(written)
        self.snapshot.apply(revision, written)


@pytest.fixture
async def world() -> World:
    """Return a world without facts, whose lapses are followed."""
    made = World()
    await made.begin()
    return made


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        (SESSION, ["session_expired"]),
        (replace(SESSION, idle_timeout=Duration(HOUR), expires_at=Instant(START + 2 * HOUR)), ["session_idle"]),
        (replace(SESSION, idle_timeout=Duration(HOUR)), ["session_expired"]),
        (APPROVAL, ["approval_expired"]),
        (BREAK_GLASS, ["approval_expired", "review_overdue"]),
        (ENTITLEMENT, ["entitlement_lapsed"]),
        (REVOCATION, ["revocation_in_force"]),
    ],
)
async def test_what_ends_is_recorded_at_the_instant_it_does(world: World, fact: AnyFact, told: list[str]) -> None:
    """And not a nanosecond before."""
    await world.write(fact)
    await world.wait(HOUR - 1)
    assert world.told() == []
    await world.wait(1)
    assert world.told() == [(what, fact.id, HOUR) for what in told]
    await world.wait(100 * HOUR)
    assert len(world.told()) == len(told)


@pytest.mark.parametrize(
    "fact",
    [
        replace(SESSION, state=SessionState.CLOSED),
        replace(APPROVAL, state=ApprovalState.PENDING),
        replace(APPROVAL, state=ApprovalState.WITHDRAWN),
        replace(BREAK_GLASS, state=ApprovalState.WITHDRAWN, reviewed_by="security"),
        replace(ENTITLEMENT, certified_until=None),
        replace(REVOCATION, effective_at=START),
        replace(REVOCATION, effective_at=Instant(START + SECOND)),
        replace(SESSION, not_before=Instant(START - HOUR), expires_at=START),
        replace(ENTITLEMENT, certified_until=Instant(START - HOUR)),
    ],
)
async def test_what_has_no_end_to_come_never_lapses(world: World, fact: AnyFact) -> None:
    """It has ended, was over when it was written, or began as it was written."""
    await world.write(fact)
    await world.wait(100 * HOUR)
    assert world.told() == []


async def test_a_lapse_says_whose_access_it_was_and_which_span_wrote_the_fact(world: World) -> None:
    """So that it leads to who asked for it and why."""
    await world.write(SESSION)
    await world.wait(HOUR + 5)
    (record,) = world.evidence.lapses
    assert (record.identity, record.task, record.approval, record.traceparent) == ("job", "t-1", "a-0", TRACED)
    assert (record.about, record.at - record.ended_at) == ("session:s-1", 5)


async def test_a_renewed_session_lapses_at_its_new_end_alone(world: World) -> None:
    """What was filed before is only a reminder."""
    await world.write(SESSION)
    await world.write(replace(SESSION, expires_at=Instant(START + 3 * HOUR)))
    await world.wait(2 * HOUR)
    assert world.told() == []
    await world.wait(HOUR)
    assert world.told() == [("session_expired", "s-1", 3 * HOUR)]


async def test_a_session_that_is_shortened_lapses_sooner(world: World) -> None:
    """And not again at the end it had."""
    await world.write(SESSION)
    await world.write(replace(SESSION, expires_at=Instant(START + MINUTE)))
    await world.wait(2 * HOUR)
    assert world.told() == [("session_expired", "s-1", MINUTE)]


async def test_a_session_that_is_in_use_does_not_idle(world: World) -> None:
    """Each use moves its end."""
    await world.write(replace(SESSION, idle_timeout=Duration(10 * MINUTE)))
    for _ in range(4):
        await world.wait(9 * MINUTE)
        world.use()
    assert world.told() == []
    await world.wait(HOUR)
    assert world.told() == [("session_idle", "s-1", 46 * MINUTE)]


@pytest.mark.parametrize("change", ["close", "drop", "end"])
async def test_what_a_change_has_ended_does_not_lapse(world: World, change: str) -> None:
    """The change is on record."""
    await world.write(SESSION)
    world.clock.advance(MINUTE)
    if change == "close":
        await world.write(replace(SESSION, state=SessionState.CLOSED))
    elif change == "drop":
        await world.drop(FactKind.SESSION, "s-1")
    else:
        await world.write(replace(SESSION, expires_at=Instant(START + 1)))
    await world.wait(2 * HOUR)
    assert world.told() == []


@pytest.mark.parametrize(
    "change",
    [
        Identity(id="job", kind=IdentityKind.CI_JOB, owner="team-a", state=IdentityState.RETIRED),
        Task(id="t-1", state=TaskState.COMPLETED),
        replace(SESSION, id="s-0", state=SessionState.CLOSED),
        replace(REVOCATION, effective_at=START),
        replace(REVOCATION, target=RevocationTarget.SESSION, target_id="s-1", effective_at=START),
    ],
)
@pytest.mark.parametrize("idle", [None, Duration(30 * MINUTE)])
async def test_a_session_that_ended_with_what_it_rests_on_does_not_lapse(
    world: World, change: AnyFact, idle: Duration | None
) -> None:
    """What ended it is on record; time had nothing left to end, whenever somebody looks."""
    child = replace(SESSION, parent="s-0", idle_timeout=idle)
    await world.write(replace(SESSION, id="s-0", expires_at=Instant(START + 100 * HOUR)), child)
    world.clock.advance(MINUTE)
    await world.write(change)
    await world.wait(2 * HOUR)
    await world.restart(down=HOUR)
    assert world.told() == []


async def test_a_session_ends_by_time_alone_though_all_it_rests_on_ends_at_that_instant(world: World) -> None:
    """Up to it the session could be used."""
    end = Instant(START + HOUR)
    basis = (replace(SESSION, id="s-0"), replace(ENTITLEMENT, id="e-0", certified_until=end))
    await world.write(*basis, replace(SESSION, parent="s-0"), replace(REVOCATION, effective_at=end))
    await world.wait(2 * HOUR)
    told = [what for what, _, _ in world.told()]
    assert told == ["entitlement_lapsed", "revocation_in_force", "session_expired", "session_expired"]


async def test_a_fact_written_again_after_its_end_has_lapsed_all_the_same(world: World) -> None:
    """Nobody had looked yet; the end came before the change and is the same after it."""
    await world.write(BREAK_GLASS)
    world.clock.advance(HOUR)
    await world.write(replace(BREAK_GLASS, ticket="INC-1"))
    await world.wait(0)
    assert world.told() == [("approval_expired", "b-1", HOUR), ("review_overdue", "b-1", HOUR)]


async def test_lapses_are_recorded_in_the_order_in_which_they_came(world: World) -> None:
    """Also when time leaps over many of them."""
    ends = [Instant(START + minute * MINUTE + 1) for minute in (50, 3, 200, 3, 1)]
    await world.write(*(replace(SESSION, id=f"s-{number}", expires_at=end) for number, end in enumerate(ends)))
    await world.wait(300 * MINUTE)
    assert [id_ for _, id_, _ in world.told()] == ["s-4", "s-1", "s-3", "s-0", "s-2"]


async def test_the_first_start_tells_from_when_on_lapses_are_recorded() -> None:
    """What ended before nobody has followed."""
    world = World()
    await world.write(SESSION, replace(SESSION, id="s-2", expires_at=Instant(START + 9 * HOUR)))
    world.clock.advance(2 * HOUR)
    await world.begin()
    await world.wait(10 * HOUR)
    (event,) = [record for record in world.evidence.records if isinstance(record, LifecycleRecord)]
    assert (event.name, event.attributes) == ("lapses_followed", {"since": "2026-03-01T11:00:00.000000000Z"})
    assert world.told() == [("session_expired", "s-2", 9 * HOUR)]


async def test_what_lapsed_while_nobody_looked_is_recorded_at_the_next_start(world: World) -> None:
    """Once, whatever the number of starts."""
    await world.write(SESSION, APPROVAL, ENTITLEMENT, REVOCATION)
    await world.restart(down=2 * HOUR)
    assert [what for what, _, _ in world.told()] == [
        "approval_expired",
        "entitlement_lapsed",
        "revocation_in_force",
        "session_expired",
    ]
    await world.restart(down=2 * HOUR)
    assert len(world.told()) == 4


async def test_a_start_goes_on_behind_the_lapse_that_was_recorded_last(world: World) -> None:
    """A crash may come between two that ended at one instant."""
    await world.write(SESSION, replace(SESSION, id="s-2"), APPROVAL)
    await world.wait(HOUR)
    del world.evidence.records[-1]
    await world.restart()
    assert [id_ for _, id_, _ in world.told()] == ["a-1", "s-1", "s-2"]


async def test_a_start_tells_apart_what_was_over_when_it_was_written(world: World) -> None:
    """As a revocation that began at once, and a session that came too late."""
    await world.write(replace(SESSION, id="s-0"))
    world.clock.advance(2 * HOUR)
    at_once = replace(REVOCATION, id="r-2", effective_at=world.clock.now())
    await world.write(SESSION, at_once, REVOCATION)
    await world.restart(down=HOUR)
    assert world.told() == [("session_expired", "s-0", HOUR)]


async def test_a_disk_that_fails_delays_a_lapse_and_loses_none(world: World) -> None:
    """It is tried again until it is on disk."""
    await world.write(*(replace(SESSION, id=f"s-{number}") for number in range(3)))
    world.evidence.fail()
    world.clock.advance(HOUR)
    settling = asyncio.create_task(world.lapses.settle())
    await asyncio.sleep(0.01)
    assert len(world.told()) == 2
    world.evidence.recover()
    await settling
    assert [id_ for _, id_, _ in world.told()] == ["s-0", "s-1", "s-2"]


async def test_a_full_buffer_is_waited_for(world: World) -> None:
    """Decisions need its room as well."""
    await world.write(SESSION)
    world.evidence.fill()
    world.clock.advance(HOUR)
    settling = asyncio.create_task(world.lapses.settle())
    await asyncio.sleep(0)
    assert world.told() == []
    world.evidence.recover()
    await settling
    assert world.told() == [("session_expired", "s-1", HOUR)]


async def test_others_get_their_turn_while_many_end_at_once(world: World) -> None:
    """Ten thousand sessions are gone through in slices."""
    await world.write(*(replace(SESSION, id=f"s-{number}") for number in range(10_000)))
    world.clock.advance(HOUR)
    settling, turns = asyncio.create_task(world.lapses.settle()), 0
    while not settling.done():
        turns += 1
        await asyncio.sleep(0)
    assert len(world.told()) == 10_000
    assert turns > 20
