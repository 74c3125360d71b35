"""What the record of a lapse looks like on disk; see `record_json` for its laws."""

from __future__ import annotations

from msgspec import Struct

from pdp.evidence.instants import instant_text
from pdp.evidence.record import LapseRecord


class LapseJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """The line of a lapse."""

    kind: str
    time: str
    ended_at: str
    what: str
    about: str
    trace_id: str
    span_id: str
    identity_id: str = ""
    task_id: str = ""
    approval_id: str = ""
    fact_traceparent: str = ""


def lapse_json(record: LapseRecord) -> LapseJson:
    """Return the members of the line of a lapse."""
    return LapseJson(
        "lapse",
        instant_text(record.at),
        instant_text(record.ended_at),
        record.what.value,
        record.about,
        record.trace.trace_id,
        record.trace.span_id,
        record.identity,
        record.task,
        record.approval,
        record.traceparent,
    )
