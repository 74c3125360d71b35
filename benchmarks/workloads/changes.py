"""`changes`: what checks feel while many changes are applied."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import grpc
import uvloop
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import decision_pb2_grpc

from benchmarks.database import Databases
from benchmarks.driving import Sample, by_figure, require_allow, sample
from benchmarks.outcome import TIMES, Outcome, Row, at_most, ratios, row, row_beside, spaced
from benchmarks.processes import Sidecar, run_module, sidecar
from benchmarks.scale import Scale
from benchmarks.world import messages

HOW = """\
A check every two milliseconds, each a call of its own that is sent whether or not earlier ones have been answered, so
that a pause of the server delays all that fall into it. Meanwhile a writer in a process of its own applies the changes
through `GovernanceService`, each durable and in force before it is acknowledged: new sessions, a thousand per call, one
call after the other; or revocations, one per call, 32 calls under way at once. The baseline is as long a time, just
before, without a writer. On a machine with few cores the writer and the disk's threads take processor time from the
server too, which is part of the figure."""


class Call(NamedTuple):
    """A check: when it was sent, on the clock that all processes share, and how long it took."""

    sent: float
    latency: float


_PERIOD_S = 0.002
_BASELINE_S = 3.0
_BAR = 2.0
_CHECKS = 2_000
_MANNERS = {"batches": "in calls of 1 000", "single": "one by one"}


def run(scale: Scale, folder: Path) -> Outcome:
    """Run the workload."""
    place = Databases(folder).folder_with(scale.sizes[1], "changes")
    checks = messages(scale.sizes[1], _CHECKS)
    rows: list[Row] = []
    budgets = []
    with sidecar(place) as running:
        for manner, words in _MANNERS.items():
            quiet, busy, taken = _measure(scale, running, checks, manner)
            without, during = by_figure(quiet), by_figure(busy)
            label = f"{spaced(scale.changes)} changes {words}"
            for figure in ("p50", "p99"):
                base = row(f"{figure} of checks before {label}", "ms", getattr(without, figure))
                rows += [base, row_beside(f"{figure} of checks during {label}", "ms", getattr(during, figure), base)]
            rows.append(row(label, "changes/s", [scale.changes / seconds for seconds in taken]))
            budgets.append(at_most(f"p99 of checks during {label}", _BAR, TIMES, ratios(during.p99, without.p99)))
    return Outcome(
        workload="changes", title="Changes under load", how=HOW, rows=rows, budgets=budgets, smoke=scale.smoke
    )


def _measure(
    scale: Scale, running: Sidecar, checks: Sequence[pb.CheckRequest], manner: str
) -> tuple[list[Sample], list[Sample], list[float]]:
    """Return the rounds without and with changes, and the seconds the changes took."""
    quiet, busy, taken = [], [], []
    for number in range(scale.runs):
        pause = 0.3 if scale.smoke else _BASELINE_S
        calm, _ = uvloop.run(_checks_while(running.target, checks, _pause(pause)))
        quiet.append(_sample(calm, 0.0, math.inf))
        writing = _write(running, manner, scale.changes, f"{manner}-{number}")
        calls, (begin, end) = uvloop.run(_checks_while(running.target, checks, writing))
        busy.append(_sample(calls, begin, end))
        taken.append(end - begin)
    return quiet, busy, taken


def _sample(calls: Sequence[Call], begin: float, end: float) -> Sample:
    """Return the figures of the calls that were under way at any moment of a span of time."""
    during = [call for call in calls if call.sent < end and call.sent + call.latency > begin]
    first, last = min(call.sent for call in during), max(call.sent + call.latency for call in during)
    return sample([call.latency for call in during], last - first)


async def _pause(seconds: float) -> tuple[float, float]:
    await asyncio.sleep(seconds)
    return 0.0, 0.0


async def _write(running: Sidecar, manner: str, changes: int, name: str) -> tuple[float, float]:
    """Apply the changes; return when that began and ended."""
    told = await asyncio.to_thread(run_module, "writer", running.administration, manner, str(changes), name)
    begin, end = map(float, told.split())
    return begin, end


async def _checks_while(
    target: str, checks: Sequence[pb.CheckRequest], going_on: Coroutine[None, None, tuple[float, float]]
) -> tuple[list[Call], tuple[float, float]]:
    """Send checks at a steady pace until something else is over; return them, and what that came to."""
    calls: list[Call] = []
    async with grpc.aio.insecure_channel(target) as channel:
        stub: decision_pb2_grpc.DecisionServiceAsyncStub = decision_pb2_grpc.DecisionServiceStub(channel)

        async def call(check: pb.CheckRequest) -> None:
            sent = time.monotonic()
            require_allow((await stub.Check(check)).decision)
            calls.append(Call(sent, time.monotonic() - sent))

        require_allow((await stub.Check(checks[0], wait_for_ready=True)).decision)
        other = asyncio.create_task(going_on)
        async with asyncio.TaskGroup() as sending:
            due = time.monotonic()
            for check in cycle(checks):
                if other.done():
                    break
                sending.create_task(call(check))
                due += _PERIOD_S
                await asyncio.sleep(max(due - time.monotonic(), 0.0))
    return calls, other.result()
