"""The page of figures, README.md, from `results.json`."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.outcome import Budget, Conditions, Outcome, Row, shown, spread

ORDER = (
    "decide",
    "compare",
    "unary",
    "stream",
    "evidence",
    "durable",
    "records",
    "restart",
    "changes",
    "memory",
    "hot-path",
)
BEFORE_AND_AFTER = "before-and-after"
"""Written by `benchmarks.against`, and shown last."""

_INTRODUCTION = """\
# Benchmarks

Every figure is the median of several runs, with the lowest and the highest beside it, and stands beside a baseline that
was taken in the same run; the ratio is the median of the ratios run by run. Absolute figures are those of one machine;
ratios travel better. Every workload checks the answers it gets, so that none measures denials or errors by mistake.

    make bench                        # everything, tens of minutes, on a machine that does nothing else
    make bench-smoke                  # everything once, briefly, to see that it runs; figures are thrown away
    python -m benchmarks unary        # one workload
    python -m benchmarks report       # this page again, from results.json
    python -m benchmarks.against A B  # two checkouts in turns: what a change cost
    pytest benchmarks -o addopts=     # the core and the door's conversions, with pytest-benchmark's own tables

This page and `plots/` are written by the program: edit the workloads, not the page.
"""


def write(folder: Path, outcomes: Mapping[str, Outcome], plots: Mapping[str, str]) -> Path:
    """Write the page into a folder; `plots` are paths from there, by workload."""
    told = [outcomes[name] for name in (*ORDER, BEFORE_AND_AFTER) if name in outcomes]
    parts = [_INTRODUCTION]
    if any(outcome.smoke for outcome in told):
        parts.append("**These figures are of a smoke run and mean nothing.**\n")
    parts.append(_budgets(told))
    parts += [_workload(outcome, plots.get(outcome.workload)) for outcome in told]
    path = folder / "README.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def _budgets(outcomes: Iterable[Outcome]) -> str:
    lines = [_budget(outcome.workload, budget) for outcome in outcomes for budget in outcome.budgets]
    head = "## Budgets\n\n| workload | what | bar | figure | runs | |\n|---|---|---:|---:|---|---|\n"
    return head + "\n".join(lines) + "\n"


def _budget(workload: str, budget: Budget) -> str:
    bar = f"{'≤' if budget.at_most else '≥'} {shown(budget.bar)} {budget.unit}"
    verdict = "kept" if budget.met else "**missed**"
    figure = f"{shown(budget.value)} {budget.unit}"
    return f"| [{workload}](#{workload}) | {budget.what} | {bar} | {figure} | {spread(budget.runs)} | {verdict} |"


def _workload(outcome: Outcome, plot: str | None) -> str:
    tables = [note for note in outcome.notes if note.startswith("|")]
    words = [note for note in outcome.notes if not note.startswith("|")]
    parts = [f"## {outcome.workload}\n", f"{outcome.title}.\n", f"{outcome.how}\n", _rows(outcome.rows)]
    if tables:
        parts.append("\n".join(tables) + "\n")
    parts += [f"{note}\n" for note in words]
    if plot is not None:
        parts.append(f"![{outcome.title}]({plot})\n")
    if outcome.conditions is not None:
        parts.append(_conditions(outcome.conditions))
    return "\n".join(parts)


def _rows(rows: Iterable[Row]) -> str:
    lines = ["| | median | unit | runs | ratio | runs | to |", "|---|---:|---|---|---:|---|---|"]
    return "\n".join([*lines, *map(_row, rows)]) + "\n"


def _row(row: Row) -> str:
    figure = f"| {row.label} | {shown(statistics.median(row.runs))} | {row.unit} | {spread(row.runs)} |"
    if not row.ratios:
        return f"{figure} | | |"
    return f"{figure} {shown(statistics.median(row.ratios))} | {spread(row.ratios)} | {row.baseline} |"


def _conditions(conditions: Conditions) -> str:
    cores = f"{conditions.cores} core" + ("s" if conditions.cores != 1 else "")
    return (
        f"<sub>{conditions.date}; {conditions.cpu}, {cores}; {conditions.kernel}, {conditions.filesystem}; "
        f"Python {conditions.python}, grpcio {conditions.grpcio}, protobuf {conditions.protobuf}, "
        f"uvloop {conditions.uvloop}; load before {conditions.load}; commit {conditions.commit}.</sub>\n"
    )
