"""Tells one story to one driver, and notes every answer that is not as expected."""

from __future__ import annotations

from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from pdp.core.model import KIND_OF, AnyFact, FactKind, Instant, Revision
from pdp.scenarios.amending import AMENDMENTS
from pdp.scenarios.comparing import (
    Difference,
    differences_of_answer,
    differences_of_explanation,
    differences_of_permissions,
    differences_of_refusal,
    reasons_text,
    refusal_text,
)
from pdp.scenarios.driver import CheckSpec, Driver, DriverError, ObservedRefusal
from pdp.scenarios.story import (
    Advance,
    Amend,
    Ask,
    AskWhat,
    AskWhy,
    Break,
    CarryOut,
    FactsChange,
    Remove,
    RevisionAsked,
    Revoke,
    Scenario,
    SetClock,
    Step,
    Surroundings,
    SwapPolicies,
    Write,
)


class Failure(Struct, frozen=True, kw_only=True):
    """A step that did not go as the story says."""

    line: int
    step: str
    """Number and name, e.g. `step 3 (after the release)`."""
    differences: tuple[Difference, ...] = ()
    reasons: tuple[str, ...] = ()
    """The actual reasons with their messages, one line each; of a refused command the rules that stand against it."""
    remedy: str = ""
    """What would satisfy the first of those rules."""
    error: str = ""
    """Set when there was no answer to compare."""


class StoryError(Exception):
    """A step that cannot be taken, e.g. because it amends a fact that was never written."""


class Telling:
    """One story under way."""

    def __init__(self, scenario: Scenario, driver: Driver) -> None:
        self._scenario = scenario
        self._driver = driver
        self._now = scenario.now
        self._latest: Revision = 0
        self._written: dict[tuple[FactKind, str], AnyFact] = {}
        """The facts as the story last wrote them, so that a step can amend one."""

    async def tell(self) -> tuple[Failure, ...]:
        """Take every step; a difference does not end the story, a driver that does not answer does."""
        failures: list[Failure] = []
        number, step = 0, Step(1, "the start", Write(self._scenario.facts))
        try:
            await self._start()
            if self._scenario.facts:
                await self._take(step, "")
            for number, step in enumerate(self._scenario.steps, start=1):  # named in the failure
                failures += await self._take(step, _title(number, step))
        except (DriverError, StoryError) as error:
            failures.append(Failure(line=step.line, step=_title(number, step), error=str(error)))
        finally:
            await self._driver.close()
        return tuple(failures)

    async def _start(self) -> None:
        story = self._scenario
        await self._driver.start(story.policies, story.callers, story.principals, story.now)

    async def _take(self, step: Step, title: str) -> list[Failure]:
        match step.action:
            case Ask() as ask:
                return await self._ask(ask, step.line, title)
            case AskWhy() as ask:
                rows = await self._driver.explain(self._resolved(ask.spec, ask.at_least))
                differences = differences_of_explanation(ask.expect, rows)
                return _failures(step.line, title, differences, reasons_text(rows.failed))
            case AskWhat() as ask:
                permitted = await self._driver.permissions(ask.spec)
                differences = differences_of_permissions(ask.expect, permitted)
                return _failures(step.line, title, differences, reasons_text(permitted.reasons))
            case Advance() | SetClock() | SwapPolicies() | Break() as change:
                await self._change_surroundings(change)
            case CarryOut() as asked:
                return await self._carry_out(asked, step.line, title)
            case Write() | Remove() | Revoke() | Amend() as change:
                self._latest = await self._change_facts(change)
            case _ as never:
                assert_never(never)
        return []

    async def _ask(self, ask: Ask, line: int, title: str) -> list[Failure]:
        spec = self._resolved(ask.spec, ask.at_least)
        for time in range(1, ask.repeat + 1):
            answer = await self._driver.check(spec)
            differences = differences_of_answer(ask.expect, answer)
            if differences:
                which = f"{title}, time {time} of {ask.repeat}" if ask.repeat > 1 else title
                return _failures(line, which, differences, reasons_text(answer.reasons))
        return []

    async def _carry_out(self, asked: CarryOut, line: int, title: str) -> list[Failure]:
        outcome = await self._driver.carry_out(asked.command, asked.principal, asked.reason)
        if isinstance(outcome, ObservedRefusal):
            differences = differences_of_refusal(asked.expect, outcome)
            return _failures(line, title, differences, refusal_text(outcome), outcome.remedy)
        self._latest = outcome
        return _failures(line, title, differences_of_refusal(asked.expect, None), ())

    async def _change_surroundings(self, change: Surroundings) -> None:
        match change:
            case Advance(by):
                self._now = Instant(self._now + by)
                await self._driver.set_clock(self._now)
            case SetClock(to):
                self._now = to
                await self._driver.set_clock(to)
            case SwapPolicies(policies):
                await self._driver.set_policies(policies)
            case Break(fault):
                await self._driver.set_fault(fault)
            case _ as never:
                assert_never(never)

    async def _change_facts(self, change: FactsChange) -> Revision:
        match change:
            case Write(facts):
                return await self._write(facts)
            case Remove(kind, id_):
                self._written.pop((kind, id_), None)
                return await self._driver.drop(kind, id_)
            case Revoke(revocation, immediately):
                return await self._write((replace(revocation, effective_at=self._now) if immediately else revocation,))
            case Amend():
                return await self._amend(change)
            case _ as never:
                assert_never(never)

    async def _write(self, facts: tuple[AnyFact, ...]) -> Revision:
        self._written.update({(KIND_OF[type(fact)], fact.id): fact for fact in facts})
        return await self._driver.apply(facts)

    async def _amend(self, step: Amend) -> Revision:
        amendment = AMENDMENTS[step.verb]
        fact = self._written.get((amendment.kind, step.id))
        if fact is None:
            message = f"{amendment.kind} `{step.id}` has not been written by this story"
            raise StoryError(message)
        return await self._write((amendment.change(fact, step),))

    def _resolved(self, spec: CheckSpec, at_least: RevisionAsked | None) -> CheckSpec:
        return spec if at_least is None else replace(spec, at_least_revision=self._latest + at_least.ahead)


def _title(number: int, step: Step) -> str:
    if number == 0:
        return step.name
    return f"step {number} ({step.name})" if step.name else f"step {number}"


def _failures(
    line: int, title: str, differences: list[Difference], reasons: tuple[str, ...], remedy: str = ""
) -> list[Failure]:
    if not differences:
        return []
    return [Failure(line=line, step=title, differences=tuple(differences), reasons=reasons, remedy=remedy)]
