"""What was used, on the wire: as much of it as an answer holds."""

from __future__ import annotations

from sessionpdp.v1 import governance_pb2 as pb

from pdp.core.model import Instant
from pdp.doors.fitting import PART_BYTES
from pdp.doors.usage_wire import fill_usage
from pdp.evidence.usage.usage_summary import UsageSummary, UseCount


def usage(length: int) -> UsageSummary:
    """Return a thousand uses of resources with names so long."""
    uses = tuple(UseCount("rows.read", f"database:{number:04}{'x' * length}", 1, Instant(9)) for number in range(1000))
    return UsageSummary(1000, Instant(1), Instant(9), uses)


def test_all_uses_are_told_where_they_fit() -> None:
    """In their order."""
    message = pb.Usage()
    fill_usage(message, usage(1))
    assert (len(message.uses), message.uses[7].resource, message.truncated) == (1000, "database:0007x", False)


def test_of_more_the_first_are_told_and_that_there_are_others() -> None:
    """The counts hold nevertheless."""
    message = pb.Usage()
    fill_usage(message, usage(2000))
    assert (message.count, 0 < len(message.uses) < 1000, message.truncated) == (1000, True, True)
    assert message.ByteSize() <= PART_BYTES + 100
