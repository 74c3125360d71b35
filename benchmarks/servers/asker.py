"""Asks a sidecar from a process of its own: `asker <target> <action> <sessions> <callers> <calls> <seed>`.

The callers share one client, whose checks share a stream. Each makes a call that does not count; then it says `ready`,
and begins when it is told to by a line. Prints when it began and ended, on the monotonic clock that all processes
share, and the latency of each call in seconds, as JSON.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import msgspec
import uvloop
from sessionpdp.request import CheckFields

from benchmarks.driving import Spell, coalesced_spell, fields_of
from benchmarks.world import messages

_CHECKS = 2_000


def ask(target: str, checks: Sequence[CheckFields], callers: int, calls: int) -> Spell:
    """Ask once told to."""

    def begin() -> None:
        print("ready", flush=True)
        sys.stdin.readline()

    return uvloop.run(coalesced_spell(target, checks, callers, calls, begin))


if __name__ == "__main__":
    target_, action, sessions, *numbers, seed = sys.argv[1:]
    drawn = [fields_of(check) for check in messages(int(sessions), _CHECKS, action, int(seed))]
    told = memoryview(msgspec.json.encode(ask(target_, drawn, *map(int, numbers))) + b"\n")
    while told:  # unbuffered output takes what a pipe has room for, and says nothing of the rest
        told = told[os.write(sys.stdout.fileno(), told) :]
