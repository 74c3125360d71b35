"""SQLite files beside a journal that are derived from it: what is lost or damaged is made anew from the journal."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
_PRIMARY_CODE = 0xFF
_TURN = 200
"""Rows written before the threads that answer get their turn."""
_PAUSE_S = 0.0005


def open_derived(path: Path, schema: str, version: int) -> sqlite3.Connection:
    """Open a file that only its owner may read; it is made anew if it is missing or of another version.

    `schema` is a script of statements. May raise sqlite3.Error, also for a file that `is_damaged`, and OSError.
    """
    connection = _connect(path)
    try:
        if connection.execute("PRAGMA user_version").fetchone() != (version,):
            connection.close()
            remove(path)
            connection = _connect(path)
            create(connection, schema, version)
    except BaseException:
        connection.close()
        raise
    return connection


def create(connection: sqlite3.Connection, schema: str, version: int) -> None:
    """Make the tables of an empty database."""
    connection.executescript(schema)
    connection.execute(f"PRAGMA user_version = {version}")  # last: without it all is made anew


def write_in_turns(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Run a statement for each row, with pauses: all at once would cost decisions on other threads their time."""
    for start in range(0, len(rows), _TURN):
        connection.executemany(statement, rows[start : start + _TURN])
        time.sleep(_PAUSE_S)


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is no good, rather than that the disk is busy or full."""
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE in _DAMAGED


def remove(path: Path) -> None:
    """Delete a closed file and what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file; SQLite gives what it keeps beside it the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # what a power cut takes is read from the journal again
    except BaseException:
        connection.close()
        raise
    return connection
