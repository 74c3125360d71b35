"""The desk: a command is decided on what is in force, written once, and recorded once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from pdp.clock import ManualClock
from pdp.core.lawful import MAX_ID_BYTES
from pdp.core.model import (
    AnyFact,
    Change,
    Drop,
    Duration,
    FactKind,
    Instant,
    Put,
    Revision,
    Revocation,
    RevocationTarget,
    SessionState,
    Task,
    TaskState,
)
from pdp.core.snapshot import Snapshot
from pdp.evidence.memory import MemoryEvidence
from pdp.evidence.record import ChangeRecord
from pdp.evidence.trace import Ids, parse_traceparent
from pdp.evidence.trouble import BufferFullError, EvidenceUnavailableError
from pdp.governance.commands import (
    Command,
    CompleteTask,
    DecideReview,
    OpenTask,
    RetireIdentity,
    ReviewChoice,
    Revoke,
)
from pdp.governance.desk import Asked, CommandRefusedError, Desk, Done, NotInForceError, UnlawfulPlanError
from pdp.governance.refusal import Rule
from pdp.governance.roles import Principal, Role
from pdp.state.memory import MemoryStore
from pdp.state.replica import Replica
from pdp.state.store import NOTHING_EXPECTED, CommitRefusedError, ConflictError, FactRef, Origin
from tests.unit.rules_story import AGENT, OPENED

NOW = Instant(1_772_355_600_000_000_000)
PATIENCE_S = 30.0
CALLER = f"00-{'a' * 32}-{'b' * 16}-01"
MANAGER = Principal(name="change-manager", roles=frozenset({Role.REQUESTER}))
OPERATOR = Principal(name="on-call-engineer", roles=frozenset({Role.OPERATOR}))
OPENING = OpenTask(id="t-1")


class ContestedStore(MemoryStore):
    """A store in which others are quicker: `be_quicker` writes a fact just before each of the next commits."""

    def __init__(self) -> None:
        super().__init__(heartbeat_s=60)
        self.commits = 0
        self._quicker: list[Change] = []

    def be_quicker(self, *changes: Change) -> None:
        """Have somebody else commit these, one before each commit from now on."""
        self._quicker.extend(changes)

    async def commit(
        self, changes: Sequence[Change], origin: Origin, *, expected: Mapping[FactRef, Revision] = NOTHING_EXPECTED
    ) -> Revision:
        """Let somebody else go first."""
        self.commits += 1
        if self._quicker:
            await super().commit([self._quicker.pop(0)], Origin("somebody else", "", "", Instant(0)))
        return await super().commit(changes, origin, expected=expected)


class Office:
    """A desk with all that it writes to."""

    def __init__(self) -> None:
        self.store = ContestedStore()
        self.evidence = MemoryEvidence()
        self.snapshot = Snapshot()
        self.clock = ManualClock(NOW)
        self.replica = Replica(self.store, self.snapshot, max_staleness=Duration(10**15), monotonic=lambda: 0)
        self.desk = Desk(self.store, self.snapshot, self.replica, self.clock, self.evidence, Ids())

    async def do(self, command: Command, asked: Asked, timeout_s: float = PATIENCE_S) -> Done:
        """Carry a command out."""
        return await self.desk.carry_out(command, asked, timeout_s)

    async def put(self, fact: AnyFact) -> None:
        """Have somebody else write a fact, in force before this returns."""
        revision = await self.store.commit([Put(fact)], Origin("somebody else", "", "", Instant(0)))
        assert await self.replica.applied(revision, PATIENCE_S)

    @property
    def recorded(self) -> list[Revision]:
        """The revisions on record."""
        return [record.revision for record in self.evidence.records if isinstance(record, ChangeRecord)]


@asynccontextmanager
async def opened() -> AsyncIterator[Office]:
    """Open an office whose replica follows its store."""
    office = Office()
    await office.replica.start()
    following = asyncio.create_task(office.replica.run())
    try:
        yield office
    finally:
        following.cancel()
        await asyncio.wait([following])
        await office.store.close()


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    """Return an office without any facts."""
    async with opened() as office:
        yield office


def asked(
    method: str = "OpenTask",
    *,
    key: str = "",
    reason: str = "because",
    dry_run: bool = False,
    actor: Principal = MANAGER,
    traceparent: str = CALLER,
) -> Asked:
    """Return who asks, and how."""
    return Asked(
        actor=actor, role="requester", reason=reason, key=key, dry_run=dry_run, method=method, traceparent=traceparent
    )


async def test_what_was_carried_out_is_in_force(office: Office) -> None:
    """And told as it was written, stamped with its revision and trace."""
    done = await office.do(OPENING, asked())
    fact = office.desk.known(FactKind.TASK, "t-1")
    assert fact is not None
    assert done == Done(1, (Put(fact),))
    assert (fact.id, fact.revision) == ("t-1", 1)


async def test_the_fact_continues_the_trace_of_the_caller(office: Office) -> None:
    """As a span of its own below the caller's."""
    [change] = (await office.do(OPENING, asked())).changes
    assert isinstance(change, Put)
    trace, caller = parse_traceparent(change.fact.traceparent), parse_traceparent(CALLER)
    assert trace is not None
    assert caller is not None
    assert (trace.trace_id, trace.span_id != caller.span_id) == (caller.trace_id, True)


