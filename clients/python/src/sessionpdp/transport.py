"""Connections: made when first needed, one per process or event loop, and never shared beyond it.

Rule 1: nothing connects at import or construction, so that a client made before a fork is good after it.
Rule 2: what a child inherits from its parent is neither used nor closed: its socket is the parent's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

import grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

DEFAULT_TARGET: Final = "unix:///run/sessionpdp/pdp.sock"
TARGET_VARIABLE: Final = "SESSIONPDP_TARGET"
DEFAULT_ADMIN_TARGET: Final = "unix:///run/sessionpdp/admin.sock"
ADMIN_TARGET_VARIABLE: Final = "SESSIONPDP_ADMIN_TARGET"

ChannelOptions: TypeAlias = tuple[tuple[str, int | str], ...]

ADMINISTRATION_OPTIONS: Final[ChannelOptions] = (
    # A record is as long as what it is about: that of a large change takes several times the bytes of its request.
    ("grpc.max_receive_message_length", -1),
)
CHANNEL_OPTIONS: Final[ChannelOptions] = (
    # Calls fail at once while the channel backs off, so its pauses bound how long a restarted PDP is
    # still thought dead. gRPC's defaults (1 s to 2 min) are made for the internet, not for a sidecar.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
    # A check may count as a use, so it must not be sent twice. gRPC's transparent retries stay: they
    # cover only requests the server has provably not seen. A service config could add others.
    ("grpc.service_config_disable_resolution", 1),
    # Finds a dead connection also in idle hours. Servers punish pings more frequent than they permit
    # (by default 300 s without calls; a PDP permits 10 s).
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # By default channels of one target share connections, also across event loops and clients.
    ("grpc.use_local_subchannel_pool", 1),
    # A sidecar is never behind the proxy that `http_proxy` names.
    ("grpc.enable_http_proxy", 0),
)

# Seconds. grpc.aio delivers the last events of a cancelled call a little later; if their loop is gone by
# then, it logs errors on another loop and holds up that one's events (seen with grpcio 1.85).
_LAST_EVENTS: Final = 0.01

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the PDP listens and how to reach it."""

    target: str
    credentials: grpc.ChannelCredentials | None
    options: ChannelOptions

    @classmethod
    def of(
        cls,
        target: str | None,
        credentials: grpc.ChannelCredentials | None,
        options: ChannelOptions,
    ) -> Endpoint:
        """Return the endpoint; without `target`: `$SESSIONPDP_TARGET`, else the default socket.

        Without `credentials` the connection is plaintext, which a PDP offers on its Unix socket and on
        loopback alone. `options` override the channel options of the same name.
        """
        return cls._of(target or os.environ.get(TARGET_VARIABLE) or DEFAULT_TARGET, credentials, options)

    @classmethod
    def of_administration(
        cls,
        target: str | None,
        credentials: grpc.ChannelCredentials | None,
        options: ChannelOptions,
    ) -> Endpoint:
        """Return the endpoint as `of` does; without `target`: `$SESSIONPDP_ADMIN_TARGET`, else its default socket."""
        target = target or os.environ.get(ADMIN_TARGET_VARIABLE) or DEFAULT_ADMIN_TARGET
        return cls._of(target, credentials, (*ADMINISTRATION_OPTIONS, *options))

    @classmethod
    def _of(cls, target: str, credentials: grpc.ChannelCredentials | None, options: ChannelOptions) -> Endpoint:
        return cls(target, credentials, tuple({**dict(CHANNEL_OPTIONS), **dict(options)}.items()))

    def keeps_secrets(self) -> bool:
        """Tell whether what is sent can be read by nobody on a network: TLS, a Unix socket, or loopback."""
        return self.credentials is not None or _stays_on_this_machine(self.target)

    def channel(self) -> grpc.Channel:
        """Return a channel for blocking calls."""
        if self.credentials is None:
            return grpc.insecure_channel(self.target, self.options)
        return grpc.secure_channel(self.target, self.credentials, self.options)

    def aio_channel(self) -> grpc.aio.Channel:
        """Return a channel for the running event loop."""
        if self.credentials is None:
            return grpc.aio.insecure_channel(self.target, self.options)
        return grpc.aio.secure_channel(self.target, self.credentials, self.options)


