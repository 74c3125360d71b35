"""Pages of records, from files that follow one another and the journal they lead to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pdp.evidence.index.index_file import IndexFile
from pdp.evidence.index.lines import read_records
from pdp.evidence.index.query import FoundRecord, Page, Place, Query, sequence_of, token_of
from pdp.evidence.index.topics import decode_line
from pdp.evidence.journal.segments import first_sequence_of, segments_of

_HIGHEST = (1 << 63) - 1


def page_of(directory: Path, files: Sequence[IndexFile], query: Query, token: str, size: int) -> Page:
    """Return a page of what files know, each of which goes on where the one before it ends.

    Raises ValueError for what is no token, sqlite3.Error, OSError, JournalDamagedError.
    """
    low, high = _bounds(directory, query, sequence_of(token))
    places: list[Place] = []
    for file in files if query.oldest_first else reversed(files):
        if len(places) <= size:
            places += file.find(query, low, high, size + 1 - len(places))
    told = places[:size]
    records = tuple(one for one in read_records(directory, told) if _is_asked_for(one, query))
    more = len(places) > size
    return Page(records, token_of(told[-1].sequence) if more else "", files[-1].position.sequence)


def record_of(directory: Path, files: Sequence[IndexFile], sequence: int) -> FoundRecord | None:
    """Return one record; None if there is none, or its segment is gone; raises as `page_of`, but for the token."""
    places = (place for file in files for place in file.find(Query(), sequence, sequence, 1))
    return next(iter(read_records(directory, list(places))), None)


def _bounds(directory: Path, query: Query, after: int | None) -> tuple[int, int]:
    """Return between which sequences to look: those that are kept, behind a token."""
    kept = next((first_sequence_of(segment) for segment in segments_of(directory)), 0)
    if after is None:
        return kept, _HIGHEST
    return (max(kept, after + 1), _HIGHEST) if query.oldest_first else (kept, after - 1)


def _is_asked_for(record: FoundRecord, query: Query) -> bool:
    """Whether it is the decision asked for, if one was: the index knows but a digest of its id."""
    return not query.decision_id or decode_line(record.raw).decision_id == query.decision_id
