"""`unary`: one check per call over a Unix socket, against a handler that only echoes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks import h2load
from benchmarks.database import Databases
from benchmarks.driving import Sample, blocking, fields_of, first_answer
from benchmarks.outcome import TIMES, Budget, Outcome, at_most, ratios, spaced
from benchmarks.processes import echo, require_allows_on_record, sidecar, sink
from benchmarks.scale import Scale
from benchmarks.turns import NO_H2LOAD, Measured, calls_of_each, generators, in_turns, rows_beside
from benchmarks.world import messages

HOW = """\
Three servers, each a process of its own on a Unix socket: `pdp serve` with journal and spans on (exported over OTLP to
a process that drops them; of the routine allows one in a hundred, the default), the same with every span exported, and
an echo on the same stack (`grpc.aio`, uvloop, the same options) that decodes each check and answers with one fixed
response, taken from the sidecar. Twenty policies, no CEL. The servers take turns in every run, so that a ratio compares
neighbours in time; generator and servers share the machine. The Python generators draw checks over all sessions; h2load
sends one check over and over. h2load itself takes next to nothing, so its figures show the server best."""

ECHO, USUAL, EVERY_SPAN = "echo", "sidecar", "sidecar, every span exported"
_BAR_P50, _BAR_P99 = 1.3, 1.5
_CHECKS = 2_000


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
        targets = {ECHO: stack.enter_context(echo(folder / "echo", allow))} | targets
        fields = [fields_of(check) for check in checks]

        def client(target: str, callers: int, calls: int) -> Sample:
            return blocking(target, fields, callers, calls)

        measured = in_turns(scale, targets, generators(checks, allow, folder) | {"blocking client": client})
    exports = collector.require_spans()
    records = [require_allows_on_record(place, calls_of_each(scale, measured)) for place in places]
    notes = [
        f"The journals hold {spaced(sum(records))} decisions, all of them allows.",
        f"{spaced(exports)} exports of spans arrived at the collector.",
    ]
    if not h2load.available():
        notes.append(NO_H2LOAD)
    return Outcome(
        workload="unary",
        title="One check per call",
        how=HOW,
        rows=[row for one in measured for row in rows_beside(one, ECHO)],
        budgets=[budget for one in measured for budget in _budgets(one)],
        notes=notes,
        smoke=scale.smoke,
    )


def _budgets(measured: Measured) -> list[Budget]:
    label, usual, floor = measured.label, measured.found[USUAL], measured.found[ECHO]
    return [
        at_most(f"{label}: p50 against the echo", _BAR_P50, TIMES, ratios(usual.p50, floor.p50)),
        at_most(f"{label}: p99 against the echo", _BAR_P99, TIMES, ratios(usual.p99, floor.p99)),
    ]
