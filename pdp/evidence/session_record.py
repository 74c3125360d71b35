"""What the journal says about one session: what was written about it and what it rests on, and how it was decided on.

Rule 1: found by the index, so that a story costs what its own records cost, and not what lies between them.
Rule 2: what was written before the session was opened is told of the session and its approval alone.
Rule 3: the index does not know what a lift lifts, nor whom a family's revocation or an entitlement's is about: these
are sought among the latest `MOST_OTHERS` revocations, and as many lifts, since the story begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeAlias

import msgspec
from msgspec import Struct

from pdp.core.model import FactKind, Instant, RevocationTarget, Session
from pdp.core.reasons import Code
from pdp.core.scope import IdentityScope, is_pattern
from pdp.evidence.index.query import FoundRecord, Page, Query, RecordKind
from pdp.evidence.instants import parse_instant

MOST_CHANGES = 100
"""Changes that are told, the latest."""
MOST_DECISIONS = 100_000
"""Decisions that are counted, the latest."""
MOST_READ = 5_000
"""Changes that are looked at, the latest, of each: session, approval, task, identity."""
MOST_OTHERS = 1_000
"""Revocations, and lifts, of anything that are looked at, the latest: a second or two where none are neighbours."""

_PAGE = 1_000
_OPENING = frozenset({"OpenSession", "DelegateSession", "TakeBreakGlass"})
"""Methods that write a session for the first time."""
_REVOKING = ("Revoke", "LiftRevocation", "RetireIdentity")
_Ref: TypeAlias = tuple[str, str]
"""Kind and id."""


class Pages(Protocol):
    """Where records are found: the index of a sidecar, or of a journal on disk."""

    def page(self, query: Query, token: str, size: int) -> Page:
        """Return some of the records asked for; raise IndexUnavailableError if they cannot be found just now."""


class ChangeOnRecord(Struct, frozen=True):
    """One change that wrote or removed the session, its approval, its task, or a revocation of what it rests on."""

    revision: int
    at: Instant
    method: str
    """The RPC without its service; empty if the record does not say."""
    actor: str
    reason: str


class DecisionOnRecord(Struct, frozen=True):
    """One decision about the session."""

    decision_id: str
    at: Instant
    allowed: bool
    code: Code
    """The primary reason."""
    action: str
    resource: str


class SessionRecord(Struct, frozen=True):
    """What is on record for a session."""

    changes: tuple[ChangeOnRecord, ...]
    """The latest `MOST_CHANGES`, oldest first."""
    allowed: int
    denied: int
    decisions: tuple[DecisionOnRecord, ...]
    """The latest, newest first."""


class _Target(Struct, frozen=True):
    target: str = ""
    target_id: str = ""


class _Named(Struct):
    kind: str = ""
    id: str = ""
    fact: _Target = _Target()


class _Reason(Struct):
    code: str


class _Asked(Struct, frozen=True):
    action: str = ""
    resource: str = ""


class _Line(Struct):
    """What is read of a line; everything else is skipped."""

    time: str
    decision_id: str = ""
    outcome: str = ""
    reasons: tuple[_Reason, ...] = ()
    request: _Asked = _Asked()
    revision: int = 0
    changes: tuple[_Named, ...] = ()
    method: str = ""
    actor: str = ""
    reason: str = ""


_DECODE_LINE = msgspec.json.Decoder(_Line).decode


def session_record(records: Pages, session: Session, most_decisions: int) -> SessionRecord:
    """Return what is on disk about a session, with at most so many decisions one by one. Takes a disk's time.

    Raises what `records` raises, and msgspec.DecodeError where a line is no record.
    """
    counts, decisions = {"allow": 0, "deny": 0}, list[DecisionOnRecord]()
    of_session = Query(session=session.id, kind=RecordKind.DECISION)
    for line in map(_line, _latest(records, of_session, MOST_DECISIONS)):
        counts[line.outcome] += 1
        if len(decisions) < most_decisions:
            decisions.append(_decision(line))
    return SessionRecord(_changes(records, session), counts["allow"], counts["deny"], tuple(decisions))


def _changes(records: Pages, session: Session) -> tuple[ChangeOnRecord, ...]:
    own = [Query(session=session.id, kind=RecordKind.CHANGE)]
    if session.approval:
        own.append(Query(approval=session.approval, kind=RecordKind.CHANGE))
    lines = {found.sequence: _line(found) for query in own for found in _latest(records, query, MOST_READ)}
    since = _begin(session, lines.values())
    for query, most in (
        (Query(task=session.task, kind=RecordKind.CHANGE, since=since), MOST_READ),
        (Query(identity=session.identity, kind=RecordKind.CHANGE, since=since), MOST_READ),
        *((Query(kind=RecordKind.CHANGE, code=method, since=since), MOST_OTHERS) for method in _REVOKING),
    ):
        lines |= {found.sequence: _line(found) for found in _latest(records, query, most)}
    told = _Told(session)
    for sequence in sorted(lines, reverse=True):
        told.add(lines[sequence])
    return told.changes()


def _begin(session: Session, own: Iterable[_Line]) -> Instant | None:
    """Return when the story begins, by the changes of the session and its approval; None: before what is on record."""
    ties = _Ties(session)
    begun = [(parse_instant(line.time), line.method in _OPENING, set(ties.of(line.changes))) for line in own]
    times = [at for at, _, about in begun if about & ties.own]
    if not session.opened_by:
        return min([session.not_before, *times])
    return min(times) if any(opening and ties.session in about for _, opening, about in begun) else None


def _latest(records: Pages, query: Query, most: int) -> Iterator[FoundRecord]:
    """Yield what is asked for, the newest first, up to so many."""
    return islice(_all(records, query), most)


def _all(records: Pages, query: Query) -> Iterator[FoundRecord]:
    token = ""
    while True:
        page = records.page(query, token, _PAGE)
        yield from page.records
        token = page.next_token
        if not token:
            return


def _line(found: FoundRecord) -> _Line:
    return _DECODE_LINE(found.raw)


class _Ties:
    """What a change must be about to belong to a session's story."""

    def __init__(self, session: Session) -> None:
        self._identity = session.identity
        self.session = (FactKind.SESSION.value, session.id)
        self.approval = (FactKind.APPROVAL.value, session.approval)
        self.own = {self.session, self.approval}
        self._facts = self.own | {(FactKind.TASK.value, session.task)}
        self._targets = self._facts | {
            (FactKind.ENTITLEMENT.value, session.entitlement),
            (FactKind.IDENTITY.value, session.identity),
        }

    def of(self, changes: Sequence[_Named]) -> Iterator[_Ref]:
        """Yield the facts of the story that are written or removed, and what is revoked; a lift tells not of what."""
        for one in changes:
            if (one.kind, one.id) in self._facts:
                yield one.kind, one.id
            elif one.kind == FactKind.REVOCATION and self._concerns(one.fact):
                yield one.fact.target, one.fact.target_id

    def _concerns(self, revoked: _Target) -> bool:
        if revoked.target == RevocationTarget.IDENTITY and is_pattern(revoked.target_id):
            return bool(IdentityScope([revoked.target_id]).covers(self._identity))
        return (revoked.target, revoked.target_id) in self._targets


