"""How much is measured: in earnest, or only enough to see that everything runs."""

from __future__ import annotations

from msgspec import Struct


class Scale(Struct, frozen=True, kw_only=True):
    """Sizes, and numbers of repetitions."""

    smoke: bool
    runs: int
    """Repetitions of each measurement; the figure is their median."""
    sizes: tuple[int, int, int]
    """Sessions loaded: few, many, very many."""
    rounds: int
    """Rounds of a thousand decisions in one run of the core."""
    wire_sessions: int
    """Sessions of the sidecars that are asked over a socket."""
    calls_alone: int
    """Calls of one caller in a round."""
    calls_together: int
    """Calls of all concurrent callers in a round, each a call of its own."""
    checks_coalesced: int
    """Checks of all concurrent callers in a round that share a stream."""
    paced_turns: int
    """How often each of the callers asks that ask at a fixed pace."""
    changes: int
    restarts: int
    records: int
    """Records of the journal that is searched."""
    segment_bytes: int
    """Of one of its segments."""
    queries: int
    """Questions of each sort in a run."""


FULL = Scale(
    smoke=False,
    runs=7,
    sizes=(1_000, 100_000, 1_000_000),
    rounds=300,
    wire_sessions=10_000,
    calls_alone=3_000,
    calls_together=10_000,
    checks_coalesced=100_000,
    paced_turns=20,
    changes=10_000,
    restarts=5,
    records=10_000_000,
    segment_bytes=64 * 1024 * 1024,
    queries=50,
)

SMOKE = Scale(
    smoke=True,
    runs=1,
    sizes=(1_000, 2_000, 4_000),
    rounds=3,
    wire_sessions=1_000,
    calls_alone=100,
    calls_together=500,
    checks_coalesced=2_000,
    paced_turns=5,
    changes=200,
    restarts=1,
    records=20_000,
    segment_bytes=2 * 1024 * 1024,
    queries=5,
)

CONCURRENT = 64
PACE_S, FAST_PACE_S = 1 / 4, 1 / 16
"""Between two questions of each caller that asks at a fixed pace: of all together, 256 a second, or a thousand."""
