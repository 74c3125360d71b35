"""Load from Python: blocking clients, raw asyncio stubs, and the asyncio client with its coalescing.

Every answer is looked at; the first that is no allow ends the workload.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import cycle
from typing import NamedTuple, TypeVar

import grpc
from google.protobuf.json_format import MessageToDict
from sessionpdp import PDP, AsyncPDP
from sessionpdp.request import CheckFields, Resource, Subject
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import decision_pb2_grpc

from benchmarks.outcome import WrongAnswerError

_Check = TypeVar("_Check")
_TIMEOUT_S = 20.0
"""A deadline that is never reached, yet one that is told to the server, as every client of it does."""


class Sample(NamedTuple):
    """One round: calls a second, and latencies in milliseconds."""

    rate: float
    p50: float
    p99: float


class Samples(NamedTuple):
    """Rounds of the same measurement."""

    rate: list[float]
    p50: list[float]
    p99: list[float]


class Spell(NamedTuple):
    """A round as one process saw it."""

    begin: float
    """On the monotonic clock."""
    end: float
    latencies_s: list[float]


def by_figure(samples: Sequence[Sample]) -> Samples:
    """Return the rounds figure by figure."""
    return Samples([one.rate for one in samples], [one.p50 for one in samples], [one.p99 for one in samples])


def sample(latencies_s: Sequence[float], elapsed_s: float) -> Sample:
    """Return the figures of a round."""
    ordered = sorted(latencies_s)
    return Sample(len(ordered) / elapsed_s, percentile(ordered, 0.50) * 1000, percentile(ordered, 0.99) * 1000)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least such a share of the values does not exceed."""
    return ordered[max(math.ceil(len(ordered) * share) - 1, 0)]


def require_allow(decision: pb.Decision) -> None:
    """Raise WrongAnswerError unless the decision is an allow."""
    if decision.outcome != pb.OUTCOME_ALLOW:
        reasons = "; ".join(reason.message for reason in decision.reasons)
        message = f"a check was denied: {reasons}"
        raise WrongAnswerError(message)


def first_answer(target: str, check: pb.CheckRequest) -> pb.CheckResponse:
    """Return the response to one check, which must be an allow."""
    with grpc.insecure_channel(target) as channel:
        stub = decision_pb2_grpc.DecisionServiceStub(channel)
        response: pb.CheckResponse = stub.Check(check, timeout=_TIMEOUT_S, wait_for_ready=True)
    require_allow(response.decision)
    return response


async def raw_unary(target: str, checks: Sequence[pb.CheckRequest], callers: int, calls: int) -> Sample:
    """Return the figures of concurrent callers with the bare generated stub."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub: decision_pb2_grpc.DecisionServiceAsyncStub = decision_pb2_grpc.DecisionServiceStub(channel)

        async def call(check: pb.CheckRequest) -> None:
            require_allow((await stub.Check(check, timeout=_TIMEOUT_S)).decision)

        return await _round(call, cycle(checks), callers, calls)


async def client_unary(target: str, checks: Sequence[CheckFields], callers: int, calls: int) -> Sample:
    """Return the figures of concurrent callers of the asyncio client when each check is a call of its own."""
    async with AsyncPDP(target) as pdp:

        async def call(check: CheckFields) -> None:
            (await pdp.check(timeout=_TIMEOUT_S, **check)).require()

        return await _round(call, cycle(checks), callers, calls)


async def client_coalesced(target: str, checks: Sequence[CheckFields], callers: int, calls: int) -> Sample:
    """Return the figures of concurrent callers of the asyncio client when checks share a stream."""
    spell = await coalesced_spell(target, checks, callers, calls, _at_once)
    return sample(spell.latencies_s, spell.end - spell.begin)


async def coalesced_spell(
    target: str, checks: Sequence[CheckFields], callers: int, calls: int, begin: Callable[[], None]
) -> Spell:
    """Return the same of this process; `begin` is called when all is ready, and may wait."""
    async with AsyncPDP(target, timeout=_TIMEOUT_S) as pdp:

        async def call(check: CheckFields) -> None:
            (await pdp.check(**check)).require()

        return await _spell(call, cycle(checks), callers, calls, begin)


async def client_paced(target: str, checks: Sequence[CheckFields], callers: int, every_s: float, turns: int) -> Sample:
    """Return the figures of callers that each ask so many times, once in so many seconds, at staggered times.

    The rate is what was answered; an answer that is late makes its caller late by as much, never two ask at once.
    """
    latencies: list[float] = []
    async with AsyncPDP(target, timeout=_TIMEOUT_S) as pdp:
        (await pdp.check(**checks[0])).require()
        begin = time.perf_counter()

        async def caller(number: int) -> None:
            for turn in range(turns):
                due = begin + (turn + number / callers) * every_s
                await asyncio.sleep(max(due - time.perf_counter(), 0))
                started = time.perf_counter()
                (await pdp.check(**checks[(turn * callers + number) % len(checks)])).require()
                latencies.append(time.perf_counter() - started)

        await asyncio.gather(*(caller(number) for number in range(callers)))
        return sample(latencies, time.perf_counter() - begin)


def _at_once() -> None:
    """Wait for nothing."""


async def _round(
    call: Callable[[_Check], Awaitable[None]], checks: Iterator[_Check], callers: int, calls: int
) -> Sample:
    spell = await _spell(call, checks, callers, calls, _at_once)
    return sample(spell.latencies_s, spell.end - spell.begin)


async def _spell(
    call: Callable[[_Check], Awaitable[None]],
    checks: Iterator[_Check],
    callers: int,
    calls: int,
    begin: Callable[[], None],
) -> Spell:
    """Let callers share so many calls, after each has made one that does not count."""
    latencies: list[float] = []
    left = iter(range(calls))

    async def caller() -> None:
        for _ in left:
            check = next(checks)
            started = time.perf_counter()
            await call(check)
            latencies.append(time.perf_counter() - started)

    await asyncio.gather(*(call(next(checks)) for _ in range(callers)))
    begin()
    started = time.monotonic()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return Spell(started, time.monotonic(), latencies)


def blocking(target: str, checks: Sequence[CheckFields], callers: int, calls: int) -> Sample:
    """Return the figures of so many threads that share a blocking client."""
    latencies: list[float] = []
    failures: list[BaseException] = []
    each = max(calls // callers, 1)
    with PDP(target, timeout=_TIMEOUT_S) as pdp:

        def caller(first: int) -> None:
            try:
                for number in range(first, first + each):
                    check = checks[number % len(checks)]
                    started = time.perf_counter()
                    pdp.check(**check).require()
                    latencies.append(time.perf_counter() - started)
            except BaseException as error:  # noqa: BLE001  # a thread's failure is the workload's
                failures.append(error)

        pdp.check(**checks[0]).require()
        threads = [threading.Thread(target=caller, args=(number * each,)) for number in range(callers)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - started
    if failures:
        raise failures[0]
    return sample(latencies, elapsed)


def fields_of(check: pb.CheckRequest) -> CheckFields:
    """Return a message as the clients' arguments."""
    return {
        "subject": Subject(check.subject.id, check.subject.type),
        "action": check.action.name,
        "resource": Resource(check.resource.type, check.resource.id),
        "session": check.session_id,
        "context": MessageToDict(check.context),
    }
