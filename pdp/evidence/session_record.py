"""What the journal says about one session: what was written about it and what it rests on, and how it was decided on.

Rule 1: read backward, from the newest segment to the one in which the session was opened and its approval requested,
and never more than `MOST_SEGMENTS`; a line that names neither the session nor what it rests on is passed over unread.
Rule 2: what was written before the session was opened is told of the session and its approval alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

from pdp.core.model import Approval, FactKind, Instant, RevocationTarget, Session
from pdp.core.reasons import Code
from pdp.core.scope import IdentityScope, is_pattern
from pdp.evidence.instants import parse_instant
from pdp.evidence.journal.segments import open_segment, segments_of

MOST_SEGMENTS = 32
"""Segments looked through; two gigabytes, if they are as large as they are by default."""

MOST_CHANGES = 100
"""Changes that are told, the latest."""

_BLOCK = 256 * 1024
"""Bytes looked through at once: bounds how long one look keeps other threads waiting."""
_OPENING = frozenset({"OpenSession", "DelegateSession", "TakeBreakGlass"})
"""Methods that write a session for the first time."""
_REQUESTING = frozenset({"RequestApproval", "TakeBreakGlass"})
"""Methods that write an approval for the first time."""
_Ref: TypeAlias = tuple[str, str]
"""Kind and id."""
_A_CHANGE = b'"kind":"change"'
_A_REVOCATION = b'"kind":"revocation"'


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
    """What is read of a line that names the session; everything else is skipped."""

    kind: str
    time: str
    session_id: str = ""
    decision_id: str = ""
    outcome: str = ""
    reasons: tuple[_Reason, ...] = ()
    request: _Asked = _Asked()
    revision: int = 0
    changes: tuple[_Named, ...] = ()
    method: str = ""
    actor: str = ""
    reason: str = ""


class _Time(Struct):
    time: str


_DECODE_LINE = msgspec.json.Decoder(_Line).decode
_DECODE_TIME = msgspec.json.Decoder(_Time).decode


def session_record(
    directory: Path, session: Session, most_decisions: int, approval: Approval | None = None
) -> SessionRecord:
    """Return what is on disk about a session, with at most so many decisions one by one. Takes a disk's time.

    `approval`: the session's, if it is known; its request is sought if there was one, which its consents tell. Raises
    OSError if the journal cannot be read, and msgspec.DecodeError where a line is no record.
    """
    told = _Told(session, most_decisions, requested=approval is not None and bool(approval.consents))
    for segment in reversed(segments_of(directory)[-MOST_SEGMENTS:]):
        told.add(segment)
        begun = told.opened or (not session.opened_by and _begins_before(segment, session.not_before))
        if begun and not told.seeks_request:
            break
    return told.result()


class _Ties:
    """What a change must be about to belong to a session's story."""

    def __init__(self, session: Session) -> None:
        self._identity = session.identity
        self.session = (FactKind.SESSION.value, session.id)
        self.approval = (FactKind.APPROVAL.value, session.approval)
        self._facts = {self.session, self.approval, (FactKind.TASK.value, session.task)}
        self._targets = self._facts | {
            (FactKind.ENTITLEMENT.value, session.entitlement),
            (FactKind.IDENTITY.value, session.identity),
        }
        self._needles = [msgspec.json.encode(id_) for _, id_ in self._facts if id_]
        self._own = msgspec.json.encode(session.id)

    def may_be_in(self, text: bytes) -> bool:
        """Whether to look at a line, or at a block of lines, at all."""
        if self._own in text:
            return True
        return _A_CHANGE in text and (_A_REVOCATION in text or any(needle in text for needle in self._needles))

    def of(self, changes: Sequence[_Named]) -> Iterator[_Ref]:
        """Yield the facts of the story that are written or removed, and what is revoked; a lift tells not of what."""
        for one in changes:
            if (one.kind, one.id) in self._facts:
                yield one.kind, one.id
            elif one.kind == FactKind.REVOCATION and self._concerns(one.fact):
                yield one.fact.target, one.fact.target_id

    def may_tell(self, changes: Sequence[_Named]) -> bool:
        """Whether a change belongs to the story, or might: of a lift only an older change says."""
        return any(map(_is_lift, changes)) or next(self.of(changes), None) is not None

    def _concerns(self, revoked: _Target) -> bool:
        if revoked.target == RevocationTarget.IDENTITY and is_pattern(revoked.target_id):
            return bool(IdentityScope([revoked.target_id]).covers(self._identity))
        return (revoked.target, revoked.target_id) in self._targets


