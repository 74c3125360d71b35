"""What 64 concurrent callers gain when their checks share one stream, against unary calls in the same run.

    python clients/python/benchmarks/coalescing.py

The server is an echo in a process of its own. Unary calls are `AsyncPDP.check` with a `timeout`, coalesced ones
without: the same client, the same messages. Rounds alternate, and the median round counts.
"""

# ruff: noqa: INP001, T201, S603, S101 - a program that prints, and starts another of its own

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import google.protobuf
import grpc
from sessionpdp import AsyncPDP

if TYPE_CHECKING:
    from sessionpdp.request import CheckFields

CALLERS = 64
ROUNDS = 5
CHECK: CheckFields = {
    "subject": "spiffe://example.org/ci/release-7",
    "action": "rows.read",
    "resource": "database:prod/users",
    "session": "s-1",
    "task": "t-1",
}


class Figures(NamedTuple):
    """Decisions a second, and latencies in milliseconds."""

    rate: float
    p50: float
    p99: float

    def __str__(self) -> str:
        return f"{self.rate:8.0f}/s   p50 {self.p50:6.2f} ms   p99 {self.p99:6.2f} ms"


async def measure(pdp: AsyncPDP, callers: int, checks: int, timeout: float | None) -> Figures:  # noqa: ASYNC109
    """Return the figures of so many callers that share so many checks."""
    latencies: list[float] = []

    async def call() -> None:
        for _ in range(checks // callers):
            started = time.perf_counter()
            (await pdp.check(timeout=timeout, **CHECK)).require()
            latencies.append((time.perf_counter() - started) * 1000)

    started = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    elapsed = time.perf_counter() - started
    percentiles = statistics.quantiles(latencies, n=100)
    return Figures(len(latencies) / elapsed, percentiles[49], percentiles[98])


async def run(target: str) -> None:
    """Print the median rounds and their ratio."""
    async with AsyncPDP(target, timeout=5) as pdp:
        await measure(pdp, 1, 200, None)
        unary, coalesced = [], []
        for _ in range(ROUNDS):
            unary.append(await measure(pdp, CALLERS, 3_200, 5.0))
            coalesced.append(await measure(pdp, CALLERS, 32_000, None))
        lone_unary, lone = await measure(pdp, 1, 1_000, 5.0), await measure(pdp, 1, 1_000, None)
    middle, gained = sorted(unary)[ROUNDS // 2], sorted(coalesced)[ROUNDS // 2]
    print(f"{CALLERS} callers, unary      {middle}")
    print(f"{CALLERS} callers, coalesced  {gained}")
    print(f" 1 caller,  unary      {lone_unary}")
    print(f" 1 caller,  coalesced  {lone}")
    ratios = sorted(c.rate / u.rate for c, u in zip(coalesced, unary, strict=True))
    print(f"ratio {ratios[ROUNDS // 2]:.1f}  ({ratios[0]:.1f} to {ratios[-1]:.1f} in {ROUNDS} rounds)")


def main() -> None:
    """Start the server, measure, stop it."""
    print(
        f"python {platform.python_version()}, grpcio {grpc.__version__}, protobuf {google.protobuf.__version__}, ",
        end="",
    )
    print(f"{os.cpu_count()} CPUs shared by client and server, Unix socket, default event loop")
    with tempfile.TemporaryDirectory() as folder:
        target = f"unix:{folder}/s"
        script = Path(__file__).with_name("echo_server.py")
        server = subprocess.Popen([sys.executable, script, target], stdout=subprocess.PIPE)
        try:
            assert server.stdout is not None
            server.stdout.readline()
            asyncio.run(run(target))
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    main()
