"""`memory`: what sessions weigh, in the serving process and in a snapshot alone."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from benchmarks.database import Databases
from benchmarks.driving import first_answer
from benchmarks.outcome import Outcome, Row, at_most, row, row_beside, spaced
from benchmarks.processes import run_module, sidecar
from benchmarks.scale import Scale
from benchmarks.world import message

HOW = """\
Resident memory of `pdp serve` once it serves, by the number of sessions in its database, and of a snapshot alone in a
process of its own as things are added to it. A session comes with a tenth of a task and of an approval, and a hundredth
of an identity and of an entitlement; that is counted as the session's. Facts go through the store's codec, which shares
equal scopes and texts, as they do in the sidecar."""

_BAR = 1024.0
_MIB = 1024 * 1024


def run(scale: Scale, folder: Path) -> Outcome:
    """Run the workload."""
    few, _, many = scale.sizes
    databases = Databases(folder)
    resident = {size: _serving(databases.folder_with(size, f"memory-{size}"), size) for size in scale.sizes}
    base = row(f"`pdp serve`, {spaced(few)} sessions", "MiB", [resident[few] / _MIB])
    rows: list[Row] = [base]
    rows += [
        row_beside(f"`pdp serve`, {spaced(size)} sessions", "MiB", [resident[size] / _MIB], base)
        for size in scale.sizes[1:]
    ]
    per_session = (resident[many] - resident[few]) / (many - few)
    rows.append(row(f"`pdp serve`, each session up to {spaced(many)}", "bytes", [per_session]))
    rows += _snapshot_rows(many)
    budgets = [at_most(f"a session of the serving process, at {spaced(many)}", _BAR, "bytes", [per_session])]
    return Outcome(workload="memory", title="Memory", how=HOW, rows=rows, budgets=budgets, smoke=scale.smoke)


def _serving(place: Path, sessions: int) -> int:
    with sidecar(place) as running:
        first_answer(running.target, message(sessions - 1))
        return running.resident_bytes()


def _snapshot_rows(sessions: int) -> list[Row]:
    weights: dict[str, int] = json.loads(run_module("footprint", str(sessions)))
    steps = list(weights)
    words = {
        "basis": "what a session rests on",
        "sessions": "a session",
        "revocations": "a revocation",
        "uses": "the use of a session and its approval on record",
    }
    return [
        row(f"snapshot alone, {words[step]}", "bytes", [(weights[step] - weights[before]) / sessions])
        for before, step in pairwise(steps)
    ]
