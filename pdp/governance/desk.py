"""Where commands are carried out: decided, written, recorded, and in force before they are acknowledged.

Rule 1: a command is decided on the facts in force here and written only if they still are; else it is decided again.
Rule 2: under one idempotency key a principal has one command carried out once, and hears of it as often as it asks.
Rule 3: what has been written is recorded, whatever fails after it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from pdp.clock import Clock
from pdp.core.lawful import Fault, faults_of
from pdp.core.model import AnyFact, Change, FactKind, Instant, Put, Revision
from pdp.core.snapshot import Snapshot
from pdp.evidence.record import AdministrationRecord, ChangeRecord
from pdp.evidence.trace import Ids, TraceContext, parse_traceparent
from pdp.evidence.trouble import EvidenceError
from pdp.governance.commands import Command
from pdp.governance.digest import digest_of_changes, digest_of_command
from pdp.governance.importing import imported
from pdp.governance.refusal import Refusal, Refused, Rule
from pdp.governance.roles import Principal
from pdp.governance.table import COMMANDS, CommandRow, Outcome
from pdp.governance.view import Plan, View
from pdp.state.store import (
    AlreadyCommittedError,
    Commit,
    ConflictError,
    FactRef,
    Origin,
    Page,
    Store,
    check_commit,
    stamped,
)


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


class AdministrationLog(Protocol):
    """Where the door records the calls that changed nothing; what the desk has changed has a record already."""

    def record_administration(self, record: AdministrationRecord) -> asyncio.Future[None] | None:
        """Append; the future of one that was turned away resolves once it is on disk."""


class CommandRefusedError(Exception):
    """A rule stands against the command; nothing happened."""

    def __init__(self, reasons: tuple[Refusal, ...]) -> None:
        """Keep every rule that does, the most telling first."""
        super().__init__(reasons[0].message)
        self.reasons = reasons


class UnlawfulPlanError(Exception):
    """The command lacks its reason or a field, or what it would write is no lawful fact; nothing happened."""

    def __init__(self, faults: list[Fault]) -> None:
        """Keep a message for each field at fault."""
        super().__init__(", ".join(f"{field} {message}" for field, message in faults))
        self.faults = faults


class NotInForceError(Exception):
    """A change was committed, but this sidecar has not applied it in time; it will."""


_ATTEMPTS = 8
"""How often a command is decided while others keep changing what it rests on."""
_COMMITS_PER_READ = 256


class Asked(Struct, frozen=True, kw_only=True):
    """Who asks for a change, by which right and why, and from which trace."""

    actor: Principal
    role: str
    """The role that permits it."""
    reason: str = ""
    key: str = ""
    """Idempotency key; empty: each time it is asked for, it is done."""
    dry_run: bool = False
    method: str
    """The RPC without its service."""
    traceparent: str = ""


class Done(Struct, frozen=True):
    """What a command has changed, in force here."""

    revision: Revision
    """0: a dry run, nothing was written."""
    changes: tuple[Change, ...]
    """The command's own fact first; as written, or as a dry run would write them."""
    already_done: bool = False
    """Whether this is what an earlier sending of the same command did."""


class _Errand(Struct, frozen=True):
    """One asking, with what tells it from another under the same key."""

    asked: Asked
    digest: str
    ends_at: float
    """In the time of the event loop."""

    @property
    def left_s(self) -> float:
        return max(self.ends_at - asyncio.get_running_loop().time(), 0.0)


