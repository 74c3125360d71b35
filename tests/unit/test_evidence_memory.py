"""Evidence in memory behaves as the real one does towards its callers."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pdp.core.decide import refuse
from pdp.core.model import Instant, Request
from pdp.core.reasons import Code
from pdp.core.snapshot import Snapshot
from pdp.evidence.memory import MemoryEvidence
from pdp.evidence.record import (
    AdministrationOutcome,
    AdministrationRecord,
    ChangeRecord,
    DecisionRecord,
    LifecycleRecord,
)
from pdp.evidence.trace import TraceContext
from pdp.evidence.trouble import BufferFullError, EvidenceUnavailableError

NOW = Instant(1)
DECISION = DecisionRecord(
    decision_id="d", trace=TraceContext("a" * 32, "b" * 16), method="Check", request=Request("a", "b", "c:d"),
    decision=refuse(Code.STATE_STALE, "why", Snapshot(), NOW), started_at=NOW, ended_at=NOW,
)  # fmt: skip
CHANGE = ChangeRecord(revision=1, changes=(), actor="operator", at=NOW)
QUERY = AdministrationRecord(at=NOW, method="GetFact", actor="security", outcome=AdministrationOutcome.PERMITTED)
EVENT = LifecycleRecord(name="started", at=NOW)


async def test_records_are_kept_in_order() -> None:
    """Of every kind."""
    memory = MemoryEvidence()
    assert memory.record_decision(DECISION, durable=False) is None
    written = memory.record_change(CHANGE)
    assert written is not None
    await written
    memory.record_administration(QUERY)
    memory.record_lifecycle(EVENT)
    assert memory.records == [DECISION, CHANGE, QUERY, EVENT]
    assert (memory.decisions, memory.administration) == ([DECISION], [QUERY])


@pytest.mark.parametrize(
    ("outcome", "durable"),
    [
        (AdministrationOutcome.PERMITTED, False),
        (AdministrationOutcome.NOT_PERMITTED, True),
        (AdministrationOutcome.REFUSED, True),
    ],
)
async def test_who_is_turned_away_waits_for_the_record_of_it(outcome: AdministrationOutcome, durable: bool) -> None:
    """What was permitted and changed nothing is recorded soon."""
    written = MemoryEvidence().record_administration(replace(QUERY, outcome=outcome))
    assert (written is not None) is durable


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
