"""The one thread that writes the journal.

Rule 1: a record leaves memory only when a sync has confirmed it; otherwise it is kept and tried again.
Rule 2: a durable record that could not be written is not kept: its answer was never given, so it must not appear
later as if it had been.
Rule 3: each record is settled once: a durable one when it is on disk, a buffered one then or, if the disk fails, when
it is kept for later; so telemetry goes on while the disk is down.
"""

from __future__ import annotations

import logging
import threading
import time
from asyncio import Future
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from pdp.core.model import Attributes, Instant
from pdp.evidence.instants import instant_text
from pdp.evidence.journal.segment_log import SegmentLog
from pdp.evidence.record import AnyRecord, LifecycleRecord

_LOG = logging.getLogger(__name__)

BATCH = 512
"""Most records between two looks at the queue: one write, and one sync if any of them is durable."""

_LOOK_S = 0.005
"""Between two looks whether a disk is due for another try."""
_SLICE = 8
_PAUSE_S = 0.0002
"""After each slice of records that are told on, the event loop gets its turn; unless somebody waits for the disk."""

_FIRST_BACKOFF_S = 0.02
_LAST_BACKOFF_S = 1.0


class Entry(Struct):
    """A record on its way to the disk."""

    record: AnyRecord
    body: bytes = b""
    """What it says, where that is encoded already."""
    written: Future[None] | None = None
    """Whoever waits for it; None: nobody does, it is not durable."""


class Ledger(Protocol):
    """Follows what is on disk, segment by segment."""

    def resume(self, directory: Path) -> None:
        """Take over from what is on disk, before anything is written; may raise JournalDamagedError or OSError."""

    def count(self, records: Sequence[AnyRecord]) -> None:
        """Take note of records that are on disk in the current segment; on the writer thread. Must not raise."""

    def counted(self, sequence: int) -> None:
        """Take note that `resume` and `count` have now had all records up to this sequence; as `count`."""

    def seal(self, segment: Path) -> None:
        """Take note that the segment is full, with all records counted since the last seal; as `count`."""


class Outcome(Protocol):
    """Where the writer tells what became of records; called on the writer thread."""

    def written(self, futures: Sequence[Future[None]]) -> None:
        """Tell that these durable records are on disk."""

    def failed(self, futures: Sequence[Future[None]], reason: str) -> None:
        """Tell that these durable records are not, and never will be."""

    def settled(self, records: Sequence[AnyRecord]) -> None:
        """Hand on records of which it is certain that they count."""

    def released(self) -> None:
        """Tell that there may be room in the buffer."""


