"""Export: everything arrives, trouble is bounded and counted, the end comes in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pdp.evidence.line.chain import GENESIS, line_of
from pdp.evidence.line.record_json import DecisionJson, Document, body_of
from pdp.evidence.telemetry import backlog
from pdp.evidence.telemetry.backlog import Backlog, Progress
from pdp.evidence.telemetry.due import Due
from pdp.evidence.telemetry.export_cursor import read_cursor
from pdp.evidence.telemetry.signals import Answer, Away, Refused, Taken
from pdp.evidence.telemetry.telemetry import Report, Telemetry
from tests.unit.test_evidence_backlog import Writing, allow, denial

PATIENCE_S = 30.0


class Collector:
    """A fake way out that can be away, fail loudly, refuse much at once, or hang."""

    name = "spans"

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sizes: list[int] = []
        self.away = False
        self.poison = self.unwanted = ""
        self.rejected = 0
        self.most = 1_000
        self.hanging = threading.Event()
        self.hanging.set()
        self.arrived = threading.Semaphore(0)
        self.attempted = threading.Semaphore(0)

    def export(self, told: Sequence[Document]) -> Answer:
        """Take the records, or do what was told."""
        names = [document.decision_id for document in told if isinstance(document, DecisionJson)]
        self.attempted.release()
        self.hanging.wait()
        if self.poison in names:
            message = "boom"
            raise RuntimeError(message)
        if self.unwanted in names:
            return Refused("unwanted")
        if self.away or len(names) > self.most:
            return Away("away")
        self.sizes.append(len(names))
        for name in names:
            self.names.append(name)
            self.arrived.release()
        return Taken(self.rejected, "no room")

    def shutdown(self) -> None:
        """Interrupt what hangs."""
        self.hanging.set()

    def await_attempts(self, count: int) -> None:
        """Wait until that many more exports were tried."""
        for _ in range(count):
            assert self.attempted.acquire(timeout=PATIENCE_S)

    def await_records(self, count: int) -> None:
        """Wait until that many more have arrived."""
        for _ in range(count):
            assert self.arrived.acquire(timeout=PATIENCE_S)


class Exporting:
    """Telemetry over a journal, with no patience between retries."""

    def __init__(self, directory: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.collector, self.other = Collector(), Collector()
        self.journal = Writing(directory)
        self.reports: list[Report] = []
        signals = [self.collector, self.other]
        self.backlog = Backlog(directory, Due(logs=False), Progress(0), most=4)
        self.telemetry = Telemetry(
            self.backlog, signals, self.reports.append, linger_s=0.001, first_backoff_s=0.001, monotonic=monotonic
        )
        self.thread = threading.Thread(target=self.telemetry.run, daemon=True)

    def write(self, *names: str) -> None:
        """Record denials."""
        self.journal.write(*map(denial, names))
        self.telemetry.counted(self.journal.end)

    def close(self, timeout_s: float = PATIENCE_S) -> Report:
        """Export what is due, and return what was done over all."""
        assert self.telemetry.close(timeout_s)
        self.thread.join(PATIENCE_S)
        return self.reports[-1] if self.reports else Report(Progress(0))


@pytest.fixture
def exporting(tmp_path: Path) -> Iterator[Exporting]:
    """Return telemetry that runs."""
    running = Exporting(tmp_path)
    running.thread.start()
    yield running
    running.collector.hanging.set()
    running.close(0.1)


def test_records_arrive_in_order_by_every_signal(exporting: Exporting) -> None:
    """What was offered is exported, and counted."""
    exporting.write("1", "2")
    exporting.write("3")
    exporting.other.await_records(3)
    assert (exporting.collector.names, exporting.other.names) == (["1", "2", "3"], ["1", "2", "3"])
    report = exporting.close()
    assert (report.exported, report.progress) == (3, Progress(3))


def test_records_wait_for_a_collector_that_is_away(exporting: Exporting) -> None:
    """They are retried, in order; each failed attempt is counted."""
    exporting.collector.away = True
    exporting.write("1", "2")
    exporting.collector.await_attempts(3)
    exporting.collector.away = False
    exporting.collector.await_records(2)
    assert exporting.collector.names == ["1", "2"]
    assert exporting.close().failures >= 2


def test_what_one_signal_has_acknowledged_is_not_sent_again_for_another(exporting: Exporting) -> None:
    """A collector without a pipeline for logs gets each span once."""
    exporting.other.away = True
    exporting.write("1", "2")
    exporting.other.await_attempts(4)
    assert exporting.collector.names == ["1", "2"]
    exporting.other.away = False
    exporting.other.await_records(2)
    assert exporting.collector.names == ["1", "2"]


def test_what_is_too_much_at_once_is_sent_in_parts(exporting: Exporting) -> None:
    """Collectors bound the size of a message."""
    exporting.collector.most = 3
    names = [str(number) for number in range(20)]
    exporting.write(*names)
    exporting.collector.await_records(20)
    assert exporting.collector.names == names


def test_a_record_at_which_the_exporter_fails_holds_up_no_other(exporting: Exporting) -> None:
    """It is given up, counted, and said."""
    exporting.collector.poison = "2"
    exporting.write("1", "2", "3")
    exporting.collector.await_records(2)
    assert (exporting.collector.names, exporting.close().progress.lost) == (["1", "3"], 1)


def test_a_record_that_is_refused_for_good_holds_up_no_other(
    exporting: Exporting, caplog: pytest.LogCaptureFixture
) -> None:
    """It is found by halving, without a pause, given up, counted, and said once; no other is lost."""
    exporting.collector.unwanted = "300"
    names = [str(number) for number in range(500)]
    exporting.write(*names)
    exporting.collector.await_records(499)
    exporting.other.await_records(500)
    names.remove("300")
    assert (exporting.collector.names, exporting.close().progress.lost) == (names, 1)
    assert sum("unwanted" in message for message in caplog.messages) == 1


def test_what_a_collector_rejects_is_counted_and_said_once(
    exporting: Exporting, caplog: pytest.LogCaptureFixture
) -> None:
    """It is acknowledged, so nothing else would tell; never more than were sent, whatever it claims."""
    exporting.collector.rejected = 1_000
    exporting.write("1", "2")
    exporting.other.await_records(2)
    exporting.write("3")
    exporting.other.await_records(1)
    exporting.collector.rejected = -5
    exporting.write("4")
    exporting.other.await_records(1)
    assert exporting.close().progress.lost == 3
    assert sum("some spans are lost to the collector" in message for message in caplog.messages) == 1


def test_closing_exports_what_is_queued(exporting: Exporting) -> None:
    """The last records of a process are as good as the others."""
    exporting.write("1", "2")
    exporting.close()
    assert exporting.collector.names == ["1", "2"]


def test_closing_gives_up_on_a_collector_that_is_away(exporting: Exporting) -> None:
    """What must arrive is not lost by that: the next start has it in the journal."""
    exporting.collector.away = True
    exporting.write("1", "2")
    exporting.collector.await_attempts(1)
    assert exporting.close(0.05).progress == Progress(0)


def test_closing_does_not_wait_for_a_collector_that_hangs(exporting: Exporting) -> None:
    """Shutting the exporter down interrupts it."""
    exporting.collector.hanging.clear()
    exporting.write("1")
    exporting.collector.await_attempts(1)
    exporting.close(0.05)
    assert not exporting.thread.is_alive()


def test_the_cursor_is_on_disk_at_the_end(exporting: Exporting, tmp_path: Path) -> None:
    """Nothing is repeated by the next start."""
    exporting.write("1", "2")
    exporting.close()
    assert read_cursor(tmp_path) == 2


def test_what_is_too_far_behind_is_reported_during_an_outage(exporting: Exporting) -> None:
    """Not only when it is over."""
    exporting.collector.away = True
    exporting.write("1")
    exporting.collector.await_attempts(1)
    exporting.journal.write(*(allow(str(number)) for number in range(10)))
    exporting.telemetry.counted(exporting.journal.end)
    while not any(report.progress.lost for report in exporting.reports):
        exporting.collector.await_attempts(1)
    exporting.collector.away = False
    assert exporting.close().progress.lost == 6
    assert exporting.collector.names == ["1", "6", "7", "8", "9"]


def test_what_is_only_passed_is_reported_once_a_second(tmp_path: Path) -> None:
    """Each report wakes a thread of the sidecar; how far the export is shows all the same."""
    now = [0.0]
    exporting = Exporting(tmp_path, lambda: now[0])
    exporting.thread.start()
    for number in range(1, 4):
        now[0] += 0.3
        exporting.journal.write(allow("unsampled", sampled=False))
        exporting.telemetry.counted(number)
        while exporting.backlog.progress.cursor < number:
            threading.Event().wait(0.001)
    reported = len(exporting.reports)
    now[0] += 1.0
    while exporting.reports[-1:] != [Report(Progress(3))]:
        exporting.telemetry.counted(3)
        threading.Event().wait(0.001)
    assert (reported <= 1, exporting.close()) == (True, Report(Progress(3)))


def test_a_journal_that_cannot_be_read_is_said_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export goes on when it can be."""
    monkeypatch.setattr(backlog, "_MOST_TRIES", 1_000_000)
    segment = tmp_path / f"{1:020d}.jsonl"
    exporting = Exporting(tmp_path)
    segment.write_bytes(b"damage\n")
    exporting.thread.start()
    exporting.telemetry.counted(1)
    while "cannot be read" not in caplog.text:
        threading.Event().wait(0.001)
    line, _ = line_of(body_of(denial("1")), 1, GENESIS)
    segment.write_bytes(line)
    exporting.collector.await_records(1)
    exporting.close()
    assert exporting.collector.names == ["1"]
    assert sum("cannot be read" in message for message in caplog.messages) == 1
