"""What the keeper does with large segments when it is told to: work of a second and more, in a process that is there.

Rule 1: one at a time, and what is waited for first: a segment gets its seal once its uses are folded.
Rule 2: what is given up in the middle is not done: nothing of it stays.
Rule 3: what nobody waits for is done a little at a time, and faster the more of it there is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct

from pdp.evidence.archive.compressing import compress
from pdp.evidence.journal.segments import is_compressed, segments_of
from pdp.evidence.usage.folding import make_checkpoint

_LEISURELY = 1 / 16
"""Share of a processor that compressing takes for each full segment that is plain: some twenty seconds for 64 MiB."""


class Chore(StrEnum):
    """What there is to do with a segment."""

    FOLD = "fold"
    """Write the checkpoint of its uses."""
    COMPRESS = "compress"
    """Make it small."""


class Order(Struct, frozen=True):
    """Something to do."""

    chore: Chore
    segment: str
    """The name of its file, in the journal's directory."""


class Told(Struct, frozen=True):
    """What the keeper is told of an order."""

    order: Order
    wanted: bool = True
    """Whether it is to be done; else nobody waits for it any more."""


class Outcome(Struct, frozen=True):
    """What the keeper says of an order."""

    order: Order
    why_not: str = ""
    """Empty: it is done."""


decode_told = msgspec.json.Decoder(Told).decode
decode_outcome = msgspec.json.Decoder(Outcome).decode


class _GivenUpError(Exception):
    """Nobody waits any more for what is being done."""


class Leisure:
    """Has a thread take no more than a share of a processor."""

    def __init__(self, share: float) -> None:
        """Begin now; all of it is the most."""
        self._share = min(share, 1.0)
        self.go_on()

    def go_on(self) -> None:
        """Begin again, behind a rest."""
        self._begun = time.thread_time()

    @property
    def rest_s(self) -> float:
        """How long to leave the processor to others now."""
        worked = time.thread_time() - self._begun
        return worked / self._share - worked


class Chores:
    """Where `hear` and `end` are for the thread that listens, `work` for the one that works."""

    def __init__(self, directory: Path, say: Callable[[Outcome], None]) -> None:
        """Do what there is to do with a journal's segments; `say` tells the sidecar."""
        self._directory = directory
        self._say = say
        self._wanted: dict[Order, None] = {}
        """In the order they were told; what is being done is among them."""
        self._ending = False
        self._changed = threading.Condition()
        """Held for the fields above it."""

    def hear(self, told: Told) -> None:
        """Take in an order, or that nobody waits for it any more."""
        with self._changed:
            if told.wanted:
                self._wanted[told.order] = None
            else:
                self._wanted.pop(told.order, None)
            self._changed.notify()

    def end(self) -> None:
        """Give up all there is to do."""
        with self._changed:
            self._ending = True
            self._wanted.clear()
            self._changed.notify()

    def work(self) -> None:
        """Do what is ordered, until `end`."""
        while not self._ending:
            order = self._first(Chore.FOLD) or self._first(Chore.COMPRESS)
            if order is not None:
                self._carry_out(order)
            else:
                with self._changed:
                    self._changed.wait_for(lambda: self._wanted or self._ending)

    def _first(self, chore: Chore) -> Order | None:
        with self._changed:
            return next((order for order in self._wanted if order.chore is chore), None)

    def _carry_out(self, order: Order) -> None:
        why_not = ""
        try:
            self._do(order)
        except _GivenUpError:
            return
        except Exception as error:  # noqa: BLE001  # whatever it is, it is said
            why_not = str(error) or type(error).__name__
        with self._changed:
            self._wanted.pop(order, None)
        self._say(Outcome(order, why_not))

    def _do(self, order: Order) -> None:
        segment = self._directory / order.segment
        if order.chore is Chore.FOLD:
            make_checkpoint(segment, lambda: self._refuse_unwanted(order))
        else:
            full = sum(not is_compressed(one) for one in segments_of(self._directory)) - 1  # the youngest is written to
            leisure = Leisure(max(full, 1) * _LEISURELY)
            compress(segment, lambda: self._is_interrupted(order, leisure))

    def _is_interrupted(self, order: Order, leisure: Leisure) -> bool:
        """Rest, and do what is waited for; then go on, unless nobody wants that any more."""
        with self._changed:
            self._changed.wait_for(lambda: order not in self._wanted or self._first(Chore.FOLD), leisure.rest_s)
        while (other := self._first(Chore.FOLD)) is not None:
            self._carry_out(other)
        self._refuse_unwanted(order)
        leisure.go_on()
        return False

    def _refuse_unwanted(self, order: Order) -> None:
        with self._changed:
            if order not in self._wanted:
                raise _GivenUpError
