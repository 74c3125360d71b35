"""Who follows what is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pdp.evidence.record import Use


class Ledger:
    """Follows a journal, segment by segment. What one has no use for it need not say.

    But for `resume` it is told on the event loop's thread, must not wait, and must not raise.
    """

    def resume(self, directory: Path, sequence: int) -> None:
        """Take over a journal that ends with this record, before anything is written.

        May raise JournalDamagedError or OSError.
        """

    def written(self, uses: Sequence[Use], sequence: int) -> None:
        """Take note of uses that are on disk in the current segment; with them all records up to the sequence are."""

    def seal(self, segment: Path, last: int) -> None:
        """Take note that the segment is full, with all records up to the last."""


class Ledgers(Ledger):
    """Several ledgers of one journal, or none."""

    def __init__(self, *ledgers: Ledger) -> None:
        """Tell each, in this order."""
        self._ledgers = ledgers

    def resume(self, directory: Path, sequence: int) -> None:
        """Have each take over."""
        for ledger in self._ledgers:
            ledger.resume(directory, sequence)

    def written(self, uses: Sequence[Use], sequence: int) -> None:
        """Tell each."""
        for ledger in self._ledgers:
            ledger.written(uses, sequence)

    def seal(self, segment: Path, last: int) -> None:
        """Tell each."""
        for ledger in self._ledgers:
            ledger.seal(segment, last)
