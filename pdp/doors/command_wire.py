"""Commands between the wire and the domain.

A command has the field names of its request message, so the conversion by field of `fields_wire` serves all of them;
`tests/unit/test_command_table.py` holds the two together. What every command has besides (reason, idempotency key, dry
run) stands in `Manner`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar, cast

from google.protobuf.message import Message
from sessionpdp.v1 import governance_pb2 as pb

from pdp.core.lawful import fault_of_constraints, fault_of_text
from pdp.core.lawful_request import Fault
from pdp.core.scope import Scope
from pdp.doors.errors import InvalidRequestError
from pdp.doors.fields_wire import fill, struct_of
from pdp.governance.commands import Command
from pdp.governance.table import COMMANDS

_PROSE = frozenset({"justification"})
_KIND_AND_ID = frozenset({"review_id"})
"""Fields that name a fact by `kind:id`, with an id as long as any."""
_C = TypeVar("_C", bound=Command)


class Manner(Protocol):
    """How something is asked for: the fields that all requests for changes have."""

    @property
    def reason(self) -> str:
        """Why."""

    @property
    def idempotency_key(self) -> str:
        """What tells a repetition from another request; empty: nothing does."""

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be written."""


def request_type(command: type[Command]) -> type[Message]:
    """Return the message that asks for a command."""
    kind: type[Message] = getattr(pb, f"{command.__name__}Request")
    return kind


def response_type(command: type[Command]) -> type[Message]:
    """Return the message that answers a command."""
    kind: type[Message] = getattr(pb, f"{command.__name__}Response")
    return kind


def command_of(message: Message, kind: type[_C]) -> _C:
    """Return the command a request carries; raise InvalidRequestError with one fault per bad field, reason included."""
    faults: list[Fault] = []
    command = struct_of(message, kind, "", faults)
    if command is not None:
        faults += _faults_of(command)
    row = COMMANDS[kind]  # type: ignore[index]  # a member of the union is one of the keys
    faults += _faults_of_manner(cast("Manner", message), needs_reason=row.needs_reason)
    if faults or command is None:
        raise InvalidRequestError(faults)
    return command


def message_of_command(
    command: Command, *, reason: str = "", idempotency_key: str = "", dry_run: bool = False
) -> Message:
    """Return the request that asks for a command."""
    message = request_type(type(command))(reason=reason, idempotency_key=idempotency_key, dry_run=dry_run)
    fill(message, command)
    return message


def refuse_unlawful_manner(manner: Manner) -> None:
    """Raise InvalidRequestError if the reason or the idempotency key can be none."""
    if faults := _faults_of_manner(manner):
        raise InvalidRequestError(faults)


def _faults_of_manner(manner: Manner, *, needs_reason: bool = False) -> list[Fault]:
    faults = (
        Fault("reason", fault_of_text(manner.reason, required=needs_reason, prose=True)),
        Fault("idempotency_key", fault_of_text(manner.idempotency_key, required=False)),
    )
    return [fault for fault in faults if fault.message]


def _faults_of(command: Command) -> Iterator[Fault]:
    """Yield what is wrong with single fields; what only a fact can be wrong with, the desk finds in the plan."""
    for name in command.__struct_fields__:
        value = getattr(command, name)
        if isinstance(value, str):
            text = value.partition(":")[2] if name in _KIND_AND_ID else value
            fault = fault_of_text(text, required=False, prose=name in _PROSE)
        elif isinstance(value, Scope):
            fault = _fault_of_texts(value.patterns)
        elif isinstance(value, tuple):
            fault = _fault_of_texts(value)
        else:
            fault = fault_of_constraints(value) if name == "constraints" else ""
        if fault:
            yield Fault(name, fault)


def _fault_of_texts(texts: tuple[str, ...]) -> str:
    return next(filter(None, map(fault_of_text, texts)), "")
