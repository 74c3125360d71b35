"""Exports spans of records in a thread of its own.

Rule 1: the backlog is bounded: when the exporter does not keep up, the oldest spans give way, are counted, and the
loss is logged once per outage. The journal has every record all the same.
Rule 2: shutting down takes bounded time, whatever the exporter does.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pdp.evidence.record import AnyRecord, ChangeRecord, DecisionRecord, LapseRecord
from pdp.evidence.spans import SpanMaker, is_exported

_LOG = logging.getLogger(__name__)

_BATCH = 512
_LINGER_S = 0.2
"""How long spans gather; a batch costs the exporter one call."""

_SLICE = 16
_PAUSE_S = 0.0002
"""After each slice the thread pauses, so that the event loop gets its turn within a batch."""

_FIRST_BACKOFF_S = 0.5
_LAST_BACKOFF_S = 30.0

Exported: TypeAlias = DecisionRecord | ChangeRecord | LapseRecord


def otlp_spans(endpoint: str, *, insecure: bool, timeout_s: float = 5.0) -> SpanExporter:
    """Return an exporter to an OTLP/gRPC collector."""
    return OTLPSpanExporter(endpoint=endpoint, insecure=insecure, timeout=timeout_s)


class Telemetry:
    """Takes records from any one thread, exports their spans from another."""

    def __init__(
        self,
        exporter: SpanExporter,
        maker: SpanMaker,
        *,
        max_backlog: int = 16_384,
        linger_s: float = _LINGER_S,
        first_backoff_s: float = _FIRST_BACKOFF_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep at most `max_backlog` records while the exporter fails; retry with growing pauses."""
        self._exporter = exporter
        self._maker = maker
        self._max_backlog = max_backlog
        self._linger_s = linger_s
        self._first_backoff_s = first_backoff_s
        self._monotonic = monotonic
        self._backlog: deque[Exported] = deque()
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._ending = threading.Event()
        self._give_up_at = float("inf")
        self._failing = False
        self._loss_said = False
        self.lost = 0
        """Spans that were never exported."""
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def start(self) -> None:
        """Begin exporting."""
        self._thread.start()

    def offer(self, records: Sequence[AnyRecord]) -> None:
        """Queue those records that become spans; never blocks."""
        chosen = [record for record in records if is_exported(record)]
        if not chosen:
            return
        with self._lock:
            self._backlog.extend(chosen)  # type: ignore[arg-type]  # `is_exported` is true of these kinds alone
            excess = max(len(self._backlog) - self._max_backlog, 0)
            for _ in range(excess):
                self._backlog.popleft()
            self.lost += excess
        if excess:
            self._say_loss()
        self._work.set()

    def close(self, timeout_s: float = 5.0) -> int:
        """Export what is queued, for at most about `timeout_s`; return how many spans were lost over all."""
        self._give_up_at = self._monotonic() + timeout_s
        self._ending.set()
        self._work.set()
        self._thread.join(timeout_s)
        self._exporter.shutdown()  # also interrupts an OTLP export that waits for a retry
        self._thread.join(1.0)
        with self._lock:
            self.lost += len(self._backlog)
            self._backlog.clear()
        return self.lost

    def _run(self) -> None:
        backoff = self._first_backoff_s
        while self._await_work():
            batch = self._take()
            if not batch:
                continue
            if self._export(batch):
                backoff = self._first_backoff_s
                continue
            self._put_back(batch)
            self._ending.wait(backoff)
            if self._ending.is_set() and self._monotonic() >= self._give_up_at - backoff:
                return
            backoff = min(backoff * 2, _LAST_BACKOFF_S)

    def _await_work(self) -> bool:
        """Return False once there is nothing left to do at the end."""
        if self._ending.is_set():
            return bool(self._backlog) and self._monotonic() < self._give_up_at
        if not self._backlog:
            self._work.wait()
            self._work.clear()
        if len(self._backlog) < _BATCH:
            self._ending.wait(self._linger_s)
        return True

    def _take(self) -> list[Exported]:
        with self._lock:
            return [self._backlog.popleft() for _ in range(min(_BATCH, len(self._backlog)))]

    def _put_back(self, batch: Sequence[Exported]) -> None:
        with self._lock:
            room = max(self._max_backlog - len(self._backlog), 0)
            kept = batch[len(batch) - room :] if room < len(batch) else batch
            self.lost += len(batch) - len(kept)
            self._backlog.extendleft(reversed(kept))
        if len(kept) < len(batch):
            self._say_loss()

    def _export(self, batch: Sequence[Exported]) -> bool:
        spans = []
        for number, record in enumerate(batch):
            if number % _SLICE == _SLICE - 1:
                self._ending.wait(_PAUSE_S)
            spans.append(self._maker.span(record))
        succeeded = False
        with contextlib.suppress(Exception):  # an exporter's bug counts as a failed export
            succeeded = self._exporter.export(spans) is SpanExportResult.SUCCESS
        if succeeded and self._failing:
            _LOG.warning("spans are exported again")
            self._loss_said = False
        if not succeeded and not self._failing:
            _LOG.warning("spans cannot be exported, up to %d are kept", self._max_backlog)
        self._failing = not succeeded
        return succeeded

    def _say_loss(self) -> None:
        if not self._loss_said:
            self._loss_said = True
            _LOG.error("spans are lost: more than %d could not be exported", self._max_backlog)
