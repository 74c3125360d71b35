"""The port to where facts live: an ordered change log with a current view.

Rule 1: a commit is all or nothing, has one revision, and revisions are 1, 2, 3, … without a gap.
Rule 2: a commit is acknowledged only once it is durable in the way the engine promises.
Rule 3: the store is in doubt rather than wrong: what cannot be read or reached raises, and is never read as empty.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct
from msgspec.structs import replace

from pdp.core.lawful import fault_of_text, faults_of
from pdp.core.model import KIND_OF, AnyFact, Change, Drop, FactKind, Instant, Put, Revision

LATEST_ORIGIN = Instant((1 << 63) - 1)
"""The year 2262; engines keep the time of a commit in 64 bits."""


class FactRef(NamedTuple):
    """Names a fact."""

    kind: FactKind
    id: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


class Origin(Struct, frozen=True):
    """Who changes facts, why, and in which trace."""

    actor: str
    reason: str
    traceparent: str
    at: Instant
    key: str = ""
    """Idempotency key: an actor commits at most once under each; empty: as often as it likes."""
    digest: str = ""
    """Of what was asked for under the key, in hex: tells it from something else under the same key."""


class Commit(Struct, frozen=True):
    """One step of the change log; every fact in it carries the commit's revision and traceparent."""

    revision: Revision
    changes: tuple[Change, ...]
    origin: Origin


class Heartbeat(Struct, frozen=True):
    """The store was reached just now, and `revision` was then its newest."""

    revision: Revision


class Loaded(Struct, frozen=True):
    """All facts as of one revision, in slices, so that a big load can be applied bit by bit.

    The slices must be read to their end or closed, once. Reading on may raise any StoreError.
    """

    revision: Revision
    slices: AsyncGenerator[Sequence[AnyFact], None]


class Page(NamedTuple):
    """Some facts, and the token that continues after them; empty on the last page."""

    facts: Sequence[AnyFact]
    next_token: str


class StoreError(Exception):
    """A store did not do what it was asked."""


class StoreUnavailableError(StoreError):
    """The store cannot be reached or cannot write; later it may. A commit that raised this may have happened."""


class StoreUnusableError(StoreError):
    """The store must be looked at by an operator: it is corrupt, in use, foreign or of a newer version."""


class CommitRefusedError(StoreError):
    """The commit is empty, unlawful or cannot be written; nothing happened, and nothing will if it is repeated."""


class ConflictError(StoreError):
    """A fact is not at the revision that the commit expected; nothing happened."""

    def __init__(self, ref: FactRef, expected: Revision, actual: Revision) -> None:
        """Keep what was expected and what is; 0 is that the fact does not exist."""
        is_now = f"is at revision {actual}" if actual else "does not exist"
        wanted = f"revision {expected} was expected" if expected else "it must not exist yet"
        super().__init__(f"`{ref}` {is_now}, {wanted}")
        self.ref = ref
        self.expected = expected
        self.actual = actual


class AlreadyCommittedError(StoreError):
    """The actor has committed under this idempotency key before; nothing more happened."""

    def __init__(self, commit: Commit) -> None:
        """Keep what was committed then."""
        super().__init__(f"`{commit.origin.key}` is the key of revision {commit.revision} already")
        self.commit = commit


NOTHING_EXPECTED: Mapping[FactRef, Revision] = {}


