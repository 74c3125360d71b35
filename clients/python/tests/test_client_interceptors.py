"""Guarded methods of real servers, all four kinds, blocking and asyncio."""

# ruff: noqa: D102 - gRPC names the method

from __future__ import annotations

import asyncio
import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from sessionpdp import Check
from sessionpdp.interceptors import AsyncGuardInterceptor, GuardInterceptor
from sessionpdp.testing import FakeAsyncPDP, FakePDP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from sessionpdp.interceptors import GuardedCall, Rule

KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


def rule(call: GuardedCall) -> Check:
    """Ask whether the caller may use the method."""
    return Check(subject=str(call.metadata.get("subject", "")), action="call", resource=f"method:{call.method[6:]}")


RULES: dict[str, Rule] = {f"/test/{kind}": rule for kind in KINDS}


class Blocking(grpc.GenericRpcHandler):
    """Echoes, in each of the four kinds."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        def unary(request: Any, _: object) -> bytes:
            return request if isinstance(request, bytes) else b"".join(request)

        def stream(request: Any, _: object) -> Iterator[bytes]:
            yield from [request] if isinstance(request, bytes) else request

        return handler(handler_call_details.method, unary, stream)


class Asynchronous(grpc.GenericRpcHandler):
    """Echoes, in each of the four kinds, the last by writing to the context."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        async def unary(request: Any, _: object) -> bytes:
            return request if isinstance(request, bytes) else b"".join([part async for part in request])

        async def stream(request: Any, _: object) -> AsyncIterator[bytes]:
            yield request

        async def write(request: Any, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
            async for part in request:
                await context.write(part)

        both = write if handler_call_details.method == "/test/stream_stream" else stream
        return handler(handler_call_details.method, unary, both)


def handler(method: str, unary: Callable[..., object], stream: Callable[..., object]) -> Any:
    """Return the handler of the kind the method is named for."""
    kind = method.removeprefix("/test/").removeprefix("open_").removeprefix("unlisted_")
    if kind not in KINDS:
        return None
    return getattr(grpc, f"{kind}_rpc_method_handler")(stream if kind.endswith("_stream") else unary)


class Guarded:
    """A guarded server and its fake PDP."""

    def __init__(self, target: str, pdp: FakePDP | FakeAsyncPDP) -> None:
        self.pdp = pdp
        self._channel = grpc.insecure_channel(target)

    def call(self, method: str = "unary_unary", subject: str = "x") -> bytes:
        """Call the method with one message, and return the answer."""
        kind = method.removeprefix("open_").removeprefix("unlisted_")
        call = getattr(self._channel, kind if kind in KINDS else "unary_unary")(f"/test/{method}")
        request = iter([b"hi"]) if kind.startswith("stream") else b"hi"
        response = call(request, metadata=(("subject", subject),), timeout=10)
        return response if isinstance(response, bytes) else b"".join(response)

    def close(self) -> None:
        self._channel.close()


def status(caught: pytest.ExceptionInfo[grpc.RpcError]) -> Any:
    """Return the error with the status that grpc's type does not tell of."""
    return caught.value


def serve_asynchronously(target: str, pdp: FakeAsyncPDP, ready: threading.Event, done: threading.Event) -> None:
    """Serve until told."""

    async def serve() -> None:
        interceptor = AsyncGuardInterceptor(pdp, RULES, open_methods=["/test/open_unary_unary"])
        server = grpc.aio.server(interceptors=[interceptor])
        server.add_generic_rpc_handlers([Asynchronous()])
        server.add_insecure_port(target)
        await server.start()
        ready.set()
        await asyncio.to_thread(done.wait)
        await server.stop(0)

    asyncio.run(serve())


@pytest.fixture(params=["blocking", "asynchronous"])
def guarded(request: pytest.FixtureRequest, socket: Path) -> Iterator[Guarded]:
    """Return a guarded server of each kind."""
    target = f"unix:{socket}"
    if request.param == "blocking":
        pdp = FakePDP()
        interceptor = GuardInterceptor(pdp, RULES, open_methods=["/test/open_unary_unary"])
        server = grpc.server(futures.ThreadPoolExecutor(4), interceptors=[interceptor])
        server.add_generic_rpc_handlers([Blocking()])
        server.add_insecure_port(target)
        server.start()
        client = Guarded(target, pdp)
        yield client
        client.close()
        server.stop(0).wait(10)
    else:
        ready, done, fake = threading.Event(), threading.Event(), FakeAsyncPDP()
        thread = threading.Thread(target=serve_asynchronously, args=(target, fake, ready, done))
        thread.start()
        assert ready.wait(10)
        client = Guarded(target, fake)
        yield client
        client.close()
        done.set()
        thread.join(10)


@pytest.mark.parametrize("kind", KINDS)
def test_an_allowed_call_is_answered(guarded: Guarded, kind: str) -> None:
    """As without a guard."""
    guarded.pdp.allow(subject="x", resource=f"method:{kind}")

    assert guarded.call(kind) == b"hi"


@pytest.mark.parametrize("kind", KINDS)
def test_a_denied_call_is_aborted(guarded: Guarded, kind: str) -> None:
    """With the first reason, and the decision's id in the trailing metadata."""
    guarded.pdp.deny("TASK_ENDED")

    with pytest.raises(grpc.RpcError) as caught:
        guarded.call(kind)

    error = status(caught)
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error.details() == "TASK_ENDED: by the fake's rules"
    assert dict(error.trailing_metadata())["sessionpdp-decision-id"] == "fake-1"


def test_trouble_is_unavailable(guarded: Guarded) -> None:
    """The caller may try again later."""
    guarded.pdp.unreachable()

    with pytest.raises(grpc.RpcError) as caught:
        guarded.call()

    assert status(caught).code() is grpc.StatusCode.UNAVAILABLE
    assert "PDP_UNREACHABLE" in status(caught).details()


def test_a_method_without_a_rule_is_denied(guarded: Guarded) -> None:
    """Unless it is listed as open."""
    guarded.pdp.allow()
    assert guarded.call("open_unary_unary") == b"hi"

    with pytest.raises(grpc.RpcError) as caught:
        guarded.call("unlisted_unary_unary")

    assert status(caught).code() is grpc.StatusCode.PERMISSION_DENIED
    assert status(caught).details() == "GUARD_MISSING: no rule says how to check this"
    assert guarded.pdp.checks == []


def test_an_unknown_method_is_unimplemented(guarded: Guarded) -> None:
    """There is nothing to guard."""
    with pytest.raises(grpc.RpcError) as caught:
        guarded.call("nothing")
    assert status(caught).code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_check_that_cannot_be_asked_is_denied(guarded: Guarded) -> None:
    """A caller that makes the rule build nonsense gets no further."""
    guarded.pdp.allow()

    with pytest.raises(grpc.RpcError) as caught:
        guarded.call(subject="")

    assert status(caught).details() == "CHECK_INVALID: `subject` is empty"
