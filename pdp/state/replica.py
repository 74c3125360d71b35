"""Keeps a snapshot in step with a store, and says how far it may be trusted.

Rule 1: commits are applied whole, in order, without a gap, on the event-loop thread; the snapshot never goes back.
Rule 2: only a heartbeat makes the state fresh, for it says that all commits have been told; a commit alone may be one
of many that were missed.
Rule 3: the state is stale exactly when more than `max_staleness` has gone by on the monotonic clock since then, and
ready again with the next heartbeat. Readiness never latches.
Rule 4: a commit that cannot be applied ends all decisions: what is half applied must not be decided on.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from typing import TypeAlias, TypeVar

from pdp.core.model import AnyFact, Change, Duration, Revision
from pdp.core.snapshot import Readiness, Snapshot
from pdp.core.wording import SECOND
from pdp.state.store import Commit, Heartbeat, Store, StoreError, StoreUnavailableError, StoreUnusableError

Subscriber: TypeAlias = Callable[[frozenset[str] | None], None]
"""Hears what each commit touched (see `core.touch`) once it is applied, or None when readiness has changed.

Must be quick.
"""

Foreseer: TypeAlias = Callable[[Sequence[Change]], None]
"""Hears what each commit will change just before it is applied, while the snapshot still has what it replaces.

