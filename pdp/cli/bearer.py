"""The bearer token in the metadata of every call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc


class _Details(NamedTuple):
    """How a call is made; grpc names the fields and offers no class that can be made."""

    method: str
    timeout: float | None
    metadata: object
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Bearer(grpc.UnaryUnaryClientInterceptor):
    """Adds the token to each call."""

    def __init__(self, token: str) -> None:
        self._entry = ("authorization", f"Bearer {token}")

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: object) -> Any:  # noqa: ANN401  # as grpc hands them on
        """Make the call with one more entry of metadata."""
        shown = _Details(
            details.method,
            details.timeout,
            [*(details.metadata or ()), self._entry],
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )
        return continuation(shown, request)


def carrying(token: str, channel: grpc.Channel) -> grpc.Channel:
    """Return a channel whose calls carry the token; the channel itself if there is none."""
    return grpc.intercept_channel(channel, _Bearer(token)) if token else channel
