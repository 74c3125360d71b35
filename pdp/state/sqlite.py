"""A store in one SQLite file: the embedded default, nothing to install.

Write-ahead log with `synchronous = FULL`: a commit that was acknowledged survives the loss of power. One thread
writes (see `sqlite_writer`), one reads; the event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pdp.core.model import AnyFact, Change, FactKind, Instant, Revision
from pdp.state import sqlite_log
from pdp.state.codec import Codec, CodecError
from pdp.state.following import Bell, follow_log
from pdp.state.sqlite_file import FileLock, connect, head, prepare, store_errors
from pdp.state.sqlite_writer import Job, Writer
from pdp.state.store import (
    NOTHING_EXPECTED,
    Commit,
    FactRef,
    Heartbeat,
    Loaded,
    Origin,
    Page,
    StoreUnavailableError,
    StoreUnusableError,
    page_token,
    ref_of_token,
)

_T = TypeVar("_T")


class SqliteStore:
    """The port over one file; made by `open`."""

    def __init__(self, path: Path, lock: FileLock, *, heartbeat_s: float) -> None:
        """Take over a file that is prepared and locked."""
        self._path = path
        self._lock = lock
        self._heartbeat_s = heartbeat_s
        self._codec = Codec()
        self._bell = Bell()
        with store_errors(path):
            self._connection = connect(path, read_only=True)
        self._reader = ThreadPoolExecutor(1, "sqlite-reader")
        self._writer = Writer(path, self._bell.ring)

    @classmethod
    async def open(cls, path: Path, *, heartbeat_s: float = 1.0) -> SqliteStore:
        """Open or create the file; followers hear a heartbeat every `heartbeat_s` seconds.

        Raises StoreUnusableError if the file is in use, corrupt, foreign or of a newer version, and leaves it as it
        is; StoreUnavailableError if it cannot be reached.
        """
        return await asyncio.to_thread(cls._open, path, heartbeat_s)

    @classmethod
    def _open(cls, path: Path, heartbeat_s: float) -> SqliteStore:
        with store_errors(path):
            path = path.resolve()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(path)
            try:
                prepare(path)
                return cls(path, lock, heartbeat_s=heartbeat_s)
            except BaseException:
                lock.release()
                raise

    async def load(self, slice_size: int = 1000) -> Loaded:
        """Return all facts as of now; a connection of its own holds that view until the slices are read."""
        view = await self._reading(self._view)
        revision, _ = await self._reading(lambda: head(view, self._path))
        return Loaded(revision, self._slices(view, slice_size))

    def follow(self, after: Revision) -> AsyncGenerator[Commit | Heartbeat, None]:
        """Yield every commit after a revision, and heartbeats."""
        return follow_log(self.history, self._bell, after, self._heartbeat_s)

    async def commit(
        self, changes: Sequence[Change], origin: Origin, *, expected: Mapping[FactRef, Revision] = NOTHING_EXPECTED
    ) -> Revision:
        """Apply all changes or none, and return their revision once it is on disk."""
        self._check_open()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Revision] = loop.create_future()
        self._writer.submit(Job(tuple(changes), origin, dict(expected), done, loop))
        return await done

    async def committed(self, actor: str, key: str) -> Commit | None:
        """Return what an actor has committed under a key, or None."""
        return await self._reading(lambda: sqlite_log.committed(self._connection, self._codec, actor, key))

    async def history(self, after: Revision, limit: int) -> Sequence[Commit]:
        """Return at most `limit` commits after a revision."""
        return await self._reading(lambda: sqlite_log.history(self._connection, self._codec, after, limit))

    async def read(self, kind: FactKind, id_: str) -> AnyFact | None:
        """Return one fact, or None."""
        facts = await self._reading(
            lambda: self._facts("SELECT kind, data FROM facts WHERE kind = ? AND id = ?", (kind, id_))
        )
        return facts[0] if facts else None

    async def page(self, kind: FactKind | None, after: str, limit: int) -> Page:
        """Return at most `limit` facts after a token, by kind and id."""
        last = ref_of_token(after) if after else ("", "")
        # One more than asked for tells whether there is a next page.
        rows = await self._reading(lambda: self._rows_after(kind, last, limit + 1))
        facts = await self._reading(lambda: self._decoded((row[0], row[2]) for row in rows[:limit]))
        token = page_token(FactRef(FactKind(rows[limit - 1][0]), rows[limit - 1][1])) if len(rows) > limit else ""
        return Page(facts, token)

    async def latest_time(self) -> Instant:
        """Return the latest time any commit happened at, 0 if none."""
        _, latest = await self._reading(lambda: head(self._connection, self._path))
        return latest

    async def close(self) -> None:
        """Write what is queued, then let go of threads, connections and the lock."""
        if self._bell.closed:
            return
        self._bell.close()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._reader.shutdown()
        self._connection.close()
        # Last, for only a connection that may write folds the write-ahead log into the file as it closes.
        self._writer.stop()
        self._lock.release()

    def _check_open(self) -> None:
        if self._bell.closed:
            message = "the store is closed"
            raise StoreUnavailableError(message)

    async def _reading(self, read: Callable[[], _T]) -> _T:
        """Run a read on the reader thread."""
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._guarded, read)

    def _guarded(self, read: Callable[[], _T]) -> _T:
        try:
            with store_errors(self._path):
                return read()
        except CodecError as error:
            message = f"database `{self._path}` is corrupt: {error}; restore it from a backup"
            raise StoreUnusableError(message) from error

    def _view(self) -> sqlite3.Connection:
        view = connect(self._path, read_only=True)
        view.execute("BEGIN")
        return view

    async def _slices(self, view: sqlite3.Connection, size: int) -> AsyncGenerator[Sequence[AnyFact], None]:
        try:
            rows = await self._reading(lambda: view.execute("SELECT kind, data FROM facts"))
            while facts := await self._reading(lambda: self._decoded(rows.fetchmany(size))):
                yield facts
        finally:
            self._let_go(view)

    def _let_go(self, view: sqlite3.Connection) -> None:
        """Close a view behind the read that may still be running on it."""
        try:
            self._reader.submit(view.close)
        except RuntimeError:
            # The reader has been shut down, so nothing is running.
            view.close()

    def _rows_after(self, kind: FactKind | None, last: tuple[str, str], limit: int) -> Sequence[tuple[str, str, bytes]]:
        narrowed = "" if kind is None else " AND kind = ?"
        rows = self._connection.execute(
            f"SELECT kind, id, data FROM facts WHERE (kind, id) > (?, ?){narrowed} ORDER BY kind, id LIMIT ?",  # noqa: S608
            (*last, *(() if kind is None else (kind,)), limit),
        )
        return rows.fetchall()

    def _facts(self, query: str, arguments: tuple[str, ...]) -> Sequence[AnyFact]:
        return self._decoded(self._connection.execute(query, arguments))

    def _decoded(self, rows: Iterable[tuple[str, bytes]]) -> Sequence[AnyFact]:
        return [self._codec.decode_fact(FactKind(kind), data) for kind, data in rows]
