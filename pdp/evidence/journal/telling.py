"""Telling on what is written, a slice at a time on the event loop, behind those who waited for it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pdp.evidence.journal.entry import Entry, count_of
from pdp.evidence.journal.ledger import Ledger
from pdp.evidence.record import AnyRecord

_LOG = logging.getLogger(__name__)

_SLICE = 64
"""Records told on before the event loop has its turn, but for those in one piece: some tens of microseconds."""
_SHARE = 8
"""Of the slices that wait, one in so many is told in a turn."""


class _Untold(NamedTuple):
    """What is on disk and not told on yet."""

    entries: Sequence[Entry]
    sequence: int
    """Of the last of them, or of what was written beside."""
    full: Path | None = None
    """The segment that is full with them."""


class Telling:
    """Tells a ledger what is on disk, and whoever wants the records of which it is certain that they count."""

    def __init__(self, ledger: Ledger, settled: Callable[[Sequence[AnyRecord]], None]) -> None:
        """`settled` gets each such record once."""
        self._ledger = ledger
        self._settled = settled
        self._untold: deque[_Untold] = deque()
        self._loop = asyncio.get_running_loop()

    def later(self, entries: Sequence[Entry], sequence: int, full: Path | None) -> None:
        """Tell on what is on disk up to a sequence, soon, and settle what was waited for."""
        idle, up_to = not self._untold, sequence - count_of(entries)
        for some in _slices(entries):
            up_to += count_of(some)
            self._untold.append(_Untold(some, up_to))
        if full is not None or not entries:
            self._untold.append(_Untold((), sequence, full))
        if idle:
            self._loop.call_soon(self._tell)

    def rest(self) -> None:
        """Tell all that there is."""
        while self._untold:
            self._tell_slice()

    def settle(self, records: Sequence[AnyRecord]) -> None:
        """Hand on records that count now."""
        if not records:
            return
        try:
            self._settled(records)
        except Exception:  # noqa: BLE001  # telemetry must not stop evidence
            _LOG.exception("records could not be handed to telemetry")

    def _tell(self) -> None:
        """Tell a slice, and more where there is much to tell: it must not fall behind for ever."""
        for _ in range(min(len(self._untold), 1 + len(self._untold) // _SHARE)):
            self._tell_slice()
        if self._untold:
            self._loop.call_soon(self._tell)

    def _tell_slice(self) -> None:
        told = self._untold.popleft()
        self._ledger.written([use for one in told.entries for use in one.uses], told.sequence)
        self.settle([one.record for one in told.entries if one.written is not None and one.record is not None])
        if told.full is not None:
            self._ledger.seal(told.full, told.sequence)


def _slices(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    start = count = 0
    for end, entry in enumerate(entries, 1):
        count += entry.count
        if count >= _SLICE or end == len(entries):
            yield entries[start:end]
            start, count = end, 0
