"""What becomes of records between the request path and the disk.

Rule 1: a record leaves memory only when a sync has confirmed it; otherwise it is kept and tried again.
Rule 2: a durable record that could not be written is not kept: its answer was never given, so it must not appear
later as if it had been.
Rule 3: each record is settled once: a durable one when it is on disk, a buffered one as it comes here; so metrics
and alarms go on while the disk is down.
Rule 4: nothing here waits: the scribe writes, one commit at a time, and what gathers meanwhile is the next.

    queue -> under way (at the scribe) -> untold -> told
                | the disk fails
                v
              kept (but durable ones, which fail) -> under way
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from asyncio import AbstractEventLoop, TimerHandle
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from pdp.core.model import Attributes, Instant
from pdp.evidence.instants import instant_text
from pdp.evidence.journal.entry import Entry, count_of
from pdp.evidence.journal.scribe import Answer, Failed, Written
from pdp.evidence.journal.segments import ChainEnd
from pdp.evidence.journal.telling import Telling
from pdp.evidence.record import AnyRecord, LifecycleRecord
from pdp.evidence.trouble import EvidenceUnavailableError

_LOG = logging.getLogger(__name__)

BATCH = 512
"""Records of one commit, but for those that come in one piece with the last of them."""
_BATCH_BYTES = 1024 * 1024
"""Of the same: whoever comes behind a commit waits until it is encoded."""

_HANGS_AFTER_S = 2.0
_HANGS = "the disk does not answer"
_TICK_S = 0.001
"""What a loop's clock may be behind its timers."""

_LAST_WORK_S = 0.5
"""For a commit that is under way when the disk is given up."""

_FIRST_BACKOFF_S = 0.02
_LAST_BACKOFF_S = 1.0


class Scribe(Protocol):
    """Who writes, beside the event loop."""

    def start(self, end: ChainEnd) -> None:
        """Begin, to go on at the journal's end; raise OSError if that cannot be done."""

    def commit(self, packed: Sequence[bytes], count: int, end: ChainEnd, done: Callable[[Answer], None]) -> None:
        """Have so many records written behind the end, and call `done` once with the answer; one commit at a time."""

    async def close(self, timeout_s: float) -> bool:
        """Let it finish what it was sent; return whether it has ended."""


class Batch(Struct):
    """Records that are written together."""

    entries: list[Entry]

    @property
    def durable(self) -> list[Entry]:
        """The entries somebody waits for."""
        return [entry for entry in self.entries if entry.written is not None]

    @property
    def buffered(self) -> list[Entry]:
        """The entries nobody waits for."""
        return [entry for entry in self.entries if entry.written is None]


class Trouble(Struct):
    """An outage of the disk."""

    since: Instant
    error: str
    retry_at: float
    backoff: float = _FIRST_BACKOFF_S


