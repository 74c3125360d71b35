"""gRPC server interceptors that guard methods.

Rule: a method runs only if its rule's check is allowed, or if it is listed as open; a method that is
neither is denied, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import grpc

from sessionpdp.guard import decide, decide_async, unguarded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping

    from sessionpdp.decision import Decision
    from sessionpdp.guard import AsyncChecker, Checker, Fulfil
    from sessionpdp.request import Check

DECISION_ID_KEY: Final = "sessionpdp-decision-id"
"""Trailing metadata of a denied call."""


@dataclass(frozen=True, slots=True)
class GuardedCall:
    """The call that a rule builds a check from.

    `method` is the full name (`/package.Service/Method`). `metadata` has the last value of each key.
    `request` is None where the client streams its requests: the check comes before the first of them.
    `context` gives the caller's verified identity (`auth_context`, `peer_identities`).
    """

    method: str
    metadata: Mapping[str, str | bytes]
    request: object | None
    context: grpc.ServicerContext | _AsyncContext


Rule: TypeAlias = "Callable[[GuardedCall], Check | None]"
"""Builds the check of a call; None denies it."""

Request = TypeVar("Request")
Response = TypeVar("Response")

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_AsyncContext: TypeAlias = "grpc.aio.ServicerContext[object, object]"
_Behaviour: TypeAlias = "Callable[[object, grpc.ServicerContext], object]"
_AsyncBehaviour: TypeAlias = "Callable[[object, _AsyncContext], Awaitable[object] | AsyncIterator[object]]"


@dataclass(frozen=True, slots=True)
class _Rules:
    by_method: Mapping[str, Rule]
    open_methods: Collection[str]

    def build_check(
        self,
        details: grpc.HandlerCallDetails,
        handler: _Handler,
        request: object,
        context: grpc.ServicerContext | _AsyncContext,
    ) -> Check | None:
        rule = self.by_method.get(details.method)
        if rule is None:
            return None
        shown = None if handler.request_streaming else request
        metadata = dict(details.invocation_metadata)
        return rule(GuardedCall(details.method, metadata, shown, context))


class GuardInterceptor(grpc.ServerInterceptor):
    """Guards the methods of a `grpc.server`.

    A deny aborts with PERMISSION_DENIED and `CODE: message`, and names the decision in the trailing
    metadata `sessionpdp-decision-id`; trouble on the way to the PDP aborts with UNAVAILABLE.
    """

    def __init__(
        self,
        pdp: Checker,
        rules: Mapping[str, Rule],
        *,
        open_methods: Collection[str] = (),
        fulfil: Fulfil | None = None,
    ) -> None:
        """Take the rule of each full method name, and the methods that need none."""
        self._pdp = pdp
        self._rules = _Rules(rules, unguarded("open_methods", open_methods))
        self._fulfil = fulfil or {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Request, Response] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Request, Response] | None:
        """Return the method's handler with the check before it."""
        handler = continuation(handler_call_details)
        if handler is None or handler_call_details.method in self._rules.open_methods:
            return handler
        return _with_behaviour(handler, self._guarded(handler, handler_call_details))

    def _guarded(self, handler: _Handler, details: grpc.HandlerCallDetails) -> _Behaviour:
        behaviour = _behaviour_of(handler)

        def guarded(request: object, context: grpc.ServicerContext) -> object:
            decision = decide(
                self._pdp,
                lambda: self._rules.build_check(details, handler, request, context),
                self._fulfil,
            )
            if not decision.allowed:
                context.set_trailing_metadata(_trailer(decision))
                context.abort(_status(decision), _message(decision))
            return behaviour(request, context)

        return guarded


class AsyncGuardInterceptor(grpc.aio.ServerInterceptor):
    """Guards the methods of a `grpc.aio.server`, as `GuardInterceptor` does.

    Handlers must be coroutine functions or asynchronous generators; any other fails its calls.
    """

    def __init__(
        self,
        pdp: AsyncChecker,
        rules: Mapping[str, Rule],
        *,
        open_methods: Collection[str] = (),
        fulfil: Fulfil | None = None,
    ) -> None:
        """Take the rule of each full method name, and the methods that need none."""
        self._pdp = pdp
        self._rules = _Rules(rules, unguarded("open_methods", open_methods))
        self._fulfil = fulfil or {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Request, Response] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Request, Response] | None:
        """Return the method's handler with the check before it."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method in self._rules.open_methods:
            return handler
        return _with_behaviour(handler, self._guarded(handler, handler_call_details))

    def _guarded(self, handler: _Handler, details: grpc.HandlerCallDetails) -> _AsyncBehaviour:
        behaviour = _behaviour_of(handler)

        async def admit(request: object, context: _AsyncContext) -> None:
            decision = await decide_async(
                self._pdp,
                lambda: self._rules.build_check(details, handler, request, context),
                self._fulfil,
            )
            if not decision.allowed:
                await context.abort(_status(decision), _message(decision), _trailer(decision))

        async def guarded(request: object, context: _AsyncContext) -> object:
            await admit(request, context)
            return await behaviour(request, context)

        async def guarded_generator(request: object, context: _AsyncContext) -> AsyncIterator[object]:
            await admit(request, context)
            async for response in behaviour(request, context):
                yield response

        if inspect.isasyncgenfunction(behaviour):
            return guarded_generator
        if inspect.iscoroutinefunction(behaviour):
            return guarded
        msg = f"the handler of `{details.method}` is not asynchronous"
        raise TypeError(msg)


def _behaviour_of(handler: _Handler) -> Any:  # noqa: ANN401 - one of four types, which the handler's flags tell
    return handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream


def _with_behaviour(
    handler: grpc.RpcMethodHandler[Request, Response], behaviour: _Behaviour | _AsyncBehaviour
) -> grpc.RpcMethodHandler[Request, Response]:
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    return make(behaviour, handler.request_deserializer, handler.response_serializer)


def _status(decision: Decision) -> grpc.StatusCode:
    if decision.decided:
        return grpc.StatusCode.PERMISSION_DENIED
    return grpc.StatusCode.UNAVAILABLE


def _message(decision: Decision) -> str:
    reason = decision.reasons[0]
    return f"{reason.code}: {reason.message}"


def _trailer(decision: Decision) -> tuple[tuple[str, str], ...]:
    return ((DECISION_ID_KEY, decision.decision_id),) if decision.decision_id else ()
