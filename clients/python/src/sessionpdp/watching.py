"""What a watcher is told and how long it waits: the part of `watch` that does no I/O.

Rule: whenever it is not certain that the last decision still holds, the watcher is told a deny at once.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

from sessionpdp.decision import Decision, Doubt

if TYPE_CHECKING:
    from sessionpdp.v1 import decision_pb2

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0


class Watching:
    """The state of one watch across reconnects."""

    def __init__(self, timeout: float) -> None:
        """Take how many seconds the PDP may be silent when an answer is due."""
        self._timeout = timeout
        self._pause = _FIRST_PAUSE
        self._told_doubt = ""
        self._due: float | None = time.monotonic()

    def connecting(self) -> None:
        """Expect the first answer of a connection, which is due now."""
        self._due = time.monotonic()

    def heard(self, answer: decision_pb2.Decision) -> Decision:
        """Return the decision to tell, and expect the next before an allow runs out."""
        decision = Decision.from_wire(answer)
        self._pause = _FIRST_PAUSE
        self._told_doubt = ""
        self._due = _end_of_allow(decision)
        return decision

    def lost(self, doubt: Decision) -> Decision | None:
        """Return the deny to tell, or None if that doubt is what was told last."""
        if doubt.code == self._told_doubt:
            return None
        self._told_doubt = doubt.code
        return doubt

    def patience(self) -> float | None:
        """Return the seconds to wait for the next answer; None: it may never come."""
        if self._due is None:
            return None
        # Counted from now if already due: what a slow reader left waiting is not silence.
        return max(self._due - time.monotonic(), 0) + self._timeout

    def pause(self) -> float:
        """Return the seconds to wait before the next connection, longer each time without an answer."""
        pause = self._pause
        self._pause = min(2 * pause, _LONGEST_PAUSE)
        return pause * random.uniform(0.5, 1)  # noqa: S311 - spreads reconnects, guards no secret


def overdue() -> Decision:
    """Return the deny for an answer that is due and does not come."""
    return Decision.undecided(Doubt.PDP_TIMEOUT, "no answer when one was due")


def ended() -> Decision:
    """Return the deny for a stream that the PDP ended without an error."""
    return Decision.undecided(Doubt.PDP_UNREACHABLE, "the PDP ended the stream")


def _end_of_allow(decision: Decision) -> float | None:
    # A PDP tells by itself when an allow runs out; if that news does not come, the connection is dead or
    # the PDP stuck. Both times are the PDP's, so its clock need not agree with ours.
    if not decision.allowed or decision.valid_until is None or decision.evaluated_at is None:
        return None
    return time.monotonic() + (decision.valid_until - decision.evaluated_at).total_seconds()
