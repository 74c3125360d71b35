"""What becomes of records between the request path and the scribe, with a scribe that answers at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from pdp.core.model import Instant
from pdp.evidence.journal.entry import Entry
from pdp.evidence.journal.journal_writer import JournalWriter
from pdp.evidence.journal.ledger import Ledger
from pdp.evidence.journal.scribe import Answer, Written
from pdp.evidence.journal.segments import ChainEnd
from pdp.evidence.journal.telling import Telling
from pdp.evidence.record import LifecycleRecord, Occasion, Use

A_TURN, TURNS = 64, 500
"""Records of a batch that are decided in one turn of the event loop, and how many turns."""


class Scribe:
    """Writes nothing."""

    def start(self, end: ChainEnd) -> None:
        """Begin."""

    def commit(self, packed: Sequence[bytes], count: int, end: ChainEnd, done: Callable[[Answer], None]) -> None:
        """Answer in the next turn."""
        assert len(packed) <= count
        answer = Written(end.sequence + count, end.hash, "segment", end.size + 1, 0.0)
        asyncio.get_running_loop().call_soon(done, answer)

    async def close(self, timeout_s: float) -> bool:
        """End."""
        return timeout_s >= 0


class Told(Ledger):
    """Counts what it is told."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.uses, self.sequence = 0, 0

    def written(self, uses: Sequence[Use], sequence: int) -> None:
        """Count."""
        self.uses, self.sequence = self.uses + len(uses), sequence


async def test_what_is_told_on_does_not_fall_behind_for_ever() -> None:
    """However much is decided in a turn: what is written counts as out of memory."""
    ledger = Told()
    telling = Telling(ledger, lambda _: None)
    writer = JournalWriter(
        Path(), Scribe(), ChainEnd(), telling, lambda: None, lambda _: b"{}", flush_interval_s=0.0, wall=lambda: 0
    )
    record, use = LifecycleRecord(name="a", at=Instant(1)), Use(Occasion(("s-1",), (), (), "read", "a"), Instant(1))
    most = 0
    for _ in range(TURNS):
        writer.take([Entry(record.at, record, uses=(use,)) for _ in range(A_TURN)])
        await asyncio.sleep(0)
        most = max(most, writer.released - ledger.uses)
    assert await writer.close(60.0)
    assert (ledger.uses, ledger.sequence) == (A_TURN * TURNS, A_TURN * TURNS)
    assert most < A_TURN * TURNS / 10