class _Told:
    """Gathers what changes say, the newest first."""

    def __init__(self, session: Session) -> None:
        self._opened = False
        """Whether the session's opening has been found."""
        self._session = session
        self._ties = _Ties(session)
        self._changes = dict[int, ChangeOnRecord]()
        """By revision."""
        self._lifts: dict[str, tuple[_Line, bool]] = {}
        """By revocation, the change that lifted it and whether the session was open then, until it is known of what."""

    def changes(self) -> tuple[ChangeOnRecord, ...]:
        """Return the latest of what is to be told, the oldest first."""
        return tuple(self._changes[revision] for revision in sorted(self._changes)[-MOST_CHANGES:])

    def add(self, line: _Line) -> None:
        """Take a change that is older than those before."""
        is_open = self._was_open(line)
        about = self._within(self._ties.of(line.changes), is_open=is_open)
        if about:
            self._tell(line)
        for one in line.changes:
            if _is_lift(one):
                self._lifts[one.id] = line, is_open
            elif one.id in self._lifts and one.kind == FactKind.REVOCATION:
                lift, was_open = self._lifts.pop(one.id)
                if self._within(self._ties.of([one]), is_open=was_open):
                    self._tell(lift)
        self._opened = self._opened or (self._ties.session in about and line.method in _OPENING)

    def _was_open(self, line: _Line) -> bool:
        """Whether the session had been opened when a change was made, or was with it."""
        if self._session.opened_by:
            return not self._opened
        return parse_instant(line.time) >= self._session.not_before

    def _within(self, about: Iterable[_Ref], *, is_open: bool) -> set[_Ref]:
        found = set(about)
        return found if is_open else found & self._ties.own

    def _tell(self, line: _Line) -> None:
        at = parse_instant(line.time)
        self._changes[line.revision] = ChangeOnRecord(line.revision, at, line.method, line.actor, line.reason)


def _is_lift(change: _Named) -> bool:
    return change.kind == FactKind.REVOCATION and not change.fact.target


def _decision(line: _Line) -> DecisionOnRecord:
    asked, at = line.request, parse_instant(line.time)
    code = Code(line.reasons[0].code)
    return DecisionOnRecord(line.decision_id, at, line.outcome == "allow", code, asked.action, asked.resource)
