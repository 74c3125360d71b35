"""Evidence in memory, for tests and scenarios."""

from __future__ import annotations

import asyncio
from asyncio import Future

from pdp.evidence.record import (
    AdministrationRecord,
    AnyRecord,
    ChangeRecord,
    DecisionRecord,
    LapseRecord,
    LifecycleRecord,
)
from pdp.evidence.trouble import BufferFullError, EvidenceUnavailableError


class MemoryEvidence:
    """Takes records as `Evidence` does, and keeps them in a list; with verbs: `fail`, `fill`, `recover`."""

    def __init__(self) -> None:
        """Start healthy and empty."""
        self.records: list[AnyRecord] = []
        self._failing = False
        self._room = asyncio.Event()
        self._room.set()

    def fail(self) -> None:
        """Refuse durable records from now on, as with a broken disk."""
        self._failing = True

    def fill(self) -> None:
        """Have no room from now on."""
        self._room.clear()

    def recover(self) -> None:
        """Take every record again."""
        self._failing = False
        self._room.set()

    @property
    def decisions(self) -> list[DecisionRecord]:
        """The decisions among the records."""
        return [record for record in self.records if isinstance(record, DecisionRecord)]

    @property
    def administration(self) -> list[AdministrationRecord]:
        """The administrative calls that changed nothing among the records."""
        return [record for record in self.records if isinstance(record, AdministrationRecord)]

    @property
    def healthy(self) -> bool:
        """Whether durable records are taken."""
        return not self._failing

    def record_decision(self, record: DecisionRecord, *, durable: bool) -> Future[None] | None:
        """Keep it; a durable one is done at once, or has failed."""
        return self._keep(record, durable=durable)

    def record_change(self, record: ChangeRecord, *, durable: bool = True) -> Future[None] | None:
        """Keep it, as a decision."""
        return self._keep(record, durable=durable)

    def record_administration(self, record: AdministrationRecord) -> Future[None] | None:
        """Keep it, as a decision."""
        return self._keep(record, durable=record.durable)

    @property
    def lapses(self) -> list[LapseRecord]:
        """The lapses among the records."""
        return [record for record in self.records if isinstance(record, LapseRecord)]

    def record_lapse(self, record: LapseRecord, *, durable: bool) -> Future[None] | None:
        """Keep it, as a decision."""
        return self._keep(record, durable=durable)

    def record_lifecycle(self, record: LifecycleRecord) -> None:
        """Keep it."""
        self._keep(record, durable=False)

    async def room(self, timeout_s: float) -> bool:
        """Wait for `recover` after `fill`."""
        try:
            await asyncio.wait_for(self._room.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def _keep(self, record: AnyRecord, *, durable: bool) -> Future[None] | None:
        if not self._room.is_set():
            message = "no room for another record"
            raise BufferFullError(message)
        if not durable:
            self.records.append(record)
            return None
        written: Future[None] = asyncio.get_running_loop().create_future()
        if self._failing:
            written.set_exception(EvidenceUnavailableError("the journal cannot be written: told to fail"))
        else:
            self.records.append(record)
            written.set_result(None)
        return written
