"""What the journal asks of a disk, and the real one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol


class SegmentFile(Protocol):
    """One open file that only grows, but for `truncate`. Every method may raise OSError."""

    def append(self, data: bytes) -> None:
        """Write at the end; when it raises, any part of `data` may have been written."""

    def sync(self) -> None:
        """Return once all that was appended survives a power cut; when it raises, any of it may be lost."""

    def close(self) -> None:
        """Give the file back; must not sync."""


class Disk(Protocol):
    """Where segments live. Every method may raise OSError."""

    def open(self, path: Path) -> SegmentFile:
        """Open for appending; a file that is made here must survive a power cut once its first sync returns."""

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file that is not open back to `size` bytes, durably."""


class LocalDisk:
    """A directory of the local file system."""

    def open(self, path: Path) -> SegmentFile:
        """Open for appending, readable by its owner only."""
        new = not path.exists()
        file = LocalFile(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))
        if new:
            sync_directory(path.parent)
        return file

    def truncate(self, path: Path, size: int) -> None:
        """Cut and sync."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class LocalFile:
    """A file descriptor in append mode."""

    __slots__ = ("_descriptor", "_has_a_name")

    def __init__(self, descriptor: int) -> None:
        """Own the descriptor."""
        self._descriptor = descriptor
        self._has_a_name = os.fstat(descriptor).st_nlink > 0  # some file systems count no names

    def append(self, data: bytes) -> None:
        """Write all of it; the kernel may take it in parts."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def sync(self) -> None:
        """Wait for the disk, and see that the file is still there."""
        os.fsync(self._descriptor)
        if self._has_a_name and not os.fstat(self._descriptor).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "the segment was removed")

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


def sync_directory(directory: Path) -> None:
    """Make names in the directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, parts: Iterable[bytes]) -> None:
    """Make or replace a file that is its owner's alone, durably: a crash leaves all of what was or all of what is.

    May raise OSError.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_directory(path.parent)
