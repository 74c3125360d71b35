"""How often and when last sessions and approvals were used, and which lapse came last, folded from the journal.

Rule 1: only what the journal says counts, so limits and idle timeouts survive a restart and `kill -9`.
Rule 2: each sealed segment has a checkpoint `<segment>.uses` with the uses of that segment alone. It is derived: a
missing or unfinished one is made again from its segment. So a start reads the last segment and small files.
Rule 3: a line that is no record stops the restore, for a use not counted could be a use too many.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Struct

from pdp.core.decision import Allow
from pdp.core.model import Instant, Revision
from pdp.core.snapshot import Use
from pdp.evidence.instants import instant_text, parse_instant
from pdp.evidence.journal.disk import replace_file
from pdp.evidence.journal.segments import beside, first_sequence_of, is_finished, read_segment, segments_of
from pdp.evidence.record import (
    LAPSES_FOLLOWED,
    AnyRecord,
    ChangeRecord,
    DecisionRecord,
    LapseMark,
    LapseRecord,
    LifecycleRecord,
)
from pdp.evidence.seals.sealing import seals_of
from pdp.evidence.trouble import JournalDamagedError

_LOG = logging.getLogger(__name__)

_CHECKPOINT = ".uses"
_IDS_PER_LINE = 1000
"""Bounds how long one encoding step keeps the event loop waiting (about 0.2 ms)."""


class Restored(Struct, frozen=True):
    """What a restart goes on with."""

    session_uses: dict[str, Use]
    approval_uses: dict[str, Use]
    latest: Instant
    """Latest decision time on record: decision time must not begin before it. 0: no decision yet."""
    revision: Revision
    """Latest change on record; 0: none yet."""
    lapse: LapseMark | None
    """Latest lapse on record, or where their recording began; None: it never has."""
    open_segment: UseFold
    """Uses of the last segment, which goes on."""


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


class _CheckpointLine(Struct, omit_defaults=True):
    sessions: dict[str, tuple[int, str]] = {}
    approvals: dict[str, tuple[int, str]] = {}
    latest: str | None = None
    """On the last line alone: without it the checkpoint is unfinished."""
    revision: int | None = None
    """Beside it; a checkpoint without it was written by an earlier version, and is made anew."""
    lapse: tuple[str, str, str] | None = None
    """Beside them, if the segment has one; earlier versions had none."""


_DECODE_LINE = msgspec.json.Decoder(_UsesOfLine).decode
_DECODE_CHECKPOINT = msgspec.json.Decoder(_CheckpointLine).decode
_ENCODE = msgspec.json.Encoder().encode


class UseFold:
    """Counts and last times by id. Times are kept as the journal writes them, which sort as text."""

    __slots__ = ("approvals", "lapse", "latest", "revision", "sessions")

    def __init__(self) -> None:
        """Start with no uses."""
        self.sessions: dict[str, tuple[int, str]] = {}
        self.approvals: dict[str, tuple[int, str]] = {}
        self.latest = ""
        self.revision: Revision = 0
        self.lapse: tuple[str, str, str] | None = None

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


class UseLedger:
    """Follows the writer: folds what is on disk, and leaves a checkpoint beside each sealed segment."""

    def __init__(self) -> None:
        """Start with no uses, until `resume`."""
        self._fold = UseFold()
        self.restored = Restored({}, {}, Instant(0), 0, None, self._fold)
        """What was on disk at `resume`."""

    def resume(self, directory: Path) -> None:
        """Fold what is on disk, and go on with the last segment."""
        self.restored = restore_uses(directory)
        self._fold = self.restored.open_segment

    def count(self, records: Sequence[AnyRecord]) -> None:
        """Fold records that are on disk."""
        fold = self._fold
        for record in records:
            if isinstance(record, ChangeRecord):
                fold.pass_revision(record.revision)
            elif isinstance(record, LapseRecord):
                fold.pass_lapse(instant_text(record.ended_at), record.about, record.what)
            elif isinstance(record, LifecycleRecord) and record.name == LAPSES_FOLLOWED:
                fold.pass_lapse(str(record.attributes["since"]))
            if not isinstance(record, DecisionRecord):
                continue
            at = instant_text(record.decision.evaluated_at)
            fold.pass_time(at)
            if isinstance(record.decision, Allow) and record.counts_use:
                fold.add(record.decision.used_sessions, record.decision.used_approvals, at)

    def counted(self, sequence: int) -> None:
        """Do nothing: a start folds whole segments, so it needs no number."""

    def seal(self, segment: Path) -> None:
        """Write the checkpoint; if the disk refuses, the next start makes it."""
        fold, self._fold = self._fold, UseFold()
        try:
            _write_checkpoint(segment, fold)
        except OSError as error:
            _LOG.warning("checkpoint of segment `%s` was not written: %s", segment.name, error)


def restore_uses(directory: Path) -> Restored:
    """Fold all uses of a journal; read-only but for checkpoints that are missing.

    Of segments that retention has removed the checkpoints tell. A torn last line is no record and is passed over.
    Raises JournalDamagedError if any other line is no record, or if segments are missing whose uses are not on record.
    """
    total, last = UseFold(), UseFold()
    segments, pieces = _pieces(directory)
    for first in sorted(pieces):
        last = _fold_piece(pieces[first], removed=first not in segments, sealed=first != max(pieces))
        total.merge_all(last)
    if pieces and is_finished(pieces[max(pieces)]):
        last = UseFold()
    latest = parse_instant(total.latest) if total.latest else Instant(0)
    return Restored(_uses(total.sessions), _uses(total.approvals), latest, total.revision, _mark(total), last)


def uses_before(directory: Path, segment: Path) -> tuple[dict[str, Use], dict[str, Use]]:
    """Return the uses of sessions and of approvals in all segments before one; as `restore_uses`."""
    total = UseFold()
    segments, pieces = _pieces(directory)
    for first in sorted(pieces):
        if first < first_sequence_of(segment):
            total.merge_all(_fold_piece(pieces[first], removed=first not in segments, sealed=True))
    return _uses(total.sessions), _uses(total.approvals)


def _pieces(directory: Path) -> tuple[dict[int, Path], dict[int, Path]]:
    """Return the segments by their first sequence, and with them the seals of those that are gone."""
    segments = {first_sequence_of(segment): segment for segment in segments_of(directory)}
    pieces = seals_of(directory) | segments
    if pieces and min(pieces) != 1:
        message = (
            f"the journal begins with segment `{pieces[min(pieces)].name}`: "
            "without the earlier ones uses would be forgotten"
        )
        raise JournalDamagedError(message)
    return segments, pieces


def keep_checkpoint(segment: Path) -> None:
    """Make sure that a sealed segment has its checkpoint; raise OSError or JournalDamagedError if it cannot."""
    if _read_checkpoint(segment) is None:
        _write_checkpoint(segment, _fold_segment(segment, sealed=True))


def _fold_piece(segment: Path, *, removed: bool, sealed: bool) -> UseFold:
    """Return the uses of one segment, or of one that is only known by the files beside it."""
    sealed = sealed or is_finished(segment)
    known = _read_checkpoint(segment) if sealed else None
    if known is not None:
        return known
    if removed:
        message = f"the segment of `{segment.name}` is gone, and its uses are not beside it: they would be forgotten"
        raise JournalDamagedError(message)
    fold = _fold_segment(segment, sealed=sealed)
    if sealed:
        with contextlib.suppress(OSError):  # a read-only copy of a journal can be restored from as well
            _write_checkpoint(segment, fold)
    return fold


def _mark(fold: UseFold) -> LapseMark | None:
    if fold.lapse is None:
        return None
    ended_at, about, what = fold.lapse
    return LapseMark(parse_instant(ended_at), about, what)


def _uses(folded: Mapping[str, tuple[int, str]]) -> dict[str, Use]:
    return {id_: Use(count, parse_instant(last)) for id_, (count, last) in folded.items()}


def _merge(uses: dict[str, tuple[int, str]], id_: str, count: int, at: str) -> None:
    before, last = uses.get(id_, (0, ""))
    uses[id_] = (before + count, max(last, at))


def _fold_segment(segment: Path, *, sealed: bool) -> UseFold:
    """Fold a segment's lines; one that is not sealed may have a torn end."""
    fold = UseFold()
    data = read_segment(segment)
    lines = data.split(b"\n")
    torn = lines.pop()
    if sealed and torn:
        lines.append(torn)
    for number, line in enumerate(lines, 1):
        _fold_line(fold, line, f"line {number} of segment `{segment.name}`")
    return fold


