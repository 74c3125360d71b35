"""The blocking client of evidence: what is on record, whether it is what was written, and whether it was right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Unpack

from sessionpdp.admin_client import AdminClient
from sessionpdp.command_request import filled
from sessionpdp.evidence_answers import Record, RecordConditions, Replay, Verification, record_request
from sessionpdp.v1 import evidence_pb2, evidence_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

LONG_TIMEOUT: Final = 120.0
"""Seconds for what reads the whole journal: ten million records take about a minute."""


class Evidence(AdminClient[evidence_pb2_grpc.EvidenceServiceStub]):
    """Asks what is on record; made, shared and closed as `Governance` is, and every error is a `GovernanceError`."""

    def records(self, *, timeout: float | None = None, **conditions: Unpack[RecordConditions]) -> Iterator[Record]:
        """Iterate over the records that meet all conditions, page by page; `timeout` is each page's."""
        request = filled(evidence_pb2.ListRecordsRequest, conditions)
        pages = self._pages(self._stub.ListRecords, request, timeout)
        return (Record.from_wire(record) for page in pages for record in page.records)

    def record(self, wanted: int | str, *, timeout: float | None = None) -> Record:
        """Return one record, by its sequence or the id of its decision; raise `FactNotFound` if there is none."""
        return Record.from_wire(self._ask(self._stub.GetRecord, record_request(wanted), timeout).record)

    def verify(self, *, timeout: float | None = LONG_TIMEOUT) -> Verification:
        """Check the chain and the seals of the whole journal as it stands on disk."""
        request = evidence_pb2.VerifyJournalRequest()
        return Verification.from_wire(self._ask(self._stub.VerifyJournal, request, timeout))

    def replay(self, decision_id: str, *, timeout: float | None = LONG_TIMEOUT) -> Replay:
        """Compute a recorded decision again, on the facts, uses and policies of its moment.

        Raises `FactNotFound` if it is not on record.
        """
        request = filled(evidence_pb2.ReplayDecisionRequest, {"decision_id": decision_id})
        return Replay.from_wire(self._ask(self._stub.ReplayDecision, request, timeout))

    def _service(self, channel: grpc.Channel) -> evidence_pb2_grpc.EvidenceServiceStub:
        return evidence_pb2_grpc.EvidenceServiceStub(channel)
