"""How an engine of this process tells its followers: the log is read again whenever the bell rings.

Rule 1: a follower reads commits from the log itself, so none is lost, told twice or told out of order.
Rule 2: a heartbeat follows a read that reached the store, never a mere timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from pdp.core.model import Revision
from pdp.state.store import Commit, Heartbeat, StoreUnavailableError

COMMITS_PER_READ = 256


class Bell:
    """Wakes everyone who waits for the next commit. Used on the event-loop thread."""

    def __init__(self) -> None:
        """Start silent."""
        self._next: asyncio.Future[None] | None = None
        self.closed = False

    def next(self) -> asyncio.Future[None]:
        """Return what is done at the next ring; to miss none, ask before reading the log."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        return self._next

    def ring(self) -> None:
        """Wake all."""
        if self._next is not None and not self._next.done():
            self._next.set_result(None)
        self._next = None

    def close(self) -> None:
        """Wake all for the last time."""
        self.closed = True
        self.ring()


async def follow_log(
    history: Callable[[Revision, int], Awaitable[Sequence[Commit]]], bell: Bell, after: Revision, interval_s: float
) -> AsyncGenerator[Commit | Heartbeat, None]:
    """Yield what `Store.follow` promises."""
    while True:
        rung = bell.next()
        commits = await history(after, COMMITS_PER_READ)
        for commit in commits:
            yield commit
            after = commit.revision
        if len(commits) < COMMITS_PER_READ:
            yield Heartbeat(after)
            await asyncio.wait([rung], timeout=interval_s)
        if bell.closed:
            message = "the store is closed"
            raise StoreUnavailableError(message)
