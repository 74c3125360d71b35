"""The replica: in step with its store, never back, never half, and honest about its age."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from pdp.core.model import Change, Drop, Duration, FactKind, Identity, IdentityKind, Instant, Put, Revision, Task
from pdp.core.snapshot import Readiness, Snapshot
from pdp.core.touch import NEWS
from pdp.state.memory import MemoryStore
from pdp.state.replica import Replica
from pdp.state.store import Commit, Heartbeat, Loaded, Origin, StoreUnavailableError, StoreUnusableError

MAX_STALENESS = Duration(10 * 10**9)


class FakeMonotonic:
    """A monotonic clock that a story moves."""

    def __init__(self) -> None:
        """Start anywhere but at zero."""
        self.now = 1_000

    def __call__(self) -> int:
        """Return nanoseconds."""
        return self.now

    def advance(self, duration: int) -> None:
        """Let time go by."""
        self.now += duration


class FakeFeed(MemoryStore):
    """A store whose connection a story cuts, and whose feed it tampers with."""

    def __init__(self) -> None:
        """Start connected, with a heartbeat that comes quickly."""
        super().__init__(heartbeat_s=0.001)
        self._cut = False
        self._mute = False
        self._half_load = False
        self._swallowed: set[Revision] = set()
        self._forged: list[Commit | Heartbeat] = []
        self.attempts = 0

    def partition(self) -> None:
        """Cut the connection; it is noticed at the next word of the feed."""
        self._cut = True

    def heal(self) -> None:
        """Mend the connection."""
        self._cut = False

    def mute(self) -> None:
        """Keep the connection, and say nothing."""
        self._mute = True

    def break_next_load(self) -> None:
        """Lose the connection in the middle of the next load."""
        self._half_load = True

    def swallow(self, revision: Revision) -> None:
        """Lose a commit on the way."""
        self._swallowed.add(revision)

    def forge(self, item: Commit | Heartbeat) -> None:
        """Say something before anything true."""
        self._forged.append(item)

    async def load(self, slice_size: int = 1000) -> Loaded:
        """Return everything, or something that breaks off."""
        if self._half_load:
            self._half_load = False
            return Loaded(1, _half())
        return await super().load(slice_size)

    async def follow(self, after: Revision) -> AsyncGenerator[Commit | Heartbeat, None]:
        """Yield what the story lets through."""
        self.attempts += 1
        if self._mute:
            await asyncio.Event().wait()
        while self._forged:
            yield self._forged.pop()
        async for item in super().follow(after):
            if self._cut:
                message = "partitioned"
                raise StoreUnavailableError(message)
            if not (isinstance(item, Commit) and item.revision in self._swallowed):
                yield item


async def _half() -> AsyncGenerator[Sequence[Task], None]:
    yield [Task(id="half")]
    message = "lost on the way"
    raise StoreUnavailableError(message)


class Story:
    """A store, a replica of it, and the clock both stand on."""

    def __init__(self) -> None:
        """Put the parts together; nothing runs yet."""
        self.feed = FakeFeed()
        self.clock = FakeMonotonic()
        self.snapshot = Snapshot()
        self.replica = Replica(
            self.feed,
            self.snapshot,
            max_staleness=MAX_STALENESS,
            monotonic=self.clock,
            slice_size=2,
            retry_s=(0.001, 0.002),
        )
        self.heard: list[frozenset[str] | None] = []
        self.replica.subscribe(self.heard.append)

    async def write(self, *changes: Change) -> Revision:
        """Commit the changes, or some task."""
        origin = Origin(actor="operator", reason="because", traceparent="", at=Instant(1))
        return await self.feed.commit(changes or [Put(Task(id="t-1"))], origin)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Start the replica and let it follow."""
        await self.replica.start()
        task = asyncio.create_task(self.replica.run())
        yield task
        await self.replica.close()
        await self.feed.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the event loop turn until something holds."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110  # the conditions of a story are of many kinds
                await asyncio.sleep(0.001)


@pytest.fixture
def story() -> Story:
    """Return a fresh story."""
    return Story()


async def test_a_replica_is_not_ready_before_it_has_loaded(story: Story) -> None:
    """Nor does asking make it so."""
    assert story.replica.check_readiness() is Readiness.NOT_READY


async def test_a_start_loads_everything_and_is_ready(story: Story) -> None:
    """The snapshot then is at the revision of the store."""
    await story.write(*(Put(Task(id=f"t-{n}")) for n in range(5)))
    await story.replica.start()
    assert (story.snapshot.revision, len(story.snapshot.tasks), story.snapshot.readiness, story.heard) == (
        1,
        5,
        Readiness.READY,
        [None],
    )


async def test_a_start_that_fails_leaves_the_snapshot_empty_and_can_be_repeated(story: Story) -> None:
    """Half a load is no load."""
    await story.write()
    story.feed.break_next_load()
    with pytest.raises(StoreUnavailableError, match="lost on the way"):
        await story.replica.start()
    assert (story.snapshot.readiness, story.snapshot.tasks) == (Readiness.NOT_READY, {})
    await story.replica.start()
    assert (story.snapshot.readiness, [*story.snapshot.tasks]) == (Readiness.READY, ["t-1"])


