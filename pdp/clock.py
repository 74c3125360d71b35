"""Decision time.

Rule 1: decision time never runs backward, so a step of the wall clock cannot revive what has expired.
Rule 2: it never runs slower than the wall clock has ever been ahead of the monotonic one, so neither can it be held
back: decision time is the monotonic clock plus the largest offset to the wall clock seen so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from pdp.core.model import Instant


class Clock(Protocol):
    """Where decision time comes from."""

    def now(self) -> Instant:
        """Return decision time; never less than any value returned before."""

    def not_before(self, instant: Instant) -> None:
        """Take an instant that has passed already (from an earlier run) as a lower bound from here on."""


class SystemClock:
    """Decision time from the system's clocks."""

    __slots__ = ("_monotonic", "_offset", "_wall")

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def now(self) -> Instant:
        """Return decision time in nanoseconds since the epoch."""
        monotonic = self._monotonic()
        offset = self._wall() - monotonic
        self._offset = max(self._offset, offset)
        return Instant(monotonic + self._offset)

    def not_before(self, instant: Instant) -> None:
        """Never return less than `instant` again."""
        self._offset = max(self._offset, instant - self._monotonic())


class ManualClock:
    """A clock that a scenario moves; it cannot be moved back."""

    __slots__ = ("_now",)

    def __init__(self, now: Instant) -> None:
        self._now = now

    def now(self) -> Instant:
        """Return the instant last set."""
        return self._now

    def not_before(self, instant: Instant) -> None:
        """Move forward to `instant`, unless it is past already."""
        self._now = max(self._now, instant)

    def advance(self, nanoseconds: int) -> None:
        """Move forward."""
        self._now = Instant(self._now + max(nanoseconds, 0))