class Desk:
    """Carries out commands, writes facts as they are, and reads them back."""

    def __init__(
        self,
        store: Store,
        snapshot: Snapshot,
        replica: Applied,
        clock: Clock,
        changes: ChangeLog,
        ids: Ids,
    ) -> None:
        self._store = store
        self._snapshot = snapshot
        self._replica = replica
        self._clock = clock
        self._changes = changes
        self._ids = ids
        self._unrecorded: deque[ChangeRecord] = deque()

    def now(self) -> Instant:
        """Return decision time, which commands are judged at and the windows written here begin at."""
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

    async def carry_out(self, command: Command, asked: Asked, timeout_s: float, *, sent: Command | None = None) -> Done:
        """Decide a command and write what it wants; return once that is in force here and its evidence is on disk.

        A new fact without an id gets one. Sent again under its key, the command is answered as it was the first time;
        its evidence may then still wait for the disk. `sent`: what the caller has sent, where the command is more.

        Raises CommandRefusedError, UnlawfulPlanError and ConflictError (nothing happened), the store's other errors
        (nothing happened, but see StoreUnavailableError), EvidenceUnavailableError and NotInForceError (it happened).
        """
        row = COMMANDS[type(command)]
        if row.needs_reason and not asked.reason.strip():
            raise UnlawfulPlanError([("reason", "must not be empty")])
        if lacking := row.lacks(command):
            raise UnlawfulPlanError([*lacking])
        errand = _errand(asked, digest_of_command(asked.method, sent or command) if asked.key else "", timeout_s)
        named = self._named(command)
        done = await self._once(errand, lambda: self._decide(row, named, asked))
        if row.sweeps and done.revision:
            return await self._swept(done, errand, lambda: self._decide(row, named, asked))
        return done

    async def write(self, changes: Sequence[Change], asked: Asked, timeout_s: float) -> Done:
        """Write facts as they are, under no rule but that what has ended stays so; otherwise as `carry_out`."""
        errand = _errand(asked, digest_of_changes(asked.method, changes) if asked.key else "", timeout_s)
        return await self._once(errand, lambda: _permitted(imported(changes, self.known)))

    def _named(self, command: Command) -> Command:
        if getattr(command, "id", None) == "":
            return replace(command, id=self.new_id())
        return command

    def _decide(self, row: CommandRow, command: Command, asked: Asked) -> Plan:
        plan = _permitted(row.rule(command, View(self._snapshot, self.now(), asked.actor, asked.reason)))
        faults = [fault for change in plan.changes if isinstance(change, Put) for fault in faults_of(change.fact)]
        if faults:
            raise UnlawfulPlanError(list(dict.fromkeys(faults)))
        return plan

    async def _once(self, errand: _Errand, decide: Callable[[], Plan]) -> Done:
        if earlier := await self._earlier(errand):
            return earlier
        try:
            return await self._settle(errand, decide)
        except AlreadyCommittedError as error:
            return await self._again(errand, error.commit)
        except CommandRefusedError:
            # What stands against it may be its own doing: sent twice at once, the other one was carried out meanwhile.
            if earlier := await self._earlier(errand):
                return earlier
            raise

    async def _swept(self, done: Done, errand: _Errand, decide: Callable[[], Plan]) -> Done:
        """Decide again until nothing is left, now that what was done keeps anything further from being begun."""
        errand, revision, changes = replace(errand, asked=replace(errand.asked, key="")), done.revision, [*done.changes]
        while True:
            try:
                rest = await self._settle(errand, decide)
            except CommandRefusedError:
                return done if done.already_done else Done(revision, tuple(changes))
            revision = rest.revision
            changes += rest.changes

    async def _earlier(self, errand: _Errand) -> Done | None:
        """Return what was done under the errand's key, if anything was."""
        asked = errand.asked
        commit = await self._store.committed(asked.actor.name, asked.key) if asked.key else None
        return None if commit is None else await self._again(errand, commit)

    async def _again(self, errand: _Errand, commit: Commit) -> Done:
        if commit.origin.digest != errand.digest:
            raise CommandRefusedError((_key_reused(commit),))
        await self._in_force(commit.revision, errand)
        return Done(commit.revision, commit.changes, already_done=True)

    async def _settle(self, errand: _Errand, decide: Callable[[], Plan]) -> Done:
        """Decide and commit, until nothing the decision rests on has changed in between."""
        attempts = 0
        while True:
            attempts += 1
            seen = self.revision
            plan = decide()
            try:
                return await self._commit(plan, errand)
            except ConflictError as conflict:
                # A fact that is gone names no revision; that it is gone is news from behind what was seen.
                news = max(conflict.actual, seen + 1)
                if attempts == _ATTEMPTS or not await self._replica.applied(news, errand.left_s):
                    raise

    async def _commit(self, plan: Plan, errand: _Errand) -> Done:
        asked = errand.asked
        trace = self._ids.child(parse_traceparent(asked.traceparent))
        at = Instant(time.time_ns())
        origin = Origin(asked.actor.name, asked.reason, trace.traceparent, at, asked.key, errand.digest)
        if asked.dry_run:
            check_commit(plan.changes, origin)
            return Done(0, plan.changes)
        expected = {FactRef(kind, id_): revision for (kind, id_), revision in plan.expected.items()}
        revision = await self._store.commit(plan.changes, origin, expected=expected)
        record = _record(Commit(revision, plan.changes, origin), asked, trace)
        written = self._append(record, durable=True)
        in_force = await self._replica.applied(revision, errand.left_s)
        await self._on_disk(written, record)
        if not in_force:
            raise _not_in_force(revision)
        return Done(revision, stamped(plan.changes, revision, origin))

    async def _in_force(self, revision: Revision, errand: _Errand) -> None:
        if not await self._replica.applied(revision, errand.left_s):
            raise _not_in_force(revision)

    async def _on_disk(self, written: asyncio.Future[None] | None, record: ChangeRecord) -> None:
        """Wait for a record; if it fails keep it for when the disk is back, for the change has happened."""
        try:
            if written is not None:
                await written
        except EvidenceError:
            self._append(record, durable=False)
            raise

    def _append(self, record: ChangeRecord, *, durable: bool) -> asyncio.Future[None] | None:
        """Record a change, behind those that found no room before.

        In this order, because a start only looks for changes behind the last one on record.
        """
        waiting = self._unrecorded
        waiting.append(record)
        while len(waiting) > 1:
            self._changes.record_change(waiting[0], durable=False)
            waiting.popleft()
        written = self._changes.record_change(record, durable=durable)
        waiting.popleft()
        return written

    async def record_missing(self, after: Revision) -> int:
        """Record the changes behind a revision that a crash kept from the journal; return how many there were.

        The store's change log has them; only the last step, the record, is missing.
        """
        missing = 0
        while commits := await self._store.history(after + missing, _COMMITS_PER_READ):
            written = [self._changes.record_change(_record(commit), durable=True) for commit in commits]
            await asyncio.gather(*(future for future in written if future is not None))
            missing += len(commits)
        return missing

    async def read(self, kind: FactKind, id_: str) -> AnyFact | None:
        """Return one fact as the store has it, or None."""
        return await self._store.read(kind, id_)

    async def page(self, kind: FactKind | None, token: str, limit: int) -> Page:
        """Return some facts, in a stable order; raise ValueError for a token no page has returned."""
        return await self._store.page(kind, token, limit)


