"""Sealed segments made small.

Rule 1: the plain segment is removed only when the compressed one is on disk and has been read back whole.
Rule 2: the compressed one takes its name last, so a crash leaves the plain one, or both.
Rule 3: until then its name is of its process alone: one that outlives its sidecar by a moment disturbs no other.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from pdp.evidence.journal.blocks import BLOCK, block_of
from pdp.evidence.journal.disk import sync_directory
from pdp.evidence.journal.segments import COMPRESSED, beside, open_segment
from pdp.evidence.trouble import JournalDamagedError

_ASIDE = ".new"
"""How a compressed segment's name ends until it is whole; before it stands the number of the process that makes it."""
_BEGUN = re.compile(rf"\d{{20}}{re.escape(COMPRESSED)}(\.\d+)?{re.escape(_ASIDE)}")
"""Such a name; earlier versions had no number in it. Any other file is somebody's."""


def compress(segment: Path, stopping: Callable[[], bool]) -> bool:
    """Put the compressed form in place of a segment; return False if told to stop before it is done.

    Raises OSError, and JournalDamagedError if what was compressed does not read back; then the segment stays as it is.
    """
    forget_begun(begun_of(segment.parent, beside(segment, COMPRESSED).name))
    aside = beside(segment, f"{COMPRESSED}.{os.getpid()}{_ASIDE}")
    try:
        written = _write(segment, aside, stopping)
        if written is None or not _reads_back(aside, written, stopping):
            return False
        aside.replace(beside(segment, COMPRESSED))
        sync_directory(segment.parent)
    finally:
        aside.unlink(missing_ok=True)
    segment.unlink()
    return True


def begun_of(directory: Path, compressed: str = f"*{COMPRESSED}") -> Iterable[Path]:
    """Return what was begun, by whatever process, of one compressed segment or of all."""
    return (path for path in directory.glob(f"{compressed}*{_ASIDE}") if _BEGUN.fullmatch(path.name))


def forget_begun(begun: Iterable[Path]) -> None:
    """Remove what was begun; may raise OSError. Whoever should still be at it will find that it is gone."""
    for aside in [*begun]:
        aside.unlink(missing_ok=True)


def _write(segment: Path, aside: Path, stopping: Callable[[], bool]) -> bytes | None:
    """Write the compressed form; return the digest of the content, None if told to stop."""
    content, at = hashlib.sha256(), 0
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with segment.open("rb") as plain, os.fdopen(descriptor, "wb") as raw:
        while chunk := plain.read(BLOCK):
            if stopping():
                return None
            content.update(chunk)
            raw.write(block_of(at, chunk))
            at += len(chunk)
        raw.write(block_of(at, b""))
        raw.flush()
        os.fsync(raw.fileno())
    return content.digest()


def _reads_back(aside: Path, expected: bytes, stopping: Callable[[], bool]) -> bool:
    content = hashlib.sha256()
    with open_segment(aside) as file:
        while chunk := file.read(BLOCK):
            if stopping():
                return False
            content.update(chunk)
    if content.digest() != expected:
        message = f"what was compressed of segment `{aside.name.partition('.')[0]}` does not read back"
        raise JournalDamagedError(message)
    return True