async def test_the_change_is_recorded_with_who_and_by_which_right(office: Office) -> None:
    """In the journal and in the store's log."""
    await office.do(OPENING, asked(key="k"))
    [record], [commit] = office.evidence.records, await office.store.history(0, 9)
    assert isinstance(record, ChangeRecord)
    assert (record.actor, record.role, record.reason, record.method) == (
        "change-manager",
        "requester",
        "because",
        "OpenTask",
    )
    assert (commit.origin.actor, commit.origin.key, len(commit.origin.digest)) == ("change-manager", "k", 64)


async def test_a_new_fact_gets_an_id(office: Office) -> None:
    """Where the command names none."""
    [first] = (await office.do(OpenTask(), asked())).changes
    [second] = (await office.do(OpenTask(), asked())).changes
    assert isinstance(first, Put)
    assert isinstance(second, Put)
    assert first.fact.id != second.fact.id != ""


async def test_a_rule_sees_decision_time(office: Office) -> None:
    """Not the wall clock."""
    command = Revoke(id="r-1", target=RevocationTarget.IDENTITY, target_id="job")
    [change] = (await office.do(command, asked("Revoke"))).changes
    assert isinstance(change, Put)
    assert isinstance(change.fact, Revocation)
    assert change.fact.effective_at == NOW


async def test_a_refused_command_changes_nothing_and_is_recorded_by_nobody_here(office: Office) -> None:
    """Its check is recorded by the door."""
    with pytest.raises(CommandRefusedError, match="`t-9`") as caught:
        await office.do(CompleteTask(task_id="t-9"), asked("CompleteTask"))
    assert [refusal.rule for refusal in caught.value.reasons] == [Rule.NOT_FOUND]
    assert (await office.store.history(0, 9), office.evidence.records) == ([], [])


async def test_a_reason_that_is_mandatory_must_be_given(office: Office) -> None:
    """Of the commands whose row says so."""
    command = Revoke(id="r-1", target=RevocationTarget.IDENTITY, target_id="job")
    with pytest.raises(UnlawfulPlanError, match="reason must not be empty") as caught:
        await office.do(command, asked("Revoke", reason=""))
    assert (caught.value.faults, office.store.commits) == ([("reason", "must not be empty")], 0)


async def test_a_field_that_another_one_needs_must_be_given(office: Office) -> None:
    """Nothing is looked up for a command that lacks it."""
    command = DecideReview(review_id="entitlement:e-1", choice=ReviewChoice.KEEP)
    with pytest.raises(UnlawfulPlanError, match="until is required to keep or narrow") as caught:
        await office.do(command, asked("DecideReview"))
    assert ([field for field, _ in caught.value.faults], office.store.commits) == (["until"], 0)


