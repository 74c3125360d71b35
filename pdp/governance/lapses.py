"""Lapse is an event: what ends by time alone is recorded when it ends, without any call.

Rule 1: lapses are recorded in one order, that of `LapseMark`; the mark of the latest on record tells every later start
which lapses are, so each is recorded exactly once, also those that came while no sidecar ran.
Rule 2: what is filed is only a reminder. When it is due the fact is looked at again: what was renewed or used since is
filed anew, what was closed or dropped is forgotten.
Rule 3: a session that had ended with what it rests on (its parent, task, identity, a revocation) does not lapse.
Rule 4: the event loop is never kept: everything that can be many goes in slices.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import Future
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeVar

from pdp.clock import Clock
from pdp.core.model import KIND_OF, AnyFact, Approval, Change, Entitlement, FactKind, Instant, Put, Revision, Session
from pdp.core.snapshot import Snapshot
from pdp.core.standing import is_live
from pdp.evidence.instants import instant_text
from pdp.evidence.record import LapseMark, LapseRecord, LifecycleRecord
from pdp.evidence.trace import Ids
from pdp.evidence.trouble import BufferFullError, EvidenceError
from pdp.evidence.usage.folding import LAPSES_FOLLOWED
from pdp.governance.agenda import Agenda, Entry
from pdp.governance.ends import End, ends_of
from pdp.state.store import Commit, StoreUnavailableError

_SLICE = 200
"""Facts looked at, or records written, before others get their turn: 1 to 2 ms."""
_JUDGED = 8
"""Facts that could be looked at while one session is judged."""
_TICK_S = 0.1
"""Longest sleep: decision time may leap ahead of the time that is slept."""
_RETRY_S = 0.2
_COMMITS_PER_READ = 256
_ENDING = (FactKind.SESSION, FactKind.APPROVAL, FactKind.ENTITLEMENT, FactKind.REVOCATION)
"""The kinds of fact that time ends."""
_BEGINNING = LapseMark(Instant(0))

_T = TypeVar("_T")


class LapseLog(Protocol):
    """Where lapses are recorded."""

    def record_lapse(self, record: LapseRecord, *, durable: bool) -> Future[None] | None:
        """Append; a durable record's future resolves once it, and all before it, are on disk."""

    def record_lifecycle(self, record: LifecycleRecord) -> None:
        """Append."""

    async def room(self, timeout_s: float) -> bool:
        """Wait until a record fits; return whether it does."""


class History(Protocol):
    """The store, as far as lapses need it."""

    async def history(self, after: Revision, limit: int) -> Sequence[Commit]:
        """Return at most `limit` commits after a revision, in order."""


