"""`changes`: what checks feel while many changes are applied."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import grpc
import uvloop
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import decision_pb2_grpc

from benchmarks.database import Databases
from benchmarks.driving import Sample, by_figure, require_allow, sample
from benchmarks.outcome import Outcome, Row, at_most, ratios, row, row_beside, spaced
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
            budgets.append(at_most(f"p99 of checks during {label}", _BAR, "×", ratios(during.p99, without.p99)))
    return Outcome(
        workload="changes", title="Changes under load", how=HOW, rows=rows, budgets=budgets, smoke=scale.smoke
    )


def _measure(
    scale: Scale, running: Sidecar, checks: Sequence[pb.CheckRequest], manner: str
) -> tuple[list[Sample], list[Sample], list[float]]:
    """Return the rounds without and with changes, and the seconds the changes took."""
    quiet, busy, taken = [], [], []
    for number in range(scale.runs):
        pause = asyncio.sleep(0.2 if scale.smoke else _BASELINE_S, 0.0)
        quiet.append(uvloop.run(_checks_while(running.target, checks, pause))[0])
        writing = asyncio.to_thread(_write, running, manner, scale.changes, f"{manner}-{number}")
        found, seconds = uvloop.run(_checks_while(running.target, checks, writing))
        busy.append(found)
        taken.append(seconds)
    return quiet, busy, taken


def _write(running: Sidecar, manner: str, changes: int, run_name: str) -> float:
    return float(run_module("writer", running.administration, manner, str(changes), run_name))


async def _checks_while(
    target: str, checks: Sequence[pb.CheckRequest], going_on: "asyncio.Future[float] | object"
) -> tuple[Sample, float]:
    return NotImplemented
