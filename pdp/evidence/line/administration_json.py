"""What the record of an administrative call looks like on disk; see `record_json` for its laws."""

from __future__ import annotations

from msgspec import Struct

from pdp.evidence.instants import instant_text
from pdp.evidence.record import AdministrationRecord
from pdp.evidence.trace import TraceContext, parse_traceparent


class AdministrationJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """The line of an administrative call that changed nothing."""

    kind: str
    time: str
    method: str
    outcome: str
    actor: str = ""
    role: str = ""
    rule: str = ""
    message: str = ""
    about: str = ""
    trace_id: str = ""
    parent_span_id: str = ""


def administration_json(record: AdministrationRecord) -> AdministrationJson:
    """Return the members of the line of an administrative call."""
    caller = parse_traceparent(record.traceparent) or TraceContext("", "")
    return AdministrationJson(
        "administration",
        instant_text(record.at),
        record.method,
        record.outcome.value,
        record.actor,
        record.role,
        record.rule,
        record.message,
        record.about,
        caller.trace_id,
        caller.span_id,
    )