class Lapses:
    """Knows what ends when, and records what has ended. Belongs to the event loop's thread."""

    def __init__(
        self,
        snapshot: Snapshot,
        history: History,
        clock: Clock,
        log: LapseLog,
        ids: Ids,
        mark: LapseMark | None,
        *,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        """Go on from the latest lapse on record; without one, what ends before `run` will never be recorded."""
        self._snapshot = snapshot
        self._history = history
        self._clock = clock
        self._log = log
        self._ids = ids
        self._wall = wall
        self._agenda = Agenda()
        self._mark = mark or _BEGINNING
        self._by_change: set[LapseMark] = set()
        """Ends not yet passed by that were over when they were written."""

    def foresee(self, changes: Iterable[Change]) -> None:
        """Take note of the ends of facts that are about to be folded into the snapshot."""
        now = self._clock.now()
        for change in changes:
            if isinstance(change, Put):
                self._note(change.fact, now)

    async def run(self) -> None:
        """Record what has ended since the mark, and go on for ever; once the snapshot has been loaded."""
        await self.begin()
        while True:
            await self.settle()
            await asyncio.sleep(_TICK_S)

    async def begin(self) -> None:
        """File what the snapshot holds, once it has been loaded."""
        now = self._clock.now()
        if self._mark == _BEGINNING:
            self._mark = self._first_mark(now)
        passed: defaultdict[Revision, list[tuple[LapseMark, End]]] = defaultdict(list)
        for kind in _ENDING:
            async for facts in _slices(iter(self._snapshot.facts(kind))):
                for fact in facts:
                    for end in ends_of(fact, self._snapshot.session_uses):
                        place = _mark(kind, fact.id, end)
                        if place <= self._mark:
                            continue
                        self._agenda.file(Entry(end.at, kind, fact.id))
                        if end.at <= now:
                            passed[fact.revision].append((place, end))
        await self._tell_changes_apart(passed)

    async def settle(self) -> None:
        """Record all that has ended by now; the last of it is on disk then."""
        while True:
            now = await self._open_minutes()
            looked, records = self._look(now)
            if not looked:
                break
            if records:
                await self._write(records)
            await asyncio.sleep(0)
        # INVARIANT: no await since that last look, so whatever was over when it was written has been passed by.
        self._by_change.clear()

    def _note(self, fact: AnyFact, now: Instant) -> None:
        ends = ends_of(fact, self._snapshot.session_uses)
        if not ends:
            return
        kind = KIND_OF[type(fact)]
        known: tuple[End, ...] | None = None
        for end in ends:
            if end.by_time(now):
                self._agenda.file(Entry(end.at, kind, fact.id))
                continue
            if known is None:
                known = ends_of(self._snapshot.fact(kind, fact.id), self._snapshot.session_uses)
            if end not in known:
                self._by_change.add(_mark(kind, fact.id, end))

    def _first_mark(self, now: Instant) -> LapseMark:
        at = Instant(self._wall())
        attributes = {"since": instant_text(now)}
        self._log.record_lifecycle(LifecycleRecord(name=LAPSES_FOLLOWED, at=at, attributes=attributes))
        return LapseMark(now)

    async def _tell_changes_apart(self, passed: dict[Revision, list[tuple[LapseMark, End]]]) -> None:
        """Of the ends that passed while nobody looked, leave out those that were over when they were written."""
        revisions = iter(sorted(passed))
        revision = next(revisions, None)
        while revision is not None:
            commits = await self._commits_from(revision)
            if not commits:
                return
            for commit in commits:
                if commit.revision == revision:
                    ends = passed[revision]
                    self._by_change.update(place for place, end in ends if not end.by_time(commit.origin.at))
                    revision = next(revisions, None)

    async def _commits_from(self, revision: Revision) -> Sequence[Commit]:
        while True:
            try:
                return await self._history.history(revision - 1, _COMMITS_PER_READ)
            except StoreUnavailableError:
                await asyncio.sleep(_RETRY_S)

    async def _open_minutes(self) -> Instant:
        """Return an instant up to which every entry is filed finely."""
        while (minute := self._agenda.open_minute(now := self._clock.now())) is not None:
            async for refs in _slices(minute.refs()):
                for kind, id_ in refs:
                    self._file_again(kind, id_, minute.start)
        return now

    def _file_again(self, kind: FactKind, id_: str, not_before: Instant) -> None:
        for end in ends_of(self._snapshot.fact(kind, id_), self._snapshot.session_uses):
            if end.at >= not_before:
                self._agenda.file(Entry(end.at, kind, id_))

    def _look(self, now: Instant) -> tuple[int, list[LapseRecord]]:
        """Look at some of what is due; return how much that was, and what of it has ended."""
        looked, records = 0, list[LapseRecord]()
        while looked < _SLICE and (entry := self._agenda.due(now)) is not None:
            looked += 1
            fact = self._snapshot.fact(entry.kind, entry.id)
            for end in ends_of(fact, self._snapshot.session_uses):
                place = _mark(entry.kind, entry.id, end)
                if end.at > entry.at:
                    self._agenda.file(Entry(end.at, entry.kind, entry.id))
                elif end.at == entry.at and place > self._mark and place not in self._by_change and fact is not None:
                    looked += _JUDGED if isinstance(fact, Session) else 0
                    if not self._lasted(fact, end):
                        continue
                    self._mark = place
                    records.append(self._record(fact, end))
        return looked, records

    def _lasted(self, fact: AnyFact, end: End) -> bool:
        """Whether the fact was good for anything up to its end: a session may have ended with what it rests on."""
        return not isinstance(fact, Session) or is_live(fact, self._snapshot, Instant(end.at - 1))

    def _record(self, fact: AnyFact, end: End) -> LapseRecord:
        """Return the record; what it says of the fact is what leads from it to who and why."""
        identity = task = approval = ""
        if isinstance(fact, Session):
            identity, task, approval = fact.identity, fact.task, fact.approval
        elif isinstance(fact, Approval):
            identity, approval = fact.identity, fact.id
        elif isinstance(fact, Entitlement) and len(fact.identity.patterns) == 1:
            identity = fact.identity.patterns[0]
        return LapseRecord(
            at=Instant(self._wall()),
            ended_at=end.at,
            what=end.what,
            kind=KIND_OF[type(fact)],
            id=fact.id,
            identity=identity,
            task=task,
            approval=approval,
            traceparent=fact.traceparent,
            trace=self._ids.child(None),
        )

    async def _write(self, records: Sequence[LapseRecord]) -> None:
        """Write some records, and wait for the last: so the disk sets the pace, and decisions keep their room.

        Nobody waits for the others, so they are kept through an outage of the disk, in their order.
        """
        for record in records[:-1]:
            await self._append(record, durable=False)
        await self._append(records[-1], durable=True)

    async def _append(self, record: LapseRecord, *, durable: bool) -> None:
        while True:
            try:
                written = self._log.record_lapse(record, durable=durable)
                if written is not None:
                    await written
            except BufferFullError:
                await self._log.room(_RETRY_S)
            except EvidenceError:
                await asyncio.sleep(_RETRY_S)
            else:
                return


def _mark(kind: FactKind, id_: str, end: End) -> LapseMark:
    return LapseMark(end.at, f"{kind}:{id_}", end.what)


async def _slices(items: Iterator[_T]) -> AsyncIterator[list[_T]]:
    """Yield the items in slices, with others' turn after each."""
    while part := list(islice(items, _SLICE)):
        yield part
        await asyncio.sleep(0)
