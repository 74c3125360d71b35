"""Applies changes to a sidecar: `writer <target> batches|single <count> <name>`.

Prints when it began and ended, on the monotonic clock that all processes share.

`batches` writes new sessions, a thousand per call, one call after the other; `single` revokes in a call each, with a
few calls under way at once.
"""

from __future__ import annotations

import asyncio
import sys
import time

import grpc
import uvloop
from sessionpdp.v1 import facts_pb2, governance_pb2, governance_pb2_grpc

from benchmarks.world import session
from pdp.core.model import Instant
from pdp.doors.facts_wire import message_of

_BATCH = 1000
_AT_ONCE = 32


async def write_batches(stub: governance_pb2_grpc.GovernanceServiceAsyncStub, count: int, run: str) -> None:
    """Write so many new sessions."""
    now = Instant(time.time_ns())
    for first in range(0, count, _BATCH):
        numbers = range(first, min(first + _BATCH, count))
        facts = [message_of(session(number, now, f"new-{run}-{number}")) for number in numbers]
        await stub.ApplyFacts(governance_pb2.ApplyFactsRequest(facts=facts, reason="a new shift"))


async def write_singly(stub: governance_pb2_grpc.GovernanceServiceAsyncStub, count: int, run: str) -> None:
    """Revoke so many sessions, none of which is asked about."""
    left = iter(range(count))

    async def some() -> None:
        for number in left:
            await stub.Revoke(
                governance_pb2.RevokeRequest(
                    target=facts_pb2.REVOCATION_TARGET_SESSION,
                    target_id=f"gone-{run}-{number}",
                    reason="the job was stopped",
                )
            )

    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))


async def write(target: str, manner: str, count: int, run: str) -> tuple[float, float]:
    """Apply the changes; return when that began and ended."""
    async with grpc.aio.insecure_channel(target) as channel:
        await channel.channel_ready()
        stub: governance_pb2_grpc.GovernanceServiceAsyncStub = governance_pb2_grpc.GovernanceServiceStub(channel)
        begin = time.monotonic()
        await (write_batches if manner == "batches" else write_singly)(stub, count, run)
        return begin, time.monotonic()


if __name__ == "__main__":
    print(*uvloop.run(write(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])))