class LoopChannel:
    """A channel of the running event loop, which closes itself when the loop ends."""

    def __init__(self, endpoint: Endpoint, ending: Callable[[], None] = lambda: None) -> None:
        """Take what is to be done first when it closes."""
        self.channel = endpoint.aio_channel()
        self._ending = ending
        self._lifetime = self._live()
        # The first step reaches the `yield` without awaiting anything, so it needs no loop to drive it.
        with suppress(StopIteration):
            self._lifetime.asend(None).send(None)

    async def close(self) -> None:
        """Close the channel."""
        await self._lifetime.aclose()

    async def _live(self) -> AsyncGenerator[None]:
        # Loops close the asynchronous generators they have seen as their last act (`asyncio.run` does), and
        # nothing else tells of their end. A channel that outlives its loop disturbs those of other loops.
        try:
            yield
        finally:
            self._ending()
            await asyncio.sleep(_LAST_EVENTS)
            await self.channel.close()


class PerProcess(Generic[T]):
    """A connection for each process that asks for one.

    Free of locks, which a fork could inherit locked. Connections of ancestors stay referenced, because
    collecting them would close them.
    """

    def __init__(self, connect: Callable[[], T], discard: Callable[[T], None]) -> None:
        """Take how a connection is made, and how one that is not needed is closed."""
        self._connect = connect
        self._discard = discard
        self._by_process: dict[int, T] = {}

    def get(self) -> T:
        """Return this process's connection, made if there is none."""
        process = os.getpid()
        connection = self._by_process.get(process)
        if connection is None:
            made = self._connect()
            connection = self._by_process.setdefault(process, made)
            if connection is not made:
                self._discard(made)  # another thread was faster
        return connection

    def close(self) -> None:
        """Close this process's connection, if there is one."""
        connection = self._by_process.pop(os.getpid(), None)
        if connection is not None:
            self._discard(connection)


class PerLoop(Generic[T]):
    """A connection for each running event loop of one process.

    A loop's connection is used by that loop's thread alone. Connections of closed loops are let go when
    the next one is made; those of an ancestor stay referenced, as in `PerProcess`.
    """

    def __init__(self, connect: Callable[[], T]) -> None:
        """Take how a connection for the running loop is made."""
        self._connect = connect
        self._by_process: dict[int, dict[asyncio.AbstractEventLoop, T]] = {}

    def get(self) -> T:
        """Return the running loop's connection, made if there is none."""
        loop = asyncio.get_running_loop()
        by_loop = self._by_process.get(os.getpid())
        if by_loop is None:
            by_loop = self._begin()
        connection = by_loop.get(loop)
        if connection is None:
            for other in [other for other in list(by_loop) if other.is_closed()]:
                by_loop.pop(other, None)
            connection = by_loop[loop] = self._connect()
        return connection

    def take(self) -> T | None:
        """Remove and return the running loop's connection, if there is one."""
        by_loop = self._by_process.get(os.getpid(), {})
        return by_loop.pop(asyncio.get_running_loop(), None)

    def _begin(self) -> dict[asyncio.AbstractEventLoop, T]:
        process = os.getpid()
        # Seen with grpcio 1.85: after such a fork, calls of the child hang, or gRPC aborts the process.
        if any(other != process for other in list(self._by_process)):
            msg = "the asyncio client was used before the fork, which grpc.aio does not survive: fork first"
            raise RuntimeError(msg)
        return self._by_process.setdefault(process, {})


def _stays_on_this_machine(target: str) -> bool:
    """Tell whether a target is a Unix socket or on loopback; in doubt it is not."""
    scheme, colon, rest = target.partition(":")
    if colon and scheme in {"unix", "unix-abstract"}:
        return True
    if colon and scheme in {"dns", "ipv4", "ipv6"}:
        # gRPC's names: `dns:host:port`, `dns:///host:port` (an authority would be asked for the address), lists of ips.
        return all(_is_loopback(address) for address in rest.removeprefix("///").split(","))
    return _is_loopback(target)


def _is_loopback(address: str) -> bool:
    """Tell whether `host`, `host:port`, `[ip]:port` or a bare IPv6 address is of this machine."""
    if address.startswith("["):
        host = address[1:].partition("]")[0]
    else:
        host = address if address.count(":") > 1 else address.partition(":")[0]
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
