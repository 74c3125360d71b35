"""Batches of one stream beside each other: one that waits for the disk keeps no other waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import CoroutineType
from typing import TypeAlias

import grpc
import pytest
from sessionpdp import AsyncPDP
from sessionpdp.v1 import decision_pb2 as pb
from structlog.testing import capture_logs

from pdp.doors.answering import MOST_UNDER_WAY
from pdp.evidence.journal.faulty_disk import FaultyDisk
from tests.integration.conftest import Serve
from tests.integration.serving import PATIENCE_S, Running, check, codes_of, refusal, session, until

Stream: TypeAlias = "grpc.aio.StreamStreamCall[pb.CheckStreamRequest, pb.CheckStreamResponse]"

WRITES_ARE_DURABLE = """\
policy: writes
match: {actions: ["rows.write"], resources: ["database:**"]}
evidence: durable
"""
BUFFERED, DURABLE = check(), check(action=pb.Action(name="rows.write"))


@pytest.fixture
def disk() -> FaultyDisk:
    """Return the disk of the server's journal."""
    return FaultyDisk()


@pytest.fixture
async def durable(serve: Serve, home: Path, disk: FaultyDisk) -> Running:
    """Return a sidecar that answers a write once it is on disk."""
    (home / "writes.yaml").write_text(WRITES_ARE_DURABLE)
    return await serve(disk=disk, changes={"policies": [str(home)]})


@asynccontextmanager
async def opened(server: Running) -> AsyncIterator[Stream]:
    """Yield a stream of checks."""
    stream = server.decisions.CheckStream(timeout=PATIENCE_S)
    yield stream
    stream.cancel()


async def send(stream: Stream, number: int, *checks: pb.CheckRequest) -> None:
    """Write a batch under that number."""
    await stream.write(pb.CheckStreamRequest(correlation_id=number, checks=checks))


async def heard(stream: Stream) -> tuple[int, list[str]]:
    """Return the number and the codes of the next answer."""
    answer = await stream.read()
    assert isinstance(answer, pb.CheckStreamResponse)
    return answer.correlation_id, codes_of(answer.decisions)


def under_way() -> int:
    """Return how many messages of streams are taken and not yet answered."""
    coroutines = (task.get_coro() for task in asyncio.all_tasks())
    return sum(isinstance(one, CoroutineType) and one.__qualname__ == "Answering._answer" for one in coroutines)


async def test_a_batch_that_waits_for_the_disk_keeps_no_other_waiting(durable: Running, disk: FaultyDisk) -> None:
    """The later answer comes first, and the correlation id tells."""
    async with opened(durable) as stream:
        disk.stall()
        await send(stream, 1, DURABLE)
        await send(stream, 2, BUFFERED)
        assert await heard(stream) == (2, ["GRANTED"])
        disk.mend()
        assert await heard(stream) == (1, ["GRANTED"])


async def test_durable_batches_of_one_stream_share_a_sync(durable: Running, disk: FaultyDisk) -> None:
    """All that gathered behind the one that was under way."""
    async with opened(durable) as stream:
        await send(stream, 1, DURABLE)
        await heard(stream)
        disk.stall()
        before = disk.syncs
        for number in range(2, 12):
            await send(stream, number, DURABLE)
        await send(stream, 12, BUFFERED)
        # Begun in order: when this one is answered, the others wait.
        assert await heard(stream) == (12, ["GRANTED"])
        disk.mend()
        answers = [await heard(stream) for _ in range(10)]
        assert (sorted(answers), disk.syncs - before) == ([(number, ["GRANTED"]) for number in range(2, 12)], 2)


async def test_the_last_use_goes_to_the_batch_that_came_first(durable: Running, disk: FaultyDisk) -> None:
    """Although its answer, which must be on disk, leaves last; no use is given twice."""
    await durable.apply(session("s-2", max_uses=1))
    async with opened(durable) as stream:
        disk.stall()
        for number in (1, 2):
            await send(stream, number, check(session_id="s-2", request_id="same"))
        await send(stream, 3, BUFFERED)
        early = [await heard(stream) for _ in range(2)]
        disk.mend()
        assert [*early, await heard(stream)] == [(2, ["SESSION_EXHAUSTED"]), (3, ["GRANTED"]), (1, ["GRANTED"])]


async def test_a_bad_message_ends_the_stream_once_those_before_it_are_answered(
    durable: Running, disk: FaultyDisk
) -> None:
    """With the field at fault; what was taken may be on record as granted."""
    async with opened(durable) as stream:
        disk.stall()
        await send(stream, 1, DURABLE)
        await stream.write(pb.CheckStreamRequest(correlation_id=2, checks=[BUFFERED], timeout={"seconds": -1}))
        await send(stream, 3, BUFFERED)
        await until(lambda: under_way() == 1)
        disk.mend()
        assert await heard(stream) == (1, ["GRANTED"])
        error = await refusal(stream.read())
        assert (error.code, list(error.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, ["timeout"])


async def test_a_stream_that_is_full_is_read_on_when_one_is_answered(durable: Running, disk: FaultyDisk) -> None:
    """Nothing that was sent is lost by it."""
    count = 2 * MOST_UNDER_WAY
    async with opened(durable) as stream:
        disk.stall()
        for number in range(count):
            await send(stream, number, DURABLE)
        await until(lambda: under_way() == MOST_UNDER_WAY)
        disk.mend()
        answers = [await heard(stream) for _ in range(count)]
        assert sorted(answers) == [(number, ["GRANTED"]) for number in range(count)]


async def test_a_client_that_goes_leaves_nothing_under_way(durable: Running, disk: FaultyDisk) -> None:
    """Nor an error in the log; others are served on."""
    with capture_logs() as said:
        async with opened(durable) as stream:
            disk.stall()
            for number in range(3):
                await send(stream, number, DURABLE)
            await until(lambda: under_way() == 3)
        await until(lambda: under_way() == 0)
        disk.mend()
        assert await durable.check() == "GRANTED"
    assert said == []


async def test_the_clients_callers_do_not_wait_for_one_anothers_disk(durable: Running, disk: FaultyDisk) -> None:
    """Although they share its stream, and the later are answered first."""
    async with AsyncPDP(durable.sidecar.settings.decision_address(), timeout=PATIENCE_S) as pdp:

        async def ask(action: str) -> bool:
            return (
                await pdp.check(subject="worker", action=action, resource="database:prod/users", session="s-1")
            ).allowed

        disk.stall()
        waiting = []
        for _ in range(4):
            waiting.append(asyncio.ensure_future(ask("rows.write")))
            await until(lambda: under_way() == len(waiting))
        assert [await ask("rows.read"), await ask("tables.drop")] == [True, False]
        assert not any(check.done() for check in waiting)
        disk.mend()
        assert await asyncio.gather(*waiting) == [True] * 4
