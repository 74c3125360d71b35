"""A request reaches the application after an allow, and never otherwise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sessionpdp import Check
from sessionpdp.asgi import GuardMiddleware
from sessionpdp.testing import FakeAsyncPDP

if TYPE_CHECKING:
    from sessionpdp.asgi import Message, Receive, Scope, Send


class Application:
    """Remembers the scopes that reached it."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Take the request."""
        self.scopes.append(scope)


def rule(scope: Scope) -> Check | None:
    """Check paths below `/tables/`, and know no others."""
    prefix, _, name = scope["path"].rpartition("/")
    if prefix != "/tables":
        return None
    return Check(subject=scope.get("subject", "x"), action="rows.read", resource=f"table:{name}")


class Guarded:
    """An application behind its guard."""

    def __init__(self) -> None:
        self.app, self.pdp = Application(), FakeAsyncPDP()
        self.guard = GuardMiddleware(self.app, self.pdp, rule, open_paths=["/health"])

    async def request(self, path: str = "/tables/users", kind: str = "http", **scope: Any) -> list[Message]:
        """Return what the guard sends."""
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": f"{kind}.connect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.guard({"type": kind, "path": path, **scope}, receive, send)
        return sent


@pytest.fixture
def guarded() -> Guarded:
    """Return an application that nobody may use."""
    return Guarded()


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_an_allow_passes(guarded: Guarded, kind: str) -> None:
    """The application sees the request as it came."""
    guarded.pdp.allow(resource="table:users")

    assert await guarded.request(kind=kind) == []
    assert guarded.app.scopes == [{"type": kind, "path": "/tables/users"}]


async def test_a_deny_is_a_problem_document(guarded: Guarded) -> None:
    """With codes and the decision's id, and without messages."""
    guarded.pdp.deny("SESSION_EXPIRED")

    start, body = await guarded.request()

    assert (start["type"], start["status"]) == ("http.response.start", 403)
    assert (b"content-type", b"application/problem+json") in start["headers"]
    assert json.loads(body["body"]) == {
        "title": "access denied",
        "status": 403,
        "reasons": ["SESSION_EXPIRED"],
        "decision_id": "fake-1",
    }
    assert guarded.app.scopes == []


async def test_trouble_is_unavailable(guarded: Guarded) -> None:
    """The client may try again later."""
    guarded.pdp.unreachable()

    start, body = await guarded.request()

    assert start["status"] == 503
    assert json.loads(body["body"])["reasons"] == ["PDP_UNREACHABLE"]


async def test_a_websocket_is_refused_before_it_is_accepted(guarded: Guarded) -> None:
    """By a close, or by a response where the server can send one."""
    closed = await guarded.request(kind="websocket")
    responded = await guarded.request(kind="websocket", extensions={"websocket.http.response": {}})

    assert closed == [{"type": "websocket.close", "code": 1008, "reason": "SESSION_REQUIRED"}]
    assert [message["type"] for message in responded] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert guarded.app.scopes == []


@pytest.mark.parametrize("path", ["/other", "/health/", "/Health", "/health/../tables"])
async def test_what_no_rule_covers_is_denied(guarded: Guarded, path: str) -> None:
    """Open paths are compared byte for byte."""
    guarded.pdp.allow()

    start, body = await guarded.request(path)

    assert start["status"] == 403
    assert json.loads(body["body"])["reasons"] == ["GUARD_MISSING"]
    assert guarded.pdp.checks == []


async def test_open_paths_and_lifespan_pass(guarded: Guarded) -> None:
    """Without asking."""
    assert await guarded.request("/health") == []
    await guarded.guard({"type": "lifespan"}, None, None)  # type: ignore[arg-type]

    assert [scope["type"] for scope in guarded.app.scopes] == ["http", "lifespan"]
    assert guarded.pdp.checks == []


async def test_a_check_that_cannot_be_asked_is_denied(guarded: Guarded) -> None:
    """A request that makes the rule build nonsense gets no further."""
    start, body = await guarded.request(subject="")

    assert start["status"] == 403
    assert json.loads(body["body"])["reasons"] == ["CHECK_INVALID"]
