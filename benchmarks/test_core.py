"""The core: `pytest benchmarks/test_core.py -o addopts=`.

Each round of a decision benchmark answers a thousand questions that were drawn anew over all sessions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import TypeAlias, TypeVar

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Worlds
from benchmarks.outcome import WrongAnswerError
from benchmarks.rivals.scenario import scenario
from benchmarks.rivals.with_cedar import Cedar
from benchmarks.world import World, policy_set, question, questions, snapshot_of
from pdp.core.case import Case
from pdp.core.decide import decide
from pdp.core.decision import Allow, Decision
from pdp.core.horizon import end_of_allow, next_edge
from pdp.core.model import Credential, Instant, Request
from pdp.core.scope import ActionScope, ResourceScope, Scope, ScopeIndex
from pdp.core.snapshot import Snapshot
from pdp.core.wording import SECOND

ROUND = 1000
Drawn: TypeAlias = tuple[tuple[list[Request], Snapshot, Instant], dict[str, object]]
"""The arguments of one round, as pytest-benchmark wants them."""
_Answer = TypeVar("_Answer")
_NOW = Instant(1_800_000_000 * SECOND)


def _decide_all(requests: Sequence[Request], snapshot: Snapshot, now: Instant) -> list[Decision]:
    return [decide(request, snapshot, now) for request in requests]


def _nothing(_request: Request, _snapshot: Snapshot, _now: Instant) -> object:
    return None


def _call_all(requests: Sequence[Request], snapshot: Snapshot, now: Instant) -> list[object]:
    return [_nothing(request, snapshot, now) for request in requests]


def _require_allows(decisions: Sequence[Decision]) -> None:
    for decision in decisions:
        if not isinstance(decision, Allow):
            message = f"a question of the benchmark was denied: {decision}"
            raise WrongAnswerError(message)


def _rounds(
    benchmark: BenchmarkFixture, answer_all: Callable[..., list[_Answer]], draw: Callable[[], Drawn], rounds: int
) -> list[_Answer]:
    """Measure rounds of questions that `draw` makes anew for each; return the answers of the last."""
    benchmark.extra_info["per_round"] = ROUND
    measured: Callable[..., list[_Answer]] = benchmark.pedantic
    return measured(answer_all, setup=draw, rounds=rounds, warmup_rounds=2)


def _measure(benchmark: BenchmarkFixture, world: World, snapshot: Snapshot, rounds: int) -> None:
    chance = random.Random(7)

    def draw() -> Drawn:
        return (questions(world, ROUND, chance), snapshot, world.now), {}

    _require_allows(_rounds(benchmark, _decide_all, draw, rounds))


@pytest.mark.parametrize("conditions", [0, 1, 2])
def test_decide(benchmark: BenchmarkFixture, worlds: Worlds, rounds: int, sessions: int, conditions: int) -> None:
    """A decision with twenty policies, three of which apply."""
    world, snapshot = worlds(sessions)
    snapshot.policies = policy_set(conditions)
    _measure(benchmark, world, snapshot, rounds)


def test_decide_with_lasting_revocations(benchmark: BenchmarkFixture, rounds: int) -> None:
    """A decision where no revocation has an end, so that the end of an allow needs no search."""
    world = World(1000, 1000, _NOW, revocations_expire=False)
    _measure(benchmark, world, snapshot_of(world), rounds)


def test_decide_with_a_credential(benchmark: BenchmarkFixture, rounds: int) -> None:
    """A decision about a request that shows a credential."""
    world = World(1000, 1000, _NOW)
    snapshot = snapshot_of(world)
    chance = random.Random(7)

    def draw() -> Drawn:
        return ([_with_credential(chance.randrange(1000)) for _ in range(ROUND)], snapshot, world.now), {}

    _require_allows(_rounds(benchmark, _decide_all, draw, rounds))


def _with_credential(number: int) -> Request:
    asked = question(number)
    credential = Credential(
        f"jti-{number}", "https://issuer.example.org", asked.subject, _NOW, Instant(_NOW + 3600 * SECOND)
    )
    return Request(
        asked.subject, asked.action, asked.resource, asked.session, context=asked.context, credential=credential
    )


def test_denial(benchmark: BenchmarkFixture, rounds: int) -> None:
    """A decision that denies for two reasons."""
    world = World(1000, 1000, _NOW)
    snapshot = snapshot_of(world)
    chance = random.Random(7)

    def draw() -> Drawn:
        return ([_out_of_scope(chance.randrange(1000)) for _ in range(ROUND)], snapshot, world.now), {}

    decisions = _rounds(benchmark, _decide_all, draw, rounds)
    if any(isinstance(decision, Allow) for decision in decisions):
        message = "a question out of scope was allowed"
        raise WrongAnswerError(message)


def _out_of_scope(number: int) -> Request:
    asked = question(number)
    return Request(asked.subject, "rows.delete", "database:prod/elsewhere", asked.session, context=asked.context)


def test_empty_calls(benchmark: BenchmarkFixture, rounds: int) -> None:
    """The floor: the same loop around a function that does nothing."""
    world = World(1000, 1000, _NOW)
    snapshot, chance = Snapshot(), random.Random(7)

    def draw() -> Drawn:
        return (questions(world, ROUND, chance), snapshot, world.now), {}

    _rounds(benchmark, _call_all, draw, rounds)


def test_cedar(benchmark: BenchmarkFixture, rounds: int) -> None:
    """A yardstick: a Cedar decision with twenty policies, parsed beforehand."""
    told = scenario()
    cedar = Cedar(told)
    asked = [cedar.prepared(one) for one in told.allowed[:100]]
    benchmark.extra_info["per_round"] = len(asked)
    measured: Callable[..., list[bool]] = benchmark.pedantic
    if not all(measured(cedar.answers, args=(asked,), rounds=max(rounds // 10, 1), warmup_rounds=1)):
        message = "cedar denied what it should allow"
        raise WrongAnswerError(message)


@pytest.mark.parametrize(
    ("scope", "value"),
    [
        pytest.param(ActionScope(["rows.read"]), "rows.read", id="exact"),
        pytest.param(
            ActionScope(["rows.read", "rows.write", "rows.list", "rows.count"]), "rows.list", id="exact-of-four"
        ),
        pytest.param(ResourceScope(["database:prod/**"]), "database:prod/users", id="prefix"),
        pytest.param(ResourceScope(["database:*/users"]), "database:prod/users", id="shape"),
    ],
)
def test_scope(benchmark: BenchmarkFixture, scope: Scope, value: str) -> None:
    """Whether a scope covers a value, by the form its patterns are compiled into."""
    if not benchmark(scope.covers, value):
        message = f"the scope does not cover `{value}`"
        raise WrongAnswerError(message)


@pytest.mark.parametrize("patterns", [20, 2000])
@pytest.mark.parametrize("values", [pytest.param(1000, id="known"), pytest.param(20_000, id="new")])
def test_scope_index(benchmark: BenchmarkFixture, patterns: int, values: int) -> None:
    """Which of many scopes cover a value: one asked about lately, and one that is new; the number must not show."""
    index = ScopeIndex(ResourceScope, [[f"database:prod/{number}/**"] for number in range(patterns)])
    asked = cycle([f"database:prod/7/users/{number}" for number in range(values)])
    for _ in range(values):
        index.covering(next(asked))
    if benchmark(lambda: index.covering(next(asked))) != 1 << 7:
        message = "the index found other scopes than those that cover the value"
        raise WrongAnswerError(message)


@pytest.mark.parametrize("edge", [end_of_allow, next_edge], ids=["usual", "search"])
def test_end_of_allow(benchmark: BenchmarkFixture, edge: object) -> None:
    """Until when an allow is valid: the usual way, and by the search that always finds it."""
    world = World(100, 100, _NOW, revocations_expire=False)
    case = Case(question(1), snapshot_of(world), world.now)
    if benchmark(edge, case, used=True) != world.now + 8 * 3600 * SECOND:
        message = "an allow does not end with its session's idle timeout"
        raise WrongAnswerError(message)


def test_case(benchmark: BenchmarkFixture) -> None:
    """Gathering the facts of a question, before any check."""
    world = World(1000, 1000, _NOW)
    snapshot, asked = snapshot_of(world), question(1)
    benchmark(Case, asked, snapshot, world.now)
