"""Looks after a process that follows a journal: starts it, tells it how far the journal is, and ends it.

Rule 1: one thread does all of that; nothing of it is on the event loop.
Rule 2: the process is started when there is something to follow, and again, after pauses that grow, when it has ended
by itself.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pdp.evidence.apart import command
from pdp.evidence.following.follower_process import FollowerProcess

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 60.0
"""Before it is started again; who lived longer than the last begins anew."""


class Follower(Protocol):
    """What there is to know of a process, and what becomes of what it says."""

    def opening(self) -> str:
        """Return the line that a new process is told first; empty: none."""

    def hear(self, line: str) -> None:
        """Take in a line that it says; on a thread of its own."""

    def not_started(self, why: str) -> None:
        """Take note that it could not be started."""

    def ended(self, code: int) -> None:
        """Take note that it has ended by itself."""

    def looked_after(self) -> None:
        """Do what there is to do from time to time."""


class Supervisor:
    """Where `wake`, `ask` and `say` may be called from any thread; they do not block."""

    def __init__(  # by name
        self, module: str, follower: Follower, until: Callable[[], int], *, name: str, every_s: float, at_once: bool
    ) -> None:
        """Run a module on a journal's directory.

        `until` says up to which record the journal is on disk, 0: there is none; the process is told each `every_s`,
        and not started before one has passed, unless `at_once`.
        """
        self._module, self._follower, self._until = module, follower, until
        self._every_s = every_s
        self._directory = Path()
        self._process: FollowerProcess | None = None
        self._start_at = 0.0 if at_once else every_s
        self._started_at = self._pause_s = 0.0
        self._told = 0
        self._asked = False
        self._to_say = deque[str]()
        self._saying = threading.Lock()
        """Held for what is to be said."""
        self._last, self._within_s = "", 0.0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def pid(self) -> int | None:
        """The number of the process; None: none runs."""
        process = self._process
        return None if process is None else process.pid

    @property
    def runs(self) -> bool:
        """Whether the process is looked after."""
        return self._thread.is_alive()

    @property
    def rests(self) -> bool:
        """Whether there is no process, and after failures there will be none for a while."""
        return self._process is None and self._pause_s > self._every_s and self._start_at > time.monotonic()

    def start(self, directory: Path) -> None:
        """Begin to look after the process."""
        self._directory = directory
        self._thread.start()

    def ask(self) -> None:
        """Have the process told at once, so that it answers; start it first unless it has failed just now."""
        self._asked = True
        self._wake.set()

    def say(self, line: str) -> None:
        """Have the process told something, behind what it has not been told yet; once, where it would be twice."""
        with self._saying:
            if line in self._to_say:
                self._to_say.remove(line)
            self._to_say.append(line)
        self._wake.set()

    def withdraw(self, line: str) -> bool:
        """Do not tell the process something; return whether it has not been told."""
        with self._saying:
            waits = line in self._to_say
            if waits:
                self._to_say.remove(line)
        return waits

    def close(self, last: str = "", within_s: float = 0.0) -> None:
        """End the process, within bounded time; with a last line it is told how far the journal is, and that."""
        self._last, self._within_s = last, within_s
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        self._start_at += time.monotonic()
        try:
            while not self._stopping.is_set():
                self._look_after()
                pause = self._start_at - time.monotonic()
                self._wake.wait(pause if self._process is None and 0 < pause < self._every_s else self._every_s)
                self._wake.clear()
        finally:
            self._end()

    def _end(self) -> None:
        if self._last and self._process is None and self._until() and self._may_start():
            self._launch()
        process, self._process = self._process, None
        if process is None:
            return
        if self._last:
            self._tell(process)
        process.close(self._last, self._within_s)

    def _look_after(self) -> None:
        if self._process is not None and self._process.has_ended:
            self._bury(self._process)
        if self._process is None and self._until() and self._may_start():
            self._launch()
        if self._process is not None:
            self._tell(self._process)
        self._follower.looked_after()

    def _may_start(self) -> bool:
        return time.monotonic() >= self._start_at or (self._asked and not self._pause_s)

    def _launch(self) -> None:
        self._started_at, self._told = time.monotonic(), 0
        line, opening = command(self._module, str(self._directory)), self._follower.opening()
        try:
            self._process = FollowerProcess(line, self._follower.hear, self._wake.set)
        except OSError as error:
            self._put_off()
            self._follower.not_started(f"its process cannot be started: {error}")
        else:
            if opening:
                self._process.tell(opening)

    def _bury(self, process: FollowerProcess) -> None:
        self._process = None
        self._follower.ended(process.close())
        self._put_off()

    def _put_off(self) -> None:
        """Leave the next start for later."""
        now = time.monotonic()
        if now - self._started_at > _LAST_PAUSE_S:
            self._pause_s = 0.0
        self._pause_s = min(max(_FIRST_PAUSE_S, 2 * self._pause_s), _LAST_PAUSE_S)
        self._start_at = now + self._pause_s

    def _tell(self, process: FollowerProcess) -> None:
        with self._saying:
            while self._to_say and process.tell(self._to_say[0]):
                self._to_say.popleft()
        until, asked, self._asked = self._until(), self._asked, False
        if (asked or until != self._told) and process.tell(str(until)):
            self._told = until
