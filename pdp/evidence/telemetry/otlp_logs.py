"""Records as OTLP log records, for those who look for events where their logs are.

The exporter of the OpenTelemetry SDK is not used: its log signal is not stable yet (its modules begin with `_`), and
making its values would cost more than making the protocol's own messages, which are stable. It goes by the same
environment variables: OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_CERTIFICATE.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import SEVERITY_NUMBER_INFO, LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.util.re import parse_env_headers

from pdp.evidence.instants import parse_instant
from pdp.evidence.line.administration_json import AdministrationJson
from pdp.evidence.line.lapse_json import LapseJson
from pdp.evidence.line.record_json import ChangeJson, DecisionJson, Document
from pdp.evidence.telemetry import names
from pdp.evidence.telemetry.telemetry import RECONNECTING
from pdp.evidence.telemetry.told import attributes_of

_LOG = logging.getLogger(__name__)
_SAMPLED = 1


class _Spot(NamedTuple):
    """Which event a record is, and the span it belongs to; ids are empty where there is none."""

    event: str
    trace_id: str
    span_id: str
    sampled: bool


class LogMaker:
    """Makes log records that share one resource and scope."""

    def __init__(self, resource: Mapping[str, object], version: str = "", *, resource_ids: bool = False) -> None:
        """As `SpanMaker`."""
        self._resource = Resource(attributes=[_pair(name, value) for name, value in resource.items()])
        self._scope = InstrumentationScope(name=names.SCOPE, version=version)
        self._resource_ids = resource_ids

    def request(self, told: Iterable[Document]) -> ExportLogsServiceRequest:
        """Return what exports the records that are events: all but those of this process's own life."""
        records = [self._record(document, spot) for document in told if (spot := _spot(document)) is not None]
        scope = ScopeLogs(scope=self._scope, log_records=records, schema_url=names.SCHEMA_URL)
        return ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=self._resource, scope_logs=[scope])])

    def _record(self, told: Document, spot: _Spot) -> LogRecord:
        at = parse_instant(told.time)
        attributes = attributes_of(told, resource_ids=self._resource_ids)
        return LogRecord(
            time_unix_nano=at,
            observed_time_unix_nano=at,
            severity_number=SEVERITY_NUMBER_INFO,
            severity_text="INFO",
            event_name=spot.event,
            attributes=[_pair(name, value) for name, value in attributes.items()],
            trace_id=bytes.fromhex(spot.trace_id),
            span_id=bytes.fromhex(spot.span_id),
            flags=_SAMPLED if spot.sampled else 0,
        )


class LogSignal:
    """Records as log records, to an OTLP/gRPC collector."""

    name = "logs"

    def __init__(self, endpoint: str, maker: LogMaker, *, timeout_s: float = 5.0) -> None:
        """Connect to `http://host:port` in plain text, to `https://host:port` with TLS."""
        scheme, _, target = endpoint.partition("://")
        target = target.partition("/")[0]
        self._channel = (
            grpc.insecure_channel(target, RECONNECTING)
            if scheme == "http"
            else grpc.secure_channel(target, _trust(), RECONNECTING)
        )
        self._stub = LogsServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated
        self._metadata = tuple(
            parse_env_headers(os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True).items()
        )
        self._maker = maker
        self._timeout_s = timeout_s

    def export(self, told: Iterable[Document]) -> bool:
        """Send the records; what a collector rejects for good is said, and does not come again."""
        request = self._maker.request(told)
        try:
            answer = self._stub.Export(request, timeout=self._timeout_s, metadata=self._metadata)
        except (grpc.RpcError, ValueError):  # ValueError: the connection was closed, for this process ends
            return False
        if answer.partial_success.rejected_log_records:
            _LOG.error("the collector rejected log records: %s", answer.partial_success.error_message)
        return True

    def shutdown(self) -> None:
        """Close the connection, which ends an export that is under way."""
        self._channel.close()


def _trust() -> grpc.ChannelCredentials:
    authority = os.environ.get("OTEL_EXPORTER_OTLP_CERTIFICATE")
    return grpc.ssl_channel_credentials(None if authority is None else Path(authority).read_bytes())


def _spot(told: Document) -> _Spot | None:
    if isinstance(told, DecisionJson):
        return _Spot(names.DECISION_EVENT, told.trace_id, told.span_id, told.sampled)
    if isinstance(told, ChangeJson):
        return _Spot(names.CHANGE_EVENT, told.trace_id, told.span_id, bool(told.span_id))
    if isinstance(told, LapseJson):
        return _Spot(names.LAPSE_EVENT, told.trace_id, told.span_id, sampled=True)
    if isinstance(told, AdministrationJson):
        return _Spot(names.ADMINISTRATION_EVENT, told.trace_id, told.parent_span_id, sampled=False)
    return None


def _pair(name: str, value: object) -> KeyValue:
    return KeyValue(key=name, value=_value(value))


def _value(value: object) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, tuple):
        return AnyValue(array_value=ArrayValue(values=[_value(item) for item in value]))
    return AnyValue(string_value=str(value))
