"""A scriptable decision service on a real socket, and both clients behind one face."""

# ruff: noqa: N802, D102 - gRPC names the methods of services; the rest say what they do

from __future__ import annotations

import asyncio
import tempfile
import threading
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Self

import grpc
import pytest
from sessionpdp import PDP, AsyncPDP
from sessionpdp.v1 import decision_pb2, decision_pb2_grpc, reasons_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Unpack

    from sessionpdp import Check, Decision, Explanation, Permissions
    from sessionpdp.request import CheckFields, PermissionsFields

LONG_ENOUGH = 10.0
"""Seconds after which a test that waits for something is wrong."""


def granted() -> decision_pb2.Decision:
    """Return an allow."""
    reason = decision_pb2.Reason(code=reasons_pb2.REASON_CODE_GRANTED, message="session `s-1` grants it")
    return decision_pb2.Decision(outcome=decision_pb2.OUTCOME_ALLOW, reasons=[reason], decision_id="d-1")


def denied(code: str) -> decision_pb2.Decision:
    """Return a deny."""
    number = reasons_pb2.ReasonCode.Value(f"REASON_CODE_{code}")
    reason = decision_pb2.Reason(code=number, message="by the script", subject_of_reason="session:s-1")
    return decision_pb2.Decision(outcome=decision_pb2.OUTCOME_DENY, reasons=[reason], decision_id="d-2")


