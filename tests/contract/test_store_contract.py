"""What every store must do, whichever engine: the contract of `pdp.state.store.Store`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest
from msgspec.structs import replace

from pdp.core.model import (
    AnyFact,
    Change,
    Drop,
    FactKind,
    Identity,
    IdentityKind,
    Instant,
    Put,
    Revocation,
    RevocationTarget,
    Session,
    Signal,
    Task,
)
from pdp.core.scope import ActionScope, ResourceScope
from pdp.state.memory import MemoryStore
from pdp.state.sqlite import SqliteStore
from pdp.state.store import (
    AlreadyCommittedError,
    Commit,
    CommitRefusedError,
    ConflictError,
    FactRef,
    Heartbeat,
    Origin,
    Store,
    StoreUnavailableError,
)

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Return each engine in turn, empty."""
    opened: Store
    if request.param == "memory":
        opened = MemoryStore(heartbeat_s=0.01)
    else:
        opened = await SqliteStore.open(tmp_path / "state.db", heartbeat_s=0.01)
    yield opened
    await opened.close()


def origin(at: int = 5, actor: str = "operator", key: str = "") -> Origin:
    """Return who, why, in which trace and when; under which key."""
    digest = "d1" if key else ""
    return Origin(actor=actor, reason="because", traceparent=TRACE, at=Instant(at), key=key, digest=digest)


def put_task(id_: str = "t-1", owner: str = "") -> Put:
    """Return a change that writes a task."""
    return Put(Task(id=id_, owner=owner))


def session(id_: str) -> Session:
    """Return a session with a value of every shape in it."""
    return Session(
        id=id_,
        identity="spiffe://example.org/a",
        task="t-1",
        entitlement="e-1",
        actions=ActionScope(["rows.*"]),
        resources=ResourceScope(["database:prod/**"]),
        constraints={"network": ["prod", 1, None, {"zone": [True, 2.5]}]},
        not_before=Instant(1),
        expires_at=Instant(253_402_300_799_999_999_999),
        max_uses=3,
    )


async def loaded(store: Store) -> tuple[int, dict[str, AnyFact]]:
    """Return the revision and all facts by id."""
    load = await store.load(slice_size=2)
    facts: dict[str, AnyFact] = {}
    async for part in load.slices:
        assert 1 <= len(part) <= 2
        facts |= {fact.id: fact for fact in part}
    return load.revision, facts


async def followed(store: Store, after: int, count: int) -> list[Commit | Heartbeat]:
    """Return the first items of a follower."""
    items: list[Commit | Heartbeat] = []
    async with aclosing(store.follow(after)) as feed:
        async for item in feed:
            items.append(item)
            if len(items) == count:
                return items
    return items


async def test_an_empty_store_is_at_revision_0(store: Store) -> None:
    """Nothing loaded, no history, no time."""
    assert (await loaded(store), await store.history(0, 10), await store.latest_time()) == ((0, {}), [], 0)


async def test_revisions_count_up_from_1(store: Store) -> None:
    """One commit, one revision, whatever the number of changes."""
    revisions = [await store.commit([put_task(), put_task("t-2")], origin()) for _ in range(3)]
    assert revisions == [1, 2, 3]


async def test_a_written_fact_is_stamped_with_its_revision_and_trace(store: Store) -> None:
    """Whatever the writer had put there."""
    await store.commit([put_task()], origin())
    await store.commit([Put(Task(id="t-1", owner="team", revision=77, traceparent="forged"))], origin())
    expected = Task(id="t-1", owner="team", revision=2, traceparent=TRACE)
    assert await store.read(FactKind.TASK, "t-1") == expected


@pytest.mark.parametrize(
    "fact",
    [
        session("s-1"),
        Identity(id="ci/**", kind=IdentityKind.CI_JOB, labels={"team": "Zürich 🏔"}),
        Signal(id="x", about="a", name="risk", value={"level": [3, None]}, expires_at=Instant(1)),
        Revocation(
            id="r", target=RevocationTarget.OWNER, target_id="o", effective_at=Instant(0), reason="left\nthe team"
        ),
    ],
    ids=lambda fact: type(fact).__name__,
)
async def test_a_fact_comes_back_as_it_was_written(store: Store, fact: AnyFact) -> None:
    """By reading, loading and in the history alike."""
    await store.commit([Put(fact)], origin())
    expected = replace(fact, revision=1, traceparent=TRACE)
    kind = {Session: FactKind.SESSION, Identity: FactKind.IDENTITY, Signal: FactKind.SIGNAL}.get(
        type(fact), FactKind.REVOCATION
    )
    [commit] = await store.history(0, 10)
    assert await store.read(kind, fact.id) == expected
    assert await loaded(store) == (1, {fact.id: expected})
    assert commit == Commit(1, (Put(expected),), origin())


