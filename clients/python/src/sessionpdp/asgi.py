"""ASGI middleware that guards an application.

Rule: a request reaches the application only after an allow, or if its path is listed as open, byte for
byte; what no rule covers is denied.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sessionpdp.guard import decide_async, unguarded

if TYPE_CHECKING:
    from collections.abc import Collection

    from sessionpdp.decision import Decision
    from sessionpdp.guard import AsyncChecker, Fulfil
    from sessionpdp.request import Check

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_FORBIDDEN: Final = 403
_UNAVAILABLE: Final = 503
_POLICY_VIOLATION: Final = 1008  # RFC 6455, 7.4.1
_DENIAL_EXTENSION: Final = "websocket.http.response"


class GuardMiddleware:
    """Guards HTTP requests and WebSocket connections.

    A deny is 403, trouble on the way to the PDP 503, both as JSON problem (RFC 9457) with the reason codes
    but without their messages, which are for the operators of this service. A WebSocket is refused before
    it is accepted. Obligations are fulfilled by the handlers of `fulfil`; see `decide`.
    """

    def __init__(
        self,
        app: Application,
        pdp: AsyncChecker,
        rule: Callable[[Scope], Check | None],
        *,
        open_paths: Collection[str] = (),
        fulfil: Fulfil | None = None,
    ) -> None:
        """Take the application, the rule that builds a scope's check, and the paths that need none."""
        self._app = app
        self._pdp = pdp
        self._rule = rule
        self._open_paths = unguarded("open_paths", open_paths)
        self._fulfil = fulfil or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on after an allow, answer it otherwise."""
        if scope["type"] == "lifespan" or scope.get("path") in self._open_paths:
            await self._app(scope, receive, send)
            return
        decision = await decide_async(self._pdp, lambda: self._rule(scope), self._fulfil)
        if decision.allowed:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await _refuse_websocket(scope, receive, send, decision)
        else:
            await _respond("http.response", send, decision)


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send, decision: Decision) -> None:
    await receive()  # `websocket.connect`, which the protocol has come first
    if _DENIAL_EXTENSION in (scope.get("extensions") or {}):
        await _respond(_DENIAL_EXTENSION, send, decision)
    else:
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": decision.code})


async def _respond(kind: str, send: Send, decision: Decision) -> None:
    body = json.dumps(_problem(decision)).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    status = _problem_status(decision)
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


def _problem(decision: Decision) -> dict[str, object]:
    status = _problem_status(decision)
    title = "access denied" if status == _FORBIDDEN else "access could not be decided"
    codes = [reason.code for reason in decision.reasons]
    problem: dict[str, object] = {"title": title, "status": status, "reasons": codes}
    if decision.decision_id:
        problem["decision_id"] = decision.decision_id
    return problem


def _problem_status(decision: Decision) -> int:
    return _FORBIDDEN if decision.decided else _UNAVAILABLE
