"""Lines of the journal by where they stand: read on from a position, and fetched by their places."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import msgspec
from msgspec import Struct

from pdp.evidence.derived_file import damage
from pdp.evidence.following.whole_lines import Line, Spot, whole_lines
from pdp.evidence.index.index_file import Indexed, Position
from pdp.evidence.index.query import HIGHEST, FoundRecord, Place
from pdp.evidence.index.topics import decode_line, topics_of
from pdp.evidence.instants import parse_instant
from pdp.evidence.journal.segments import first_sequence_of, open_segment, segments_of
from pdp.evidence.line.chain import refuse_altered
from pdp.evidence.trouble import JournalDamagedError

_HASH_TAIL = 64 + len('"}')
"""Bytes at the end of a line that are its hash, and what is behind it."""


class _Numbered(Struct, frozen=True):
    """What is read of a line to tell which it is."""

    seq: int


_decode_sequence = msgspec.json.Decoder(_Numbered).decode


class Read(Struct, frozen=True):
    """A line, and what the index takes of it."""

    record: Indexed
    line: Line

    @property
    def after(self) -> Position:
        """Up to where the journal is read with it."""
        return Position(self.record.place.sequence, *self.line.behind, _hash_at_end(self.line.raw))


def read_on(directory: Path, position: Position, until: int | None = None) -> Iterator[Read]:
    """Yield the records behind a position, up to a sequence or the last whole line.

    Raises JournalDamagedError at a whole line that is no record, OSError if a segment cannot be read.
    """
    for line in whole_lines(directory, Spot(position.segment, position.offset)):
        record = _indexed(line)
        if until is not None and record.place.sequence > until:
            return
        yield Read(record, line)


def leads_into(directory: Path, position: Position) -> bool:
    """Whether a journal has the position's last line, or none any more, where the position is: it may be another's."""
    for segment in segments_of(directory):
        first = first_sequence_of(segment)
        if first >= position.segment:
            if first > position.segment or position.offset == 0:
                return position.sequence < first
            with open_segment(segment) as file:
                start = max(0, position.offset - _HASH_TAIL - 1)
                file.seek(start)
                before = file.read(position.offset - start)
            return before.endswith(b"\n") and _hash_at_end(before[:-1].rpartition(b"\n")[2]) == position.hash
    return position.sequence == 0


def read_records(directory: Path, places: Sequence[Place]) -> list[FoundRecord]:
    """Return the lines at these places, in their order, but for those whose segments are gone.

    Of a compressed segment the blocks they stand in are decompressed, each once. Raises OSError, JournalDamagedError
    at what is no record, and sqlite3.DatabaseError, which `is_damaged`, where another record stands.
    """
    segments = segments_of(directory)
    firsts = [first_sequence_of(segment) for segment in segments]
    found: dict[int, FoundRecord] = {}
    ordered = sorted(places, key=lambda place: place.sequence)
    for number, some in groupby(ordered, lambda place: bisect_right(firsts, place.sequence) - 1):
        if number >= 0:
            found |= {one.sequence: one for one in _read(segments[number], some)}
    return [found[place.sequence] for place in places if place.sequence in found]


def _read(segment: Path, places: Iterator[Place]) -> Iterator[FoundRecord]:
    with open_segment(segment) as file:
        for place in places:
            file.seek(place.offset)
            raw = file.read(place.length)
            if _sequence_of(raw, place, segment) != place.sequence:
                message = f"record {place.sequence} is not where the index has it"
                raise damage(message)
            refuse_altered(raw, place.sequence, segment.name)
            yield FoundRecord(place.sequence, raw)


def _sequence_of(raw: bytes, place: Place, segment: Path) -> int:
    try:
        return _decode_sequence(raw).seq
    except (msgspec.DecodeError, ValueError) as error:
        raise _no_record(place.offset, segment, error) from None


def _hash_at_end(line: bytes) -> str:
    """Return the hash of a line, of which the end is enough."""
    return line[-_HASH_TAIL:-2].decode("ascii", "replace")


def _indexed(line: Line) -> Indexed:
    try:
        record = decode_line(line.raw)
        at = parse_instant(record.time)
        _refuse_impossible(record.seq)
    except (msgspec.DecodeError, ValueError) as error:  # text that is not UTF-8 is a ValueError too
        raise _no_record(line.offset, line.segment, error) from None
    return Indexed(Place(record.seq, line.offset, len(line.raw)), at, record.decision_id, topics_of(record))


def _refuse_impossible(sequence: int) -> None:
    if not 1 <= sequence <= HIGHEST:
        message = f"`{sequence}` is not the sequence of a record"
        raise ValueError(message)


def _no_record(offset: int, segment: Path, why: Exception) -> JournalDamagedError:
    return JournalDamagedError(f"what stands at byte {offset} of segment `{segment.name}` is not a record: {why}")
