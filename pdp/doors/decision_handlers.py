"""DecisionService, free of any transport: a message and a call in, a message out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeAlias

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from msgspec import Struct
from msgspec.structs import replace
from sessionpdp.v1 import decision_pb2 as pb

from pdp.core.lawful_request import Fault
from pdp.core.model import Request
from pdp.doors.call import Call
from pdp.doors.decision_point import Answer, DecisionPoint, Pending
from pdp.doors.errors import InvalidRequestError
from pdp.doors.watching import WatchHub
from pdp.doors.wire import (
    duration_of,
    explained_messages,
    fill_decision,
    permissions_message,
    request_about_session,
    request_of,
)

_SLICE = 64
"""Items of a batch decided before others get their turn: about a millisecond."""


Decisions: TypeAlias = RepeatedCompositeFieldContainer[pb.Decision]


class BatchBounds(Struct, frozen=True):
    """How large a batch may be."""

    items: int = 1000


class DecisionHandlers:
    """The methods of DecisionService."""

    def __init__(self, point: DecisionPoint, watches: WatchHub, bounds: BatchBounds | None = None) -> None:
        self._point = point
        self._watches = watches
        self._most_items = (bounds or BatchBounds()).items

    async def check(self, message: pb.CheckRequest, call: Call) -> pb.CheckResponse:
        """Decide one request."""
        request = request_of(message, call.caller)
        response = pb.CheckResponse()
        begun = await self._point.begun(request, call, message.traceparent)
        if isinstance(begun, Answer):
            _fill(response.decision, begun)
        else:
            await self._settle([(response.decision, begun)])
        return response

    async def check_batch(self, message: pb.CheckBatchRequest, call: Call) -> pb.CheckBatchResponse:
        """Decide each item for itself, in order."""
        response = pb.CheckBatchResponse()
        await self._decide_all(message.checks, call, response.decisions)
        return response

    async def check_stream(self, message: pb.CheckStreamRequest, call: Call) -> pb.CheckStreamResponse:
        """Decide one batch of a stream."""
        if message.HasField("timeout"):
            call = _with_timeout(call, message)
        response = pb.CheckStreamResponse(correlation_id=message.correlation_id)
        await self._decide_all(message.checks, call, response.decisions)
        if call.deadline is not None and asyncio.get_running_loop().time() >= call.deadline:
            self._withhold(response.decisions)
        return response

    async def explain(self, message: pb.ExplainRequest, call: Call) -> pb.ExplainResponse:
        """Decide one request and show every row of the table."""
        answer, rows = await self._point.explain(request_of(message.check, call.caller), _traced(call, message.check))
        response = pb.ExplainResponse(checks=explained_messages(rows))
        _fill(response.decision, answer)
        return response

    async def watch(self, message: pb.WatchRequest, call: Call) -> AsyncIterator[pb.WatchResponse]:
        """Yield the decision now and at each change."""
        request = request_of(message.check, call.caller)
        async for answer in self._watches.watch(request, _traced(call, message.check)):
            response = pb.WatchResponse()
            _fill(response.decision, answer)
            yield response

    async def list_permissions(self, message: pb.ListPermissionsRequest, call: Call) -> pb.ListPermissionsResponse:
        """List what a session may do now."""
        request = request_about_session(message, call.caller)
        return permissions_message(await self._point.permissions(request, call))

    async def _decide_all(self, checks: Sequence[pb.CheckRequest], call: Call, decisions: Decisions) -> None:
        """Decide each item for itself, and add its decision; those that must wait do so together."""
        if len(checks) > self._most_items:
            fault = Fault("checks", f"has {len(checks)} items, at most {self._most_items} are taken")
            raise InvalidRequestError([fault])
        named: set[str] = set()
        pending: list[tuple[pb.Decision, Pending]] = []
        waiting: list[tuple[pb.Decision, asyncio.Task[Answer]]] = []
        for position, check in enumerate(checks):
            if position % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            answer = self._decide_one(check, call, named)
            if isinstance(answer, Answer):
                _fill(decisions.add(), answer)
            elif isinstance(answer, Pending):
                pending.append((decisions.add(), answer))
            else:
                waiting.append((decisions.add(), answer))
        if pending:
            await self._settle(pending)
        for message, task in waiting:
            _fill(message, await task)

    async def _settle(self, pending: Sequence[tuple[pb.Decision, Pending]]) -> None:
        """Put answers down while their records are on the way to the disk, and return once they may leave.

        Those whose records do not get there are denials by then.
        """
        await asyncio.sleep(0)  # the records leave first
        for message, one in pending:
            _fill(message, one.answer)
        settled = await self._point.settle([one for _, one in pending])
        for (message, one), answer in zip(pending, settled, strict=True):
            if answer is not one.answer:
                message.Clear()
                _fill(message, answer)

    def _decide_one(
        self, check: pb.CheckRequest, call: Call, named: set[str]
    ) -> Answer | Pending | asyncio.Task[Answer]:
        try:
            request = _item(check, call, named)
        except InvalidRequestError as error:
            return self._point.invalid(error.message)
        return self._point.begin(request, call, check.traceparent) or self._start(request, call, check.traceparent)

    def _withhold(self, decisions: Decisions) -> None:
        """Deny a batch that is late: its allows must not leave any more, and the stream's other batches go on."""
        for decision in decisions:
            decision.Clear()
            _fill(decision, self._point.late())

    def _start(self, request: Request, call: Call, traceparent: str) -> asyncio.Task[Answer]:
        """Decide beside the other items, which need not wait for what this one waits for."""
        return asyncio.get_running_loop().create_task(self._point.check(request, call, traceparent))


def _item(check: pb.CheckRequest, call: Call, named: set[str]) -> Request:
    """Return the request of one item; raise InvalidRequestError, also for a request id used before in the batch."""
    request = request_of(check, call.caller)
    if request.request_id:
        if request.request_id in named:
            raise InvalidRequestError([Fault("request_id", f"`{request.request_id}` names an earlier item")])
        named.add(request.request_id)
    return request


def _fill(message: pb.Decision, answer: Answer) -> None:
    fill_decision(message, answer.decision, answer.decision_id, answer.trace.trace_id)


def _traced(call: Call, check: pb.CheckRequest) -> Call:
    return replace(call, traceparent=check.traceparent) if check.traceparent else call


def _with_timeout(call: Call, message: pb.CheckStreamRequest) -> Call:
    faults: list[Fault] = []
    timeout = duration_of(message.timeout, "timeout", faults)
    if faults:
        raise InvalidRequestError(faults)
    deadline = asyncio.get_running_loop().time() + timeout / 1e9
    return replace(call, deadline=deadline if call.deadline is None else min(call.deadline, deadline))
