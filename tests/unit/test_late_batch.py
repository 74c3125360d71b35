"""A batch of a stream that is answered after its deadline."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import reasons_pb2

from pdp.clock import ManualClock
from pdp.core.model import Instant
from pdp.core.snapshot import Readiness, Snapshot
from pdp.doors.call import Call
from pdp.doors.decision_handlers import DecisionHandlers
from pdp.doors.decision_point import DecisionPoint
from pdp.doors.watching import WatchHub
from pdp.evidence.memory import MemoryEvidence
from pdp.evidence.trace import Ids


class Ready:
    """A state that is always ready, and applied."""

    def check_readiness(self) -> Readiness:
        """Say so."""
        return Readiness.READY

    async def applied(self, revision: int, timeout_s: float) -> bool:
        """Say so."""
        return True


async def test_a_batch_that_is_late_leaves_as_denials() -> None:
    """Whatever was decided, each item is OVERLOADED, and the stream goes on."""
    clock = ManualClock(Instant(1))
    point = DecisionPoint(Snapshot(), Ready(), clock, MemoryEvidence(), Ids())
    handlers = DecisionHandlers(point, WatchHub(point, clock, 1))
    check = pb.CheckRequest(
        subject=pb.Subject(id="s"), action=pb.Action(name="a"), resource=pb.Resource(type="t", id="r")
    )
    batch = pb.CheckStreamRequest(correlation_id=7, checks=[check, check], timeout=Duration(nanos=1))

    response = await handlers.check_stream(batch, Call("CheckStream"))

    assert response.correlation_id == 7
    codes = [[reason.code for reason in decision.reasons] for decision in response.decisions]
    assert codes == [[reasons_pb2.REASON_CODE_OVERLOADED]] * 2
