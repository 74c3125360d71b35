"""The process that exports what a sidecar has on record: `python -m pdp.evidence.telemetry.exporter JOURNAL`.

Rule 1: it reads the journal, never writes to it, and only up to where it is told that the journal is on disk; the one
file it writes is the cursor.

It lives as `following.life` says. It is told a line at a time: first an `Opening`; then `4711`, up to which record the
journal is on disk; at last `close 5.0`, that it has so many seconds to export what is due. It says a `Report` as
`Telemetry` does, and what it has for the sidecar's log.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

from pdp.evidence.following.life import LAST_WORK_S, follow, say
from pdp.evidence.telemetry.backlog import Backlog, Progress
from pdp.evidence.telemetry.due import Due
from pdp.evidence.telemetry.otlp import LOGS, SPANS, OtlpSignal
from pdp.evidence.telemetry.otlp_logs import LogMaker
from pdp.evidence.telemetry.otlp_spans import SpanRequests
from pdp.evidence.telemetry.signals import Signal
from pdp.evidence.telemetry.telemetry import Report, Telemetry

CLOSE = "close"


class ExportSettings(Struct, frozen=True, kw_only=True):
    """How records are exported."""

    endpoint: str = ""
    """The collector."""
    logs: bool = False
    """Export records as log records too."""
    resource: dict[str, object] = {}
    """What describes the sidecar: the attributes of its resource, all of them."""
    version: str = ""
    resource_ids: bool = False
    max_backlog: int = 1_000_000


class Opening(Struct, frozen=True):
    """What the process must know first."""

    settings: ExportSettings
    progress: Progress
    """How far the export is; its losses are of earlier lives."""


class Logged(Struct, frozen=True, tag="log"):
    """Something for the sidecar's log."""

    level: int
    text: str


Said: TypeAlias = Report | Logged
"""A line of the process."""


class Exporter:
    """Follows what it is told. `hear` is for the thread that listens, `work` for the one that works."""

    def __init__(self, directory: Path, report: Callable[[Report], None]) -> None:
        """Export a journal."""
        self._directory = directory
        self._report = report
        self._opening: Opening | None = None
        self._opened = threading.Event()
        self._telemetry: Telemetry | None = None
        self._made = threading.Event()

    def hear(self, lines: Iterable[bytes]) -> float:
        """Take in what the sidecar tells, until it tells no more."""
        told = iter(lines)
        for line in told:
            self._opening = msgspec.json.decode(line, type=Opening)
            break
        self._opened.set()
        self._made.wait()
        timeout_s = 0.0
        if self._telemetry is not None:
            for line in told:
                word, _, seconds = line.partition(b" ")
                if word == CLOSE.encode():
                    timeout_s = float(seconds)
                    break
                self._telemetry.counted(int(line))
            self._telemetry.close(timeout_s)
        return LAST_WORK_S

    def work(self) -> None:
        """Export, until `hear` has come to its end."""
        self._opened.wait()
        if self._opening is not None:
            self._telemetry = self._made_of(self._opening)
        self._made.set()
        if self._telemetry is not None:
            self._telemetry.run()

    def _made_of(self, opening: Opening) -> Telemetry:
        settings = opening.settings
        backlog = Backlog(self._directory, Due(settings.logs), opening.progress, most=settings.max_backlog)
        return Telemetry(backlog, signals_of(settings), self._report)


def signals_of(settings: ExportSettings) -> list[Signal]:
    """Return the ways to the collector; may raise OSError."""
    spans = SpanRequests(settings.resource, settings.version, resource_ids=settings.resource_ids)
    signals: list[Signal] = [OtlpSignal(SPANS, settings.endpoint, spans.request)]
    if settings.logs:
        logs = LogMaker(settings.resource, settings.version, resource_ids=settings.resource_ids)
        signals.append(OtlpSignal(LOGS, settings.endpoint, logs.request))
    return signals


class _ToSidecar(logging.Handler):
    """What is logged here stands in the sidecar's log."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # nobody listens any more, which ends this process
            _say(Logged(record.levelno, self.format(record)))


def _say(what: Said) -> None:
    say(msgspec.json.encode(what).decode())


def main() -> None:
    """Export the journal named on the command line, for whoever started this process."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_ToSidecar()])
    exporter = Exporter(Path(sys.argv[1]), _say)
    follow(exporter.hear, exporter.work)


if __name__ == "__main__":
    main()
