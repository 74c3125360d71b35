"""The index of a running sidecar: every record that is on disk can be found by what it is about.

Rule 1: the writer's thread only says up to which record the journal is on disk; a thread of the index's own reads the
lines from there, a batch at a time.
Rule 2: derived: what is lost, damaged or of another journal is made anew.
Rule 3: an answer is complete: the index is brought up to date before it is asked, or the question is refused.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from pdp.evidence.derived_file import is_damaged, remove
from pdp.evidence.index.index_file import FILE, IndexFile
from pdp.evidence.index.lines import Read, leads_into, read_on
from pdp.evidence.index.query import FoundRecord, Page, Query
from pdp.evidence.index.searching import page_of, record_of
from pdp.evidence.journal.segments import first_sequence_of, segments_of
from pdp.evidence.record import AnyRecord
from pdp.evidence.trouble import IndexUnavailableError, JournalDamagedError

_LOG = logging.getLogger(__name__)

_EVERY_S = 1.0
_LINES_AT_ONCE = 500
"""Records of one transaction."""
_TURN = 100
"""Lines read before the threads that answer get their turn: a millisecond or two."""
_PAUSE_S = 0.0005
_PATIENCE_S = 2.0
"""How long a question waits for records that are not in the index yet."""

_Result = TypeVar("_Result")


class RecordIndex:
    """A `Ledger` that finds records. Questions may take a disk's time: ask them from a thread that may wait."""

    def __init__(self) -> None:
        """Start with nothing, until `resume`."""
        self._directory = Path()
        self._until = 0
        self._using = threading.Lock()
        """Held for the file."""
        self._file: IndexFile | None = None
        self._lines: Iterator[Read] = iter(())
        """What follows in the journal, as far as it was on disk when it was asked for."""
        self._failed = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="index", daemon=True)

    def resume(self, directory: Path) -> None:
        """Belong to a journal; what is in it is read behind its back, not now."""
        self._directory = directory

    def count(self, records: Sequence[AnyRecord]) -> None:
        """Do nothing: the lines are read where they stand."""

    def counted(self, sequence: int) -> None:
        """Take note that all up to this record is on disk."""
        self._until = sequence

    def seal(self, segment: Path) -> None:
        """Do nothing: the index does not go by segments."""

    def start(self) -> None:
        """Begin to follow the journal."""
        self._thread.start()

    def close(self) -> None:
        """Stop following, and give the file back; what is missing is read at the next start."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        with self._using:
            self._give_back()

    def page(self, query: Query, token: str = "", size: int = 100) -> Page:
        """Return a page of the records asked for.

        Raises ValueError for what is no token, and IndexUnavailableError if index or journal cannot be read, or there
        is more to read first than a caller should wait for.
        """
        return self._ask(lambda file: page_of(self._directory, [file], query, token, size))

    def record(self, sequence: int) -> FoundRecord | None:
        """Return one record; None if there is none, or its segment is gone; raise IndexUnavailableError as `page`."""
        return self._ask(lambda file: record_of(self._directory, [file], sequence))

    def catch_up(self, patience_s: float | None = None) -> None:
        """Take in all that is on disk; raise as `page` does if that takes longer than `patience_s`."""
        give_up = None if patience_s is None else time.monotonic() + patience_s
        while self._ask_once(self._advance):
            if give_up is not None and time.monotonic() >= give_up:
                at = 0 if self._file is None else self._file.position.sequence
                message = f"the index has {at} of {self._until} records so far, ask again later"
                raise IndexUnavailableError(message)

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY_S):
            try:
                while not self._stopping.is_set() and self._ask_once(self._advance):
                    pass
            except IndexUnavailableError as error:
                if not self._failed:
                    _LOG.warning("the index could not be written, records cannot be found: %s", error)
                self._failed = True
            else:
                self._failed = False

    def _ask(self, question: Callable[[IndexFile], _Result]) -> _Result:
        self.catch_up(_PATIENCE_S)
        return self._ask_once(question)

    def _ask_once(self, question: Callable[[IndexFile], _Result]) -> _Result:
        """Ask the file; a damaged one is made anew."""
        with self._using:
            try:
                try:
                    return question(self._opened())
                except sqlite3.DatabaseError as error:
                    if not is_damaged(error):
                        raise
                    _LOG.warning("index `%s` is damaged and made anew from the journal: %s", FILE, error)
                    self._make_anew()
                    return question(self._opened())
            except (sqlite3.Error, OSError, JournalDamagedError) as error:
                self._lines = iter(())
                message = f"records cannot be found: {error}"
                raise IndexUnavailableError(message) from error

    def _opened(self) -> IndexFile:
        if self._file is None:
            self._file = IndexFile.open(self._directory / FILE)
            position = self._file.position
            if position.sequence > self._until or not leads_into(self._directory, position):  # of another journal
                self._make_anew()
                self._file = IndexFile.open(self._directory / FILE)
            forget_what_is_gone(self._directory, self._file)
        return self._file

    def _advance(self, file: IndexFile) -> bool:
        """Take in a batch; return whether there may be more."""
        if file.position.sequence >= self._until:
            return False
        some = self._next_lines()
        if not some:
            self._lines = read_on(self._directory, file.position, self._until)
            some = self._next_lines()
        if not some:
            message = f"record {file.position.sequence + 1} is missing"
            raise JournalDamagedError(message)
        file.add([read.record for read in some], some[-1].after)
        return True

    def _next_lines(self) -> list[Read]:
        some: list[Read] = []
        while len(some) < _LINES_AT_ONCE and (turn := list(islice(self._lines, _TURN))):
            some += turn
            time.sleep(_PAUSE_S)
        return some

    def _make_anew(self) -> None:
        self._give_back()
        remove(self._directory / FILE)

    def _give_back(self) -> None:
        self._lines = iter(())
        file, self._file = self._file, None
        if file is not None:
            file.close()


def forget_what_is_gone(directory: Path, file: IndexFile) -> None:
    """Drop the records whose segments were removed."""
    kept = next(iter(segments_of(directory)), None)
    first = file.first()
    if kept is not None and first is not None and first < first_sequence_of(kept):
        file.forget_before(first_sequence_of(kept))
