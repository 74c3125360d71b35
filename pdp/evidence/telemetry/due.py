"""Which records leave as telemetry, and which of them must not be lost on the way.

Rule 1: denials, durable decisions, changes and lapses must arrive; a routine allow is exported as its trace is sampled.
Rule 2: with logs on every decision is told, and administration must arrive as well.
"""

from __future__ import annotations

from msgspec import Struct

from pdp.core.decision import Allow
from pdp.evidence.record import AnyRecord, ChangeRecord, DecisionRecord, LapseRecord
from pdp.evidence.trace import parse_traceparent


class Head(Struct, gc=False):
    """What of a journal's line says whether it is exported."""

    seq: int
    kind: str
    outcome: str = ""
    durable: bool = False
    span_id: str = ""
    sampled: bool = False


def is_routine(*, allowed: bool, durable: bool) -> bool:
    """Whether a decision is one of the many of which a sample will do."""
    return allowed and not durable


def has_span(record: AnyRecord) -> bool:
    """Whether the record becomes a span."""
    if isinstance(record, DecisionRecord):
        decision = record.decision
        return record.trace.sampled or not is_routine(allowed=isinstance(decision, Allow), durable=decision.durable)
    if isinstance(record, ChangeRecord):
        return record.trace is not None or parse_traceparent(record.traceparent) is not None
    return isinstance(record, LapseRecord)


class Due(Struct, frozen=True):
    """What is due for export, by the signals that are on."""

    logs: bool = False

    def takes(self, head: Head) -> bool:
        """Whether a record is exported at all."""
        if head.kind == "decision":
            return self.logs or head.sampled or not is_routine(allowed=head.outcome == "allow", durable=head.durable)
        if head.kind == "change":
            return self.logs or bool(head.span_id)
        return head.kind == "lapse" or (self.logs and head.kind == "administration")

    def must(self, head: Head) -> bool:
        """Whether a record that is taken must arrive."""
        return head.kind != "decision" or not is_routine(allowed=head.outcome == "allow", durable=head.durable)
