"""What a record is about, read from its line: the one place that says under what a record is found.

Rule 1: a record is found under every id it names as its own, a change and a lapse under those of the facts they are
about. What belongs together (a session with its task) is one topic, so that conditions on both must meet in one fact.
Rule 2: nothing depends on the kind of the record, so that kinds yet to come are found as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec
from msgspec import Struct
from msgspec.structs import replace


class Topic(Struct, frozen=True):
    """What a record, or a part of it, is about; empty where it does not say."""

    kind: str
    outcome: str = ""
    code: str = ""
    identity: str = ""
    owner: str = ""
    session: str = ""
    task: str = ""
    approval: str = ""
    ticket: str = ""


class _Reason(Struct, frozen=True):
    code: str = ""


class _Asked(Struct, frozen=True):
    subject: str = ""
    action: str = ""
    resource: str = ""


class _Fact(Struct, frozen=True):
    """What is read of a fact; its members differ with its kind."""

    identity: str | list[str] = ""
    owner: str = ""
    session: str = ""
    task: str = ""
    approval: str = ""
    ticket: str = ""
    target: str = ""
    target_id: str = ""


class _Change(Struct, frozen=True):
    kind: str = ""
    id: str = ""
    fact: _Fact = _Fact()


class Line(Struct, frozen=True):
    """What is read of a record's line; everything else is skipped."""

    seq: int
    kind: str
    time: str
    decision_id: str = ""
    outcome: str = ""
    reasons: tuple[_Reason, ...] = ()
    rule: str = ""
    what: str = ""
    name: str = ""
    method: str = ""
    request: _Asked = _Asked()
    identity_id: str = ""
    owner: str = ""
    session_id: str = ""
    task_id: str = ""
    approval_id: str = ""
    ticket: str = ""
    about: str = ""
    revision: int = 0
    changes: tuple[_Change, ...] = ()

    @property
    def code(self) -> str:
        """The primary reason code; of other kinds what says the same: rule, what lapsed, event, method."""
        return self.reasons[0].code if self.reasons else self.rule or self.what or self.name or self.method

    @property
    def codes(self) -> tuple[str, ...]:
        """All reason codes, the primary one first; of other kinds the one."""
        return tuple(reason.code for reason in self.reasons) or (self.code,)


decode_line = msgspec.json.Decoder(Line).decode
"""Raises msgspec.DecodeError for what is no record."""


def topics_of(line: Line) -> Collection[Topic]:
    """Return all that a record is about, each once; at least one."""
    own, subject = summary_of(line), line.request.subject
    if len(line.reasons) <= 1 and not line.changes and (not subject or subject == own.identity):
        return (own,)  # as of most records, in a fifth of the time
    return {
        replace(topic, code=code, identity=identity)
        for topic in (own, *_of_changes(line))
        for code in line.codes
        for identity in (topic.identity, subject or topic.identity)
    }


def summary_of(line: Line) -> Topic:
    """Return what the record itself says it is about, with its primary code."""
    own = Topic(
        line.kind,
        line.outcome,
        line.code,
        line.identity_id,
        line.owner,
        line.session_id,
        line.task_id,
        line.approval_id,
        line.ticket,
    )
    if not line.about:
        return own
    kind, _, id_ = line.about.partition(":")
    return replace(own, **{kind: id_}) if kind in _NAMED and not getattr(own, kind) else own


_NAMED = ("identity", "session", "task", "approval")
"""Kinds of fact that a record is found under."""


def _of_changes(line: Line) -> Iterator[Topic]:
    for change in line.changes:
        fact = change.fact
        members = {
            "identity": fact.identity if isinstance(fact.identity, str) else next(iter(fact.identity), ""),
            "owner": fact.owner,
            "session": fact.session,
            "task": fact.task,
            "approval": fact.approval,
            "ticket": fact.ticket,
        }
        if fact.target in (*_NAMED, "owner"):
            members[fact.target] = fact.target_id
        if change.kind in _NAMED:
            members[change.kind] = change.id
        yield Topic(line.kind, line.outcome, **members)