Must be quick, and is told nothing of what `start` loads.
"""

TIME_SLICE = SECOND // 1000
"""Nanoseconds of applying after which waiting checks get their turn."""

COMMITS_PER_READ = 256
_SHORTEST_WATCH_S = 0.01
_BACKOFF_GROWTH = 2


class Replica:
    """Folds a store into a snapshot."""

    def __init__(
        self,
        store: Store,
        snapshot: Snapshot,
        *,
        max_staleness: Duration,
        monotonic: Callable[[], int],
        slice_size: int = 1000,
        retry_s: tuple[float, float] = (0.05, 1.0),
    ) -> None:
        """Take an empty snapshot to fill; `monotonic` is in nanoseconds, `retry_s` the first and longest pause."""
        self._store = store
        self._snapshot = snapshot
        self._max_staleness = max_staleness
        self._monotonic = monotonic
        self._slice_size = slice_size
        self._retry_s = retry_s
        self._last_heard = monotonic()
        self._slice_start = self._last_heard
        self._loaded = False
        self._closed = False
        self._subscribers: list[Subscriber] = []
        self._foreseers: list[Foreseer] = []
        self._waiting: list[tuple[Revision, asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None
        self.trouble: StoreError | None = None
        """Why the store is not being followed just now; None while it is."""

    async def start(self) -> None:
        """Load everything, then be ready; raise StoreError, and stay not ready, if the store cannot be loaded."""
        with _collector_resting():
            await self._load()
        self._loaded = True
        self._wake()
        self.check_readiness()

    async def _load(self) -> None:
        loaded = await self._store.load(self._slice_size)
        heard = self._monotonic()
        async with aclosing(loaded.slices) as parts:
            slices = [part async for part in parts]
        # INVARIANT: the snapshot is touched only now that the store cannot fail any more, so a start can be repeated.
        for facts in slices:
            self._put(facts)
            await asyncio.sleep(0)
        self._snapshot.revision = loaded.revision
        self._last_heard = heard

    def _put(self, facts: Sequence[AnyFact]) -> None:
        for fact in facts:
            try:
                self._snapshot.put(fact)
            except ValueError as error:
                message = f"a fact of the store cannot be applied: {error}"
                raise StoreUnusableError(message) from error

    async def run(self) -> None:
        """Follow the store until closed or cancelled, in a task of its own, once started.

        Raises StoreUnusableError if a commit cannot be applied; every other trouble it sits out.
        """
        if not self._loaded:
            message = "a replica must be started before it runs"
            raise RuntimeError(message)
        if self._closed:
            # Closed between the making of this task and its first turn.
            return
        self._running = asyncio.current_task()
        watch = asyncio.create_task(self._watch_age())
        try:
            await self._follow()
        finally:
            watch.cancel()
            self._running = None

    async def close(self) -> None:
        """Stop following for good; what has been applied stays, and grows stale."""
        self._closed = True
        running = self._running
        if running is not None and running is not asyncio.current_task():
            running.cancel()
            await asyncio.wait([running])

    def check_readiness(self) -> Readiness:
        """Return whether the state may be decided on at this very moment; cheap enough for every decision."""
        if not self._loaded:
            return self._snapshot.readiness
        readiness = Readiness.STALE if self.age() > self._max_staleness else Readiness.READY
        if readiness is not self._snapshot.readiness:
            self._snapshot.readiness = readiness
            self._tell(None)
        return readiness

    @property
    def revision(self) -> Revision:
        """The revision that is applied."""
        return self._snapshot.revision

    def age(self) -> int:
        """Return the nanoseconds since the state was last known to be complete."""
        return self._monotonic() - self._last_heard

    async def applied(self, revision: Revision, timeout_s: float) -> bool:
        """Wait until a revision is applied; return whether it is, within the time given."""
        if self._snapshot.revision >= revision:
            return True
        waiter = (revision, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            await asyncio.wait([waiter[1]], timeout=max(timeout_s, 0))
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
        return self._snapshot.revision >= revision

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Tell a subscriber of every change from now on; return what ends that."""
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            with suppress(ValueError):
                self._subscribers.remove(subscriber)

        return unsubscribe

    def foresee(self, foreseer: Foreseer) -> None:
        """Tell of every commit from now on, just before it is applied."""
        self._foreseers.append(foreseer)

    async def _follow(self) -> None:
        pause, longest = self._retry_s
        while True:
            try:
                async with aclosing(self._store.follow(self._snapshot.revision)) as feed:
                    async for item in feed:
                        await self._take(item)
                        pause = self._retry_s[0]
            except StoreError as error:
                self.trouble = error
                if not self._loaded:
                    raise
                self.check_readiness()
            # Replicas that lost the same store at the same time must not come back at the same time.
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # spread, not secrecy
            pause = min(pause * _BACKOFF_GROWTH, longest)

    async def _take(self, item: Commit | Heartbeat) -> None:
        if isinstance(item, Commit) and item.revision == self._snapshot.revision + 1:
            await self._apply(item)
        elif item.revision > self._snapshot.revision:
            await self._catch_up(item.revision)
        if isinstance(item, Commit):
            return
        if item.revision < self._snapshot.revision:
            message = f"the store is at revision {item.revision}, behind the {self._snapshot.revision} it had told of"
            raise StoreUnavailableError(message)
        self._last_heard = self._monotonic()
        self.trouble = None
        self.check_readiness()

    async def _catch_up(self, revision: Revision) -> None:
        """Fetch and apply what is missing up to a revision."""
        while self._snapshot.revision < revision:
            missing = self._snapshot.revision + 1
            commits = await self._store.history(self._snapshot.revision, COMMITS_PER_READ)
            for commit in commits:
                if commit.revision != self._snapshot.revision + 1:
                    break
                await self._apply(commit)
            if self._snapshot.revision < missing:
                message = f"the store has no revision {missing}, yet told of {revision}"
                raise StoreUnavailableError(message)

    async def _apply(self, commit: Commit) -> None:
        for foreseer in self._foreseers:
            _call(foreseer, commit.changes)
        try:
            touched = self._snapshot.apply(commit.revision, commit.changes)
        except Exception as error:
            self._loaded = False
            self._snapshot.readiness = Readiness.NOT_READY
            self._tell(None)
            message = f"revision {commit.revision} cannot be applied: {error}"
            raise StoreUnusableError(message) from error
        self._tell(touched)
        self._wake()
        if self._monotonic() - self._slice_start > TIME_SLICE:
            await asyncio.sleep(0)
            self._slice_start = self._monotonic()

    def _wake(self) -> None:
        """Wake those who wait for a revision that has come."""
        if not self._waiting:
            return
        for revision, waiter in self._waiting:
            if revision <= self._snapshot.revision and not waiter.done():
                waiter.set_result(None)
        self._waiting = [waiting for waiting in self._waiting if not waiting[1].done()]

    def _tell(self, touched: frozenset[str] | None) -> None:
        for subscriber in tuple(self._subscribers):
            _call(subscriber, touched)

    async def _watch_age(self) -> None:
        """Let subscribers hear of staleness also when nobody asks for a decision."""
        while True:
            left = (self._max_staleness - self.age()) / SECOND
            await asyncio.sleep(max(left, _SHORTEST_WATCH_S))
            self.check_readiness()


_T = TypeVar("_T")


def _call(listener: Callable[[_T], None], told: _T) -> None:
    """Tell a listener; one that fails must not keep revocations from all others."""
    try:
        listener(told)
    except Exception as error:  # noqa: BLE001  # whatever it is
        asyncio.get_running_loop().call_exception_handler(
            {"message": "a subscriber of the replica failed", "exception": error}
        )


@contextmanager
def _collector_resting() -> Iterator[None]:
    """Keep the garbage collector from walking a growing load again and again, then put the load out of its sight.

    A million long-lived objects, walked by each full collection, would cost pauses of tens of milliseconds.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.collect()
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()
