"""The change log in the SQLite file: how a commit is written, found and read back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TypeAlias

from pdp.core.model import Instant, Revision
from pdp.state.codec import Codec
from pdp.state.store import Commit, Origin

_Row: TypeAlias = tuple[Revision, Instant, str, str, str, bytes, str, str]
_SELECT = "SELECT revision, at, actor, reason, traceparent, changes, key, digest FROM log"


def append(connection: sqlite3.Connection, revision: Revision, origin: Origin, changes: bytes) -> None:
    """Write one commit; its changes are encoded already."""
    who = (origin.actor, origin.reason, origin.traceparent)
    row: _Row = (revision, origin.at, *who, changes, origin.key, origin.digest)
    connection.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)


def history(connection: sqlite3.Connection, codec: Codec, after: Revision, limit: int) -> Sequence[Commit]:
    """Return at most `limit` commits after a revision; raise CodecError if one cannot be read."""
    rows = connection.execute(_SELECT + " WHERE revision > ? ORDER BY revision LIMIT ?", (after, limit))
    return [_commit(row, codec) for row in rows]


def committed(connection: sqlite3.Connection, codec: Codec, actor: str, key: str) -> Commit | None:
    """Return what an actor has committed under a key, or None; raise CodecError if it cannot be read."""
    # The last term repeats the condition of the index, without which it would not be used.
    row = connection.execute(_SELECT + " WHERE actor = ? AND key = ? AND key != ''", (actor, key)).fetchone()
    return None if row is None else _commit(row, codec)


def _commit(row: _Row, codec: Codec) -> Commit:
    revision, at, actor, reason, traceparent, changes, key, digest = row
    return Commit(revision, codec.decode_changes(changes), Origin(actor, reason, traceparent, at, key, digest))
