"""The index on disk: where each record stands, and what it is about.

Rule 1: records and the place in the journal up to which they are in the file are written in one transaction.
Rule 2: a topic (one session's records of one outcome, say) is written once, and a record names it by number; conditions
are met by topics, of which there are few, and not by records, of which there are many.
Rule 3: decision ids are random, so they are kept in stretches of records: what is written lies close together.
Used by one thread at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, TypeVar

from msgspec import Struct
from msgspec.structs import astuple

from pdp.core.model import Instant
from pdp.evidence.derived_file import create, is_of, only_row, open_derived, refuse_wrong_tables
from pdp.evidence.index.query import HIGHEST, Place, Query
from pdp.evidence.index.topics import Topic

FILE = "index.db"
"""In the journal's directory."""

_VERSION = 2
_SCHEMA = """
    BEGIN;
    CREATE TABLE indexed (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        sequence INTEGER NOT NULL,
        segment INTEGER NOT NULL, -- where the next line stands: its first sequence
        offset INTEGER NOT NULL,
        hash TEXT NOT NULL -- of the last line, which tells its journal from others
    ) STRICT;
    CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE topic (
        id INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL, outcome INTEGER NOT NULL, code INTEGER NOT NULL,
        identity INTEGER NOT NULL, owner INTEGER NOT NULL, session INTEGER NOT NULL,
        task INTEGER NOT NULL, approval INTEGER NOT NULL, ticket INTEGER NOT NULL,
        UNIQUE (session, identity, task, approval, ticket, owner, code, kind, outcome)
    ) STRICT;
    CREATE INDEX topic_kind ON topic (kind);
    CREATE INDEX topic_outcome ON topic (outcome);
    CREATE INDEX topic_code ON topic (code);
    CREATE INDEX topic_identity ON topic (identity);
    CREATE INDEX topic_owner ON topic (owner);
    CREATE INDEX topic_task ON topic (task);
    CREATE INDEX topic_approval ON topic (approval);
    CREATE INDEX topic_ticket ON topic (ticket);
    CREATE TABLE record (
        sequence INTEGER NOT NULL,
        topic INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        length INTEGER NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (sequence, topic)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX record_topic ON record (topic);
    CREATE TABLE decision (
        stretch INTEGER NOT NULL,
        digest INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        PRIMARY KEY (stretch, digest, sequence)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE period ( -- of neighbouring records, whose times may be out of order
        first INTEGER PRIMARY KEY,
        last INTEGER NOT NULL,
        earliest INTEGER NOT NULL,
        latest INTEGER NOT NULL
    ) STRICT;
    INSERT INTO word VALUES (0, '');
    INSERT INTO indexed VALUES (1, 0, 0, 0, '');
    COMMIT;
"""
_STRETCH = 1 << 16
"""Records of one stretch: its ids take about two megabytes."""
_DIGEST_BYTES = 6
_MOST_REMEMBERED = 50_000
"""Words, and topics, that need not be looked up in the file."""
_FEW = 5_000
"""Records of the topics asked for that are gathered and sorted rather than come by in order."""
_NEARBY = 100_000
"""Records that are come by in order before the others are gathered."""
_COLUMNS = ("session", "task", "approval", "ticket", "identity", "code", "owner", "kind", "outcome")
"""Of a topic, the most telling first: its index is used."""
_LATEST = HIGHEST - 1
"""Times that SQLite has no room for, in the year 2262 and later, are one; it is before the end of all times."""
_SET_POSITION = "UPDATE indexed SET sequence = ?, segment = ?, offset = ?, hash = ?"


_K = TypeVar("_K", str, Topic)


class Indexed(Struct, frozen=True):
    """A record as the index takes it."""

    place: Place
    at: Instant
    decision_id: str
    topics: Iterable[Topic]


class Position(NamedTuple):
    """Up to where the journal is in the file."""

    sequence: int
    segment: int
    """The segment of the next line, by its first sequence."""
    offset: int
    hash: str
    """Of the line before; empty: there is none."""


