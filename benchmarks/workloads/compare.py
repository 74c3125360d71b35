"""`compare`: the same scenario put to this product, to Cedar and to Casbin, in process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from benchmarks.outcome import TIMES, Outcome, Row, WrongAnswerError, at_least, ratios, row, row_beside
from benchmarks.rivals.scenario import Ask, Scenario, scenario
from benchmarks.rivals.with_casbin import Casbin
from benchmarks.rivals.with_cedar import Cedar, CedarAsText
from benchmarks.rivals.with_pdp import Pdp
from benchmarks.scale import Scale

HOW = """\
One scenario (`benchmarks/rivals/scenario.py`): a hundred jobs in twenty roles, one rule per role, each job under a
session and a task of its own. Every engine gets it as its language says it best, policies and, for Cedar, entities
parsed beforehand; a row shows what parsing at each call costs. All answers, to a thousand questions to allow and to a
thousand to deny, must be right. The time is that of the engine's own call; this product's `decide` also
gives every reason and the end of the answer's validity, which the others do not. One thread, its processor time."""

_BAR = 20.0
_Question = TypeVar("_Question")


class Engine(Protocol[_Question]):
    """Answers the scenario's questions."""

    name: str

    def prepared(self, ask: Ask) -> _Question:
        """Return the question as the engine takes it."""

    def answers(self, requests: Sequence[_Question]) -> list[bool]:
        """Return whether each is allowed."""


def run(scale: Scale, folder: Path) -> Outcome:
    """Run the workload."""
    del folder
    told = scenario()
    share = 10 if scale.smoke else 1
    asked = Scenario(told.jobs, told.allowed[::share], told.denied[::share])
    pdp, cedar, as_text, casbin = Pdp(asked), Cedar(asked), CedarAsText(asked), Casbin(asked)
    turns = [
        {Pdp.name: _turn(pdp, asked), Cedar.name: _turn(cedar, asked)}
        | {CedarAsText.name: _turn(as_text, asked), Casbin.name: _turn(casbin, asked)}
        for _ in range(scale.runs)
    ]
    rates = {name: ([turn[name][0] for turn in turns], [turn[name][1] for turn in turns]) for name in turns[0]}
    rows: list[Row] = []
    for number, word in enumerate(("allowed", "denied")):
        base = row(f"{Pdp.name}, {word}", "decisions/s", rates[Pdp.name][number])
        rows.append(base)
        rows += [row_beside(f"{name}, {word}", "decisions/s", rates[name][number], base) for name in list(rates)[1:]]
    ours = rates[Pdp.name][0]
    budgets = [
        at_least(f"decisions/s against {name}", _BAR, TIMES, ratios(ours, rates[name][0]))
        for name in (Cedar.name, Casbin.name)
    ]
    return Outcome(
        workload="compare", title="Beside other engines", how=HOW, rows=rows, budgets=budgets, smoke=scale.smoke
    )


def _turn(engine: Engine[_Question], told: Scenario) -> tuple[float, float]:
    """Return decisions a second on the questions to allow, and on those to deny."""
    return _rate(engine, told.allowed, allowed=True), _rate(engine, told.denied, allowed=False)


def _rate(engine: Engine[_Question], asks: Sequence[Ask], *, allowed: bool) -> float:
    prepared = [engine.prepared(ask) for ask in asks]
    engine.answers(prepared[:20])
    started = time.thread_time()
    answers = engine.answers(prepared)
    elapsed = time.thread_time() - started
    wrong = [ask for ask, answer in zip(asks, answers, strict=True) if answer is not allowed]
    if wrong:
        message = f"{engine.name} gave the wrong answer to {len(wrong)} questions, first `{wrong[0]}`"
        raise WrongAnswerError(message)
    return len(asks) / elapsed
