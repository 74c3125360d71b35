"""Journals with seals, as a sidecar leaves them, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from pdp.core.model import Instant
from pdp.evidence.archive.archive import Archive
from pdp.evidence.archive.retention import Retention
from pdp.evidence.index.record_index import RecordIndex
from pdp.evidence.journal.journal import Journal
from pdp.evidence.journal.ledger import Ledgers
from pdp.evidence.record import AnyRecord, DecisionRecord, LifecycleRecord
from pdp.evidence.trace import TraceContext
from pdp.evidence.usage.usage import UseLedger
from tests.unit.core_story import REQUEST, chain, decided

NOW = Instant(1_772_355_600_000_000_000)
TWO_RECORDS = 700
"""Bytes that a segment of two records passes."""


def event(name: str) -> LifecycleRecord:
    """Return a record of some length."""
    return LifecycleRecord(name=name, at=NOW, attributes={"padding": "x" * 100})


def use() -> DecisionRecord:
    """Return the record of an allow, which uses session `s-0`."""
    decision, trace = decided(chain(0)), TraceContext("a" * 32, "b" * 16)
    return DecisionRecord(
        decision_id="d", trace=trace, method="Check", request=REQUEST, decision=decision, started_at=NOW, ended_at=NOW
    )


def keep(
    directory: Path,
    *records: str | AnyRecord,
    compressed: bool = False,
    retention: Retention | None = None,
    may_remove: Callable[[int], bool] = lambda _: True,
    now: int = NOW,
    until: Callable[[], bool] = lambda: True,
    index: RecordIndex | None = None,
) -> None:
    """Write records durably, two events to a segment, wait until something is so, and stop cleanly.

    With an index there is a keeper, also for the archive; whoever made it closes it.
    """
    keeping = None if index is None else index.keeping
    archive = Archive(
        compressed=compressed, retention=retention, may_remove=may_remove, keeping=keeping, wall=lambda: now
    )
    asyncio.run(_write(directory, archive, index, records, until))


async def _write(
    directory: Path,
    archive: Archive,
    index: RecordIndex | None,
    records: Sequence[str | AnyRecord],
    until: Callable[[], bool],
) -> None:
    ledgers = Ledgers(UseLedger(), archive, *([] if index is None else [index]))
    journal = Journal(directory, ledger=ledgers, on_ended=archive.close, segment_bytes=TWO_RECORDS)
    journal.open()
    if index is not None:
        index.start()
    archive.start()
    for record in records:
        future = journal.append(event(record) if isinstance(record, str) else record, durable=True)
        assert future is not None
        await future
    while not until():  # noqa: ASYNC110  # the archive's thread tells nobody
        await asyncio.sleep(0.005)
    await journal.close()