async def test_a_replica_must_be_started_before_it_runs(story: Story) -> None:
    """Else it would decide on what it has not loaded."""
    with pytest.raises(RuntimeError, match="a replica must be started before it runs"):
        await story.replica.run()


async def test_commits_reach_the_snapshot_and_the_subscribers(story: Story) -> None:
    """In order, each with what it touched, once it is applied."""
    async with story.running():
        await story.write(Put(Task(id="a")))
        await story.write(Drop(FactKind.TASK, "a"), Put(Task(id="b")))
        assert await story.replica.applied(2, 10)
    assert ([*story.snapshot.tasks], story.snapshot.revision) == (["b"], 2)
    assert story.heard == [None, frozenset({NEWS, "task:a"}), frozenset({NEWS, "task:a", "task:b"})]


async def test_a_commit_is_foretold_while_the_snapshot_still_has_what_it_replaces(story: Story) -> None:
    """What a start loads is not."""
    await story.write(Put(Task(id="a")))
    foretold: list[tuple[Sequence[Change], list[str]]] = []
    story.replica.foresee(lambda changes: foretold.append((changes, [*story.snapshot.tasks])))
    async with story.running():
        await story.write(Drop(FactKind.TASK, "a"))
        assert await story.replica.applied(2, 10)
    assert foretold == [((Drop(FactKind.TASK, "a"),), ["a"])]


async def test_who_has_unsubscribed_hears_nothing_more(story: Story) -> None:
    """And may unsubscribe twice."""
    heard: list[frozenset[str] | None] = []
    unsubscribe = story.replica.subscribe(heard.append)
    unsubscribe()
    unsubscribe()
    await story.replica.start()
    assert heard == []


