"""Records on their way to the disk."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Sequence

from msgspec import Struct

from pdp.core.model import Instant
from pdp.evidence.record import AnyRecord, Use


class Entry(Struct):
    """A record on its way to the disk, or several decisions that nobody waits for, in one piece.

    Those are held as bytes alone. A record is forty objects: were they held until the commit, those of the next
    decisions would lie elsewhere each time, never where a cache has them.
    """

    at: Instant
    """When it happened, or the first of them."""
    record: AnyRecord | None
    """None: all that is still needed is below."""
    packed: bytes = b""
    """What it says, as it travels to the scribe, where it is packed already."""
    count: int = 1
    """How many records it is."""
    uses: Sequence[Use] = ()
    """What was used, once it is on disk."""
    written: Future[None] | None = None
    """Whoever waits for it; None: nobody does, it is not durable."""

    @property
    def is_late(self) -> bool:
        """Whether its answer was denied because it was not on disk in time: it must not appear as if it was given."""
        written = self.written
        return written is not None and written.done() and not written.cancelled()

    def packed_by(self, pack: Callable[[AnyRecord], bytes]) -> bytes:
        """Return what it says, packed now if it is not yet."""
        return self.packed if self.packed or self.record is None else pack(self.record)


def count_of(entries: Sequence[Entry]) -> int:
    """Return how many records they are."""
    return sum([entry.count for entry in entries])
