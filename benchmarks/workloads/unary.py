"""`unary`: one check per call over a Unix socket, against a handler that only echoes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeAlias

import uvloop
from sessionpdp.v1 import decision_pb2 as pb

from benchmarks import h2load
from benchmarks.database import Databases
from benchmarks.driving import Sample, Samples, blocking, by_figure, fields_of, first_answer, raw_unary
from benchmarks.outcome import TIMES, Budget, Outcome, Row, at_most, ratios, row, row_beside, spaced
from benchmarks.processes import echo, require_allows_on_record, sidecar, sink
from benchmarks.scale import CONCURRENT, Scale
from benchmarks.world import messages

HOW = """\
Three servers, each a process of its own on a Unix socket: `pdp serve` with journal and spans on (exported over OTLP to
a process that drops them; a tenth of the routine allows, the default), the same with every span exported, and an echo
on the same stack (`grpc.aio`, uvloop, the same options) that decodes each check and answers with one fixed response,
taken from the sidecar. Twenty policies, no CEL. The servers take turns in every run, so that a ratio compares
neighbours in time; generator and servers share the machine. The Python generators draw checks over all sessions; h2load
sends one check over and over. h2load itself takes next to nothing, so its figures show the server best."""

ECHO, USUAL, EVERY_SPAN = "echo", "sidecar", "sidecar, every span exported"
_BAR_P50, _BAR_P99 = 1.3, 1.5
_CHECKS = 2_000

Generator: TypeAlias = Callable[[str, int, int], Sample]
"""Takes a target, callers and calls."""


def run(scale: Scale, folder: Path) -> Outcome:
    """Run the workload."""
    databases = Databases(folder)
    with ExitStack() as stack:
        collector = stack.enter_context(sink(folder / "sink"))
        targets: dict[str, str] = {}
        places = []
        for name, ratio in ((USUAL, None), (EVERY_SPAN, 1.0)):
            place = databases.folder_with(scale.wire_sessions, f"unary-{len(targets)}")
            places.append(place)
            running = sidecar(place, otlp_endpoint=collector.endpoint, sample_ratio=ratio)
            targets[name] = stack.enter_context(running).target
        checks = messages(scale.wire_sessions, _CHECKS)
        allow = first_answer(targets[USUAL], checks[0])
        targets[ECHO] = stack.enter_context(echo(folder / "echo", allow))
        measured = _measure(scale, targets, _generators(checks, allow, folder))
    exports = collector.require_spans()
    calls = scale.runs * (scale.calls_alone + scale.calls_together // CONCURRENT * CONCURRENT)
    records = [
        require_allows_on_record(place, calls * len({generator for generator, *_ in measured})) for place in places
    ]
    notes = [
        f"The journals hold {spaced(sum(records))} decisions, all of them allows.",
        f"{spaced(exports)} exports of spans arrived at the collector.",
    ]
    if not h2load.available():
        notes.append("h2load is not installed (Debian: nghttp2-client), so its figures are left out.")
    return Outcome(
        workload="unary",
        title="One check per call",
        how=HOW,
        rows=[row for one in measured for row in _rows(*one)],
        budgets=[budget for one in measured for budget in _budgets(*one)],
        notes=notes,
        smoke=scale.smoke,
    )


Measured: TypeAlias = tuple[str, int, dict[str, Samples]]
"""A generator, its number of callers, and what it found at each server."""


def _generators(checks: Sequence[pb.CheckRequest], allow: pb.CheckResponse, folder: Path) -> dict[str, Generator]:
    fields = [fields_of(check) for check in checks]

    def stub(target: str, callers: int, calls: int) -> Sample:
        return uvloop.run(raw_unary(target, checks, callers, calls))

    generators: dict[str, Generator] = {
        "asyncio stub": stub,
        "blocking client": lambda target, callers, calls: blocking(target, fields, callers, calls),
    }
    if h2load.available():
        drive = partial(h2load.drive, check=checks[0], allow=allow, folder=folder)
        generators = {"h2load": lambda t, callers, calls: drive(t, callers=callers, calls=calls)} | generators
    return generators


def _measure(scale: Scale, targets: dict[str, str], generators: dict[str, Generator]) -> list[Measured]:
    measured = []
    for generator, drive in generators.items():
        for callers, calls in ((1, scale.calls_alone), (CONCURRENT, scale.calls_together)):
            rounds: dict[str, list[Sample]] = {name: [] for name in targets}
            for _ in range(scale.runs):
                for name in (ECHO, USUAL, EVERY_SPAN):
                    rounds[name].append(drive(targets[name], callers, calls))
            measured.append((generator, callers, {name: by_figure(samples) for name, samples in rounds.items()}))
    return measured


def _rows(generator: str, callers: int, found: dict[str, Samples]) -> list[Row]:
    rows = []
    for figure, unit in (("p50", "ms"), ("p99", "ms"), ("rate", "calls/s")):
        label = f"{generator}, {callers} at once, {'' if figure == 'rate' else figure + ', '}"
        base = row(f"{label}{ECHO}", unit, getattr(found[ECHO], figure))
        rows.append(base)
        rows += [row_beside(f"{label}{name}", unit, getattr(found[name], figure), base) for name in (USUAL, EVERY_SPAN)]
    return rows


def _budgets(generator: str, callers: int, found: dict[str, Samples]) -> list[Budget]:
    label = f"{generator}, {callers} at once"
    return [
        at_most(f"{label}: p50 against the echo", _BAR_P50, TIMES, ratios(found[USUAL].p50, found[ECHO].p50)),
        at_most(f"{label}: p99 against the echo", _BAR_P99, TIMES, ratios(found[USUAL].p99, found[ECHO].p99)),
    ]
