"""Reading a journal back: in order, following its end, and checking that nothing was altered.

Needs no lock and disturbs no writer. What it yields is the line as it stands; only `verify` says whether it is true.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias, cast

import msgspec
from msgspec import Struct

from pdp.core.model import Attribute
from pdp.evidence.record_json import GENESIS, hash_of
from pdp.evidence.segments import first_sequence_of, segments_of
from pdp.evidence.trouble import JournalDamagedError

_POLL_S = 0.2


class Entry(Struct, frozen=True):
    """One line of a journal."""

    sequence: int
    segment: str
    line: int
    """Number in its segment, from 1."""
    raw: bytes
    """Without line feed."""

    def record(self) -> dict[str, Attribute]:
        """Return the line's members, as docs/evidence.md describes them."""
        return cast("dict[str, Attribute]", msgspec.json.decode(self.raw))


class Verified(Struct, frozen=True):
    """Every line has its hash and continues the one before."""

    records: int
    segments: int
    first_sequence: int
    """1 unless older segments were archived elsewhere; 0 for an empty journal."""
    last_hash: str


class Broken(Struct, frozen=True):
    """A place where a journal is not what was written."""

    segment: str
    line: int
    sequence: int
    """As the line says; 0 if it does not."""
    what: str


Verification: TypeAlias = Verified | list[Broken]


class _Link(Struct):
    seq: int
    prev: str


def read(directory: Path, after: int = 0) -> Iterator[Entry]:
    """Yield the records above sequence `after`, in order, up to the last whole line.

    Raises JournalDamagedError at a whole line that is no record.
    """
    yield from _Cursor(directory, after).advance()


def tail(
    directory: Path, *, follow: bool, after: int = 0, stop: Callable[[], bool] = lambda: False, poll_s: float = _POLL_S
) -> Iterator[Entry]:
    """Yield as `read` does; with `follow` go on with what is appended, until `stop` says so."""
    cursor = _Cursor(directory, after)
    while True:
        yield from cursor.advance()
        if not follow or stop():
            return
        time.sleep(poll_s)


def verify(directory: Path) -> Verification:
    """Check every line of every segment; return all places that are broken, if there are any.

    A chain alone cannot show that its youngest records were cut off at a line's end: compare `last_hash` with one
    noted elsewhere for that.
    """
    check = _Check()
    segments = segments_of(directory)
    for segment in segments:
        check.segment(segment)
    if check.broken:
        return check.broken
    return Verified(check.records, len(segments), check.first, check.expected_prev)


class _Cursor:
    """A place in a journal, behind what was read."""

    def __init__(self, directory: Path, after: int) -> None:
        self._directory = directory
        self._after = after
        self._segment: Path | None = None
        self._offset = 0
        self._line = 0

    def advance(self) -> Iterator[Entry]:
        """Yield the records that are there now."""
        if self._segment is None:
            self._segment = _segment_with(self._directory, self._after + 1)
        while self._segment is not None:
            # Looked for first: once there is a newer segment, the one before it is complete.
            newer = next((path for path in segments_of(self._directory) if path > self._segment), None)
            yield from self._rest(self._segment)
            if newer is None:
                return
            self._segment, self._offset, self._line = newer, 0, 0

    def _rest(self, segment: Path) -> Iterator[Entry]:
        with segment.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # still being written, or torn
                self._offset += len(line)
                self._line += 1
                entry = Entry(_sequence(line, segment, self._line), segment.name, self._line, line[:-1])
                if entry.sequence > self._after:
                    yield entry


def _segment_with(directory: Path, sequence: int) -> Path | None:
    """Return the segment in which the sequence would be; the first one if all begin behind it."""
    segments = segments_of(directory)
    before = [path for path in segments if first_sequence_of(path) <= sequence]
    return before[-1] if before else next(iter(segments), None)


def _sequence(line: bytes, segment: Path, number: int) -> int:
    try:
        return msgspec.json.decode(line, type=_Link).seq
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"line {number} of segment `{segment.name}` is not a record: {error}"
        raise JournalDamagedError(message) from None


class _Check:
    """Walks the chain. After a broken place it goes on from what stands there, to name each place once."""

    def __init__(self) -> None:
        self.broken: list[Broken] = []
        self.records = 0
        self.first = 0
        self.expected_prev = GENESIS
        self._also_prev = GENESIS
        """What the last line really hashes to, if that is not what it claims."""
        self._expected_sequence = 1
        self._where = ("", 0)

    def segment(self, segment: Path) -> None:
        """Check one segment's lines."""
        with segment.open("rb") as file:
            for number, line in enumerate(file, 1):
                self._where = (segment.name, number)
                self._line(line)
                if number == 1 and self.records and self._expected_sequence - 1 != first_sequence_of(segment):
                    self._report(self._expected_sequence - 1, "the segment's name is not its first sequence")

    def _line(self, line: bytes) -> None:
        if not line.endswith(b"\n"):
            self._report(0, "the line is cut off")
            return
        try:
            claimed, actual = hash_of(line[:-1])
            link = msgspec.json.decode(line, type=_Link)
        except (ValueError, msgspec.DecodeError) as error:
            self._report(0, f"the line is not a record: {error}")
            self._expected_sequence += 1
            self.expected_prev = self._also_prev = ""
            return
        self._place(link)
        if claimed != actual:
            self._report(link.seq, "the line was altered: its hash is another")
        self.records += 1
        self.expected_prev, self._also_prev, self._expected_sequence = claimed, actual, link.seq + 1

    def _place(self, link: _Link) -> None:
        """Check that the line stands where it was written."""
        if self.records == 0 and not self.broken:
            self.first = link.seq
            if link.seq > 1:
                return  # older segments were archived
        if link.seq > self._expected_sequence:
            self._report(link.seq, f"records {self._expected_sequence} to {link.seq - 1} are missing before it")
        elif link.seq < self._expected_sequence:
            self._report(link.seq, f"it is out of order: record {self._expected_sequence} belongs here")
        elif self.expected_prev and link.prev not in (self.expected_prev, self._also_prev):
            self._report(link.seq, "it does not follow the record before it")

    def _report(self, sequence: int, what: str) -> None:
        segment, line = self._where
        self.broken.append(Broken(segment, line, sequence, what))
