"""Computing a recorded decision again, and holding the two answers beside each other.

Rule 1: the same request, on the state at the same revision with the uses counted before it, under the same policies,
at the same instant, must give the same answer in every member that the record has of it.
Rule 2: what was not computed from facts, or cannot be from what is on record, is said to be so; nothing is guessed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from pdp.core.decide import decide
from pdp.core.decision import Decision
from pdp.core.model import Request
from pdp.core.reasons import Code
from pdp.evidence.journal.journal_reader import read
from pdp.evidence.journal.segments import first_sequence_of, open_segment, segments_of
from pdp.evidence.line.chain import GENESIS, line_of, refuse_altered
from pdp.evidence.line.decision_json import ReasonJson
from pdp.evidence.line.record_json import body_of
from pdp.evidence.record import COUNTS_NO_USE, DecisionRecord
from pdp.evidence.replay.past import History, Past, Policies
from pdp.evidence.replay.recorded import RecordedDecision, decision_in, read_decision, request_of
from pdp.evidence.replay.unseen import unseen
from pdp.evidence.trace import TraceContext

OF_THE_SERVICE = frozenset(
    {
        Code.STATE_NOT_READY,
        Code.STATE_STALE,
        Code.STATE_BEHIND,
        Code.EVIDENCE_UNAVAILABLE,
        Code.OVERLOADED,
        Code.INTERNAL_ERROR,
        Code.REQUEST_INVALID,
    }
)
"""Denials that say how the sidecar was at that moment; no fact or policy does."""

_QUOTING = frozenset({Code.POLICY_ERROR, Code.CONTEXT_MISSING})

COMPARED = (
    "outcome",
    "reasons",
    "valid_until",
    "reconsider_at",
    "policies",
    "identity_id",
    "owner",
    "session_id",
    "task_id",
    "approval_id",
    "ticket",
    "entitlement_id",
    "uses",
    "durable",
)
"""The members of a record that are the answer."""


class Agrees(Struct, frozen=True):
    """Computed again, the answer is the same."""

    recorded: RecordedDecision


class Differs(Struct, frozen=True):
    """Computed again, the answer is another: record, history, policies or program are not what they were."""

    recorded: RecordedDecision
    computed: RecordedDecision
    members: tuple[str, ...]
    """In which the two differ, of `COMPARED`."""


class NotComputed(Struct, frozen=True):
    """There is no second answer to compare with."""

    recorded: RecordedDecision
    why: str


Replayed: TypeAlias = Agrees | Differs | NotComputed


class DecisionUnknownError(LookupError):
    """The journal has no decision of this id."""


def replay_decision(directory: Path, decision_id: str, history: History, policies: Policies) -> Replayed:
    """Compute one decision of a journal again; takes a look through the journal and the change log up to it.

    Raises DecisionUnknownError; JournalDamagedError and msgspec.DecodeError where a line is no record; what `history`
    raises.
    """
    segment = next((one for one in segments_of(directory) if _has(one, decision_id)), None)
    if segment is None:
        message = f"the journal in `{directory}` has no decision `{decision_id}`"
        raise DecisionUnknownError(message)
    past = Past(history)
    past.begin(directory, segment)
    for entry in read(directory, first_sequence_of(segment) - 1):
        recorded = _named(entry.raw, decision_id)
        if recorded is not None:
            refuse_altered(entry.raw, entry.sequence, entry.segment)
            return replay(recorded, past, policies)
        past.count_line(entry.raw)
    message = f"the segment of decision `{decision_id}` was removed meanwhile"
    raise DecisionUnknownError(message)


def _has(segment: Path, decision_id: str) -> bool:
    with open_segment(segment) as file:
        return any(_named(line, decision_id) for line in file)


def _named(line: bytes, decision_id: str) -> RecordedDecision | None:
    """Return the decision of a line if it is the one of this id."""
    if decision_id.encode() not in line:
        return None
    recorded = decision_in(line)
    return recorded if recorded is not None and recorded.decision_id == decision_id else None


def replay(recorded: RecordedDecision, past: Past, policies: Policies) -> Replayed:
    """Compute a decision again on a past that has counted every use before it, and is not ahead of it."""
    why = why_not_computed(recorded)
    if why:
        return NotComputed(recorded, why)
    try:
        snapshot = past.move_to(recorded.revision)
        snapshot.policies = policies(recorded.policy_version)
    except LookupError as error:
        return NotComputed(recorded, str(error))
    request, at = request_of(recorded), recorded.at
    why = unseen(recorded, request, snapshot)
    if why:
        return NotComputed(recorded, why)
    computed = _answer(recorded, request, decide(request, snapshot, at, used=recorded.method not in COUNTS_NO_USE))
    members = tuple(name for name in COMPARED if not _same(name, recorded, computed))
    return Differs(recorded, computed, members) if members else Agrees(recorded)


def _same(member: str, recorded: RecordedDecision, computed: RecordedDecision) -> bool:
    if member == "reasons" and recorded.masked:
        return list(map(_unquoting, recorded.reasons)) == list(map(_unquoting, computed.reasons))
    return bool(getattr(recorded, member) == getattr(computed, member))


def _unquoting(reason: ReasonJson) -> ReasonJson:
    """Return a reason without the words that a record with masked attributes leaves out: they may quote a value."""
    return replace(reason, message="") if reason.code in _QUOTING else reason


def why_not_computed(recorded: RecordedDecision) -> str:
    """Return why a decision cannot be computed from any state, or nothing."""
    service = next((one.code for one in recorded.reasons if one.code in OF_THE_SERVICE), None)
    if service is not None:
        return f"{service} says how the sidecar was at that moment; it was not computed from facts"
    if recorded.caller and recorded.caller_may_ask is None:
        return "the record does not say whom the caller might ask about"
    return ""


def _answer(recorded: RecordedDecision, request: Request, decision: Decision) -> RecordedDecision:
    """Return a decision as the journal would have it, so that what is compared went the same way."""
    record = DecisionRecord(
        decision_id=recorded.decision_id,
        trace=TraceContext("", ""),
        method=recorded.method,
        caller=recorded.caller,
        request=request,
        decision=decision,
        started_at=decision.evaluated_at,
        ended_at=decision.evaluated_at,
    )
    line, _ = line_of(body_of(record), recorded.seq, GENESIS)
    return read_decision(line)
