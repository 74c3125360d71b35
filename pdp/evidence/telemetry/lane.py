"""One signal's way through a portion, in batches that shrink where they are refused and grow again.

Rule 1: what the collector refuses for good is given up, alone: a batch is halved until it is found.
Rule 2: what it has acknowledged is not sent again because something behind it, or another signal, failed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pdp.evidence.line.record_json import Document
from pdp.evidence.telemetry.signals import Answer, Away, Refused, Signal, Taken

_LOG = logging.getLogger(__name__)

BATCH = 512
"""Records of one export at most."""
_MOST_FAULTS = 5
"""How often an exporter may fail with an error of its own at one and the same record before that is given up."""


class Lane:
    """Takes portions through, one after the other."""

    def __init__(self, signal: Signal) -> None:
        """Go the way of a signal."""
        self.signal = signal
        self.failures = 0
        """Attempts that failed."""
        self.given_up = 0
        """Of the portion that is under way, what the collector will never have."""
        self._size = BATCH
        self._done = 0
        self._faults = 0
        self._failing = False
        self._losing = False
        """Something of this portion was lost."""
        self._loss_said = False

    def begin(self) -> None:
        """Take on the next portion."""
        self._done = self.given_up = 0
        self._loss_said, self._losing = self._losing, False

    def push(self, told: Sequence[Document]) -> bool:
        """Export what is left of the portion; return whether all of it was, or was given up."""
        while self._done < len(told):
            batch = told[self._done : self._done + self._size]
            answer = self._export(batch)
            self._say(answer)
            if not isinstance(answer, Taken):
                self.failures += 1
            if isinstance(answer, Refused) and len(batch) == 1:
                answer = Taken(1, answer.why)
            if isinstance(answer, Taken):
                self._lose(min(answer.rejected, len(batch)), answer.why)
                self._done += len(batch)
                self._size = min(self._size * 2, BATCH)
                continue
            self._size = max(len(batch) // 2, 1)
            if isinstance(answer, Away):
                return False
        return True

    def _export(self, batch: Sequence[Document]) -> Answer:
        try:
            answer = self.signal.export(batch)
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
