"""Writes a journal: `author <folder> <records> <bytes of a segment>`.

Lines, chain, segments and seals are made as a sidecar makes them; sealed segments are compressed by a process of their
own, and only a few wait for it. Says on standard error how far it is; prints what it wrote, as JSON.
"""

from __future__ import annotations

import gc
import sys
import time
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.month import Month
from benchmarks.outcome import spaced
from pdp.core.model import Instant
from pdp.evidence.archive.compressing import compress
from pdp.evidence.journal.disk import LocalDisk
from pdp.evidence.journal.segment_log import SegmentLog
from pdp.evidence.journal.segments import ChainEnd
from pdp.evidence.line.record_json import body_of
from pdp.evidence.seals.notary import Notary

_BATCH = 512
_PLAIN_AT_ONCE = 4
_SAY_EVERY_S = 10.0


class Written(Struct, frozen=True):
    """What was written."""

    records: int
    plain_bytes: int
    elapsed_s: float
    """Of this process; compression may have taken longer."""


class Author:
    """Writes one journal."""

    def __init__(self, directory: Path, segment_bytes: int, packer: ProcessPoolExecutor) -> None:
        directory.mkdir(mode=0o700, parents=True)
        (directory / "lock").touch(0o600)
        self._segment_bytes = segment_bytes
        self._packer = packer
        self._packed: deque[Future[bool]] = deque()
        self._notary = Notary(directory)
        self._log = SegmentLog(directory, LocalDisk(), segment_bytes, ChainEnd())
        self._plain_bytes = 0

    def write(self, records: int) -> Written:
        """Write so many records."""
        gc.disable()  # nothing here is a cycle, and all that is made lives long
        started = said = time.monotonic()
        bodies = (body_of(record) for record in Month(records).records())
        self._notary.begin(0, Instant(time.time_ns()))
        while some := list(islice(bodies, _BATCH)):
            self._log.write(some)
            if self._log.end.size >= self._segment_bytes:
                self._leave_segment()
            if time.monotonic() >= said + _SAY_EVERY_S:
                said = time.monotonic()
                _say(self._log.end.sequence, records, said - started)
        self._log.sync()
        last = self._log.end
        self._notary.sign_head(last.sequence, Instant(time.time_ns()))
        self._log.close()
        elapsed = time.monotonic() - started
        _say(last.sequence, records, elapsed)
        self._await_packed(0)
        return Written(last.sequence, self._plain_bytes + last.size, elapsed)

    def _leave_segment(self) -> None:
        self._log.sync()
        last = self._log.end
        sealed = self._log.rotate()
        if sealed is not None:
            self._plain_bytes += last.size
            self._notary.seal(sealed, last.sequence, Instant(time.time_ns()))
            self._packed.append(self._packer.submit(pack, sealed))
            self._await_packed(_PLAIN_AT_ONCE)

    def _await_packed(self, most: int) -> None:
        """Wait until no more segments than so many are plain."""
        while len(self._packed) > most:
            self._packed.popleft().result()


def pack(segment: Path) -> bool:
    """Compress a sealed segment."""
    return compress(segment, lambda: False)


def _say(done: int, of: int, elapsed_s: float) -> None:
    print(f"{spaced(done)} of {spaced(of)} records, {spaced(round(done / elapsed_s))} a second", file=sys.stderr)


if __name__ == "__main__":
    place, count, size = sys.argv[1:]
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        told = Author(Path(place), int(size), pool).write(int(count))
    print(msgspec.json.encode(told).decode())
