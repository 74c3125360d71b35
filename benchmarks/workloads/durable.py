"""`durable`: decisions that are answered only once their record is on disk."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import uvloop

from benchmarks.database import Databases
from benchmarks.driving import Sample, by_figure, client_coalesced, client_unary, fields_of
from benchmarks.outcome import Outcome, row, row_beside
from benchmarks.processes import sidecar
from benchmarks.scale import CONCURRENT, Scale
from benchmarks.world import WRITE, messages

HOW = """\
Checks of an action whose policy says `evidence: durable`, through the asyncio client on uvloop, against the machine's
own fsync: the median time of appending 64 records' worth of bytes to a file in the same directory and forcing it to
disk, taken in every run. Concurrent decisions share an fsync; a lone caller cannot do better than one each."""

_RECORD = b"x" * 1_200
_FSYNCS = 100
_CHECKS = 2_000


def run(scale: Scale, folder: Path) -> Outcome:
    """Run the workload."""
    place = Databases(folder).folder_with(scale.wire_sessions, "durable")
    fields = [fields_of(check) for check in messages(scale.wire_sessions, _CHECKS, WRITE)]
    fsyncs: list[float] = []
    alone: list[Sample] = []
    unary: list[Sample] = []
    shared: list[Sample] = []
    with sidecar(place) as running:
        for _ in range(scale.runs):
            fsyncs.append(_fsync_ms(folder, 10 if scale.smoke else _FSYNCS))
            alone.append(uvloop.run(client_unary(running.target, fields, 1, scale.calls_alone // 4)))
            unary.append(uvloop.run(client_unary(running.target, fields, CONCURRENT, scale.calls_together)))
            shared.append(uvloop.run(client_coalesced(running.target, fields, CONCURRENT, scale.calls_together)))
    floor = row("the machine's fsync", "ms", fsyncs)
    rows = [floor]
    for label, samples in (
        ("1 caller", alone),
        ("64 callers, a call per check", unary),
        ("64 callers, sharing a stream", shared),
    ):
        found = by_figure(samples)
        rows.append(row_beside(f"{label}, p50", "ms", found.p50, floor))
        rows.append(row_beside(f"{label}, p99", "ms", found.p99, floor))
        per_fsync = row("decisions a second if each had its own fsync", "decisions/s", [1000 / ms for ms in fsyncs])
        rows.append(row_beside(label, "decisions/s", found.rate, per_fsync))
    return Outcome(workload="durable", title="Durable decisions", how=HOW, rows=rows, smoke=scale.smoke)


def _fsync_ms(folder: Path, times: int) -> float:
    """Return the median milliseconds of appending and forcing to disk."""
    taken = []
    path = folder / "fsync"
    with path.open("ab", buffering=0) as file:
        for _ in range(times):
            file.write(_RECORD * CONCURRENT)
            started = time.perf_counter()
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - started) * 1000)
    path.unlink()
    return statistics.median(taken)
