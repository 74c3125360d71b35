"""A random story decided by a decision point, with all that it leaves: journal, change log and policy sets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random

from msgspec.structs import replace

from pdp.clock import ManualClock
from pdp.core.model import KIND_OF, Change, Drop, Instant, Put, Revision, Session
from pdp.core.policy.rules import PolicySet
from pdp.core.snapshot import Readiness, Snapshot
from pdp.doors.call import Call
from pdp.doors.decision_point import DecisionPoint
from pdp.evidence.journal.segments import segment_path
from pdp.evidence.line.chain import GENESIS, line_of
from pdp.evidence.line.record_json import body_of
from pdp.evidence.memory import MemoryEvidence
from pdp.evidence.trace import Ids
from pdp.state.store import Commit, Origin, stamped
from tests.property.core_worlds import EVERY, USUAL, Dice, asked_by, policy_from, request_from

METHODS = ("Check", "Check", "Check", "CheckBatch", "Watch", "Explain")


class StoryWithPast:
    """Decides and changes at random; everything follows from its number."""

    def __init__(self, number: int) -> None:
        self._random = Random(number)
        self._clock = ManualClock(Instant(4))
        self._snapshot = Snapshot()
        self._evidence = MemoryEvidence()
        self.commits: list[Commit] = []
        self.policies: dict[str, PolicySet] = {}
        self._point = DecisionPoint(self._snapshot, self, self._clock, self._evidence, Ids(0.0))
        self._snapshot.readiness = Readiness.READY
        self._tighten(0)
        self._commit(*(Put(grow(Dice(0))) for grow in USUAL))

    def check_readiness(self) -> Readiness:
        """Return what the snapshot says; now and then it has been stale."""
        stale = self._random.random() < 0.01
        self._snapshot.readiness = Readiness.STALE if stale else Readiness.READY
        return self._snapshot.readiness

    async def applied(self, revision: int, timeout_s: float) -> bool:
        """Return whether a revision is applied; what is not will not be."""
        del timeout_s
        return revision <= self._snapshot.revision

    def history(self, after: Revision) -> Iterator[Commit]:
        """Yield every commit after a revision."""
        yield from self.commits[after:]

    def run(self, steps: int) -> None:
        """Take so many steps."""
        asyncio.run(self._run(steps))

    def write(self, directory: Path, lines_of_a_segment: int = 70) -> None:
        """Write the journal, in several segments."""
        previous = GENESIS
        for number, record in enumerate(self._evidence.records, 1):
            line, previous = line_of(body_of(record), number, previous)
            first = number - (number - 1) % lines_of_a_segment
            with segment_path(directory, first).open("ab") as segment:
                segment.write(line)

    async def _run(self, steps: int) -> None:
        for _ in range(steps):
            chance = self._random.random()
            if chance < 0.8:
                await self._decide()
            elif chance < 0.95:
                self._change()
            elif chance < 0.97:
                self._clock.advance(self._random.choice((0, 0, 1)))
            else:
                self._tighten(self._random.randrange(4))

    async def _decide(self) -> None:
        request = request_from(self._number())
        session = self._snapshot.sessions.get(request.session)
        if session is not None and self._random.random() < 0.9:
            request = asked_by(request, session.identity)
        call = Call(self._random.choice(METHODS), request.caller)
        if call.method == "Explain":
            await self._point.explain(request, call)
        elif call.method == "Watch":
            await self._point.note(self._point.ask(request), request, call)
        else:
            await self._point.check(request, call)

    def _change(self) -> None:
        """Write a fact or two, or drop one; mostly something that is good."""
        chance = self._random.random()
        if chance < 0.1:
            fact = self._random.choice(EVERY)(Dice(0))
            self._commit(Drop(KIND_OF[type(fact)], fact.id))
            return
        grown = self._random.sample(USUAL if chance < 0.6 else EVERY, k=self._random.choice((1, 1, 2)))
        self._commit(*(Put(grow(Dice(self._number() if chance > 0.3 else 0))) for grow in grown))

    def _commit(self, *changes: Change) -> None:
        revision = self._snapshot.revision + 1
        origin = Origin("somebody", "a story", "", self._clock.now())
        commit = Commit(revision, stamped(changes, revision, origin), origin)
        self.commits.append(commit)
        self._snapshot.apply(revision, commit.changes)

    def _tighten(self, policies: int) -> None:
        version = str(len(self.policies))
        grown = [policy_from(f"rule-{place}", self._number()) for place in range(policies)]
        self._snapshot.policies = self.policies[version] = PolicySet(grown, version)

    def _number(self) -> int:
        """Return a number to grow from; half of them spoil little."""
        number = self._random.randrange(2**32)
        return number if self._random.random() < 0.5 else number - number % 4 + 2


def with_another_end(commit: Commit) -> Commit:
    """Return a commit in which every session ends a little earlier."""
    return replace(commit, changes=tuple(_ending_earlier(change) for change in commit.changes))


def _ending_earlier(change: Change) -> Change:
    if isinstance(change, Put) and isinstance(change.fact, Session):
        return Put(replace(change.fact, expires_at=Instant(change.fact.expires_at - 1)))
    return change
