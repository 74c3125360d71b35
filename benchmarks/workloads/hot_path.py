"""`hot-path`: where the time of a batch goes."""

from __future__ import annotations

import asyncio
import cProfile
import gc
import logging
import pstats
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path

import structlog
import uvloop
from sessionpdp.v1 import decision_pb2 as pb

from benchmarks.conditions import ROOT
from benchmarks.database import Databases
from benchmarks.driving import Sample, client_coalesced, client_unary, fields_of, require_allow
from benchmarks.outcome import Outcome, Row, row, row_beside
from benchmarks.processes import Sidecar as Running
from benchmarks.processes import Spent, sidecar, sink
from benchmarks.scale import CONCURRENT, Scale
from benchmarks.world import messages, policy_text
from pdp.app import Sidecar
from pdp.doors.call import Call
from pdp.doors.decision_handlers import DecisionHandlers
from pdp.doors.decision_point import DecisionPoint
from pdp.evidence.trace import Ids
from pdp.settings import Settings

HOW = """\
The handler of `CheckBatch` in this process: bytes in, 64 decisions drawn over all sessions, bytes out, with the real
journal behind it. The figure is the processor time of the event loop's thread alone; the scribe's process comes on top.
The baseline decodes the same batch and encodes 64 fixed decisions. Then a `pdp serve` process under load from 64
callers: what a decision costs its event loop, what all its other threads (gRPC, log, archive), which share the
interpreter with the loop, and what its child processes (scribe, keeper, exporter). The table of functions
is from a run of the handler under `cProfile`, which makes functions look slower than they are, small ones above
all: read it for proportions."""

_UNIT = "µs a decision"
_CHECKS = 2_000
_CATCH_UP_S = 1.0
_BATCH = 64
_BATCHES = 40
_TOP = 20


def run(scale: Scale, folder: Path) -> Outcome:
    """Run the workload."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    place = Databases(folder).folder_with(scale.wire_sessions, "hot-path")
    policies = place / "policies.yaml"
    policies.write_text(policy_text(0), encoding="utf-8")
    settings = Settings(data_dir=str(place), policies=[str(policies)])
    handled, floor, table = uvloop.run(_measure(scale, settings))
    base = row("decode and encode alone", _UNIT, floor)
    rows: list[Row] = [base, row_beside("the whole batch handler", _UNIT, handled, base)]
    rows += _process_rows(scale, folder)
    return Outcome(
        workload="hot-path",
        title="Where time goes",
        how=HOW,
        rows=rows,
        notes=table,
        smoke=scale.smoke,
    )


def _process_rows(scale: Scale, folder: Path) -> list[Row]:
    """Return what a decision costs the threads of a sidecar."""
    fields = [fields_of(check) for check in messages(scale.wire_sessions, _CHECKS)]
    costs: dict[str, list[Spent]] = {"a call per check": [], "sharing a stream": []}
    with sink(folder / "sink") as collector:
        place = Databases(folder).folder_with(scale.wire_sessions, "hot-path-process")
        with sidecar(place, otlp_endpoint=collector.endpoint) as running:
            for _ in range(scale.runs):
                unary = partial(client_unary, running.target, fields, CONCURRENT, scale.calls_together)
                shared = partial(client_coalesced, running.target, fields, CONCURRENT, scale.checks_coalesced)
                costs["a call per check"].append(_cost(running, unary, scale.calls_together))
                costs["sharing a stream"].append(_cost(running, shared, scale.checks_coalesced))
    rows = []
    for manner, found in costs.items():
        loop = row(f"`pdp serve`, {manner}, event loop", _UNIT, [cost.loop for cost in found])
        others = row_beside(f"`pdp serve`, {manner}, other threads", _UNIT, [cost.others for cost in found], loop)
        children = [cost.children for cost in found]
        rows += [loop, others, row_beside(f"`pdp serve`, {manner}, child processes", _UNIT, children, loop)]
    return rows


def _cost(running: Running, drive: Callable[[], Coroutine[None, None, Sample]], decisions: int) -> Spent:
    """Return microseconds a decision, once all threads and children have caught up."""
    before = running.processor_s()
    uvloop.run(drive())
    time.sleep(_CATCH_UP_S)
    return running.processor_s().a_decision(before, decisions)


async def _measure(scale: Scale, settings: Settings) -> tuple[list[float], list[float], list[str]]:
    """Return microseconds a decision of the handler and of its floor, and the table of functions."""
    batches = [
        pb.CheckBatchRequest(checks=messages(scale.wire_sessions, _BATCH, seed=seed)).SerializeToString()
        for seed in range(_BATCHES)
    ]
    product = Sidecar(settings)
    try:
        await product.start()
        handlers = _handlers(product)
        answer = await _handle(handlers, batches[0])
        gc.collect()
        gc.freeze()
        handled, floor = [], []
        for _ in range(scale.runs):
            floor.append(_floor_us(batches, answer))
            handled.append(await _handled_us(handlers, batches))
        return handled, floor, await _profile(handlers, batches)
    finally:
        await product.stop()
        gc.unfreeze()


def _handlers(product: Sidecar) -> DecisionHandlers:
    if product.replica is None or product.watches is None:
        message = "the sidecar has not started"
        raise RuntimeError(message)
    point = DecisionPoint(product.snapshot, product.replica, product.clock, product.evidence, Ids(0.1))
    return DecisionHandlers(point, product.watches)


async def _handle(handlers: DecisionHandlers, data: bytes) -> bytes:
    response = await handlers.check_batch(pb.CheckBatchRequest.FromString(data), Call("CheckBatch"))
    return response.SerializeToString()


async def _handled_us(handlers: DecisionHandlers, batches: Sequence[bytes]) -> float:
    started = time.thread_time()
    answers = [await _handle(handlers, data) for data in batches]
    elapsed = time.thread_time() - started
    for answer in answers:
        for decision in pb.CheckBatchResponse.FromString(answer).decisions:
            require_allow(decision)
    await asyncio.sleep(0.1)
    return elapsed / len(batches) / _BATCH * 1e6


def _floor_us(batches: Sequence[bytes], answer: bytes) -> float:
    response = pb.CheckBatchResponse.FromString(answer)
    started = time.thread_time()
    for data in batches:
        pb.CheckBatchRequest.FromString(data)
        response.SerializeToString()
    return (time.thread_time() - started) / len(batches) / _BATCH * 1e6


async def _profile(handlers: DecisionHandlers, batches: Sequence[bytes]) -> list[str]:
    """Return the functions with most time of their own, as lines of a table."""
    profile = cProfile.Profile()
    profile.enable()
    for data in batches:
        await _handle(handlers, data)
    profile.disable()
    stats = pstats.Stats(profile)
    functions = sorted(_functions(stats), reverse=True)
    total = sum(own for own, *_ in functions)
    header = ["| own time | with callees | calls a decision | function |", "|---:|---:|---:|---|"]
    return header + [
        f"| {own / total:.1%} | {whole / total:.1%} | {calls / _BATCH / len(batches):.1f} | `{name}` |"
        for own, whole, calls, name in functions[:_TOP]
    ]


def _functions(stats: pstats.Stats) -> list[tuple[float, float, int, str]]:
    """Return own time, time with callees, calls and name of every function."""
    entries: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = vars(stats)["stats"]
    return [
        (own, whole, calls, _named(file, function))
        for (file, _, function), (_, calls, own, whole, _) in entries.items()
    ]


def _named(file: str, function: str) -> str:
    if not file.startswith(str(ROOT)):
        return function if file == "~" else f"{Path(file).name}:{function}"
    return f"{Path(file).relative_to(ROOT)}:{function}"
