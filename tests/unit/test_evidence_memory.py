"""Evidence in memory behaves as the real one does towards its callers."""

from __future__ import annotations

import pytest

from pdp.core.decide import refuse
from pdp.core.model import Instant, Request
from pdp.core.reasons import Code
from pdp.core.snapshot import Snapshot
from pdp.evidence.memory import MemoryEvidence
from pdp.evidence.record import ChangeRecord, DecisionRecord, LifecycleRecord
from pdp.evidence.recorder import Recorder
from pdp.evidence.trace import TraceContext
from pdp.evidence.trouble import BufferFullError, EvidenceUnavailableError

NOW = Instant(1)
DECISION = DecisionRecord(
    decision_id="d", trace=TraceContext("a" * 32, "b" * 16), method="Check", request=Request("a", "b", "c:d"),
    decision=refuse(Code.STATE_STALE, "why", Snapshot(), NOW), started_at=NOW, ended_at=NOW,
)  # fmt: skip
CHANGE = ChangeRecord(revision=1, changes=(), actor="operator", at=NOW)
EVENT = LifecycleRecord(name="started", at=NOW)


async def test_records_are_kept_in_order() -> None:
    """Of every kind."""
    memory = MemoryEvidence()
    recorder: Recorder = memory
    assert recorder.record_decision(DECISION, durable=False) is None
    written = recorder.record_change(CHANGE)
    assert written is not None
    await written
    recorder.record_lifecycle(EVENT)
    assert memory.records == [DECISION, CHANGE, EVENT]
    assert memory.decisions == [DECISION]


async def test_a_failing_disk_refuses_durable_records_alone() -> None:
    """Until it recovers."""
    memory = MemoryEvidence()
    memory.fail()
    refused = memory.record_decision(DECISION, durable=True)
    assert refused is not None
    with pytest.raises(EvidenceUnavailableError):
        await refused
    memory.record_decision(DECISION, durable=False)
    assert (memory.healthy, memory.records) == (False, [DECISION])
    memory.recover()
    assert memory.healthy


async def test_a_full_buffer_has_room_again_after_recovery() -> None:
    """Waiting ends in time, one way or the other."""
    memory = MemoryEvidence()
    memory.fill()
    with pytest.raises(BufferFullError):
        memory.record_lifecycle(EVENT)
    assert not await memory.room(0.001)
    memory.recover()
    assert await memory.room(30)
