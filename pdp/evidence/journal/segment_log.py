"""The growing end of the chain, with one way back: to what was last synced.

Rule 1: after any failure nothing is trusted but what a sync has confirmed. A failed fsync may have dropped pages that
a later fsync will not report again, so everything since is cut off and written anew.
Rule 2: a segment ends at a record boundary, and only when it is synced.
Used by one thread at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from pdp.evidence.journal.disk import Disk, SegmentFile
from pdp.evidence.journal.segments import ChainEnd, segment_path
from pdp.evidence.line.chain import line_of


class SegmentLog:
    """Appends records to the last segment. Every method may raise OSError; but for `commit` then call `roll_back`."""

    def __init__(self, directory: Path, disk: Disk, segment_bytes: int, end: ChainEnd, *, astray: bool = False) -> None:
        """Go on from `end`; a segment past `segment_bytes` is left at the next `rotate`.

        `astray`: something may stand behind the end that does not count, and is cut off before anything is written.
        """
        self._directory = directory
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._file: SegmentFile | None = None
        self._end = self._synced = end
        self._astray = astray

    @property
    def end(self) -> ChainEnd:
        """Where the next record goes."""
        return self._end

    @property
    def synced(self) -> ChainEnd:
        """Up to where a power cut loses nothing."""
        return self._synced

    def commit(self, bodies: Iterable[bytes]) -> Path | None:
        """Append records and force them to disk: all of them, or none; return the segment that is full now.

        After OSError they are cut off again, at once or before anything else is written.
        """
        try:
            self.write(bodies)
            self.sync()
        except OSError:
            with contextlib.suppress(OSError):
                self.roll_back()
            raise
        return self.rotate()

    def write(self, bodies: Iterable[bytes]) -> None:
        """Append records, given by their bodies, without waiting for the disk."""
        if self._astray:
            self.roll_back()
        sequence, hash_ = self._end.sequence, self._end.hash
        lines = []
        for body in bodies:
            sequence += 1
            line, hash_ = line_of(body, sequence, hash_)
            lines.append(line)
        if lines:
            data = b"".join(lines)
            self._open_file().append(data)
            self._end = ChainEnd(sequence, hash_, self._end.segment, self._end.size + len(data))

    def sync(self) -> None:
        """Return once all that was written survives a power cut."""
        if self._file is not None:
            self._file.sync()
        self._synced = self._end

    def roll_back(self) -> None:
        """Forget, on disk as well, all that was not synced; if that fails it is tried again before the next write."""
        self._astray = True
        self._close_file()
        segment = self._end.segment or self._next_segment()
        if segment.exists():
            self._disk.truncate(segment, self._synced.size)
        self._end = self._synced
        self._astray = False

    def rotate(self) -> Path | None:
        """Leave a full segment, if all of it is synced; return it."""
        if self._synced.size < self._segment_bytes or self._synced != self._end:
            return None
        sealed = self._synced.segment
        self._close_file()
        self._end = self._synced = ChainEnd(self._synced.sequence, self._synced.hash)
        return sealed

    def close(self) -> None:
        """Give the file back."""
        self._close_file()

    def _open_file(self) -> SegmentFile:
        if self._file is None:
            segment = self._end.segment or self._next_segment()
            # INVARIANT: the end names its segment before the file exists, so that `roll_back` finds what to cut.
            self._end = ChainEnd(self._end.sequence, self._end.hash, segment, self._end.size)
            self._file = self._disk.open(segment)
        return self._file

    def _next_segment(self) -> Path:
        return segment_path(self._directory, self._end.sequence + 1)

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # close reports errors of writes that sync has reported already
                file.close()
