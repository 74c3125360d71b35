"""The one thread that writes to the SQLite file.

Rule 1: commits that wait together share one transaction, hence one fsync; each keeps its own revision and its own
check for conflicts.
Rule 2: nobody hears of a commit before the transaction is on disk.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeAlias

from pdp.core.model import Change, Drop, Instant, Revision
from pdp.state import sqlite_log
from pdp.state.codec import Codec, CodecError
from pdp.state.sqlite_file import connect, head, store_errors
from pdp.state.store import (
    AlreadyCommittedError,
    CommitRefusedError,
    ConflictError,
    FactRef,
    Origin,
    StoreError,
    StoreUnavailableError,
    StoreUnusableError,
    check_commit,
    ref_of,
    stamped,
)

COMMITS_PER_TRANSACTION = 128


@dataclass(frozen=True, slots=True)
class Job:
    """A commit that waits for its turn, and where its outcome goes."""

    changes: Sequence[Change]
    origin: Origin
    expected: Mapping[FactRef, Revision]
    done: asyncio.Future[Revision]
    loop: asyncio.AbstractEventLoop


Outcome: TypeAlias = Revision | StoreError


class Writer:
    """Takes jobs from any event loop, and settles each on its own."""

    def __init__(self, path: Path, written: Callable[[], None]) -> None:
        """Start the thread; `written` is called on the loop of a job whenever that was written."""
        self._path = path
        self._written = written
        self._codec = Codec()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        with store_errors(path):
            self._connection = connect(path, read_only=False)
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a commit."""
        self._jobs.put(job)

    def stop(self) -> None:
        """Write what is queued, then end the thread; blocks until it has."""
        self._jobs.put(None)
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while (first := self._jobs.get()) is not None:
            jobs, last = self._gather(first)
            outcomes = self._outcomes(jobs)
            for job, outcome in zip(jobs, outcomes, strict=True):
                self._tell(job, outcome)
            if last:
                return

    def _gather(self, first: Job) -> tuple[list[Job], bool]:
        """Return the jobs that wait now, and whether they are the last ones."""
        jobs = [first]
        while len(jobs) < COMMITS_PER_TRANSACTION:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
        return jobs, False

    def _outcomes(self, jobs: Sequence[Job]) -> Sequence[Outcome]:
        try:
            with store_errors(self._path):
                return self._transaction(jobs)
        except StoreError as error:
            return [error] * len(jobs)
        except Exception as error:  # noqa: BLE001  # a thread that died would leave every commit waiting for ever
            return [StoreUnavailableError(f"database `{self._path}` was not written: {error!r}")] * len(jobs)

    def _transaction(self, jobs: Sequence[Job]) -> Sequence[Outcome]:
        connection = self._connection
        if connection.in_transaction:
            # The last rollback failed, e.g. for want of memory.
            connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        try:
            outcomes = self._write(jobs)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return outcomes

    def _write(self, jobs: Sequence[Job]) -> Sequence[Outcome]:
        newest, latest = head(self._connection, self._path)
        revision = newest
        outcomes: list[Outcome] = []
        for job in jobs:
            try:
                self._write_one(job, revision + 1)
            except (AlreadyCommittedError, ConflictError, CommitRefusedError, StoreUnusableError) as error:
                outcomes.append(error)
                continue
            revision, latest = revision + 1, Instant(max(latest, job.origin.at))
            outcomes.append(revision)
        if revision != newest:
            self._connection.execute("UPDATE head SET revision = ?, latest_time = ?", (revision, latest))
        return outcomes

    def _write_one(self, job: Job, revision: Revision) -> None:
        # INVARIANT: nothing is written before everything that can refuse this commit has been asked, because the
        # transaction goes on with the next one.
        check_commit(job.changes, job.origin)
        self._check_key(job.origin)
        for ref, expected in job.expected.items():
            self._check_expected(ref, expected)
        changes = stamped(job.changes, revision, job.origin)
        try:
            encoded = [(c, b"" if isinstance(c, Drop) else self._codec.encode_fact(c.fact)) for c in changes]
            record = self._codec.join_changes(encoded)
        except CodecError as error:
            raise CommitRefusedError(str(error)) from error
        for change, data in encoded:
            self._write_change(change, data, revision)
        sqlite_log.append(self._connection, revision, job.origin, record)

    def _check_key(self, origin: Origin) -> None:
        try:
            earlier = sqlite_log.committed(self._connection, self._codec, origin.actor, origin.key)
        except CodecError as error:
            message = f"database `{self._path}` is corrupt: {error}; restore it from a backup"
            raise StoreUnusableError(message) from error
        if earlier is not None:
            raise AlreadyCommittedError(earlier)

    def _check_expected(self, ref: FactRef, expected: Revision) -> None:
        row = self._connection.execute("SELECT revision FROM facts WHERE kind = ? AND id = ?", ref).fetchone()
        actual = row[0] if row is not None else 0
        if actual != expected:
            raise ConflictError(ref, expected, actual)

    def _write_change(self, change: Change, data: bytes, revision: Revision) -> None:
        kind, id_ = ref_of(change)
        if isinstance(change, Drop):
            self._connection.execute("DELETE FROM facts WHERE kind = ? AND id = ?", (kind, id_))
        else:
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", (kind, id_, revision, data))

    def _tell(self, job: Job, outcome: Outcome) -> None:
        try:
            job.loop.call_soon_threadsafe(self._settle, job.done, outcome)
        except RuntimeError:
            # The loop that asked is closed, so nobody waits; what was written stays written.
            return

    def _settle(self, done: asyncio.Future[Revision], outcome: Outcome) -> None:
        if not isinstance(outcome, StoreError):
            self._written()
        if done.done():
            return
        if isinstance(outcome, StoreError):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)
