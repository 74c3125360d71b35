"""The uses in one segment, and the file beside it that keeps them: `<segment>.uses`.

Rule 1: its last line says up to which record it counts: without that it is unfinished, and no part of it is trusted.
Rule 2: the same segment always gives the same bytes, for a seal may vouch for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Struct

from pdp.core.model import Revision
from pdp.evidence.journal.disk import replace_file
from pdp.evidence.journal.segments import USES, beside

_IDS_PER_LINE = 1000
"""Bounds how long one encoding step keeps the event loop waiting (about 0.2 ms)."""


class _CheckpointLine(Struct, omit_defaults=True):
    sessions: dict[str, tuple[int, str]] = {}
    approvals: dict[str, tuple[int, str]] = {}
    latest: str | None = None
    """On the last line alone: without it the checkpoint is unfinished."""
    revision: int | None = None
    """Beside it; a checkpoint without it was written by an earlier version, and is made anew."""
    lapse: tuple[str, str, str] | None = None
    """Beside them, if the segment has one; earlier versions had none."""
    last: int | None = None
    """Beside them: sequence of the segment's last record; without it nobody knows of which records the uses are."""


_DECODE_CHECKPOINT = msgspec.json.Decoder(_CheckpointLine).decode
_ENCODE = msgspec.json.Encoder().encode


class UseFold:
    """Counts and last times by id. Times are kept as the journal writes them, which sort as text."""

    __slots__ = ("approvals", "lapse", "last", "latest", "revision", "sessions")

    def __init__(self) -> None:
        """Start with no uses."""
        self.sessions: dict[str, tuple[int, str]] = {}
        self.approvals: dict[str, tuple[int, str]] = {}
        self.latest = ""
        self.revision: Revision = 0
        self.lapse: tuple[str, str, str] | None = None
        self.last = 0
        """Sequence of the last record, where that is known: of all that were folded."""

    def add(self, sessions: Iterable[str], approvals: Iterable[str], at: str) -> None:
        """Count one use of each at `at`."""
        for uses, ids in ((self.sessions, sessions), (self.approvals, approvals)):
            for id_ in ids:
                _merge(uses, id_, 1, at)

    def merge(self, sessions: Mapping[str, tuple[int, str]], approvals: Mapping[str, tuple[int, str]]) -> None:
        """Count the uses of another fold."""
        for uses, others in ((self.sessions, sessions), (self.approvals, approvals)):
            for id_, (count, last) in others.items():
                _merge(uses, id_, count, last)

    def merge_all(self, other: UseFold) -> None:
        """Take note of all that another fold has."""
        self.merge(other.sessions, other.approvals)
        self.pass_time(other.latest)
        self.pass_revision(other.revision)
        if other.lapse is not None:
            self.pass_lapse(*other.lapse)

    def pass_time(self, at: str) -> None:
        """Take note that a decision was made at `at`."""
        self.latest = max(self.latest, at)

    def pass_revision(self, revision: Revision) -> None:
        """Take note that the change of a revision is on record."""
        self.revision = max(self.revision, revision)

    def pass_lapse(self, ended_at: str, about: str = "", what: str = "") -> None:
        """Take note that a lapse is on record: as much of decision time had passed."""
        self.pass_time(ended_at)
        self.lapse = max(self.lapse or ("", "", ""), (ended_at, about, what))


def _merge(uses: dict[str, tuple[int, str]], id_: str, count: int, at: str) -> None:
    before, last = uses.get(id_, (0, ""))
    uses[id_] = (before + count, max(last, at))


def write_checkpoint(segment: Path, fold: UseFold) -> None:
    """Put the checkpoint of a segment in place, durably; may raise OSError."""
    replace_file(beside(segment, USES), _checkpoint_lines(fold))


def _checkpoint_lines(fold: UseFold) -> Iterator[bytes]:
    yield from (_ENCODE(_CheckpointLine(sessions=part)) + b"\n" for part in _parts(fold.sessions))
    yield from (_ENCODE(_CheckpointLine(approvals=part)) + b"\n" for part in _parts(fold.approvals))
    end = _CheckpointLine(latest=fold.latest, revision=fold.revision, lapse=fold.lapse, last=fold.last)
    yield _ENCODE(end) + b"\n"


def _parts(uses: Mapping[str, tuple[int, str]]) -> Iterator[dict[str, tuple[int, str]]]:
    items = iter(uses.items())
    while part := dict(islice(items, _IDS_PER_LINE)):
        yield part


class Checkpoint(Struct, frozen=True):
    """A checkpoint as it was read."""

    fold: UseFold
    digest: str
    """SHA-256 of the file."""


def digest_of_checkpoint(segment: Path, last: int) -> str:
    """Return the SHA-256 of the checkpoint's file, or nothing if it is not of all records up to the last one.

    Only its end is looked at: to go through all uses would keep decisions waiting.
    """
    try:
        data = beside(segment, USES).read_bytes()
        end = _DECODE_CHECKPOINT(data[data.rfind(b"\n", 0, -1) + 1 :])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return ""
    finished = end.latest is not None and end.revision is not None
    return hashlib.sha256(data).hexdigest() if finished and end.last == last else ""


def read_checkpoint(segment: Path) -> Checkpoint | None:
    """Return the checkpoint, or None if it is missing or unfinished."""
    fold, finished = UseFold(), False
    try:
        data = beside(segment, USES).read_bytes()
        for text in data.splitlines():
            line = _DECODE_CHECKPOINT(text)
            fold.merge(line.sessions, line.approvals)
            if line.latest is not None and line.revision is not None:
                fold.pass_time(line.latest)
                fold.pass_revision(line.revision)
                fold.last = line.last or 0
                if line.lapse is not None:
                    fold.pass_lapse(*line.lapse)
                finished = True
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return Checkpoint(fold, hashlib.sha256(data).hexdigest()) if finished else None
