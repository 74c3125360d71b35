"""What is to be exported: the latest records from memory, what memory had no room for from the journal.

Rule 1: the cursor passes a record only when the collector has acknowledged it, or when it is not due; so what must
arrive does, at least once, whatever stops or fails in between.
Rule 2: memory is bounded: the oldest records give way. Those that must arrive are read back from the journal; of the
others the loss is counted, and said once per outage.

Records are counted by their place in the order in which they were offered. The journal tells, from time to time, up to
which sequence all that was offered so far has got to the disk: such a pair of place and sequence is a mark.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from pdp.evidence.journal.journal_reader import Entry, read
from pdp.evidence.record import AnyRecord
from pdp.evidence.telemetry.due import Due, Head
from pdp.evidence.telemetry.export_cursor import read_cursor, write_cursor

_LOG = logging.getLogger(__name__)

_LINES_AT_ONCE = 20_000
"""Lines looked at for one portion while catching up; most are of no interest."""
_SLICE = 64
_PAUSE_S = 0.0005
"""After each slice of lines the threads that answer get their turn."""

_DECODE_HEAD = msgspec.json.Decoder(Head).decode

Item: TypeAlias = AnyRecord | bytes
"""A record from memory, or its line from the journal."""


class Portion(Struct, frozen=True):
    """Some items, in order, to be acknowledged together."""

    items: Sequence[Item]
    place: int = 0
    """Behind the last of them, if they come from memory."""
    sequence: int | None = None
    """Up to which the journal was read, if they come from there."""


class _Mark(NamedTuple):
    place: int
    sequence: int


class Outbox:
    """A `Ledger` that keeps what is due.

    `offer` and the ledger's methods are for the journal's writer thread, all others for one other thread.
    """

    def __init__(self, due: Due, *, most: int = 16_384) -> None:
        """Keep at most `most` records in memory."""
        self._due = due
        self._most = most
        self._directory = Path()
        self.work = threading.Event()
        """Set when there may be something to take."""
        self.lost = 0
        """Records that were due and will never be exported."""
        self._lock = threading.Lock()
        self._backlog: deque[AnyRecord] = deque()
        self._first = 0
        """Place of the first record of the backlog."""
        self._marks: deque[_Mark] = deque()
        self._gap: int | None = None
        """Place up to which records must be read from the journal, from the cursor on; None: none."""
        self._cursor: int | None = None
        self._saved: int | None = None
        self._begun = False
        self._counted = 0
        self._entries: Iterator[Entry] | None = None
        self._loss_said = False
        self._save_failed = False

    @property
    def behind(self) -> int:
        """Records of the journal behind the cursor: those not exported yet, and whatever lies between them."""
        return max(self._counted - (self._cursor or 0), 0)

    def resume(self, directory: Path) -> None:
        """Go on where the last export ended; an exporter that has never run begins at the journal's end."""
        self._directory = directory
        self._cursor = self._saved = read_cursor(directory)

    def count(self, records: Sequence[AnyRecord]) -> None:
        """Do nothing: what is due is offered, with what the disk could not take yet."""

    def counted(self, sequence: int) -> None:
        """Mark that all that was offered is in the journal up to this sequence."""
        with self._lock:
            if not self._begun:
                self._begin(sequence)
            self._counted = sequence
            place = self._first + len(self._backlog)
            if self._marks and self._marks[-1].place == place:
                self._marks.pop()
            self._marks.append(_Mark(place, sequence))
            if len(self._marks) > self._most:
                # Any mark may be left out: the cursor only moves a little later.
                self._marks = deque(mark for number, mark in enumerate(reversed(self._marks)) if number % 2 == 0)
                self._marks.reverse()
            if self._gap is not None:
                self.work.set()

    def seal(self, segment: Path) -> None:
        """Do nothing: what is read back is found by its sequence."""

    def offer(self, records: Sequence[AnyRecord]) -> None:
        """Take those records that are due; never blocks."""
        chosen = [record for record in records if self._due.takes(record)]
        if not chosen:
            return
        with self._lock:
            self._backlog.extend(chosen)
            lost = self._give_way(len(self._backlog) - self._most)
        if lost and not self._loss_said:
            self._loss_said = True
            _LOG.error("telemetry is lost: more than %d records could not be exported", self._most)
        self.work.set()

    def take(self, most: int) -> Portion | None:
        """Return the oldest items that were not taken yet, at most so many; None if there are none now.

        Each portion must be acknowledged before the next is taken. Raises JournalDamagedError and OSError if what
        must be read back from the journal cannot be.
        """
        with self._lock:
            if self._gap is None:
                count = min(most, len(self._backlog))
                items = [self._backlog.popleft() for _ in range(count)]
                self._first += count
                if items:
                    return Portion(items, self._first)
                self._pass(self._first)
                return None
            bound = self._marks[0].sequence if self._marks else None
        return None if bound is None else self._read_back(most, bound)

    def acknowledge(self, portion: Portion) -> None:
        """Note that the portion was exported."""
        self._loss_said = False
        with self._lock:
            if portion.sequence is None:
                self._pass(portion.place)
                return
            self._cursor = portion.sequence
            if self._marks and portion.sequence >= self._marks[0].sequence:
                # What is offered before this mark is exported; the backlog may begin with some of it, once more.
                self._gap = self._entries = None

    def give_up(self, portion: Portion | None) -> None:
        """Count what is lost with a portion, and with the backlog, when the exporter ends before them."""
        with self._lock:
            items = [*(portion.items if portion is not None else ()), *self._backlog]
            self._first += len(self._backlog)
            self._backlog.clear()
        self.lost += sum(not isinstance(item, bytes) and not self._due.must(item) for item in items)

    def save(self) -> None:
        """Bring the cursor to the disk, if it has moved; trouble is said once, and a later call tries again."""
        cursor = self._cursor
        if cursor is None or cursor == self._saved:
            return
        try:
            write_cursor(self._directory, cursor)
        except OSError as error:
            if not self._save_failed:
                _LOG.warning("the place of the export could not be written, some of it may be repeated: %s", error)
            self._save_failed = True
        else:
            self._saved, self._save_failed = cursor, False

    def _begin(self, sequence: int) -> None:
        """Compare the cursor with the journal's end."""
        self._begun = True
        if self._cursor is not None and self._cursor <= sequence:
            self._gap = 0 if self._cursor < sequence else None
            return
        if self._cursor is not None:
            _LOG.warning("the export was at record %d of another journal, it goes on at %d", self._cursor, sequence)
        self._cursor = self._saved = sequence
        # At once: what is recorded from now on must be found by the next start, however soon this process ends.
        write_cursor(self._directory, sequence)

    def _give_way(self, excess: int) -> int:
        """Drop the oldest records of the backlog; return how many of them are lost. The lock is held."""
        dropped = [self._backlog.popleft() for _ in range(excess)]
        if not dropped:
            return 0
        self._first += excess
        lost = sum(not self._due.must(record) for record in dropped)
        self.lost += lost
        if lost < excess:
            self._gap = self._first
        if self._gap is not None:
            # The first mark that is left is behind the gap: up to there the journal is read.
            while self._marks and self._marks[0].place < self._gap:
                self._marks.popleft()
        return lost

    def _pass(self, place: int) -> None:
        """Move the cursor behind what was exported in order. The lock is held."""
        while self._marks and self._marks[0].place <= place:
            self._cursor = self._marks.popleft().sequence

    def _read_back(self, most: int, bound: int) -> Portion:
        """Return the next lines that must arrive, of records up to the bound."""
        begun, at = self._cursor or 0, self._cursor or 0
        anew = self._entries is None
        entries = read(self._directory, at) if self._entries is None else self._entries
        self._entries = None
        lines: list[bytes] = []
        for number, entry in enumerate(entries, 1):
            if entry.sequence > at + 1:
                self._say_gone(at + 1, entry.sequence - 1)
            at = entry.sequence
            if self._due.must_line(_DECODE_HEAD(entry.raw)):
                lines.append(entry.raw)
            if at >= bound or len(lines) == most or number == _LINES_AT_ONCE:
                self._entries = entries
                break
            if number % _SLICE == 0:
                time.sleep(_PAUSE_S)
        if anew and at == begun:
            self._say_gone(at + 1, bound)
            at = bound
        return Portion(lines, sequence=at)

    def _say_gone(self, first: int, last: int) -> None:
        self.lost += last - first + 1
        _LOG.error("records %d to %d are gone from the journal and were not exported", first, last)
