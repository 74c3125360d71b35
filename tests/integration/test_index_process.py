"""The process that keeps an index: killed under load, left behind by a sidecar that is killed, and at a clean stop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from sessionpdp.v1 import evidence_pb2 as pb

from pdp.evidence import keeper
from tests.integration.serving import PATIENCE_S, Channels, Running, ServerProcess, as_principal, until, world
from tests.processes import children_of, runs


async def found(channels: Channels, kind: pb.RecordKind.ValueType, principal: str = "") -> int:
    """Return how many records of a kind there are."""
    request = pb.ListRecordsRequest(kind=kind, page_size=1000)
    metadata = as_principal(principal) if principal else None
    return len((await channels.evidence.ListRecords(request, timeout=PATIENCE_S, metadata=metadata)).records)


async def test_an_index_whose_process_is_killed_under_load_goes_on(server: Running) -> None:
    """All that was decided is found."""
    index, killed = server.sidecar.evidence.index, []
    for _ in range(3):
        await asyncio.gather(*(server.check() for _ in range(50)))
        await found(server, pb.RECORD_KIND_DECISION, "auditor")
        await until(lambda: index.keeping.pid is not None)
        killed.append(index.keeping.pid)
        os.kill(index.keeping.pid or 0, signal.SIGKILL)
        await asyncio.gather(*(server.check() for _ in range(50)))
    await until(lambda: server.sidecar.evidence.status().held == 0)
    decisions = await found(server, pb.RECORD_KIND_DECISION, "auditor")
    assert (decisions, len(set(killed))) == (300, 3)
    await until(lambda: index.behind == 0)
    assert index.keeping.pid not in killed


async def _asked(server: ServerProcess) -> int:
    """Change something, and ask for it; return the process that keeps the index."""
    channels = server.connect()
    await channels.apply(*world())
    await found(channels, pb.RECORD_KIND_CHANGE)
    await channels.close()
    (pid,) = children_of(server.process.pid, keeper.__name__)
    return pid


async def test_a_sidecar_that_is_killed_leaves_no_process(launch: Callable[..., ServerProcess]) -> None:
    """And the next one's index goes on."""
    server = launch()
    await server.start()
    pid = await _asked(server)
    server.kill()
    await until(lambda: not runs(pid))
    await server.start()
    channels = server.connect()
    changes = await found(channels, pb.RECORD_KIND_CHANGE)
    await channels.close()
    assert (changes, len(children_of(server.process.pid, keeper.__name__))) == (1, 1)


async def test_a_sidecar_that_stops_leaves_no_process(launch: Callable[..., ServerProcess]) -> None:
    """Nor does it say anything about it, though a service's stop is sent to all its processes."""
    server = launch()
    await server.start()
    pid = await _asked(server)
    os.kill(pid, signal.SIGTERM)
    server.terminate()
    assert await server.ended() == 0
    assert not runs(pid)
    assert "index" not in server.log
