"""Sealed segments made small.

Rule 1: the plain segment is removed only when the compressed one is on disk and has been read back whole.
Rule 2: the compressed one takes its name last, so a crash leaves the plain one, or both.
Rule 3: of two forms that differ none is removed: the one that is not what was sealed is set aside.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from itertools import chain, count
from pathlib import Path

from pdp.evidence.journal.blocks import BLOCK, block_of
from pdp.evidence.journal.disk import sync_directory
from pdp.evidence.journal.segments import (
    COMPRESSED,
    SEAL,
    beside,
    doubles_of,
    files_beside,
    hold_the_same,
    open_segment,
)
from pdp.evidence.line.chain import hash_of
from pdp.evidence.seals.sealing import Seal, read_seal
from pdp.evidence.trouble import JournalDamagedError

_LOG = logging.getLogger(__name__)

_ASIDE = f"{COMPRESSED}.new"


def compress(segment: Path, stopping: Callable[[], bool]) -> bool:
    """Put the compressed form in place of a segment; return False if told to stop before it is done.

    Raises OSError, and JournalDamagedError if what was compressed does not read back; then the segment stays as it is.
    """
    aside = beside(segment, _ASIDE)
    try:
        written = _write(segment, aside, stopping)
        if written is None or not _reads_back(aside, written, stopping):
            return False
        aside.replace(beside(segment, COMPRESSED))
        sync_directory(segment.parent)
    finally:
        forget_half_done(segment)
    segment.unlink()
    return True


def forget_half_done(segment: Path) -> None:
    """Remove what was begun of a segment's compressed form; may raise OSError."""
    beside(segment, _ASIDE).unlink(missing_ok=True)


def clean_up(directory: Path) -> None:
    """Remove what a crash has left half done, and set aside what it cannot have left.

    May raise OSError, and JournalDamagedError at a seal that is none.
    """
    for aside in files_beside(directory, _ASIDE).values():
        aside.unlink()
    for plain, compressed in doubles_of(directory):
        if hold_the_same(plain, compressed):
            plain.unlink()
        else:
            _tell_apart(plain, compressed)


def _tell_apart(plain: Path, compressed: Path) -> None:
    """Set aside the form of a segment that is not what was sealed; the plain one if nothing tells against either."""
    signed = read_seal(beside(plain, SEAL))
    if signed is not None and _is_as_sealed(compressed, signed.seal):
        _set_aside(plain)
    elif signed is not None and _is_as_sealed(plain, signed.seal):
        _set_aside(compressed)
    else:
        _LOG.warning("`%s` and `%s` differ, and neither is what was sealed: both stay", plain.name, compressed.name)


def _is_as_sealed(segment: Path, seal: Seal) -> bool:
    """Whether a segment has as many whole lines as were sealed, and the same last one."""
    records, last = 0, ""
    try:
        with open_segment(segment) as file:
            for line in file:
                last, actual = hash_of(line.removesuffix(b"\n"))
                if last != actual:
                    return False
                records += 1
    except (ValueError, JournalDamagedError):
        return False
    return (records, last) == (seal.records, seal.hash)


def _set_aside(path: Path) -> None:
    """Give a file a name by which it is no segment any more, and which no other has."""
    names = chain([f"{path.name}.torn"], (f"{path.name}.torn.{number}" for number in count(2)))
    free = next(aside for aside in map(path.with_name, names) if not aside.exists())
    path.rename(free)
    sync_directory(path.parent)
    _LOG.warning("`%s` is not what was sealed, as what stands beside it is: it is `%s` now", path.name, free.name)


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
        message = f"what was compressed of segment `{aside.name.removesuffix(_ASIDE)}` does not read back"
        raise JournalDamagedError(message)
    return True