async def test_an_unlawful_fact_is_named_field_by_field(office: Office) -> None:
    """Before anything is written."""
    with pytest.raises(UnlawfulPlanError) as caught:
        await office.do(OpenTask(id="t\x00", owner="o" * (MAX_ID_BYTES + 1)), asked(actor=OPERATOR))
    assert ([field for field, _ in caught.value.faults], office.store.commits) == (["id", "owner"], 0)


async def test_a_dry_run_writes_nothing(office: Office) -> None:
    """And tells what would be written."""
    done = await office.do(OPENING, asked(dry_run=True))
    [change] = done.changes
    assert isinstance(change, Put)
    assert (done.revision, change.fact.id, change.fact.revision) == (0, "t-1", 0)
    assert (await office.store.history(0, 9), office.evidence.records) == ([], [])


async def test_a_dry_run_is_judged_as_the_command_would_be(office: Office) -> None:
    """By rules, by the lawfulness of facts, and by what no store may write."""
    with pytest.raises(CommandRefusedError):
        await office.do(CompleteTask(task_id="t-9"), asked("CompleteTask", dry_run=True))
    with pytest.raises(UnlawfulPlanError):
        await office.do(OpenTask(id="t\x00"), asked(dry_run=True))
    with pytest.raises(CommitRefusedError):
        await office.do(OPENING, asked(dry_run=True, reason="\ud800"))


async def test_a_dry_run_uses_up_no_key(office: Office) -> None:
    """The command itself may follow under it."""
    await office.do(OPENING, asked(key="k", dry_run=True))
    assert (await office.do(OPENING, asked(key="k"))).already_done is False


async def test_a_conflict_is_decided_again_on_what_is_in_force_then(office: Office) -> None:
    """What somebody else wrote meanwhile is kept."""
    await office.put(Task(id="t-1", owner="change-manager"))
    office.store.be_quicker(Put(Task(id="t-1", owner="change-manager", parent="t-0")))
    done = await office.do(CompleteTask(task_id="t-1"), asked("CompleteTask"))
    task = office.desk.known(FactKind.TASK, "t-1")
    assert isinstance(task, Task)
    assert (done.revision, task.parent, task.state) == (3, "t-0", TaskState.COMPLETED)
    assert office.recorded == [3]


@pytest.mark.parametrize(
    ("meanwhile", "rule"),
    [
        (Put(Task(id="t-1", owner="change-manager", state=TaskState.CANCELLED)), Rule.WRONG_STATE),
        (Drop(FactKind.TASK, "t-1"), Rule.NOT_FOUND),
    ],
    ids=["ended", "gone"],
)
async def test_what_is_decided_again_may_be_refused(office: Office, meanwhile: Change, rule: Rule) -> None:
    """Nothing is written on what was true a moment ago."""
    await office.put(Task(id="t-1", owner="change-manager"))
    office.store.be_quicker(meanwhile)
    with pytest.raises(CommandRefusedError) as caught:
        await office.do(CompleteTask(task_id="t-1"), asked("CompleteTask"))
    assert [refusal.rule for refusal in caught.value.reasons] == [rule]


async def test_what_keeps_changing_is_given_up(office: Office) -> None:
    """After eight attempts the conflict is told."""
    await office.put(Task(id="t-1", owner="change-manager"))
    office.store.commits = 0
    office.store.be_quicker(*(Put(Task(id="t-1", owner="change-manager", parent=f"parent-{n}")) for n in range(99)))
    with pytest.raises(ConflictError):
        await office.do(CompleteTask(task_id="t-1"), asked("CompleteTask"))
    assert (office.store.commits, office.evidence.records) == (8, [])


