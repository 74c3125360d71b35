"""Has a process of its own keep the index: reading lines takes turns with the threads of whoever decides.

Rule 1: one thread starts the process, tells it how far the journal is, and ends it; nothing of it is on the event loop.
Rule 2: it is started when there is something to index, and again, after pauses that grow, when it has ended by itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pdp.evidence.index.keeper import DAMAGED
from pdp.evidence.index.keeper_process import KeeperProcess

_LOG = logging.getLogger(__name__)

_EVERY_S = 1.0
"""How far the index is behind at most, but for the time that indexing takes."""
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 60.0
"""Before it is started again; who lived longer than the last begins anew."""


class Keeping:
    """Where `catch_up` and `is_damaged` may be called from any thread that may wait."""

    def __init__(self, until: Callable[[], int]) -> None:
        """`until` says up to which record the journal is on disk."""
        self._until = until
        self._directory = Path()
        self._process: KeeperProcess | None = None
        self._started_at = self._start_at = self._pause_s = 0.0
        self._told = 0
        self._asked = False
        """Somebody waits for what the process says next."""
        self._damaged = 0
        self.indexed = 0
        """The last record that the index is known to have."""
        self.trouble = ""
        """Why it does not get on; empty if it does."""
        self._troubles = 0
        """How often that was said."""
        self._logged = ""
        self._heard = threading.Condition()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="index", daemon=True)

    @property
    def pid(self) -> int | None:
        """The number of the process; None: none runs."""
        process = self._process
        return None if process is None else process.pid

    def start(self, directory: Path) -> None:
        """Begin to look after the index of a journal; there may not be a process before a second has passed."""
        self._directory = directory
        self._thread.start()

    def close(self) -> None:
        """End the process, within bounded time."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def catch_up(self, wanted: int, patience_s: float) -> None:
        """Wait until the index has the records up to this one; not longer than that, nor where it gets no further."""
        if self.indexed >= wanted or not self._thread.is_alive():
            return
        with self._heard:
            before, self._asked = self._troubles, True
            self._wake.set()
            self._heard.wait_for(lambda: self.indexed >= wanted or self._troubles > before, patience_s)

    def is_damaged(self, inode: int) -> None:
        """Take note that this file cannot be read: it is made anew."""
        self._damaged = inode
        self._wake.set()

    def _run(self) -> None:
        self._start_at = time.monotonic() + _EVERY_S
        try:
            while not self._stopping.is_set():
                pause = self._start_at - time.monotonic()
                self._wake.wait(pause if self._process is None and 0 < pause < _EVERY_S else _EVERY_S)
                self._wake.clear()
                if not self._stopping.is_set():
                    self._look_after()
        finally:
            process, self._process = self._process, None
            if process is not None:
                process.close()

    def _look_after(self) -> None:
        if self._process is not None and self._process.has_ended:
            self._bury(self._process)
        if self._process is None and self._until() and self._may_start():
            self._launch()
        if self._process is not None:
            self._tell(self._process)
        self._log()

    def _may_start(self) -> bool:
        return time.monotonic() >= self._start_at or (self._asked and not self._pause_s)

    def _launch(self) -> None:
        self._started_at, self._told = time.monotonic(), 0
        try:
            self._process = KeeperProcess(self._directory, self._hear, self._wake.set)
        except OSError as error:
            self._put_off()
            self._hear(f"its process cannot be started: {error}")

    def _bury(self, process: KeeperProcess) -> None:
        self._process = None
        code = process.close()
        self.trouble = f"its process ended with {code}" + (f": {self.trouble}" if self.trouble else "")
        self._put_off()

    def _put_off(self) -> None:
        """Leave the next start for later."""
        now = time.monotonic()
        if now - self._started_at > _LAST_PAUSE_S:
            self._pause_s = 0.0
        self._pause_s = min(max(_FIRST_PAUSE_S, 2 * self._pause_s), _LAST_PAUSE_S)
        self._start_at = now + self._pause_s

    def _tell(self, process: KeeperProcess) -> None:
        damaged, self._damaged = self._damaged, 0
        if damaged:
            process.tell(f"{DAMAGED.decode()} {damaged}")
        until, asked, self._asked = self._until(), self._asked, False
        if (asked or until != self._told) and process.tell(str(until)):
            self._told = until

    def _hear(self, line: str) -> None:
        """Take in what the process says: how far the index is, or why it does not get on."""
        with self._heard:
            if line.isdecimal():
                if int(line) > self.indexed:
                    self.trouble = self._logged = ""
                self.indexed = int(line)
            elif line:
                self.trouble = line
                self._troubles += 1
            self._heard.notify_all()

    def _log(self) -> None:
        """Say once what is the matter."""
        trouble = self.trouble
        if trouble and trouble != self._logged:
            _LOG.warning("the index falls behind, records may not be found: %s", trouble)
            self._logged = trouble
