"""Where planned changes are committed: written, recorded, and in force before they are acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from pdp.clock import Clock
from pdp.core.model import AnyFact, Change, FactKind, Instant, Revision
from pdp.core.snapshot import Snapshot
from pdp.evidence.record import ChangeRecord
from pdp.evidence.trace import Ids, TraceContext, parse_traceparent
from pdp.evidence.trouble import EvidenceError
from pdp.governance.commands import Plan
from pdp.state.store import FactRef, Origin, Page, Store


class Applied(Protocol):
    """The replica, as far as acknowledging needs it."""

    @property
    def revision(self) -> Revision:
        """The revision that is in force here."""

    async def applied(self, revision: Revision, timeout_s: float) -> bool:
        """Wait until the revision is in force here; False if it was not within the time."""


class ChangeLog(Protocol):
    """Where changes are recorded."""

    def record_change(self, record: ChangeRecord, *, durable: bool) -> asyncio.Future[None] | None:
        """Append; a durable record's future resolves once it is on disk."""


class NotInForceError(Exception):
    """A change was committed, but this sidecar has not applied it in time; it will."""


_COMMITS_PER_READ = 256


class Author(Struct, frozen=True):
    """Who changes facts, why, and from which trace."""

    actor: str
    reason: str
    method: str = ""
    """The RPC that changes them, without its service."""
    traceparent: str = ""


class Desk:
    """Commits plans to the store and reads facts back."""

    def __init__(
        self, store: Store, snapshot: Snapshot, replica: Applied, clock: Clock, changes: ChangeLog, ids: Ids
    ) -> None:
        self._store = store
        self._snapshot = snapshot
        self._replica = replica
        self._clock = clock
        self._changes = changes
        self._ids = ids

    def now(self) -> Instant:
        """Return decision time, which the revocations written here begin at."""
        return self._clock.now()

    @property
    def revision(self) -> Revision:
        """The revision that is in force here; what is read from now on is at least as new."""
        return self._replica.revision

    def known(self, kind: FactKind, id_: str) -> AnyFact | None:
        """Return one fact as it is in force here, or None."""
        return self._snapshot.fact(kind, id_)

    def new_id(self) -> str:
        """Return a new id for a fact."""
        return self._ids.decision_id()

    async def commit(self, plan: Plan, author: Author, timeout_s: float) -> Revision:
        """Write a plan; return its revision once it is in force here and its evidence is on disk.

        Raises the store's errors (nothing happened, but see StoreUnavailableError), EvidenceUnavailableError and
        NotInForceError (it happened).
        """
        trace = self._ids.child(parse_traceparent(author.traceparent))
        origin = Origin(author.actor, author.reason, trace.traceparent, Instant(time.time_ns()))
        expected = {FactRef(kind, id_): revision for (kind, id_), revision in plan.expected.items()}
        revision = await self._store.commit(plan.changes, origin, expected=expected)
        record = _record(revision, plan.changes, origin, author.method, trace)
        written = self._changes.record_change(record, durable=True)
        in_force = await self._replica.applied(revision, timeout_s)
        await self._on_disk(written, record)
        if not in_force:
            message = f"revision {revision} is committed, but not yet in force here"
            raise NotInForceError(message)
        return revision

    async def _on_disk(self, written: asyncio.Future[None] | None, record: ChangeRecord) -> None:
        """Wait for a record; if it fails keep it for when the disk is back, for the change has happened."""
        try:
            if written is not None:
                await written
        except EvidenceError:
            self._changes.record_change(record, durable=False)
            raise

    async def record_missing(self, after: Revision) -> int:
        """Record the changes behind a revision that a crash kept from the journal; return how many there were.

        The store's change log has them; only the last step, the record, is missing.
        """
        missing = 0
        while commits := await self._store.history(after + missing, _COMMITS_PER_READ):
            written = [
                self._changes.record_change(_record(one.revision, one.changes, one.origin, "", None), durable=True)
                for one in commits
            ]
            await asyncio.gather(*(future for future in written if future is not None))
            missing += len(commits)
        return missing

    async def read(self, kind: FactKind, id_: str) -> AnyFact | None:
        """Return one fact as the store has it, or None."""
        return await self._store.read(kind, id_)

    async def page(self, kind: FactKind | None, token: str, limit: int) -> Page:
        """Return some facts, in a stable order; raise ValueError for a token no page has returned."""
        return await self._store.page(kind, token, limit)


def _record(
    revision: Revision, changes: Sequence[Change], origin: Origin, method: str, trace: TraceContext | None
) -> ChangeRecord:
    return ChangeRecord(
        revision=revision,
        changes=tuple(changes),
        actor=origin.actor,
        reason=origin.reason,
        traceparent=origin.traceparent,
        at=origin.at,
        ended_at=None if trace is None else Instant(time.time_ns()),
        method=method,
        trace=trace,
    )
