"""Servers that take turns under the same load of single calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeAlias

import uvloop
from sessionpdp.v1 import decision_pb2 as pb

from benchmarks import h2load
from benchmarks.driving import Sample, Samples, by_figure, raw_unary
from benchmarks.outcome import Row, row, row_beside
from benchmarks.scale import CONCURRENT, Scale

Generator: TypeAlias = Callable[[str, int, int], Sample]
"""Takes a target, callers and calls."""

NO_H2LOAD = "h2load is not installed (Debian: nghttp2-client), so its figures are left out."


class Measured(NamedTuple):
    """What one generator found at each server, with so many callers."""

    generator: str
    callers: int
    found: dict[str, Samples]

    @property
    def label(self) -> str:
        """Names the load."""
        return f"{self.generator}, {self.callers} at once"


def generators(checks: Sequence[pb.CheckRequest], allow: pb.CheckResponse, folder: Path) -> dict[str, Generator]:
    """Return h2load, if it is there, which sends the first check over and over, and the asyncio stub."""

    def stub(target: str, callers: int, calls: int) -> Sample:
        return uvloop.run(raw_unary(target, checks, callers, calls))

    if not h2load.available():
        return {"asyncio stub": stub}
    drive = partial(h2load.drive, check=checks[0], allow=allow, folder=folder)
    return {"h2load": lambda t, callers, calls: drive(t, callers=callers, calls=calls), "asyncio stub": stub}


def in_turns(scale: Scale, targets: Mapping[str, str], by: Mapping[str, Generator]) -> list[Measured]:
    """Load the servers one after another, run by run, with one caller and with many."""
    measured = []
    for generator, drive in by.items():
        for callers, calls in ((1, scale.calls_alone), (CONCURRENT, scale.calls_together)):
            rounds: dict[str, list[Sample]] = {name: [] for name in targets}
            for _ in range(scale.runs):
                for name, target in targets.items():
                    rounds[name].append(drive(target, callers, calls))
            measured.append(Measured(generator, callers, {name: by_figure(some) for name, some in rounds.items()}))
    return measured


def joined(runs: Sequence[Sequence[Measured]]) -> list[Measured]:
    """Return what several runs of the same loads found, as one."""
    return [_joined(same) for same in zip(*runs, strict=True)]


def _joined(runs: Sequence[Measured]) -> Measured:
    first = runs[0]
    found = {
        name: Samples(*(list(chain(*figures)) for figures in zip(*(run.found[name] for run in runs), strict=True)))
        for name in first.found
    }
    return first._replace(found=found)


def calls_of_each(scale: Scale, measured: Sequence[Measured]) -> int:
    """Return how many calls each server has answered at least."""
    calls = scale.runs * (scale.calls_alone + scale.calls_together // CONCURRENT * CONCURRENT)
    return calls * len({one.generator for one in measured})


def rows_beside(measured: Measured, baseline: str) -> list[Row]:
    """Return the figures of every server with their ratios to the baseline's."""
    rows = []
    for figure, unit in (("p50", "ms"), ("p99", "ms"), ("rate", "calls/s")):
        label = f"{measured.label}, {'' if figure == 'rate' else figure + ', '}"
        base = row(f"{label}{baseline}", unit, getattr(measured.found[baseline], figure))
        rows.append(base)
        rows += [
            row_beside(f"{label}{name}", unit, getattr(samples, figure), base)
            for name, samples in measured.found.items()
            if name != baseline
        ]
    return rows
