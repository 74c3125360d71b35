"""Finding records in a journal without asking its sidecar, whether that runs or not.

Rule 1: the index is only written where no sidecar writes to the journal; where one does it is read as it stands, and
what it does not have yet goes into a temporary one.
Rule 2: where the journal is damaged, what is before the broken place is told, and then that there is one.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import os
import sqlite3
import zlib
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
from pdp.evidence.trouble import JournalDamagedError

_PAGE = 1_000
_UNREADABLE = (JournalDamagedError, gzip.BadGzipFile, zlib.error, EOFError)


class JournalSearch:
    """Answers from one state of the journal: that of when it was opened."""

    def __init__(self, directory: Path, files: list[IndexFile], damage: str = "") -> None:
        """Use files that follow one another up to the journal's end, or to its damage; see `searching`."""
        self._directory = directory
        self._files = files
        self._damage = damage

    def page(self, query: Query, token: str = "", size: int = 100) -> Page:
        """Return a page of records; raises as `searching.page_of` does."""
        return page_of(self._directory, self._files, query, token, size)

    def record(self, sequence: int) -> FoundRecord | None:
        """Return one record; None if there is none, or its segment is gone; raises as `page` does, and if in doubt."""
        found = record_of(self._directory, self._files, sequence)
        if found is None:
            self._refuse_damage(self._files[-1].position.sequence)
        return found

    def records(self, query: Query, most: int | None = None) -> Iterator[FoundRecord]:
        """Yield all records asked for, or the first of them; those that can be read before what raises an error.

        Raises JournalDamagedError, at once where the newest are asked for and the damage may hide them.
        """
        if not query.oldest_first:
            self._refuse_damage(0)
        yield from islice(self._all(query, _PAGE if most is None else min(most, _PAGE)), most)

    def _all(self, query: Query, size: int) -> Iterator[FoundRecord]:
        token, told = "", 0
        while size:
            try:
                page = self.page(query, token, size)
            except _UNREADABLE as error:
                if size == 1:
                    raise _damaged(str(error), told if query.oldest_first else 0) from error
                size = 1  # what was read of a page is lost with the line that is none
                continue
            yield from page.records
            told = page.records[-1].sequence if page.records else told
            token = page.next_token
            if not token:
                break
        self._refuse_damage(self._files[-1].position.sequence)

    def _refuse_damage(self, until: int) -> None:
        if self._damage:
            raise _damaged(self._damage, until)


def _damaged(why: str, until: int) -> JournalDamagedError:
    return JournalDamagedError(f"{why}; all that is asked for up to record {until} was found" if until else why)


@contextmanager
def searching(directory: Path) -> Iterator[JournalSearch]:
    """Open a journal for questions.

    What is behind a line that is no record is not found; questions say so. Raises OSError if it cannot be read at all.
    """
    _update(directory)
    with ExitStack() as stack:
        file = None
        with contextlib.suppress(sqlite3.Error):  # there is none, or none that is any good
            file = stack.enter_context(standing(directory))
        rest = stack.enter_context(temporary(UNSEEN if file is None else file.position))
        damage = _fill_as_far(rest, directory)
        yield JournalSearch(directory, [rest] if file is None else [file, rest], damage)


def _update(directory: Path) -> None:
    """Bring the index up to date, if nobody writes to the journal and it may be written here."""
    with (
        contextlib.suppress(OSError, sqlite3.Error, *_UNREADABLE),
        _unused(directory),
        sole_writer(directory),
        closing(IndexFile.open(directory / FILE)) as file,
    ):
        if leads_into(directory, file.position):  # a sidecar that starts makes another journal's index anew
            _fill(file, directory)


def _fill(file: IndexFile, directory: Path) -> None:
    for _ in fill(file, directory):
        pass


def _fill_as_far(file: IndexFile, directory: Path) -> str:
    """Take in all that can be read in order; return what the rest is behind, empty: there is none."""
    damage = ""
    for progress in (fill(file, directory), fill(file, directory, lines_at_once=1)):
        try:
            for _ in progress:
                pass
        except _UNREADABLE as error:
            damage = str(error)
        else:
            return ""
    return damage


@contextmanager
def _unused(directory: Path) -> Iterator[None]:
    """Keep sidecars out of the journal meanwhile; raise OSError where one is in it, or it cannot be written."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
