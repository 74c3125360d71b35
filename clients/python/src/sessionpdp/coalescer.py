"""Which checks travel together: the part of coalescing that does no I/O.

Rule 1: a check is sent as soon as a slot is free or few are in flight; only else do checks gather. So one that the
PDP must first put on disk does not hold up the next, and a flood still travels in large batches.
Rule 2: a check leaves in the order it came, once, and is never sent again.
Rule 3: each check has its own deadline; an overdue one is settled although its batch is still out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

    from sessionpdp.decision import Decision
    from sessionpdp.v1 import decision_pb2

SLOTS: Final = 2
"""Batches in flight however large: one that the PDP works on, one on the way to it or back."""

FEW: Final = 8
"""Checks in flight below which the next are sent although the slots are taken.

Where a sync takes 10 ms and a check comes every 2.5 ms, each other one durable, the median of those that are not is
then 1 ms instead of 29, and of those that are 19 instead of 29. The PDP takes 16 messages of a stream at once.
"""


@dataclass(slots=True, eq=False)
class Pending:
    """A check that somebody waits for; `deadline` is on the monotonic clock."""

    request: decision_pb2.CheckRequest
    deadline: float
    answer: asyncio.Future[Decision]


@dataclass(slots=True, eq=False)
class Batch:
    """Checks that were sent as one message, by deadline."""

    correlation_id: int
    items: list[Pending]
    answers_before: int
    """How many answers the stream had given when the batch was sent."""
    overdue: int = field(default=0)
    """How many items, from the first, have passed their deadline."""

    @property
    def last_deadline(self) -> float:
        """The deadline after which nobody waits for the batch."""
        return self.items[-1].deadline


class Coalescer:
    """Gathers checks into batches, and knows who waits for what.

    INVARIANT: checks are added in the order of their deadlines, so the first is always the next to pass.
    """

    def __init__(self, max_batch: int) -> None:
        """Take how many checks one message may hold."""
        self._max_batch = max_batch
        self._waiting: deque[Pending] = deque()
        self._in_flight: dict[int, Batch] = {}
        self._last_id = 0
        self._answers = 0
        self._stalled = False

    def add(self, pending: Pending) -> None:
        """Take a check to be sent."""
        self._waiting.append(pending)

    def next_batch(self) -> Batch | None:
        """Return the batch to send now, or None if enough is in flight or nothing waits."""
        if len(self._in_flight) >= SLOTS and sum(len(batch.items) for batch in self._in_flight.values()) >= FEW:
            return None
        items = self._gather()
        if not items:
            return None
        self._last_id += 1
        batch = Batch(self._last_id, items, self._answers)
        self._in_flight[batch.correlation_id] = batch
        return batch

    def answered(self, correlation_id: int) -> list[Pending]:
        """Free the batch's slot and return its checks; none if nobody waits for it any more.

        Batches are answered in any order.
        """
        self._answers += 1
        batch = self._in_flight.pop(correlation_id, None)
        return batch.items if batch else []

    def lost(self) -> list[Pending]:
        """Free all slots and return the checks in flight: they may have been processed."""
        lost = [pending for batch in self._in_flight.values() for pending in batch.items]
        self._in_flight.clear()
        self._stalled = False
        return lost

    def expire(self, now: float) -> list[Pending]:
        """Return the checks whose deadline has passed; free the slots of batches nobody waits for."""
        overdue: list[Pending] = []
        while self._waiting and self._waiting[0].deadline <= now:
            overdue.append(self._waiting.popleft())
        for batch in list(self._in_flight.values()):
            overdue += _newly_overdue(batch, now)
            if batch.overdue == len(batch.items):
                del self._in_flight[batch.correlation_id]
                self._stalled |= batch.answers_before == self._answers
        return overdue

    def stalled(self) -> bool:
        """Tell whether the stream answered nothing at all while a batch ran out of time.

        One slow batch only costs its slot until its deadline; a silent stream is to be replaced.
        """
        return self._stalled

    def next_deadline(self) -> float | None:
        """Return when `expire` has something to do next."""
        deadlines = [batch.items[batch.overdue].deadline for batch in self._in_flight.values()]
        if self._waiting:
            deadlines.append(self._waiting[0].deadline)
        return min(deadlines, default=None)

    def _gather(self) -> list[Pending]:
        """Take the next items: no cancelled ones, and no two of the same request id.

        The contract wants request ids unique within a batch; callers know nothing of each other's.
        """
        items: list[Pending] = []
        names: set[str] = set()
        while self._waiting and len(items) < self._max_batch:
            name = self._waiting[0].request.request_id
            if name in names:
                break
            pending = self._waiting.popleft()
            if pending.answer.done():
                continue
            if name:
                names.add(name)
            items.append(pending)
        return items


def _newly_overdue(batch: Batch, now: float) -> list[Pending]:
    first = batch.overdue
    while batch.overdue < len(batch.items) and batch.items[batch.overdue].deadline <= now:
        batch.overdue += 1
    return batch.items[first : batch.overdue]
