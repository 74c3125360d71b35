"""The gRPC door: a thin adapter from `grpc.aio` to the handlers.

Messages are decoded here, not by gRPC, so that a malformed one is INVALID_ARGUMENT that names the field instead of
an internal error. Every error leaves with `ErrorInfo`; see `errors`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple, NoReturn, Protocol, TypeAlias, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from grpc_status import rpc_status

from pdp.doors.answering import Answering
from pdp.doors.call import Call, Metadata, Peer
from pdp.doors.errors import DoorError, InvalidRequestError, LateError, OverloadedError, UnavailableError, status_of
from pdp.doors.malformed import fault_in

log = structlog.get_logger()

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
_Request = TypeVar("_Request", bound=Message)

UnaryHandler: TypeAlias = Callable[[_Request, Call], Awaitable[Message]]
StreamHandler: TypeAlias = Callable[[_Request, Call], AsyncIterator[Message]]


class Unary(NamedTuple):
    """A method with one message in and one out."""

    name: str
    request: type[Message]
    handle: UnaryHandler  # type: ignore[type-arg]  # each method has its own request type


class ServerStream(NamedTuple):
    """A method with one message in and a stream out."""

    name: str
    request: type[Message]
    handle: StreamHandler  # type: ignore[type-arg]  # each method has its own request type


class Exchange(NamedTuple):
    """A bidirectional method: each message in is answered by one out; one that waits is overtaken by later ones."""

    name: str
    request: type[Message]
    handle: UnaryHandler  # type: ignore[type-arg]  # each method has its own request type


Method: TypeAlias = Unary | ServerStream | Exchange


class Admits(Protocol):
    """Says who calls."""

    def call(self, method: str, deadline: float | None, traceparent: str, peer: Peer, metadata: Metadata) -> Call:
        """Return the call with whoever is behind it; raise UnauthenticatedError where nobody unknown may go on."""


class Admission:
    """How many calls may be under way, so that overload is refused instead of queued."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.under_way = 0

    def __enter__(self) -> None:
        if self.under_way >= self._most:
            message = f"{self._most} calls are under way already"
            raise OverloadedError(message)
        self.under_way += 1

    def __exit__(self, *_: object) -> None:
        self.under_way -= 1


class GrpcDoor:
    """Makes the gRPC handlers of services, and lets long-lived streams go when the server stops."""

    def __init__(self, admits: Admits, most_calls: int) -> None:
        """`admits` says who calls; `most_calls`: how many calls of one service may be under way at once."""
        self._admits = admits
        self._most_calls = most_calls
        self._open: set[Answering] = set()
        self._closing = False

    def service(self, name: str, methods: Sequence[Method]) -> grpc.GenericRpcHandler:
        """Return the handler of one service.

        Each has a bound of its own on calls: a flood of checks must keep neither health probes nor revocations out.
        Streams and watches share the one bound of their listener (`listening`).
        """
        admission = Admission(self._most_calls)
        handlers = {method.name: self._handler(method, admission) for method in methods}
        return grpc.method_handlers_generic_handler(name, handlers)

    def close(self) -> None:
        """Take no further message of any stream; each ends once those it has taken are answered."""
        self._closing = True
        for answering in tuple(self._open):
            answering.stop()

    def _handler(self, method: Method, admission: Admission) -> grpc.RpcMethodHandler[bytes, bytes]:
        match method:
            case Unary():
                return grpc.unary_unary_rpc_method_handler(self._unary(method, admission))
            case ServerStream():
                return grpc.unary_stream_rpc_method_handler(self._server_stream(method))
            case Exchange():
                return grpc.stream_stream_rpc_method_handler(self._exchange(method))

    def _unary(self, method: Unary, admission: Admission) -> Callable[[bytes, Context], Awaitable[bytes]]:
        decode, handle, name = method.request.FromString, method.handle, method.name

        async def unary(data: bytes, context: Context) -> bytes:
            try:
                with admission:
                    call = self._call(name, context)
                    response = await handle(decoded(decode, data, method.request), call)
                    _refuse_if_late(call)
                    return response.SerializeToString()
            except Exception as error:  # noqa: BLE001  # the boundary: every error becomes a status
                status = _status(error)
            # gRPC keeps an abort, with its traceback and its context, in a cycle until the collector comes by: outside
            # of the handler and without the data it keeps no message alive.
            data = b""
            return await _abort(context, status)

        return unary

    def _server_stream(self, method: ServerStream) -> Callable[[bytes, Context], AsyncIterator[bytes]]:
        async def server_stream(data: bytes, context: Context) -> AsyncIterator[bytes]:
            status = None
            try:
                call = self._call(method.name, context)
                async for response in method.handle(decoded(method.request.FromString, data, method.request), call):
                    yield response.SerializeToString()
                if self._closing:
                    status = _status(UnavailableError("the sidecar is stopping"))
            except Exception as error:  # noqa: BLE001  # the boundary: every error becomes a status
                status = _status(error)
            data = b""
            if status is not None:
                await _abort(context, status)

        return server_stream

    def _exchange(self, method: Exchange) -> Callable[[Context, Context], Awaitable[None]]:
        async def exchange(_: Context, context: Context) -> None:
            try:
                await self._answer_all(method, context)
            except Exception as error:  # noqa: BLE001  # the boundary: every error becomes a status
                status = _status(error)
            else:
                return
            await _abort(context, status)

        return exchange

    async def _answer_all(self, method: Exchange, context: Context) -> None:
        call, handle = self._call(method.name, context), method.handle
        decode, kind = method.request.FromString, method.request

        async def answer(data: bytes) -> bytes:
            return (await handle(decoded(decode, data, kind), call)).SerializeToString()

        answering = Answering(context.read, answer, context.write)
        self._open.add(answering)
        try:
            if self._closing:
                answering.stop()
            await answering.run()
        finally:
            self._open.discard(answering)

    def _call(self, method: str, context: Context) -> Call:
        remaining = context.time_remaining()
        deadline = None if remaining is None else asyncio.get_running_loop().time() + remaining
        traceparent = ""
        metadata: Metadata = context.invocation_metadata() or ()
        for key, value in metadata:
            if key == "traceparent" and isinstance(value, str):
                traceparent = value
        return self._admits.call(method, deadline, traceparent, context.auth_context, metadata)


def decoded(decode: Callable[[bytes], Message], data: bytes, kind: type[Message]) -> Message:
    """Return the message in the bytes; raise InvalidRequestError that names the field at fault."""
    try:
        return decode(data)
    except DecodeError as error:
        raise InvalidRequestError([fault_in(data, kind)]) from error


def _refuse_if_late(call: Call) -> None:
    if call.deadline is not None and asyncio.get_running_loop().time() >= call.deadline:
        message = "the deadline passed before the answer was ready"
        raise LateError(message)


def _status(error: Exception) -> grpc.Status:
    if not isinstance(error, DoorError):
        log.error("a call failed", exc_info=error)
        error = DoorError("the call failed; the sidecar's log says where")
    return rpc_status.to_status(status_of(error))


async def _abort(context: Context, status: grpc.Status) -> NoReturn:
    await context.abort_with_status(status)
    message = "an abort must raise"
    raise AssertionError(message)
