"""`evidence`: single checks with everything of evidence on, against the same sidecar without any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace
from sessionpdp.v1 import decision_pb2 as pb

from benchmarks import h2load
from benchmarks.database import Databases
from benchmarks.driving import Sample, by_figure, first_answer
from benchmarks.outcome import TIMES, Budget, Outcome, Row, WrongAnswerError, at_most, ratios, row, row_beside, spaced
from benchmarks.processes import Sidecar, Sink, Spent, bare, require_allows_on_record, resident_bytes, sidecar, sink
from benchmarks.scale import CONCURRENT, PACE_S, Scale
from benchmarks.turns import NO_H2LOAD, Generator, Measured, calls_of_each, generators, in_turns, joined, rows_beside
from benchmarks.world import messages
from pdp.evidence.journal.segments import segments_of

HOW = """\
Three servers, each a process of its own on a Unix socket: the sidecar with an evidence port that forgets every record
(*off*; nothing of the product can do this); `pdp serve` with everything on: journal, seals, compression and retention
of segments, the index, the account of uses, a mask rule, and spans and metrics over OTLP to a process that drops them,
of the routine allows one in a hundred, the default; and the same with every span exported, and every record as a log
record too. The checks lack the attribute that the mask rule names, so nothing is masked, but every decision is looked
through. Shadow policies are off: they are another decision, which costs what a decision costs. All decisions are
buffered allows. Every run starts the servers anew, because where a process comes to lie in memory makes it up to a
third faster or slower for as long as it runs; then they take turns. Each turn begins with half as many calls that do
not count, so that index, export and the rest are at work beside those that do, and ends when what they left behind is
done: above all the compression of a segment that got full, which takes a sixteenth of a processor for some twenty
seconds. In a closed loop each caller asks again as soon as it is answered, so that 64 of them wait above all for one
another: p50 is then what a decision costs of the processor. *Paced*, 64 connections ask four times a second each, so
that nothing queues: p50 is what a decision takes. Generator and servers share the machine. Processor time is that of
whole turns with 64 callers: of the event loop's thread, of all other threads of the process, which share its
interpreter, and of its child processes."""

OFF, ON, EVERY = "evidence off", "evidence on", "on, all exported"
_BAR_P50 = 1.15
_CHECKS = 2_000
_MIB = 1024 * 1024
_JOURNAL = {"keep_for": "720h", "keep_bytes": 1 << 40, "mask": [{"attributes": ["context.customer_email"]}]}
"""Retention is on, with nothing to remove yet."""
_THREADS = "event loop's thread", "other threads", "child processes"


class Server(Struct, frozen=True):
    """A server that takes its turn, and what it cost."""

    running: Sidecar
    costs: dict[str, list[Spent]]
    """By generator: microseconds a decision."""


def run(scale: Scale, folder: Path) -> Outcome:
    """Run the workload."""
    databases = Databases(folder)
    names = (OFF, ON, EVERY)
    places = {
        name: databases.folder_with(scale.wire_sessions, f"evidence-{number}") for number, name in enumerate(names)
    }
    checks = messages(scale.wire_sessions, _CHECKS)
    costs: dict[str, dict[str, list[Spent]]] = {name: {} for name in names}
    runs: list[list[Measured]] = []
    once = replace(scale, runs=1)
    with sink(folder / "sink") as collector:
        for _ in range(scale.runs):
            with ExitStack() as stack:
                running = {name: stack.enter_context(_server(name, places[name], collector)) for name in names}
                servers = {name: Server(one, costs[name]) for name, one in running.items()}
                runs.append(_run(once, servers, checks, folder))
                weights = _weights(running)
    measured = joined(runs)
    return Outcome(
        workload="evidence",
        title="Evidence on against off",
        how=HOW,
        rows=[*(row for one in measured for row in rows_beside(one, OFF)), *_costs(costs), *weights],
        budgets=[_budget(one) for one in measured],
        notes=_notes(places, calls_of_each(scale, measured), collector),
        smoke=scale.smoke,
    )


def _run(
    scale: Scale, servers: Mapping[str, Server], checks: Sequence[pb.CheckRequest], folder: Path
) -> list[Measured]:
    """Put servers that have just started under every load."""
    running = {name: server.running for name, server in servers.items()}
    targets = {name: one.target for name, one in running.items()}
    by = generators(checks, first_answer(targets[ON], checks[0]), folder)
    for one in running.values():
        one.await_quiet(smoke=scale.smoke)
    weighed = {name: _weighed(name, drive, servers, smoke=scale.smoke) for name, drive in by.items()}
    return [*in_turns(scale, targets, weighed), *_paced(scale, running, checks[0], folder)]


def _server(name: str, place: Path, collector: Sink) -> AbstractContextManager[Sidecar]:
    if name == OFF:
        return bare(place)
    if name == ON:
        return sidecar(place, otlp_endpoint=collector.endpoint, journal=_JOURNAL)
    return sidecar(place, otlp_endpoint=collector.endpoint, sample_ratio=1.0, logs=True, journal=_JOURNAL)


def _paced(scale: Scale, running: Mapping[str, Sidecar], check: pb.CheckRequest, folder: Path) -> list[Measured]:
    """Return what h2load found, if it is there, when nothing queues."""
    if not h2load.available():
        return []
    rounds: dict[str, list[Sample]] = {name: [] for name in running}
    allow = first_answer(running[ON].target, check)
    for _ in range(scale.runs):
        for name, one in running.items():
            rounds[name].append(h2load.pace(one.target, check, allow, CONCURRENT, PACE_S, scale.paced_turns, folder))
            one.await_quiet(smoke=scale.smoke)
    return [Measured("h2load, paced", CONCURRENT, {name: by_figure(some) for name, some in rounds.items()})]


def _weighed(name: str, drive: Generator, servers: Mapping[str, Server], *, smoke: bool) -> Generator:
    """Return a generator whose turns begin and end as they should, and note what they cost the server."""
    by_target = {server.running.target: server for server in servers.values()}

    def turn(target: str, callers: int, calls: int) -> Sample:
        server, before = by_target[target], by_target[target].running.processor_s()
        warming = calls // 2
        drive(target, callers, warming)
        found = drive(target, callers, calls)
        server.running.await_quiet(smoke=smoke)
        if callers == CONCURRENT:
            cost = server.running.processor_s().a_decision(before, warming + calls)
            server.costs.setdefault(name, []).append(cost)
        return found

    return turn


def _costs(costs: Mapping[str, Mapping[str, Sequence[Spent]]]) -> list[Row]:
    """Return what a decision costs of the processor's time, by generator and thread."""
    rows = []
    for generator in costs[OFF]:
        for number, threads in enumerate(_THREADS):
            label = f"{generator}, {CONCURRENT} at once, {threads}, "
            runs = {f"{label}{name}": [one[number] for one in spent[generator]] for name, spent in costs.items()}
            rows += _beside_off(runs, "µs a decision")
    return rows