def _permitted(outcome: Outcome) -> Plan:
    if isinstance(outcome, Refused):
        raise CommandRefusedError(outcome.reasons)
    return outcome


def _errand(asked: Asked, digest: str, timeout_s: float) -> _Errand:
    return _Errand(asked, digest, asyncio.get_running_loop().time() + timeout_s)


def _key_reused(commit: Commit) -> Refusal:
    message = f"idempotency key `{commit.origin.key}` belongs to the command of revision {commit.revision}"
    return Refusal(Rule.KEY_REUSED, message, "send another command under a key of its own")


def _not_in_force(revision: Revision) -> NotInForceError:
    return NotInForceError(f"revision {revision} is committed, but not yet in force here")


def _record(commit: Commit, asked: Asked | None = None, trace: TraceContext | None = None) -> ChangeRecord:
    """Return the record of a commit; without who asked, of one that was made in an earlier run."""
    origin = commit.origin
    return ChangeRecord(
        revision=commit.revision,
        changes=commit.changes,
        actor=origin.actor,
        role="" if asked is None else asked.role,
        reason=origin.reason,
        traceparent=origin.traceparent,
        at=origin.at,
        ended_at=None if trace is None else Instant(time.time_ns()),
        method="" if asked is None else asked.method,
        trace=trace,
    )
