"""Thirty days of records: what a thousand identities did in ten thousand sessions.

Every decision comes from `decide`, once for each session and sort of question; from then on only its ids and times
vary, so that records are made as fast as a journal can take them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from benchmarks.world import CONTEXT, HOUR, READ, TABLES, WRITE, World, basis, policy_set, session
from pdp.core.decide import decide
from pdp.core.decision import Decision, Deny
from pdp.core.model import AnyFact, Approval, Instant, Put, Request, Revision, Revocation, RevocationTarget, Session
from pdp.core.snapshot import Readiness, Snapshot
from pdp.core.wording import SECOND
from pdp.evidence.record import AnyRecord, ChangeRecord, DecisionRecord, LifecycleRecord
from pdp.evidence.trace import Ids, TraceContext

IDENTITIES, SESSIONS = 1_000, 10_000
DAYS = 30
_DAY = 24 * HOUR
_SESSIONS_EACH = SESSIONS // IDENTITIES
"""Sessions of an identity, one after the other."""
_LASTS = DAYS * _DAY // _SESSIONS_EACH
_SESSIONS_PER_TASK = 5
_CHANGES, _DENIALS, _WRITES = 0.01, 0.03, 0.1
"""Shares: changes of all records, denials of all, and of the allows those that are durable."""
_LONGEST_NS = 120_000
"""Decisions take up to so long."""


class Asked(Struct, frozen=True):
    """A question and its answer."""

    request: Request
    decision: Decision


class Month:
    """Makes the records, in the order of their times."""

    def __init__(self, records: int, seed: int = 7) -> None:
        """Spread so many records over the days."""
        self._records = records
        self._chance = random.Random(seed)
        self._ids = Ids(0.01, seed.to_bytes(8, "big"))
        self._begin = Instant(1_767_225_600 * SECOND)
        self._snapshot = Snapshot(policy_set(0))
        for fact in self._facts():
            self._snapshot.put(fact)
        self._snapshot.revision, self._snapshot.readiness = Revision(1), Readiness.READY
        self._revision = 1
        self.allowed = cache(self._allowed)
        self.denied = cache(self._denied)

    def records(self) -> Iterator[AnyRecord]:
        """Yield them, the start of the sidecar first."""
        yield LifecycleRecord(name="started", at=self._begin, attributes={"version": "0"})
        draw, step = self._chance.random, DAYS * _DAY / self._records
        for number in range(1, self._records):
            at = Instant(self._begin + int((number + draw()) * step))
            sort = draw()
            if sort < _CHANGES:
                yield self._change(at)
            else:
                yield self._decision(at, denied=sort < _CHANGES + _DENIALS)

    def _session_at(self, at: Instant) -> int:
        """Draw a session that is under way: each identity has one at a time."""
        return int(self._chance.random() * IDENTITIES) * _SESSIONS_EACH + (at - self._begin) // _LASTS

    def _decision(self, at: Instant, *, denied: bool) -> DecisionRecord:
        number, draw = self._session_at(at), self._chance.random
        if denied:
            refused = self.denied(number)
            asked = refused[int(draw() * len(refused))]
        else:
            asked = self.allowed(number)[draw() < _WRITES]
        return DecisionRecord(
            decision_id=self._ids.decision_id(),
            trace=self._ids.child(None),
            method="CheckStream",
            request=asked.request,
            decision=self._moved(asked.decision, at),
            started_at=at,
            ended_at=Instant(at + int(draw() * _LONGEST_NS)),
        )

    def _moved(self, decision: Decision, at: Instant) -> Decision:
        """Return the same answer, given at another time."""
        if isinstance(decision, Deny):
            return replace(decision, evaluated_at=at, reconsider_at=None, revision=Revision(self._revision))
        end = Instant(at - (at - self._begin) % _LASTS + _LASTS)
        return replace(decision, evaluated_at=at, valid_until=end, revision=Revision(self._revision))

    def _change(self, at: Instant) -> ChangeRecord:
        """Return a change: of a session, its approval, or a revocation of one that is gone."""
        self._revision += 1
        method, fact = self._written(at)
        return ChangeRecord(
            revision=Revision(self._revision),
            changes=(Put(fact),),
            actor="operations",
            role="operator",
            reason="the next shift",
            at=at,
            ended_at=Instant(at + _LONGEST_NS),
            method=method,
            trace=self._ids.child(None),
        )

    def _written(self, at: Instant) -> tuple[str, AnyFact]:
        sort, opened = self._chance.random(), self._session(self._session_at(at))
        if sort < 0.5:
            return "OpenSession", opened
        if sort < 0.8:
            return "Approve", self._snapshot.approvals[opened.approval]
        return "Revoke", _revocation(f"r-{self._revision}", f"gone-{self._revision}", at)

    def _allowed(self, number: int) -> Sequence[Asked]:
        """Return the buffered and the durable question of a session that are allowed."""
        return [self._asked(_question(self._session(number), action)) for action in (READ, WRITE)]

    def _denied(self, number: int) -> Sequence[Asked]:
        """Return questions of a session that are denied, each for another reason."""
        own, now = _question(self._session(number), READ), self._begin
        asked = [
            self._asked(replace(own, action="schema.drop")),
            self._asked(replace(own, resource="database:prod/salaries")),
            self._asked(replace(own, subject="spiffe://example.org/job/elsewhere")),
            self._asked(replace(own, session=f"gone-{number}")),
            self._asked(own, Instant(now + 13 * HOUR)),
        ]
        if not all(isinstance(one.decision, Deny) for one in asked):
            message = "a question that was to be denied is allowed"
            raise RuntimeError(message)
        return asked

    def _asked(self, request: Request, now: Instant | None = None) -> Asked:
        return Asked(request, decide(request, self._snapshot, self._begin if now is None else now))

    def _session(self, number: int) -> Session:
        return self._snapshot.sessions[f"s-{number}"]

    def _facts(self) -> Iterator[AnyFact]:
        now = self._begin
        world = World(IDENTITIES * 100, 0, now)  # as many identities, and tasks and approvals to spare
        sessions = (_session(number, now) for number in range(SESSIONS))
        for fact in chain(basis(world), sessions):
            yield replace(fact, traceparent=self._traceparent()) if isinstance(fact, Approval | Session) else fact

    def _traceparent(self) -> str:
        trace: TraceContext = self._ids.child(None)
        return f"00-{trace.trace_id}-{trace.span_id}-01"


def _session(number: int, now: Instant) -> Session:
    task, identity = number // _SESSIONS_PER_TASK, number // _SESSIONS_EACH
    return replace(
        session(number, now),
        identity=f"spiffe://example.org/job/{identity}",
        entitlement=f"e-{identity}",
        task=f"t-{task}",
        approval=f"a-{task}",
    )


def _question(of: Session, action: str) -> Request:
    number = int(of.id.removeprefix("s-"))
    return Request(
        subject=of.identity,
        action=action,
        resource=f"database:prod/table-{number % TABLES}",
        session=of.id,
        context=CONTEXT,
    )


def _revocation(id_: str, target: str, at: Instant) -> Revocation:
    return Revocation(
        id=id_,
        target=RevocationTarget.SESSION,
        target_id=target,
        effective_at=at,
        reason="the job was stopped",
        source="operations",
    )
