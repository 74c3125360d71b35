"""The Python client against a real server: over its restarts, and over mutual TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from sessionpdp import PDP, AccessDenied, AsyncPDP, Check

from pdp.settings import Listener, Tls
from tests.certificates import Authority
from tests.integration.conftest import Serve
from tests.integration.serving import PATIENCE_S, Running, ServerProcess, session, until, world
from tests.ports import free_port

ASKED: dict[str, Any] = {
    "subject": "worker",
    "action": "rows.read",
    "resource": "database:prod/users",
    "session": "s-1",
}


async def test_concurrent_checks_share_streams_and_keep_their_own_answers(server: Running) -> None:
    """Hundreds at once, about two sessions, by one client."""
    await server.apply(session("s-2"))
    await server.revoke("session", "s-2")
    target = server.sidecar.settings.decision_address()
    async with AsyncPDP(target, timeout=PATIENCE_S) as client:
        checks = [client.check(**ASKED | {"session": f"s-{1 + number % 2}"}) for number in range(400)]
        codes = [decision.code for decision in await asyncio.gather(*checks)]
    assert codes == ["GRANTED", "SESSION_REVOKED"] * 200


async def test_a_use_limit_holds_over_all_ways_of_asking(server: Running) -> None:
    """Unary, batch and stream, at the same time, count on the same session."""
    await server.apply(session("s-3", max_uses=20))
    target, asked = server.sidecar.settings.decision_address(), ASKED | {"session": "s-3"}
    async with AsyncPDP(target, timeout=PATIENCE_S) as one, AsyncPDP(target, timeout=PATIENCE_S) as two:
        answers = await asyncio.gather(
            *(one.check(**asked) for _ in range(30)),
            *(two.check(**asked, timeout=PATIENCE_S) for _ in range(30)),
        )
        many = await two.check_many([Check(**asked)] * 30)
    allows = sum(decision.allowed for decision in [*answers, *many])
    assert allows == 20
    assert {decision.code for decision in [*answers, *many]} == {"GRANTED", "SESSION_EXHAUSTED"}


async def test_a_watch_survives_the_death_of_the_server(launch: Callable[..., ServerProcess]) -> None:
    """It hears of the doubt at once, and of the new server's answer by itself."""
    process = launch()
    await process.start()
    server = process.connect()
    await server.apply(*world())
    heard: list[str] = []

    async def listen() -> None:
        async with (
            AsyncPDP(process.decision_target, timeout=PATIENCE_S) as client,
            aclosing(client.watch(**ASKED)) as news,
        ):
            async for decision in news:
                heard.append(decision.code)  # noqa: PERF401  # heard as it comes

    listening = asyncio.create_task(listen())
    await until(lambda: heard == ["GRANTED"])
    await asyncio.to_thread(process.kill)
    await until(lambda: heard == ["GRANTED", "PDP_UNREACHABLE"])
    await process.start()
    await until(lambda: heard[-1] == "GRANTED")
    await server.revoke("session", "s-1")
    await until(lambda: heard[-1] == "SESSION_REVOKED")
    listening.cancel()
    await asyncio.wait([listening])
    await server.close()


async def test_a_dead_server_denies_and_a_new_one_decides(launch: Callable[..., ServerProcess]) -> None:
    """By the same clients, without being told."""
    process = launch()
    await process.start()
    server = process.connect()
    await server.apply(*world())
    blocking = PDP(process.decision_target, timeout=2)
    async with AsyncPDP(process.decision_target, timeout=2) as client:
        assert [(await client.check(**ASKED)).code, blocking.check(**ASKED).code] == ["GRANTED"] * 2
        await asyncio.to_thread(process.kill)
        for decision in (await client.check(**ASKED), blocking.check(**ASKED)):
            assert (decision.allowed, decision.decided, decision.code) == (False, False, "PDP_UNREACHABLE")
        await process.start()
        async with asyncio.timeout(PATIENCE_S):
            while not (await client.check(**ASKED)).allowed:  # noqa: ASYNC110  # it reconnects when it is asked
                await asyncio.sleep(0.02)
            while not (await asyncio.to_thread(lambda: blocking.check(**ASKED))).allowed:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.02)
    blocking.close()
    await server.close()


async def test_a_guard_speaks_mutual_tls(serve: Serve, home: Path) -> None:
    """A caller that may not ask is denied, not refused."""
    authority = Authority()
    certificate, key, client_ca = map(str, authority.server_files(home))
    address = f"localhost:{free_port()}"
    tls = Tls(certificate=certificate, key=key, client_ca=client_ca)
    await serve(changes={"decisions": Listener(address=address, tls=tls, callers={"spiffe://x/gate": ["worker"]})})
    codes = []
    for caller in ("spiffe://x/gate", "spiffe://x/stranger"):
        async with AsyncPDP(address, timeout=PATIENCE_S, credentials=authority.client(caller)) as client:
            decision = await client.check(**ASKED)
            codes.append(decision.code)
    assert codes == ["GRANTED", "CALLER_NOT_PERMITTED"]
    with pytest.raises(AccessDenied, match="CALLER_NOT_PERMITTED"):
        decision.require()
