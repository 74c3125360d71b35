"""The port through which the rest of the product leaves evidence."""

from __future__ import annotations

from asyncio import Future
from typing import Protocol

from pdp.evidence.record import ChangeRecord, DecisionRecord, LifecycleRecord


class Recorder(Protocol):
    """Takes records, in order, on the event loop's thread.

    A durable record gives a future: done once it is on disk, EvidenceUnavailableError if it will never be; the answer
    that rests on it must wait for that. Others return None at once and are written soon. Every method but `room` may
    raise BufferFullError, and EvidenceUnavailableError before start and after close. No record is ever dropped
    silently.
    """

    def record_decision(self, record: DecisionRecord, *, durable: bool) -> Future[None] | None:
        """Record an answer, before it is given."""

    def record_change(self, record: ChangeRecord, *, durable: bool = True) -> Future[None] | None:
        """Record a commit."""

    def record_lifecycle(self, record: LifecycleRecord) -> None:
        """Record an event of this process."""

    async def room(self, timeout_s: float) -> bool:
        """Wait until one record fits; return whether it does. After True the next record must follow without await."""

    @property
    def healthy(self) -> bool:
        """Whether durable records can be written, as far as is known."""
