"""Reading a journal back: in order, and following its end.

Needs no lock and disturbs no writer. What it yields is the line as it stands; only `verifying` says whether it is true.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Struct

from pdp.core.model import Attribute
from pdp.evidence.journal.segments import first_sequence_of, is_finished, open_segment, segment_with, segments_of
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


class _Link(Struct):
    seq: int


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


class _Cursor:
    """A place in a journal, behind what was read."""

    def __init__(self, directory: Path, after: int) -> None:
        self._directory = directory
        self._after = after
        self._segment: Path | None = None
        self._offset = 0
        self._line = 0
        self._exhausted = False
        """All of a sealed segment was read: nothing more comes in it."""

    def advance(self) -> Iterator[Entry]:
        """Yield the records that are there now."""
        if self._segment is None:
            self._segment = segment_with(self._directory, self._after + 1)
        while self._segment is not None:
            # Looked for first: once there is a newer segment, the one before it is complete.
            here = first_sequence_of(self._segment)
            newer = next((path for path in segments_of(self._directory) if first_sequence_of(path) > here), None)
            yield from self._rest(self._segment)
            if newer is None:
                return
            self._segment, self._offset, self._line, self._exhausted = newer, 0, 0, False

    def _rest(self, segment: Path) -> Iterator[Entry]:
        if self._exhausted:
            return
        finished = is_finished(segment)
        with suppress(FileNotFoundError), open_segment(segment) as file:  # not there: retention has removed it
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # still being written, or torn
                self._offset += len(line)
                self._line += 1
                entry = Entry(_sequence(line, segment, self._line), segment.name, self._line, line[:-1])
                if entry.sequence > self._after:
                    yield entry
        self._exhausted = finished


def _sequence(line: bytes, segment: Path, number: int) -> int:
    try:
        return msgspec.json.decode(line, type=_Link).seq
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"line {number} of segment `{segment.name}` is not a record: {error}"
        raise JournalDamagedError(message) from None
