"""What the asyncio clients of the administration door share: the rules of the blocking ones."""

# ruff: noqa: ASYNC109 - `timeout` becomes the deadline that the sidecar is told, not only a local limit

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

import grpc

from sessionpdp.command_calls import DEFAULT_COMMAND_TIMEOUT, Attempts, CommandCalls, Page, PagedQuery
from sessionpdp.transport import LoopChannel, PerLoop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType
    from typing import Self

    from sessionpdp.calling import TraceparentProvider
    from sessionpdp.command_calls import Token
    from sessionpdp.transport import ChannelOptions, Endpoint

Stub = TypeVar("Stub")
Query = TypeVar("Query")
Response = TypeVar("Response")


class AsyncAdminClient(ABC, Generic[Stub]):
    """A client of one service of the administration door, from asyncio.

    Safe to share between event loops and to create before any: each loop has its own connection, made when first used.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        token: Token | None = None,
        timeout: float = DEFAULT_COMMAND_TIMEOUT,
        credentials: grpc.ChannelCredentials | None = None,
        traceparent: TraceparentProvider | None = None,
        options: ChannelOptions = (),
    ) -> None:
        """Take where the administration door is, who calls, and how to call it, as `AdminClient` does."""
        self._calls = CommandCalls.to(target, token, timeout, credentials, traceparent, options)
        self._connections = PerLoop(lambda: _Connection(self._calls.endpoint, self._service))

    async def aclose(self) -> None:
        """Close the running loop's connection; a later call opens a new one. Sessions are not closed by this."""
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

    @abstractmethod
    def _service(self, channel: grpc.aio.Channel) -> Stub:
        """Return the stub of the service."""

    @property
    def _stub(self) -> Stub:
        return self._connections.get().stub

    async def _ask(
        self, call: grpc.aio.UnaryUnaryMultiCallable[Query, Response], request: Query, timeout: float | None
    ) -> Response:
        """Call within the deadline, again if the connection broke; raise what an error means."""
        attempts, metadata = Attempts(self._calls.deadline(timeout)), self._calls.metadata()
        while True:
            try:
                return await call(request, timeout=attempts.seconds_left(), metadata=metadata)
            except grpc.RpcError as error:
                pause = attempts.pause_after(error)
            await asyncio.sleep(pause)

    async def _pages(
        self, call: grpc.aio.UnaryUnaryMultiCallable[PagedQuery, Page], request: PagedQuery, timeout: float | None
    ) -> AsyncIterator[Page]:
        while True:
            page = await self._ask(call, request, timeout)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


class _Connection(Generic[Stub]):
    """What one event loop has of the administration door; closes itself when the loop ends."""

    def __init__(self, endpoint: Endpoint, service: Callable[[grpc.aio.Channel], Stub]) -> None:
        self._channel = LoopChannel(endpoint)
        self.stub = service(self._channel.channel)

    async def close(self) -> None:
        await self._channel.close()
