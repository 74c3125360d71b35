"""The index of a running sidecar: every record that is on disk can be found by what it is about.

Rule 1: the event loop only says up to which record the journal is on disk; a process of its own reads the lines
from there (`keeper`), and this one only asks.
Rule 2: derived: what is lost, damaged or of another journal is made anew.
Rule 3: an answer is complete: what the file does not have yet is waited for, or read here if it is little; else the
question is refused.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pdp.evidence.derived_file import is_damaged
from pdp.evidence.index.filling import UNSEEN, fill, inode_of, standing, temporary
from pdp.evidence.index.index_file import IndexFile
from pdp.evidence.index.query import FoundRecord, Page, Query
from pdp.evidence.index.searching import page_of, record_of
from pdp.evidence.journal.ledger import Ledger
from pdp.evidence.journal.segments import first_sequence_of, segments_of
from pdp.evidence.keeper.keeping import Keeping
from pdp.evidence.record import Use
from pdp.evidence.trouble import IndexUnavailableError, JournalDamagedError

_PATIENCE_S = 2.0
"""How long a question waits for records that are not in the index yet."""
_LITTLE = 2_000
"""Records that may be read in this process: some tenths of a second."""
_TURN = 100
"""Of them, read before the threads that answer get their turn: a few milliseconds."""
_PAUSE_S = 0.0005

_Result = TypeVar("_Result")


class RecordIndex(Ledger):
    """Finds records. Questions may take a disk's time: ask them from a thread that may wait."""

    def __init__(self) -> None:
        """Start with nothing, until `resume`."""
        self._directory = Path()
        self._until = 0
        self.keeping = Keeping(lambda: self._until)
        """Has the index kept, and whatever else the keeper is told."""

    def resume(self, directory: Path, sequence: int) -> None:
        """Belong to a journal; what is in it is read behind its back, not now."""
        self._directory, self._until = directory, sequence

    def written(self, uses: Sequence[Use], sequence: int) -> None:  # noqa: ARG002  # lines are read where they stand
        """Take note that all up to this record is on disk."""
        self._until = sequence

    def start(self) -> None:
        """Begin to follow the journal."""
        self.keeping.start(self._directory)

    def close(self) -> None:
        """Stop following; what is missing is read at the next start."""
        self.keeping.close()

    @property
    def behind(self) -> int:
        """How many records are on disk that the index is not known to have."""
        return max(0, self._until - self.keeping.indexed)

    def page(self, query: Query, token: str = "", size: int = 100) -> Page:
        """Return a page of the records asked for.

        Raises ValueError for what is no token, and IndexUnavailableError if index or journal cannot be read, or there
        is more to read first than a caller should wait for.
        """
        return self._ask(lambda files: page_of(self._directory, files, query, token, size))

    def record(self, sequence: int) -> FoundRecord | None:
        """Return one record; None if there is none, or its segment is gone; raise IndexUnavailableError as `page`."""
        return self._ask(lambda files: record_of(self._directory, files, sequence))

    def _ask(self, question: Callable[[Sequence[IndexFile]], _Result]) -> _Result:
        wanted = self._until
        self.keeping.catch_up(wanted, _PATIENCE_S)
        try:
            try:
                return self._ask_file(question, wanted)
            except sqlite3.Error:  # the file is missing, or no good
                return self._ask_up_to(wanted, [], question)
        except (sqlite3.Error, OSError, JournalDamagedError) as error:
            verify = "; `pdp journal verify` names every broken place" if isinstance(error, JournalDamagedError) else ""
            message = f"records cannot be found: {error}{verify}"
            raise IndexUnavailableError(message) from error

    def _ask_file(self, question: Callable[[Sequence[IndexFile]], _Result], wanted: int) -> _Result:
        """Ask the file as it stands, and tell if it is damaged."""
        inode = inode_of(self._directory)
        try:
            with standing(self._directory) as file:
                # One that has more is another journal's.
                files = [] if file is None or file.position.sequence > self._until else [file]
                return self._ask_up_to(wanted, files, question)
        except sqlite3.Error as error:
            if is_damaged(error):
                self.keeping.is_damaged(inode)
            raise

    def _ask_up_to(
        self, wanted: int, files: Sequence[IndexFile], question: Callable[[Sequence[IndexFile]], _Result]
    ) -> _Result:
        """Ask a file, with what it has not got up to a record, or refuse."""
        position = files[-1].position if files else UNSEEN
        if files and position.sequence >= wanted:
            return question(files)
        gone = next((first_sequence_of(segment) - 1 for segment in segments_of(self._directory)), 0)
        if wanted - max(position.sequence, gone) > _LITTLE:
            why = self.keeping.trouble
            message = f"the index has {position.sequence} of {wanted} records so far, ask again later"
            raise IndexUnavailableError(f"{message}: {why}" if why else message)
        with temporary(position) as rest:
            for _ in fill(rest, self._directory, wanted, _TURN):
                time.sleep(_PAUSE_S)
            return question([*files, rest])
