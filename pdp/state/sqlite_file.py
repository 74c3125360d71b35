"""The SQLite file: who may open it, what is in it, and which errors mean what.

Rule 1: one process at a time writes, held by a lock beside the file that the kernel lets go of when the process ends.
Rule 2: a file that is corrupt, foreign or of a newer version is refused and left as it is.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pdp.core.model import Instant, Revision
from pdp.state.store import StoreError, StoreUnavailableError, StoreUnusableError

APPLICATION_ID = 0x73706470
"""`spdp`; tells our files from other SQLite databases."""

MIGRATIONS = (
    """
    CREATE TABLE head (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        revision INTEGER NOT NULL,
        latest_time INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE log (
        revision INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL,
        reason TEXT NOT NULL,
        traceparent TEXT NOT NULL,
        changes BLOB NOT NULL
    ) STRICT;
    CREATE TABLE facts (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        revision INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO head VALUES (1, 0, 0);
    """,
    """
    ALTER TABLE log ADD COLUMN key TEXT NOT NULL DEFAULT '';
    ALTER TABLE log ADD COLUMN digest TEXT NOT NULL DEFAULT '';
    CREATE UNIQUE INDEX log_by_key ON log (actor, key) WHERE key != '';
    """,
)
"""The n-th script takes a file of schema version n to version n + 1."""

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
_PRIMARY_CODE = 0xFF


class FileLock:
    """Excludes other processes, and other stores of this one, from a file."""

    def __init__(self, path: Path) -> None:
        """Take the lock beside the file; raise StoreUnusableError, naming the holder, if it is taken."""
        self._descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            message = f"database `{path}` is in use by process {holder}"
            raise StoreUnusableError(message) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others in. The lock file stays: removing it would let two processes lock two files of one name."""
        os.close(self._descriptor)


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and the file system into those of the port."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise _store_error(error, path) from error


def _store_error(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & _PRIMARY_CODE in _CORRUPT:
        return StoreUnusableError(f"database `{path}` is corrupt: {error}; restore it from a backup")
    return StoreUnavailableError(f"database `{path}` is not available: {error}")


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Return a connection without implicit transactions; each commit on it survives a loss of power."""
    mode = "ro" if read_only else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=5.0
    )
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def prepare(path: Path) -> None:
    """Create the file, or check and migrate the one there; raise StoreError and change nothing if it is not ours."""
    version = _checked_version(path) if path.exists() and path.stat().st_size else 0
    if version == len(MIGRATIONS):
        return
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with closing(connect(path, read_only=False)) as connection:
        _migrate(connection, version)
    _sync_directory(path.parent)


def _checked_version(path: Path) -> int:
    """Return the schema version of a file; read only, for closing a writer would fold the write-ahead log into it."""
    with closing(connect(path, read_only=True)) as connection:
        version = _version(connection, path)
        if version:
            _check(connection, path)
        return version


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema version of our file, 0 for an empty one."""
    [version] = connection.execute("PRAGMA user_version").fetchone()
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [tables] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        message = f"`{path}` is a database of another program"
        raise StoreUnusableError(message)
    if version > len(MIGRATIONS):
        message = (
            f"database `{path}` has schema version {version}, this program knows up to {len(MIGRATIONS)}: upgrade it"
        )
        raise StoreUnusableError(message)
    return int(version)


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    script = "".join(MIGRATIONS[version:])
    connection.executescript(
        f"BEGIN IMMEDIATE;{script}PRAGMA application_id = {APPLICATION_ID};"
        f"PRAGMA user_version = {len(MIGRATIONS)};COMMIT;"
    )


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file whose parts contradict each other."""
    [damage] = connection.execute("PRAGMA quick_check(1)").fetchone()
    [newest] = connection.execute("SELECT coalesce(max(revision), 0) FROM log").fetchone()
    [length] = connection.execute("SELECT count(*) FROM log").fetchone()
    revision, _ = head(connection, path)
    if damage != "ok" or not revision == newest == length:
        reason = damage if damage != "ok" else f"its log has {length} commits up to {newest}, not {revision}"
        message = f"database `{path}` is corrupt: {reason}; restore it from a backup"
        raise StoreUnusableError(message)


def head(connection: sqlite3.Connection, path: Path) -> tuple[Revision, Instant]:
    """Return the newest revision and the latest time of a commit."""
    row = connection.execute("SELECT revision, latest_time FROM head").fetchone()
    if row is None:
        message = f"database `{path}` is corrupt: it has no head; restore it from a backup"
        raise StoreUnusableError(message)
    return row[0], Instant(row[1])


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
