"""SQLite files beside a journal that are derived from it: what is lost or damaged is made anew from the journal."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

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
        if not is_of(connection, version):
            connection.close()
            remove(path)
            connection = _connect(path)
            create(connection, schema, version)
        refuse_wrong_tables(connection, schema)
    except BaseException:
        connection.close()
        raise
    return connection


def is_of(connection: sqlite3.Connection, version: int) -> bool:
    """Whether a file is of this version."""
    return bool(connection.execute("PRAGMA user_version").fetchone() == (version,))


def refuse_wrong_tables(connection: sqlite3.Connection, schema: str) -> None:
    """Raise an error that `is_damaged` unless a file has all that the schema makes, as it makes it."""
    wrong = _tables_of(schema) - _tables_in(connection)
    if wrong:
        message = f"`{min(name for name, _ in wrong)}` is missing or not what it was"
        raise damage(message)


def only_row(connection: sqlite3.Connection, statement: str) -> tuple[Any, ...]:
    """Return the row that a file always has; raise an error that `is_damaged` if it has none."""
    row: tuple[Any, ...] | None = connection.execute(statement).fetchone()
    if row is None:
        message = "a row that is always there is missing"
        raise damage(message)
    return row


def damage(message: str) -> sqlite3.DatabaseError:
    """Return an error that `is_damaged`, for what SQLite itself does not see."""
    error = sqlite3.DatabaseError(message)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


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


@cache
def _tables_of(schema: str) -> frozenset[tuple[str, str | None]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema)
        return _tables_in(connection)


def _tables_in(connection: sqlite3.Connection) -> frozenset[tuple[str, str | None]]:
    """Return tables and indexes by name, with the statements that made them."""
    return frozenset(connection.execute("SELECT name, sql FROM sqlite_schema"))


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
