"""From the journal's lines into index files: the one that is kept, and those that answer one question."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pdp.evidence.index.index_file import FILE, Indexed, IndexFile, Position
from pdp.evidence.index.lines import Read, leads_into, read_on
from pdp.evidence.journal.segments import first_sequence_of, segments_of
from pdp.evidence.trouble import JournalDamagedError

_LINES_AT_ONCE = 2_000
"""Records of one transaction."""
_BYTES_AT_ONCE = 16 * 1024 * 1024
"""Of their lines, but for the last: what a record is about is in memory until then."""
UNSEEN = Position(0, 0, 0, "")
"""Before the first record."""


def fill(
    file: IndexFile, directory: Path, until: int | None = None, lines_at_once: int = _LINES_AT_ONCE
) -> Iterator[int]:
    """Take in what follows in a journal, up to a sequence or its last whole line; yield how far, each time.

    Raises sqlite3.Error, OSError, and JournalDamagedError at a line that is no record or if there is none of `until`.
    """
    for records, position in _transactions(read_on(directory, file.position, until), lines_at_once):
        file.add(records, position)
        yield position.sequence
    if until is not None and file.position.sequence < until:
        message = f"record {file.position.sequence + 1} is missing"
        raise JournalDamagedError(message)


def _transactions(lines: Iterator[Read], most: int) -> Iterator[tuple[list[Indexed], Position]]:
    """Yield the records of each transaction, and up to where the journal is in the file with them."""
    records, size = list[Indexed](), 0
    for read in lines:
        records.append(read.record)
        size += read.record.place.length
        if len(records) >= most or size >= _BYTES_AT_ONCE:
            yield records, read.after
            records, size = [], 0
    if records:
        yield records, read.after


@contextmanager
def standing(directory: Path) -> Iterator[IndexFile | None]:
    """Open the index as it stands, to read, whoever writes to it; None: it is of another journal.

    Raises sqlite3.Error if there is none that is any good, or it was made anew meanwhile, and OSError.
    """
    inode = inode_of(directory)
    with closing(IndexFile.read_only(directory / FILE)) as file:
        yield file if leads_into(directory, file.position) else None
        # SQLite finds what was written last in a file beside, by its name: that may have been the new one's.
        if inode != inode_of(directory):
            message = "the index was made anew meanwhile"
            raise sqlite3.DatabaseError(message)


def inode_of(directory: Path) -> int:
    """Return which file the index of a journal is; 0: there is none."""
    try:
        return (directory / FILE).stat().st_ino
    except FileNotFoundError:
        return 0


@contextmanager
def temporary(position: Position) -> Iterator[IndexFile]:
    """Make an index that goes on from a position, and is gone afterwards; see `fill`."""
    with closing(IndexFile.temporary(position)) as file:
        yield file


def forget_what_is_gone(directory: Path, file: IndexFile) -> None:
    """Drop the records whose segments were removed."""
    kept = next(iter(segments_of(directory)), None)
    first = file.first()
    if kept is not None and first is not None and first < first_sequence_of(kept):
        file.forget_before(first_sequence_of(kept))
