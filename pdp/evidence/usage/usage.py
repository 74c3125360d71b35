"""How often and when last sessions and approvals were used, and which lapse came last, folded from the journal.

Rule 1: only what the journal says counts, so limits and idle timeouts survive a restart and `kill -9`.
Rule 2: each full segment has a checkpoint `<segment>.uses` with the uses of that segment alone; its seal vouches for
that. It is derived: one that is missing, unfinished, of other records or not what was sealed is made again from its
segment. So a start reads the last segment and small files.
Rule 3: a line that is no record stops the restore, for a use not counted could be a use too many.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path

from msgspec import UNSET, Struct, UnsetType

from pdp.core.model import Instant, Revision
from pdp.core.snapshot import Use
from pdp.evidence.instants import parse_instant
from pdp.evidence.journal.ledger import Ledger
from pdp.evidence.journal.segments import SEAL, beside, first_sequence_of, is_finished, segments_of
from pdp.evidence.record import LapseMark
from pdp.evidence.seals.sealing import seals_of, vouched_seal
from pdp.evidence.seals.signing import PUBLIC_KEY, PublicKey, load_public_key
from pdp.evidence.trouble import JournalDamagedError
from pdp.evidence.usage.folding import fold_segment, make_checkpoint
from pdp.evidence.usage.use_checkpoint import UseFold, digest_of_checkpoint, read_checkpoint, write_checkpoint

_PAUSE_S = 0.0005
"""The threads that answer get their turn meanwhile."""


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


class UseLedger(Ledger):
    """Knows what was used before this start; what is used from then on the running state counts."""

    def __init__(self) -> None:
        """Know nothing, until `resume`."""
        self.restored = Restored({}, {}, Instant(0), 0, None)
        """What was on disk at `resume`."""

    def resume(self, directory: Path, sequence: int) -> None:  # noqa: ARG002  # all of it, wherever it ends
        """Fold what is on disk."""
        self.restored = restore_uses(directory)


def restore_uses(directory: Path) -> Restored:
    """Fold all uses of a journal; read-only but for checkpoints that are missing.

    Of segments that retention has removed the checkpoints tell. A torn last line is no record and is passed over.
    Raises JournalDamagedError if any other line is no record, or if segments are missing whose uses are not on record.
    """
    total = UseFold()
    for piece in _pieces(directory):
        total.merge_all(_fold_piece(piece))
    latest = parse_instant(total.latest) if total.latest else Instant(0)
    return Restored(_uses(total.sessions), _uses(total.approvals), latest, total.revision, _mark(total))


def uses_before(directory: Path, segment: Path) -> tuple[dict[str, Use], dict[str, Use]]:
    """Return the uses of sessions and of approvals in all segments before one; as `restore_uses`."""
    total = UseFold()
    for piece in _pieces(directory):
        if first_sequence_of(piece.path) < first_sequence_of(segment):
            total.merge_all(_fold_piece(piece))
    return _uses(total.sessions), _uses(total.approvals)


class _Piece(Struct, frozen=True):
    """One segment, or one that is only known by the files beside it."""

    path: Path
    removed: bool
    """Whether the path is that of its seal: the segment is gone."""
    full: bool
    """Whether nothing may be added to it."""
    last: int | None
    """Sequence of its last record, where the segment behind it tells."""
    key: PublicKey | None
    """What the seal is checked with."""


def _pieces(directory: Path) -> list[_Piece]:
    """Return the segments in their order, and among them the seals of those that are gone."""
    segments = {first_sequence_of(segment): segment for segment in segments_of(directory)}
    pieces = seals_of(directory) | segments
    if pieces and min(pieces) != 1:
        message = (
            f"the journal begins with segment `{pieces[min(pieces)].name}`: "
            "without the earlier ones uses would be forgotten"
        )
        raise JournalDamagedError(message)
    firsts, key = sorted(pieces), load_public_key(directory / PUBLIC_KEY)
    return [
        _Piece(
            pieces[first],
            removed=first not in segments,
            full=following is not None or is_finished(pieces[first]),
            last=None if following is None else following - 1,
            key=key,
        )
        for first, following in zip_longest(firsts, firsts[1:])
    ]


def keep_checkpoint(segment: Path, last: int, sealed: str | UnsetType = UNSET) -> str:
    """Make sure that a full segment has the checkpoint of all records up to its last; return the file's SHA-256.

    `sealed` is what the seal says it must be, if it says so. Raises OSError or JournalDamagedError if it cannot be.
    """
    digest = digest_of_checkpoint(segment, last)
    if not digest or sealed not in (UNSET, digest):
        make_checkpoint(segment, lambda: time.sleep(_PAUSE_S))
        digest = digest_of_checkpoint(segment, last)
    if not digest or sealed not in (UNSET, digest):
        message = f"segment `{segment.name}` does not have the uses that were sealed, or not all records up to {last}"
        raise JournalDamagedError(message)
    return digest


def _fold_piece(piece: _Piece) -> UseFold:
    """Return the uses of one segment, or of one that is only known by the files beside it."""
    segment = piece.path
    known = _trusted_checkpoint(piece) if piece.full else None
    if known is not None:
        return known
    if piece.removed:
        message = (
            f"the segment of `{segment.name}` is gone, and its uses are not beside it as they were sealed: "
            "they would be forgotten"
        )
        raise JournalDamagedError(message)
    fold = fold_segment(segment, full=piece.full)
    if piece.full:
        with contextlib.suppress(OSError):  # a read-only copy of a journal can be restored from as well
            write_checkpoint(segment, fold)
    return fold


def _trusted_checkpoint(piece: _Piece) -> UseFold | None:
    """Return what the checkpoint says if its seal vouches for it.

    In a journal without a key, and beside a seal that says nothing of uses, it is enough that it is of all records.
    """
    known, path = read_checkpoint(piece.path), beside(piece.path, SEAL)
    seal = vouched_seal(path, piece.key)
    if known is None or (seal is None and (piece.key is not None or path.exists())):
        return None
    if seal is not None and not isinstance(seal.uses, UnsetType):
        return known.fold if known.digest == seal.uses else None
    return known.fold if known.fold.last == (piece.last if seal is None else seal.last) else None


def _mark(fold: UseFold) -> LapseMark | None:
    if fold.lapse is None:
        return None
    ended_at, about, what = fold.lapse
    return LapseMark(parse_instant(ended_at), about, what)


def _uses(folded: Mapping[str, tuple[int, str]]) -> dict[str, Use]:
    return {id_: Use(count, parse_instant(last)) for id_, (count, last) in folded.items()}
