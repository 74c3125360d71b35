"""Requests and decisions between the wire and the domain."""

from __future__ import annotations

import pytest
from google.protobuf import struct_pb2
from msgspec.structs import fields
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import reasons_pb2

from pdp.core.model import Attributes, Caller, Credential, Instant, Request
from pdp.core.reasons import Code
from pdp.core.scope import IdentityScope
from pdp.doors.errors import InvalidRequestError
from pdp.doors.wire import CODE_NUMBERS, DEEPEST, MOST_VALUES, request_of

FULL = pb.CheckRequest(
    subject=pb.Subject(type="workload", id="worker", properties={"a": 1}),
    action=pb.Action(name="rows.read", properties={"b": [True, None]}),
    resource=pb.Resource(type="database", id="prod/users", properties={"c": {"d": "e"}}),
    context={"f": 1.5},
    session_id="s-1",
    task_id="job",
    credential=pb.Credential(
        id="c-1", issuer="i-1", subject="worker", issued_at={"seconds": 5, "nanos": 1}, expires_at={"seconds": 6}
    ),
    request_id="r-1",
    at_least_revision=7,
    traceparent="ignored here",
)


def test_every_field_of_a_request_arrives() -> None:
    """In its place, exactly."""
    caller = Caller("worker", IdentityScope(["worker"]))
    credential = Credential("c-1", "i-1", "worker", Instant(5_000_000_001), Instant(6_000_000_000))
    expected = Request(
        "worker",
        "rows.read",
        "database:prod/users",
        session="s-1",
        task="job",
        context={"f": 1.5},
        credential=credential,
        caller=caller,
        subject_type="workload",
        subject_properties={"a": 1.0},
        action_properties={"b": [True, None]},
        resource_properties={"c": {"d": "e"}},
        at_least_revision=7,
        request_id="r-1",
    )
    assert request_of(FULL, caller) == expected


def test_no_field_of_the_message_is_forgotten() -> None:
    """A new field must be brought over, or be named here."""
    known = {"subject", "action", "resource", "context", "session_id", "task_id", "credential", "request_id"}
    assert {field.name for field in pb.CheckRequest.DESCRIPTOR.fields} == known | {"at_least_revision", "traceparent"}
    assert len(fields(Request)) == 14


def test_every_code_has_its_number() -> None:
    """And every number its code."""
    names = {name.removeprefix("REASON_CODE_") for name, _ in reasons_pb2.ReasonCode.items()} - {"UNSPECIFIED"}
    assert names == {*Code} == {*CODE_NUMBERS}
    assert len({*CODE_NUMBERS.values()}) == len(CODE_NUMBERS)


def context_of(message: struct_pb2.Struct) -> Attributes:
    """Return the context of a request with it."""
    request = pb.CheckRequest()
    request.CopyFrom(FULL)
    request.context.CopyFrom(message)
    return request_of(request, None).context


def nested(levels: int) -> struct_pb2.Struct:
    """Return a struct so many levels deep."""
    value = struct_pb2.Value(bool_value=True)
    for _ in range(levels - 1):
        value = struct_pb2.Value(struct_value=struct_pb2.Struct(fields={"x": value}))
    return struct_pb2.Struct(fields={"x": value})


def test_the_deepest_context_is_taken_and_a_deeper_one_is_not() -> None:
    """The bound is the deepest that is taken."""
    assert context_of(nested(DEEPEST))
    with pytest.raises(InvalidRequestError, match="`context` is nested"):
        context_of(nested(DEEPEST + 1))


def test_the_largest_context_is_taken_and_a_larger_one_is_not() -> None:
    """Values inside of others count, too."""
    items = struct_pb2.ListValue(values=[struct_pb2.Value(bool_value=True)] * (MOST_VALUES - 1))
    inner = struct_pb2.Value(list_value=items)
    assert context_of(struct_pb2.Struct(fields={"x": inner}))
    inner.list_value.values.add(bool_value=True)
    with pytest.raises(InvalidRequestError, match="`context` has more than"):
        context_of(struct_pb2.Struct(fields={"x": inner}))


def test_every_fault_of_a_request_is_told_at_once() -> None:
    """So that a caller can mend all of them."""
    request = pb.CheckRequest(context=nested(20), credential=pb.Credential(issued_at={"nanos": -1}))
    with pytest.raises(InvalidRequestError) as refused:
        request_of(request, None)
    named = {fault.field for fault in refused.value.faults}
    assert named == {"subject.id", "action.name", "resource.type", "resource.id", "context", "credential.issued_at"}
