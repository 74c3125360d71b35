"""What is due for export and has not been exported: it stands in the journal, nothing of it is kept in memory.

Rule 1: the cursor passes a record only when the collector has acknowledged it, or when it is not due; so what must
arrive does, at least once, whatever stops or fails in between.
Rule 2: what need not arrive is given up when it is too far behind the journal's end: each such record is counted once,
and it is said once per outage.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from pdp.evidence.following.whole_lines import Line, Spot, whole_lines
from pdp.evidence.journal.segments import first_sequence_of, segment_with
from pdp.evidence.line.record_json import Document
from pdp.evidence.telemetry.due import Due, Head
from pdp.evidence.telemetry.export_cursor import write_cursor
from pdp.evidence.telemetry.told import told_by_line
from pdp.evidence.trouble import JournalDamagedError

_LOG = logging.getLogger(__name__)

_LOOKED_AT_AT_ONCE = 20_000
"""Records looked at for one portion; most are not due."""
_BYTES_AT_ONCE = 4 * 1024 * 1024
"""Of the lines of one portion, but for the last."""
_GIVEN_UP_AT_ONCE = 100_000
_MOST_TRIES = 120
"""Until a line that is no record is passed, as one that is gone: about a minute."""

_DECODE_HEAD = msgspec.json.Decoder(Head).decode


class Portion(Struct, frozen=True):
    """What some records say, in order, to be acknowledged together."""

    told: Sequence[Document]
    up_to: int
    """The last record that was read for it."""
    lost: int
    """Records among them that were due and are not in it: too far behind, gone from the journal, or without sense."""


class Progress(Struct, frozen=True):
    """How far an export is: enough for another one to go on from there and count nothing twice."""

    cursor: int
    """Up to where everything due was acknowledged."""
    given_up_from: int = 0
    given_up: int = 0
    """Of the records behind the first of these and up to the second, all that need not arrive are given up."""
    lost: int = 0
    """Records that were due and will never be exported."""


class _Seen(Struct, frozen=True):
    head: Head
    raw: bytes
    after: int
    """The sequence before; more than one less than its own where records are missing."""
    is_due: bool


class _Reader:
    """Reads on in a journal, behind what it has read."""

    def __init__(self, directory: Path, due: Due, at: int, spot: Spot | None = None) -> None:
        """Begin behind a sequence, which is before the spot if that is known."""
        self._directory = directory
        self._due = due
        self.at = at
        self._begin = spot
        self._last: Line | None = None
        self.skips = False
        """Go on behind a line that is no record, as if it were not there."""

    @property
    def spot(self) -> Spot | None:
        """Where to read on; None: that is not known yet."""
        return self._begin if self._last is None else self._last.behind

    def read(self, until: int, most: int) -> Iterator[_Seen]:
        """Pass what follows up to a sequence, about `most` records; yield what is due, or has some missing before it.

        Raises JournalDamagedError at a line that is no record, and OSError.
        """
        spot = self.spot or self._beginning()
        if spot is None:
            return
        # This is what the exporter costs, for nearly all records are passed: nothing is made of one but line and head.
        takes, enough = self._due.takes, min(until, self.at + most)
        for line in whole_lines(self._directory, spot):
            try:
                head = _DECODE_HEAD(line.raw)
            except ValueError as error:  # also text that is not UTF-8
                if self.skips:
                    continue
                raise _no_record(line, error) from None
            sequence, after = head.seq, self.at
            if sequence > until:
                return
            self._last = line
            if sequence > after:
                self.at = sequence
                if (is_due := takes(head)) or sequence > after + 1:
                    yield _Seen(head, line.raw, after, is_due)
                if sequence >= enough:
                    return

    def _beginning(self) -> Spot | None:
        segment = segment_with(self._directory, self.at + 1)
        self._begin = None if segment is None else Spot(first_sequence_of(segment), 0)
        return self._begin


class Backlog:
    """Belongs to one thread."""

    def __init__(self, directory: Path, due: Due, begin: Progress, *, most: int = 1_000_000) -> None:
        """Go on behind what was exported, and count from 0.

        What need not arrive is exported if it is among the last `most` records of the journal.
        """
        self._directory = directory
        self._due = due
        self._most = most
        self._lost = 0
        self._cursor = self._saved = begin.cursor
        self._given_up_from, self._given_up = begin.given_up_from, begin.given_up
        self._reader, self._ahead = _Reader(directory, due, begin.cursor), _Reader(directory, due, begin.given_up)
        self._tries = 0
        self._loss_said = False
        self._save_failed = False

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(self._cursor, self._given_up_from, self._given_up, self._lost)

    def take(self, until: int, most: int) -> Portion | None:
        """Return what is due next of the records up to `until`, at most so many; None if that was all.

        Each portion must be acknowledged before the next is taken. Raises JournalDamagedError and OSError if the
        journal cannot be read.
        """
        begun = self._reader.at
        if begun >= until:
            return None
        # INVARIANT: a portion is given up up to its end or not at all, so that `Progress` can say so.
        bound = min(until, self._given_up) if begun < self._given_up else until
        told, size, lost, too_far = list[Document](), 0, 0, 0
        for seen in self._some(bound):
            lost += self._say_gone(seen.after + 1, seen.head.seq - 1)
            if not seen.is_due:
                continue
            if not self._due.must(seen.head) and seen.head.seq <= max(until - self._most, self._given_up):
                too_far += not self._given_up_from < seen.head.seq <= self._given_up
                continue
            document = _told_by(seen)
            lost += document is None
            told += () if document is None else (document,)
            size += len(seen.raw)
            if len(told) == most or size >= _BYTES_AT_ONCE:
                break
        if self._reader.at == begun:
            lost += self._say_gone(begun + 1, bound)
            self._reader.at = bound
        self._say_loss(too_far, is_over=self._reader.at >= until)
        return Portion(told, self._reader.at, lost + too_far)

    def acknowledge(self, portion: Portion) -> None:
        """Note that the portion was exported."""
        self._lost += portion.lost
        self._cursor = portion.up_to

    def give_up(self, until: int) -> None:
        """Count what need not arrive and is too far behind `until` by now, while nothing can be exported."""
        far_behind = until - self._most
        if far_behind <= max(self._given_up, self._reader.at):
            return
        if self._given_up < self._reader.at:  # and so the cursor has passed it
            self._given_up_from = self._given_up = self._reader.at
            self._ahead = _Reader(self._directory, self._due, self._reader.at, self._reader.spot)
        lost = 0
        with suppress(OSError, JournalDamagedError):  # it is said where it keeps what must arrive from being exported
            for seen in self._ahead.read(far_behind, _GIVEN_UP_AT_ONCE):
                lost += seen.is_due and not self._due.must(seen.head)
        self._given_up = self._ahead.at
        self._lost += lost
        self._say_loss(lost, is_over=False)

    def save(self) -> None:
        """Bring the cursor to the disk, if it has moved; trouble is said once, and a later call tries again."""
        if self._cursor == self._saved:
            return
        try:
            write_cursor(self._directory, self._cursor)
        except OSError as error:
            if not self._save_failed:
                _LOG.warning("the place of the export could not be written, some of it may be repeated: %s", error)
            self._save_failed = True
        else:
            self._saved, self._save_failed = self._cursor, False

    def _some(self, until: int) -> Iterator[_Seen]:
        """Yield what is looked at for a portion; what cannot be read is left to the next one, unless it comes first."""
        begun = self._reader.at
        try:
            yield from self._reader.read(until, _LOOKED_AT_AT_ONCE)
        except (OSError, JournalDamagedError) as error:
            if self._reader.at == begun:
                self._tries += 1
                self._reader.skips = isinstance(error, JournalDamagedError) and self._tries >= _MOST_TRIES
                raise
        else:
            self._tries, self._reader.skips = 0, False

    def _say_loss(self, count: int, *, is_over: bool) -> None:
        """Say it once, until all that there was has been read without a loss."""
        if count and not self._loss_said:
            self._loss_said = True
            _LOG.error("telemetry is lost: more than %d records could not be exported", self._most)
        elif is_over and not count:
            self._loss_said = False

    def _say_gone(self, first: int, last: int) -> int:
        if first <= last:
            _LOG.error("records %d to %d are gone from the journal and were not exported", first, last)
        return last - first + 1


def _told_by(seen: _Seen) -> Document | None:
    try:
        return told_by_line(seen.raw, seen.head.kind)
    except ValueError as error:
        _LOG.error("record %d was not exported, it makes no sense: %s", seen.head.seq, error)
        return None


def _no_record(line: Line, why: Exception) -> JournalDamagedError:
    return JournalDamagedError(
        f"what stands at byte {line.spot.offset} of segment `{line.segment.name}` is not a record: {why}"
    )
