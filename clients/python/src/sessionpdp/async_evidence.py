"""The asyncio client of evidence."""

# ruff: noqa: ASYNC109 - `timeout` becomes the deadline that the sidecar is told, not only a local limit

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from sessionpdp.async_admin_client import AsyncAdminClient
from sessionpdp.evidence import LONG_TIMEOUT
from sessionpdp.evidence_answers import (
    Record,
    RecordConditions,
    Replay,
    Verification,
    decision_of,
    record_request,
    records_request,
    replay_request,
)
from sessionpdp.v1 import evidence_pb2, evidence_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc


class AsyncEvidence(AsyncAdminClient["evidence_pb2_grpc.EvidenceServiceAsyncStub"]):
    """Asks what is on record, from asyncio; the contract is that of `Evidence`."""

    def records(self, *, timeout: float | None = None, **conditions: Unpack[RecordConditions]) -> AsyncIterator[Record]:
        """Iterate over the records that meet all conditions, as `Evidence.records` does."""
        request = records_request(conditions)
        return self._records(request, timeout)

    async def record(self, wanted: int | str, *, timeout: float | None = None) -> Record:
        """Return one record, as `Evidence.record` does."""
        return Record.from_wire((await self._ask(self._stub.GetRecord, record_request(wanted), timeout)).record)

    async def verify(self, *, timeout: float | None = LONG_TIMEOUT) -> Verification:
        """Check the whole journal, as `Evidence.verify` does."""
        request = evidence_pb2.VerifyJournalRequest()
        return Verification.from_wire(await self._ask(self._stub.VerifyJournal, request, timeout))

    async def replay(self, wanted: int | str, *, timeout: float | None = LONG_TIMEOUT) -> Replay:
        """Compute a recorded decision again, as `Evidence.replay` does."""
        named = wanted if isinstance(wanted, str) else decision_of(await self.record(wanted, timeout=timeout))
        request = replay_request(named)
        return Replay.from_wire(await self._ask(self._stub.ReplayDecision, request, timeout))

    async def _records(self, request: evidence_pb2.ListRecordsRequest, timeout: float | None) -> AsyncIterator[Record]:
        async for page in self._pages(self._stub.ListRecords, request, timeout):
            for record in page.records:
                omitted = record.record_omitted
                yield await self.record(record.sequence, timeout=timeout) if omitted else Record.from_wire(record)

    def _service(self, channel: grpc.aio.Channel) -> evidence_pb2_grpc.EvidenceServiceAsyncStub:
        return evidence_pb2_grpc.EvidenceServiceStub(channel)
