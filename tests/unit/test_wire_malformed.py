"""Bytes that are no message: which field is at fault."""

from __future__ import annotations

import pytest
from sessionpdp.v1 import decision_pb2 as pb

from pdp.core.lawful_request import Fault
from pdp.doors.malformed import fault_in

WHOLE = Fault("request", "is not a valid message")


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\x2a\x01\xff", Fault("session_id", "is not valid UTF-8")),
        (b"\x0a\x03\x12\x01\xff", Fault("subject.id", "is not valid UTF-8")),
        (b"\x0a\x7f\x12", Fault("subject", "is truncated")),
        (b"\x0a\x04\x12\x05ab", Fault("subject.id", "is truncated")),
        (b"\x0f\x00", WHOLE),
        (b"\x0a", WHOLE),
        (b"\x48\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", WHOLE),
        (b"", WHOLE),
        (b"\xfa\x07\x02\xff\xff", WHOLE),
        (b"\xfa\x07\x7f", Fault("request", "is truncated")),
        (b"\x09", WHOLE),
    ],
    ids=[
        "text",
        "nested text",
        "submessage cut short",
        "text cut short",
        "wire type that is none",
        "nothing after the key",
        "varint without an end",
        "nothing wrong",
        "unknown field",
        "unknown field cut short",
        "fixed number cut short",
    ],
)
def test_the_field_at_fault_is_named(data: bytes, fault: Fault) -> None:
    """By its path, or the request as a whole where no field can be blamed."""
    assert fault_in(data, pb.CheckRequest) == fault