async def test_a_conflict_is_told_if_the_news_does_not_arrive_in_time(office: Office) -> None:
    """Deciding again on what is known to be stale would be in vain."""
    await office.put(Task(id="t-1", owner="change-manager"))
    await office.replica.close()
    office.store.be_quicker(Put(Task(id="t-1", owner="change-manager", parent="t-0")))
    with pytest.raises(ConflictError):
        await office.do(CompleteTask(task_id="t-1"), asked("CompleteTask"), 0.01)


async def test_a_command_sent_again_under_its_key_is_answered_as_the_first_time(office: Office) -> None:
    """Carried out once, recorded once."""
    first = await office.do(OPENING, asked(key="k"))
    assert await office.do(OPENING, asked(key="k")) == replace(first, already_done=True)
    assert (office.recorded, office.store.commits) == ([1], 1)


async def test_the_answer_stays_when_the_fact_has_moved_on(office: Office) -> None:
    """Completing a task twice would be refused; completing it once is told twice."""
    await office.put(Task(id="t-1", owner="change-manager"))
    ending = CompleteTask(task_id="t-1")
    first = await office.do(ending, asked("CompleteTask", key="k"))
    await office.put(Task(id="t-1", owner="security", state=TaskState.CANCELLED))
    assert await office.do(ending, asked("CompleteTask", key="k")) == replace(first, already_done=True)


async def test_the_made_up_id_stays_the_same_under_a_key(office: Office) -> None:
    """A command is told apart as it was sent, before it got its id."""
    first = await office.do(OpenTask(), asked(key="k"))
    assert (await office.do(OpenTask(), asked(key="k"))).changes == first.changes


@pytest.mark.parametrize(
    ("command", "method"),
    [(OpenTask(id="t-2"), "OpenTask"), (OpenTask(id="t-1", owner="team"), "OpenTask"), (OPENING, "AnotherMethod")],
)
async def test_another_command_under_a_used_key_is_refused(office: Office, command: Command, method: str) -> None:
    """Answering it with what another did would be a lie."""
    await office.do(OPENING, asked(key="k"))
    with pytest.raises(CommandRefusedError, match="idempotency key `k` belongs to the command of revision 1") as caught:
        await office.do(command, asked(method, key="k"))
    assert ([refusal.rule for refusal in caught.value.reasons], office.recorded) == ([Rule.KEY_REUSED], [1])


async def test_a_key_belongs_to_its_principal(office: Office) -> None:
    """Another may happen to choose the same one."""
    await office.do(OPENING, asked(key="k"))
    other = Principal(name="release-manager", roles=MANAGER.roles)
    assert (await office.do(OpenTask(id="t-2"), asked(key="k", actor=other))).revision == 2


async def test_a_command_sent_many_times_at_once_is_carried_out_once(office: Office) -> None:
    """None of them is refused for what another of them did."""
    done = await asyncio.gather(*(office.do(OPENING, asked(key="k")) for _ in range(10)))
    assert {one.revision for one in done} == {1}
    assert (sorted(one.already_done for one in done), office.recorded) == ([False, *[True] * 9], [1])


async def test_what_refuses_may_be_the_command_itself_carried_out_meanwhile(office: Office) -> None:
    """Between the look for its key and the decision."""
    looked = asyncio.Event()
    carried_out = asyncio.Event()
    look = office.store.committed

    async def look_and_wait(actor: str, key: str) -> object:
        found = await look(actor, key)
        if not looked.is_set():
            looked.set()
            await carried_out.wait()
        return found

    office.store.committed = look_and_wait  # type: ignore[assignment, method-assign]
    slow = asyncio.create_task(office.do(OPENING, asked(key="k")))
    await looked.wait()
    first = await office.do(OPENING, asked(key="k"))
    carried_out.set()
    assert await slow == replace(first, already_done=True)


