"""`python -m benchmarks [workload …] [--smoke]`: measure, keep the figures, rewrite the page."""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from benchmarks import h2load, page, results
from benchmarks.conditions import conditions
from benchmarks.outcome import Outcome, shown, spread
from benchmarks.scale import FULL, SMOKE, Scale

HERE = Path(__file__).parent
REPORT = "report"
_PLAIN_WIDTH = 150


def main(
    workloads: Annotated[
        list[str] | None, typer.Argument(help=f"Any of {', '.join(page.ORDER)}, or `{REPORT}`; all by default.")
    ] = None,
    *,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Run briefly; the figures mean nothing and are not kept.")
    ] = False,
    runs: Annotated[int | None, typer.Option("--runs", min=1, help="Runs of each measurement.")] = None,
    directory: Annotated[
        Path | None, typer.Option("--directory", help="Where databases and journals are written; its disk matters.")
    ] = None,
) -> None:
    """Measure, and rewrite README.md from all figures that are kept."""
    named = workloads or list(page.ORDER)
    unknown = sorted(set(named) - {*page.ORDER, REPORT})
    if unknown:
        message = f"`{unknown[0]}` is none of {', '.join((*page.ORDER, REPORT))}"
        raise typer.BadParameter(message)
    scale = SMOKE if smoke else FULL
    if runs is not None:
        scale = replace(scale, runs=runs, restarts=runs)
    console = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    if not h2load.available():
        console.print("h2load is not installed (Debian: nghttp2-client); what it would measure is left out")
    with tempfile.TemporaryDirectory(prefix="pdp-", dir=directory) as scratch:
        kept = Path(scratch) / "smoke" if smoke else HERE
        kept.mkdir(exist_ok=True)
        for name in named:
            if name != REPORT:
                _measure(name, scale, Path(scratch), kept, console)
        outcomes = results.read(kept)
        from benchmarks import plots  # noqa: PLC0415  # matplotlib is not needed to measure, only to draw

        console.print(f"wrote {page.write(kept, outcomes, plots.draw(kept, outcomes))}")


def _measure(name: str, scale: Scale, scratch: Path, kept: Path, console: Console) -> None:
    """Run one workload, show what it found, and keep it."""
    before = conditions(scratch)
    started = time.perf_counter()
    outcome: Outcome = importlib.import_module(f"benchmarks.workloads.{name.replace('-', '_')}").run(scale, scratch)
    results.keep(kept, replace(outcome, conditions=before))
    for table in _tables(outcome):
        console.print(table)
    for note in outcome.notes:
        if not note.startswith("|"):
            console.print(note)
    console.print(f"{name}: {time.perf_counter() - started:.0f} s\n")


def _tables(outcome: Outcome) -> Iterable[Table]:
    figures = Table("", "median", "", "runs", "ratio", "to", title=outcome.title, title_justify="left")
    for row in outcome.rows:
        ratio = shown(statistics.median(row.ratios)) if row.ratios else ""
        figures.add_row(row.label, shown(statistics.median(row.runs)), row.unit, spread(row.runs), ratio, row.baseline)
    yield figures
    if outcome.budgets:
        budgets = Table("budget", "bar", "figure", "")
        for budget in outcome.budgets:
            bar = f"{'≤' if budget.at_most else '≥'} {shown(budget.bar)} {budget.unit}"
            budgets.add_row(
                budget.what, bar, f"{shown(budget.value)} {budget.unit}", "kept" if budget.met else "missed"
            )
        yield budgets


if __name__ == "__main__":
    typer.run(main)
