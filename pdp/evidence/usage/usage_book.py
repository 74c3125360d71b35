"""What was used, by whom and when, of each session, approval and entitlement: the evidence that reviews decide on.

Rule 1: only what is in the journal counts, each record once.
Rule 2: the event loop only counts in memory; a thread of the book's own brings the counts to `usage.db`.
Rule 3: derived: what memory or the file has lost is read from the journal again. A disk that fails, a file that is
damaged or missing, a crash and a backlog too large for memory are all mended this one way.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from pdp.core.model import FactKind, Instant
from pdp.evidence.derived_file import is_damaged, remove
from pdp.evidence.instants import parse_instant
from pdp.evidence.journal.journal_reader import read
from pdp.evidence.journal.ledger import Ledger
from pdp.evidence.record import Occasion, Use
from pdp.evidence.trouble import JournalDamagedError, UsageUnavailableError
from pdp.evidence.usage.usage_file import Tally, UsageFile
from pdp.evidence.usage.usage_summary import UNUSED, UsageSummary

_LOG = logging.getLogger(__name__)

FILE = "usage.db"
"""In the journal's directory."""

_EVERY_S = 10.0
"""Long enough that what is used again and again is written once; a question brings everything to the file at once."""
_MOST_PENDING = 100_000
"""Occasions kept in memory; beyond that they are read from the journal again."""
_LINES_AT_ONCE = 20_000
"""Records folded in one transaction while catching up."""

_Result = TypeVar("_Result")


class _Pending(NamedTuple):
    """Uses that are not in the file yet: those of the records behind one sequence, up to another."""

    tallies: Mapping[Occasion, Tally]
    after: int
    until: int


class _Uses(Struct):
    sessions: tuple[str, ...] = ()
    approvals: tuple[str, ...] = ()
    entitlements: tuple[str, ...] = ()


class _Asked(Struct):
    action: str
    resource: str


class _Line(Struct):
    """What the book reads of a line; everything else is skipped."""

    time: str
    evaluated_at: str = ""
    entitlement_id: str = ""
    request: _Asked | None = None
    uses: _Uses | None = None


_DECODE_LINE = msgspec.json.Decoder(_Line).decode


