"""gRPC errors as a person should hear them: what was refused, and which field was at fault."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from pdp.cli.connections import TOKEN_VARIABLE, Door, unreachable
from pdp.cli.trouble import CommandError

_DOMAIN = "sessionpdp"
_TOO_LARGE = re.compile(r"larger than max \((?P<size>\d+) vs\.? (?P<most>\d+)\)")
_WORDS: Mapping[grpc.StatusCode, str] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: "no answer in time",
    grpc.StatusCode.UNAUTHENTICATED: "the sidecar does not accept this caller",
    grpc.StatusCode.PERMISSION_DENIED: "the sidecar does not permit this caller to do so",
    grpc.StatusCode.UNIMPLEMENTED: "what listens there does not offer this",
}
_HINTS: Mapping[str, str] = {
    "ROLE_REQUIRED": "`pdp admin whoami` tells who you are and what your roles permit",
    "CALLER_UNAUTHENTICATED": f"`--token-file` names the file with your token; `${TOKEN_VARIABLE}` is the token itself",
}
"""What helps who administers, by reason."""


class Violation(NamedTuple):
    """One field that was refused."""

    field: str
    message: str


class RefusedError(CommandError):
    """The sidecar answered that it would not; `violations` say which fields are why."""

    def __init__(
        self, *messages: str, hint: str = "", hints: Sequence[str] = (), violations: Sequence[Violation] = ()
    ) -> None:
        """Take the messages, what helps, and the fields."""
        super().__init__(*messages, hint=hint, hints=hints)
        self.violations = tuple(violations)


class _Said(NamedTuple):
    """What an error says beyond its status; empty where it says nothing."""

    reason: str
    """In our own domain; another's does not count."""
    metadata: Mapping[str, str]
    violations: Sequence[Violation]
    refusals: Sequence[tuple[str, str]]
    """Rule, and message with its remedy, of all that stand against a command."""


def refusal_of(error: grpc.RpcError, door: Door) -> CommandError:
    """Return the error to end the command with."""
    # Errors of calls have a status; the base class, which grpc declares for all of them, has none.
    code, details = (error.code(), error.details() or "") if isinstance(error, grpc.Call) else (None, "")
    said = _said_by(error)
    if said.violations:
        fields = "; ".join(f"{field}: {message}" for field, message in said.violations)
        return RefusedError(f"the request was refused: {fields}", violations=said.violations)
    if said.refusals:
        return _refused(details, said)
    if code is grpc.StatusCode.UNAVAILABLE and not said.reason:
        return unreachable(door)
    return _worded(code, details, said.reason, door)


def _refused(details: str, said: _Said) -> CommandError:
    """Return every rule that stands against a command; what would satisfy each is its hint."""
    remedy = said.metadata.get("remedy", "")
    first = (f"{said.refusals[0][0]}: {details.removesuffix(f'; {remedy}')}", remedy)
    # A remedy has no `; ` of its own, a message may.
    parts = [(rule, *description.rpartition("; ")) for rule, description in said.refusals[1:]]
    others = [(f"{rule}: {message or last}", last if message else "") for rule, message, _, last in parts]
    messages, hints = zip(first, *others, strict=True)
    return RefusedError(*messages, hints=hints)


def no_decision(code: str, message: str, door: Door) -> CommandError:
    """Return the error for a decision that was never made; the code is one of the client's `Doubt`."""
    if code == "PDP_UNREACHABLE" and message.startswith("UNAVAILABLE"):
        return unreachable(door)
    if code == "PDP_TIMEOUT":
        return _late(door)
    return CommandError(f"no decision was made: {message}")


def invalid_request(error: Exception, door: Door) -> CommandError:
    """Return the error for a question that cannot be asked, with every field the sidecar names."""
    if isinstance(error.__cause__, grpc.RpcError):
        return refusal_of(error.__cause__, door)
    return CommandError(str(error))


def _worded(code: grpc.StatusCode | None, details: str, reason: str, door: Door) -> CommandError:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return _late(door)
    too_large = _TOO_LARGE.search(details)
    if too_large:
        message = f"the message has {too_large['size']} bytes, the sidecar takes at most {too_large['most']}"
        return RefusedError(message, hint="it is written whole or not at all: send less at once")
    words = _WORDS.get(code) if code is not None else None
    if reason:
        return RefusedError(details, hint=_HINTS.get(reason, "") if door.option == "--admin" else "")
    return RefusedError(words or f"the call failed: {code.name if code else 'no status'}: {details}")


def _late(door: Door) -> CommandError:
    return CommandError(f"no answer from `{door.target}` within {door.timeout_s:g} s", hint="`--timeout` waits longer")


def _said_by(error: grpc.RpcError) -> _Said:
    status = rpc_status.from_call(error) if isinstance(error, grpc.Call) else None
    info = error_details_pb2.ErrorInfo()
    violations: list[Violation] = []
    refusals: list[tuple[str, str]] = []
    details: Iterable[any_pb2.Any] = status.details if status is not None else ()
    for detail in details:
        found, bad, failed = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.PreconditionFailure(),
        )
        if detail.Unpack(found) and found.domain == _DOMAIN:
            info = found
        elif detail.Unpack(bad):
            violations += [Violation(one.field, one.description) for one in bad.field_violations]
        elif detail.Unpack(failed):
            refusals += [(one.type, one.description) for one in failed.violations]
    return _Said(info.reason, info.metadata, violations, refusals)
