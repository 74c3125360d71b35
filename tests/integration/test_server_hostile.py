"""Hostile input: each gets a clear error that names the field, harms nobody else, and leaves the server as it was."""

from __future__ import annotations

import gc
import math
import resource
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf import struct_pb2
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import facts_pb2, governance_pb2

from pdp.doors.facts_wire import message_of
from tests.integration.serving import PATIENCE_S, Running, check, codes_of, refusal, session, world

INVALID = grpc.StatusCode.INVALID_ARGUMENT
CHECK = "/sessionpdp.v1.DecisionService/Check"


def deep(levels: int) -> struct_pb2.Struct:
    """Return a context nested so deep."""
    value = struct_pb2.Value(bool_value=True)
    for _ in range(levels):
        value = struct_pb2.Value(list_value=struct_pb2.ListValue(values=[value]))
    return struct_pb2.Struct(fields={"deep": value})


def wide(values: int) -> struct_pb2.Struct:
    """Return a context with so many values."""
    return struct_pb2.Struct(fields={str(n): struct_pb2.Value(bool_value=True) for n in range(values)})


def listed(values: int) -> struct_pb2.Struct:
    """Return a context with one list of so many values."""
    items = [struct_pb2.Value(bool_value=True)] * values
    return struct_pb2.Struct(fields={"list": struct_pb2.Value(list_value=struct_pb2.ListValue(values=items))})


def only(value: struct_pb2.Value) -> struct_pb2.Struct:
    """Return a context of one value."""
    return struct_pb2.Struct(fields={"x": value})


BAD_CHECKS: dict[str, tuple[Callable[[], pb.CheckRequest], str]] = {
    "no subject": (lambda: check(subject=pb.Subject()), "subject.id"),
    "a NUL byte": (lambda: check(subject=pb.Subject(id="wor\0ker")), "subject.id"),
    "an endless id": (lambda: check(subject=pb.Subject(id="x" * 1_000_000)), "subject.id"),
    "an endless type": (lambda: check(subject=pb.Subject(id="x", type="x" * 5000)), "subject.type"),
    "no action": (lambda: check(action=pb.Action()), "action.name"),
    "no resource": (lambda: check(resource=pb.Resource()), "resource.id"),
    "an endless path": (lambda: check(resource=pb.Resource(type="a", id="/" * 100_000)), "resource.id"),
    "a session id with a newline": (lambda: check(session_id="a\nb"), "session_id"),
    "an endless task id": (lambda: check(task_id="t" * 5000), "task_id"),
    "an endless request id": (lambda: check(request_id="r" * 5000), "request_id"),
    "a time that is none": (lambda: check(credential=pb.Credential(issued_at={"nanos": -1})), "credential.issued_at"),
    "a time out of range": (
        lambda: check(credential=pb.Credential(expires_at={"seconds": 1 << 60})),
        "credential.expires_at",
    ),
    "a deep context": (lambda: check(context=deep(20)), "context"),
    "a wide context": (lambda: check(context=wide(100_000)), "context"),
    "a long list": (lambda: check(context=listed(500_000)), "context"),
    "a value of no kind": (lambda: check(context=only(struct_pb2.Value())), "context"),
    "not a number": (lambda: check(context=only(struct_pb2.Value(number_value=math.nan))), "context"),
    "an infinite number": (lambda: check(context=only(struct_pb2.Value(number_value=math.inf))), "context"),
    "a long text": (lambda: check(context=only(struct_pb2.Value(string_value="x" * 100_000))), "context"),
    "deep properties": (
        lambda: check(resource=pb.Resource(type="a", id="b", properties=deep(20))),
        "resource.properties",
    ),
}


