"""The journal: every decision and change, in order, on disk, each line bound to the one before.

Rule 1: the request path only appends. A few milliseconds later, or in its next turn if a record is durable, the event
loop packs what has gathered and settles what nobody waits for; a process of its own encodes, chains, writes and syncs.
Rule 2: memory is bounded, by count and by bytes: a full buffer refuses a record, it never drops one.
Rule 3: what had to be given up (closing with a broken disk) is counted and said.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct

from pdp.core.model import Attributes, Instant
from pdp.evidence.journal.disk import Disk
from pdp.evidence.journal.entry import Entry
from pdp.evidence.journal.journal_end import find_end
from pdp.evidence.journal.journal_writer import JournalWriter, Scribe, unavailable
from pdp.evidence.journal.ledger import Ledger, Ledgers
from pdp.evidence.journal.scribe_process import ScribeProcess
from pdp.evidence.journal.scribe_thread import ScribeThread
from pdp.evidence.journal.segments import ChainEnd
from pdp.evidence.journal.telling import Telling
from pdp.evidence.line.masking import Masking
from pdp.evidence.line.packed_record import pack
from pdp.evidence.line.record_json import Mask
from pdp.evidence.record import AnyRecord, DecisionRecord, LifecycleRecord
from pdp.evidence.trouble import BufferFullError, EvidenceUnavailableError, JournalLockedError

_LOG = logging.getLogger(__name__)

_GATHER_S = 0.01
"""How long buffered records gather before they are packed: done one by one, each takes twice as long."""
_MOST_GATHERED = 64
"""How many gather at most: until they are packed nobody knows how many bytes they are."""


_SCRIBE_ENDS_WITHIN_S, _TURN_S = 2.0, 0.02


class JournalStatus(Struct, frozen=True):
    """How the journal is doing."""

    healthy: bool
    error: str
    """Why not; empty if healthy."""
    held: int
    """Records in memory, not yet confirmed on disk."""
    lag_s: float
    """Age of the oldest of them; 0 if there is none."""
    sequence: int
    """Last record that is on disk."""
    last_sync_s: float
    """How long the last sync took."""
    errors: int
    lost: int
    """Records given up; only closing with a broken disk does that."""


def _ignore(_: Sequence[AnyRecord]) -> None:
    """Settle into nowhere."""


def _do_nothing() -> None:
    """End without a word."""


class Journal:
    """One directory of segments with one writer. All methods but `status` belong to the event loop's thread."""

    _lock: int | None = None
    _opened = _closed = False

    def __init__(
        self,
        directory: Path,
        *,
        on_settled: Callable[[Sequence[AnyRecord]], None] = _ignore,
        ledger: Ledger | None = None,
        on_ended: Callable[[], None] = _do_nothing,
        disk: Disk | None = None,
        masking: Masking | None = None,
        max_buffered: int = 65_536,
        max_buffered_bytes: int = 256 * 1024 * 1024,
        segment_bytes: int = 64 * 1024 * 1024,
        flush_interval_s: float = 0.05,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        """Take a directory; nothing is touched before `open`.

        `max_buffered_bytes` counts what decisions in memory say, packed: not the last 64, nor any other records.
        `on_settled` gets each record once, when it is certain to count; it must not raise.
        `on_ended` is called when nothing is written any more and the directory still locked, on a thread that may wait.
        `disk` is written to by a thread of this process; without one a process writes to the local disk.
        `masking`, which must be started before `open`, takes from a decision what must not be on record.
        """
        self._directory = directory
        self._on_settled = on_settled
        self._ledger = Ledgers() if ledger is None else ledger
        self._on_ended = on_ended
        self._disk = disk
        self._masking = masking
        self._pack = partial(pack, mask=self._mask)
        self._max_buffered = max_buffered
        self._max_buffered_bytes = max_buffered_bytes
        self._segment_bytes = segment_bytes
        self._flush_interval_s = flush_interval_s
        self._wall = wall
        self._appended = self._packed_bytes = self._lost = 0
        self._fresh: list[Entry | AnyRecord] = []
        self._pressed = False
        """What is not packed yet, and whether any of it is durable, which makes it an entry."""
        self._waiters: deque[Future[None]] = deque()

    def open(self) -> None:
        """Lock the directory, repair a torn end, go on from there. Needs a running event loop.

        Raises JournalLockedError if another process writes to it, JournalDamagedError if the ledger cannot be resumed
        from it, OSError if the directory cannot be used, ValueError if the masking was not started.
        """
        self._loop: AbstractEventLoop = asyncio.get_running_loop()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock(self._directory / "lock")
        try:
            end, repair = find_end(self._directory)
            self._ledger.resume(self._directory, end.sequence)
            self._telling = Telling(self._ledger, self._on_settled)
            self._writer = self._begin(end, self._lock)
        except BaseException:
            self._unlock()
            raise
        self._opened = True
        if repair is not None:
            _LOG.warning("segment `%s` had a torn end of %d bytes", repair.segment, repair.torn_bytes)
            attributes: Attributes = {"segment": repair.segment, "torn_bytes": repair.torn_bytes}
            self.append(LifecycleRecord(name="journal_repaired", at=Instant(self._wall()), attributes=attributes))

    def append(self, record: AnyRecord, *, durable: bool = False) -> Future[None] | None:
        """Queue a record. A durable one gives a future: done once it is on disk, EvidenceUnavailableError if not.

        Raises BufferFullError if there is no room, EvidenceUnavailableError if the journal is not open.
        """
        if not self._opened or self._closed:
            message = "the journal is closed"
            raise EvidenceUnavailableError(message)
        if self._full():
            many, size = self._held(), self._held_bytes()
            waiting = f"{many} records" if many >= self._max_buffered else f"{size} bytes of records"
            message = f"{waiting} wait for the disk"
            raise BufferFullError(message)
        if durable:
            return self._append_durable(record)
        if not self._fresh:
            self._loop.call_later(_GATHER_S, self._queue_fresh)
        self._gather(record)
        return None

    async def room(self, timeout_s: float) -> bool:
        """Wait until a record can be appended; return False if there is still no room after `timeout_s`.

        After True the next `append` succeeds if the caller does not await in between.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._full():
                    await self._next_release()
        return not self._full()

    @property
    def healthy(self) -> bool:
        """Whether durable records can be written, as far as is known."""
        return self._opened and not self._closed and not self._writer.trouble_now()

    def status(self) -> JournalStatus:
        """Return how the journal is doing; cheap, and callable from any thread."""
        if not self._opened:
            return JournalStatus(False, "the journal is closed", 0, 0.0, 0, 0.0, 0, 0)  # noqa: FBT003
        writer = self._writer
        return JournalStatus(
            healthy=self.healthy,
            error=writer.trouble_now(),
            held=self._held(),
            lag_s=self._lag_s(),
            sequence=writer.synced.sequence,
            last_sync_s=writer.last_sync_s,
            errors=writer.errors,
            lost=self._lost,
        )

    async def close(self, timeout_s: float = 5.0) -> int:
        """Write and sync what is queued; return how many records had to be given up because the disk is broken."""
        if not self._opened or self._closed:
            return 0
        self._closed = True
        self._queue_fresh()
        ended = await self._writer.close(timeout_s)
        self._lost = self._held()
        if self._lost:
            _LOG.error("the journal was closed with %d records that could not be written", self._lost)
        if ended:
            await asyncio.to_thread(self._on_ended)
            self._unlock()
        return self._lost

    def _begin(self, end: ChainEnd, lock: int) -> JournalWriter:
        """Start whoever writes, from the journal's end on."""
        if self._disk is None:
            masks = None if self._masking is None else self._masking.masks
            scribe: Scribe = ScribeProcess(self._directory, self._segment_bytes, lock, masks)
        else:
            scribe = ScribeThread(self._directory, self._segment_bytes, self._disk, self._mask)
        scribe.start(end)
        return JournalWriter(
            self._directory,
            scribe,
            end,
            self._telling,
            self._admit,
            self._pack,
            flush_interval_s=self._flush_interval_s,
            wall=self._wall,
        )

    @property
    def _mask(self) -> Mask | None:
        return None if self._masking is None else self._masking.applied

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _append_durable(self, record: AnyRecord) -> Future[None]:
        writer = self._writer
        future: Future[None] = self._loop.create_future()
        if writer.refuses():
            future.set_exception(unavailable(writer.trouble.error if writer.trouble is not None else ""))
            return future
        if not self._pressed:
            self._loop.call_soon(self._queue_fresh)
            self._pressed = True
        self._gather(Entry(record.at, record, written=future))
        return future

    def _gather(self, one: Entry | AnyRecord) -> None:
        self._appended += 1
        self._fresh.append(one)
        if len(self._fresh) >= _MOST_GATHERED:
            self._queue_fresh()

    def _queue_fresh(self) -> None:
        """Pack what has gathered, hand it over, and settle what nobody waits for.

        Decisions are packed now: what they are made of is in the processor's caches still, so it costs a third of what
        it would later. A change may be large, and is left to the commit.
        """
        fresh, self._fresh, self._pressed = self._fresh, [], False
        entries, decisions = list[Entry](), list[DecisionRecord]()
        for one in fresh:
            if type(one) is DecisionRecord:
                decisions.append(one)
                continue
            entries += self._in_one_piece(decisions)
            decisions = []
            entries.append(self._filled(one) if isinstance(one, Entry) else Entry(one.at, one))
        entries += self._in_one_piece(decisions)
        if entries:
            self._writer.take(entries)
        self._telling.settle([one for one in fresh if not isinstance(one, Entry)])

    def _in_one_piece(self, decisions: Sequence[DecisionRecord]) -> Sequence[Entry]:
        """Return decisions that nobody waits for, one behind the other."""
        if not decisions:
            return ()
        uses = [use for record in decisions if (use := record.use) is not None]
        try:
            packed = b"".join([self._pack(record) for record in decisions])
        except Exception:  # noqa: BLE001  # a bug: the writer meets it again, and has a way to say so
            return [self._filled(Entry(record.at, record)) for record in decisions]
        self._packed_bytes += len(packed)
        return (Entry(decisions[0].at, None, packed, len(decisions), uses),)

    def _filled(self, entry: Entry) -> Entry:
        """Return an entry with what is needed of its record, if that is a decision."""
        if isinstance(entry.record, DecisionRecord):
            entry.uses = () if (use := entry.record.use) is None else (use,)
            with contextlib.suppress(Exception):  # a bug: the writer meets it again, and has a way to say so
                entry.packed = self._pack(entry.record)
            self._packed_bytes += len(entry.packed)
        return entry

    def _full(self) -> bool:
        writer = self._writer
        held, size = self._appended - writer.released, self._packed_bytes - writer.released_bytes
        return held >= self._max_buffered or size >= self._max_buffered_bytes

    def _held(self) -> int:
        return self._appended - self._writer.released

    def _held_bytes(self) -> int:
        return self._packed_bytes - self._writer.released_bytes

    def _lag_s(self) -> float:
        """Return the age of the oldest record in memory, looked for where the writer takes from first."""
        writer = self._writer
        with contextlib.suppress(IndexError, AttributeError):  # it may be emptied at any time: this is any thread
            if writer.under_way is not None:
                return self._age(writer.under_way.entries[0])
            if writer.kept:
                return self._age(writer.kept[0])
            if writer.queue:
                return self._age(writer.queue[0])
        return 0.0

    def _age(self, entry: Entry) -> float:
        return max(self._wall() - entry.at, 0) / 1e9

    def _next_release(self) -> Future[None]:
        future: Future[None] = self._loop.create_future()
        self._waiters.append(future)
        return future

    def _admit(self) -> None:
        """Wake all who wait for room; each looks for itself."""
        while self._waiters:
            future = self._waiters.popleft()
            if not future.done():
                future.set_result(None)


def _lock(path: Path) -> int:
    """Lock a journal; the scribe of a sidecar that was killed is waited for: it writes what it was sent."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give_up_at = time.monotonic() + _SCRIBE_ENDS_WITHIN_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < give_up_at:
                time.sleep(_TURN_S)
                continue
            os.close(descriptor)
            message = f"another process writes to journal `{path.parent}`"
            raise JournalLockedError(message) from None
        return descriptor
