"""Watches: the decision for one request now, and again whenever it changes.

A watch is asked anew when a fact it depends on is written, when the policies or the state's readiness change, when a
limited use is counted, and when the next instant comes at which time alone may change its answer. Between those
nothing can alter its decision, so nothing is polled; conditions that read `now` are the exception, asked each second.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence

from pdp.clock import Clock
from pdp.core.decision import Allow, Decision
from pdp.core.dependence import keys_of
from pdp.core.model import Request
from pdp.core.touch import EVERYTHING
from pdp.core.wording import SECOND
from pdp.doors.call import Call
from pdp.doors.decision_point import Answer, DecisionPoint
from pdp.doors.errors import OverloadedError

_CLOCK_CONDITION_S = 1.0
"""How often a decision is asked again whose conditions read `now`."""
_LONGEST_S = 3600.0
"""Longest sleep: event loops refuse timers of years."""


class WatchHub:
    """Wakes the watches that a change can concern."""

    def __init__(self, point: DecisionPoint, clock: Clock, most: int) -> None:
        self._point = point
        self._clock = clock
        self._most = most
        self._open = 0
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._closing = False

    @property
    def open(self) -> int:
        """How many watches are open."""
        return self._open

    def touch(self, keys: Iterable[str]) -> None:
        """Have every watch that depends on one of the keys decided anew."""
        for key in keys:
            for event in self._waiting.get(key, ()):
                event.set()

    def touch_all(self) -> None:
        """Have every watch decided anew."""
        self.touch([EVERYTHING])

    def used(self, sessions: Sequence[str], approvals: Sequence[str]) -> None:
        """Hear of a limited use."""
        self.touch([f"session:{id_}" for id_ in sessions])
        self.touch([f"approval:{id_}" for id_ in approvals])

    def close(self) -> None:
        """End every watch."""
        self._closing = True
        self.touch_all()

    async def watch(self, request: Request, call: Call) -> AsyncIterator[Answer]:
        """Yield the decision now and at each change; raise OverloadedError if too many watches are open."""
        if self._open >= self._most:
            message = f"{self._most} watches are open already"
            raise OverloadedError(message)
        self._open += 1
        registration = _Registration(self._waiting)
        last: Decision | None = None
        try:
            while not self._closing:
                # INVARIANT: the registration stands before the decision is made and while it is sent, so no change
                # after the decision can be missed.
                registration.renew(keys_of(self._point.case(request)))
                answer = self._point.ask(request)
                if last is None or _differs(last, answer):
                    last = answer
                    yield await self._point.note(answer, request, call)
                await registration.woken(self._seconds_to_edge(answer))
        finally:
            registration.end()
            self._open -= 1

    def _seconds_to_edge(self, decision: Decision) -> float:
        """Return how long time alone leaves the decision as it is."""
        edge = decision.valid_until if isinstance(decision, Allow) else decision.reconsider_at
        seconds = _LONGEST_S if edge is None else max(0.0, (edge - self._clock.now()) / SECOND)
        return min(seconds, _CLOCK_CONDITION_S if decision.reads_clock else _LONGEST_S)


class _Registration:
    """One watch's place under the keys it depends on."""

    def __init__(self, waiting: dict[str, set[asyncio.Event]]) -> None:
        self._waiting = waiting
        self._event = asyncio.Event()
        self._keys: frozenset[str] = frozenset()

    def renew(self, keys: frozenset[str]) -> None:
        """Depend on these keys from here on, and on nothing else."""
        self._event.clear()
        if keys != self._keys:
            self.end()
            self._keys = keys
            for key in keys:
                self._waiting[key].add(self._event)

    async def woken(self, seconds: float) -> None:
        """Wait until a key is touched, or for so long."""
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except TimeoutError:
            return

    def end(self) -> None:
        """Depend on nothing any more."""
        for key in self._keys:
            waiting = self._waiting[key]
            waiting.discard(self._event)
            if not waiting:
                del self._waiting[key]
        self._keys = frozenset()


def _differs(last: Decision, new: Decision) -> bool:
    """Whether the caller must hear of it: another outcome, other reasons, another end, or another basis."""
    return _told(last) != _told(new)


def _told(decision: Decision) -> tuple[object, ...]:
    if isinstance(decision, Allow):
        grant = decision.grant
        basis = (grant.identity.owner, grant.session.id, grant.approval and grant.approval.id)
        return decision.code, decision.valid_until, decision.obligations, decision.policies, basis
    return tuple((denial.code, denial.about, denial.message) for denial in decision.reasons)
