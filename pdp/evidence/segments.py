"""The files of a journal: `<sequence of its first record, 20 digits>.jsonl`, in order of their names."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from pdp.evidence.record_json import GENESIS

_SUFFIX = ".jsonl"


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
    return sorted(path for path in directory.glob(f"*{_SUFFIX}") if path.stem.isdecimal())


def segment_path(directory: Path, first_sequence: int) -> Path:
    """Return the path of the segment that begins with this record."""
    return directory / f"{first_sequence:020d}{_SUFFIX}"


def first_sequence_of(segment: Path) -> int:
    """Return the sequence its name promises."""
    return int(segment.stem)