@pytest.mark.parametrize("name", sorted(BAD_CHECKS))
async def test_a_bad_check_is_refused_by_field_and_harms_only_itself(server: Running, name: str) -> None:
    """Alone INVALID_ARGUMENT with the field; in a batch a REQUEST_INVALID of that item alone."""
    make, field = BAD_CHECKS[name]
    error = await refusal(server.decisions.Check(make(), timeout=PATIENCE_S))
    assert (error.code, error.reason, field in error.fields) == (INVALID, "REQUEST_INVALID", True), error.fields
    batch = pb.CheckBatchRequest(checks=[check(), make(), check()])
    answer = await server.decisions.CheckBatch(batch, timeout=PATIENCE_S)
    assert codes_of(answer.decisions) == ["GRANTED", "REQUEST_INVALID", "GRANTED"]
    assert f"`{field}`" in answer.decisions[1].reasons[0].message


def raw(field: int, payload: bytes) -> bytes:
    """Return one field of bytes, as on the wire."""
    size, length = len(payload), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([field << 3 | 2]) + length + bytes([size]) + payload


def nested(levels: int) -> bytes:
    """Return a check whose context is nested so deep that no decoder takes it."""
    value = b""
    for _ in range(levels):
        value = raw(6, raw(1, value))
    return raw(4, raw(1, raw(1, b"deep") + raw(2, value)))


RAW_CHECKS = {
    "text that is not UTF-8": (raw(1, raw(2, b"wor\xffker")), "subject.id"),
    "text that is not UTF-8 at the end": (check().SerializeToString() + raw(6, b"\xc3\x28"), "task_id"),
    "a truncated message": (check().SerializeToString()[:-3], "session_id"),
    "a truncated submessage": (b"\x0a\x7f\x12", "subject"),
    "an unknown wire type": (b"\x0f\x00", "request"),
    "an endless varint": (b"\x48" + b"\xff" * 20, "request"),
    "nesting beyond any decoder": (nested(200), "context"),
}


@pytest.mark.parametrize("name", sorted(RAW_CHECKS))
async def test_bytes_that_are_no_message_are_refused_by_field(server: Running, name: str) -> None:
    """As an error of the caller, not of the server."""
    data, field = RAW_CHECKS[name]
    call = server.decision_channel.unary_unary(CHECK)
    error = await refusal(call(data, timeout=PATIENCE_S))
    assert (error.code, error.reason) == (INVALID, "REQUEST_INVALID")
    assert [name for name in error.fields if name.startswith(field)] != [], error.fields
    assert await server.check() == "GRANTED"


async def test_a_bad_message_on_a_stream_ends_that_stream_alone(server: Running) -> None:
    """With the field at fault."""
    good, bad = (
        server.decisions.CheckStream(),
        server.decision_channel.stream_stream("/sessionpdp.v1.DecisionService/CheckStream")(timeout=PATIENCE_S),
    )
    await bad.write(b"\x0a\x7f")
    error = await refusal(bad.read())
    assert (error.code, error.reason) == (INVALID, "REQUEST_INVALID")
    negative = server.decisions.CheckStream(timeout=PATIENCE_S)
    await negative.write(pb.CheckStreamRequest(checks=[check()], timeout={"seconds": -1}))
    assert "timeout" in (await refusal(negative.read())).fields
    await good.write(pb.CheckStreamRequest(checks=[check()]))
    assert codes_of((await good.read()).decisions) == ["GRANTED"]
    good.cancel()


async def test_a_request_id_used_twice_spoils_the_later_item_alone(server: Running) -> None:
    """Answers are told apart by it."""
    items = [check(request_id="a"), check(request_id="b"), check(request_id="a"), check(), check()]
    answer = await server.decisions.CheckBatch(pb.CheckBatchRequest(checks=items), timeout=PATIENCE_S)
    assert codes_of(answer.decisions) == ["GRANTED", "GRANTED", "REQUEST_INVALID", "GRANTED", "GRANTED"]


async def test_an_empty_batch_is_answered_empty(server: Running) -> None:
    """Also on a stream."""
    answer = await server.decisions.CheckBatch(pb.CheckBatchRequest(), timeout=PATIENCE_S)
    assert list(answer.decisions) == []
    stream = server.decisions.CheckStream()
    await stream.write(pb.CheckStreamRequest(correlation_id=3))
    streamed = await stream.read()
    assert (streamed.correlation_id, list(streamed.decisions)) == (3, [])
    stream.cancel()


