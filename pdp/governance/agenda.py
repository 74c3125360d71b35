"""What is to be looked at when, in the order of time.

A million entries are kept as bare ids, a list for each minute (8 bytes each); only the minute that comes next is
sorted finely. An id may stand at several places: whoever takes it out looks at the fact again.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from msgspec import Struct

from pdp.core.model import FactKind, Instant
from pdp.core.wording import SECOND

_MINUTE = 60 * SECOND


class Entry(Struct, frozen=True, order=True, gc=False):
    """A fact to be looked at, and when; out of the garbage collector's sight, for there may be many."""

    at: Instant
    kind: FactKind
    id: str


class Minute(NamedTuple):
    """What is to be looked at within one minute, in no order."""

    start: Instant
    ids: dict[FactKind, list[str]]

    def refs(self) -> Iterator[tuple[FactKind, str]]:
        """Yield each kind and id."""
        for kind, ids in self.ids.items():
            for id_ in ids:
                yield kind, id_


class Agenda:
    """Entries by time: those of minutes that were opened one by one, the others by the minute."""

    def __init__(self) -> None:
        self._far: dict[int, dict[FactKind, list[str]]] = {}
        self._minutes: list[int] = []
        self._opened = -1
        self._near: list[Entry] = []

    def file(self, entry: Entry) -> None:
        """Keep an entry."""
        minute = entry.at // _MINUTE
        if minute <= self._opened:
            heappush(self._near, entry)
            return
        kinds = self._far.get(minute)
        if kinds is None:
            kinds = self._far[minute] = {}
            heappush(self._minutes, minute)
        kinds.setdefault(entry.kind, []).append(entry.id)

    def open_minute(self, now: Instant) -> Minute | None:
        """Take out the earliest minute that has begun, or is the next to begin; its entries must be filed anew."""
        if not self._minutes or self._minutes[0] > now // _MINUTE + 1:
            return None
        self._opened = heappop(self._minutes)
        return Minute(Instant(self._opened * _MINUTE), self._far.pop(self._opened))

    def due(self, now: Instant) -> Entry | None:
        """Take out the earliest entry that is due, if there is one; equal ones are taken out as one.

        Right only when no minute is left to open.
        """
        if not self._near or self._near[0].at > now:
            return None
        entry = heappop(self._near)
        while self._near and self._near[0] == entry:
            heappop(self._near)
        return entry
