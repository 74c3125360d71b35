"""What is on record, as values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypedDict

from sessionpdp.command_request import filled, number_word
from sessionpdp.decision import instant
from sessionpdp.refusals import InvalidCommand
from sessionpdp.v1 import evidence_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

Members: TypeAlias = "Mapping[str, Any]"
"""Of a JSON object."""

_KINDS: Final = evidence_pb2.RecordKind.DESCRIPTOR
_OUTCOMES: Final = evidence_pb2.RecordOutcome.DESCRIPTOR
_RESULTS: Final = evidence_pb2.ReplayResult.DESCRIPTOR
_WANTED: Final = "wanted"


class RecordConditions(TypedDict, total=False):
    """What records must meet, all of it; None asks for nothing, and an empty text is refused.

    `identity`: an id, the pattern of a family, or a subject. `code`: a reason code, the rule of a refused call, what
    lapsed, or the name of an event. `outcome`: `allow`, `deny`, `permitted`, `not_permitted` or `refused`. `kind`:
    `decision`, `change`, `administration`, `lapse` or `lifecycle`. From `since` on, and before `until`, both with a
    time zone. `oldest_first`: in order; else the newest first. `page_size`: how many are fetched at a time (0: 100).
    """

    identity: str | None
    owner: str | None
    session: str | None
    task: str | None
    approval: str | None
    ticket: str | None
    code: str | None
    outcome: str | None
    kind: str | None
    decision_id: str | None
    since: datetime | None
    until: datetime | None
    oldest_first: bool
    page_size: int


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its summary, and its line.

    `kind` and `outcome` are words, empty where there is none or it is from a newer PDP; `time` is cut to microseconds.
    `line` is what stands in the journal, byte for byte, so that its hash and chain can be checked.
    """

    sequence: int
    kind: str
    time: datetime
    decision_id: str
    identity_id: str
    owner: str
    session_id: str
    task_id: str
    approval_id: str
    ticket: str
    code: str
    outcome: str
    revision: int
    line: str = field(repr=False)

    @classmethod
    def from_wire(cls, record: evidence_pb2.Record) -> Self:
        """Return the record as a value."""
        return cls(
            sequence=record.sequence,
            kind=number_word(_KINDS, record.kind),
            time=instant(record.time),
            decision_id=record.decision_id,
            identity_id=record.identity_id,
            owner=record.owner,
            session_id=record.session_id,
            task_id=record.task_id,
            approval_id=record.approval_id,
            ticket=record.ticket,
            code=record.code,
            outcome=number_word(_OUTCOMES, record.outcome),
            revision=record.revision,
            line=record.record_json,
        )

    @property
    def members(self) -> Members:
        """What the line says, as docs/evidence.md describes it."""
        return _members(self.line)


@dataclass(frozen=True, slots=True)
class BrokenPlace:
    """A place where the journal is not what was written: file, line (0: none in particular), and what is wrong."""

    segment: str
    line: int
    sequence: int
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of checking the whole journal.

    `last_hash` and `key` (the fingerprint of the key that made the seals) are to be compared with what was noted
    elsewhere; `sealed_until` is the youngest record that a signature vouches for. Without `intact` only `broken` says
    something.
    """

    intact: bool
    records: int = 0
    segments: int = 0
    first_sequence: int = 0
    last_hash: str = ""
    broken: tuple[BrokenPlace, ...] = ()
    seals: int = 0
    sealed_until: int = 0
    removed_until: int = 0
    key: str = ""

    @classmethod
    def from_wire(cls, response: evidence_pb2.VerifyJournalResponse) -> Self:
        """Return the response as a value."""
        return cls(
            intact=response.intact,
            records=response.records,
            segments=response.segments,
            first_sequence=response.first_sequence,
            last_hash=response.last_hash,
            broken=tuple(
                BrokenPlace(place.segment, place.line, place.sequence, place.what) for place in response.broken
            ),
            seals=response.seals,
            sealed_until=response.sealed_until,
            removed_until=response.removed_until,
            key=response.key,
        )


@dataclass(frozen=True, slots=True)
class Replay:
    """A recorded decision, computed again.

    `result` is `agrees`, `differs` (in the members `differs_in`) or `not_computed` (`why`), empty for one from a newer
    PDP. `recorded` and `computed` have members of a decision's record; the latter only where they differ.
    """

    result: str
    why: str
    differs_in: tuple[str, ...]
    recorded: Members = field(hash=False)
    computed: Members = field(hash=False)

    @classmethod
    def from_wire(cls, response: evidence_pb2.ReplayDecisionResponse) -> Self:
        """Return the response as a value."""
        return cls(
            result=number_word(_RESULTS, response.result),
            why=response.why,
            differs_in=tuple(response.differs_in),
            recorded=_members(response.recorded_json),
            computed=_members(response.computed_json),
        )

    @property
    def agrees(self) -> bool:
        """Whether the answer is the same."""
        return self.result == "agrees"


def records_request(conditions: RecordConditions) -> evidence_pb2.ListRecordsRequest:
    """Return the question for records; refuse an empty condition, which would ask for everything."""
    for name, value in conditions.items():
        _refuse_empty(name, value)
    return filled(evidence_pb2.ListRecordsRequest, conditions)


def record_request(wanted: int | str) -> evidence_pb2.GetRecordRequest:
    """Return the question for a record, by its sequence or by the id of its decision."""
    _refuse_empty(_WANTED, wanted)
    name = "decision_id" if isinstance(wanted, str) else "sequence"
    return filled(evidence_pb2.GetRecordRequest, {name: wanted})


def replay_request(wanted: str) -> evidence_pb2.ReplayDecisionRequest:
    """Return the question for a decision to be computed again, by its id."""
    _refuse_empty(_WANTED, wanted)
    return filled(evidence_pb2.ReplayDecisionRequest, {"decision_id": wanted})


def decision_of(record: Record) -> str:
    """Return the id of a record's decision; refuse a record that is none."""
    if not record.decision_id:
        message = f"is record {record.sequence}, which is no decision, but of kind `{record.kind}`"
        raise InvalidCommand.of(_WANTED, message)
    return record.decision_id


def _refuse_empty(field: str, value: object) -> None:
    if value == "":
        raise InvalidCommand.of(field, "must not be empty")


def _members(text: str) -> Members:
    members: dict[str, Any] = json.loads(text) if text else {}
    return members
