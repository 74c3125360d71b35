"""Sends records to an OTLP/gRPC collector, and tells its answers apart: taken, not now, never.

Rule 1: only a code that speaks of what was sent is final; all others are outages, like a collector that is not there.
Rule 2: what a collector says that it rejected is told on, however well the call itself went.

The exporters of the OpenTelemetry SDK are not used: that of spans takes an answer that rejects spans for success, and
the log signal is not stable yet (its modules begin with `_`). The environment variables of the SDK hold here too: of
each OTEL_EXPORTER_OTLP_HEADERS, _CERTIFICATE, _CLIENT_KEY, _CLIENT_CERTIFICATE and _COMPRESSION, and before it the one
of the signal (OTEL_EXPORTER_OTLP_TRACES_HEADERS, OTEL_EXPORTER_OTLP_LOGS_HEADERS).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.util.re import parse_env_headers

from pdp.evidence.line.record_json import Document
from pdp.evidence.telemetry.signals import Answer, Away, Refused, Taken

_RECONNECTING = (("grpc.max_reconnect_backoff_ms", 10_000),)
"""Without it gRPC waits for up to two minutes before it looks for a collector again."""
_LONGEST_WORD = 200
"""Characters that are repeated of what a collector says."""

_FINAL = frozenset(
    {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.FAILED_PRECONDITION}
)
"""What speaks of the very records that were sent.

The specification of OTLP/gRPC calls more codes final, UNKNOWN and INTERNAL among them; but a proxy says these for any
fault of its own, and for that no record that must arrive is given up.
"""


class Wire(NamedTuple):
    """How one signal is told from another."""

    name: str
    variable: str
    """What the names of its own environment variables have in them."""
    stub: type[TraceServiceStub | LogsServiceStub]
    rejected: str
    """The member of a partial success that counts."""


SPANS = Wire("spans", "TRACES", TraceServiceStub, "rejected_spans")
LOGS = Wire("logs", "LOGS", LogsServiceStub, "rejected_log_records")


class OtlpSignal:
    """Records to a collector, as `request_of` says them."""

    def __init__(
        self, wire: Wire, endpoint: str, request_of: Callable[[Iterable[Document]], Message], *, timeout_s: float = 5.0
    ) -> None:
        """Connect to `http://host:port` in plain text, to `https://host:port` with TLS. May raise OSError."""
        self.name = wire.name
        self._rejected = wire.rejected
        self._request_of = request_of
        self._timeout_s = timeout_s
        self._channel = _connect(endpoint, wire.variable)
        self._stub = wire.stub(self._channel)
        self._metadata = tuple(parse_env_headers(_variable("HEADERS", wire.variable), liberal=True).items())

    def export(self, told: Sequence[Document]) -> Answer:
        """Send what there is to send."""
        request = self._request_of(told)
        if not request.ByteSize():
            return Taken()
        try:
            answer = self._stub.Export(request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            return _failure(error)
        except ValueError:  # the connection was closed, for this process ends
            return Away("the connection is closed")
        partial = answer.partial_success
        rejected = int(getattr(partial, self._rejected))
        return Taken(rejected, f"it rejects them: {_words(partial.error_message)}") if rejected else Taken()

    def shutdown(self) -> None:
        """Close the connection, which ends an export that is under way."""
        self._channel.close()


def refuse_unreadable(endpoint: str, wires: Iterable[Wire]) -> None:
    """Raise OSError if a certificate or a key that the environment names for a collector cannot be read."""
    if not endpoint.startswith("http://"):
        for wire in wires:
            _trust(wire.variable)


def _failure(error: grpc.RpcError) -> Answer:
    if not isinstance(error, grpc.Call):
        return Away(_words(str(error)))
    code = error.code()
    why = f"{code.name}: {_words(error.details() or '')}"
    return Refused(why) if code in _FINAL else Away(why)


def _words(text: str) -> str:
    """Return what somebody else says, fit for the log."""
    return ascii(text[:_LONGEST_WORD])


def _connect(endpoint: str, variable: str) -> grpc.Channel:
    scheme, _, target = endpoint.partition("://")
    target = target.partition("/")[0]
    gzip = _variable("COMPRESSION", variable).strip().lower() == "gzip"
    compression = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression
    if scheme == "http":
        return grpc.insecure_channel(target, _RECONNECTING, compression)
    return grpc.secure_channel(target, _trust(variable), _RECONNECTING, compression)


def _trust(variable: str) -> grpc.ChannelCredentials:
    authority, key, chain = (
        Path(path).read_bytes() if (path := _variable(name, variable)) else None
        for name in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
    )
    return grpc.ssl_channel_credentials(authority, key, chain)


def _variable(name: str, of_signal: str) -> str:
    general = os.environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")
    return os.environ.get(f"OTEL_EXPORTER_OTLP_{of_signal}_{name}") or general