async def test_facts_of_two_kinds_may_share_an_id(store: Store) -> None:
    """A fact is named by its kind and id."""
    await store.commit([put_task("same"), Put(session("same"))], origin())
    await store.commit([Drop(FactKind.TASK, "same")], origin())
    assert (await store.read(FactKind.TASK, "same"), (await store.read(FactKind.SESSION, "same")) is None) == (
        None,
        False,
    )


async def test_identifiers_are_told_apart_byte_for_byte(store: Store) -> None:
    """No case folding and no Unicode normalisation."""
    ids = ["a", "A", "a ", "é", "e\u0301"]
    await store.commit([put_task(id_) for id_ in ids], origin())
    assert sorted((await loaded(store))[1]) == sorted(ids)


async def test_a_dropped_fact_is_gone_and_its_history_stays(store: Store) -> None:
    """The log remembers what the view forgets."""
    await store.commit([put_task()], origin())
    await store.commit([Drop(FactKind.TASK, "t-1")], origin())
    history = await store.history(0, 10)
    assert (await loaded(store), [len(commit.changes) for commit in history]) == ((2, {}), [1, 1])
    assert history[1].changes == (Drop(FactKind.TASK, "t-1"),)


async def test_dropping_what_does_not_exist_is_a_commit_like_any_other(store: Store) -> None:
    """So that dropping twice is harmless."""
    assert await store.commit([Drop(FactKind.TASK, "t-9")], origin()) == 1


async def test_changes_of_a_commit_apply_in_order(store: Store) -> None:
    """The last one about a fact stands."""
    await store.commit([put_task(owner="a"), Drop(FactKind.TASK, "t-1"), put_task(owner="b")], origin())
    assert await store.read(FactKind.TASK, "t-1") == Task(id="t-1", owner="b", revision=1, traceparent=TRACE)


async def test_a_commit_of_nothing_is_refused(store: Store) -> None:
    """A revision that changes nothing would tell followers nothing."""
    with pytest.raises(CommitRefusedError, match="a commit must change something"):
        await store.commit([], origin())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put_task(""), "`task:`: id must not be empty"),
        (put_task("a\x00b"), "id must not have control characters"),
        (put_task("\ud800"), "id must be valid Unicode"),
        (Put(Identity(id="a/*b", kind=IdentityKind.HUMAN)), r"`identity:a/\*b`: id pattern `a/\*b`"),
        (Put(Signal(id="x", about="a", name="n", value=float("inf"), expires_at=Instant(1))), "finite number"),
        (Drop(FactKind.TASK, "\ud800"), "id must be valid Unicode"),
    ],
)
async def test_an_unlawful_change_is_refused_with_its_whole_commit(store: Store, change: Change, message: str) -> None:
    """One such fact in the log would stop every reader of it."""
    with pytest.raises(CommitRefusedError, match=message):
        await store.commit([put_task("good"), change], origin())
    assert await loaded(store) == (0, {})


@pytest.mark.parametrize("at", [-1, 1 << 63])
async def test_a_commit_at_an_impossible_time_is_refused(store: Store, at: int) -> None:
    """Times of commits are kept in 64 bits."""
    with pytest.raises(CommitRefusedError, match="the time of a commit must lie in"):
        await store.commit([put_task()], origin(at))


async def test_a_commit_at_the_expected_revisions_goes_through(store: Store) -> None:
    """Compare and set, also on facts that the commit does not write."""
    await store.commit([put_task(), put_task("t-2")], origin())
    expected = {FactRef(FactKind.TASK, "t-1"): 1, FactRef(FactKind.TASK, "t-9"): 0}
    assert await store.commit([put_task("t-3")], origin(), expected=expected) == 2


