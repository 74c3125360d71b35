"""A store in memory: for scenarios, tests and trying things out. What it keeps ends with the process."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, Mapping, Sequence

from pdp.core.model import KIND_OF, AnyFact, Change, Drop, FactKind, Instant, Revision
from pdp.state.following import Bell, follow_log
from pdp.state.store import (
    NOTHING_EXPECTED,
    AlreadyCommittedError,
    Commit,
    ConflictError,
    FactRef,
    Heartbeat,
    Loaded,
    Origin,
    Page,
    StoreUnavailableError,
    check_commit,
    page_token,
    ref_of,
    ref_of_token,
    stamped,
)


class MemoryStore:
    """Keeps what the port promises, durability aside."""

    def __init__(self, *, heartbeat_s: float = 1.0) -> None:
        """Start empty; followers hear a heartbeat every `heartbeat_s` seconds."""
        self._facts: dict[FactRef, AnyFact] = {}
        self._log: list[Commit] = []
        self._by_key: dict[tuple[str, str], Commit] = {}
        self._bell = Bell()
        self._heartbeat_s = heartbeat_s

    async def load(self, slice_size: int = 1000) -> Loaded:
        """Return all facts as of now."""
        self._check_open()
        return Loaded(len(self._log), _slices(tuple(self._facts.values()), slice_size))

    def follow(self, after: Revision) -> AsyncGenerator[Commit | Heartbeat, None]:
        """Yield every commit after a revision, and heartbeats."""
        return follow_log(self.history, self._bell, after, self._heartbeat_s)

    async def commit(
        self, changes: Sequence[Change], origin: Origin, *, expected: Mapping[FactRef, Revision] = NOTHING_EXPECTED
    ) -> Revision:
        """Apply all changes or none, and return their revision."""
        self._check_open()
        check_commit(changes, origin)
        if earlier := self._by_key.get((origin.actor, origin.key)):
            raise AlreadyCommittedError(earlier)
        for ref, revision in expected.items():
            self._check_expected(ref, revision)
        commit = Commit(len(self._log) + 1, stamped(changes, len(self._log) + 1, origin), origin)
        for change in commit.changes:
            if isinstance(change, Drop):
                self._facts.pop(ref_of(change), None)
            else:
                self._facts[ref_of(change)] = change.fact
        self._log.append(commit)
        if origin.key:
            self._by_key[origin.actor, origin.key] = commit
        self._bell.ring()
        return commit.revision

    async def committed(self, actor: str, key: str) -> Commit | None:
        """Return what an actor has committed under a key, or None."""
        self._check_open()
        return self._by_key.get((actor, key))

    async def history(self, after: Revision, limit: int) -> Sequence[Commit]:
        """Return at most `limit` commits after a revision."""
        self._check_open()
        return self._log[after : after + limit]

    async def read(self, kind: FactKind, id_: str) -> AnyFact | None:
        """Return one fact, or None."""
        self._check_open()
        return self._facts.get(FactRef(kind, id_))

    async def page(self, kind: FactKind | None, after: str, limit: int) -> Page:
        """Return at most `limit` facts after a token, by kind and id."""
        self._check_open()
        refs = sorted(ref for ref in self._facts if kind is None or ref.kind is kind)
        start = bisect_right(refs, ref_of_token(after)) if after else 0
        facts = [self._facts[ref] for ref in refs[start : start + limit]]
        more = bool(facts) and start + limit < len(refs)
        return Page(facts, page_token(FactRef(KIND_OF[type(facts[-1])], facts[-1].id)) if more else "")

    async def latest_time(self) -> Instant:
        """Return the latest time any commit happened at, 0 if none."""
        self._check_open()
        return max((commit.origin.at for commit in self._log), default=Instant(0))

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._bell.close()

    def _check_open(self) -> None:
        if self._bell.closed:
            message = "the store is closed"
            raise StoreUnavailableError(message)

    def _check_expected(self, ref: FactRef, expected: Revision) -> None:
        fact = self._facts.get(ref)
        actual = fact.revision if fact is not None else 0
        if actual != expected:
            raise ConflictError(ref, expected, actual)


async def _slices(facts: Sequence[AnyFact], size: int) -> AsyncGenerator[Sequence[AnyFact], None]:
    for start in range(0, len(facts), size):
        yield facts[start : start + size]
