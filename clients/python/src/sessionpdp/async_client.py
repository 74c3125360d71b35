"""The asyncio client: the rules of the blocking client, and concurrent checks share one stream."""

# ruff: noqa: ASYNC109 - `timeout` becomes the deadline that the PDP is told, not only a local limit

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar, Unpack

import grpc

from sessionpdp.answers import Explanation, Permissions
from sessionpdp.calling import DEFAULT_TIMEOUT, MAX_BATCH, CallDefaults, trace_metadata
from sessionpdp.decision import Decision, Doubt
from sessionpdp.guard import AsyncGuarding
from sessionpdp.request import CheckFields, PermissionsFields, permissions_request
from sessionpdp.stream import CheckStream
from sessionpdp.transport import Endpoint, LoopChannel, PerLoop
from sessionpdp.trouble import decisions_in_order, doubt_or_mistake, late, unless_invalid
from sessionpdp.v1 import decision_pb2, decision_pb2_grpc
from sessionpdp.watching import Watching, ended, overdue

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from types import TracebackType
    from typing import Self

    from sessionpdp.calling import Deadline, TraceparentProvider
    from sessionpdp.request import Check
    from sessionpdp.transport import ChannelOptions

Request = TypeVar("Request")
Response = TypeVar("Response")


class AsyncPDP(AsyncGuarding):
    """Asks a policy decision point from asyncio; the contract is that of `PDP`.

    Safe to share between event loops and to create before any: each loop has its own connection, made
    when first used.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        credentials: grpc.ChannelCredentials | None = None,
        traceparent: TraceparentProvider | None = None,
        max_batch: int = MAX_BATCH,
        options: ChannelOptions = (),
    ) -> None:
        """Take where the PDP is and how to call it, as `PDP` does."""
        endpoint = Endpoint.of(target, credentials, options)
        self._defaults = CallDefaults(timeout, traceparent, max_batch)
        self._connections = PerLoop(lambda: _Connection(endpoint, max_batch))

    async def check(
        self,
        *,
        timeout: float | None = None,
        **fields: Unpack[CheckFields],
    ) -> Decision:
        """Ask for one decision, as `PDP.check` does.

        Checks with the client's own timeout share a stream. One that names a `timeout` or a revision to
        wait for is a call of its own, so that it neither holds up others nor leaves by their deadline.
        """
        request = self._defaults.request(**fields)
        deadline = self._defaults.deadline(timeout)
        connection = self._connections.get()
        if timeout is None and not request.at_least_revision:
            return unless_invalid(await connection.stream.ask(request, deadline))
        response = await _once(connection.stub.Check, request, deadline, request.traceparent)
        if isinstance(response, Decision):
            return response
        return unless_invalid(Decision.from_wire(response.decision))

    async def check_many(self, checks: Sequence[Check], *, timeout: float | None = None) -> list[Decision]:
        """Ask for independent decisions, returned in order, all within one deadline."""
        requests = self._defaults.requests(checks)
        deadline = self._defaults.deadline(timeout)
        decisions: list[Decision] = []
        size = self._defaults.max_batch
        for start in range(0, len(requests), size):
            decisions += await self._batch(requests[start : start + size], deadline)
        return decisions

    async def explain(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> Explanation:
        """Ask for the decision with every row of the decision table; counts no use."""
        check = self._defaults.request(**fields)
        request = decision_pb2.ExplainRequest(check=check)
        deadline = self._defaults.deadline(timeout)
        response = await _twice(self._stub.Explain, request, deadline, check.traceparent)
        if isinstance(response, Decision):
            return Explanation(response)
        return Explanation.from_wire(response)

    async def permissions(self, *, timeout: float | None = None, **fields: Unpack[PermissionsFields]) -> Permissions:
        """Ask what a session may do now; counts no use."""
        request = permissions_request(**fields)
        deadline = self._defaults.deadline(timeout)
        traceparent = self._defaults.current_traceparent()
        response = await _twice(self._stub.ListPermissions, request, deadline, traceparent)
        if isinstance(response, Decision):
            return Permissions.undecided(response)
        return Permissions.from_wire(response)

    def watch(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> AsyncGenerator[Decision]:
        """Iterate over the decision now and whenever it changes, as `PDP.watch` does.

        Stop with `contextlib.aclosing`, or by cancelling the task.
        """
        request = decision_pb2.WatchRequest(check=self._defaults.request(**fields))
        return self._watch(request, Watching(self._defaults.seconds(timeout)))

    async def aclose(self) -> None:
        """Close the running loop's connection; a later call opens a new one."""
        connection = self._connections.take()
        if connection is not None:
            await connection.close()

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        await self.aclose()

    @property
    def _stub(self) -> decision_pb2_grpc.DecisionServiceAsyncStub:
        return self._connections.get().stub

    async def _batch(self, requests: Sequence[decision_pb2.CheckRequest], deadline: Deadline) -> list[Decision]:
        batch = decision_pb2.CheckBatchRequest(checks=requests)
        traceparent = self._defaults.current_traceparent()
        response = await _once(self._stub.CheckBatch, batch, deadline, traceparent)
        if isinstance(response, Decision):
            return [response] * len(requests)
        return decisions_in_order(response.decisions, len(requests))

    async def _watch(self, request: decision_pb2.WatchRequest, watching: Watching) -> AsyncGenerator[Decision]:
        while True:
            metadata = trace_metadata(request.check.traceparent)
            call = self._stub.Watch(request, metadata=metadata)
            watching.connecting()
            try:
                while not isinstance(answer := await _next_answer(call, watching), Decision):
                    yield watching.heard(answer.decision)
            finally:
                call.cancel()
            news = watching.lost(answer)
            if news is not None:
                yield news
            await asyncio.sleep(watching.pause())


