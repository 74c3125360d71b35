"""What goes wrong at a door, split by whose fault it is, and how each becomes a gRPC error.

A denial is none of these: it is an answer. These mean that no decision was made.
"""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from pdp.core.lawful_request import Fault

DOMAIN = "sessionpdp"
"""`ErrorInfo.domain` of every error."""

_MOST_VIOLATIONS = 50
"""An error travels in trailing metadata, which peers limit to 8 KiB."""


class DoorError(Exception):
    """No answer: the status, the reason (`ErrorInfo.reason`), and what to say."""

    status = grpc.StatusCode.INTERNAL
    reason = "INTERNAL"

    def __init__(self, message: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.faults = tuple(faults)


class InvalidRequestError(DoorError):
    """The caller's request is malformed; one fault per field."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    reason = "REQUEST_INVALID"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"`{fault.field}` {fault.message}" for fault in faults[:3]), faults)


class UnauthenticatedError(DoorError):
    """The caller shows no accepted identity."""

    status = grpc.StatusCode.UNAUTHENTICATED
    reason = "CALLER_UNAUTHENTICATED"


class OverloadedError(DoorError):
    """More is asked at once than the configured bound."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"


class NotFoundError(DoorError):
    """The fact named does not exist."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "FACT_NOT_FOUND"


class PreconditionError(DoorError):
    """The facts are not in a state that permits the change."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CHANGE_REFUSED"


class ConflictError(DoorError):
    """Somebody else changed the fact meanwhile."""

    status = grpc.StatusCode.ABORTED
    reason = "FACT_CHANGED_MEANWHILE"


class UnavailableError(DoorError):
    """The store or the evidence cannot be written just now."""

    status = grpc.StatusCode.UNAVAILABLE
    reason = "STORE_UNAVAILABLE"


class LateError(DoorError):
    """The caller's deadline has passed; an allow is not handed out late."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


def status_of(error: DoorError) -> status_pb2.Status:
    """Return the rich status of an error: `ErrorInfo` always, `BadRequest` where fields are at fault."""
    details = [any_pb2.Any(), any_pb2.Any()][: 2 if error.faults else 1]
    details[0].Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN))
    if error.faults:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=fault.field, description=fault.message[:200])
            for fault in error.faults[:_MOST_VIOLATIONS]
        ]
        details[1].Pack(error_details_pb2.BadRequest(field_violations=violations))
    return status_pb2.Status(code=error.status.value[0], message=error.message[:1000], details=details)
