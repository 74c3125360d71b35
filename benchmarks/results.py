"""The figures of the last measurement, by workload, in `results.json`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks.outcome import Outcome

NAME = "results.json"


def read(folder: Path) -> dict[str, Outcome]:
    """Return the outcomes by workload; none if nothing has been measured yet."""
    path = folder / NAME
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Outcome]) if path.exists() else {}


def keep(folder: Path, outcome: Outcome) -> None:
    """Write an outcome over the one of the same workload."""
    outcomes = read(folder) | {outcome.workload: outcome}
    data = msgspec.json.format(msgspec.json.encode(dict(sorted(outcomes.items()))), indent=1)
    (folder / NAME).write_bytes(data + b"\n")
