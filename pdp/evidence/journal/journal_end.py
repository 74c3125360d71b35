"""Where a journal ends after a crash: behind its last whole record. What lies beyond is set aside, never deleted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from pdp.evidence.journal.disk import sync_directory
from pdp.evidence.journal.segments import ChainEnd, first_sequence_of, is_finished, read_segment, segments_of
from pdp.evidence.line.chain import hash_of
from pdp.evidence.trouble import JournalDamagedError


class Repair(Struct, frozen=True):
    """What was done to a segment whose last line was not whole."""

    segment: str
    torn_bytes: int
    """Moved to the `.torn` file beside the segment; 0: a whole record lacked only its line feed."""


class _Link(Struct):
    """What continuing a chain needs of its last line."""

    seq: int


def find_end(directory: Path) -> tuple[ChainEnd, Repair | None]:
    """Return where to go on, with the torn end of the last segment repaired. The journal must be locked.

    Raises JournalDamagedError if the last segment has no record, and is not the one in which the next belongs.
    """
    segments = segments_of(directory)
    if not segments:
        return ChainEnd(), None
    last = segments[-1]
    if is_finished(last):
        return ChainEnd(*_end_of_earlier(segments)), None
    data = last.read_bytes()
    size, link = _last_record(data)
    repair = _repair(last, data, size) if size != len(data) else None
    if link is not None:
        return ChainEnd(*link, last, size), repair
    sequence, hash_ = _end_of_earlier(segments[:-1])
    if first_sequence_of(last) != sequence + 1:
        message = f"segment `{last.name}` has no record, and the next one is {sequence + 1}: move it away"
        raise JournalDamagedError(message)
    return ChainEnd(sequence, hash_, last, 0), repair


def _end_of_earlier(segments: Sequence[Path]) -> tuple[int, str]:
    """Return the last record of the youngest segment that has one: a crash may leave the last segment empty."""
    for segment in reversed(segments):
        _, link = _last_record(read_segment(segment))
        if link is not None:
            return link
    empty = ChainEnd()
    return empty.sequence, empty.hash


def _last_record(data: bytes) -> tuple[int, tuple[int, str] | None]:
    """Return the bytes up to the last whole record, and its sequence and hash.

    The bytes are one more than there are when that record lacks its line feed.
    """
    end = len(data)
    while end > 0:
        start = data.rfind(b"\n", 0, end - 1) + 1
        link = _link_of(data[start:end].removesuffix(b"\n"))
        if link is not None:
            return end if data[end - 1 : end] == b"\n" else end + 1, link
        end = start
    return 0, None


def _link_of(line: bytes) -> tuple[int, str] | None:
    """Return sequence and hash of a line that is whole, or None."""
    try:
        claimed, actual = hash_of(line)
        sequence = msgspec.json.decode(line, type=_Link).seq
    except (ValueError, msgspec.DecodeError):
        return None
    return (sequence, claimed) if claimed == actual else None


def _repair(segment: Path, data: bytes, size: int) -> Repair:
    torn = data[size:]
    if torn:
        _append(segment.with_name(f"{segment.name}.torn"), torn)
        sync_directory(segment.parent)
        os.truncate(segment, size)
    else:
        _append(segment, b"\n")
    return Repair(segment.name, len(torn))


def _append(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
