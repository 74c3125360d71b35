"""All of evidence behind one port: the journal, and the spans, metrics and usage built from what it settles."""

from __future__ import annotations

import asyncio
import time
from asyncio import Future
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter
from prometheus_client import CollectorRegistry

from pdp.core.model import Attribute, Attributes, Instant
from pdp.core.reasons import Code
from pdp.evidence.archive.archive import Archive
from pdp.evidence.archive.retention import Retention
from pdp.evidence.index.record_index import RecordIndex
from pdp.evidence.journal.disk import Disk
from pdp.evidence.journal.journal import Journal, JournalStatus
from pdp.evidence.journal.ledger import Ledgers
from pdp.evidence.line.masking import MASKING_KEY_MADE, Masking, MaskRule
from pdp.evidence.record import (
    COUNTS_NO_USE,
    AdministrationRecord,
    AnyRecord,
    ChangeRecord,
    DecisionRecord,
    LapseRecord,
    LifecycleRecord,
)
from pdp.evidence.telemetry.alarms import Alarms
from pdp.evidence.telemetry.decision_lines import DecisionLines
from pdp.evidence.telemetry.export import Export
from pdp.evidence.telemetry.export_cursor import read_cursor
from pdp.evidence.telemetry.exporter import ExportSettings
from pdp.evidence.telemetry.metrics import (
    Gauges,
    Metrics,
    PrometheusEndpoint,
    PrometheusReader,
    PushReader,
    Sources,
    otlp_metrics,
)
from pdp.evidence.telemetry.spans import SpanMaker, SpanSignal
from pdp.evidence.telemetry.tally import Tally
from pdp.evidence.telemetry.telemetry import TelemetryStatus
from pdp.evidence.trouble import BufferFullError
from pdp.evidence.usage.usage import Restored, UseLedger
from pdp.evidence.usage.usage_book import UsageBook

_LEAST_S = 0.2
"""What is left for others when the journal has taken all the time there was."""


class EvidenceSettings(Struct, frozen=True, kw_only=True):
    """How evidence is kept."""

    directory: Path
    """Where the journal lives."""
    max_buffered: int = 65_536
    max_buffered_bytes: int = 256 * 1024 * 1024
    segment_bytes: int = 64 * 1024 * 1024
    flush_interval_s: float = 0.05
    compress: bool = True
    """Compress segments that are sealed."""
    retention: Retention = Retention()
    """How long sealed segments are kept."""
    export_required: bool = False
    """Keep what has not been exported yet, whatever its age."""
    mask: tuple[MaskRule, ...] = ()
    """Attributes that must not be on record."""
    version: str = ""
    """Of this product, for spans."""
    resource_attributes: dict[str, str] = {}
    """What describes this process in telemetry: `service.name`, `service.instance.id`, …"""
    otlp_endpoint: str = ""
    """Collector for spans, metrics and logs; empty: none."""
    otlp_insecure: bool = False
    logs: bool = False
    """Export records as log records too."""
    max_backlog: int = 1_000_000
    """Records of the journal that the export may be behind before it gives routine allows up."""
    resource_ids: bool = False
    """Put ids of protected resources on spans."""
    prometheus_host: str = "127.0.0.1"
    prometheus_port: int | None = None
    """None: no endpoint; 0: any free port."""


