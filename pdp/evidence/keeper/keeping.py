"""Has a process of its own keep what is derived: reading lines takes turns with the threads of whoever decides."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from pdp.evidence import keeper
from pdp.evidence.apart import ApartError, ApartLateError
from pdp.evidence.following.supervisor import Supervisor
from pdp.evidence.keeper import DAMAGED
from pdp.evidence.keeper.chores import Chore, Order, Outcome, Told, decode_outcome

_LOG = logging.getLogger(__name__)

_ENCODE = msgspec.json.Encoder().encode

_EVERY_S = 1.0
"""How far the index is behind at most, but for the time that indexing takes."""
_TURN_S = 0.25
"""Between two questions whether to stop."""


class Keeping:
    """Where `catch_up`, `is_damaged` and `have_done` may be called from any thread that may wait.

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
        self._outcomes: dict[Order, str | None] = {}
        """Why what was ordered is not done, empty: it is done, None: it is on its way."""
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
        self._forsake("the keeper was ended")

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

    def have_done(self, chore: Chore, segment: Path, patience_s: float, stopping: Callable[[], bool]) -> bool:
        """Have something done with a segment, and wait for it; return False if told to stop before it is done.

        `stopping` is asked meanwhile, four times a second, and may have something else done. Raises ApartError if it
        was not done, ApartLateError if not in time; what was begun is given up then, and when told to stop.
        """
        if not self._supervisor.runs or self._supervisor.rests:
            message = "there is no keeper"
            raise ApartError(message)
        order, give_up_at = Order(chore, segment.name), time.monotonic() + patience_s
        wanted, no_more = (_ENCODE(Told(order, wanted=wanted)).decode() for wanted in (True, False))
        with self._heard:
            self._outcomes[order] = None
        self._supervisor.say(wanted)
        try:
            while (why_not := self._outcome(order)) is None:
                if stopping():
                    return False
                if time.monotonic() >= give_up_at:
                    message = f"the keeper did not {chore} segment `{segment.name}` within {patience_s:.0f} s"
                    raise ApartLateError(message)
        finally:
            with self._heard:
                on_its_way = self._outcomes.pop(order) is None
            if not self._supervisor.withdraw(wanted) and on_its_way:
                self._supervisor.say(no_more)
        if why_not:
            raise ApartError(why_not)
        return True

    def _outcome(self, order: Order) -> str | None:
        """Wait a little for what becomes of an order, and return it."""
        with self._heard:
            self._heard.wait_for(lambda: self._outcomes[order] is not None, _TURN_S)
            return self._outcomes[order]

    def opening(self) -> str:
        """Return nothing: it needs no more than its journal."""
        return ""

    def hear(self, line: str) -> None:
        """Take in what the process says: how far the index is, what became of an order, or why it does not get on."""
        with self._heard:
            if line.isdecimal():
                if int(line) > self.indexed:
                    self.trouble = self._logged = ""
                self.indexed = int(line)
            elif (outcome := _outcome_of(line)) is not None:
                if outcome.order in self._outcomes:
                    self._outcomes[outcome.order] = outcome.why_not
            elif line:
                self.trouble = line
                self._troubles += 1
            self._heard.notify_all()

    def not_started(self, why: str) -> None:
        """Let nobody wait for it."""
        self._forsake(why)
        self.hear(why)

    def ended(self, code: int) -> None:
        """Keep its last words."""
        self._forsake(f"the keeper's process ended with {code}")
        self.trouble = f"its process ended with {code}" + (f": {self.trouble}" if self.trouble else "")

    def _forsake(self, why: str) -> None:
        """Let nobody wait for what was ordered."""
        with self._heard:
            self._outcomes |= {order: why for order, why_not in self._outcomes.items() if why_not is None}
            self._heard.notify_all()

    def looked_after(self) -> None:
        """Say once what is the matter."""
        trouble = self.trouble
        if trouble and trouble != self._logged:
            _LOG.warning("the index falls behind, records may not be found: %s", trouble)
            self._logged = trouble


def _outcome_of(line: str) -> Outcome | None:
    """Return what a line says of an order; None: it says something else."""
    try:
        return decode_outcome(line)
    except msgspec.DecodeError:
        return None
