"""What a workload found: rows of figures, each beside its baseline, and how they stand to the budgets."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from msgspec import Struct

TIMES = "\N{MULTIPLICATION SIGN}"
"""The unit of ratios."""


class WrongAnswerError(RuntimeError):
    """Something answered otherwise than the workload assumes, so its figures would mean nothing."""


class Row(Struct, frozen=True, kw_only=True):
    """One figure: a value per run, and the ratio to its baseline in the same run."""

    label: str
    unit: str
    runs: list[float]
    baseline: str = ""
    """What the ratios are to; empty: this row is a baseline itself, or a plain measure."""
    ratios: list[float] = []


class Budget(Struct, frozen=True, kw_only=True):
    """A bar of the design, and where the figure stands."""

    what: str
    bar: float
    unit: str
    at_most: bool
    runs: list[float]

    @property
    def value(self) -> float:
        """The median of the runs."""
        return statistics.median(self.runs)

    @property
    def met(self) -> bool:
        """Whether the median keeps the bar."""
        return self.value <= self.bar if self.at_most else self.value >= self.bar


class Conditions(Struct, frozen=True, kw_only=True):
    """What the figures were taken on."""

    cpu: str
    cores: int
    kernel: str
    python: str
    grpcio: str
    protobuf: str
    uvloop: str
    date: str
    load: str
    """Load average over one, five and fifteen minutes, before the workload began."""
    commit: str
    filesystem: str
    """Of the directory that databases and journals were written to."""


class Outcome(Struct, frozen=True, kw_only=True):
    """All that one workload found."""

    workload: str
    title: str
    how: str
    """What was measured, how, and what it leaves out: a paragraph for the page."""
    rows: list[Row]
    budgets: list[Budget] = []
    notes: list[str] = []
    conditions: Conditions | None = None
    smoke: bool = False


def row(label: str, unit: str, runs: Sequence[float]) -> Row:
    """Return a figure without a baseline."""
    return Row(label=label, unit=unit, runs=list(runs))


def row_beside(label: str, unit: str, runs: Sequence[float], baseline: Row) -> Row:
    """Return a figure with its ratios to a baseline, run by run."""
    ratios = [value / base for value, base in zip(runs, baseline.runs, strict=True)]
    return Row(label=label, unit=unit, runs=list(runs), baseline=baseline.label, ratios=ratios)


def at_most(what: str, bar: float, unit: str, runs: Sequence[float]) -> Budget:
    """Return a budget whose figure must not be above the bar."""
    return Budget(what=what, bar=bar, unit=unit, at_most=True, runs=list(runs))


def at_least(what: str, bar: float, unit: str, runs: Sequence[float]) -> Budget:
    """Return a budget whose figure must not be below the bar."""
    return Budget(what=what, bar=bar, unit=unit, at_most=False, runs=list(runs))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratios run by run."""
    return [above / below for above, below in zip(numerators, denominators, strict=True)]


def shown(value: float) -> str:
    """Return a figure with three digits that mean something."""
    if abs(value) >= 100:
        return spaced(round(value))
    return f"{value:.3g}" if abs(value) >= 1 else f"{value:.2g}"


def spread(runs: Sequence[float]) -> str:
    """Return the lowest and the highest run; empty for a single one."""
    return f"{shown(min(runs))} to {shown(max(runs))}" if len(runs) > 1 else ""


def spaced(number: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{number:,}".replace(",", " ")