@pytest.mark.parametrize(
    ("id_", "expected", "actual"), [("t-1", 0, 1), ("t-1", 7, 1), ("t-9", 1, 0)], ids=["exists", "moved", "gone"]
)
async def test_a_conflict_names_the_fact_and_both_revisions(store: Store, id_: str, expected: int, actual: int) -> None:
    """And nothing of the commit happens."""
    await store.commit([put_task()], origin())
    ref = FactRef(FactKind.TASK, id_)
    with pytest.raises(ConflictError, match=f"`task:{id_}`") as caught:
        await store.commit([put_task("t-2")], origin(), expected={ref: expected})
    assert (caught.value.ref, caught.value.expected, caught.value.actual) == (ref, expected, actual)
    assert [*(await loaded(store))[1]] == ["t-1"]


async def test_of_many_that_expect_the_same_one_wins(store: Store) -> None:
    """However they are grouped on their way to the disk."""
    ref = FactRef(FactKind.TASK, "t-1")
    outcomes = await asyncio.gather(
        *(store.commit([put_task(owner=str(n))], origin(), expected={ref: 0}) for n in range(20)),
        return_exceptions=True,
    )
    assert (outcomes.count(1), sum(isinstance(outcome, ConflictError) for outcome in outcomes)) == (1, 19)


async def test_an_actor_commits_once_under_a_key(store: Store) -> None:
    """The second time it hears what it committed the first time, whatever it wants written now, or expects."""
    await store.commit([put_task()], origin(key="k"))
    first = await store.committed("operator", "k")
    with pytest.raises(AlreadyCommittedError, match="`k` is the key of revision 1 already") as caught:
        await store.commit([put_task("t-2")], origin(9, key="k"), expected={FactRef(FactKind.TASK, "t-1"): 0})
    written = Task(id="t-1", revision=1, traceparent=TRACE)
    assert caught.value.commit == first == Commit(1, (Put(written),), origin(key="k"))
    assert await loaded(store) == (1, {"t-1": written})


async def test_a_key_belongs_to_one_actor(store: Store) -> None:
    """Another may use the same one."""
    await store.commit([put_task()], origin(key="k"))
    assert await store.committed("somebody else", "k") is None
    assert await store.commit([put_task("t-2")], origin(actor="somebody else", key="k")) == 2


async def test_without_a_key_the_same_is_committed_as_often_as_it_is_asked_for(store: Store) -> None:
    """And an empty key names no commit."""
    assert [await store.commit([put_task()], origin()) for _ in range(2)] == [1, 2]
    assert await store.committed("operator", "") is None


async def test_a_commit_that_did_not_happen_uses_up_no_key(store: Store) -> None:
    """What conflicted may be decided again under its key."""
    with pytest.raises(ConflictError):
        await store.commit([put_task()], origin(key="k"), expected={FactRef(FactKind.TASK, "t-1"): 7})
    assert await store.committed("operator", "k") is None
    assert await store.commit([put_task()], origin(key="k")) == 1


async def test_of_many_under_one_key_one_happens(store: Store) -> None:
    """However they are grouped on their way to the disk; all others hear of it."""
    outcomes = await asyncio.gather(
        *(store.commit([put_task(f"t-{n}")], origin(key="k")) for n in range(20)), return_exceptions=True
    )
    told = [one.commit.revision for one in outcomes if isinstance(one, AlreadyCommittedError)]
    assert (outcomes.count(1), told) == (1, [1] * 19)
    assert len(await store.history(0, 100)) == 1


@pytest.mark.parametrize("field", ["actor", "reason", "traceparent", "key", "digest"])
async def test_a_commit_of_unlawful_origin_is_refused(store: Store, field: str) -> None:
    """Each of its texts could stop a reader of the log."""
    with pytest.raises(CommitRefusedError, match=f"{field} of a commit must be valid Unicode"):
        await store.commit([put_task()], replace(origin(), **{field: "\ud800"}))


async def test_commits_at_the_same_time_get_a_revision_each(store: Store) -> None:
    """Without gaps, and the history agrees with what each writer was told."""
    revisions = await asyncio.gather(*(store.commit([put_task(f"t-{n}")], origin(n)) for n in range(50)))
    history = await store.history(0, 100)
    told = {revision: f"t-{n}" for n, revision in enumerate(revisions)}
    assert sorted(revisions) == [commit.revision for commit in history] == list(range(1, 51))
    assert told == {commit.revision: _only_id(commit.changes) for commit in history}


