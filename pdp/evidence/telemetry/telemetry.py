"""Exports what a backlog has, as spans and as log records: in the exporter's process, or in a thread.

Rule 1: what cannot be exported is tried again until it can be; it waits in the journal, not in memory.
Rule 2: a portion is done when every signal was acknowledged; none is sent again because another one failed.
Rule 3: shutting down takes bounded time, whatever the exporters do.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from pdp.evidence.telemetry.backlog import Backlog, Portion, Progress
from pdp.evidence.telemetry.lane import BATCH, Lane
from pdp.evidence.telemetry.signals import Signal
from pdp.evidence.trouble import JournalDamagedError

_LOG = logging.getLogger(__name__)

_SAVE_EVERY_S = 1.0
"""How much of the export is repeated after a crash, at most about; and how often it is told what was only passed."""
_FIRST_BACKOFF_S = 0.5
_LAST_BACKOFF_S = 10.0
"""So long a collector may be back before anything arrives."""
_LAST_TRIES_S = 0.2
"""Between two tries while the end is near."""
_LAST_WORK_S = 1.0
"""After exporters were interrupted."""


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


class Report(Struct, frozen=True, tag="report"):
    """What one life of an export has done so far."""

    progress: Progress
    exported: int = 0
    failures: int = 0


class Telemetry:
    """Empties a backlog. `run` is for one thread, `counted` and `close` for others."""

    def __init__(
        self,
        backlog: Backlog,
        signals: Sequence[Signal],
        report: Callable[[Report], None],
        *,
        linger_s: float = 0.0,
        first_backoff_s: float = _FIRST_BACKOFF_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let records gather for `linger_s`, and retry with growing pauses.

        `report` is told of each portion that was exported or lost, and about every second how much was only passed.
        """
        self._backlog = backlog
        self._lanes = [Lane(signal) for signal in signals]
        self._report = report
        self._linger_s = linger_s
        self._first_backoff_s = first_backoff_s
        self._monotonic = monotonic
        self._until = 0
        self._work = threading.Event()
        self._ending = threading.Event()
        self._ended = threading.Event()
        self._give_up_at = float("inf")
        self._save_at = 0.0
        self._exported = 0
        self._reported = Report(backlog.progress)
        self._unreadable = False

    def counted(self, sequence: int) -> None:
        """Take note that the journal is on disk up to this record."""
        self._until = max(self._until, sequence)
        self._work.set()

    def run(self) -> None:
        """Export, until `close`; then what is due, for as long as that allows."""
        try:
            while (portion := self._take()) is not None or not self._ending.is_set():
                if portion is None:
                    self._await_work()
                elif not self._deliver(portion) or (self._ending.is_set() and self._late()):
                    break
                self._save()
        finally:
            self._backlog.save()
            self._tell()
            self._ended.set()

    def close(self, timeout_s: float) -> bool:
        """Let `run` export what is due, for at most about `timeout_s`; return whether it has ended.

        What has not been exported then is exported by the next start.
        """
        self._give_up_at = self._monotonic() + timeout_s
        self._ending.set()
        self._work.set()
        self._ended.wait(timeout_s)
        for lane in self._lanes:
            lane.signal.shutdown()  # also interrupts an OTLP export that waits for an answer
        return self._ended.wait(_LAST_WORK_S)

    def _await_work(self) -> None:
        if self._work.wait(_SAVE_EVERY_S):
            self._work.clear()
            self._ending.wait(self._linger_s)

    def _take(self) -> Portion | None:
        try:
            portion = self._backlog.take(self._until, BATCH)
        except (OSError, JournalDamagedError) as error:
            if not self._unreadable:
                _LOG.error("what must be exported cannot be read from the journal: %s", error)
            self._unreadable = True
            self._ending.wait(self._first_backoff_s)
            self._work.set()
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
            self._backlog.give_up(self._until)
            self._tell()
            self._ending.wait(backoff)
            if self._ending.is_set():
                if self._monotonic() >= self._give_up_at - backoff:
                    return False
                time.sleep(min(backoff, _LAST_TRIES_S))
            backoff = min(backoff * 2, _LAST_BACKOFF_S)
        self._exported += len(portion.told)
        rejected = sum(lane.given_up for lane in self._lanes)
        self._backlog.acknowledge(Portion((), portion.up_to, portion.lost + rejected))
        if portion.told or portion.lost:
            self._tell()
        return True

    def _push(self, portion: Portion) -> bool:
        pushed = [lane.push(portion.told) for lane in self._lanes]  # every one is tried, even while another one fails
        return all(pushed)

    def _late(self) -> bool:
        return self._monotonic() >= self._give_up_at

    def _save(self) -> None:
        now = self._monotonic()
        if now >= self._save_at:
            self._save_at = now + _SAVE_EVERY_S
            self._backlog.save()
            self._tell()

    def _tell(self) -> None:
        report = Report(self._backlog.progress, self._exported, sum(lane.failures for lane in self._lanes))
        if report != self._reported:
            self._reported = report
            self._report(report)