class JournalWriter:
    """Takes records to the scribe. Belongs to the event loop's thread."""

    def __init__(
        self,
        directory: Path,
        scribe: Scribe,
        end: ChainEnd,
        telling: Telling,
        on_released: Callable[[], None],
        pack: Callable[[AnyRecord], bytes],
        *,
        flush_interval_s: float,
        wall: Callable[[], int],
    ) -> None:
        """Go on at the journal's end; buffered records are written `flush_interval_s` after the last ones, at most.

        `pack` packs a record that comes unpacked. `on_released` is called when there may be room.
        """
        self.queue: deque[Entry] = deque()
        self.kept: deque[Entry] = deque()
        self.under_way: Batch | None = None
        """What the scribe has now."""
        self.synced = end
        self.released = self.released_bytes = 0
        """Records that left memory, and bytes of what they came packed as."""
        self.trouble: Trouble | None = None
        self.errors = 0
        self.last_sync_s = 0.0
        self._directory = directory
        self._scribe = scribe
        self._telling = telling
        self._on_released = on_released
        self._pack = pack
        self._flush_interval_s = flush_interval_s
        self._wall = wall
        self._loop: AbstractEventLoop = asyncio.get_running_loop()
        self._queued = self._waited_for = 0
        """Records in the queue, and how many of them are durable."""
        self._sent_at = self._flush_at = 0.0
        self._timer: TimerHandle | None = None
        self._ending = self._given_up = False
        self._empty = asyncio.Event()

    def take(self, entries: Sequence[Entry]) -> None:
        """Take records, in order."""
        self.queue.extend(entries)
        self._queued += count_of(entries)
        self._waited_for += sum(entry.written is not None for entry in entries)
        self._go_on()

    def refuses(self) -> bool:
        """Whether the disk is known to be broken and not due for another try."""
        trouble = self.trouble
        return trouble is not None and self._loop.time() < trouble.retry_at

    def trouble_now(self) -> str:
        """Return why durable records cannot be written, as far as is known; empty: they can. For any thread."""
        if self.trouble is not None:
            return self.trouble.error
        waited = self._loop.time() - self._sent_at
        return _HANGS if self.under_way is not None and waited > _HANGS_AFTER_S else ""

    async def close(self, timeout_s: float) -> bool:
        """Write what there is, and give up if for `timeout_s` nothing is. Return whether nobody writes any more."""
        self._ending = True
        self._go_on()
        self._given_up = not await self._emptied(timeout_s)
        if self._timer is not None:
            self._timer.cancel()
        self._telling.rest()
        return await self._scribe.close(_LAST_WORK_S if self._given_up else timeout_s)

    async def _emptied(self, timeout_s: float) -> bool:
        """Wait until there is nothing to write; return False once nothing is written for so long."""
        before = -1
        while self.synced.sequence != before:
            before = self.synced.sequence
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    return await self._empty.wait()
        return False

    def _go_on(self) -> None:
        """Send the next commit, if the scribe is free and it is time for one; else see to it that it is later."""
        if self.under_way is not None or self._given_up:
            return
        if self.refuses():
            self._keep_queue()
        at = self._due_at()
        if at is None:
            if self._ending:
                self._empty.set()
        elif at <= self._loop.time() + _TICK_S:
            self._commit()
        elif self._timer is None or self._timer.when() > at:
            self._wake_at(at)

    def _due_at(self) -> float | None:
        """Return when the next commit is due; None: there is nothing to write."""
        if self._ending and not self.queue and not self.kept:
            return None
        if self.trouble is not None:
            return self.trouble.retry_at
        if self._waited_for or self.kept or self._queued >= BATCH or (self.queue and self._ending):
            return 0.0
        # Each commit takes its time of whoever answers, so what nobody waits for is written together.
        return self._flush_at if self.queue else None

    def _wake_at(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._go_on()

    def _commit(self) -> None:
        """Send what was kept, or what is queued; behind an outage with the event that is also the probe."""
        batch = _oldest(self.kept) if self.kept else self._take_queue()
        self.under_way = batch
        try:
            packed, count = [entry.packed_by(self._pack) for entry in batch.entries], count_of(batch.entries)
            if self.trouble is not None:
                packed.insert(0, self._pack(self._recovery(self.trouble)))
                count += 1
        except Exception as error:  # noqa: BLE001  # see below
            # A bug here must not end evidence without a word: it is handled as a broken disk, and seen in health.
            _LOG.exception("the journal writer failed")
            self._loop.call_soon(self._answered, Failed(f"{type(error).__name__}: {error}"))
            return
        if not packed:
            self.under_way = None
            self._go_on()
            return
        self._sent_at = self._loop.time()
        self._scribe.commit(packed, count, self.synced, self._answered)

    def _take_queue(self) -> Batch:
        """Return the oldest records of the queue."""
        batch = _oldest(self.queue)
        self._queued -= count_of(batch.entries)
        self._waited_for -= len(batch.durable)
        late = [entry for entry in batch.entries if entry.is_late]
        if late:
            self._release(late)
            batch.entries = [entry for entry in batch.entries if not entry.is_late]
        return batch

    def _answered(self, answer: Answer) -> None:
        batch = self.under_way
        if batch is None or self._given_up:
            return  # the end has come before the answer
        if isinstance(answer, Failed):
            self.under_way = None
            self._fail(batch, answer.error)
            self._go_on()
            return
        for entry in batch.durable:
            if entry.written is not None and not entry.written.done():  # else whoever waited has given up
                entry.written.set_result(None)
        self._loop.call_soon(self._written, batch, answer)  # behind those who waited

    def _written(self, batch: Batch, answer: Written) -> None:
        self.under_way = None
        self.synced = ChainEnd(answer.sequence, answer.hash, self._current(answer.segment), answer.size)
        self.last_sync_s, self._flush_at = answer.sync_s, self._loop.time() + self._flush_interval_s
        self._recovered()
        self._release(batch.entries)
        self._telling.later(batch.entries, answer.sequence, self._segment(answer.full))
        self._go_on()

    def _current(self, name: str) -> Path | None:
        """Return the segment of this name; it is nearly always the one of the last commit."""
        last = self.synced.segment
        return last if last is not None and last.name == name else self._segment(name)

    def _segment(self, name: str) -> Path | None:
        return self._directory / name if name else None

    def _fail(self, batch: Batch, reason: str) -> None:
        """Go back to the last sync: durable records fail, the others are kept in their order."""
        self.errors += 1
        self._begin_trouble(reason)
        self.kept.extendleft(reversed(batch.buffered))
        self._refuse(batch)
        self._keep_queue()

    def _keep_queue(self) -> None:
        while self.queue:
            batch = self._take_queue()
            self.kept.extend(batch.buffered)
            self._refuse(batch)

    def _refuse(self, batch: Batch) -> None:
        """Tell those who wait for a record of the batch."""
        self._release(batch.durable)
        reason = "" if self.trouble is None else self.trouble.error
        for entry in batch.durable:
            if entry.written is not None and not entry.written.done():
                entry.written.set_exception(unavailable(reason))

    def _release(self, entries: Sequence[Entry]) -> None:
        if entries:
            self.released += count_of(entries)
            self.released_bytes += sum(len(entry.packed) for entry in entries)
            self._on_released()

    def _begin_trouble(self, reason: str) -> None:
        now, trouble = self._loop.time(), self.trouble
        if trouble is None:
            _LOG.error("the journal cannot be written, durable decisions are denied: %s", reason)
            self.trouble = Trouble(Instant(self._wall()), reason, now + _FIRST_BACKOFF_S)
            return
        trouble.error = reason
        trouble.backoff = min(trouble.backoff * 2, _LAST_BACKOFF_S)
        trouble.retry_at = now + trouble.backoff

    def _recovered(self) -> None:
        if self.trouble is not None:
            _LOG.warning("the journal can be written again")
            self.trouble = None

    def _recovery(self, trouble: Trouble) -> LifecycleRecord:
        """Return the event that is also the probe: the outage is over once it is on disk."""
        attributes: Attributes = {"error": trouble.error, "since": instant_text(trouble.since)}
        return LifecycleRecord(name="journal_recovered", at=Instant(self._wall()), attributes=attributes)


def _oldest(entries: deque[Entry]) -> Batch:
    """Take the records of one commit."""
    batch, count, size = Batch([]), 0, 0
    while entries and count < BATCH and size < _BATCH_BYTES:
        entry = entries.popleft()
        batch.entries.append(entry)
        count += entry.count
        size += len(entry.packed)
    return batch


def unavailable(reason: str) -> EvidenceUnavailableError:
    """Return the error of a record that is not on disk and never will be."""
    return EvidenceUnavailableError(f"the journal cannot be written: {reason}")