def _only_id(changes: Sequence[Change]) -> str:
    [change] = changes
    return change.id if isinstance(change, Drop) else change.fact.id


async def test_the_latest_time_is_that_of_the_latest_commit_in_time(store: Store) -> None:
    """A clock that stepped back does not take it along."""
    for at in (5, 9, 7):
        await store.commit([put_task()], origin(at))
    assert await store.latest_time() == 9


async def test_history_is_read_in_parts(store: Store) -> None:
    """After a revision, and at most so many."""
    for _ in range(5):
        await store.commit([put_task()], origin())
    parts = [[commit.revision for commit in await store.history(after, 2)] for after in (0, 2, 4, 5, 99)]
    assert parts == [[1, 2], [3, 4], [5], [], []]


async def test_an_unknown_fact_reads_as_none(store: Store) -> None:
    """Not as an error."""
    assert await store.read(FactKind.TASK, "t-1") is None


@pytest.mark.parametrize("kind", [None, FactKind.TASK])
@pytest.mark.parametrize("limit", [1, 2, 4, 100])
async def test_pages_walk_through_all_facts_once(store: Store, kind: FactKind | None, limit: int) -> None:
    """Of one kind or of all, whatever the size of a page, and facts that come or go in between do no harm."""
    ids = ["a:b", "a", "é", "z"]
    await store.commit([*map(put_task, ids), Put(session("s"))], origin())
    found: list[str] = []
    token = ""
    while True:
        facts, token = await store.page(kind, token, limit)
        found += [fact.id for fact in facts]
        await store.commit([put_task("a-new"), Drop(FactKind.TASK, "a-new")], origin())
        if not token:
            break
    assert sorted(found) == sorted(ids if kind else [*ids, "s"])


async def test_a_token_of_no_page_is_refused(store: Store) -> None:
    """Not read as the start."""
    with pytest.raises(ValueError, match="not a page token"):
        await store.page(None, "nonsense", 1)


async def test_a_follower_hears_a_heartbeat_at_once(store: Store) -> None:
    """It proves that the store is reached."""
    assert await followed(store, 0, 1) == [Heartbeat(0)]


async def test_a_follower_hears_what_it_missed_then_heartbeats(store: Store) -> None:
    """In order, from the revision it names."""
    for _ in range(3):
        await store.commit([put_task()], origin())
    items = await followed(store, 1, 4)
    assert [(type(item), item.revision) for item in items] == [
        (Commit, 2),
        (Commit, 3),
        (Heartbeat, 3),
        (Heartbeat, 3),
    ]


async def test_a_follower_hears_commits_as_they_happen(store: Store) -> None:
    """Every one, once, in order, whoever else follows."""
    await store.commit([put_task()], origin())

    async def commits(count: int) -> list[int]:
        heard: list[int] = []
        async for item in store.follow(0):
            if isinstance(item, Commit):
                heard.append(item.revision)
            if len(heard) == count:
                return heard
        return heard

    followers = [asyncio.create_task(commits(31)) for _ in range(3)]
    await asyncio.gather(*(store.commit([put_task(f"t-{n}")], origin()) for n in range(30)))
    assert await asyncio.gather(*followers) == [list(range(1, 32))] * 3


async def test_a_load_is_of_one_revision_whatever_is_committed_meanwhile(store: Store) -> None:
    """Slices that are read late still show the view as of the load."""
    await store.commit([put_task(f"t-{n}") for n in range(5)], origin())
    load = await store.load(slice_size=2)
    await store.commit([put_task("late"), Drop(FactKind.TASK, "t-0")], origin())
    facts = [fact.id async for part in load.slices for fact in part]
    assert (load.revision, sorted(facts)) == (1, [f"t-{n}" for n in range(5)])


async def test_a_closed_store_is_unavailable(store: Store) -> None:
    """For every question, and closing twice is no error."""
    feed = store.follow(0)
    assert await anext(feed) == Heartbeat(0)
    await store.close()
    await store.close()
    for question in (
        store.load(),
        store.commit([put_task()], origin()),
        store.committed("operator", "k"),
        store.history(0, 1),
        store.read(FactKind.TASK, "t"),
        store.page(None, "", 1),
        store.latest_time(),
        anext(feed),
    ):
        with pytest.raises(StoreUnavailableError, match="the store is closed"):
            await question
