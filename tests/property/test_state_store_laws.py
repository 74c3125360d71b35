"""Laws of stores and replicas: engines agree, and following equals loading."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

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
    Session,
    Task,
)
from pdp.core.scope import ActionScope, ResourceScope
from pdp.core.snapshot import Snapshot
from pdp.state.memory import MemoryStore
from pdp.state.replica import Replica
from pdp.state.sqlite import SqliteStore
from pdp.state.store import AlreadyCommittedError, ConflictError, FactRef, Origin, Store

IDS = st.sampled_from(["a", "b", "é", "a:b"])
ACTIONS, RESOURCES = ActionScope(["rows.read"]), ResourceScope(["database:prod"])
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.builds(Task, id=IDS, owner=IDS).map(Put),
    st.builds(
        Session,
        id=IDS,
        identity=IDS,
        task=IDS,
        entitlement=IDS,
        actions=st.just(ACTIONS),
        resources=st.just(RESOURCES),
        not_before=st.just(Instant(1)),
        expires_at=st.just(Instant(2)),
    ).map(Put),
    st.builds(
        Revocation,
        id=IDS,
        target=st.sampled_from(RevocationTarget),
        target_id=IDS,
        effective_at=st.integers(0, 9),
        reason=IDS,
    ).map(Put),
    st.builds(Drop, st.sampled_from(FactKind), IDS),
)
REFS = st.builds(FactRef, st.sampled_from([FactKind.TASK, FactKind.SESSION]), IDS)
COMMITS = st.lists(
    st.tuples(
        st.lists(CHANGES, min_size=1, max_size=4),
        st.integers(0, 99),
        st.dictionaries(REFS, st.integers(0, 3), max_size=1),
        st.sampled_from(["", "", "k", "é"]),
    ),
    max_size=8,
)
Steps = Sequence[tuple[Sequence[Change], int, Mapping[FactRef, Revision], str]]


async def write(store: Store, steps: Steps) -> list[object]:
    """Commit all steps and return what became of each."""
    outcomes: list[object] = []
    for changes, at, expected, key in steps:
        try:
            origin = Origin(actor="a", reason="b", traceparent="c", at=Instant(at), key=key)
            outcomes.append(await store.commit(changes, origin, expected=expected))
        except (AlreadyCommittedError, ConflictError) as error:
            outcomes.append(str(error))
    return outcomes


async def seen(store: Store) -> object:
    """Return everything a store can be asked for."""
    load = await store.load(slice_size=2)
    facts = [fact async for part in load.slices for fact in part]
    pages: list[AnyFact] = []
    token = ""
    while True:
        page = await store.page(None, token, 2)
        pages += page.facts
        if not (token := page.next_token):
            break
    return load.revision, sorted(facts, key=repr), pages, await store.history(0, 100), await store.latest_time()


def view(snapshot: Snapshot) -> object:
    """Return what a snapshot holds, whatever the order it came in."""
    facts = {kind: {fact.id: fact for fact in snapshot.facts(kind)} for kind in FactKind}
    return snapshot.revision, facts, {key: set(ids) for key, ids in snapshot.sessions_of.items()}


def replica_of(store: Store) -> tuple[Replica, Snapshot]:
    """Return a replica that has not started."""
    snapshot = Snapshot()
    return Replica(store, snapshot, max_staleness=Duration(10**12), monotonic=lambda: 0, slice_size=2), snapshot


@settings(deadline=None, max_examples=40)
@given(COMMITS)
def test_both_engines_agree(steps: Steps) -> None:
    """On every outcome, message, fact, page, commit and time."""

    async def compare() -> None:
        with TemporaryDirectory() as directory:
            memory, sqlite = MemoryStore(), await SqliteStore.open(Path(directory) / "state.db")
            assert await write(sqlite, steps) == await write(memory, steps)
            assert await seen(sqlite) == await seen(memory)
            await sqlite.close()
            reopened = await SqliteStore.open(Path(directory) / "state.db")
            assert await seen(reopened) == await seen(memory)
            await reopened.close()

    asyncio.run(compare())


@settings(deadline=None, max_examples=60)
@given(COMMITS, COMMITS)
def test_following_equals_loading(before: Steps, after: Steps) -> None:
    """A replica that loaded early and followed holds what one that loads late does."""

    async def compare() -> None:
        store = MemoryStore(heartbeat_s=0.001)
        await write(store, before)
        early, followed = replica_of(store)
        await early.start()
        running = asyncio.create_task(early.run())
        await write(store, after)
        late, loaded = replica_of(store)
        await late.start()
        assert await early.applied(loaded.revision, 10)
        assert view(followed) == view(loaded)
        await early.close()
        await asyncio.wait([running])

    asyncio.run(compare())