class IndexFile:
    """An open file. Every method may raise sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use a connection to a file with the schema."""
        self._connection = connection
        self._words: dict[str, int] = {"": 0}
        self._topics: dict[Topic, int] = {}
        self.position = Position(*only_row(connection, "SELECT sequence, segment, offset, hash FROM indexed"))

    @classmethod
    def open(cls, path: Path) -> IndexFile:
        """Open the file, made anew if it is missing or of another version."""
        return cls(open_derived(path, _SCHEMA, _VERSION))

    @classmethod
    def read_only(cls, path: Path) -> IndexFile:
        """Open a file that another process may write to; raise sqlite3.Error if there is none of this version."""
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        try:
            _refuse_other_versions(connection)
            refuse_wrong_tables(connection, _SCHEMA)
            return cls(connection)
        except BaseException:
            connection.close()
            raise

    @classmethod
    def temporary(cls, position: Position) -> IndexFile:
        """Return an empty one that goes on from a position, and is gone when it is closed."""
        connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        create(connection, _SCHEMA, _VERSION)
        connection.execute(_SET_POSITION, position)
        return cls(connection)

    def add(self, records: Sequence[Indexed], position: Position) -> None:
        """Take records; with them all up to the position are in the file."""
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            self._add(records)
            run(_SET_POSITION, position)
            run("COMMIT")
        except BaseException:
            self._connection.rollback()
            self._words, self._topics = {"": 0}, {}
            raise
        self.position = position

    def forget_before(self, sequence: int) -> None:
        """Drop the records of segments that are gone."""
        run = self._connection.execute
        run("DELETE FROM record WHERE sequence < ?", (sequence,))
        run("DELETE FROM decision WHERE stretch < ?", (sequence // _STRETCH,))
        run("DELETE FROM period WHERE last < ?", (sequence,))

    def first(self) -> int | None:
        """Return the first record in the file; None: there is none."""
        found: int | None = self._connection.execute("SELECT min(sequence) FROM record").fetchone()[0]
        return found

    def find(self, query: Query, low: int, high: int, most: int) -> list[Place]:
        """Return the places of at most so many of the records asked for, between two sequences, both included.

        For a decision id others may be among them, by the odd chance that their digests are the same.
        """
        bounds = self._within(query, low, high)
        conditions, values = self._conditions(query)
        if bounds is None or conditions is None:
            return []
        if query.decision_id:
            return self._of_decision(query, bounds, conditions, values)
        search = _Search(query, conditions, values, most)
        if not conditions:
            return self._places(search.in_order(*bounds))
        if not self._are_many(search, bounds):
            return self._places(search.gathered(*bounds))
        return self._nearby_first(search, bounds, query)

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    def _add(self, records: Sequence[Indexed]) -> None:
        rows: list[tuple[int, ...]] = []
        decisions: list[tuple[int, ...]] = []
        times: list[int] = []
        for record in records:
            place, at = record.place, _storable(record.at)
            for topic in record.topics:
                number = self._topics.get(topic) or self._topic(topic)
                rows.append((place.sequence, number, place.offset, place.length, at))
            if record.decision_id:
                decisions.append((place.sequence // _STRETCH, _digest(record.decision_id), place.sequence))
            times.append(at)
        self._connection.executemany("INSERT OR IGNORE INTO record VALUES (?, ?, ?, ?, ?)", rows)
        self._connection.executemany("INSERT OR IGNORE INTO decision VALUES (?, ?, ?)", sorted(decisions))
        if records:
            period = (records[0].place.sequence, records[-1].place.sequence, min(times), max(times))
            self._connection.execute("INSERT OR REPLACE INTO period VALUES (?, ?, ?, ?)", period)

    def _topic(self, topic: Topic) -> int:
        """Return the number of a topic that is not remembered."""
        words = tuple(self._word(text) for text in astuple(topic))
        where = " AND ".join(f"{name} = ?" for name in Topic.__struct_fields__)
        run = self._connection.execute
        row = run(f"SELECT id FROM topic WHERE {where}", words).fetchone()  # noqa: S608  # names of columns
        number = row[0] if row else _new(run("INSERT INTO topic VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", words))
        _remember(self._topics, topic, number)
        return number

    def _word(self, text: str) -> int:
        known = self._words.get(text)
        if known is None:
            known = self._known_word(text)
            if known is None:
                known = _new(self._connection.execute("INSERT INTO word VALUES (NULL, ?)", (text,)))
            _remember(self._words, text, known)
        return known

    def _known_word(self, text: str) -> int | None:
        row = self._connection.execute("SELECT id FROM word WHERE text = ?", (text,)).fetchone()
        return None if row is None else int(row[0])

    def _within(self, query: Query, low: int, high: int) -> tuple[int, int] | None:
        """Return between which sequences there are records of the time asked for, at most; None: nowhere."""
        low, high = max(low, self.first() or 0), min(high, self.position.sequence)
        if query.since is None and query.until is None:
            return low, high
        first, last = self._connection.execute(
            "SELECT min(first), max(last) FROM period WHERE latest >= ? AND earliest < ?", _times(query)
        ).fetchone()
        return None if first is None else (max(low, first), min(high, last))

    def _conditions(self, query: Query) -> tuple[str | None, list[int]]:
        """Return what a topic must meet, and with which values; None: no topic does."""
        asked = [(name, getattr(query, name)) for name in _COLUMNS if getattr(query, name)]
        values = [self._known_word(str(text)) for _, text in asked]
        # A `+` keeps SQLite from another column's index than that of the most telling.
        conditions = [f"{'+' if number else ''}topic.{name} = ?" for number, (name, _) in enumerate(asked)]
        known = [value for value in values if value is not None]
        return (" AND ".join(conditions) if len(known) == len(values) else None), known

    def _are_many(self, search: _Search, bounds: tuple[int, int]) -> bool:
        return bool(self._connection.execute(*search.counted(*bounds)).fetchone()[0] > _FEW)

    def _nearby_first(self, search: _Search, bounds: tuple[int, int], query: Query) -> list[Place]:
        """Look at the records next by in order; gather the others if those were not enough."""
        low, high = bounds
        if query.oldest_first:
            near, far = (low, min(high, low + _NEARBY)), (low + _NEARBY + 1, high)
        else:
            near, far = (max(low, high - _NEARBY), high), (low, high - _NEARBY - 1)
        found = self._places(search.in_order(*near))
        if len(found) < search.most and far[0] <= far[1]:
            found += self._places(search.gathered(*far))
        return found[: search.most]

    def _of_decision(
        self, query: Query, bounds: tuple[int, int], conditions: str, values: Sequence[int]
    ) -> list[Place]:
        stretches = ", ".join(map(str, range(self.position.sequence // _STRETCH + 1)))
        digests = f"SELECT sequence FROM decision WHERE stretch IN ({stretches}) AND digest = ?"  # noqa: S608  # numbers
        found = self._connection.execute(digests, (_digest(query.decision_id),)).fetchall()
        search = _Search(query, conditions, values, 1)
        return [
            place
            for (sequence,) in found
            if bounds[0] <= sequence <= bounds[1]
            for place in self._places(search.in_order(sequence, sequence))
        ]

    def _places(self, statement: tuple[str, Sequence[object]]) -> list[Place]:
        return [Place(*row) for row in self._connection.execute(*statement)]


class _Search:
    """The statements that look for records; their texts are of names of columns, never of what is asked."""

    def __init__(self, query: Query, conditions: str, values: Sequence[int], most: int) -> None:
        self.most = most
        self._where = f"{conditions} AND " if conditions else ""
        self._values = values
        self._time = () if query.since is None and query.until is None else _times(query)
        self._order = "ASC" if query.oldest_first else "DESC"

    def counted(self, low: int, high: int) -> tuple[str, Sequence[object]]:
        """Count the records, as far as a few."""
        statement, values = self._statement("1", _BY_TOPIC, low, high)
        return f"SELECT count(*) FROM ({statement} LIMIT {_FEW + 1})", values  # noqa: S608

    def gathered(self, low: int, high: int) -> tuple[str, Sequence[object]]:
        """Go through the records of the topics, and sort what is found."""
        return self._ordered(_BY_TOPIC, low, high)

    def in_order(self, low: int, high: int) -> tuple[str, Sequence[object]]:
        """Go through all records in order, until there are enough."""
        return self._ordered(_BY_RECORD if self._where else "record", low, high)

    def _ordered(self, tables: str, low: int, high: int) -> tuple[str, Sequence[object]]:
        statement, values = self._statement("record.sequence, record.offset, record.length", tables, low, high)
        return f"{statement} GROUP BY record.sequence ORDER BY record.sequence {self._order} LIMIT {self.most}", values

    def _statement(self, columns: str, tables: str, low: int, high: int) -> tuple[str, Sequence[object]]:
        within = "record.sequence BETWEEN ? AND ?" + (" AND record.at >= ? AND record.at < ?" if self._time else "")
        statement = f"SELECT {columns} FROM {tables} WHERE {self._where}{within}"  # noqa: S608
        return statement, (*self._values, low, high, *self._time)


_BY_TOPIC = "topic CROSS JOIN record INDEXED BY record_topic ON record.topic = topic.id"
_BY_RECORD = "record CROSS JOIN topic ON topic.id = record.topic"


def _refuse_other_versions(connection: sqlite3.Connection) -> None:
    if not is_of(connection, _VERSION):
        message = "the index is of another version"
        raise sqlite3.DatabaseError(message)


def _times(query: Query) -> tuple[int, int]:
    return (
        0 if query.since is None else _storable(query.since),
        HIGHEST if query.until is None or query.until > _LATEST else _storable(query.until),
    )


def _storable(at: Instant) -> int:
    return min(max(at, 0), _LATEST)


def _digest(decision_id: str) -> int:
    return int.from_bytes(blake2b(decision_id.encode(), digest_size=_DIGEST_BYTES).digest(), "big")


def _new(inserted: sqlite3.Cursor) -> int:
    return int(inserted.lastrowid or 0)


def _remember(known: dict[_K, int], key: _K, number: int) -> None:
    if len(known) >= _MOST_REMEMBERED:
        known.clear()
    known[key] = number
