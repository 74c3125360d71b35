"""Decide, then act: one question becomes a decision, a counted use and a record, in that order, without a pause.

Rule 1: between deciding and counting the use nothing is awaited, so concurrent calls cannot share a use.
Rule 2: a durable decision is answered only once its record is on disk; else the answer is EVIDENCE_UNAVAILABLE.
Rule 3: whatever goes wrong while deciding is a deny with its own code, never an allow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import structlog
from msgspec import Struct

from pdp.clock import Clock
from pdp.core.case import Case
from pdp.core.decide import decide, refuse
from pdp.core.decision import Allow, Decision
from pdp.core.explain import Explained, explain
from pdp.core.model import Instant, Request
from pdp.core.permissions import Permissions, permissions
from pdp.core.reasons import Code
from pdp.core.snapshot import Readiness, Snapshot
from pdp.doors.call import Call
from pdp.doors.shadow import Shadow
from pdp.evidence.record import DecisionRecord
from pdp.evidence.trace import Ids, TraceContext, parse_traceparent
from pdp.evidence.trouble import EvidenceError, EvidenceUnavailableError

log = structlog.get_logger()


class State(Protocol):
    """The replica, as far as deciding needs it."""

    def check_readiness(self) -> Readiness:
        """Bring the snapshot's readiness up to date, and return it."""

    async def applied(self, revision: int, timeout_s: float) -> bool:
        """Wait until the revision is applied; False if it was not within the time."""


class DecisionLog(Protocol):
    """Where decisions are recorded."""

    def record_decision(self, record: DecisionRecord, *, durable: bool) -> asyncio.Future[None] | None:
        """Append; a durable record's future resolves once it is on disk. Raise EvidenceError."""

    async def room(self, timeout_s: float) -> bool:
        """Wait for room in the buffer; False if there was none within the time."""


class UseListener(Protocol):
    """Who must hear of a use that is limited."""

    def __call__(self, sessions: Sequence[str], approvals: Sequence[str]) -> None:
        """Hear which sessions and approvals were used once more."""


_NO_ROOM = "the evidence buffer is full"
_NOT_IN_TIME = "the evidence was not on disk within the deadline"


class Answer(Struct, frozen=True):
    """A decision under its id, in its trace."""

    decision: Decision
    decision_id: str
    trace: TraceContext


class Pending(Struct, frozen=True):
    """An answer that may be given once its record is on disk."""

    answer: Answer
    written: asyncio.Future[None]
    request: Request
    call: Call
    traceparent: str
    started: int


class Bounds(Struct, frozen=True):
    """How much is taken on at once, and how long anything may wait."""

    waiting: int = 1024
    """Decisions that may wait at once, for a revision or for the disk; further ones are OVERLOADED."""
    wait_s: float = 5.0
    """Longest wait of a call without a deadline."""


