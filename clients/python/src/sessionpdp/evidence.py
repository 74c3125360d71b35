"""The blocking client of evidence: what is on record, whether it is what was written, and whether it was right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Unpack

from sessionpdp.admin_client import AdminClient
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
    from collections.abc import Iterator

    import grpc

LONG_TIMEOUT: Final = 120.0
"""Seconds for what reads the whole journal: ten million records take about a minute."""


class Evidence(AdminClient[evidence_pb2_grpc.EvidenceServiceStub]):
    """Asks what is on record; made, shared and closed as `Governance` is, and every error is a `GovernanceError`."""

    def records(self, *, timeout: float | None = None, **conditions: Unpack[RecordConditions]) -> Iterator[Record]:
        """Iterate over the records that meet all conditions, page by page; `timeout` is each page's.

        A record that is too long for a page is fetched by itself.
        """
        request = records_request(conditions)
        pages = self._pages(self._stub.ListRecords, request, timeout)
        return (self._whole(record, timeout) for page in pages for record in page.records)

    def record(self, wanted: int | str, *, timeout: float | None = None) -> Record:
        """Return one record, by its sequence or the id of its decision; raise `FactNotFound` if there is none."""
        return Record.from_wire(self._ask(self._stub.GetRecord, record_request(wanted), timeout).record)

    def verify(self, *, timeout: float | None = LONG_TIMEOUT) -> Verification:
        """Check the chain and the seals of the whole journal as it stands on disk."""
        request = evidence_pb2.VerifyJournalRequest()
        return Verification.from_wire(self._ask(self._stub.VerifyJournal, request, timeout))

    def replay(self, wanted: int | str, *, timeout: float | None = LONG_TIMEOUT) -> Replay:
        """Compute a recorded decision again, on the facts, uses and policies of its moment.

        It is named by its id or the sequence of its record. Raises `FactNotFound` if it is not on record,
        `InvalidCommand` if the record is no decision.
        """
        named = wanted if isinstance(wanted, str) else decision_of(self.record(wanted, timeout=timeout))
        request = replay_request(named)
        return Replay.from_wire(self._ask(self._stub.ReplayDecision, request, timeout))

    def _whole(self, record: evidence_pb2.Record, timeout: float | None) -> Record:
        if record.record_omitted:
            return self.record(record.sequence, timeout=timeout)
        return Record.from_wire(record)

    def _service(self, channel: grpc.Channel) -> evidence_pb2_grpc.EvidenceServiceStub:
        return evidence_pb2_grpc.EvidenceServiceStub(channel)
