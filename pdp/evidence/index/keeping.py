"""Has a process of its own keep the index: reading lines takes turns with the threads of whoever decides."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from pdp.evidence.following.supervisor import Supervisor
from pdp.evidence.index import keeper
from pdp.evidence.index.keeper import DAMAGED

_LOG = logging.getLogger(__name__)

_EVERY_S = 1.0
"""How far the index is behind at most, but for the time that indexing takes."""


class Keeping:
    """Where `catch_up` and `is_damaged` may be called from any thread that may wait.

    A `Follower`: what begins with `opening` is for its supervisor.
    """

    def __init__(self, until: Callable[[], int]) -> None:
        """`until` says up to which record the journal is on disk."""
        self._supervisor = Supervisor(keeper.__name__, self, until, name="index", every_s=_EVERY_S, at_once=False)
        self.indexed = 0
        """The last record that the index is known to have."""
        self.trouble = ""
        """Why it does not get on; empty if it does."""
        self._troubles = 0
        """How often that was said."""
        self._logged = ""
        self._heard = threading.Condition()

    @property
    def pid(self) -> int | None:
        """The number of the process; None: none runs."""
        return self._supervisor.pid

    def start(self, directory: Path) -> None:
        """Begin to look after the index of a journal; there may not be a process before a second has passed."""
        self._supervisor.start(directory)

    def close(self) -> None:
        """End the process, within bounded time."""
        self._supervisor.close()

    def catch_up(self, wanted: int, patience_s: float) -> None:
        """Wait until the index has the records up to this one; not longer than that, nor where it gets no further."""
        if self.indexed >= wanted or not self._supervisor.runs:
            return
        with self._heard:
            before = self._troubles
            self._supervisor.ask()
            self._heard.wait_for(lambda: self.indexed >= wanted or self._troubles > before, patience_s)

    def is_damaged(self, inode: int) -> None:
        """Take note that this file cannot be read: it is made anew."""
        self._supervisor.say(f"{DAMAGED.decode()} {inode}")

    def opening(self) -> str:
        """Return nothing: it needs no more than its journal."""
        return ""

    def hear(self, line: str) -> None:
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

    def not_started(self, why: str) -> None:
        """Let nobody wait for it."""
        self.hear(why)

    def ended(self, code: int) -> None:
        """Keep its last words."""
        self.trouble = f"its process ended with {code}" + (f": {self.trouble}" if self.trouble else "")

    def looked_after(self) -> None:
        """Say once what is the matter."""
        trouble = self.trouble
        if trouble and trouble != self._logged:
            _LOG.warning("the index falls behind, records may not be found: %s", trouble)
            self._logged = trouble