class ScriptedServer(decision_pb2_grpc.DecisionServiceServicer):
    """A decision service that answers what the test says and remembers what it was asked."""

    def __init__(self, path: Path) -> None:
        self.target = f"unix:{path}"
        self.answer: Callable[[decision_pb2.CheckRequest], decision_pb2.Decision] = lambda _: granted()
        self.failure: tuple[grpc.StatusCode, str] | None = None
        self.failures_left = 0
        self.answers_per_batch: Callable[[int], int] = lambda asked: asked
        self.rows: list[decision_pb2.ExplainedCheck] = []
        self.permissions = decision_pb2.ListPermissionsResponse()
        self.calls: list[str] = []
        self.checks: list[decision_pb2.CheckRequest] = []
        self.batches: list[int] = []
        self.batch_timeouts: list[float] = []
        self.deadlines: list[float | None] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.changed = threading.Event()
        self._gate = threading.Event()
        self._gate.set()
        self._stopping = False
        self._server: grpc.Server | None = None

    def start(self) -> Self:
        self._gate.set()
        self._stopping = False
        self._server = grpc.server(futures.ThreadPoolExecutor(32))
        decision_pb2_grpc.add_DecisionServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.target)
        self._server.start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._stopping = True
            stopped = self._server.stop(0)
            self._gate.set()
            self.changed.set()
            stopped.wait(LONG_ENOUGH)
            self._server = None

    def fail(self, status: grpc.StatusCode, details: str = "by the script", times: int = -1) -> None:
        """Fail calls from now on, or that many."""
        self.failure, self.failures_left = (status, details), times

    def hold(self) -> None:
        """Take requests and answer none until `release`."""
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    def allow(self) -> None:
        """Allow everything again."""
        self.tell(granted())

    def deny(self, code: str) -> None:
        """Deny everything."""
        self.tell(denied(code))

    def allow_only(self, resource_id: str) -> None:
        """Allow one resource, deny any other."""
        self.answer = lambda check: granted() if check.resource.id == resource_id else denied("TASK_ENDED")

    def tell(self, answer: decision_pb2.Decision) -> None:
        """Give that answer from now on, also to watchers."""
        self.answer = lambda _: answer
        self.changed.set()

    def Check(self, request: decision_pb2.CheckRequest, context: grpc.ServicerContext) -> decision_pb2.CheckResponse:
        self._enter("Check", context)
        return decision_pb2.CheckResponse(decision=self._decide(request))

    def CheckBatch(
        self, request: decision_pb2.CheckBatchRequest, context: grpc.ServicerContext
    ) -> decision_pb2.CheckBatchResponse:
        self._enter("CheckBatch", context)
        return decision_pb2.CheckBatchResponse(decisions=self._decide_all(request.checks))

    def CheckStream(
        self, request_iterator: Iterator[decision_pb2.CheckStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[decision_pb2.CheckStreamResponse]:
        self._enter("CheckStream", context)
        for message in request_iterator:
            self.batch_timeouts.append(message.timeout.ToMicroseconds() / 1e6)
            decisions = self._decide_all(message.checks)
            self._fail_if_told(context)
            yield decision_pb2.CheckStreamResponse(correlation_id=message.correlation_id, decisions=decisions)

    def Explain(
        self, request: decision_pb2.ExplainRequest, context: grpc.ServicerContext
    ) -> decision_pb2.ExplainResponse:
        self._enter("Explain", context)
        return decision_pb2.ExplainResponse(decision=self._decide(request.check), checks=self.rows)

    def Watch(
        self, request: decision_pb2.WatchRequest, context: grpc.ServicerContext
    ) -> Iterator[decision_pb2.WatchResponse]:
        self._enter("Watch", context)
        while context.is_active() and not self._stopping:
            yield decision_pb2.WatchResponse(decision=self._decide(request.check))
            self.changed.wait(LONG_ENOUGH)
            self.changed.clear()
            self._fail_if_told(context)

    def ListPermissions(
        self, request: decision_pb2.ListPermissionsRequest, context: grpc.ServicerContext
    ) -> decision_pb2.ListPermissionsResponse:
        del request
        self._enter("ListPermissions", context)
        self._gate.wait(LONG_ENOUGH)
        return self.permissions

    def _enter(self, call: str, context: grpc.ServicerContext) -> None:
        self.calls.append(call)
        self.deadlines.append(context.time_remaining())
        self.metadata.append(dict(context.invocation_metadata()))
        if call != "CheckStream":
            self._fail_if_told(context)

    def _fail_if_told(self, context: grpc.ServicerContext) -> None:
        if self.failure is not None and self.failures_left != 0:
            self.failures_left -= 1
            context.abort(*self.failure)

    def _decide(self, check: decision_pb2.CheckRequest) -> decision_pb2.Decision:
        self.checks.append(check)
        self._gate.wait(LONG_ENOUGH)
        return self.answer(check)

    def _decide_all(self, checks: Sequence[decision_pb2.CheckRequest]) -> list[decision_pb2.Decision]:
        self.batches.append(len(checks))
        return [self._decide(check) for check in checks][: self.answers_per_batch(len(checks))]


class BlockingAsyncPDP:
    """An `AsyncPDP` with the face of `PDP`, so that one suite holds both to one contract."""

    def __init__(self, pdp: AsyncPDP) -> None:
        self._pdp = pdp
        self._runner = asyncio.Runner()

    def check(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> Decision:
        return self._runner.run(self._pdp.check(timeout=timeout, **fields))

    def check_many(self, checks: Sequence[Check], *, timeout: float | None = None) -> list[Decision]:
        return self._runner.run(self._pdp.check_many(checks, timeout=timeout))

    def explain(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> Explanation:
        return self._runner.run(self._pdp.explain(timeout=timeout, **fields))

    def permissions(self, *, timeout: float | None = None, **fields: Unpack[PermissionsFields]) -> Permissions:
        return self._runner.run(self._pdp.permissions(timeout=timeout, **fields))

    def watch(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> Iterator[Decision]:
        decisions = self._pdp.watch(timeout=timeout, **fields)

        async def following() -> Decision:
            return await anext(decisions)

        try:
            while True:
                yield self._runner.run(following())
        finally:
            self._runner.run(decisions.aclose())

    def close(self) -> None:
        self._runner.run(self._pdp.aclose())
        self._runner.close()


@pytest.fixture
def socket() -> Iterator[Path]:
    """Return a path short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="pdp") as folder:
        yield Path(folder) / "s"


@pytest.fixture
def server(socket: Path) -> Iterator[ScriptedServer]:
    """Return a running decision service that allows everything."""
    scripted = ScriptedServer(socket).start()
    yield scripted
    scripted.stop()


@pytest.fixture(params=["PDP", "AsyncPDP", "AsyncPDP alone"])
def pdp(request: pytest.FixtureRequest, server: ScriptedServer) -> Iterator[PDP | BlockingAsyncPDP]:
    """Return each client in turn; the last sends every check as a call of its own."""
    client: PDP | BlockingAsyncPDP
    if request.param == "PDP":
        client = PDP(server.target, timeout=LONG_ENOUGH)
    else:
        client = BlockingAsyncPDP(AsyncPDP(server.target, timeout=LONG_ENOUGH))
    if request.param == "AsyncPDP alone":
        coalesced = client.check
        client.check = lambda *, timeout=LONG_ENOUGH, **fields: coalesced(timeout=timeout, **fields)  # type: ignore[method-assign]
    yield client
    client.close()
