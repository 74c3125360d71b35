"""Whatever bytes arrive, a field is named and nothing is raised."""

from __future__ import annotations

from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from sessionpdp.v1 import decision_pb2, governance_pb2

from pdp.doors.malformed import fault_in

MESSAGES: list[type[Message]] = [
    decision_pb2.CheckRequest,
    decision_pb2.CheckBatchRequest,
    decision_pb2.CheckStreamRequest,
    decision_pb2.ListPermissionsRequest,
    governance_pb2.ApplyFactsRequest,
    governance_pb2.RevokeRequest,
]
VALID = decision_pb2.CheckRequest(
    subject=decision_pb2.Subject(id="worker"), context={"a": {"b": ["c"]}}, session_id="s-1"
).SerializeToString()


@given(st.binary(max_size=200), st.sampled_from(MESSAGES))
def test_any_bytes_have_a_fault(data: bytes, message: type[Message]) -> None:
    """Also those that are a message after all."""
    fault = fault_in(data, message)
    assert fault.field
    assert fault.message


@given(st.integers(0, len(VALID) - 1), st.integers(0, 255))
def test_one_wrong_byte_has_a_fault(position: int, byte: int) -> None:
    """Close to what is valid."""
    data = VALID[:position] + bytes([byte]) + VALID[position + 1 :]
    assert fault_in(data, decision_pb2.CheckRequest).message
