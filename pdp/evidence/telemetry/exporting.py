"""Has a process of its own export what is on record: building spans takes turns with the threads of whoever decides."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from pdp.evidence.following.supervisor import Supervisor
from pdp.evidence.telemetry import exporter
from pdp.evidence.telemetry.backlog import Progress
from pdp.evidence.telemetry.exporter import CLOSE, ExportSettings, Logged, Opening, Said
from pdp.evidence.telemetry.telemetry import Report, TelemetryStatus

_LOG = logging.getLogger(__name__)

_EVERY_S = 1.0
"""How long records gather before the process is told of them; then it exports them at once: few, large requests."""

_DECODE = msgspec.json.Decoder(Said).decode


class Account:
    """What an export has done, over all lives of its process. `status` is for any thread."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._state = TelemetryStatus(), Report(Progress(0))
        """Of earlier lives, and of this one: replaced as a whole."""

    @property
    def progress(self) -> Progress:
        """How far the export is, with nothing lost in the next life yet."""
        return replace(self._state[1].progress, lost=0)

    def begin(self, cursor: int) -> None:
        """Begin behind a record."""
        self._state = self._state[0], Report(Progress(cursor))

    def report(self, report: Report) -> None:
        """Take note of what this life has done so far."""
        self._state = self._state[0], report

    def fail(self) -> None:
        """Take note that this life is over, which is a failure; the next one counts from 0."""
        done = self.status(0)
        self._state = replace(done, failures=done.failures + 1), Report(self.progress)

    def status(self, until: int) -> TelemetryStatus:
        """Return how it is doing with a journal of so many records."""
        before, now = self._state
        return TelemetryStatus(
            exported=before.exported + now.exported,
            lost=before.lost + now.progress.lost,
            failures=before.failures + now.failures,
            behind=max(until - now.progress.cursor, 0),
        )


class Exporting:
    """Looks after the exporter's process. A `Follower`: what begins with `opening` is for its supervisor."""

    def __init__(self, settings: ExportSettings, account: Account, until: Callable[[], int]) -> None:
        """`until` says up to which record the journal is on disk."""
        self._settings = settings
        self._account = account
        self._supervisor = Supervisor(exporter.__name__, self, until, name="telemetry", every_s=_EVERY_S, at_once=True)
        self._last_words = ""
        self._said = ""

    @property
    def pid(self) -> int | None:
        """The number of the process; None: none runs."""
        return self._supervisor.pid

    def start(self, directory: Path) -> None:
        """Begin to look after the export of a journal."""
        self._supervisor.start(directory)

    def close(self, timeout_s: float) -> None:
        """Have it export what is due, for at most so long, and end it."""
        self._supervisor.close(f"{CLOSE} {timeout_s}", timeout_s)

    def opening(self) -> str:
        """Return what the process must know first: it goes on where the last one is known to have been."""
        self._last_words = ""
        return msgspec.json.encode(Opening(self._settings, self._account.progress)).decode()

    def hear(self, line: str) -> None:
        """Take in what the process says."""
        try:
            said = _DECODE(line)
        except ValueError:  # of no line that it says as long as all is well
            self._last_words = line or self._last_words
            return
        if isinstance(said, Logged):
            _LOG.log(said.level, "%s", said.text)
            return
        self._account.report(said)
        if self._said and said.exported:
            self._said = ""
            _LOG.warning("spans are exported again")

    def not_started(self, why: str) -> None:
        """Say so, and count it."""
        self._account.fail()
        self._say(why)

    def ended(self, code: int) -> None:
        """Say so with its last words, and count it."""
        self._account.fail()
        self._say(f"its process ended with {code}" + (f": {self._last_words}" if self._last_words else ""))

    def looked_after(self) -> None:
        """Do nothing: all was said when it was heard."""

    def _say(self, why: str) -> None:
        """Say it, once until it is another reason or something has been exported."""
        if why != self._said:
            self._said = why
            _LOG.warning("spans cannot be exported: %s", why)
