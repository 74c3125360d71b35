"""Reading the change log of a SQLite file beside the process that writes it, or of a copy of the file.

Rule 1: nothing is locked or written: a running sidecar does not notice, and a copy on a read-only disk will do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pdp.core.model import Revision
from pdp.state import sqlite_log
from pdp.state.codec import Codec, CodecError
from pdp.state.sqlite_file import connect, store_errors
from pdp.state.store import Commit, StoreUnavailableError, StoreUnusableError

_COMMITS_PER_READ = 256
"""Each read is a transaction of its own, so that a long walk does not keep the writer's log from being folded."""


class SqliteHistory:
    """The change log of one file, for one thread at a time. A context manager; closed, it is of no more use."""

    def __init__(self, path: Path) -> None:
        """Open the file for reading; raise StoreUnavailableError if it cannot be."""
        self._path = path
        self._codec = Codec()
        with store_errors(path):
            self._connection = _connect(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def commits(self, after: Revision) -> Iterator[Commit]:
        """Yield every commit after a revision, in order, up to the newest there is.

        Raises StoreUnavailableError if the file cannot be read, StoreUnusableError if it is corrupt.
        """
        while page := self._page(after):
            yield from page
            after = page[-1].revision

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _page(self, after: Revision) -> list[Commit]:
        try:
            with store_errors(self._path):
                return list(sqlite_log.history(self._connection, self._codec, after, _COMMITS_PER_READ))
        except CodecError as error:
            message = f"database `{self._path}` is corrupt: {error}; restore it from a backup"
            raise StoreUnusableError(message) from error


def _connect(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        message = f"there is no database `{path}`"
        raise StoreUnavailableError(message)
    connection = connect(path, read_only=True)
    try:
        connection.execute("SELECT revision FROM head").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        if path.with_name(path.name + "-wal").exists():
            raise
        # A file at rest on a disk that cannot be written: without a write-ahead log nothing is missing from it.
        return sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None)
    return connection