async def test_a_failing_subscriber_does_not_stop_the_others(story: Story) -> None:
    """It is reported to the event loop instead."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))
    replica = Replica(story.feed, Snapshot(), max_staleness=MAX_STALENESS, monotonic=story.clock)
    heard: list[object] = []

    def fail(_: object) -> None:
        message = "broken"
        raise ValueError(message)

    replica.subscribe(fail)
    replica.subscribe(heard.append)
    await replica.start()
    assert (reported, heard) == (["a subscriber of the replica failed"], [None])


async def test_a_revision_that_has_been_applied_is_not_waited_for(story: Story) -> None:
    """Read your writes, at no cost when they are there already."""
    await story.write()
    await story.replica.start()
    assert await story.replica.applied(1, 0)


async def test_waiting_for_a_revision_ends_when_time_is_up(story: Story) -> None:
    """And leaves nothing behind."""
    await story.replica.start()
    assert not await story.replica.applied(1, 0.001)
    assert story.replica._waiting == []


async def test_many_wait_for_different_revisions(story: Story) -> None:
    """Each is woken by its own."""
    async with story.running():
        waiting = [asyncio.create_task(story.replica.applied(n, 10)) for n in (3, 1, 2)]
        for _ in range(3):
            await story.write()
        assert await asyncio.gather(*waiting) == [True] * 3


async def test_a_lost_commit_is_fetched_before_the_next_is_applied(story: Story) -> None:
    """A gap in the feed is closed from the history."""
    story.feed.swallow(1)
    async with story.running():
        await story.write(Put(Task(id="lost")))
        await story.write(Put(Task(id="next")))
        assert await story.replica.applied(2, 10)
    assert [*story.snapshot.tasks] == ["lost", "next"]


async def test_a_heartbeat_reveals_a_lost_last_commit(story: Story) -> None:
    """It says how far the log goes, so the gap cannot hide at the end."""
    story.feed.swallow(1)
    async with story.running():
        await story.write(Put(Task(id="lost")))
        assert await story.replica.applied(1, 10)


async def test_a_commit_told_twice_is_applied_once(story: Story) -> None:
    """The snapshot never goes back."""
    await story.write(Put(Task(id="old")))
    await story.write(Drop(FactKind.TASK, "old"))
    [old, _] = await story.feed.history(0, 2)
    story.feed.forge(old)
    async with story.running():
        await story.write()
        assert await story.replica.applied(3, 10)
    assert [*story.snapshot.tasks] == ["t-1"]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (Heartbeat(1), "the store is at revision 1, behind the 2 it had told of"),
        (Heartbeat(9), "the store has no revision 3, yet told of 9"),
    ],
)
async def test_a_store_that_contradicts_itself_does_not_count_as_heard(
    story: Story, item: Heartbeat, message: str
) -> None:
    """One restored from an old backup, say: the replica keeps what it has and does not get fresher."""
    await story.write()
    await story.write()
    await story.replica.start()
    story.clock.advance(1)
    with pytest.raises(StoreUnavailableError, match=message):
        await story.replica._take(item)
    assert (story.snapshot.revision, story.replica.age()) == (2, 1)


async def test_the_state_is_stale_only_past_the_bound(story: Story) -> None:
    """At exactly `max_staleness` it is still ready; one nanosecond later it is not."""
    await story.replica.start()
    story.clock.advance(MAX_STALENESS)
    at_the_bound = story.replica.check_readiness()
    story.clock.advance(1)
    assert (at_the_bound, story.replica.check_readiness(), story.snapshot.readiness) == (
        Readiness.READY,
        Readiness.STALE,
        Readiness.STALE,
    )


async def test_a_partition_makes_stale_and_its_end_makes_ready(story: Story) -> None:
    """By itself, and subscribers hear of both without anybody asking."""
    async with story.running():
        await story.until(lambda: story.feed.attempts == 1)
        story.feed.partition()
        await story.until(lambda: story.replica.trouble is not None)
        story.clock.advance(MAX_STALENESS + 1)
        await story.until(lambda: story.snapshot.readiness is Readiness.STALE)
        assert str(story.replica.trouble) == "partitioned"
        story.feed.heal()
        await story.until(lambda: story.snapshot.readiness is Readiness.READY)
        assert (story.replica.trouble, story.heard) == (None, [None, None, None])


async def test_silence_makes_stale_without_anybody_asking(story: Story) -> None:
    """A connection that stays open proves nothing."""
    story.feed.mute()
    replica = Replica(story.feed, story.snapshot, max_staleness=Duration(1_000_000), monotonic=story.clock)
    await replica.start()
    task = asyncio.create_task(replica.run())
    await story.until(lambda: story.feed.attempts == 1)
    story.clock.advance(1_000_001)
    await story.until(lambda: story.snapshot.readiness is Readiness.STALE)
    await replica.close()
    assert task.cancelled()


async def test_what_was_written_during_a_partition_arrives_after_it(story: Story) -> None:
    """The feed goes on where it broke off."""
    async with story.running():
        await story.write()
        assert await story.replica.applied(1, 10)
        story.feed.partition()
        await story.until(lambda: story.replica.trouble is not None)
        await story.write(Put(Task(id="meanwhile")))
        story.feed.heal()
        assert await story.replica.applied(2, 10)
        assert "meanwhile" in story.snapshot.tasks


async def test_a_commit_alone_does_not_make_the_state_fresh(story: Story) -> None:
    """It may be one of many that were missed; only a heartbeat says that all have been told."""
    await story.replica.start()
    story.clock.advance(5)
    await story.write()
    [commit] = await story.feed.history(0, 1)
    await story.replica._take(commit)
    aged = story.replica.age()
    await story.replica._take(Heartbeat(1))
    assert (aged, story.replica.age()) == (5, 0)


async def test_a_commit_that_cannot_be_applied_ends_all_decisions(story: Story) -> None:
    """What is half applied must not be decided on, and no heartbeat makes up for it."""
    bad = Put(Identity(id="a/*b", kind=IdentityKind.HUMAN))
    origin = Origin(actor="", reason="", traceparent="", at=Instant(0))
    story.feed.forge(Commit(1, (Put(Task(id="half")), bad), origin))
    async with story.running() as task:
        with pytest.raises(StoreUnusableError, match="revision 1 cannot be applied: pattern `a/"):
            await task
    assert story.replica.check_readiness() is Readiness.NOT_READY


async def test_a_long_run_of_commits_lets_others_have_their_turn(story: Story) -> None:
    """Whoever waits is served between commits once a time slice is used up."""
    turns = 0
    running = True

    async def take_turns() -> None:
        nonlocal turns
        while running:
            turns += 1
            await asyncio.sleep(0)

    await story.replica.start()
    commits = [Commit(n, (Put(Task(id="t")),), Origin("", "", "", Instant(0))) for n in range(1, 101)]
    other = asyncio.create_task(take_turns())
    for commit in commits:
        story.clock.advance(200_000)
        await story.replica._take(commit)
    running = False
    await other
    # One turn for each millisecond of applying: 100 commits of 0.2 ms each.
    assert turns >= 100 * 200_000 // 1_200_000


async def test_closing_ends_the_run_and_keeps_the_snapshot(story: Story) -> None:
    """What has been applied stays until it grows stale."""
    await story.write()
    async with story.running() as task:
        await story.until(lambda: story.feed.attempts == 1)
        await story.replica.close()
        await story.replica.close()
        assert (task.cancelled(), story.snapshot.revision, story.snapshot.readiness) == (True, 1, Readiness.READY)


async def test_closing_also_ends_a_run_that_has_not_had_its_first_turn(story: Story) -> None:
    """A shutdown right after the start leaves no follower behind."""
    await story.replica.start()
    task = asyncio.create_task(story.replica.run())
    await story.replica.close()
    await asyncio.wait([task])
    assert story.feed.attempts == 0