def fact(kind: str, /, **changes: object) -> facts_pb2.Fact:
    """Return a fact of the world with some fields replaced."""
    found = next(message_of(one) for one in world() if message_of(one).WhichOneof("fact") == kind)
    inner = getattr(found, kind)
    for name, value in changes.items():
        inner.ClearField(name)
        if isinstance(value, list):
            getattr(inner, name).extend(value)
        elif isinstance(value, dict):
            for part, number in value.items():
                setattr(getattr(inner, name), part, number)
        elif value is not None:
            setattr(inner, name, value)
    return found


def signal(value: struct_pb2.Value) -> facts_pb2.Fact:
    """Return a signal with such a value."""
    made = facts_pb2.Signal(id="x", about="worker", name="risk", value=value, expires_at={"seconds": 4_000_000_000})
    return facts_pb2.Fact(signal=made)


BAD_FACTS: dict[str, tuple[Callable[[], facts_pb2.Fact], str]] = {
    "no fact": (facts_pb2.Fact, "facts[0]"),
    "no id": (lambda: fact("identity", id=""), "facts[0].identity.id"),
    "a NUL byte": (lambda: fact("task", id="a\0b"), "facts[0].task.id"),
    "an endless id": (lambda: fact("task", id="x" * 5000), "facts[0].task.id"),
    "an unknown kind": (lambda: fact("identity", kind=99), "facts[0].identity.kind"),
    "no kind": (lambda: fact("identity", kind=0), "facts[0].identity.kind"),
    "an unknown state": (lambda: fact("session", state=-4), "facts[0].session.state"),
    "a bad pattern": (lambda: fact("session", actions=["rows.**.read"]), "facts[0].session.actions"),
    "no patterns": (lambda: fact("session", resources=[]), "facts[0].session.resources"),
    "no window": (lambda: fact("session", expires_at=None), "facts[0].session.expires_at"),
    "a window that ends first": (lambda: fact("session", expires_at={"seconds": 1}), "facts[0].session.expires_at"),
    "no uses": (lambda: fact("session", max_uses=0), "facts[0].session.max_uses"),
    "a timeout of nothing": (lambda: fact("session", idle_timeout={"seconds": 0}), "facts[0].session.idle_timeout"),
    "endless time": (
        lambda: fact("session", idle_timeout={"seconds": (1 << 63) - 1}),
        "facts[0].session.idle_timeout",
    ),
    "not a number": (lambda: signal(struct_pb2.Value(number_value=math.nan)), "facts[0].signal.value"),
    "a deep value": (lambda: signal(deep(40).fields["deep"]), "facts[0].signal.value"),
}


@pytest.mark.parametrize("name", sorted(BAD_FACTS))
async def test_a_bad_fact_is_refused_by_field_and_nothing_is_written(server: Running, name: str) -> None:
    """Also not the good ones beside it."""
    make, field = BAD_FACTS[name]
    request = governance_pb2.ApplyFactsRequest(facts=[make(), message_of(session("s-8"))])
    error = await refusal(server.governance.ApplyFacts(request, timeout=PATIENCE_S))
    assert (error.code, error.reason) == (INVALID, "REQUEST_INVALID")
    assert field in error.fields, error.fields
    assert await server.check(session_id="s-8") == "SESSION_UNKNOWN"


async def test_a_fact_named_twice_and_a_removal_of_nothing_are_refused(server: Running) -> None:
    """Each by its place."""
    reference = governance_pb2.FactReference
    removals = [reference(kind=77, id="x"), reference(kind=facts_pb2.FACT_KIND_TASK)]
    request = governance_pb2.ApplyFactsRequest(facts=[fact("task"), fact("task")], removals=removals)
    error = await refusal(server.governance.ApplyFacts(request, timeout=PATIENCE_S))
    assert (error.code, {"facts[1]", "removals[0].kind", "removals[1].id"} <= set(error.fields)) == (INVALID, True)
    nothing = await refusal(server.governance.ApplyFacts(governance_pb2.ApplyFactsRequest(), timeout=PATIENCE_S))
    assert (nothing.code, list(nothing.fields)) == (INVALID, ["facts"])