class _Told:
    """Gathers what segments say, the newest first."""

    def __init__(self, session: Session, most_decisions: int, *, requested: bool) -> None:
        self.opened = False
        """Whether the session's opening has been found."""
        self.seeks_request = requested
        """Whether its approval's request is still to be found."""
        self._session = session
        self._ties = _Ties(session)
        self._most = most_decisions
        self._changes: list[ChangeOnRecord] = []
        self._counts = {"allow": 0, "deny": 0}
        self._decisions: list[DecisionOnRecord] = []
        self._lifts: dict[str, tuple[_Line, bool]] = {}
        """By revocation, the change that lifted it and whether the session was open then, until it is known of what."""

    def add(self, segment: Path) -> None:
        """Go through a segment that is older than those before."""
        changes: list[_Line] = []
        decisions: deque[DecisionOnRecord] = deque(maxlen=self._most - len(self._decisions))
        for line in map(_DECODE_LINE, _lines_with(segment, self._ties.may_be_in)):
            if line.kind == "decision" and line.session_id == self._session.id:
                self._counts[line.outcome] += 1
                decisions.append(_decision(line))
            elif line.kind == "change" and self._ties.may_tell(line.changes):
                changes.append(line)
        for line in reversed(changes):
            self._add_change(line)
        self._decisions.extend(reversed(decisions))

    def result(self) -> SessionRecord:
        """Return what was gathered."""
        by_revision = {one.revision: one for one in self._changes}
        changes = tuple(by_revision[revision] for revision in sorted(by_revision))[-MOST_CHANGES:]
        return SessionRecord(changes, self._counts["allow"], self._counts["deny"], tuple(self._decisions))

    def _add_change(self, line: _Line) -> None:
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
        self.opened = self.opened or (self._ties.session in about and line.method in _OPENING)
        self.seeks_request = self.seeks_request and not (self._ties.approval in about and line.method in _REQUESTING)

    def _was_open(self, line: _Line) -> bool:
        """Whether the session had been opened when a change was made, or was with it."""
        if self._session.opened_by:
            return not self.opened
        return parse_instant(line.time) >= self._session.not_before

    def _within(self, about: Iterable[_Ref], *, is_open: bool) -> set[_Ref]:
        found = set(about)
        return found if is_open else found & {self._ties.session, self._ties.approval}

    def _tell(self, line: _Line) -> None:
        at = parse_instant(line.time)
        self._changes.append(ChangeOnRecord(line.revision, at, line.method, line.actor, line.reason))


def _is_lift(change: _Named) -> bool:
    return change.kind == FactKind.REVOCATION and not change.fact.target


def _decision(line: _Line) -> DecisionOnRecord:
    asked, at = line.request, parse_instant(line.time)
    code = Code(line.reasons[0].code)
    return DecisionOnRecord(line.decision_id, at, line.outcome == "allow", code, asked.action, asked.resource)


def _lines_with(segment: Path, wanted: Callable[[bytes], bool]) -> Iterator[bytes]:
    """Yield the whole lines of a segment that are wanted, in order; what no line of a block has, the block has not."""
    with open_segment(segment) as file:
        while block := file.read(_BLOCK):
            block += file.readline()
            if not wanted(block):
                continue
            lines = block.split(b"\n")
            lines.pop()  # empty, or still being written
            yield from filter(wanted, lines)


def _begins_before(segment: Path, instant: Instant) -> bool:
    with open_segment(segment) as file:
        line = file.readline()
    return line.endswith(b"\n") and parse_instant(_DECODE_TIME(line).time) < instant
