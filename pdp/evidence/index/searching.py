"""Pages of records, from files that follow one another and the journal they lead to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pdp.evidence.index.index_file import IndexFile
from pdp.evidence.index.lines import read_records
from pdp.evidence.index.query import HIGHEST, FoundRecord, Page, Place, Query, sequence_of, token_of
from pdp.evidence.index.topics import decode_line
from pdp.evidence.journal.segments import first_sequence_of, segments_of

_MOST_BYTES = 4 * 1024 * 1024
"""Of lines that are read for one page, but for its first."""


def page_of(directory: Path, files: Sequence[IndexFile], query: Query, token: str, size: int) -> Page:
    """Return a page of what files know, each of which goes on where the one before it ends; shorter if lines are long.

    Raises ValueError for what is no token, sqlite3.Error, OSError, JournalDamagedError.
    """
    low, high = _bounds(directory, query, sequence_of(token))
    places: list[Place] = []
    for file in files if query.oldest_first else reversed(files):
        if len(places) <= size:
            places += file.find(query, low, high, size + 1 - len(places))
    told = _not_too_much(places[:size])
    records = tuple(one for one in read_records(directory, told) if _is_asked_for(one, query))
    more = len(places) > len(told)
    return Page(records, token_of(told[-1].sequence) if more else "", files[-1].position.sequence)


def record_of(directory: Path, files: Sequence[IndexFile], sequence: int) -> FoundRecord | None:
    """Return one record; None if there is none, or its segment is gone; raises as `page_of`, but for the token."""
    if sequence > HIGHEST:
        return None
    places = (place for file in files for place in file.find(Query(), sequence, sequence, 1))
    return next(iter(read_records(directory, list(places))), None)


def _not_too_much(places: Sequence[Place]) -> Sequence[Place]:
    """Return the first of some places, at least one, whose lines take no more memory than a page may."""
    size = 0
    for number, place in enumerate(places):
        size += place.length
        if number and size > _MOST_BYTES:
            return places[:number]
    return places


def _bounds(directory: Path, query: Query, after: int | None) -> tuple[int, int]:
    """Return between which sequences to look: those that are kept, behind a token."""
    kept = next((first_sequence_of(segment) for segment in segments_of(directory)), 0)
    if after is None:
        return kept, HIGHEST
    return (max(kept, after + 1), HIGHEST) if query.oldest_first else (kept, after - 1)


def _is_asked_for(record: FoundRecord, query: Query) -> bool:
    """Whether it is the decision asked for, if one was: the index knows but a digest of its id."""
    return not query.decision_id or decode_line(record.raw).decision_id == query.decision_id
