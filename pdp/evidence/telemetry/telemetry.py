"""Exports records in a thread of its own, as spans and as log records.

Rule 1: what cannot be exported is tried again until it can be; the outbox bounds what that takes of memory.
Rule 2: a portion is done when every signal was acknowledged; none is sent again because another one failed.
Rule 3: what the collector refuses for good is given up, alone: a batch is halved until it is found.
Rule 4: shutting down takes bounded time, whatever the exporters do.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias

import msgspec
from msgspec import Struct
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pdp.evidence.line.record_json import Document
from pdp.evidence.telemetry.outbox import Item, Outbox, Portion
from pdp.evidence.telemetry.spans import SpanMaker
from pdp.evidence.telemetry.told import told_by_line, told_by_record
from pdp.evidence.trouble import JournalDamagedError

_LOG = logging.getLogger(__name__)

_BATCH = 512
_LINGER_S = 0.2
"""How long records gather; a batch costs the exporter one call."""
_SAVE_EVERY_S = 1.0
"""How much of the export is repeated after a crash, at most about."""

_SLICE = 16
_PAUSE_S = 0.0002
"""After each slice the thread pauses, so that the event loop gets its turn within a batch."""

_FIRST_BACKOFF_S = 0.5
_LAST_BACKOFF_S = 10.0
"""So long a collector may be back before anything arrives."""
_MOST_FAULTS = 5
"""How often an exporter may fail with an error of its own at one and the same record before that is given up."""


class TelemetryStatus(Struct, frozen=True):
    """How the export is doing."""

    exported: int = 0
    """Records that were acknowledged."""
    lost: int = 0
    """Records that were due and never will be."""
    failures: int = 0
    """Attempts that failed."""
    behind: int = 0
    """Records of the journal behind the last one up to which everything due was acknowledged."""


class Taken(Struct, frozen=True):
    """The collector acknowledged an export."""

    rejected: int = 0
    """Items of it that it has thrown away, by its own account."""
    why: str = ""


class Away(Struct, frozen=True):
    """It did not, but may do so later."""

    why: str


class Refused(Struct, frozen=True):
    """It never will, as long as it gets the same."""

    why: str


Answer: TypeAlias = Taken | Away | Refused
"""What became of an export."""


class Signal(Protocol):
    """One way out: spans, or log records."""

    name: str

    def export(self, told: Iterable[Document]) -> Answer:
        """Send what the records say.

        An error that is raised counts as `Away`; raised again and again at one record alone, as `Refused`.
        """

    def shutdown(self) -> None:
        """Interrupt an export that is under way, and take no more."""


class SpanSignal:
    """Records as spans, by an exporter of the OpenTelemetry SDK."""

    name = "spans"

    def __init__(self, exporter: SpanExporter, maker: SpanMaker) -> None:
        """Export what the maker makes."""
        self._exporter = exporter
        self._maker = maker

    def export(self, told: Iterable[Document]) -> Answer:
        """Send the spans of those records that have one."""
        spans = self._maker.spans(told)
        if not spans or self._exporter.export(spans) is SpanExportResult.SUCCESS:
            return Taken()
        return Away("the exporter says no more")

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()


class _Lane:
    """One signal's way through a portion, in batches that shrink where they are refused and grow again."""

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.failures = 0
        self.given_up = 0
        self._size = _BATCH
        self._done = 0
        self._faults = 0
        self._failing = False
        self._losing = False
        """Something of this portion was lost."""
        self._loss_said = False

    def begin(self) -> None:
        """Take on the next portion."""
        self._done = 0
        self._loss_said, self._losing = self._losing, False

    def push(self, items: Sequence[Item]) -> bool:
        """Export what is left of the portion; return whether all of it was, or was given up."""
        while self._done < len(items):
            batch = items[self._done : self._done + self._size]
            answer = self._export(batch)
            self._say(answer)
            if not isinstance(answer, Taken):
                self.failures += 1
            if isinstance(answer, Refused) and len(batch) == 1:
                answer = Taken(1, answer.why)
            if isinstance(answer, Taken):
                self._lose(min(answer.rejected, len(batch)), answer.why)
                self._done += len(batch)
                self._size = min(self._size * 2, _BATCH)
                continue
            self._size = max(len(batch) // 2, 1)
            if isinstance(answer, Away):
                return False
        return True

    def _export(self, batch: Sequence[Item]) -> Answer:
        try:
            answer = self.signal.export(self._told(batch))
        except Exception as error:  # noqa: BLE001  # an exporter's bug counts as a failed export
            self._faults = self._faults + 1 if len(batch) == 1 else 0
            if not self._failing:
                _LOG.exception("the exporter of %s failed", self.signal.name)
            if self._faults < _MOST_FAULTS:
                return Away(type(error).__name__)
            answer = Refused(f"the exporter fails at it: {type(error).__name__}")
        self._faults = 0
        return answer

    def _say(self, answer: Answer) -> None:
        """Say when an outage begins and ends. One that refuses something is there, but who knows about the rest."""
        if isinstance(answer, Away) and not self._failing:
            _LOG.warning("%s cannot be exported: %s", self.signal.name, answer.why)
            self._failing = True
        elif isinstance(answer, Taken) and self._failing:
            _LOG.warning("%s are exported again", self.signal.name)
            self._failing = False

    def _lose(self, count: int, why: str) -> None:
        """Count what the collector will never have; it is said again only after a portion of which nothing was lost."""
        if count <= 0:
            return
        self.given_up += count
        self._losing = True
        if not self._loss_said:
            self._loss_said = True
            _LOG.error("some %s are lost to the collector: %s", self.signal.name, why)

    def _told(self, batch: Sequence[Item]) -> Iterator[Document]:
        for number, item in enumerate(batch):
            if number % _SLICE == _SLICE - 1:
                time.sleep(_PAUSE_S)
            yield told_by_line(item) if isinstance(item, bytes) else told_by_record(item)


class Telemetry:
    """Empties an outbox."""

    def __init__(
        self,
        outbox: Outbox,
        signals: Sequence[Signal],
        *,
        linger_s: float = _LINGER_S,
        first_backoff_s: float = _FIRST_BACKOFF_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Retry with growing pauses."""
        self._outbox = outbox
        self._lanes = [_Lane(signal) for signal in signals]
        self._linger_s = linger_s
        self._first_backoff_s = first_backoff_s
        self._monotonic = monotonic
        self._ending = threading.Event()
        self._give_up_at = float("inf")
        self._save_at = 0.0
        self._exported = 0
        self._unreadable = False
        self._portion: Portion | None = None
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def start(self) -> None:
        """Begin exporting."""
        self._thread.start()

    def status(self) -> TelemetryStatus:
        """Return how it is doing; callable from any thread."""
        return TelemetryStatus(
            exported=self._exported,
            lost=self._outbox.lost + sum(lane.given_up for lane in self._lanes),
            failures=sum(lane.failures for lane in self._lanes),
            behind=self._outbox.behind,
        )

    def close(self, timeout_s: float = 5.0) -> int:
        """Export what is due, for at most about `timeout_s`; return how many records were lost over all.

        What must arrive and has not is exported by the next start.
        """
        self._give_up_at = self._monotonic() + timeout_s
        self._ending.set()
        self._outbox.work.set()
        started = self._thread.ident is not None
        if started:
            self._thread.join(timeout_s)
        for lane in self._lanes:
            lane.signal.shutdown()  # also interrupts an OTLP export that waits for a retry
        if started:
            self._thread.join(1.0)
        self._outbox.give_up(self._portion)
        self._outbox.save()
        return self.status().lost

    def _run(self) -> None:
        while True:
            self._save()
            self._portion = self._take()
            if self._portion is None:
                if self._ending.is_set():
                    return
                self._await_work()
            elif not self._deliver(self._portion) or (self._ending.is_set() and self._late()):
                return

    def _await_work(self) -> None:
        if self._outbox.work.wait(_SAVE_EVERY_S):
            self._outbox.work.clear()
            self._ending.wait(self._linger_s)

    def _take(self) -> Portion | None:
        try:
            portion = self._outbox.take(_BATCH)
        except (OSError, JournalDamagedError, msgspec.DecodeError) as error:
            if not self._unreadable:
                _LOG.error("what must be exported cannot be read from the journal: %s", error)
            self._unreadable = True
            self._ending.wait(self._first_backoff_s)
            return None
        self._unreadable = False
        return portion

    def _deliver(self, portion: Portion) -> bool:
        """Export a portion, however long that takes; return False if the end comes first."""
        backoff = self._first_backoff_s
        for lane in self._lanes:
            lane.begin()
        while not self._push(portion):
            self._save()
            self._ending.wait(backoff)
            if self._ending.is_set():
                if self._monotonic() >= self._give_up_at - backoff:
                    return False
                time.sleep(min(backoff, _LINGER_S))
            backoff = min(backoff * 2, _LAST_BACKOFF_S)
        self._exported += len(portion.items)
        self._outbox.acknowledge(portion)
        self._portion = None
        if portion.sequence is None and len(portion.items) < _BATCH:
            self._ending.wait(self._linger_s)
        return True

    def _push(self, portion: Portion) -> bool:
        pushed = [lane.push(portion.items) for lane in self._lanes]  # every one is tried, even while another one fails
        return all(pushed)

    def _late(self) -> bool:
        return self._monotonic() >= self._give_up_at

    def _save(self) -> None:
        now = self._monotonic()
        if now >= self._save_at:
            self._save_at = now + _SAVE_EVERY_S
            self._outbox.save()
