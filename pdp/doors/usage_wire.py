"""What was used, on the wire."""

from __future__ import annotations

from sessionpdp.v1 import governance_pb2 as pb

from pdp.doors.fields_wire import fill
from pdp.doors.fitting import PART_BYTES, that_fit
from pdp.evidence.usage.usage_summary import UsageSummary


def fill_usage(message: pb.Usage, usage: UsageSummary) -> None:
    """Write what was used to a message; of the single uses, the most used that fit in a part of an answer."""
    fill(message, usage)
    kept = len(list(that_fit(message.uses, PART_BYTES)))
    if kept < len(message.uses):
        del message.uses[kept:]
        message.truncated = True