def _weights(running: Mapping[str, Sidecar]) -> list[Row]:
    """Return what is resident now."""
    own = {f"memory, {name}": [one.resident_bytes() / _MIB] for name, one in running.items()}
    children = {
        f"memory of child processes, {name}": [sum(map(resident_bytes, one.children())) / _MIB]
        for name, one in running.items()
    }
    return [*_beside_off(own, "MiB"), *_beside_off(children, "MiB")]


def _beside_off(runs: Mapping[str, Sequence[float]], unit: str) -> list[Row]:
    """Return rows, the first as the baseline if it is anything at all; what is nothing everywhere is left out."""
    rows = [row(label, unit, some) for label, some in runs.items()]
    if all(rows[0].runs):
        return [rows[0], *(row_beside(one.label, unit, one.runs, rows[0]) for one in rows[1:])]
    return [one for one in rows if any(one.runs)]


def _budget(measured: Measured) -> Budget:
    what = f"{measured.label}: p50 of buffered decisions against no evidence"
    return at_most(what, _BAR_P50, TIMES, ratios(measured.found[ON].p50, measured.found[OFF].p50))


def _notes(places: Mapping[str, Path], calls: int, collector: Sink) -> list[str]:
    if segments_of(places[OFF] / "journal"):
        message = "the sidecar without evidence has written a journal"
        raise WrongAnswerError(message)
    records = sum(require_allows_on_record(places[name], calls) for name in (ON, EVERY))
    arrived = (
        f"{spaced(collector.require_spans())} exports of spans and {spaced(collector.require_logs())} of log records"
    )
    notes = [
        f"The two journals hold {spaced(records)} decisions, all of them allows; the third server has none.",
        f"{arrived} arrived at the collector.",
    ]
    return notes if h2load.available() else [*notes, NO_H2LOAD]