def _fold_line(fold: UseFold, line: bytes, where: str) -> None:
    try:
        record = _DECODE_LINE(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"{where} is not a record: {error}"
        raise JournalDamagedError(message) from None
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


def _write_checkpoint(segment: Path, fold: UseFold) -> None:
    replace_file(beside(segment, _CHECKPOINT), _checkpoint_lines(fold))


def _checkpoint_lines(fold: UseFold) -> Iterator[bytes]:
    yield from (_ENCODE(_CheckpointLine(sessions=part)) + b"\n" for part in _parts(fold.sessions))
    yield from (_ENCODE(_CheckpointLine(approvals=part)) + b"\n" for part in _parts(fold.approvals))
    yield _ENCODE(_CheckpointLine(latest=fold.latest, revision=fold.revision, lapse=fold.lapse)) + b"\n"


def _parts(uses: Mapping[str, tuple[int, str]]) -> Iterator[dict[str, tuple[int, str]]]:
    items = iter(uses.items())
    while part := dict(islice(items, _IDS_PER_LINE)):
        yield part


def _read_checkpoint(segment: Path) -> UseFold | None:
    """Return the checkpoint's fold, or None if it is missing or unfinished."""
    fold, finished = UseFold(), False
    try:
        for text in beside(segment, _CHECKPOINT).read_bytes().splitlines():
            line = _DECODE_CHECKPOINT(text)
            fold.merge(line.sessions, line.approvals)
            if line.latest is not None and line.revision is not None:
                fold.pass_time(line.latest)
                fold.pass_revision(line.revision)
                if line.lapse is not None:
                    fold.pass_lapse(*line.lapse)
                finished = True
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return fold if finished else None
