"""The scribe as a thread of this process, for disks that are objects of this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from msgspec import Raw

from pdp.evidence.journal.disk import Disk
from pdp.evidence.journal.scribe import Answer, commit
from pdp.evidence.journal.segment_log import SegmentLog
from pdp.evidence.journal.segments import ChainEnd
from pdp.evidence.line.packed_record import head_of, records_of
from pdp.evidence.line.record_json import Mask


class ScribeThread:
    """One thread that writes to a disk. Its methods belong to the event loop's thread."""

    def __init__(self, directory: Path, segment_bytes: int, disk: Disk, mask: Mask | None) -> None:
        """Write to a journal on this disk, and `mask` decisions before."""
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._disk = disk
        self._mask = mask
        self._loop = asyncio.get_running_loop()
        self._commits: SimpleQueue[tuple[list[Raw], Callable[[Answer], None]] | None] = SimpleQueue()

    def start(self, end: ChainEnd) -> None:
        """Start the thread, to go on at the journal's end."""
        log = SegmentLog(self._directory, self._disk, self._segment_bytes, end)
        self._thread = threading.Thread(target=self._run, args=(log,), name="journal", daemon=True)
        self._thread.start()

    def commit(self, packed: Sequence[bytes], count: int, _: ChainEnd, done: Callable[[Answer], None]) -> None:
        """Have records written, and call `done` once with the answer; one commit at a time."""
        self._commits.put((records_of(b"".join((head_of(count), *packed))), done))

    async def close(self, timeout_s: float) -> bool:
        """Let it finish what it was sent; return whether it has ended: not while a disk hangs."""
        self._commits.put(None)
        await asyncio.to_thread(self._thread.join, timeout_s)
        return not self._thread.is_alive()

    def _run(self, log: SegmentLog) -> None:
        while (sent := self._commits.get()) is not None:
            records, done = sent
            answer = commit(log, records, self._mask)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(done, answer)
        log.close()
