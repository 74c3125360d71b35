"""`restart`: from the start of the process until health says SERVING."""

from __future__ import annotations

from pathlib import Path

import uvloop

from benchmarks.database import Databases
from benchmarks.driving import client_coalesced, fields_of
from benchmarks.outcome import Outcome, Row, at_most, row, row_beside, spaced
from benchmarks.processes import sidecar
from benchmarks.scale import CONCURRENT, Scale
from benchmarks.world import messages

HOW = """\
From `exec` of `pdp serve` on a folder with a database until `grpc.health.v1` says SERVING, by polling every few
milliseconds. Files are in the page cache, as after a crash or an upgrade; after a reboot the disk is read besides. The
smallest database shows what is the interpreter and its imports. The last row restarts on a journal that holds that many
decisions, from which the counted uses are restored."""

_BAR_S = 2.0
_CHECKS = 2_000


def run(scale: Scale, folder: Path) -> Outcome:
    """Run the workload."""
    databases = Databases(folder)
    places = {size: databases.folder_with(size, f"restart-{size}") for size in scale.sizes}
    taken: dict[int, list[float]] = {size: [] for size in scale.sizes}
    for _ in range(scale.restarts):
        for size, place in places.items():
            taken[size].append(_restart_s(place))
    base = row(f"{spaced(scale.sizes[0])} sessions", "s", taken[scale.sizes[0]])
    rows: list[Row] = [base]
    rows += [row_beside(f"{spaced(size)} sessions", "s", taken[size], base) for size in scale.sizes[1:]]
    rows.append(_with_journal(scale, places[scale.sizes[0]], base))
    many = scale.sizes[1]
    budget = at_most(f"serving with {spaced(many)} sessions", _BAR_S, "s", taken[many])
    return Outcome(workload="restart", title="Restart", how=HOW, rows=rows, budgets=[budget], smoke=scale.smoke)


def _with_journal(scale: Scale, place: Path, base: Row) -> Row:
    fields = [fields_of(check) for check in messages(scale.sizes[0], _CHECKS)]
    with sidecar(place) as running:
        uvloop.run(client_coalesced(running.target, fields, CONCURRENT, scale.checks_coalesced))
    taken = [_restart_s(place) for _ in range(scale.restarts)]
    label = f"{spaced(scale.sizes[0])} sessions, a journal of {spaced(scale.checks_coalesced)} decisions"
    return row_beside(label, "s", taken, base)


def _restart_s(place: Path) -> float:
    with sidecar(place) as running:
        return running.serving_after_s
