"""What becomes of the journal's segments once they are full: sealed, compressed, and one day removed.

Rule 1: the event loop only says which segment is full; all else is done by one thread of the archive's own, and what
takes long with a large segment by the keeper's process.
Rule 2: each step is whole or not done, and what a crash has kept from being done is done by the next start.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from pdp.core.model import Instant
from pdp.evidence.apart import ApartError
from pdp.evidence.archive.compressing import compress
from pdp.evidence.archive.leftovers import clean_up
from pdp.evidence.archive.retention import Retention, remove
from pdp.evidence.journal.ledger import Ledger
from pdp.evidence.journal.segments import is_compressed, is_finished, segments_of
from pdp.evidence.keeper.chores import Chore
from pdp.evidence.keeper.keeping import Keeping
from pdp.evidence.record import Use
from pdp.evidence.seals.notary import Notary
from pdp.evidence.trouble import EvidenceError, JournalDamagedError
from pdp.evidence.usage.usage import keep_checkpoint

_LOG = logging.getLogger(__name__)

_EVERY_S = 60.0
"""Between two heads: of records younger than the last one nobody vouches for yet."""
LARGE = 1024 * 1024
"""Bytes of a segment that keep this process busy for longer than it takes to tell another."""
_FOLDED_WITHIN_S = 10.0, 0.25
"""And more for each MiB, by a keeper that gets little of the processors; then a thread does it, for the seal waits."""
_COMPRESSED_WITHIN_S = 60.0, 2.0
"""So long nothing is removed; then it is begun anew."""


class Archive(Ledger):
    """Looks after full segments."""

    def __init__(
        self,
        *,
        compressed: bool = True,
        retention: Retention | None = None,
        may_remove: Callable[[int], bool] = lambda _: True,
        keeping: Keeping | None = None,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        """Begin with nothing, until `resume`; `may_remove` says whether nobody needs the records up to a sequence.

        `keeping` has things done by the keeper; None: there is none, and the thread does all.
        """
        self._compressed = compressed
        self._retention = Retention() if retention is None else retention
        self._may_remove = may_remove
        self._keeping = keeping
        self._wall = wall
        self._directory = Path()
        self._notary: Notary | None = None
        self._full: deque[tuple[Path, int]] = deque()
        """Segments to seal, each with its last sequence."""
        self._until = 0
        self._signed_at = 0.0
        self._said: dict[str, str] = {}
        """Trouble of which the log knows, by step."""
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)

    @property
    def key(self) -> str:
        """The fingerprint of the key that signs; empty until `resume`."""
        return "" if self._notary is None else self._notary.key

    def resume(self, directory: Path, sequence: int) -> None:
        """Take the journal's key, and see what there is to seal; raises what `Notary` raises.

        Also JournalDamagedError if records are gone that a seal vouches for, and OSError.
        """
        self._directory, self._until = directory, sequence
        notary = Notary(directory)
        self._full.extend(notary.begin(sequence, self._now()))
        self._notary = notary

    def written(self, uses: Sequence[Use], sequence: int) -> None:  # noqa: ARG002  # a seal goes by sequences
        """Take note of how far there is something to seal."""
        self._until = sequence

    def seal(self, segment: Path, last: int) -> None:
        """Have a full segment sealed soon."""
        self._full.append((segment, last))
        self._wake.set()

    def start(self) -> None:
        """Begin to look after segments."""
        self._wake.set()
        self._thread.start()

    def close(self) -> None:
        """Seal what is full and sign the head. The journal must be written no more, and still be locked."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._sign()

    def _run(self) -> None:
        self._try(self._clean_up)
        while not self._stopping.is_set():
            self._wake.wait(_EVERY_S)
            self._wake.clear()
            self._sign()
            for step in (self._remove, self._compress):
                if not self._stopping.is_set():
                    self._try(step)

    def _sign(self) -> None:
        """Seal and sign whatever can be; also between other steps, which may take long."""
        self._signed_at = time.monotonic()
        for step in (self._seal, self._sign_head):
            self._try(step)

    def _try(self, step: Callable[[], None]) -> None:
        """Do a step; trouble with it is said once, and the step is tried again the next time."""
        name = step.__name__
        try:
            step()
        except (OSError, EvidenceError) as error:
            if self._said.get(name) != str(error):
                what = "the journal's head waits" if step == self._sign_head else "full segments of the journal wait"
                _LOG.warning("%s, and will be looked after later: %s", what, error)
            self._said[name] = str(error)
        else:
            self._said.pop(name, None)

    def _clean_up(self) -> None:
        clean_up(self._directory)

    def _seal(self) -> None:
        if self._notary is None:
            return
        while self._full:
            segment, last = self._full[0]
            try:
                uses = self._uses(segment, last)
                self._notary.seal(segment, last, self._now(), uses)
            except JournalDamagedError as error:
                _LOG.warning("segment `%s` gets no seal: %s", segment.name, error)
            self._full.popleft()
            self._sign_head()  # at once: a seal that no head follows can be taken away unseen

    def _uses(self, segment: Path, last: int) -> str:
        """Return the digest of the segment's checkpoint, made if need be; raises what `keep_checkpoint` does."""
        keeping = self._keeper_for(segment)
        if keeping is not None and not self._is_pressed():
            try:
                keeping.have_done(Chore.FOLD, segment, _within(_FOLDED_WITHIN_S, segment), self._is_pressed)
            except ApartError as error:
                _LOG.debug("the uses of segment `%s` are folded on a thread: %s", segment.name, error)
        return keep_checkpoint(segment, last)

    def _is_pressed(self) -> bool:
        """Whether to seal without delay: at the end, or where more segments wait than the keeper has folded."""
        return self._stopping.is_set() or len(self._full) > 1

    def _keeper_for(self, segment: Path) -> Keeping | None:
        """Return who does what takes long with a segment; None: that takes not long. May raise OSError."""
        return self._keeping if segment.exists() and segment.stat().st_size >= LARGE else None

    def _sign_head(self) -> None:
        if self._notary is not None:
            self._notary.sign_head(self._until, self._now())

    def _compress(self) -> None:
        if not self._compressed:
            return
        for segment in segments_of(self._directory):
            if is_compressed(segment) or not is_finished(segment) or not segment.exists():  # removed meanwhile
                continue
            if not self._make_small(segment):
                return
            self._sign()
            self._try(self._remove)

    def _make_small(self, segment: Path) -> bool:
        """Compress a segment; return False if told to stop before it is done. Raises as `compress`, and ApartError."""
        keeping = self._keeper_for(segment)
        if keeping is None:
            return compress(segment, self._interrupted)
        return keeping.have_done(Chore.COMPRESS, segment, _within(_COMPRESSED_WITHIN_S, segment), self._interrupted)

    def _interrupted(self) -> bool:
        """Whether to stop; what must not wait for a segment that takes long is done meanwhile."""
        if self._full or time.monotonic() - self._signed_at >= _EVERY_S:
            self._sign()
        return self._stopping.is_set()

    def _remove(self) -> None:
        if self._notary is not None and not self._retention.is_endless:
            remove(self._directory, self._retention, self._notary, self._now(), self._may_remove)

    def _now(self) -> Instant:
        return Instant(self._wall())


def _within(patience_s: tuple[float, float], segment: Path) -> float:
    """Return how long to wait, with more for each MiB; may raise OSError."""
    least, more = patience_s
    return least + more * segment.stat().st_size / (1024 * 1024)
