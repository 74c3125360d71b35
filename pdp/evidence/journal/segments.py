"""The files of a journal: `<sequence of its first record, 20 digits>.jsonl`, in order of their names.

A sealed segment may be compressed to `….jsonl.gz`, which takes its name when it is whole. So where both stand that one
counts: a crash came before the plain one was removed, or somebody put a file there that may be anything.
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

from pdp.evidence.journal.blocks import BLOCK, open_compressed
from pdp.evidence.line.chain import GENESIS
from pdp.evidence.trouble import JournalDamagedError

_PLAIN = ".jsonl"
COMPRESSED = ".jsonl.gz"
SEAL = ".seal"
"""Suffix of the seal beside a segment."""
USES = ".uses"
"""Suffix of the uses in a full segment."""
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
    plain, compressed = _both_forms(directory)
    found = plain | compressed
    return [found[first] for first in sorted(found)]


def doubles_of(directory: Path) -> list[tuple[Path, Path]]:
    """Return the segments that stand in both forms, each as the plain one and the compressed one."""
    plain, compressed = _both_forms(directory)
    return [(plain[first], compressed[first]) for first in sorted(plain.keys() & compressed.keys())]


def strays_of(directory: Path) -> list[Path]:
    """Return what has the suffix of a segment and is none, by its name."""
    return sorted(
        path
        for suffix in (_PLAIN, COMPRESSED)
        for path in directory.glob(f"*{suffix}")
        if not _is_number(path.name.removesuffix(suffix))
    )


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
    return {int(number): path for number, path in sorted(names) if _is_number(number)}


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


def hold_the_same(plain: Path, compressed: Path) -> bool:
    """Whether two files hold the same bytes of a segment; not so where one cannot be read. May raise OSError."""
    try:
        with open_segment(plain) as one, open_segment(compressed) as other:
            while part := one.read(BLOCK):
                if part != other.read(len(part)):
                    return False
            return not other.read(1)
    except JournalDamagedError:
        return False


def _both_forms(directory: Path) -> tuple[dict[int, Path], dict[int, Path]]:
    # INVARIANT: plain ones are listed first: one that is compressed meanwhile is found as one or the other.
    plain = files_beside(directory, _PLAIN)
    return plain, files_beside(directory, COMPRESSED)


def _is_number(text: str) -> bool:
    """Whether a name is exactly as a segment's is written; another spelling would shadow a segment."""
    return len(text) == _DIGITS and text.isascii() and text.isdecimal() and int(text) > 0


def _open(segment: Path) -> BinaryIO:
    if not is_compressed(segment):
        try:
            return segment.open("rb")
        except FileNotFoundError:  # compressed since it was listed
            segment = beside(segment, COMPRESSED)
    return open_compressed(segment)
