"""The lines of a journal from a place on: each time from the file, so that nothing is kept of what was not whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from pdp.evidence.journal.segments import first_sequence_of, open_segment, segments_of


class Spot(NamedTuple):
    """Where a line begins."""

    segment: int
    """The first sequence of its segment."""
    offset: int
    """In the segment's plain form."""


class Line(Struct, frozen=True):
    """A whole line."""

    raw: bytes
    """Without line feed."""
    segment: Path
    first: int
    """The first sequence of its segment."""
    offset: int
    """In the segment's plain form."""

    @property
    def spot(self) -> Spot:
        """Where it begins."""
        return Spot(self.first, self.offset)

    @property
    def behind(self) -> Spot:
        """Where the next one begins, or would."""
        return Spot(self.first, self.offset + len(self.raw) + 1)


def whole_lines(directory: Path, spot: Spot) -> Iterator[Line]:
    """Yield the lines from a spot on, up to the last whole one.

    Raises JournalDamagedError where a segment cannot be decompressed, OSError if one cannot be read.
    """
    for segment in segments_of(directory):
        first = first_sequence_of(segment)
        if first < spot.segment:
            continue
        offset = spot.offset if first == spot.segment else 0
        with suppress(FileNotFoundError), open_segment(segment) as file:  # not there: retention has removed it
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # still being written, or torn
                yield Line(line[:-1], segment, first, offset)
                offset += len(line)
