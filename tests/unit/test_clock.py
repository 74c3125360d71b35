"""Decision time: it never runs backward, cannot revive what has expired, and cannot be held back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pdp.clock import ManualClock, SystemClock
from pdp.core.model import Instant

_STEPS = st.tuples(st.integers(-1000, 1000), st.integers(0, 100))


class SteppedClocks:
    """A wall clock that can be set to anything, and a monotonic one that only moves forward."""

    def __init__(self, wall: int, monotonic: int) -> None:
        """Start at any two times."""
        self.wall = wall
        self.monotonic = monotonic

    def step(self, wall: int, monotonic: int) -> None:
        """Let time pass on each."""
        self.wall += wall
        self.monotonic += monotonic

    def clock(self) -> SystemClock:
        """Return decision time made from these."""
        return SystemClock(lambda: self.wall, lambda: self.monotonic)


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.lists(_STEPS))
def test_decision_time_never_runs_backward(wall: int, monotonic: int, steps: list[tuple[int, int]]) -> None:
    """However the wall clock is set."""
    clocks = SteppedClocks(wall, monotonic)
    clock = clocks.clock()
    times = [clock.now()]
    for step in steps:
        clocks.step(*step)
        times.append(clock.now())
    assert times == sorted(times)


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.lists(_STEPS))
def test_decision_time_cannot_be_held_back(wall: int, monotonic: int, steps: list[tuple[int, int]]) -> None:
    """It is never behind the wall clock, and moves on at least as fast as the monotonic clock."""
    clocks = SteppedClocks(wall, monotonic)
    clock = clocks.clock()
    for step in steps:
        before, lapse = clock.now(), step[1]
        clocks.step(*step)
        assert clock.now() >= clocks.wall
        assert clock.now() - before >= lapse


@given(st.integers(1, 1000), st.integers(0, 1000))
def test_what_has_expired_stays_expired_when_the_wall_clock_is_set_back(back: int, lapse: int) -> None:
    """An end that has passed is never ahead again."""
    clocks = SteppedClocks(5000, 0)
    clock = clocks.clock()
    end = clock.now()
    clocks.step(-back, lapse)
    assert clock.now() >= end


@given(st.integers(0, 10_000), st.lists(_STEPS))
def test_decision_time_starts_no_earlier_than_an_earlier_run_ended(known: int, steps: list[tuple[int, int]]) -> None:
    """`not_before` bounds every time returned after it, and never takes time back."""
    clocks = SteppedClocks(5000, 0)
    clock = clocks.clock()
    clock.not_before(Instant(known))
    least = max(known, 5000)
    for step in steps:
        assert clock.now() >= least
        least = clock.now()
        clocks.step(*step)


def test_decision_time_follows_the_wall_clock_forward() -> None:
    """A machine that was suspended, whose monotonic clock stood still, wakes at the time of the wall."""
    clocks = SteppedClocks(5000, 0)
    clock = clocks.clock()
    clocks.step(700, 1)
    assert clock.now() == 5700


def test_the_clock_of_the_system_tells_the_time() -> None:
    """With nothing given it reads the system's clocks."""
    clock = SystemClock()
    assert clock.now() > 1_600_000_000_000_000_000


def test_a_manual_clock_moves_only_forward() -> None:
    """Neither `advance` nor `not_before` takes it back."""
    clock = ManualClock(Instant(10))
    clock.advance(-5)
    clock.not_before(Instant(7))
    assert clock.now() == 10
    clock.not_before(Instant(12))
    clock.advance(3)
    assert clock.now() == 15
