"""A record on its way to the disk."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable

from msgspec import Struct

from pdp.core.model import Instant
from pdp.evidence.record import AnyRecord, Use


class Entry(Struct):
    """A record on its way to the disk, or what is needed of it still.

    A decision that nobody waits for lets go of its record once it has its body. A record is forty objects: were they
    held until the commit, those of the next decisions would lie elsewhere each time, never where a cache has them.
    """

    at: Instant
    """When it happened."""
    record: AnyRecord | None
    """None: all that is still needed is below."""
    body: bytes = b""
    """What it says, where that is encoded already."""
    use: Use | None = None
    """What it used, once it is on disk."""
    written: Future[None] | None = None
    """Whoever waits for it; None: nobody does, it is not durable."""

    @property
    def is_late(self) -> bool:
        """Whether its answer was denied because it was not on disk in time: it must not appear as if it was given."""
        written = self.written
        return written is not None and written.done() and not written.cancelled()

    def encoded(self, encode: Callable[[AnyRecord], bytes]) -> bytes:
        """Return what it says, encoded now if it is not yet."""
        return self.body if self.body or self.record is None else encode(self.record)
