"""Records as OTLP log records, for those who look for events where their logs are.

They are made as the protocol's own messages, which are stable, as the log signal of the OpenTelemetry SDK is not yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import SEVERITY_NUMBER_INFO, LogRecord, ResourceLogs, ScopeLogs

from pdp.evidence.instants import parse_instant
from pdp.evidence.line.administration_json import AdministrationJson
from pdp.evidence.line.lapse_json import LapseJson
from pdp.evidence.line.record_json import ChangeJson, DecisionJson, Document
from pdp.evidence.telemetry import names
from pdp.evidence.telemetry.otlp_values import pairs, resource_of
from pdp.evidence.telemetry.told import attributes_of

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
        """As `SpanRequests`."""
        self._resource = resource_of(resource)
        self._scope = InstrumentationScope(name=names.SCOPE, version=version)
        self._resource_ids = resource_ids

    def request(self, told: Iterable[Document]) -> ExportLogsServiceRequest:
        """Return what exports the records that are events: all but those of this process's own life."""
        records = [self._record(document, spot) for document in told if (spot := _spot(document)) is not None]
        scope = ScopeLogs(scope=self._scope, log_records=records, schema_url=names.SCHEMA_URL)
        return ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=self._resource, scope_logs=[scope])])

    def _record(self, told: Document, spot: _Spot) -> LogRecord:
        at = parse_instant(told.time)
        return LogRecord(
            time_unix_nano=at,
            observed_time_unix_nano=at,
            severity_number=SEVERITY_NUMBER_INFO,
            severity_text="INFO",
            event_name=spot.event,
            attributes=pairs(attributes_of(told, resource_ids=self._resource_ids)),
            trace_id=bytes.fromhex(spot.trace_id),
            span_id=bytes.fromhex(spot.span_id),
            flags=_SAMPLED if spot.sampled else 0,
        )


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
