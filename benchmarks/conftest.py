"""Fixtures of the benchmarks that run under pytest: `pytest benchmarks -o addopts=`."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator

import pytest

from benchmarks.scale import FULL
from benchmarks.world import World, snapshot_of
from pdp.core.model import Instant
from pdp.core.snapshot import Snapshot

Worlds = Callable[[int], tuple[World, Snapshot]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the caller choose the scale."""
    sizes = ",".join(map(str, FULL.sizes))
    parser.addoption("--sessions", default=sizes, help="sessions loaded, and as many revocations; several by commas")
    parser.addoption("--rounds", type=int, default=FULL.rounds, help="rounds of a thousand decisions")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests that ask for `sessions` at each scale."""
    if "sessions" in metafunc.fixturenames:
        metafunc.parametrize("sessions", [int(size) for size in metafunc.config.getoption("--sessions").split(",")])


@pytest.fixture(scope="session")
def rounds(pytestconfig: pytest.Config) -> int:
    """Return how many rounds a benchmark of decisions has."""
    return int(pytestconfig.getoption("--rounds"))


@pytest.fixture(scope="session")
def worlds() -> Iterator[Worlds]:
    """Return worlds by their number of sessions; each is made once, and frozen out of the collector's sight."""
    made: dict[int, tuple[World, Snapshot]] = {}

    def of(sessions: int) -> tuple[World, Snapshot]:
        if sessions not in made:
            world = World(sessions, sessions, Instant(time.time_ns()))
            made[sessions] = (world, snapshot_of(world))
            gc.collect()
            gc.freeze()
        return made[sessions]

    yield of
    gc.unfreeze()
