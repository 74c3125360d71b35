"""EvidenceService, free of any transport: what is on record, one record, and whether all is as it was written."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from msgspec import Struct
from sessionpdp.v1 import evidence_pb2 as pb

from pdp.core.lawful_request import Fault
from pdp.doors.call import Call
from pdp.doors.errors import InvalidRequestError, LateError, NotFoundError, UnavailableError
from pdp.doors.fact_handlers import query_of
from pdp.doors.fields_wire import fill
from pdp.doors.fitting import fits, that_fit
from pdp.doors.governing import Permit, timeout_s
from pdp.doors.looking_up import LookUps
from pdp.doors.wire import timestamp
from pdp.evidence.index.query import FoundRecord, Page, Query, RecordKind, RecordOutcome, token_of
from pdp.evidence.index.topics import decode_line, summary_of
from pdp.evidence.instants import parse_instant
from pdp.evidence.seals.chain_check import Broken
from pdp.evidence.seals.signing import PUBLIC_KEY
from pdp.evidence.seals.verifying import Verification, Verified
from pdp.evidence.seals.verifying_apart import VerificationLateError, verify_apart
from pdp.evidence.trouble import EvidenceError

_PAGE, _MOST = 100, 1_000
_KINDS = {kind.value: pb.RecordKind.Value(f"RECORD_KIND_{kind.name}") for kind in RecordKind}
_OUTCOMES = {outcome.value: pb.RecordOutcome.Value(f"RECORD_OUTCOME_{outcome.name}") for outcome in RecordOutcome}


class Records(Protocol):
    """Where records are found; each may wait for the disk, so it is asked from a thread.

    Both raise IndexUnavailableError if they cannot be found just now.
    """

    def page(self, query: Query, token: str, size: int) -> Page:
        """Return some of the records asked for; raise ValueError for what is no token."""

    def record(self, sequence: int) -> FoundRecord | None:
        """Return one record; None if there is none, or its segment is gone."""


class _WantedRecords(Query, frozen=True, kw_only=True):
    """The records that ListRecords asks for."""

    page_size: int = _PAGE
    page_token: str = ""


class _Wanted(Struct, frozen=True):
    """The record that GetRecord asks for, by either."""

    sequence: int = 0
    decision_id: str = ""


class EvidenceHandlers:
    """The methods about the journal."""

    def __init__(self, records: Records, journal: Path, signing_key: Callable[[], str] = str) -> None:
        """`journal` is the directory of its segments; `signing_key` says which key its sidecar signs it with."""
        self._records = records
        self._journal = journal
        self._signing_key = signing_key
        self._look_ups = LookUps()
        self._verifications = LookUps()

    async def list_records(self, message: pb.ListRecordsRequest, call: Call, _: Permit) -> pb.ListRecordsResponse:
        """Tell which records meet what is asked for, as many as fit in an answer; others follow."""
        wanted = query_of(message, _WantedRecords)
        return await self._look_ups.run(call, lambda: self._list(wanted))

    async def get_record(self, message: pb.GetRecordRequest, call: Call, _: Permit) -> pb.GetRecordResponse:
        """Tell one record."""
        wanted = query_of(message, _Wanted)
        if not wanted.sequence and not wanted.decision_id:
            raise InvalidRequestError([Fault("record", "is required")])
        return await self._look_ups.run(call, lambda: self._get(wanted))

    async def verify_journal(self, _: pb.VerifyJournalRequest, call: Call, __: Permit) -> pb.VerifyJournalResponse:
        """Check the whole journal, within the call's deadline."""
        late_at = time.monotonic() + timeout_s(call)
        outcome = await self._verifications.run(call, lambda: self._verify(late_at))
        if isinstance(outcome, Verified):
            response = pb.VerifyJournalResponse(intact=True)
            fill(response, outcome)
            return response
        response = pb.VerifyJournalResponse()
        for place in outcome:
            fill(response.broken.add(), place)
        kept = len(list(that_fit(response.broken)))
        del response.broken[kept:]
        return response

    def _list(self, wanted: _WantedRecords) -> pb.ListRecordsResponse:
        try:
            page = self._records.page(wanted, wanted.page_token, min(wanted.page_size, _MOST))
        except ValueError as error:
            raise InvalidRequestError([Fault("page_token", str(error))]) from error
        records = list(that_fit(map(_listed, page.records)))
        whole = len(records) == len(page.records)
        token = page.next_token if whole else token_of(records[-1].sequence)
        return pb.ListRecordsResponse(records=records, next_page_token=token, sequence=page.sequence)

    def _get(self, wanted: _Wanted) -> pb.GetRecordResponse:
        if wanted.decision_id:
            found = next(iter(self._records.page(Query(decision_id=wanted.decision_id), "", 1).records), None)
        else:
            found = self._records.record(wanted.sequence)
        if found is None:
            what = f"of decision `{wanted.decision_id}`" if wanted.decision_id else f"`{wanted.sequence}`"
            text = f"record {what} is not in the journal"
            raise NotFoundError(text)
        return pb.GetRecordResponse(record=record_message(found))

    def _verify(self, late_at: float) -> Verification:
        try:
            found = verify_apart(self._journal, late_at - time.monotonic())
        except VerificationLateError as error:
            raise LateError(str(error)) from error
        except (OSError, EvidenceError) as error:
            text = f"the journal cannot be checked: {error}"
            raise UnavailableError(text) from error
        own = self._signing_key()
        if isinstance(found, Verified) and own not in ("", found.key):
            # Whoever removes every seal, or makes them anew, has to bring a key of their own.
            return [Broken(PUBLIC_KEY, 0, 0, f"the journal is not sealed with this sidecar's key `{own}`")]
        return found


def _listed(found: FoundRecord) -> pb.Record:
    """Return a record as one of many; without its line if no answer holds that."""
    message = record_message(found)
    if not fits(message):
        message.ClearField("record_json")
        message.record_omitted = True
    return message


def record_message(found: FoundRecord) -> pb.Record:
    """Return a record on the wire."""
    line = decode_line(found.raw)
    topic = summary_of(line)
    return pb.Record(
        sequence=line.seq,
        kind=_KINDS.get(line.kind, pb.RECORD_KIND_UNSPECIFIED),
        time=timestamp(parse_instant(line.time)),
        decision_id=line.decision_id,
        identity_id=topic.identity,
        owner=topic.owner,
        session_id=topic.session,
        task_id=topic.task,
        approval_id=topic.approval,
        ticket=topic.ticket,
        code=topic.code,
        outcome=_OUTCOMES.get(line.outcome, pb.RECORD_OUTCOME_UNSPECIFIED),
        revision=line.revision,
        record_json=found.raw.decode(),
    )
