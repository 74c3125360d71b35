"""The state that decisions were made on, stepped forward: facts from the change log, uses from the journal.

Rule 1: it goes forward only, each commit and each use once; so a walk over many decisions costs one pass.
Rule 2: what is missing is said; a state with a hole is never decided on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

from pdp.core.model import Revision
from pdp.core.policy.rules import PolicySet
from pdp.core.snapshot import Readiness, Snapshot
from pdp.evidence.instants import parse_instant
from pdp.evidence.line.decision_json import UsesJson
from pdp.evidence.usage.usage import uses_before
from pdp.state.store import Commit

History: TypeAlias = Callable[[Revision], Iterator[Commit]]
"""Yields every commit after a revision, in order; may raise StoreError."""

Policies: TypeAlias = Callable[[str], PolicySet]
"""Returns the policy set of a content version; raises LookupError, saying so, if it is not kept."""


class HistoryMissingError(LookupError):
    """The change log does not lead to the revision of a decision; the message says how."""


class UsesOfLine(Struct):
    """What counting uses needs of a line; everything else is skipped."""

    uses: UsesJson | None = None
    evaluated_at: str = ""


_DECODE_USES = msgspec.json.Decoder(UsesOfLine).decode
_USES_MEMBER = b'"uses":'


class Past:
    """One state, moved from decision to decision."""

    def __init__(self, history: History) -> None:
        """Begin before the first commit and the first use."""
        self.snapshot = Snapshot()
        self.snapshot.readiness = Readiness.READY
        self._history = history
        self._commits: Iterator[Commit] = iter(())

    def begin(self, directory: Path, segment: Path) -> None:
        """Count every use before a segment of a journal; raise JournalDamagedError if they are not on record."""
        self.snapshot.session_uses, self.snapshot.approval_uses = uses_before(directory, segment)

    def move_to(self, revision: Revision) -> Snapshot:
        """Apply the commits up to a revision and return the state; raise HistoryMissingError if that cannot be."""
        snapshot = self.snapshot
        while snapshot.revision < revision:
            commit = self._next()
            snapshot.apply(commit.revision, commit.changes)
        if snapshot.revision > revision:
            message = f"the change log is at revision {snapshot.revision} already, behind which {revision} lies"
            raise HistoryMissingError(message)
        return snapshot

    def count_line(self, line: bytes) -> None:
        """Count the uses of a journal's line, if it has any; raise msgspec.DecodeError if it is no record."""
        if _USES_MEMBER not in line:
            return
        read = _DECODE_USES(line)
        if read.uses is not None:
            at = parse_instant(read.evaluated_at)
            self.snapshot.record_use(read.uses.sessions, read.uses.approvals, at)

    def _next(self) -> Commit:
        after = self.snapshot.revision
        commit = next(self._commits, None)
        if commit is None:
            # The log may have grown since it was read to its end.
            self._commits = self._history(after)
            commit = next(self._commits, None)
        if commit is None or commit.revision != after + 1:
            message = f"the change log has no revision {after + 1}: state cannot be rebuilt beyond {after}"
            raise HistoryMissingError(message)
        return commit
