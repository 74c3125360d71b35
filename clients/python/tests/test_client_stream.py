"""Concurrent checks over one stream, against a real server."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from sessionpdp import AsyncPDP
from sessionpdp.coalescer import FEW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sessionpdp import Decision

    from clients.python.tests.conftest import ScriptedServer

CHECK: dict[str, Any] = {"subject": "x", "action": "rows.read", "resource": "database:prod/users"}


@pytest.fixture
async def pdp(server: ScriptedServer) -> AsyncIterator[AsyncPDP]:
    """Return a client that allows plenty of time."""
    async with AsyncPDP(server.target, timeout=10) as client:
        yield client


async def until(happened: Callable[[], object]) -> None:
    """Wait for something that is bound to happen."""
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110 - it happens in a thread of the server
            await asyncio.sleep(0.005)


async def test_concurrent_checks_share_messages(pdp: AsyncPDP, server: ScriptedServer) -> None:
    """A hundred callers are one stream and few messages, and each gets its own answer."""
    server.allow_only("7")

    decisions = await asyncio.gather(
        *(pdp.check(subject="x", action="a", resource=f"n:{number}") for number in range(100))
    )

    assert [number for number, decision in enumerate(decisions) if decision.allowed] == [7]
    assert server.calls == ["CheckStream"]
    assert server.batches == [100]


async def ask_apart(pdp: AsyncPDP, *together: int) -> list[asyncio.Task[Decision]]:
    """Begin so many checks at once, then so many more a little later, and so on."""
    begun = []
    for count in together:
        begun += [asyncio.create_task(pdp.check(**CHECK)) for _ in range(count)]
        await asyncio.sleep(0.02)
    return begun


async def test_checks_gather_while_two_batches_are_out(pdp: AsyncPDP, server: ScriptedServer) -> None:
    """Who comes while the PDP is busy with many leaves together with the others who do."""
    server.hold()
    checks = await ask_apart(pdp, FEW, 1, 1, 2)
    server.release()

    decisions = await asyncio.gather(*checks)

    assert all(decision.allowed for decision in decisions)
    assert server.batches == [FEW, 1, 3]


async def test_while_few_are_out_each_leaves_at_once(pdp: AsyncPDP, server: ScriptedServer) -> None:
    """However many messages that makes."""
    server.hold()
    checks = await ask_apart(pdp, *[1] * FEW, 1, 1)
    server.release()

    decisions = await asyncio.gather(*checks)

    assert all(decision.allowed for decision in decisions)
    assert server.batches == [1] * FEW + [2]


async def test_each_caller_has_its_own_deadline(server: ScriptedServer) -> None:
    """A check of a stuck batch is denied in time, and its late answer goes to nobody."""
    async with AsyncPDP(server.target, timeout=0.2) as pdp:
        server.hold()
        assert (await pdp.check(**CHECK)).code == "PDP_TIMEOUT"
        server.release()
        assert (await pdp.check(**CHECK)).allowed


async def test_a_stuck_stream_is_replaced(server: ScriptedServer) -> None:
    """A stream that answers nothing for a whole deadline is given up for a new one."""
    async with AsyncPDP(server.target, timeout=0.2) as pdp:
        server.hold()
        first = await asyncio.gather(pdp.check(**CHECK), pdp.check(**CHECK))
        again = asyncio.create_task(pdp.check(**CHECK))
        await until(lambda: server.calls.count("CheckStream") == 2)
        server.release()

        assert [decision.code for decision in first] == ["PDP_TIMEOUT"] * 2
        assert (await again).allowed


async def test_a_broken_stream_denies_what_was_in_flight(pdp: AsyncPDP, server: ScriptedServer) -> None:
    """It may have been counted, so it is not sent again; the next check opens a new stream."""
    server.fail(grpc.StatusCode.UNAVAILABLE, "going away", times=1)

    decisions = await asyncio.gather(*(pdp.check(**CHECK) for _ in range(3)))

    assert {decision.code for decision in decisions} == {"PDP_UNREACHABLE"}
    assert len(server.checks) == 3
    assert (await pdp.check(**CHECK)).allowed
    assert server.calls == ["CheckStream", "CheckStream"]


async def test_what_only_waited_survives_a_broken_stream(pdp: AsyncPDP, server: ScriptedServer) -> None:
    """A check that was not sent goes over the next stream."""
    server.hold()
    *out, waiting = await ask_apart(pdp, FEW, 1, 1)
    server.fail(grpc.StatusCode.UNAVAILABLE, times=1)
    server.release()

    assert [(await check).code for check in out] == ["PDP_UNREACHABLE"] * (FEW + 1)
    assert (await waiting).allowed


async def test_a_cancelled_caller_disturbs_nobody(pdp: AsyncPDP, server: ScriptedServer) -> None:
    """The others of its batch get their own answers."""
    server.hold()
    server.allow_only("1")
    checks = [asyncio.create_task(pdp.check(subject="x", action="a", resource=f"n:{n}")) for n in range(3)]
    await until(lambda: server.batches)
    checks[0].cancel()
    server.release()

    leaver, allowed, denied = await asyncio.gather(*checks, return_exceptions=True)

    assert isinstance(leaver, asyncio.CancelledError)
    assert not isinstance(allowed, BaseException)
    assert not isinstance(denied, BaseException)
    assert (allowed.allowed, denied.allowed) == (True, False)


@pytest.mark.parametrize("own", [{"timeout": 5.0}, {"at_least_revision": 3}])
async def test_a_check_with_conditions_of_its_own_is_a_call_of_its_own(
    pdp: AsyncPDP, server: ScriptedServer, own: dict[str, Any]
) -> None:
    """It must not hold up others, and its deadline must reach the PDP."""
    await pdp.check(**CHECK, **own)

    assert server.calls == ["Check"]


async def test_a_short_batch_answer_allows_nobody(pdp: AsyncPDP, server: ScriptedServer) -> None:
    """If one answer is missing, no caller can be sure of its own."""
    server.answers_per_batch = lambda asked: asked - 1

    decisions = await asyncio.gather(*(pdp.check(**CHECK) for _ in range(3)))

    assert {decision.code for decision in decisions} == {"PDP_ANSWER_INVALID"}


async def test_same_request_ids_of_strangers_are_kept_apart(pdp: AsyncPDP, server: ScriptedServer) -> None:
    """Callers that know nothing of each other may use one name."""
    decisions = await asyncio.gather(*(pdp.check(**CHECK, request_id="r") for _ in range(3)))

    assert all(decision.allowed for decision in decisions)
    assert server.batches == [1, 1, 1]


async def test_the_deadline_of_a_batch_reaches_the_server(pdp: AsyncPDP, server: ScriptedServer) -> None:
    """The PDP may take as long as the most patient caller waits."""
    await pdp.check(**CHECK)

    (timeout,) = server.batch_timeouts
    assert 9 < timeout <= 10


async def test_closing_answers_those_who_wait(pdp: AsyncPDP, server: ScriptedServer) -> None:
    """Nobody is left waiting for a client that was closed."""
    server.hold()
    checks = await ask_apart(pdp, FEW, 1, 1)

    await pdp.aclose()

    assert [decision.code for decision in await asyncio.gather(*checks)] == ["PDP_UNREACHABLE"] * len(checks)


def test_one_client_serves_many_loops(server: ScriptedServer) -> None:
    """One after the other, without closing, and at the same time in other threads."""
    pdp = AsyncPDP(server.target, timeout=10)
    decisions: list[Decision] = []

    async def use() -> None:
        decisions.extend(await asyncio.gather(*(pdp.check(**CHECK) for _ in range(10))))

    for _ in range(3):
        asyncio.run(use())
    threads = [threading.Thread(target=lambda: asyncio.run(use())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert len(decisions) == 60
    assert all(decision.allowed for decision in decisions)
