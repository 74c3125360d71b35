"""`stream`: what concurrent callers gain when their checks share one stream."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import uvloop
from sessionpdp.request import CheckFields

from benchmarks.database import Databases
from benchmarks.driving import Sample, Samples, by_figure, client_coalesced, client_unary, fields_of, first_answer
from benchmarks.outcome import TIMES, Outcome, Row, at_least, at_most, ratios, row, row_beside
from benchmarks.processes import echo, sidecar, sink
from benchmarks.scale import CONCURRENT, Scale
from benchmarks.world import messages

HOW = """\
The asyncio client, one process with 64 concurrent callers, on uvloop. With a `timeout` of its own each check is a call;
without one, checks that are asked at the same time share one `CheckStream`: the same client, the same questions drawn
over all sessions, the same sidecar with journal and spans on. Rounds alternate. The echo, which decides nothing, shows
what of it is transport and client. Building the message and reading the answer are part of every latency."""

_BAR_RATE, _BAR_P99 = 10.0, 1.0
_CHECKS = 2_000
_UNARY, _COALESCED = "a call per check", "sharing a stream"

Drive: TypeAlias = Callable[[str, Sequence[CheckFields], int, int], Coroutine[None, None, Sample]]


def run(scale: Scale, folder: Path) -> Outcome:
    """Run the workload."""
    with ExitStack() as stack:
        collector = stack.enter_context(sink(folder / "sink"))
        place = Databases(folder).folder_with(scale.wire_sessions, "stream")
        target = stack.enter_context(sidecar(place, otlp_endpoint=collector.endpoint)).target
        checks = messages(scale.wire_sessions, _CHECKS)
        floor = stack.enter_context(echo(folder / "echo", first_answer(target, checks[0])))
        found = _measure(scale, {"sidecar": target, "echo": floor}, [fields_of(check) for check in checks])
    exports = collector.require_spans()
    unary, coalesced = found["sidecar", _UNARY], found["sidecar", _COALESCED]
    budgets = [
        at_least(f"decisions/s, {_COALESCED} against {_UNARY}", _BAR_RATE, TIMES, ratios(coalesced.rate, unary.rate)),
        at_most(f"p99, {_COALESCED} against {_UNARY}", _BAR_P99, TIMES, ratios(coalesced.p99, unary.p99)),
    ]
    return Outcome(
        workload="stream",
        title="Concurrent checks sharing a stream",
        how=HOW,
        rows=_rows(found),
        budgets=budgets,
        notes=[f"{exports} exports of spans arrived at the collector."],
        smoke=scale.smoke,
    )


def _measure(scale: Scale, targets: dict[str, str], fields: Sequence[CheckFields]) -> dict[tuple[str, str], Samples]:
    manners: tuple[tuple[str, Drive, int], ...] = (
        (_UNARY, client_unary, scale.calls_together),
        (_COALESCED, client_coalesced, scale.checks_coalesced),
    )
    rounds: dict[tuple[str, str], list[Sample]] = {}
    for _ in range(scale.runs):
        for manner, drive, calls in manners:
            for name, target in targets.items():
                found = uvloop.run(drive(target, fields, CONCURRENT, calls))
                rounds.setdefault((name, manner), []).append(found)
    return {key: by_figure(samples) for key, samples in rounds.items()}


def _rows(found: dict[tuple[str, str], Samples]) -> list[Row]:
    rows = []
    for figure, unit in (("rate", "decisions/s"), ("p50", "ms"), ("p99", "ms")):
        label = "" if figure == "rate" else f", {figure}"
        for name in ("sidecar", "echo"):
            base = row(f"{name}, {_UNARY}{label}", unit, getattr(found[name, _UNARY], figure))
            beside = getattr(found[name, _COALESCED], figure)
            rows += [base, row_beside(f"{name}, {_COALESCED}{label}", unit, beside, base)]
    return rows