async def test_a_change_that_is_not_in_force_in_time_is_told_so(office: Office) -> None:
    """It happened, and is on record; the next sending hears of it once it is in force."""
    await office.replica.close()
    for _ in range(2):
        with pytest.raises(NotInForceError, match="revision 1 is committed, but not yet in force here"):
            await office.do(OPENING, asked(key="k"), 0.01)
    assert office.recorded == [1]


async def test_a_change_whose_record_the_disk_refused_is_kept_and_told(office: Office) -> None:
    """It is in force, its record is written when the disk is back, and sent again it is answered."""
    office.evidence.fail()
    with pytest.raises(EvidenceUnavailableError):
        await office.do(OPENING, asked(key="k"))
    again = await office.do(OPENING, asked(key="k"))
    assert (again.revision, again.already_done, office.recorded) == (1, True, [1])


async def test_a_change_whose_record_found_no_room_is_recorded_before_the_next_one(office: Office) -> None:
    """It is in force; were a later one on record without it, a restart would not notice that it is missing."""
    office.evidence.fill()
    for id_ in ("t-1", "t-2"):
        with pytest.raises(BufferFullError):
            await office.do(OpenTask(id=id_), asked())
    office.evidence.recover()
    await office.do(OpenTask(id="t-3"), asked())
    assert office.recorded == [1, 2, 3]


async def test_facts_are_written_as_they_are(office: Office) -> None:
    """Under no rule, in one revision, recorded as a command is."""
    changes = (Put(Task(id="t-1")), Drop(FactKind.TASK, "t-0"))
    done = await office.desk.write(changes, asked("ApplyFacts"), PATIENCE_S)
    fact = office.desk.known(FactKind.TASK, "t-1")
    assert fact is not None
    assert (done, office.recorded) == (Done(1, (Put(fact), changes[1])), [1])


async def test_facts_are_written_once_under_a_key(office: Office) -> None:
    """The same ones again are answered, others are refused."""
    first = await office.desk.write([Put(Task(id="t-1"))], asked("ApplyFacts", key="k"), PATIENCE_S)
    again = await office.desk.write([Put(Task(id="t-1"))], asked("ApplyFacts", key="k"), PATIENCE_S)
    assert again == replace(first, already_done=True)
    with pytest.raises(CommandRefusedError):
        await office.desk.write([Put(Task(id="t-2"))], asked("ApplyFacts", key="k"), PATIENCE_S)


async def test_facts_of_a_dry_run_are_not_written(office: Office) -> None:
    """Unlawful ones are refused as a commit would."""
    changes = (Put(Task(id="t-1")),)
    assert await office.desk.write(changes, asked("ApplyFacts", dry_run=True), PATIENCE_S) == Done(0, changes)
    with pytest.raises(CommitRefusedError):
        await office.desk.write([Put(Task(id=""))], asked("ApplyFacts", dry_run=True), PATIENCE_S)
    assert await office.store.history(0, 9) == []


@pytest.mark.parametrize("key", ["", "k"])
async def test_what_is_opened_while_an_identity_is_retired_ends_with_it(office: Office, key: str) -> None:
    """Nobody could have told it by the revision of a fact that was looked at."""
    for fact in (AGENT, OPENED):
        await office.put(replace(fact, revision=0))
    office.store.be_quicker(Put(replace(OPENED, id="meanwhile")))
    retiring = asked("RetireIdentity", actor=OPERATOR, key=key)
    done = await office.do(RetireIdentity(identity_id="agent"), retiring)
    states = {id_: one.state for id_, one in office.snapshot.sessions.items()}
    assert states == dict.fromkeys([OPENED.id, "meanwhile"], SessionState.CLOSED)
    assert (done.revision, len(done.changes), office.recorded) == (5, 3, [4, 5])
    if key:
        await office.put(replace(OPENED, id="left", revision=0))
        again = await office.do(RetireIdentity(identity_id="agent"), retiring)
        assert (again.already_done, again.revision) == (True, 4)
        assert office.snapshot.sessions["left"].state is SessionState.CLOSED
