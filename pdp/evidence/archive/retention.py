"""Which segments need no longer be kept, and their removal.

Rule 1: only what is sealed, the oldest first, and never the youngest of them: the chain must have where to go on from.
Rule 2: a segment's seal and its uses stay: the chain of seals, use limits and idle timeouts outlive the records.
Rule 3: first a seal says what is removed, then it is removed: verification tells retention from theft by that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import UNSET, Struct, UnsetType

from pdp.core.model import Duration, Instant
from pdp.evidence.instants import parse_instant
from pdp.evidence.journal.segments import SEAL, beside, segments_of
from pdp.evidence.seals.notary import Notary
from pdp.evidence.seals.sealing import REMOVED, read_seal
from pdp.evidence.usage.usage import keep_checkpoint

_LOG = logging.getLogger(__name__)


class Retention(Struct, frozen=True, kw_only=True):
    """How long evidence is kept."""

    keep_for: Duration | None = None
    """Age of a segment's last record from which on it is removed; None: never."""
    keep_bytes: int | None = None
    """What all segments may take on disk; None: whatever they do."""

    @property
    def is_endless(self) -> bool:
        """Whether nothing is ever removed."""
        return self.keep_for is None and self.keep_bytes is None


class Kept(Struct, frozen=True):
    """A segment that is sealed and on disk."""

    path: Path
    last: int
    ended_at: Instant
    size: int
    uses: str | UnsetType = UNSET
    """SHA-256 of the file of its uses, as the seal says."""


def remove(
    directory: Path, retention: Retention, notary: Notary, now: Instant, may_remove: Callable[[int], bool]
) -> None:
    """Remove what need no longer be kept; `may_remove` as in `removable`.

    Raises OSError, and JournalDamagedError where a segment has no uses beside it and they cannot be made.
    """
    sealed, open_bytes = _segments(directory)
    removed = read_seal(directory / REMOVED)
    until = 0 if removed is None else removed.seal.last
    gone = [segment for segment in sealed if segment.last <= until]  # a crash came between
    left = [segment for segment in sealed if segment.last > until]
    more = list(removable(left, open_bytes, retention, now, may_remove))
    for segment in (*gone, *more):
        keep_checkpoint(segment.path, segment.last, segment.uses)
    if more:
        notary.sign_removal(more[-1].path, now)
    for segment in (*gone, *more):
        segment.path.unlink(missing_ok=True)
        _LOG.info("segment `%s` was removed: it need not be kept any longer", segment.path.name)


def removable(
    sealed: Sequence[Kept], open_bytes: int, retention: Retention, now: Instant, may_remove: Callable[[int], bool]
) -> Iterator[Kept]:
    """Yield the segments to remove, oldest first.

    `sealed` are all that are, in order; `open_bytes` is what the others take. `may_remove` says of a sequence whether
    nobody needs the records up to it any more.
    """
    total = open_bytes + sum(segment.size for segment in sealed)
    for segment in sealed[:-1]:
        too_old = retention.keep_for is not None and now - segment.ended_at >= retention.keep_for
        too_much = retention.keep_bytes is not None and total > retention.keep_bytes
        if not (too_old or too_much) or not may_remove(segment.last):
            return
        total -= segment.size
        yield segment


def _segments(directory: Path) -> tuple[list[Kept], int]:
    """Return the sealed segments on disk, and what the others take."""
    sealed, open_bytes = list[Kept](), 0
    for segment in segments_of(directory):
        signed, size = read_seal(beside(segment, SEAL)), segment.stat().st_size
        if signed is None:
            open_bytes += size
        else:
            seal = signed.seal
            sealed.append(Kept(segment, seal.last, parse_instant(seal.until), size, seal.uses))
    return sealed, open_bytes
