"""Export of spans: everything arrives, trouble is bounded and counted, the end comes in time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pdp.core.decide import refuse
from pdp.core.model import Instant, Request
from pdp.core.reasons import Code
from pdp.core.snapshot import Snapshot
from pdp.evidence.record import DecisionRecord
from pdp.evidence.spans import SpanMaker
from pdp.evidence.telemetry import Telemetry
from pdp.evidence.trace import Ids

NOW = Instant(1_772_355_600_000_000_000)
IDS = Ids()
PATIENCE_S = 30.0


class Collector(SpanExporter):
    """A fake collector that can be away, fail loudly, or hang."""

    def __init__(self) -> None:
        self.names: list[object] = []
        self.attempts = 0
        self.away = False
        self.raises = False
        self.hanging = threading.Event()
        self.hanging.set()
        self.arrived = threading.Semaphore(0)
        self.attempted = threading.Semaphore(0)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take the spans, or do what was told."""
        self.attempts += 1
        self.attempted.release()
        self.hanging.wait()
        if self.raises:
            message = "boom"
            raise RuntimeError(message)
        if self.away:
            return SpanExportResult.FAILURE
        for span in spans:
            self.names.append((span.attributes or {})["pdp.decision.id"])
            self.arrived.release()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Interrupt what hangs."""
        self.hanging.set()

    def await_spans(self, count: int) -> None:
        """Wait until that many more have arrived."""
        for _ in range(count):
            assert self.arrived.acquire(timeout=PATIENCE_S)


def denial(name: str) -> DecisionRecord:
    """Return the record of a deny, which is always exported."""
    return DecisionRecord(
        decision_id=name, trace=IDS.child(None), method="Check", request=Request("a", "b", "c:d"),
        decision=refuse(Code.STATE_STALE, "no news", Snapshot(), NOW), started_at=NOW, ended_at=NOW,
    )  # fmt: skip


@pytest.fixture
def collector() -> Collector:
    """Return a collector that works."""
    return Collector()


@pytest.fixture
def telemetry(collector: Collector) -> Iterator[Telemetry]:
    """Return telemetry to it with a small backlog and no patience between retries."""
    running = Telemetry(collector, SpanMaker(Resource({})), max_backlog=4, linger_s=0.001, first_backoff_s=0.001)
    running.start()
    yield running
    collector.hanging.set()
    running.close(0.1)


def test_spans_arrive_in_order(collector: Collector, telemetry: Telemetry) -> None:
    """What was offered is exported."""
    telemetry.offer([denial("1"), denial("2")])
    telemetry.offer([denial("3")])
    collector.await_spans(3)
    assert collector.names == ["1", "2", "3"]


def test_spans_wait_for_a_collector_that_is_away(collector: Collector, telemetry: Telemetry) -> None:
    """They are retried, in order, and none is lost."""
    collector.away = True
    telemetry.offer([denial("1"), denial("2")])
    for _ in range(3):
        assert collector.attempted.acquire(timeout=PATIENCE_S)
    collector.away = False
    collector.await_spans(2)
    assert (collector.names, telemetry.lost) == (["1", "2"], 0)


def test_an_exporters_bug_counts_as_a_failed_export(collector: Collector, telemetry: Telemetry) -> None:
    """The thread survives it."""
    collector.raises = True
    telemetry.offer([denial("1")])
    assert collector.attempted.acquire(timeout=PATIENCE_S)
    collector.raises = False
    collector.await_spans(1)
    assert collector.names == ["1"]


def test_the_oldest_spans_give_way_and_are_counted(
    collector: Collector, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """The backlog is bounded, and the loss is said once."""
    collector.hanging.clear()
    telemetry.offer([denial("0")])
    assert collector.attempted.acquire(timeout=PATIENCE_S)
    for name in "123456":
        telemetry.offer([denial(name)])
    assert telemetry.lost == 2
    collector.hanging.set()
    collector.await_spans(5)
    assert collector.names == ["0", "3", "4", "5", "6"]
    assert sum("spans are lost" in message for message in caplog.messages) == 1


def test_closing_exports_what_is_queued(collector: Collector, telemetry: Telemetry) -> None:
    """The last spans of a process are as good as the others."""
    telemetry.offer([denial("1"), denial("2")])
    assert telemetry.close(PATIENCE_S) == 0
    assert collector.names == ["1", "2"]


def test_closing_gives_up_on_a_collector_that_is_away(collector: Collector, telemetry: Telemetry) -> None:
    """And counts what it gave up."""
    collector.away = True
    telemetry.offer([denial("1"), denial("2")])
    assert telemetry.close(0.05) == 2


def test_closing_does_not_wait_for_a_collector_that_hangs(collector: Collector, telemetry: Telemetry) -> None:
    """Shutting the exporter down interrupts it."""
    collector.hanging.clear()
    telemetry.offer([denial("1")])
    assert collector.attempted.acquire(timeout=PATIENCE_S)
    telemetry.close(0.05)
    assert not telemetry._thread.is_alive()
