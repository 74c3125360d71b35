"""What the journal says about one session: what was written about it, and how it was decided on.

Rule 1: read backward, from the newest segment to the one in which the session was opened, and never more than
`MOST_SEGMENTS`; a line that does not name the session is passed over unread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from pdp.core.model import FactKind, Instant, Session
from pdp.core.reasons import Code
from pdp.evidence.instants import parse_instant
from pdp.evidence.segments import segments_of

MOST_SEGMENTS = 32
"""Segments looked through; two gigabytes, if they are as large as they are by default."""

MOST_CHANGES = 100
"""Changes that are told, the latest."""

_BLOCK = 256 * 1024
"""Bytes looked through at once: bounds how long one look keeps other threads waiting."""
_OPENING = frozenset({"OpenSession", "DelegateSession", "TakeBreakGlass"})
"""Methods that write a session for the first time."""


class ChangeOnRecord(Struct, frozen=True):
    """One change that wrote or removed the session."""

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


class _Named(Struct):
    kind: str = ""
    id: str = ""


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


def session_record(directory: Path, session: Session, most_decisions: int) -> SessionRecord:
    """Return what is on disk about a session, with at most so many decisions one by one. Takes a disk's time.

    Raises OSError if the journal cannot be read, and msgspec.DecodeError where a line is no record.
    """
    told = _Told(session.id, most_decisions)
    for segment in reversed(segments_of(directory)[-MOST_SEGMENTS:]):
        told.add(segment)
        if told.opened or (not session.opened_by and _begins_before(segment, session.not_before)):
            break
    return told.result()


class _Told:
    """Gathers what segments say, the newest first."""

    def __init__(self, session_id: str, most_decisions: int) -> None:
        self.opened = False
        self._id = session_id
        self._most = most_decisions
        self._changes: list[ChangeOnRecord] = []
        self._counts = {"allow": 0, "deny": 0}
        self._decisions: list[DecisionOnRecord] = []

    def add(self, segment: Path) -> None:
        """Go through a segment that is older than those before."""
        changes: list[ChangeOnRecord] = []
        decisions: deque[DecisionOnRecord] = deque(maxlen=self._most - len(self._decisions))
        for line in map(_DECODE_LINE, _lines_with(segment, msgspec.json.encode(self._id))):
            if line.kind == "decision" and line.session_id == self._id:
                self._counts[line.outcome] += 1
                decisions.append(_decision(line))
            elif line.kind == "change" and self._is_written(line.changes):
                self.opened = self.opened or line.method in _OPENING
                at = parse_instant(line.time)
                changes.append(ChangeOnRecord(line.revision, at, line.method, line.actor, line.reason))
        self._changes[:0] = changes
        self._decisions.extend(reversed(decisions))

    def result(self) -> SessionRecord:
        """Return what was gathered."""
        changes = tuple(self._changes[-MOST_CHANGES:])
        return SessionRecord(changes, self._counts["allow"], self._counts["deny"], tuple(self._decisions))

    def _is_written(self, changes: Sequence[_Named]) -> bool:
        return any(one.kind == FactKind.SESSION and one.id == self._id for one in changes)


def _decision(line: _Line) -> DecisionOnRecord:
    asked, at = line.request, parse_instant(line.time)
    code = Code(line.reasons[0].code)
    return DecisionOnRecord(line.decision_id, at, line.outcome == "allow", code, asked.action, asked.resource)


def _lines_with(segment: Path, needle: bytes) -> Iterator[bytes]:
    """Yield the whole lines of a segment that have the needle in them, in order."""
    with segment.open("rb") as file:
        while block := file.read(_BLOCK):
            block += file.readline()
            if needle not in block:
                continue
            lines = block.split(b"\n")
            lines.pop()  # empty, or still being written
            yield from (line for line in lines if needle in line)


def _begins_before(segment: Path, instant: Instant) -> bool:
    with segment.open("rb") as file:
        line = file.readline()
    return line.endswith(b"\n") and parse_instant(_DECODE_TIME(line).time) < instant