class Batch(Struct):
    """Records that are written together."""

    entries: list[Entry]
    settled: bool = False

    @property
    def records(self) -> list[AnyRecord]:
        """All of them."""
        return [entry.record for entry in self.entries]

    @property
    def waiting(self) -> list[Future[None]]:
        """Those who wait for the durable ones."""
        return [entry.written for entry in self.entries if entry.written is not None]

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
    """Takes records from a queue to the log, in one thread."""

    def __init__(
        self,
        log: SegmentLog,
        outcome: Outcome,
        ledger: Ledger,
        encode: Callable[[AnyRecord], bytes],
        *,
        flush_interval_s: float,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write to `log`; buffered records reach the disk about `flush_interval_s` after they are queued, at most.

        `encode` returns the body of a record that was queued without.
        """
        self.queue: deque[Entry] = deque()
        self.durables = 0
        """Durable records ever queued; counted by the event loop."""
        self.released = self.released_bytes = 0
        """Records that left memory, and bytes of the bodies they were queued with; counted by the writer."""
        self.idle = False
        """The writer waits for `wake` without end."""
        self.wake = threading.Event()
        self.trouble: Trouble | None = None
        self.errors = 0
        self.last_sync_s = 0.0
        self.kept: deque[Entry] = deque()
        self.unsynced: list[Batch] = []
        self._taken = 0
        self._log = log
        self._outcome = outcome
        self._ledger = ledger
        self._encode = encode
        self._flush_interval_s = flush_interval_s
        self._wall = wall
        self._monotonic = monotonic
        self._flush_at = 0.0
        self._give_up_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self) -> None:
        """Begin writing."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Write and sync what is queued, then end; with a broken disk give up after `timeout_s`."""
        self._give_up_at = self._monotonic() + timeout_s
        self.wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; return whether it ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def refuses(self) -> bool:
        """Whether the disk is known to be broken and not due for another try."""
        trouble = self.trouble
        return trouble is not None and self._monotonic() < trouble.retry_at

    def _run(self) -> None:
        while not self._done():
            self._await_work()
            self._turn()
        self._log.close()

    def _done(self) -> bool:
        if self._give_up_at is None:
            return False
        if not self.queue and not self.kept and not self.unsynced:
            return True
        return self.trouble is not None and self._monotonic() >= self._give_up_at

    def _await_work(self) -> None:
        if self.trouble is None and not self.queue and not self.kept and not self.unsynced:
            self.idle = True
            # INVARIANT: whoever queues looks at `idle` after queueing, so one of the two sees the other.
            if not self.queue and self._give_up_at is None:
                self.wake.wait()
            self.idle = False
        self.wake.clear()
        if self.trouble is not None:
            self.wake.wait(_LOOK_S)
        elif self.durables == self._taken and self._give_up_at is None and len(self.queue) < BATCH:
            # Each turn interrupts whoever answers, so what nobody waits for is written when it is to be synced.
            self.wake.wait(max(self._flush_at - self._monotonic(), 0.0))

    def _turn(self) -> None:
        if self.refuses():
            self._keep_queue()
            return
        try:
            batch = self._next_batch()
            if batch is not None:
                self.unsynced.append(batch)
                self._log.write(map(self._body, batch.entries))
            if self._must_sync():
                self._sync()
        except OSError as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001  # see below
            # A bug here must not end evidence without a word: it is handled as a broken disk, and seen in health.
            _LOG.exception("the journal writer failed")
            self._fail(f"{type(error).__name__}: {error}")

    def _next_batch(self) -> Batch | None:
        if self.trouble is not None:
            self._log.write([self._encode(self._recovery(self.trouble))])
        if self.kept:
            return Batch([self.kept.popleft() for _ in range(min(BATCH, len(self.kept)))], settled=True)
        return self._take() if self.queue else None

    def _take(self) -> Batch:
        """Return the oldest records of the queue."""
        batch = Batch([self.queue.popleft() for _ in range(min(BATCH, len(self.queue)))])
        self._taken += len(batch.waiting)
        return batch

    def _body(self, entry: Entry) -> bytes:
        return entry.body or self._encode(entry.record)

    def _must_sync(self) -> bool:
        if self.trouble is not None or self._give_up_at is not None or any(batch.waiting for batch in self.unsynced):
            return True
        return bool(self.unsynced) and self._monotonic() >= self._flush_at

    def _sync(self) -> None:
        started = self._monotonic()
        self._log.sync()
        ended = self._monotonic()
        self.last_sync_s, self._flush_at = ended - started, ended + self._flush_interval_s
        self._recovered()
        batches, self.unsynced = self.unsynced, []
        self._release([entry for batch in batches for entry in batch.entries])
        for batch in batches:
            self._outcome.written(batch.waiting)
        for batch in batches:
            for part in self._slices(batch):
                self._ledger.count(part.records)
                self._settle(part)
        self._ledger.counted(self._log.synced.sequence)
        sealed = self._log.rotate()
        if sealed is not None:
            self._ledger.seal(sealed)

    def _slices(self, batch: Batch) -> Iterator[Batch]:
        for start in range(0, len(batch.entries), _SLICE):
            if start and self.durables == self._taken:
                time.sleep(_PAUSE_S)
            yield Batch(batch.entries[start : start + _SLICE], settled=batch.settled)

    def _fail(self, reason: str) -> None:
        """Go back to the last sync: durable records fail, the others are kept in their order."""
        self.errors += 1
        self._begin_trouble(reason)
        batches, self.unsynced = self.unsynced, []
        self.kept.extendleft(entry for batch in reversed(batches) for entry in reversed(batch.buffered))
        for batch in batches:
            self._refuse(batch)
        self._keep_queue()
        try:
            self._log.roll_back()
        except OSError as error:
            # The log remembers, and tries again before it writes anything.
            _LOG.warning("the journal could not be cut back yet: %s", error)

    def _keep_queue(self) -> None:
        while self.queue:
            batch = self._take()
            self.kept.extend(batch.buffered)
            self._refuse(batch)

    def _refuse(self, batch: Batch) -> None:
        """Tell those who wait for a record of the batch, and settle the others."""
        futures = batch.waiting
        self._release(batch.durable)
        if futures and self.trouble is not None:
            self._outcome.failed(futures, self.trouble.error)
        self._settle(Batch(batch.buffered, settled=batch.settled))

    def _settle(self, batch: Batch) -> None:
        if not batch.settled and batch.entries:
            batch.settled = True
            self._outcome.settled(batch.records)

    def _release(self, entries: Sequence[Entry]) -> None:
        if entries:
            self.released += len(entries)
            self.released_bytes += sum(len(entry.body) for entry in entries)
            self._outcome.released()

    def _begin_trouble(self, reason: str) -> None:
        now, trouble = self._monotonic(), self.trouble
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
