"""A line in the process's log for each decision, made by a thread of its own: decisions may come faster than lines.

Rule 1: memory is bounded: decisions that find no room are left out, and how many is said. The journal has all of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from queue import Full, Queue

from pdp.core.model import Attribute
from pdp.evidence.line.log_line import decision_log_line
from pdp.evidence.record import AnyRecord, DecisionRecord

_LOG = logging.getLogger(__name__)

_MOST_WAITING = 4_096


class DecisionLines:
    """Writes lines. `offer` never waits; it belongs to one thread, as `close` does."""

    def __init__(self, write: Callable[[dict[str, Attribute]], None]) -> None:
        """Have each line written by `write`, on the thread of this object."""
        self._write = write
        self._waiting: Queue[DecisionRecord | None] = Queue(_MOST_WAITING)
        self._left_out = 0
        self._thread = threading.Thread(target=self._run, name="decision-lines", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def offer(self, records: Iterable[AnyRecord]) -> None:
        """Have the decisions among the records written soon."""
        for record in records:
            if isinstance(record, DecisionRecord):
                self._offer(record)

    def close(self, timeout_s: float) -> None:
        """Write what waits, for at most so long."""
        if self._thread.ident is not None:
            try:
                self._waiting.put(None, timeout=timeout_s)
            except Full:
                return
            self._thread.join(timeout_s)

    def _offer(self, record: DecisionRecord) -> None:
        try:
            self._waiting.put_nowait(record)
        except Full:
            self._left_out += 1
            return
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            _LOG.warning("%d decisions came too fast for this log; the journal has them", left_out)

    def _run(self) -> None:
        while (record := self._waiting.get()) is not None:
            try:
                self._write(decision_log_line(record))
            except Exception:  # noqa: BLE001  # a log that cannot be written must not end the next one's line
                self._left_out += 1
