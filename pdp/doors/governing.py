"""Who may do what on the administration door: one check and one record for all of its methods.

Rule 1: denied by default: a method that no table row permits to a role of the principal is not permitted.
Rule 2: a handler gets a `Permit`, which nothing but the check makes, so no method can be served without it.
Rule 3: each call leaves a record: of the change it made (the desk's), else of the check, before it is answered. A call
that is turned away stays so, also if that cannot be recorded.
Rule 4: a caller who hangs up interrupts nothing halfway, and keeps nothing off the record.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import structlog
from google.protobuf.message import Message
from msgspec import Struct

from pdp.core.lawful_request import Fault
from pdp.core.model import Instant
from pdp.doors import errors
from pdp.doors.call import Call
from pdp.doors.grpc_door import Admission, Unary
from pdp.evidence.record import AdministrationOutcome, AdministrationRecord
from pdp.evidence.trace import parse_traceparent
from pdp.evidence.trouble import EvidenceError, IndexUnavailableError, UsageUnavailableError
from pdp.governance.desk import AdministrationLog, CommandRefusedError, NotInForceError, UnlawfulPlanError
from pdp.governance.roles import Principal, Role, role_required
from pdp.governance.table import ROLES_OF
from pdp.settings import Limits
from pdp.state import store

log = structlog.get_logger()


class Permit(Struct, frozen=True):
    """Proof that a principal may call a method."""

    principal: Principal
    role: Role
    """The role that permits it; of several the first in the order of `Role`."""


GovernedHandler: TypeAlias = Callable[[Any, Call, Permit], Awaitable[Message]]
"""Takes the request message of its method."""


class Governed:
    """Makes methods that ask who calls before they do anything."""

    def __init__(self, records: AdministrationLog, most_calls: int = Limits().calls) -> None:
        """`most_calls`: how many calls may be under way at once, those included whose callers have hung up."""
        self._records = records
        self._admission = Admission(most_calls)

    def method(self, name: str, request: type[Message], handle: GovernedHandler) -> Unary:
        """Return a method of the administration listener, with its check before and its record behind it."""
        roles = ROLES_OF.get(name, frozenset())

        async def governed(message: Message, call: Call) -> Message:
            answering = asyncio.ensure_future(self._answer(message, call, roles, handle))
            answering.add_done_callback(_look_at)
            return await asyncio.shield(answering)

        return Unary(name, request, governed)

    async def _answer(self, message: Message, call: Call, roles: frozenset[Role], handle: GovernedHandler) -> Message:
        with self._admission:
            return await self._checked(message, call, roles, handle)

    async def _checked(self, message: Message, call: Call, roles: frozenset[Role], handle: GovernedHandler) -> Message:
        permit = await self._permit(call, roles)
        try:
            response = await _in_the_doors_words(handle(message, call, permit))
        except CommandRefusedError as error:
            first = error.reasons[0]
            await self._turned_away(
                call, permit, AdministrationOutcome.REFUSED, rule=first.rule, message=first.message, about=first.about
            )
            raise errors.ChangeRefusedError(error.reasons) from error
        except Exception as error:
            self._permitted(call, permit, error.message if isinstance(error, errors.DoorError) else "the call failed")
            raise
        if not _changed_something(response):
            self._permitted(call, permit, _why_nothing_changed(message, response))
        return response

    async def _permit(self, call: Call, roles: frozenset[Role]) -> Permit:
        principal = call.principal
        if principal is None:
            unknown = errors.UnauthenticatedError(call.stranger or "nobody is known to administer here")
            await self._not_permitted(call, unknown)
            raise unknown
        role = principal.role_among(roles)
        if role is None:
            refused = errors.NotPermittedError(role_required(principal, call.method, roles), roles)
            await self._not_permitted(call, refused)
            raise refused
        return Permit(principal, role)

    async def _not_permitted(self, call: Call, error: errors.DoorError) -> None:
        outcome = AdministrationOutcome.NOT_PERMITTED
        await self._turned_away(call, None, outcome, rule=error.reason, message=error.message)

    async def _turned_away(self, call: Call, permit: Permit | None, outcome: AdministrationOutcome, **why: str) -> None:
        try:
            written = self._records.record_administration(_record(call, permit, outcome, why))
            if written is not None:
                await written
        except EvidenceError as error:
            log.warning("a call that was turned away could not be recorded", method=call.method, error=str(error))

    def _permitted(self, call: Call, permit: Permit, message: str = "") -> None:
        record = _record(call, permit, AdministrationOutcome.PERMITTED, {"message": message})
        try:
            self._records.record_administration(record)
        except EvidenceError as error:
            text = f"the call could not be recorded: {error}"
            raise errors.UnavailableError(text) from error


def timeout_s(call: Call) -> float:
    """Return how long a call may still take."""
    if call.deadline is None:
        return _WAIT_S
    return max(call.deadline - asyncio.get_running_loop().time(), 0.0)


_WAIT_S = 10.0
"""Longest wait of a call without a deadline."""


async def _in_the_doors_words(answering: Awaitable[Message]) -> Message:
    """Return what a handler answers; what goes wrong behind it becomes an error of the door."""
    try:
        return await answering
    except UnlawfulPlanError as error:
        raise errors.InvalidRequestError([Fault(*fault) for fault in error.faults]) from error
    except store.ConflictError as error:
        raise errors.ConflictError(str(error)) from error
    except store.CommitRefusedError as error:
        raise errors.PreconditionError(str(error)) from error
    except (store.StoreError, NotInForceError) as error:
        raise errors.UnavailableError(str(error)) from error
    except (UsageUnavailableError, IndexUnavailableError) as error:
        raise errors.UnavailableError(str(error)) from error
    except EvidenceError as error:
        text = f"the change is in force, but its evidence is not on disk: {error}"
        raise errors.UnavailableError(text) from error


def _changed_something(response: Message) -> bool:
    """Whether a response names a revision that its own call has made, which is on record then."""
    return not getattr(response, "already_done", True) and getattr(response, "revision", 0) > 0


def _why_nothing_changed(message: Message, response: Message) -> str:
    """Return why a command that was permitted has changed nothing; a query needs no reason."""
    if getattr(message, "dry_run", False):
        return "dry run"
    return "already done" if getattr(response, "already_done", False) else ""


def _record(
    call: Call, permit: Permit | None, outcome: AdministrationOutcome, why: Mapping[str, str]
) -> AdministrationRecord:
    principal = call.principal
    return AdministrationRecord(
        at=Instant(time.time_ns()),
        method=call.method,
        actor="" if principal is None else principal.name,
        role="" if permit is None else permit.role,
        outcome=outcome,
        traceparent=call.traceparent if parse_traceparent(call.traceparent) is not None else "",
        **{name: text[:_LONGEST] for name, text in why.items()},
    )


_LONGEST = 2_500
"""Characters of a message on record: what callers name in their calls is in it. Any id fits."""


def _look_at(answered: asyncio.Future[Message]) -> None:
    """Look at how it went, so that nobody complains that nobody did once the caller has hung up."""
    if not answered.cancelled():
        answered.exception()
