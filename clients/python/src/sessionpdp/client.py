"""The blocking client.

Rule 1: every call has a deadline, and no allow is returned after it.
Rule 2: a check is sent at most once, because the PDP may count it as a use. Questions that count no use
are asked a second time if the connection breaks.
Rule 3: nothing is remembered between calls.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, Unpack

import grpc

from sessionpdp.answers import Explanation, Permissions
from sessionpdp.calling import DEFAULT_TIMEOUT, MAX_BATCH, CallDefaults, trace_metadata
from sessionpdp.decision import Decision, Doubt
from sessionpdp.guard import Guarding
from sessionpdp.request import CheckFields, PermissionsFields, permissions_request
from sessionpdp.transport import Endpoint, PerProcess
from sessionpdp.trouble import decisions_in_order, doubt_or_mistake, late, unless_invalid
from sessionpdp.v1 import decision_pb2, decision_pb2_grpc
from sessionpdp.watching import Watching, ended, overdue

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from sessionpdp.calling import Deadline, TraceparentProvider
    from sessionpdp.request import Check
    from sessionpdp.transport import ChannelOptions

Request = TypeVar("Request")
Response = TypeVar("Response")


class PDP(Guarding):
    """Asks a policy decision point, and waits for the answer.

    Safe to share between threads and to create before a fork; connects when first used. Trouble on the
    way is a deny with `decided` False and one of the codes of `Doubt`. A mistake in the question raises
    `InvalidCheck`.
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
        """Take where the PDP is and how to call it.

        `target`: gRPC name; None: `$SESSIONPDP_TARGET`, else `unix:///run/sessionpdp/pdp.sock`.
        `timeout`: seconds for calls that give none. `credentials`: for (m)TLS. `traceparent`: returns the
        current trace parent; None: that of OpenTelemetry, if the application has loaded it.
        `max_batch`: checks per message. `options`: gRPC channel options that override this client's.
        """
        endpoint = Endpoint.of(target, credentials, options)
        self._defaults = CallDefaults(timeout, traceparent, max_batch)
        self._connections = PerProcess(lambda: _Connection(endpoint), _Connection.close)

    def check(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> Decision:
        """Ask for one decision; the fields are those of `Check`.

        Never raises for a deny or for trouble on the way. Raises `InvalidCheck` for a bad field.
        """
        request = self._defaults.request(**fields)
        deadline = self._defaults.deadline(timeout)
        response = _once(self._stub.Check, request, deadline, request.traceparent)
        if isinstance(response, Decision):
            return response
        return unless_invalid(Decision.from_wire(response.decision))

    def check_many(self, checks: Sequence[Check], *, timeout: float | None = None) -> list[Decision]:
        """Ask for independent decisions, returned in order, all within one deadline."""
        requests = self._defaults.requests(checks)
        deadline = self._defaults.deadline(timeout)
        decisions: list[Decision] = []
        size = self._defaults.max_batch
        for start in range(0, len(requests), size):
            decisions += self._batch(requests[start : start + size], deadline)
        return decisions

    def explain(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> Explanation:
        """Ask for the decision with every row of the decision table; counts no use."""
        check = self._defaults.request(**fields)
        request = decision_pb2.ExplainRequest(check=check)
        deadline = self._defaults.deadline(timeout)
        response = _twice(self._stub.Explain, request, deadline, check.traceparent)
        if isinstance(response, Decision):
            return Explanation(response)
        return Explanation.from_wire(response)

    def permissions(self, *, timeout: float | None = None, **fields: Unpack[PermissionsFields]) -> Permissions:
        """Ask what a session may do now; counts no use."""
        request = permissions_request(**fields)
        deadline = self._defaults.deadline(timeout)
        traceparent = self._defaults.current_traceparent()
        response = _twice(self._stub.ListPermissions, request, deadline, traceparent)
        if isinstance(response, Decision):
            return Permissions.undecided(response)
        return Permissions.from_wire(response)

    def watch(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> Iterator[Decision]:
        """Iterate over the decision now and whenever it changes, without end; counts no use.

        When the connection is lost, or the PDP is silent for `timeout` seconds when an answer is due, the
        next value is a deny with a code of `Doubt`; the iterator reconnects by itself. Close it, or let
        go of it, to stop.
        """
        request = decision_pb2.WatchRequest(check=self._defaults.request(**fields))
        return self._watch(request, Watching(self._defaults.seconds(timeout)))

    def close(self) -> None:
        """Close this process's connection; a later call opens a new one."""
        self._connections.close()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    @property
    def _stub(self) -> decision_pb2_grpc.DecisionServiceStub:
        return self._connections.get().stub

    def _batch(self, requests: Sequence[decision_pb2.CheckRequest], deadline: Deadline) -> list[Decision]:
        batch = decision_pb2.CheckBatchRequest(checks=requests)
        traceparent = self._defaults.current_traceparent()
        response = _once(self._stub.CheckBatch, batch, deadline, traceparent)
        if isinstance(response, Decision):
            return [response] * len(requests)
        return decisions_in_order(response.decisions, len(requests))

    def _watch(self, request: decision_pb2.WatchRequest, watching: Watching) -> Iterator[Decision]:
        while True:
            doubt = yield from self._watch_once(request, watching)
            news = watching.lost(doubt)
            if news is not None:
                yield news
            time.sleep(watching.pause())

    def _watch_once(
        self, request: decision_pb2.WatchRequest, watching: Watching
    ) -> Generator[Decision, None, Decision]:
        """Yield what one connection tells; return why it ended."""
        watching.connecting()
        metadata = trace_metadata(request.check.traceparent)
        call = self._stub.Watch(request, metadata=metadata)
        silent = threading.Event()
        try:
            while True:
                with _cancelled_after(call, watching.patience(), silent):
                    response = next(call, None)
                if response is None:
                    return ended()
                yield watching.heard(response.decision)
        except grpc.RpcError as error:
            return overdue() if silent.is_set() else doubt_or_mistake(error)
        finally:
            call.cancel()


class _Connection:
    def __init__(self, endpoint: Endpoint) -> None:
        self._channel = endpoint.channel()
        self.stub = decision_pb2_grpc.DecisionServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()


def _once(
    call: grpc.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    deadline: Deadline,
    traceparent: str,
) -> Response | Decision:
    """Call within the deadline; return the response, or the deny that stands for its absence."""
    remaining = deadline.remaining()
    if remaining <= 0:
        return late()
    try:
        response = call(request, timeout=remaining, metadata=trace_metadata(traceparent))
    except grpc.RpcError as error:
        return doubt_or_mistake(error)
    return late() if deadline.passed() else response


def _twice(
    call: grpc.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    deadline: Deadline,
    traceparent: str,
) -> Response | Decision:
    """Call as `_once` does, and again if the connection broke: for questions that count no use."""
    response = _once(call, request, deadline, traceparent)
    if isinstance(response, Decision) and response.code == Doubt.PDP_UNREACHABLE:
        return _once(call, request, deadline, traceparent)
    return response


@contextmanager
def _cancelled_after(
    call: grpc.RpcContext,
    seconds: float | None,
    silent: threading.Event,
) -> Iterator[None]:
    """Cancel the call, and set `silent`, if the block takes longer."""
    if seconds is None:
        yield
        return

    def cancel() -> None:
        silent.set()
        call.cancel()

    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), cancel)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
