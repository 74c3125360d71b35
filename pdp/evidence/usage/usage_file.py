"""The usage book on disk: one SQLite file of what was used, beside the journal that it is derived from.

Rule 1: uses and the sequence of the last record they come from are written in one transaction, so that no record is
ever counted twice or left out.
Rule 2: derived: a file of another version is made anew, and so must be one that SQLite finds damaged.
Used by one thread at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from pdp.core.model import FactKind, Instant
from pdp.evidence.derived_file import only_row, open_derived, write_in_turns
from pdp.evidence.record import Occasion
from pdp.evidence.usage.usage_summary import UsageSummary, UseCount

MOST_TOLD_APART = 1000
"""Pairs of action and resource that are told apart of one session, approval or entitlement."""

_VERSION = 2
_SCHEMA = """
    BEGIN;
    CREATE TABLE folded (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        sequence INTEGER NOT NULL,
        since INTEGER
    ) STRICT;
    CREATE TABLE used (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        count INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        apart INTEGER NOT NULL, -- pairs told apart, at most
        truncated INTEGER NOT NULL,
        PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX crowded ON used (kind, id) WHERE apart > 1000;
    CREATE TABLE uses (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        action TEXT NOT NULL,
        resource TEXT NOT NULL,
        count INTEGER NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (kind, id, action, resource)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO folded VALUES (1, 0, NULL);
    COMMIT;
"""
_AT_ONCE = 500
"""Ids asked for in one statement."""
_ADD_TOTAL = """
    INSERT INTO used VALUES (?, ?, ?, ?, ?, ?, 0) ON CONFLICT DO UPDATE SET count = count + excluded.count,
    first = min(first, excluded.first), last = max(last, excluded.last), apart = apart + excluded.apart
"""
_ADD_USE = """
    INSERT INTO uses VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET count = count + excluded.count, last = max(last, excluded.last)
"""
_CROWDED = f"SELECT kind, id FROM used WHERE apart > {MOST_TOLD_APART}"  # noqa: S608  # a constant, for the index


class Tally(Struct, gc=False):
    """How often, and from when to when."""

    count: int
    first: Instant
    last: Instant

    def add(self, other: Tally) -> None:
        """Count what the other has counted."""
        self.count += other.count
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)


Ref: TypeAlias = tuple[FactKind, str]
Pair: TypeAlias = tuple[str, str]
"""Action and resource."""


class UsageFile:
    """An open file. Every method may raise sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        """Open the file, made anew if it is missing or of another version."""
        self._connection = open_derived(path, _SCHEMA, _VERSION)
        row = only_row(self._connection, "SELECT sequence, since FROM folded")
        self.folded: int = row[0]
        """The last record of the journal whose uses are in the file."""
        self.since: Instant | None = row[1]
        """When the first record was made; None: there is none yet."""

    def add(self, tallies: Mapping[Occasion, Tally], sequence: int, since: Instant | None) -> None:
        """Count uses; with them all records up to the sequence are in the file."""
        since = since if self.since is None else self.since
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            self._add(_by_ref(tallies))
            run("UPDATE folded SET sequence = ?, since = ?", (sequence, since))
            run("COMMIT")
        except BaseException:
            self._connection.rollback()
            raise
        self.folded, self.since = sequence, since

    def read(self, kind: FactKind, ids: Sequence[str]) -> dict[str, UsageSummary]:
        """Return the uses of those ids that have any."""
        found: dict[str, UsageSummary] = {}
        for start in range(0, len(ids), _AT_ONCE):
            found |= self._read(kind, ids[start : start + _AT_ONCE])
        return found

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    def _add(self, by_ref: Mapping[Ref, Mapping[Pair, Tally]]) -> None:
        """Add in few statements: one by one they cost decisions on the other threads of this process their time."""
        write_in_turns(
            self._connection, _ADD_TOTAL, [(*ref, *_total(pairs.values()), len(pairs)) for ref, pairs in by_ref.items()]
        )
        crowded = {(FactKind(kind), id_) for kind, id_ in self._connection.execute(_CROWDED)} & by_ref.keys()
        told_apart = [
            (*ref, *pair, tally.count, tally.last)
            for ref, pairs in by_ref.items()
            if ref not in crowded
            for pair, tally in pairs.items()
        ]
        write_in_turns(self._connection, _ADD_USE, told_apart)
        for ref in crowded:
            self._add_to_crowded(ref, by_ref[ref])

    def _add_to_crowded(self, ref: Ref, pairs: Mapping[Pair, Tally]) -> None:
        """Add the uses of what may have more pairs than are told apart: its total knows only a bound of them."""
        run = self._connection.execute
        apart: int = run("SELECT count(*) FROM uses WHERE kind = ? AND id = ?", ref).fetchone()[0]
        truncated = False
        for pair, tally in pairs.items():
            known = run("SELECT 1 FROM uses WHERE kind = ? AND id = ? AND action = ? AND resource = ?", (*ref, *pair))
            if known.fetchone() is None:
                if apart == MOST_TOLD_APART:
                    truncated = True
                    continue
                apart += 1
            run(_ADD_USE, (*ref, *pair, tally.count, tally.last))
        run("UPDATE used SET apart = ?, truncated = truncated OR ? WHERE kind = ? AND id = ?", (apart, truncated, *ref))

    def _read(self, kind: FactKind, ids: Sequence[str]) -> dict[str, UsageSummary]:
        marks = ", ".join("?" * len(ids))
        where = f"WHERE kind = ? AND id IN ({marks})"
        run, asked = self._connection.execute, (kind.value, *ids)
        uses: dict[str, list[UseCount]] = defaultdict(list)
        ordered = "ORDER BY id, count DESC, action, resource"
        for id_, *use in run(f"SELECT id, action, resource, count, last FROM uses {where} {ordered}", asked):  # noqa: S608  # marks
            uses[id_].append(UseCount(*use))
        totals = run(f"SELECT id, count, first, last, truncated FROM used {where}", asked)  # noqa: S608  # marks
        return {
            id_: UsageSummary(count, first, last, tuple(uses[id_]), bool(truncated))
            for id_, count, first, last, truncated in totals
        }


def _by_ref(tallies: Mapping[Occasion, Tally]) -> Mapping[Ref, Mapping[Pair, Tally]]:
    """Return the uses of each session, approval and entitlement; each occasion used several of them."""
    by_ref: defaultdict[Ref, dict[Pair, Tally]] = defaultdict(dict)
    for occasion, tally in tallies.items():
        pair = (occasion.action, occasion.resource)
        for ref in _refs(occasion):
            total = by_ref[ref].setdefault(pair, Tally(0, tally.first, tally.last))
            total.add(tally)
    return by_ref


def _refs(occasion: Occasion) -> Iterable[Ref]:
    yield from ((FactKind.SESSION, id_) for id_ in occasion.sessions)
    yield from ((FactKind.APPROVAL, id_) for id_ in occasion.approvals)
    yield from ((FactKind.ENTITLEMENT, id_) for id_ in occasion.entitlements)


def _total(tallies: Collection[Tally]) -> tuple[int, Instant, Instant]:
    """Return count, first and last of several."""
    return sum(one.count for one in tallies), min(one.first for one in tallies), max(one.last for one in tallies)
