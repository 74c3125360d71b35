"""GovernanceService, free of any transport: a message and a call in, a message out."""

from __future__ import annotations

import asyncio

from sessionpdp.v1 import facts_pb2
from sessionpdp.v1 import governance_pb2 as pb

from pdp.core.lawful import fault_of_text, faults_of
from pdp.core.lawful_request import Fault
from pdp.core.model import KIND_OF, AnyFact, Change, Drop, FactKind, Put, RevocationTarget
from pdp.doors import errors
from pdp.doors.call import Call
from pdp.doors.facts_wire import fact_of, message_of
from pdp.doors.wire import instant_of
from pdp.evidence.trouble import EvidenceError
from pdp.governance.commands import Plan, Refusal, close_session, complete_task, revived, revoke
from pdp.governance.desk import Author, Desk, NotInForceError
from pdp.state import store

_PAGE = 1000
_SLICE = 10
"""Facts converted before checks get their turn."""
_MOST_NAMED = 10
"""Facts that one refusal names."""
_WAIT_S = 10.0
"""Longest wait of a call without a deadline."""


class GovernanceHandlers:
    """The methods of GovernanceService."""

    def __init__(self, desk: Desk, most_facts: int) -> None:
        self._desk = desk
        self._most_facts = most_facts

    async def apply_facts(self, message: pb.ApplyFactsRequest, call: Call) -> pb.ApplyFactsResponse:
        """Write all facts or none."""
        count = len(message.facts) + len(message.removals)
        if not 0 < count <= self._most_facts:
            fault = Fault("facts", f"has {count} facts with `removals`, between 1 and {self._most_facts} are taken")
            raise errors.InvalidRequestError([fault])
        _refuse_unlawful_reason(message.reason)
        plan = Plan(await _changes(message), {})
        self._refuse_revivals(plan)
        if message.dry_run:
            return pb.ApplyFactsResponse()
        return pb.ApplyFactsResponse(revision=await self._commit(plan, message.reason, call))

    def _refuse_revivals(self, plan: Plan) -> None:
        """Raise PreconditionError that names every fact which has ended and would be written as if it had not."""
        written = [change.fact for change in plan.changes if isinstance(change, Put)]
        refusals = [revived(fact, self._desk.known(KIND_OF[type(fact)], fact.id)) for fact in written]
        found = [refusal for refusal in refusals if refusal]
        if found:
            more = f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
            raise errors.PreconditionError("; ".join(found[:_MOST_NAMED]) + more)

    async def revoke(self, message: pb.RevokeRequest, call: Call) -> pb.RevokeResponse:
        """Revoke a target; the very next check obeys it."""
        plan = self._revocation(message)
        revision = await self._commit(plan, message.reason, call)
        return pb.RevokeResponse(revision=revision, revocation_id=next(iter(plan.expected))[1])

    async def complete_task(self, message: pb.CompleteTaskRequest, call: Call) -> pb.CompleteTaskResponse:
        """End a task."""
        _refuse_unlawful_reason(message.reason)
        task = await self._read(FactKind.TASK, message.task_id)
        plan = _permitted(complete_task(task, message.task_id))
        return pb.CompleteTaskResponse(revision=await self._commit(plan, message.reason, call))

    async def close_session(self, message: pb.CloseSessionRequest, call: Call) -> pb.CloseSessionResponse:
        """Close a session."""
        _refuse_unlawful_reason(message.reason)
        session = await self._read(FactKind.SESSION, message.session_id)
        plan = _permitted(close_session(session, message.session_id))
        return pb.CloseSessionResponse(revision=await self._commit(plan, message.reason, call))

    async def get_fact(self, message: pb.GetFactRequest, _: Call) -> pb.GetFactResponse:
        """Read one fact."""
        faults: list[Fault] = []
        kind = _kind(message.kind, faults)
        if kind is None:
            raise errors.InvalidRequestError(faults or [Fault("kind", "is required")])
        fact = await self._read(kind, message.id)
        if fact is None:
            text = f"{kind} `{message.id}` is not known"
            raise errors.NotFoundError(text)
        return pb.GetFactResponse(fact=message_of(fact))

    async def list_facts(self, message: pb.ListFactsRequest, _: Call) -> pb.ListFactsResponse:
        """Read facts page by page."""
        faults: list[Fault] = []
        kind = _kind(message.kind, faults)
        if faults:
            raise errors.InvalidRequestError(faults)
        size = min(message.page_size or _PAGE, _PAGE)
        revision = self._desk.revision
        try:
            page = await self._desk.page(kind, message.page_token, size)
        except ValueError as error:
            raise errors.InvalidRequestError([Fault("page_token", str(error))]) from error
        except store.StoreError as error:
            raise errors.UnavailableError(str(error)) from error
        facts = [message_of(fact) for fact in page.facts]
        return pb.ListFactsResponse(facts=facts, next_page_token=page.next_token, revision=revision)

    async def _read(self, kind: FactKind, id_: str) -> AnyFact | None:
        try:
            return await self._desk.read(kind, id_)
        except store.StoreError as error:
            raise errors.UnavailableError(str(error)) from error

    def _revocation(self, message: pb.RevokeRequest) -> Plan:
        faults: list[Fault] = []
        target = _target(message.target, faults)
        instants = [
            instant_of(getattr(message, name), name, faults) if message.HasField(name) else None
            for name in ("effective_at", "expires_at")
        ]
        plan = revoke(
            self._desk.new_id(),
            target or RevocationTarget.SESSION,
            message.target_id,
            message.reason,
            self._desk.now(),
            effective_at=instants[0],
            expires_at=instants[1],
            source=message.source,
        )
        at_fault = {fault.field for fault in faults}
        unlawful = [fault for change in plan.changes if isinstance(change, Put) for fault in faults_of(change.fact)]
        faults += [Fault(*fault) for fault in unlawful if fault[0] not in at_fault]
        if faults:
            raise errors.InvalidRequestError(faults)
        return plan

    async def _commit(self, plan: Plan, reason: str, call: Call) -> int:
        """Commit as one step that a caller who hangs up cannot interrupt halfway."""
        author = Author(call.caller_id or "local", reason, call.method, call.traceparent)
        timeout_s = _WAIT_S if call.deadline is None else call.deadline - asyncio.get_running_loop().time()
        committing = asyncio.ensure_future(self._desk.commit(plan, author, max(timeout_s, 0.0)))
        try:
            return await asyncio.shield(committing)
        except store.ConflictError as error:
            raise errors.ConflictError(str(error)) from error
        except store.CommitRefusedError as error:
            raise errors.PreconditionError(str(error)) from error
        except (store.StoreError, NotInForceError) as error:
            raise errors.UnavailableError(str(error)) from error
        except EvidenceError as error:
            text = f"the change is in force, but its evidence is not on disk: {error}"
            raise errors.UnavailableError(text) from error