class Store(Protocol):
    """Where facts live. Every method may raise StoreUnavailableError or StoreUnusableError."""

    async def load(self, slice_size: int = 1000) -> Loaded:
        """Return all facts as of one revision.

        Must be consistent: exactly the facts that the first `revision` commits made. May take long, and must not
        block the event loop meanwhile. No guarantee about the order of facts.
        """
        ...

    def follow(self, after: Revision) -> AsyncGenerator[Commit | Heartbeat, None]:
        """Yield every commit after a revision, in order, without a gap, for ever.

        Must yield a heartbeat as soon as all commits have been told, and again at a steady interval, each only when
        the store was really reached. Must raise StoreUnavailableError when it is not; to go on, follow again. No
        guarantee that a commit is told before its committer hears of it.
        """
        ...

    async def commit(
        self, changes: Sequence[Change], origin: Origin, *, expected: Mapping[FactRef, Revision] = NOTHING_EXPECTED
    ) -> Revision:
        """Apply all changes or none, and return their revision once they are durable.

        Must raise ConflictError if a fact of `expected` is not at its revision (0: must not exist), and
        CommitRefusedError if there are no changes or an unlawful one. Must raise AlreadyCommittedError, whatever is
        expected, if the origin has a key that its actor has committed under, ever. Must stamp each written fact with
        the revision and the origin's traceparent. Dropping what does not exist is no error. When cancelled it may
        still happen.
        """
        ...

    async def committed(self, actor: str, key: str) -> Commit | None:
        """Return what an actor has committed under an idempotency key, or None; an empty key names nothing."""
        ...

    async def history(self, after: Revision, limit: int) -> Sequence[Commit]:
        """Return at most `limit` commits after a revision, in order; fewer only at the end of the log."""
        ...

    async def read(self, kind: FactKind, id_: str) -> AnyFact | None:
        """Return one fact as of now, or None."""
        ...

    async def page(self, kind: FactKind | None, after: str, limit: int) -> Page:
        """Return at most `limit` facts (of one kind, or all), in a stable order, after a token (first page: empty).

        `limit` is at least 1.

        Must show a fact that exists during the whole walk exactly once. No guarantee about those that come or go
        meanwhile. Raises ValueError for a token that no page can have returned.
        """
        ...

    async def latest_time(self) -> Instant:
        """Return the latest time any commit happened at, 0 if none; decision time must not run behind it."""
        ...

    async def close(self) -> None:
        """Let go of all resources; whoever follows hears StoreUnavailableError. May be called twice."""
        ...


def check_commit(changes: Sequence[Change], origin: Origin) -> None:
    """Raise CommitRefusedError for what no engine may write: one such fact in the log would stop every reader of it."""
    if not changes:
        message = "a commit must change something"
        raise CommitRefusedError(message)
    if not 0 <= origin.at <= LATEST_ORIGIN:
        message = "the time of a commit must lie in the years 1970 to 2262"
        raise CommitRefusedError(message)
    for name in ("actor", "reason", "traceparent", "key", "digest"):
        if fault := fault_of_text(getattr(origin, name), required=False, prose=True):
            message = f"{name} of a commit {fault}"
            raise CommitRefusedError(message)
    for change in changes:
        _check_change(change)


def _check_change(change: Change) -> None:
    if isinstance(change, Drop):
        faults = [("id", fault)] if (fault := fault_of_text(change.id)) else []
    else:
        faults = faults_of(change.fact)
    if faults:
        message = f"`{ref_of(change)}`: " + ", ".join(f"{field} {fault}" for field, fault in faults)
        raise CommitRefusedError(message)


def ref_of(change: Change) -> FactRef:
    """Return the name of the fact that a change is about."""
    if isinstance(change, Drop):
        return FactRef(change.kind, change.id)
    return FactRef(KIND_OF[type(change.fact)], change.fact.id)


def stamped(changes: Sequence[Change], revision: Revision, origin: Origin) -> tuple[Change, ...]:
    """Return the changes with every written fact marked with its revision and trace."""
    return tuple(
        change
        if isinstance(change, Drop)
        else Put(replace(change.fact, revision=revision, traceparent=origin.traceparent))
        for change in changes
    )


def page_token(ref: FactRef) -> str:
    """Return the token that continues after a fact."""
    return str(ref)


def ref_of_token(token: str) -> FactRef:
    """Return the fact that a page token continues after; raise ValueError if it is none."""
    kind, _, id_ = token.partition(":")
    try:
        return FactRef(FactKind(kind), id_)
    except ValueError:
        message = "not a page token"
        raise ValueError(message) from None
