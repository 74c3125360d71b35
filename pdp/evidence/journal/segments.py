"""The files of a journal: `<sequence of its first record, 20 digits>.jsonl`, in order of their names.

A sealed segment may be compressed to `….jsonl.gz`. Where both stand a crash came between, and the plain one counts.
Files beside a segment have its number and another suffix, so they stay in place when it is compressed or removed.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from pdp.evidence.journal.blocks import open_compressed
from pdp.evidence.line.chain import GENESIS
from pdp.evidence.trouble import JournalDamagedError

_PLAIN = ".jsonl"
COMPRESSED = ".jsonl.gz"
SEAL = ".seal"
"""Suffix of the seal beside a segment."""
_DIGITS = 20


class ChainEnd(Struct, frozen=True):
    """Where a journal ends, and so what its next record continues."""

    sequence: int = 0
    hash: str = GENESIS
    segment: Path | None = None
    """The segment to go on with; None: begin one."""
    size: int = 0
    """Bytes of whole records in it."""


def segments_of(directory: Path) -> list[Path]:
    """Return the segments, oldest first; none if there is no such directory."""
    # INVARIANT: plain ones are listed first: one that is compressed meanwhile is found as one or the other.
    plain, compressed = files_beside(directory, _PLAIN), files_beside(directory, COMPRESSED)
    found = compressed | plain
    return [found[first] for first in sorted(found)]


def segment_path(directory: Path, first_sequence: int) -> Path:
    """Return the path of the segment that begins with this record, as it is written."""
    return directory / f"{first_sequence:0{_DIGITS}d}{_PLAIN}"


def segment_with(directory: Path, sequence: int) -> Path | None:
    """Return the segment in which the sequence would be; the first one if all begin behind it."""
    segments = segments_of(directory)
    before = [path for path in segments if first_sequence_of(path) <= sequence]
    return before[-1] if before else next(iter(segments), None)


def first_sequence_of(segment: Path) -> int:
    """Return the sequence its name promises; also of a file beside it."""
    return int(segment.name.partition(".")[0])


def beside(segment: Path, suffix: str) -> Path:
    """Return the path of the file with this suffix that belongs to a segment, whether that is there or not."""
    return segment.with_name(f"{first_sequence_of(segment):0{_DIGITS}d}{suffix}")


def files_beside(directory: Path, suffix: str) -> dict[int, Path]:
    """Return the files with this suffix by the first sequence of their segments, in its order."""
    names = ((path.name.removesuffix(suffix), path) for path in directory.glob(f"*{suffix}"))
    return {int(number): path for number, path in sorted(names) if number.isdecimal()}


def is_compressed(segment: Path) -> bool:
    """Return whether this is the compressed form."""
    return COMPRESSED in segment.name


def is_finished(segment: Path) -> bool:
    """Return whether nothing may be added to a segment: it is sealed."""
    return is_compressed(segment) or beside(segment, SEAL).exists()


@contextmanager
def open_segment(segment: Path) -> Iterator[BinaryIO]:
    """Open a segment for reading, in whichever form it is there; positions are those of its plain form.

    To seek in a compressed one costs a block, if it is of blocks. Raises JournalDamagedError where it cannot be
    decompressed, FileNotFoundError if it is there in neither form.
    """
    try:
        with _open(segment) as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        message = f"segment `{segment.name}` cannot be decompressed: {str(error).lower()}"
        raise JournalDamagedError(message) from None


def read_segment(segment: Path) -> bytes:
    """Return all of a segment's bytes; as `open_segment`."""
    with open_segment(segment) as file:
        return file.read()


def _open(segment: Path) -> BinaryIO:
    if not is_compressed(segment):
        try:
            return segment.open("rb")
        except FileNotFoundError:  # compressed since it was listed
            segment = beside(segment, COMPRESSED)
    return open_compressed(segment)