async def _changes(message: pb.ApplyFactsRequest) -> tuple[Change, ...]:
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
        kind = _kind(removal.kind, faults)
        fault = fault_of_text(removal.id)
        if fault:
            faults.append(Fault(f"{path}.id", fault))
        elif kind is None:
            faults.append(Fault(f"{path}.kind", "is required"))
        else:
            _name(named, Drop(kind, removal.id), (kind, removal.id), path, faults)
    if faults:
        raise errors.InvalidRequestError(faults)
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


def _refuse_unlawful_reason(reason: str) -> None:
    fault = fault_of_text(reason, required=False, prose=True)
    if fault:
        raise errors.InvalidRequestError([Fault("reason", fault)])


def _permitted(outcome: Plan | Refusal) -> Plan:
    if isinstance(outcome, Plan):
        return outcome
    raise errors.NotFoundError(outcome.message) if outcome.unknown else errors.PreconditionError(outcome.message)


def _kind(number: int, faults: list[Fault]) -> FactKind | None:
    name = facts_pb2.FactKind.DESCRIPTOR.values_by_number.get(number)
    if name is None:
        faults.append(Fault("kind", f"has the unknown value {number}"))
        return None
    return None if number == facts_pb2.FACT_KIND_UNSPECIFIED else FactKind(name.name.removeprefix("FACT_KIND_").lower())


def _target(number: int, faults: list[Fault]) -> RevocationTarget | None:
    name = facts_pb2.RevocationTarget.DESCRIPTOR.values_by_number.get(number)
    if name is None or number == facts_pb2.REVOCATION_TARGET_UNSPECIFIED:
        faults.append(Fault("target", "is required" if name is not None else f"has the unknown value {number}"))
        return None
    return RevocationTarget(name.name.removeprefix("REVOCATION_TARGET_").lower())