async def test_texts_that_cannot_be_kept_are_refused_by_field(server: Running) -> None:
    """Reasons, references and page tokens, too."""
    governance, pb_ = server.governance, governance_pb2
    bad_removal = pb_.FactReference(kind=facts_pb2.FACT_KIND_TASK, id="a\0b")
    calls = {
        "reason": governance.ApplyFacts(pb_.ApplyFactsRequest(facts=[fact("task")], reason="a\0b", dry_run=True)),
        "removals[0].id": governance.ApplyFacts(pb_.ApplyFactsRequest(removals=[bad_removal])),
        "page_token": governance.ListFacts(pb_.ListFactsRequest(page_token="nonsense")),  # noqa: S106  # no secret
        "kind": governance.GetFact(pb_.GetFactRequest(kind=88, id="x")),
    }
    for field, call in calls.items():
        error = await refusal(call)
        assert (error.code, list(error.fields)) == (INVALID, [field])
    for closing in (
        governance.CompleteTask(pb_.CompleteTaskRequest(task_id="job", reason="x" * 5000)),
        governance.CloseSession(pb_.CloseSessionRequest(session_id="s-1", reason="a\0b")),
    ):
        error = await refusal(closing)
        assert (error.code, list(error.fields)) == (INVALID, ["reason"])
    assert await server.check() == "GRANTED"


async def test_what_cannot_be_done_is_refused_with_its_reason(server: Running) -> None:
    """Unknown, or ended already."""
    governance, pb_ = server.governance, governance_pb2
    unknown = await refusal(governance.CompleteTask(pb_.CompleteTaskRequest(task_id="nobody's")))
    assert (unknown.code, unknown.metadata["rule"]) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    await governance.CloseSession(pb_.CloseSessionRequest(session_id="s-1"))
    ended = await refusal(governance.CloseSession(pb_.CloseSessionRequest(session_id="s-1")))
    assert (ended.code, ended.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CHANGE_REFUSED")


async def test_a_dry_run_writes_nothing_and_removing_what_is_not_there_is_no_error(server: Running) -> None:
    """As the contract says."""
    governance, pb_ = server.governance, governance_pb2
    dry = await governance.ApplyFacts(pb_.ApplyFactsRequest(facts=[message_of(session("s-6"))], dry_run=True))
    assert (dry.revision, await server.check(session_id="s-6")) == (0, "SESSION_UNKNOWN")
    nothing = pb_.FactReference(kind=facts_pb2.FACT_KIND_TASK, id="nobody's")
    assert (await governance.ApplyFacts(pb_.ApplyFactsRequest(removals=[nothing]))).revision == 2


async def test_a_malformed_trace_parent_is_ignored(server: Running) -> None:
    """It may come from a stranger."""
    assert await server.check(traceparent="nonsense" * 1000) == "GRANTED"
    call = server.decisions.Check(check(), metadata=(("traceparent", "00-zz"),), timeout=PATIENCE_S)
    assert (await call).decision.trace_id


async def test_what_is_refused_is_not_kept_in_memory(server: Running) -> None:
    """One such message takes tens of MiB once decoded, so waiting for the garbage collector would not do."""
    bad = check(context=listed(300_000)).SerializeToString()
    call = server.decision_channel.unary_unary(CHECK)
    for _ in range(3):
        await refusal(call(bad, timeout=PATIENCE_S))
    gc.disable()
    try:
        before = resident_bytes()
        for _ in range(20):
            await refusal(call(bad, timeout=PATIENCE_S))
        grown = resident_bytes() - before
    finally:
        gc.enable()
    assert grown < 20 * len(bad)


def resident_bytes() -> int:
    """Return the memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
