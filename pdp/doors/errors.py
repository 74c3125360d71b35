"""What goes wrong at a door, split by whose fault it is, and how each becomes a gRPC error.

A denial is none of these: it is an answer. These mean that no decision was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from pdp.core.lawful_request import Fault
from pdp.doors.fitting import that_fit
from pdp.governance.refusal import Refusal, Rule

DOMAIN = "sessionpdp"
"""`ErrorInfo.domain` of every error."""

_LONGEST = 250
_LONGEST_MESSAGE = 700
_MOST_DETAILS = 2_300
"""An error travels in trailing metadata, which peers limit to 8 KiB: bytes of a text, of the status message (which is
sent twice, once with each byte beyond ASCII as three) and of all violations together."""


class DoorError(Exception):
    """No answer: the status, the reason (`ErrorInfo.reason`), and what to say."""

    status = grpc.StatusCode.INTERNAL
    reason = "INTERNAL"
    metadata: Mapping[str, str] = {}
    """What programs may read besides (`ErrorInfo.metadata`)."""

    def __init__(self, message: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.faults = tuple(faults)

    def details(self) -> Iterable[Message]:
        """Return what says it in full, besides `ErrorInfo`: `BadRequest` where fields are at fault."""
        if self.faults:
            violations = (
                error_details_pb2.BadRequest.FieldViolation(
                    field=_cut(fault.field, _LONGEST), description=_cut(fault.message, _LONGEST)
                )
                for fault in self.faults
            )
            yield error_details_pb2.BadRequest(field_violations=that_fit(violations, _MOST_DETAILS))


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


class NotPermittedError(DoorError):
    """No role of the principal permits the method."""

    status = grpc.StatusCode.PERMISSION_DENIED
    reason = "ROLE_REQUIRED"

    def __init__(self, message: str, roles: Iterable[str]) -> None:
        """`roles` are those that would permit it."""
        super().__init__(message)
        self.metadata = {"roles": ",".join(sorted(roles))}


class PreconditionError(DoorError):
    """The store would not write the change, nor if it were repeated."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CHANGE_REFUSED"


class ChangeRefusedError(DoorError):
    """Rules stand against the command; `PreconditionFailure` has each of them."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CHANGE_REFUSED"

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        """`refusals`: at least one, the most telling first."""
        first = refusals[0]
        super().__init__(f"{first.message}; {first.remedy}")
        rules = {refusal.rule for refusal in refusals}
        if Rule.NOT_YOURS in rules:
            self.status = grpc.StatusCode.PERMISSION_DENIED
        elif rules == {Rule.NOT_FOUND}:
            self.status = grpc.StatusCode.NOT_FOUND
        named = {"rule": first.rule, "remedy": first.remedy, "about": first.about}
        self.metadata = {name: _cut(text, _LONGEST) for name, text in named.items()}
        self.refusals = tuple(refusals)

    def details(self) -> Iterable[Message]:
        """Return `PreconditionFailure`, with one violation per rule."""
        violations = (
            error_details_pb2.PreconditionFailure.Violation(
                type=refusal.rule,
                subject=_cut(refusal.about, _LONGEST),
                description=_cut(f"{refusal.message}; {refusal.remedy}", _LONGEST),
            )
            for refusal in self.refusals
        )
        yield error_details_pb2.PreconditionFailure(violations=that_fit(violations, _MOST_DETAILS))


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
    """Return the rich status of an error: `ErrorInfo` always, and what the error says in full."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    details = []
    for message in (info, *error.details()):
        details.append(any_pb2.Any())
        details[-1].Pack(message)
    message = _cut(error.message, _LONGEST_MESSAGE)
    return status_pb2.Status(code=error.status.value[0], message=message, details=details)


def _cut(text: str, most: int) -> str:
    """Return as many whole characters as fit in so many bytes."""
    return text.encode(errors="replace")[:most].decode(errors="ignore")
