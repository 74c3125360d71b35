"""The door's conversions: `pytest benchmarks/test_door.py -o addopts=`."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pytest_benchmark.fixture import BenchmarkFixture
from sessionpdp.v1 import decision_pb2 as pb

from benchmarks.outcome import WrongAnswerError
from benchmarks.world import World, message, question, snapshot_of
from pdp.core.decide import decide
from pdp.core.decision import Allow
from pdp.core.lawful_request import faults_of_request, lawful_at_a_glance
from pdp.core.model import Instant
from pdp.core.wording import SECOND
from pdp.doors.wire import CODE_NUMBERS, fill_decision, request_of

_NOW = Instant(1_800_000_000 * SECOND)
_DECISION_ID, _TRACE_ID = "0190c8a7-5d3e-7c4e-9b9e-0a1b2c3d4e5f", "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def allow() -> Allow:
    """Return the allow of a usual question."""
    world = World(100, 100, _NOW)
    decision = decide(question(1), snapshot_of(world), world.now)
    if not isinstance(decision, Allow):
        text = f"the question was denied: {decision}"
        raise WrongAnswerError(text)
    return decision


def _constructed(allow: Allow) -> pb.Decision:
    """Return what `fill_decision` writes, by a constructor call."""
    grant = allow.grant
    session, approval = grant.session, grant.approval
    approved = f" and approval `{approval.id}`" if approval is not None else ""
    return pb.Decision(
        outcome=pb.OUTCOME_ALLOW,
        reasons=[
            pb.Reason(
                code=CODE_NUMBERS[allow.code],  # type: ignore[arg-type]  # enum values are ints at run time
                message=f"session `{session.id}` grants it for task `{grant.task.id}`{approved}",
                subject_of_reason=f"session:{session.id}",
            )
        ],
        decision_id=_DECISION_ID,
        identity_id=grant.identity.id,
        owner=grant.identity.owner,
        session_id=session.id,
        task_id=session.task,
        approval_id=approval.id if approval is not None else "",
        ticket=approval.ticket if approval is not None else "",
        entitlement_id=session.entitlement,
        policies=allow.policies,
        revision=allow.revision,
        policy_version=allow.policy_version,
        evaluated_at=Timestamp(seconds=allow.evaluated_at // SECOND, nanos=allow.evaluated_at % SECOND),
        valid_until=Timestamp(seconds=allow.valid_until // SECOND, nanos=allow.valid_until % SECOND),
        trace_id=_TRACE_ID,
    )


def _filled(allow: Allow) -> pb.CheckResponse:
    response = pb.CheckResponse()
    fill_decision(response.decision, allow, _DECISION_ID, _TRACE_ID)
    return response


def test_decode(benchmark: BenchmarkFixture) -> None:
    """Bytes to a message; protobuf's part."""
    benchmark(pb.CheckRequest.FromString, message(1).SerializeToString())


def test_request_of(benchmark: BenchmarkFixture) -> None:
    """A message to a lawful request."""
    if benchmark(request_of, message(1), None).session != "s-1":
        text = "the request lost its session"
        raise WrongAnswerError(text)


def test_lawful_at_a_glance(benchmark: BenchmarkFixture) -> None:
    """Whether a request is lawful, in one look."""
    if not benchmark(lawful_at_a_glance, question(1)):
        text = "a usual request is not seen to be lawful"
        raise WrongAnswerError(text)


def test_faults_of_request(benchmark: BenchmarkFixture) -> None:
    """The same, field by field."""
    asked = question(1)
    type_, _, id_ = asked.resource.partition(":")

    def faults() -> object:
        return faults_of_request(
            subject=asked.subject, action=asked.action, resource_type=type_, resource_id=id_, session=asked.session
        )

    if benchmark(faults):
        text = "a usual request has faults"
        raise WrongAnswerError(text)


def test_fill_decision(benchmark: BenchmarkFixture, allow: Allow) -> None:
    """A decision into a message, in place."""
    benchmark(_filled, allow)


def test_decision_by_constructor(benchmark: BenchmarkFixture, allow: Allow) -> None:
    """The same by a constructor call; both must say the same."""
    response = benchmark(lambda: pb.CheckResponse(decision=_constructed(allow)))
    if response != _filled(allow):
        text = "`fill_decision` and the constructor disagree"
        raise WrongAnswerError(text)


def test_encode(benchmark: BenchmarkFixture, allow: Allow) -> None:
    """A message to bytes; protobuf's part."""
    response = _filled(allow)
    benchmark(response.SerializeToString)
