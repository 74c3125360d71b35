"""Opening a listener: a Unix socket with its file mode, loopback, or mTLS; nothing in between."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import grpc

from pdp.settings import Limits, Tls

_SHORTEST_PING_MS = 5_000
"""Pings that come sooner than that earn a GOAWAY. Clients may ping each 10 s (theirs default to 60 s), and not all of
theirs come to the millisecond; gRPC's own bound of 300 s is too strict."""
_MAX_METADATA_BYTES = 16_384


class ListenError(OSError):
    """An address cannot be listened on; the message says which."""


async def listen(
    address: str, mode: int, tls: Tls | None, handlers: Sequence[grpc.GenericRpcHandler], limits: Limits
) -> grpc.aio.Server:
    """Start a server on one address; raise ListenError."""
    server = grpc.aio.server(options=server_options(limits), maximum_concurrent_rpcs=limits.calls + limits.streams)
    server.add_generic_rpc_handlers(tuple(handlers))
    try:
        if address.startswith("unix:"):
            _bind_socket(server, address, mode)
        else:
            _bind_port(server, address, tls)
    except RuntimeError as error:
        message = f"cannot listen on `{address}`: {error}"
        raise ListenError(message) from error
    await server.start()
    return server


def _bind_socket(server: grpc.aio.Server, address: str, mode: int) -> None:
    path = Path(address.removeprefix("unix:").removeprefix("//"))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_if_served(path)
    # The mask is set around the bind, so that the socket never exists with a wider mode than it should have.
    before = os.umask(0o777 & ~mode)
    try:
        server.add_insecure_port(address)
    finally:
        os.umask(before)


def _refuse_if_served(path: Path) -> None:
    """Raise ListenError if somebody listens there: gRPC would take the address from under them without a word."""
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(os.fsencode(path)) == 0:
            message = f"cannot listen on `unix:{path}`: another server does"
            raise ListenError(message)


def _bind_port(server: grpc.aio.Server, address: str, tls: Tls | None) -> None:
    if tls is None:
        server.add_insecure_port(address)
        return
    key, certificate, client_ca = (Path(path).read_bytes() for path in (tls.key, tls.certificate, tls.client_ca))
    credentials = grpc.ssl_server_credentials([(key, certificate)], client_ca, require_client_auth=True)
    server.add_secure_port(address, credentials)


def server_options(limits: Limits) -> list[tuple[str, int]]:
    """Return the options of a gRPC server."""
    return [
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
        ("grpc.http2.min_ping_interval_without_data_ms", _SHORTEST_PING_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.bdp_probe", 0),  # its pings let windows grow, which messages like ours do not need
        ("grpc.so_reuseport", 0),
    ]