class DecisionPoint:
    """Answers requests from one state, and leaves evidence."""

    def __init__(
        self,
        snapshot: Snapshot,
        state: State,
        clock: Clock,
        evidence: DecisionLog,
        ids: Ids,
        bounds: Bounds | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._state = state
        self._clock = clock
        self._evidence = evidence
        self._ids = ids
        self._bounds = bounds or Bounds()
        self._waiting = 0
        self._counted: list[UseListener] = []
        self._shadow: Shadow | None = None

    def on_limited_use(self, listener: UseListener) -> None:
        """Have a listener hear of every use that is limited."""
        self._counted.append(listener)

    def decide_beside(self, shadow: Shadow) -> None:
        """Record from now on where the shadow's policies would have answered otherwise; no answer changes by it."""
        self._shadow = shadow

    async def check(self, request: Request, call: Call, traceparent: str = "") -> Answer:
        """Decide one request; an allow counts as a use."""
        begun = await self.begun(request, call, traceparent)
        return begun if isinstance(begun, Answer) else (await self.settle((begun,)))[0]

    async def begun(self, request: Request, call: Call, traceparent: str = "") -> Answer | Pending:
        """Decide one request, but do not wait for its record."""
        begun = self.begin(request, call, traceparent)
        return await self._begin_later(request, call, traceparent) if begun is None else begun

    def begin(self, request: Request, call: Call, traceparent: str = "") -> Answer | Pending | None:
        """Decide one request; return None and leave no trace if it must wait for a revision or for room.

        Most decisions wait for nothing, and a coroutine for each of a batch would cost as much as deciding.
        """
        if request.at_least_revision > self._snapshot.revision:
            return None
        try:
            return self._begin(request, call, traceparent, time.time_ns())
        except EvidenceError:
            return None

    async def settle(self, pending: Sequence[Pending]) -> list[Answer]:
        """Return the answers once their records are on disk; a denial for each that is not within the deadline."""
        waiting = [one.written for one in pending if not one.written.done()]
        if waiting:
            await self._on_disk(waiting, pending[0].call)
        return [self._settled(one) for one in pending]

    def ask(self, request: Request) -> Decision:
        """Decide one request without counting a use and without a record."""
        return self._decide(request, used=False)

    async def note(self, decision: Decision, request: Request, call: Call) -> Answer:
        """Record a decision that `ask` gave; if its evidence cannot be kept as it must be it is a deny, and says so."""
        started, answer = time.time_ns(), self._unrecorded(decision, call.traceparent)
        try:
            record = self._of(answer, request, call, started, self._beside(decision, request))
            written = self._evidence.record_decision(record, durable=decision.durable)
            if written is not None:
                await self._on_disk([written], call)
                written.result()
        except EvidenceError as error:
            return self._unrecorded(self._refusal(Code.EVIDENCE_UNAVAILABLE, str(error)))
        return answer

    async def explain(self, request: Request, call: Call) -> tuple[Answer, tuple[Explained, ...]]:
        """Decide one request without counting a use, and return what became of every row."""
        await self._caught_up(request, call)
        decision, rows = explain(request, self._ready_snapshot(), self._clock.now())
        return await self.note(decision, request, call), rows

    async def permissions(self, request: Request, call: Call) -> Permissions:
        """Return what the request's session may do now."""
        await self._caught_up(request, call)
        return permissions(request, self._ready_snapshot(), self._clock.now())

    def case(self, request: Request) -> Case:
        """Return what the request depends on now."""
        return Case(request, self._ready_snapshot(), self._clock.now())

    def late(self) -> Answer:
        """Return the denial that takes the place of an answer which is ready after its deadline."""
        return self._unrecorded(self._refusal(Code.OVERLOADED, "the answer was not ready within the deadline"))

    def invalid(self, message: str) -> Answer:
        """Return the denial of an item that is not well-formed; it never was a request, so there is no record."""
        return self._unrecorded(self._refusal(Code.REQUEST_INVALID, message))

    async def _begin_later(self, request: Request, call: Call, traceparent: str) -> Answer | Pending:
        """Decide one request once its revision is there, and room in the buffer."""
        started = time.time_ns()
        if self._waiting >= self._bounds.waiting:
            return self._overloaded(request, call, started, traceparent)
        self._waiting += 1
        try:
            await self._caught_up(request, call)
            if await self._evidence.room(self._remaining(call)):
                return self._begin(request, call, traceparent, started)
            message = _NO_ROOM
        except EvidenceError as error:
            message = str(error)
        finally:
            self._waiting -= 1
        return self._noted(self._refusal(Code.EVIDENCE_UNAVAILABLE, message), request, call, started, traceparent)

    def _begin(self, request: Request, call: Call, traceparent: str, started: int) -> Answer | Pending:
        """Decide one request; raise EvidenceError if there is no room, having left no trace."""
        decision = self._decide(request)
        if decision.durable and self._waiting >= self._bounds.waiting:
            return self._overloaded(request, call, started, traceparent)
        answer, written = self._commit(decision, request, call, traceparent, started)
        if written is None:
            return answer
        self._waiting += 1
        written.add_done_callback(self._waited)
        return Pending(answer, written, request, call, traceparent, started)

    def _waited(self, written: asyncio.Future[None]) -> None:
        self._waiting -= 1
        _look_at(written)

    def _settled(self, pending: Pending) -> Answer:
        error = pending.written.exception()
        if error is None:
            return pending.answer
        refusal = self._refusal(Code.EVIDENCE_UNAVAILABLE, str(error))
        return self._noted(refusal, pending.request, pending.call, pending.started, pending.traceparent)

    def _overloaded(self, request: Request, call: Call, started: int, traceparent: str) -> Answer:
        message = f"{self._waiting} decisions are waiting already"
        return self._noted(self._refusal(Code.OVERLOADED, message), request, call, started, traceparent)

    async def _on_disk(self, waiting: Sequence[asyncio.Future[None]], call: Call) -> None:
        """Wait until each has ended: with its record on disk, or with the error that it is not, or not in time."""
        # One timer instead of `asyncio.wait`, which costs as much as deciding.
        timer = asyncio.get_running_loop().call_later(self._remaining(call), _expire, waiting)
        try:
            for written in waiting:
                with suppress(EvidenceUnavailableError):
                    await written
        finally:
            timer.cancel()

    async def _caught_up(self, request: Request, call: Call) -> None:
        """Wait for the revision a request asks for; the table says STATE_BEHIND if it did not come in time."""
        if request.at_least_revision > self._snapshot.revision:
            await self._state.applied(request.at_least_revision, self._remaining(call))

    def _remaining(self, call: Call) -> float:
        """Return how long this call may still wait, leaving a little to answer in time."""
        if call.deadline is None:
            return self._bounds.wait_s
        left = call.deadline - asyncio.get_running_loop().time()
        return max(0.0, min(left * 0.9, self._bounds.wait_s))

    def _decide(self, request: Request, *, used: bool = True) -> Decision:
        try:
            return decide(request, self._ready_snapshot(), self._clock.now(), used=used)
        except Exception:
            log.exception("a decision failed", subject=request.subject, action=request.action)
            return self._refusal(Code.INTERNAL_ERROR, "the decision failed; the sidecar's log says where")

    def _commit(
        self, decision: Decision, request: Request, call: Call, traceparent: str, started: int
    ) -> tuple[Answer, asyncio.Future[None] | None]:
        """Record a decision and count its use; raise EvidenceError having done neither."""
        answer = self._unrecorded(decision, traceparent or call.traceparent)
        record = self._of(answer, request, call, started, self._beside(decision, request))
        written = self._evidence.record_decision(record, durable=decision.durable)
        if isinstance(decision, Allow):
            snapshot = self._snapshot
            snapshot.record_use(decision.used_sessions, decision.used_approvals, decision.evaluated_at)
            if decision.durable:
                for listener in self._counted:
                    listener(decision.used_sessions, decision.used_approvals)
        return answer, written

    def _noted(self, decision: Decision, request: Request, call: Call, started: int, traceparent: str = "") -> Answer:
        """Record a decision that counts no use; without room for its record it is a deny, and says so."""
        answer = self._unrecorded(decision, traceparent or call.traceparent)
        try:
            self._evidence.record_decision(self._of(answer, request, call, started), durable=False)
        except EvidenceError as error:
            return self._unrecorded(self._refusal(Code.EVIDENCE_UNAVAILABLE, str(error)))
        return answer

    def _unrecorded(self, decision: Decision, traceparent: str = "") -> Answer:
        parent = parse_traceparent(traceparent) if traceparent else None
        return Answer(decision, self._ids.decision_id(), self._ids.child(parent))

    def _beside(self, decision: Decision, request: Request) -> Decision | None:
        """Return what the shadow says otherwise, on the very state of the decision: before its use is counted."""
        return None if self._shadow is None else self._shadow.otherwise(decision, request)

    def _of(
        self, answer: Answer, request: Request, call: Call, started: int, shadow: Decision | None = None
    ) -> DecisionRecord:
        return DecisionRecord(
            decision_id=answer.decision_id,
            trace=answer.trace,
            method=call.method,
            caller=call.caller_id,
            request=request,
            decision=answer.decision,
            shadow=shadow,
            started_at=Instant(started),
            ended_at=Instant(time.time_ns()),
        )

    def _ready_snapshot(self) -> Snapshot:
        self._state.check_readiness()
        return self._snapshot

    def _refusal(self, code: Code, message: str) -> Decision:
        return refuse(code, message, self._snapshot, self._clock.now())


def _expire(futures: Sequence[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(EvidenceUnavailableError(_NOT_IN_TIME))


def _look_at(written: asyncio.Future[None]) -> None:
    """Look at how it ended, for whoever asked may have gone: asyncio logs a failure that nobody has looked at."""
    if not written.cancelled():
        written.exception()
