"""The uses of a segment, from its lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from pdp.evidence.journal.segments import open_segment
from pdp.evidence.trouble import JournalDamagedError
from pdp.evidence.usage.use_checkpoint import UseFold, write_checkpoint

LAPSES_FOLLOWED = "lapses_followed"
"""The event that begins a journal's lapses: what ended before it is not recorded."""
_SLICE = 64
"""Lines between two pauses."""


class _Uses(Struct):
    sessions: tuple[str, ...] = ()
    approvals: tuple[str, ...] = ()


class _Attributes(Struct):
    since: str = ""


class _UsesOfLine(Struct):
    """What the fold reads of a line; everything else is skipped."""

    seq: int
    kind: str
    revision: int = 0
    evaluated_at: str = ""
    uses: _Uses | None = None
    ended_at: str = ""
    about: str = ""
    what: str = ""
    name: str = ""
    attributes: _Attributes | None = None


_DECODE_LINE = msgspec.json.Decoder(_UsesOfLine).decode


def make_checkpoint(segment: Path, pause: Callable[[], None]) -> None:
    """Write the checkpoint of a full segment; as `fold_segment`."""
    write_checkpoint(segment, fold_segment(segment, full=True, pause=pause))


def fold_segment(segment: Path, *, full: bool, pause: Callable[[], None] = lambda: None) -> UseFold:
    """Fold a segment's lines; one that is not full may have a torn end. `pause` is called after each few lines.

    Raises OSError, and JournalDamagedError if a line is no record.
    """
    fold = UseFold()
    with open_segment(segment) as lines:
        for number, line in enumerate(lines, 1):
            if full or line.endswith(b"\n"):
                _fold_line(fold, line, f"line {number} of segment `{segment.name}`")
            if number % _SLICE == 0:
                pause()
    return fold


def _fold_line(fold: UseFold, line: bytes, where: str) -> None:
    try:
        record = _DECODE_LINE(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"{where} is not a record: {error}"
        raise JournalDamagedError(message) from None
    fold.last = record.seq
    if record.kind == "change":
        fold.pass_revision(record.revision)
    if record.kind == "lapse":
        fold.pass_lapse(record.ended_at, record.about, record.what)
    if record.name == LAPSES_FOLLOWED and record.attributes is not None:
        fold.pass_lapse(record.attributes.since)
    if record.evaluated_at:
        fold.pass_time(record.evaluated_at)
    if record.uses is not None:
        fold.add(record.uses.sessions, record.uses.approvals, record.evaluated_at)
