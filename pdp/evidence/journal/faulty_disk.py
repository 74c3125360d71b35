"""A disk for tests that really writes, and fails when told to."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

from pdp.evidence.journal.disk import Disk, LocalDisk, SegmentFile


class FaultyDisk:
    """`LocalDisk` with verbs: `fill`, `break_`, `stall`, `slow`, `mend`. They may be called from any thread."""

    def __init__(self) -> None:
        """Start healthy."""
        self._disk: Disk = LocalDisk()
        self._room: int | None = None
        self._broken = False
        self._going = threading.Event()
        self._going.set()
        self._delay_s = 0.0
        self.syncs = 0
        """How many syncs have succeeded."""

    def fill(self, room: int = 0) -> None:
        """Take `room` more bytes, then fail writes with ENOSPC after a partial one."""
        self._room = room

    def break_(self) -> None:
        """Fail every operation with EIO, syncs of what was written before and those that hang included."""
        self._broken = True
        self._going.set()

    def stall(self) -> None:
        """Let syncs hang until `mend`."""
        self._going.clear()

    def slow(self, delay_s: float) -> None:
        """Have every sync take so much longer, until `mend`."""
        self._delay_s = delay_s

    def mend(self) -> None:
        """Work again."""
        self._room, self._broken, self._delay_s = None, False, 0.0
        self._going.set()

    def open(self, path: Path) -> SegmentFile:
        """Open a file that fails with its disk."""
        self.check()
        return _FaultyFile(self, self._disk.open(path))

    def truncate(self, path: Path, size: int) -> None:
        """Cut, unless broken."""
        self.check()
        self._disk.truncate(path, size)

    def check(self) -> None:
        """Raise OSError if broken."""
        if self._broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def take(self, size: int) -> int:
        """Return how many of `size` bytes there is room for, and use them up."""
        if self._room is None:
            return size
        taken = min(size, self._room)
        self._room -= taken
        return taken

    def await_sync(self) -> None:
        """Hang while stalled, take as long as is said, then raise OSError if broken."""
        self._going.wait()
        time.sleep(self._delay_s)
        self.check()
        self.syncs += 1


class _FaultyFile:
    def __init__(self, disk: FaultyDisk, file: SegmentFile) -> None:
        self._disk = disk
        self._file = file

    def append(self, data: bytes) -> None:
        self._disk.check()
        taken = self._disk.take(len(data))
        self._file.append(data[:taken])
        if taken < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> None:
        self._disk.await_sync()
        self._file.sync()

    def close(self) -> None:
        self._file.close()
