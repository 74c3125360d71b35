"""`python -m benchmarks.against BEFORE AFTER [workload …]`: what a change did to the figures.

Both are checkouts of this project with a `.venv` made by `make bench-smoke`; their own figures are overwritten. They
take turns, run by run, so that a ratio compares neighbours in time. A figure that has a baseline of its own is compared
by its ratio to that. The table is kept for the page.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import page, plots, results
from benchmarks.conditions import conditions
from benchmarks.outcome import TIMES, Outcome, Row, row, row_beside

HERE = Path(__file__).parent
_WORKLOADS = ("decide", "unary", "stream", "memory", "restart", "changes")
_LEFT_OUT = ("cedarpy", "an empty function", "echo", "every span", "door:", "scope:", "index of", "client left out")


def main(
    before: Annotated[Path, typer.Argument(help="A checkout of how it was.")],
    after: Annotated[Path, typer.Argument(help="A checkout of how it is.")],
    workloads: Annotated[list[str] | None, typer.Argument(help="By default those with budgets.")] = None,
    runs: Annotated[int, typer.Option(help="Turns of each.")] = 3,
) -> None:
    """Measure both in turns, and rewrite the page."""
    with tempfile.TemporaryDirectory(prefix="pdp-") as scratch:
        taken_on = conditions(Path(scratch))
    rows = [each for name in workloads or _WORKLOADS for each in _compared(name, before, after, runs)]
    known = results.read(HERE).get(page.BEFORE_AND_AFTER)
    renewed = {each.label for each in rows}
    earlier = [each for each in (known.rows if known is not None else []) if each.label not in renewed]
    how = (
        f"Commit {_commit(before)} against {_commit(after)}, in turns; the ratio of an `after` is to the line above. "
        f"A figure in {TIMES} is itself a ratio, to the baseline of its workload in the same run."
    )
    title = "What the latest change cost"
    outcome = Outcome(workload=page.BEFORE_AND_AFTER, title=title, how=how, rows=[*earlier, *rows], conditions=taken_on)
    results.keep(HERE, outcome)
    outcomes = results.read(HERE)
    page.write(HERE, outcomes, plots.draw(HERE, outcomes))


def _compared(workload: str, before: Path, after: Path, runs: int) -> Iterator[Row]:
    figures: dict[str, dict[Path, list[float]]] = defaultdict(lambda: {before: [], after: []})
    units: dict[str, str] = {}
    for _ in range(runs):
        for checkout in (before, after):
            for label, (unit, value) in _measured(workload, checkout).items():
                figures[label][checkout].append(value)
                units[label] = unit
    for label, by in figures.items():
        if len(by[before]) == len(by[after]):
            was = row(f"{workload}: {label}, before", units[label], by[before])
            yield was
            yield row_beside(f"{workload}: {label}, after", units[label], by[after], was)


def _measured(workload: str, checkout: Path) -> dict[str, tuple[str, float]]:
    """Run a workload once in a checkout; return unit and value by label."""
    python = checkout / ".venv" / "bin" / "python"
    subprocess.run([python, "-m", "benchmarks", workload, "--runs", "1"], cwd=checkout, check=True)
    outcome = results.read(checkout / "benchmarks")[workload]
    return {
        each.label: (TIMES, each.ratios[0]) if each.ratios and workload != "decide" else (each.unit, each.runs[0])
        for each in outcome.rows
        if not any(word in each.label for word in _LEFT_OUT)
    }


def _commit(checkout: Path) -> str:
    said = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=checkout, check=True, capture_output=True, text=True
    )
    return said.stdout.strip()


if __name__ == "__main__":
    typer.run(main)
