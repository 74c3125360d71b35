"""What a gRPC error means for a caller that wanted a decision: one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc

from sessionpdp.decision import Decision, Doubt
from sessionpdp.request import InvalidCheck

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sessionpdp.v1 import decision_pb2

# Not listed: the PDP broke or was not there, which a caller cannot tell apart.
_DOUBTS: Final[Mapping[grpc.StatusCode, Doubt]] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: Doubt.PDP_TIMEOUT,
    grpc.StatusCode.INVALID_ARGUMENT: Doubt.PDP_REFUSED,
    grpc.StatusCode.UNAUTHENTICATED: Doubt.PDP_REFUSED,
    grpc.StatusCode.PERMISSION_DENIED: Doubt.PDP_REFUSED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Doubt.PDP_REFUSED,
    grpc.StatusCode.FAILED_PRECONDITION: Doubt.PDP_REFUSED,
    grpc.StatusCode.OUT_OF_RANGE: Doubt.PDP_REFUSED,
    grpc.StatusCode.NOT_FOUND: Doubt.PDP_REFUSED,
    grpc.StatusCode.UNIMPLEMENTED: Doubt.PDP_REFUSED,
}


def doubt_from_error(error: grpc.RpcError) -> Decision:
    """Return the deny that stands for the error."""
    code, details = status_of(error)
    doubt = _DOUBTS.get(code, Doubt.PDP_UNREACHABLE)
    return Decision.undecided(doubt, f"{code.name}: {details}")


def doubt_or_mistake(error: grpc.RpcError) -> Decision:
    """Return the deny that stands for the error; raise `InvalidCheck` if it is the calling code's."""
    code, details = status_of(error)
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        raise InvalidCheck(details) from error
    return doubt_from_error(error)


def late() -> Decision:
    """Return the deny for an answer that did not come within the deadline."""
    return Decision.undecided(Doubt.PDP_TIMEOUT, "no answer within the deadline")


def unless_invalid(decision: Decision) -> Decision:
    """Return the decision; raise `InvalidCheck` if it only says that the check was invalid.

    The same mistake is a status on a unary call and a decision within a batch or stream.
    """
    if not decision.allowed and decision.code == "REQUEST_INVALID":
        raise InvalidCheck(decision.reasons[0].message)
    return decision


def decisions_in_order(answers: Iterable[decision_pb2.Decision], expected: int) -> list[Decision]:
    """Return one decision per check asked.

    Answers are matched by position alone, so if their number is wrong no position can be trusted.
    """
    decisions = [Decision.from_wire(answer) for answer in answers]
    if len(decisions) == expected:
        return decisions
    message = f"{len(decisions)} decisions for {expected} checks"
    return [Decision.undecided(Doubt.PDP_ANSWER_INVALID, message)] * expected


def status_of(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """Return the status of an error and what it says."""
    # Errors of calls have a status; the base class, which grpc declares for all of them, has none.
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return grpc.StatusCode.UNKNOWN, "no status"
    return error.code() or grpc.StatusCode.UNKNOWN, error.details() or "no details"
