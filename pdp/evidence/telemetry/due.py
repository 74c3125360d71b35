"""Which records leave this process as telemetry, and which of them must not be lost on the way.

Rule 1: denials, durable decisions, changes and lapses must arrive; a routine allow is exported as its trace is sampled.
Rule 2: with logs on every decision is told, and administration must arrive as well.
"""

from __future__ import annotations

from msgspec import Struct

from pdp.core.decision import Allow
from pdp.evidence.record import AdministrationRecord, AnyRecord, ChangeRecord, DecisionRecord, LapseRecord
from pdp.evidence.trace import parse_traceparent


class Head(Struct):
    """What of a journal's line says whether it must be exported."""

    seq: int
    kind: str
    outcome: str = ""
    durable: bool = False
    span_id: str = ""


def is_routine(*, allowed: bool, durable: bool) -> bool:
    """Whether a decision is one of the many of which a sample will do."""
    return allowed and not durable


def has_span(record: AnyRecord) -> bool:
    """Whether the record becomes a span."""
    if isinstance(record, DecisionRecord):
        return record.trace.sampled or not _is_routine(record)
    if isinstance(record, ChangeRecord):
        return record.trace is not None or parse_traceparent(record.traceparent) is not None
    return isinstance(record, LapseRecord)


class Due(Struct, frozen=True):
    """What is due for export, by the signals that are on."""

    logs: bool = False

    def takes(self, record: AnyRecord) -> bool:
        """Whether the record is exported at all."""
        if self.logs and isinstance(record, DecisionRecord | ChangeRecord | LapseRecord | AdministrationRecord):
            return True
        return has_span(record)

    def must(self, record: AnyRecord) -> bool:
        """Whether a record that is taken must arrive."""
        return not (isinstance(record, DecisionRecord) and _is_routine(record))

    def must_line(self, head: Head) -> bool:
        """Whether the record of a line is one that is taken and must arrive."""
        if head.kind == "decision":
            return not is_routine(allowed=head.outcome == "allow", durable=head.durable)
        if head.kind == "change":
            return self.logs or bool(head.span_id)
        return head.kind == "lapse" or (self.logs and head.kind == "administration")


def _is_routine(record: DecisionRecord) -> bool:
    decision = record.decision
    return is_routine(allowed=isinstance(decision, Allow), durable=decision.durable)
