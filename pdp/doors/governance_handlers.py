"""What changes facts in GovernanceService, free of any transport: every command, and the import.

All commands go one way: from the message by field, through `governing` and the desk, to a response by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice

from google.protobuf.message import Message
from sessionpdp.v1 import governance_pb2 as pb

from pdp.core.lawful import fault_of_text
from pdp.core.lawful_request import Fault
from pdp.core.model import KIND_OF, Change, Drop, FactKind, Put
from pdp.doors.call import Call
from pdp.doors.command_wire import Manner, command_of, refuse_unlawful_manner, response_type
from pdp.doors.errors import InvalidRequestError
from pdp.doors.facts_wire import fact_of, message_of
from pdp.doors.fields_wire import struct_of
from pdp.doors.fitting import that_fit
from pdp.doors.governing import GovernedHandler, Permit, timeout_s
from pdp.governance.commands import Command
from pdp.governance.desk import Asked, Desk

_SLICE = 10
"""Facts converted before checks get their turn."""
_MOST_TOLD = 1000
"""Facts of one answer, if it holds them."""


class CommandHandlers:
    """Carries out commands, whichever they are."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def of(self, kind: type[Command]) -> GovernedHandler:
        """Return the handler of one command."""

        async def handle(message: Message, call: Call, permit: Permit) -> Message:
            return await self.carry_out(command_of(message, kind), message, call, permit)  # type: ignore[arg-type]

        return handle

    async def carry_out(
        self, command: Command, manner: Manner, call: Call, permit: Permit, *, sent: Command | None = None
    ) -> Message:
        """Carry out a command that was asked for in a manner; return its response.

        `sent` is what the caller has sent, where the command is more than that.
        """
        done = await self._desk.carry_out(command, asked(manner, call, permit), timeout_s(call), sent=sent)
        response = response_type(type(command))
        written = (change.fact for change in done.changes if isinstance(change, Put))
        facts = that_fit(map(message_of, islice(written, _MOST_TOLD)))
        return response(revision=done.revision, facts=facts, already_done=done.already_done)


class ImportHandlers:
    """Writes facts as they are."""

    def __init__(self, desk: Desk, most_facts: int) -> None:
        self._desk = desk
        self._most_facts = most_facts

    async def apply_facts(self, message: pb.ApplyFactsRequest, call: Call, permit: Permit) -> pb.ApplyFactsResponse:
        """Write all facts or none."""
        count = len(message.facts) + len(message.removals)
        if not 0 < count <= self._most_facts:
            fault = Fault("facts", f"has {count} facts with `removals`, between 1 and {self._most_facts} are taken")
            raise InvalidRequestError([fault])
        refuse_unlawful_manner(message)
        done = await self._desk.write(await _changes(message), asked(message, call, permit), timeout_s(call))
        return pb.ApplyFactsResponse(revision=done.revision, already_done=done.already_done)


def asked(manner: Manner, call: Call, permit: Permit) -> Asked:
    """Return who asks for what a request carries, and in which manner."""
    return Asked(
        actor=permit.principal,
        role=permit.role,
        reason=manner.reason,
        key=manner.idempotency_key,
        dry_run=manner.dry_run,
        method=call.method,
        traceparent=call.traceparent,
    )


async def _changes(message: pb.ApplyFactsRequest) -> Sequence[Change]:
    """Return what the message wants written and removed; raise InvalidRequestError, also if it names a fact twice.

    Gives way to checks after every few facts, which take about a tenth of a millisecond each.
    """
    faults: list[Fault] = []
    named: dict[tuple[FactKind, str], Change] = {}
    for number, one in enumerate(message.facts):
        if number % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
        fact = fact_of(one, f"facts[{number}]", faults)
        if fact is not None:
            _name(named, Put(fact), (KIND_OF[type(fact)], fact.id), f"facts[{number}]", faults)
    for number, removal in enumerate(message.removals):
        path = f"removals[{number}]"
        drop = struct_of(removal, Drop, f"{path}.", faults)
        if drop is not None and (fault := fault_of_text(drop.id)):
            faults.append(Fault(f"{path}.id", fault))
        elif drop is not None:
            _name(named, drop, (drop.kind, drop.id), path, faults)
    if faults:
        raise InvalidRequestError(faults)
    return tuple(named.values())


def _name(
    named: dict[tuple[FactKind, str], Change],
    change: Change,
    ref: tuple[FactKind, str],
    path: str,
    faults: list[Fault],
) -> None:
    if ref in named:
        faults.append(Fault(path, f"{ref[0]} `{ref[1]}` is named twice"))
    named[ref] = change