class _Connection:
    """What one event loop has of the PDP; closes itself when the loop ends."""

    def __init__(self, endpoint: Endpoint, max_batch: int) -> None:
        self._channel = LoopChannel(endpoint, self._end_stream)
        self.stub: decision_pb2_grpc.DecisionServiceAsyncStub = decision_pb2_grpc.DecisionServiceStub(
            self._channel.channel
        )
        self.stream = CheckStream(self.stub.CheckStream, max_batch)

    async def close(self) -> None:
        await self._channel.close()

    def _end_stream(self) -> None:
        self.stream.close(Decision.undecided(Doubt.PDP_UNREACHABLE, "the client was closed"))


async def _once(
    call: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    deadline: Deadline,
    traceparent: str,
) -> Response | Decision:
    """Call within the deadline; return the response, or the deny that stands for its absence."""
    remaining = deadline.remaining()
    if remaining <= 0:
        return late()
    try:
        response = await call(request, timeout=remaining, metadata=trace_metadata(traceparent))
    except grpc.RpcError as error:
        return doubt_or_mistake(error)
    return late() if deadline.passed() else response


async def _twice(
    call: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    deadline: Deadline,
    traceparent: str,
) -> Response | Decision:
    """Call as `_once` does, and again if the connection broke: for questions that count no use."""
    response = await _once(call, request, deadline, traceparent)
    if isinstance(response, Decision) and response.code == Doubt.PDP_UNREACHABLE:
        return await _once(call, request, deadline, traceparent)
    return response


async def _next_answer(
    call: grpc.aio.UnaryStreamCall[decision_pb2.WatchRequest, decision_pb2.WatchResponse],
    watching: Watching,
) -> decision_pb2.WatchResponse | Decision:
    """Return the next answer, or the deny that stands for its absence."""
    try:
        async with asyncio.timeout(watching.patience()):
            answer = await call.read()
    except TimeoutError:
        return overdue()
    except grpc.RpcError as error:
        return doubt_or_mistake(error)
    return answer if isinstance(answer, decision_pb2.WatchResponse) else ended()
