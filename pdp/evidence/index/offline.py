"""Finding records in a journal without asking its sidecar, whether that runs or not.

Rule 1: the index is only written where no sidecar writes to the journal; where one does it is read as it stands, and
what it does not have yet goes into a temporary one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path

from pdp.evidence.index.filling import UNSEEN, fill, standing, temporary
from pdp.evidence.index.index_file import FILE, IndexFile
from pdp.evidence.index.lines import leads_into
from pdp.evidence.index.query import FoundRecord, Page, Query
from pdp.evidence.index.searching import page_of, record_of
from pdp.evidence.index.sole_writer import sole_writer

_PAGE = 1_000


class JournalSearch:
    """Answers from one state of the journal: that of when it was opened."""

    def __init__(self, directory: Path, files: list[IndexFile]) -> None:
        """Use files that follow one another up to the journal's end; see `searching`."""
        self._directory = directory
        self._files = files

    def page(self, query: Query, token: str = "", size: int = 100) -> Page:
        """Return a page of records; raises as `searching.page_of` does."""
        return page_of(self._directory, self._files, query, token, size)

    def record(self, sequence: int) -> FoundRecord | None:
        """Return one record; None if there is none, or its segment is gone; raises as `page` does."""
        return record_of(self._directory, self._files, sequence)

    def records(self, query: Query, most: int | None = None) -> Iterator[FoundRecord]:
        """Yield all records asked for, or the first of them."""
        yield from islice(self._all(query, _PAGE if most is None else min(most, _PAGE)), most)

    def _all(self, query: Query, size: int) -> Iterator[FoundRecord]:
        token = ""
        while size:
            page = self.page(query, token, size)
            yield from page.records
            token = page.next_token
            if not token:
                return


@contextmanager
def searching(directory: Path) -> Iterator[JournalSearch]:
    """Open a journal for questions.

    Raises JournalDamagedError at a line that is no record, OSError if the journal cannot be read.
    """
    _update(directory)
    with ExitStack() as stack:
        file = None
        with contextlib.suppress(sqlite3.Error):  # there is none, or none that is any good
            file = stack.enter_context(standing(directory))
        rest = stack.enter_context(temporary(UNSEEN if file is None else file.position))
        _fill(rest, directory)
        yield JournalSearch(directory, [rest] if file is None else [file, rest])


def _update(directory: Path) -> None:
    """Bring the index up to date, if nobody writes to the journal and it may be written here."""
    with (
        contextlib.suppress(OSError, sqlite3.Error),
        _unused(directory),
        sole_writer(directory),
        closing(IndexFile.open(directory / FILE)) as file,
    ):
        if leads_into(directory, file.position):  # a sidecar that starts makes another journal's index anew
            _fill(file, directory)


def _fill(file: IndexFile, directory: Path) -> None:
    for _ in fill(file, directory):
        pass


@contextmanager
def _unused(directory: Path) -> Iterator[None]:
    """Keep sidecars out of the journal meanwhile; raise OSError where one is in it, or it cannot be written."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
