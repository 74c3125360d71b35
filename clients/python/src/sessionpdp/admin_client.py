"""What the blocking clients of the administration door share: connection, deadline, attempts, pages.

Rule 1: every call has a deadline.
Rule 2: what is sent again does no harm twice; see `command_calls`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

import grpc

from sessionpdp.command_calls import DEFAULT_COMMAND_TIMEOUT, Attempts, CommandCalls, Page, PagedQuery
from sessionpdp.transport import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from sessionpdp.calling import TraceparentProvider
    from sessionpdp.command_calls import Token
    from sessionpdp.transport import ChannelOptions, Endpoint

Stub = TypeVar("Stub")
Query = TypeVar("Query")
Response = TypeVar("Response")


class AdminClient(ABC, Generic[Stub]):
    """A client of one service of the administration door.

    Safe to share between threads and to create before a fork; connects when first used.
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
        """Take where the administration door is, who calls, and how to call it.

        `target`: gRPC name; None: `$SESSIONPDP_ADMIN_TARGET`, else `unix:///run/sessionpdp/admin.sock`. `token`: a
        bearer token, or a callable that returns the current one; refused (ValueError) where it would travel in
        plaintext. The others are as for `PDP`.
        """
        self._calls = CommandCalls.to(target, token, timeout, credentials, traceparent, options)
        self._connections = PerProcess(lambda: _Connection(self._calls.endpoint, self._service), _Connection.close)

    def close(self) -> None:
        """Close this process's connection; a later call opens a new one. Sessions are not closed by this."""
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

    @abstractmethod
    def _service(self, channel: grpc.Channel) -> Stub:
        """Return the stub of the service."""

    @property
    def _stub(self) -> Stub:
        return self._connections.get().stub

    def _ask(
        self, call: grpc.UnaryUnaryMultiCallable[Query, Response], request: Query, timeout: float | None
    ) -> Response:
        """Call within the deadline, again if the connection broke; raise what an error means."""
        attempts, metadata = Attempts(self._calls.deadline(timeout)), self._calls.metadata()
        while True:
            try:
                return call(request, timeout=attempts.seconds_left(), metadata=metadata)
            except grpc.RpcError as error:
                pause = attempts.pause_after(error)
            time.sleep(pause)

    def _pages(
        self, call: grpc.UnaryUnaryMultiCallable[PagedQuery, Page], request: PagedQuery, timeout: float | None
    ) -> Iterator[Page]:
        while True:
            page = self._ask(call, request, timeout)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


class _Connection(Generic[Stub]):
    def __init__(self, endpoint: Endpoint, service: Callable[[grpc.Channel], Stub]) -> None:
        self._channel = endpoint.channel()
        self.stub = service(self._channel)

    def close(self) -> None:
        self._channel.close()
