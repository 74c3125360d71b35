"""The export of a running sidecar: what is due of every record that is on disk leaves as spans and as log records.

Rule 1: the journal is all that is exported from; here it is only known how far that is on disk.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from pdp.evidence.journal.ledger import Ledger
from pdp.evidence.record import Use
from pdp.evidence.telemetry import export_cursor
from pdp.evidence.telemetry.backlog import Backlog
from pdp.evidence.telemetry.due import Due
from pdp.evidence.telemetry.exporter import ExportSettings
from pdp.evidence.telemetry.exporting import Account, Exporting
from pdp.evidence.telemetry.otlp import LOGS, SPANS, refuse_unreadable
from pdp.evidence.telemetry.signals import Signal
from pdp.evidence.telemetry.telemetry import Telemetry, TelemetryStatus

_LINGER_S = 0.2
"""How long records gather."""


class Export(Ledger):
    """Has the records exported. `status` is for any thread, `close` for one that may wait."""

    def __init__(
        self, settings: ExportSettings, signals: Sequence[Signal] = (), *, linger_s: float = _LINGER_S
    ) -> None:
        """Export by a process of its own; or in a thread of this one, by these signals."""
        self._settings = settings
        self._signals = signals
        self._linger_s = linger_s
        self._directory = Path()
        self._until = 0
        self._account = Account()
        self._exporting = Exporting(settings, self._account, lambda: self._until)
        self._telemetry: Telemetry | None = None

    @property
    def pid(self) -> int | None:
        """The number of the process; None: none runs."""
        return self._exporting.pid

    def resume(self, directory: Path, sequence: int) -> None:
        """Belong to a journal, and see where to go on. May raise OSError."""
        self._directory, self._until = directory, sequence
        self._account.begin(export_cursor.begin(directory, sequence))

    def written(self, uses: Sequence[Use], sequence: int) -> None:  # noqa: ARG002  # lines are read where they stand
        """Take note that all up to this record is on disk."""
        self._until = sequence
        if self._telemetry is not None:
            self._telemetry.counted(sequence)

    def refuse_unreadable(self) -> None:
        """Raise OSError if a certificate for the collector cannot be read."""
        if not self._signals:
            refuse_unreadable(self._settings.endpoint, (SPANS, LOGS) if self._settings.logs else (SPANS,))

    def start(self) -> None:
        """Begin exporting, once the journal is open."""
        if not self._signals:
            self._exporting.start(self._directory)
            return
        settings = self._settings
        backlog = Backlog(self._directory, Due(settings.logs), self._account.progress, most=settings.max_backlog)
        telemetry = Telemetry(backlog, self._signals, self._account.report, linger_s=self._linger_s)
        threading.Thread(target=telemetry.run, name="telemetry", daemon=True).start()
        self._telemetry = telemetry
        telemetry.counted(self._until)

    def status(self) -> TelemetryStatus:
        """Return how it is doing."""
        return self._account.status(self._until)

    def close(self, timeout_s: float = 5.0) -> None:
        """Export what is due, for at most about `timeout_s`; the next start exports what is not."""
        self._exporting.close(timeout_s)
        if self._telemetry is not None:
            self._telemetry.close(timeout_s)