class Evidence:
    """Takes the records of a running sidecar, in order. All methods belong to the event loop's thread.

    A durable record gives a future: done once it is on disk, EvidenceUnavailableError if it will never be; the answer
    that rests on it must wait for that. Others return None at once and are written soon. Every method that records may
    raise BufferFullError, and EvidenceUnavailableError before start and after close. No record is ever dropped
    silently.
    """

    def __init__(
        self,
        settings: EvidenceSettings,
        gauges: Gauges,
        *,
        exporter: SpanExporter | None = None,
        decision_log: Callable[[dict[str, Attribute]], None] | None = None,
        disk: Disk | None = None,
    ) -> None:
        """Wire the parts; nothing is opened before `start`.

        `exporter` replaces the OTLP one of the settings. `decision_log` gets a line per decision, on its own thread.
        """
        self._settings = settings
        self._gauges = gauges
        self._lines = None if decision_log is None else DecisionLines(decision_log)
        self._resource = Resource.create(dict(settings.resource_attributes))
        self._ledger = UseLedger()
        self.usage = UsageBook()
        """What was used; see there for which thread may ask."""
        self.export = self._make_export(exporter)
        """Exports what is on record; None: there is no collector."""
        self.index = RecordIndex()
        """Finds records; see there for which thread may ask."""
        self._masking = Masking(settings.mask) if settings.mask else None
        # INVARIANT: last, so that all others have had a segment before it is looked after.
        self._archive = Archive(
            compressed=settings.compress,
            retention=settings.retention,
            may_remove=self._can_do_without,
            keeping=self.index.keeping,
        )
        self._journal = self._make_journal(disk)
        self._tally = Tally(time.time_ns())
        self._alarms = Alarms()
        self._endpoint: PrometheusEndpoint | None = None
        self._metrics: Metrics | None = None

    def start(self) -> Restored:
        """Open the journal and begin; return what was used before. Needs a running event loop.

        Raises what `Journal.open` raises, MaskingKeyError, and OSError if the Prometheus port is taken, or if a
        certificate for the collector cannot be read.
        """
        if self.export is not None:
            self.export.refuse_unreadable()
        key_made = "" if self._masking is None else self._masking.start(self._settings.directory)
        self._journal.open()
        if key_made:
            self._note(MASKING_KEY_MADE, {"key": key_made})
        self.usage.start()
        self.index.start()
        self._archive.start()
        if self._lines is not None:
            self._lines.start()
        if self.export is not None:
            self.export.start()
        sources = Sources(
            self._gauges,
            self._journal.status,
            self.telemetry_status,
            break_glass_taken=lambda: self._alarms.taken,
            index_behind=lambda: self.index.behind,
        )
        self._metrics = Metrics(sources, self._resource, self._tally, self._readers())
        return self._ledger.restored

    def record_decision(self, record: DecisionRecord, *, durable: bool) -> Future[None] | None:
        """Record an answer, before it is given."""
        try:
            return self._journal.append(record, durable=durable)
        except BufferFullError:
            if _is_last(record):
                self._tally.count_unrecorded(record.method)
            raise

    def record_change(self, record: ChangeRecord, *, durable: bool = True) -> Future[None] | None:
        """Record a commit."""
        return self._journal.append(record, durable=durable)

    def record_administration(self, record: AdministrationRecord) -> Future[None] | None:
        """Record an administrative call that changed nothing; durable if it was turned away."""
        return self._journal.append(record, durable=record.durable)

    def record_lapse(self, record: LapseRecord, *, durable: bool) -> Future[None] | None:
        """Record what ended by time."""
        return self._journal.append(record, durable=durable)

    def record_lifecycle(self, record: LifecycleRecord) -> None:
        """Record an event of this process."""
        self._journal.append(record)

    async def room(self, timeout_s: float) -> bool:
        """Wait until one record fits; return whether it does. After True the next record must follow without await."""
        return await self._journal.room(timeout_s)

    @property
    def healthy(self) -> bool:
        """Whether durable records can be written, as far as is known."""
        return self._journal.healthy

    @property
    def signing_key(self) -> str:
        """The fingerprint of the key that signs the journal; empty before start."""
        return self._archive.key

    def status(self) -> JournalStatus:
        """Return how the journal is doing."""
        return self._journal.status()

    def telemetry_status(self) -> TelemetryStatus:
        """Return how the export is doing."""
        return TelemetryStatus() if self.export is None else self.export.status()

    @property
    def prometheus_port(self) -> int | None:
        """The port of the Prometheus endpoint, if there is one."""
        return None if self._endpoint is None else self._endpoint.port

    def policies_reloaded(self, result: str) -> None:
        """Count a load of the policy set: `loaded`, or `rejected` when the last good set stays."""
        if self._metrics is not None:
            self._metrics.policies_reloaded(result)

    async def close(self, timeout_s: float = 5.0) -> int:
        """Write what is queued and then export what is due, for at most `timeout_s`; return records given up.

        Where processes that follow the journal hang it takes some seconds more.
        """
        give_up_at = time.monotonic() + timeout_s
        lost = await self._journal.close(timeout_s)
        left = max(give_up_at - time.monotonic(), _LEAST_S)
        await asyncio.gather(
            asyncio.to_thread(self._close_lines, left),
            asyncio.to_thread(self.usage.close),
            asyncio.to_thread(self.index.close),
            asyncio.to_thread(self._close_telemetry, left),
        )
        return lost

    def _close_lines(self, timeout_s: float) -> None:
        if self._lines is not None:
            self._lines.close(timeout_s)

    def _can_do_without(self, sequence: int) -> bool:
        """Return whether nobody needs the records up to this one any more; on the archive's thread.

        The index is not asked: what it lacks of a segment that goes could not be found from then on in any case.
        """
        if not self.usage.flush():
            return False
        exported = read_cursor(self._settings.directory) if self._settings.export_required else sequence
        return exported is not None and exported >= sequence

    def _close_telemetry(self, timeout_s: float) -> None:
        if self.export is not None:
            self.export.close(timeout_s)
        if self._endpoint is not None:
            self._endpoint.close()
        if self._metrics is not None:
            self._metrics.close(timeout_s)

    def _make_journal(self, disk: Disk | None) -> Journal:
        settings = self._settings
        return Journal(
            settings.directory,
            on_settled=self._settled,
            ledger=Ledgers(self._ledger, self.usage, self.index, *self._exporting(), self._archive),
            on_ended=self._archive.close,
            disk=disk,
            masking=self._masking,
            max_buffered=settings.max_buffered,
            max_buffered_bytes=settings.max_buffered_bytes,
            segment_bytes=settings.segment_bytes,
            flush_interval_s=settings.flush_interval_s,
        )

    def _exporting(self) -> Sequence[Export]:
        return () if self.export is None else (self.export,)

    def _note(self, name: str, attributes: Attributes) -> None:
        self.record_lifecycle(LifecycleRecord(name=name, at=Instant(time.time_ns()), attributes=attributes))

    def _make_export(self, exporter: SpanExporter | None) -> Export | None:
        settings = self._settings
        if exporter is None and not settings.otlp_endpoint:
            return None
        how = ExportSettings(
            endpoint=settings.otlp_endpoint,
            logs=settings.logs,
            resource=dict(self._resource.attributes),
            version=settings.version,
            resource_ids=settings.resource_ids,
            max_backlog=settings.max_backlog,
        )
        maker = SpanMaker(self._resource, settings.version, resource_ids=settings.resource_ids)
        return Export(how, () if exporter is None else (SpanSignal(exporter, maker),))

    def _readers(self) -> list[MetricReader]:
        settings = self._settings
        readers: list[MetricReader] = []
        if settings.prometheus_port is not None:
            registry = CollectorRegistry()
            readers.append(PrometheusReader(self._tally, registry))
            self._endpoint = PrometheusEndpoint(registry, settings.prometheus_host, settings.prometheus_port)
        if settings.otlp_endpoint:
            exporter = otlp_metrics(settings.otlp_endpoint, insecure=settings.otlp_insecure)
            readers.append(PushReader(self._tally, self._resource, exporter))
        return readers

    def _settled(self, records: Sequence[AnyRecord]) -> None:
        """Hand records on to whoever builds on them."""
        self._tally.count(records)
        self._alarms.hear(records)
        if self._lines is not None:
            self._lines.offer(records)


def _is_last(record: DecisionRecord) -> bool:
    """Whether nothing else is tried where there is no room for the record: the answer is EVIDENCE_UNAVAILABLE then."""
    return record.method in COUNTS_NO_USE or record.decision.code in (Code.EVIDENCE_UNAVAILABLE, Code.OVERLOADED)