class UsageBook(Ledger):
    """Counts usage. Questions may take a disk's time: ask them from a thread that may wait."""

    def __init__(self) -> None:
        """Start with nothing, until `resume`."""
        self._directory = Path()
        self._begun = False
        self._counting = threading.Lock()
        """Held for the fields down to `_until`, and never while the disk is waited for."""
        self._tallies: dict[Occasion, Tally] = {}
        self._after = 0
        self._until = 0
        self._writing = threading.Lock()
        """Held for the file."""
        self._file: UsageFile | None = None
        self._failed = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)

    def resume(self, directory: Path, sequence: int) -> None:
        """Belong to a journal; what is in it is read behind its back, not now."""
        self._directory, self._begun = directory, True
        self._after = self._until = sequence

    def written(self, uses: Sequence[Use], sequence: int) -> None:
        """Count uses that are on disk: with them all up to the sequence are."""
        with self._counting:
            for use in uses:
                _add(self._tallies, use.occasion, use.at)
            self._until = sequence
            if len(self._tallies) > _MOST_PENDING:
                self._tallies, self._after = {}, sequence

    def start(self) -> None:
        """Begin to bring counts to the disk, every few seconds."""
        self._thread.start()

    def close(self) -> None:
        """Bring all counts to the disk, and give the file back."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
            self.flush()
        with self._writing:
            self._give_back()

    def used_by(self, kind: FactKind, id_: str) -> UsageSummary:
        """Return all uses of one session, approval or entitlement, the latest included.

        Raises UsageUnavailableError if neither the file nor the journal can be read.
        """
        return self.used_by_each(kind, (id_,)).get(id_, UNUSED)

    def used_by_each(self, kind: FactKind, ids: Sequence[str]) -> dict[str, UsageSummary]:
        """Return the uses of those that have any; as `used_by`."""
        return self._ask(lambda file: file.read(kind, ids))

    def since(self) -> Instant | None:
        """Return when the first record was made, before which nothing is known; None: there is none; as `used_by`."""
        return self._ask(lambda file: file.since)

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY_S):
            self.flush()

    def flush(self) -> bool:
        """Bring the file up to date, and return whether it is; trouble is said once, and mended by a later flush."""
        try:
            self._ask(lambda _: None)
        except UsageUnavailableError as error:
            if not self._failed and not self._stopping.is_set():  # at the end the next start mends it, unasked
                _LOG.warning("usage could not be written, reviews will wait: %s", error)
            self._failed = True
        else:
            self._failed = False
        return not self._failed

    def _ask(self, question: Callable[[UsageFile], _Result]) -> _Result:
        """Bring the file up to date and ask it; a damaged one is made anew."""
        if not self._begun:
            message = "usage cannot be told: no journal is open"
            raise UsageUnavailableError(message)
        with self._writing:
            try:
                try:
                    return question(self._current())
                except sqlite3.DatabaseError as error:
                    if not is_damaged(error):
                        raise
                    _LOG.warning("usage file `%s` is damaged and made anew from the journal: %s", FILE, error)
                    self._give_back()
                    remove(self._directory / FILE)
                    return question(self._current())
            except (sqlite3.Error, OSError, JournalDamagedError, msgspec.DecodeError, ValueError) as error:
                message = f"usage cannot be told: {error}"
                raise UsageUnavailableError(message) from error

    def _current(self) -> UsageFile:
        """Return the file with all in it that was counted.

        What is taken from memory here and does not get into the file is read from the journal the next time.
        """
        pending = self._take()
        if self._file is None:
            self._file = UsageFile(self._directory / FILE)
        file = self._file
        if file.folded > pending.after:  # of another journal
            self._give_back()
            remove(self._directory / FILE)
            file = self._file = UsageFile(self._directory / FILE)
        if file.folded < pending.after:
            self._catch_up(file, pending.after)
        if file.folded < pending.until:
            file.add(pending.tallies, pending.until, self._begun_at(file))
        return file

    def _take(self) -> _Pending:
        with self._counting:
            pending = _Pending(self._tallies, self._after, self._until)
            self._tallies, self._after = {}, self._until
        return pending

    def _catch_up(self, file: UsageFile, until: int) -> None:
        entries = takewhile(lambda entry: entry.sequence <= until, read(self._directory, file.folded))
        while some := tuple(islice(entries, _LINES_AT_ONCE)):
            if self._stopping.is_set():
                message = "it is not made anew yet, and this process is stopping"
                raise UsageUnavailableError(message)
            lines = [_DECODE_LINE(entry.raw) for entry in some]
            file.add(_fold(lines), some[-1].sequence, self._begun_at(file))
        file.add({}, until, self._begun_at(file))

    def _begun_at(self, file: UsageFile) -> Instant | None:
        """Return when the oldest record was made that was there when the file was begun."""
        if file.since is not None:
            return file.since
        oldest = next(read(self._directory), None)
        return None if oldest is None else parse_instant(_DECODE_LINE(oldest.raw).time)

    def _give_back(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _fold(lines: Iterable[_Line]) -> dict[Occasion, Tally]:
    tallies: dict[Occasion, Tally] = {}
    for line in lines:
        uses, asked = line.uses, line.request
        if uses is not None and asked is not None:
            entitlements = uses.entitlements or (line.entitlement_id,)
            occasion = Occasion(uses.sessions, uses.approvals, entitlements, asked.action, asked.resource)
            _add(tallies, occasion, parse_instant(line.evaluated_at))
    return tallies


def _add(tallies: dict[Occasion, Tally], occasion: Occasion, at: Instant) -> None:
    tally = tallies.get(occasion)
    if tally is None:
        tallies[occasion] = Tally(1, at, at)
    else:
        tally.count += 1
        if at > tally.last:
            tally.last = at
        elif at < tally.first:
            tally.first = at
