"""A picture per workload: a panel per unit, a bar per row, a whisker from the lowest run to the highest.

Grey bars are baselines and plain measures; blue ones have a ratio in the table.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.outcome import Outcome, Row, shown

_BASELINE, _FIGURE, _WHISKER = "#b8c0cc", "#2f6f9f", "#222222"
_LOGARITHMIC_FROM = 30
"""Ratio of the longest bar to the shortest at which a linear scale would hide the short ones."""


def draw(folder: Path, outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    """Draw every workload into `plots/`; return the paths from `folder` by workload."""
    mpl.use("agg")
    (folder / "plots").mkdir(exist_ok=True)
    paths = {}
    for name, outcome in outcomes.items():
        paths[name] = f"plots/{name}.png"
        _draw(outcome).savefig(folder / paths[name], dpi=110, bbox_inches="tight", metadata={"Software": None})
    return paths


def _draw(outcome: Outcome) -> Figure:
    ordered = sorted(outcome.rows, key=lambda row: row.unit)
    panels = [(unit, list(rows)) for unit, rows in groupby(ordered, key=lambda row: row.unit)]
    heights = [len(rows) + 1.5 for _, rows in panels]
    figure = Figure(figsize=(11, 0.27 * sum(heights) + 0.6), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
    for axis, (unit, rows) in zip(axes[:, 0], panels, strict=True):
        _panel(axis, unit, rows)
    figure.suptitle(outcome.title, fontsize=12)
    return figure


def _panel(axis: Axes, unit: str, rows: Sequence[Row]) -> None:
    medians = [statistics.median(row.runs) for row in rows]
    below = [median - min(row.runs) for median, row in zip(medians, rows, strict=True)]
    above = [max(row.runs) - median for median, row in zip(medians, rows, strict=True)]
    colors = [_FIGURE if row.ratios else _BASELINE for row in rows]
    places = range(len(rows))
    axis.barh(places, medians, color=colors, height=0.7)
    axis.errorbar(medians, places, xerr=[below, above], fmt="none", ecolor=_WHISKER, elinewidth=0.8, capsize=2)
    axis.set_yticks(places, [row.label for row in rows], fontsize=8)
    axis.invert_yaxis()
    logarithmic = min(medians) > 0 and max(medians) / min(medians) > _LOGARITHMIC_FROM
    if logarithmic:
        axis.set_xscale("log")
    axis.margins(x=0.12, y=0.01)
    for place, median, high in zip(places, medians, above, strict=True):
        axis.annotate(
            shown(median), (median + high, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7
        )
    axis.set_xlabel(f"{unit}, logarithmic" if logarithmic else unit, fontsize=8)
    axis.tick_params(axis="x", labelsize=7)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
