"""`durable`: decisions that are answered only once their record is on disk."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from subprocess import Popen

import msgspec
import uvloop
from sessionpdp.request import CheckFields

from benchmarks import h2load
from benchmarks.database import Databases
from benchmarks.driving import (
    Sample,
    Spell,
    by_figure,
    client_coalesced,
    client_paced,
    client_unary,
    fields_of,
    first_answer,
    sample,
)
from benchmarks.outcome import Budget, Outcome, Row, at_least, at_most, row, row_beside, spaced
from benchmarks.processes import ProcessFailedError, module, require_allows_on_record, sidecar, sink
from benchmarks.scale import CONCURRENT, FAST_PACE_S, PACE_S, Scale
from benchmarks.turns import NO_H2LOAD
from benchmarks.world import READ, WRITE, messages

HOW = """\
Checks of an action whose policy says `evidence: durable`, through the asyncio client on uvloop, against the machine's
own fsync: the median time of appending 64 records' worth of bytes to a file in the same directory and forcing it to
disk, taken in every run while nothing else runs. (The sidecar tells nobody how long its own last sync took. That of
one record at the pace of the load stands beside it, since a disk that has had a rest takes longer; no bar is held
against it.) Concurrent decisions share an fsync; a lone caller cannot do better than one each. In a *closed loop* each
of 64 callers asks again as soon as it is answered: that shows the most decisions a second, while p50 is above all the
queue in front of the processor (64 divided by the rate), with or without a disk; so the same load of buffered checks
takes turns with it, and what p50 has more than theirs is what being durable adds. *Paced*, 64 callers ask four times a
second each, one after another: nothing queues, and p50 is what a decision waits for, counted from when it is really
asked; once with the client, all sharing its stream, and once with h2load, each on a connection of its own. *At a
thousand a second* they ask four times as often, which takes most of what a sidecar's thread can do in calls of one
check. *Two processes* are two clients with 32 callers each, because 64 callers in one Python process cost as much
processor time as the sidecar. *With a collector* is the same sidecar with spans and metrics over OTLP to a process
that drops them: durable decisions are always exported. The index follows the journal in both; what a load has left
behind is done before the next one begins."""

_FSYNC_PACED = "the machine's fsync, one record each 4 ms"
_RECORD = b"x" * 1_200
_FSYNCS = 100
_CHECKS = 2_000
_BAR_RATE, _BAR_MS = 5_000.0, 1.0

_ALONE, _UNARY = "1 caller", "64 callers, a call per check"
_SHARED, _TWO = "64 callers, sharing a stream", "64 callers, sharing a stream, two processes"
_BUFFERED, _COLLECTED = f"{_SHARED}, buffered", f"{_SHARED}, with a collector"
_PACED, _PACED_BUFFERED = "64 callers, paced", "64 callers, paced, buffered"
_PACED_COLLECTED = f"{_PACED}, with a collector"
_H2LOAD, _H2LOAD_BUFFERED = f"{_PACED}, h2load", f"{_PACED}, h2load, buffered"
_H2LOAD_COLLECTED = f"{_H2LOAD}, with a collector"
_FAST = f"{_H2LOAD}, at a thousand a second"
_FAST_BUFFERED = f"{_FAST}, buffered"
_BESIDE = {
    _PACED: _PACED_BUFFERED,
    _PACED_COLLECTED: _PACED_BUFFERED,
    _H2LOAD: _H2LOAD_BUFFERED,
    _H2LOAD_COLLECTED: _H2LOAD_BUFFERED,
    _SHARED: _BUFFERED,
    _COLLECTED: _BUFFERED,
}
"""Durable loads, and the same of buffered checks."""

Load = Callable[[], Sample]


def run(scale: Scale, folder: Path) -> Outcome:
    """Run the workload."""
    databases = Databases(folder)
    place, collected = (databases.folder_with(scale.wire_sessions, name) for name in ("durable", "durable-collected"))
    fsyncs, paced = list[float](), list[float]()
    samples: dict[str, list[Sample]] = {}
    with ExitStack() as stack:
        collector = stack.enter_context(sink(folder / "sink"))
        usual = stack.enter_context(sidecar(place))
        exporting = stack.enter_context(sidecar(collected, otlp_endpoint=collector.endpoint))
        targets = usual.target, exporting.target
        loads = {**_loads(scale, *targets), **_by_h2load(scale, folder, *targets)}
        for _ in range(scale.runs):
            times = 10 if scale.smoke else _FSYNCS
            fsyncs.append(_fsync_ms(folder, times, CONCURRENT))
            paced.append(_fsync_ms(folder, times, 1, PACE_S / CONCURRENT))
            for name, load in loads.items():
                samples.setdefault(name, []).append(load())
                for running in (usual, exporting):
                    running.await_quiet(smoke=scale.smoke)
    rows = [row(_FSYNC_PACED, "ms", paced), *_rows(fsyncs, samples)]
    least = scale.runs * scale.calls_together  # at either, of durable ones alone
    records = sum(require_allows_on_record(each, least, durable=least) for each in (place, collected))
    exports = collector.require_spans()
    return Outcome(
        workload="durable",
        title="Durable decisions",
        how=HOW,
        rows=rows,
        budgets=_budgets(fsyncs, samples),
        notes=[
            f"The journals hold {spaced(records)} decisions, all of them allows.",
            f"{spaced(exports)} exports of spans arrived at the collector.",
            *([] if h2load.available() else [NO_H2LOAD]),
        ],
        smoke=scale.smoke,
    )


def _loads(scale: Scale, usual: str, exporting: str) -> Mapping[str, Load]:
    """Return the loads in the order in which they take turns: neighbours are compared."""
    durable, buffered = (
        [fields_of(check) for check in messages(scale.wire_sessions, _CHECKS, action)] for action in (WRITE, READ)
    )

    def closed(target: str, fields: Sequence[CheckFields]) -> Sample:
        return uvloop.run(client_coalesced(target, fields, CONCURRENT, scale.calls_together))

    def paced(target: str, fields: Sequence[CheckFields]) -> Sample:
        return uvloop.run(client_paced(target, fields, CONCURRENT, PACE_S, scale.paced_turns))

    return {
        _PACED: partial(paced, usual, durable),
        _PACED_BUFFERED: partial(paced, usual, buffered),
        _PACED_COLLECTED: partial(paced, exporting, durable),
        _ALONE: lambda: uvloop.run(client_unary(usual, durable, 1, scale.calls_alone // 4)),
        _UNARY: lambda: uvloop.run(client_unary(usual, durable, CONCURRENT, scale.calls_together)),
        _BUFFERED: partial(closed, usual, buffered),
        _SHARED: partial(closed, usual, durable),
        _COLLECTED: partial(closed, exporting, durable),
        _TWO: partial(_two_processes, usual, scale),
    }


def _by_h2load(scale: Scale, folder: Path, usual: str, exporting: str) -> Mapping[str, Load]:
    """Return the paced loads of h2load, if it is there."""
    if not h2load.available():
        return {}
    of = {action: messages(scale.wire_sessions, 1, action)[0] for action in (WRITE, READ)}

    def paced(target: str, action: str, every_s: float = PACE_S) -> Sample:
        allow, turns = first_answer(target, of[action]), round(scale.paced_turns * PACE_S / every_s)
        return h2load.pace(target, of[action], allow, CONCURRENT, every_s, turns, folder)

    return {
        _H2LOAD: partial(paced, usual, WRITE),
        _H2LOAD_BUFFERED: partial(paced, usual, READ),
        _H2LOAD_COLLECTED: partial(paced, exporting, WRITE),
        _FAST: partial(paced, usual, WRITE, FAST_PACE_S),
        _FAST_BUFFERED: partial(paced, usual, READ, FAST_PACE_S),
    }


def _two_processes(target: str, scale: Scale) -> Sample:
    """Return the figures of two clients in processes of their own, taken together."""
    callers, calls = CONCURRENT // 2, scale.calls_together // 2
    numbers = (scale.wire_sessions, callers, calls)
    with ExitStack() as stack:
        askers = [stack.enter_context(module("asker", target, WRITE, *map(str, numbers), str(seed))) for seed in (7, 8)]
        for asker in askers:
            _line(asker)
        for asker in askers:
            _tell(asker)
        spells = [msgspec.json.decode(_line(asker), type=Spell) for asker in askers]
    elapsed = max(spell.end for spell in spells) - min(spell.begin for spell in spells)
    return sample([latency for spell in spells for latency in spell.latencies_s], elapsed)


def _line(asker: Popen[str]) -> str:
    line = asker.stdout.readline() if asker.stdout is not None else ""
    if not line:
        message = "a process that asks has ended early"
        raise ProcessFailedError(message)
    return line


def _tell(asker: Popen[str]) -> None:
    if asker.stdin is not None:
        asker.stdin.write("\n")
        asker.stdin.flush()


def _rows(fsyncs: Sequence[float], samples: Mapping[str, Sequence[Sample]]) -> list[Row]:
    floor = row("the machine's fsync", "ms", fsyncs)
    per_fsync = row("decisions a second if each had its own fsync", "decisions/s", [1000 / ms for ms in fsyncs])
    rows = [floor, per_fsync]
    for name, some in samples.items():
        found = by_figure(some)
        rows.append(row_beside(f"{name}, p50", "ms", found.p50, floor))
        rows.append(row_beside(f"{name}, p99", "ms", found.p99, floor))
        if _PACED not in name:
            rows.append(row_beside(name, "decisions/s", found.rate, per_fsync))
    rows += [
        row_beside(f"{name}, p50 minus that of buffered ones", "ms", added, floor)
        for name, added in _added(samples).items()
    ]
    return rows


def _added(samples: Mapping[str, Sequence[Sample]]) -> Mapping[str, Sequence[float]]:
    """Return what p50 has more than that of the same load of buffered checks."""
    return {
        name: _less(_p50(samples[name]), _p50(samples[beside])) for name, beside in _BESIDE.items() if name in samples
    }


def _budgets(fsyncs: Sequence[float], samples: Mapping[str, Sequence[Sample]]) -> list[Budget]:
    rates = [
        at_least(f"{name}: durable decisions a second", _BAR_RATE, "decisions/s", by_figure(samples[name]).rate)
        for name in (_SHARED, _TWO, _COLLECTED)
    ]
    paced = [name for name in samples if name in _BESIDE and _PACED in name]
    return [
        *rates,
        *(
            at_most(f"{name}: p50 minus the machine's fsync", _BAR_MS, "ms", _less(_p50(samples[name]), fsyncs))
            for name in paced
        ),
        *(
            at_most(
                f"{name}: p50 minus that of buffered ones and the fsync",
                _BAR_MS,
                "ms",
                _less(added, fsyncs),
            )
            for name, added in _added(samples).items()
        ),
    ]


def _p50(samples: Sequence[Sample]) -> list[float]:
    return [one.p50 for one in samples]


def _less(values: Sequence[float], others: Sequence[float]) -> list[float]:
    return [value - other for value, other in zip(values, others, strict=True)]


def _fsync_ms(folder: Path, times: int, records: int, pause_s: float = 0.0) -> float:
    """Return the median milliseconds of forcing so many records to disk, after a pause each time."""
    taken = []
    path = folder / "fsync"
    with path.open("ab", buffering=0) as file:
        for _ in range(times):
            time.sleep(pause_s)
            file.write(_RECORD * records)
            started = time.perf_counter()
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - started) * 1000)
    path.unlink()
    return statistics.median(taken)
