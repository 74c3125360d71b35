"""Fifty callers race for what may be used seven times: seven get it, also over kills of the server.

What is exact: without a kill, seven answers allow, and seven uses are on record. With kills, an allow whose answer was
lost on the way is a use as well: the answers that arrived, and those that were lost, are together the seven on record.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Sequence

import grpc
import pytest
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import governance_pb2

from pdp.evidence.journal.journal_reader import read
from pdp.evidence.seals.verifying import Verified, verify
from pdp.governance.tokens import hash_of
from tests.integration.serving import (
    PATIENCE_S,
    Channels,
    ServerProcess,
    as_principal,
    check,
    codes_of,
    token_of,
    world,
)

ROUNDS = int(os.environ.get("PDP_TEST_RACES", "4"))
MANY_ROUNDS = int(os.environ.get("PDP_TEST_MANY_RACES", "50"))
SEED = int(os.environ.get("PDP_TEST_SEED", "0"))
CALLERS, CONNECTIONS, LIMIT = 50, 5, 7
GRANTED = "GRANTED"
PRINCIPALS = {
    "administration": {
        "principals": {
            name: {"roles": [role], "identities": ["worker"], "tokens": [hash_of(token_of(name))]}
            for name, role in (("release-manager", "requester"), ("change-manager", "approver"))
        }
    }
}


class Tally:
    """What callers were told, over all lives of the server."""

    def __init__(self) -> None:
        self.codes: list[str] = []
        self.unanswered = 0
        """Questions whose answer, whatever it was, did not arrive."""

    @property
    def allows(self) -> int:
        """Allows that arrived."""
        return self.codes.count(GRANTED)


async def opened(server: Channels, id_: str, **more: object) -> None:
    """Open a session by command."""
    request = governance_pb2.OpenSessionRequest(
        id=id_,
        identity="worker",
        task="job",
        entitlement="ent-1",
        actions=["rows.read"],
        resources=["database:prod/**"],
        **more,  # type: ignore[arg-type]
    )
    await server.governance.OpenSession(request, timeout=PATIENCE_S, metadata=as_principal("release-manager"))


async def approved(server: Channels, id_: str, max_uses: int) -> None:
    """Ask for an approval, and have somebody else give it."""
    request = governance_pb2.RequestApprovalRequest(
        id=id_,
        identity="worker",
        actions=["rows.*"],
        resources=["database:prod/**"],
        justification="the release",
        max_uses=max_uses,
    )
    await server.governance.RequestApproval(request, timeout=PATIENCE_S, metadata=as_principal("release-manager"))
    consent = governance_pb2.ApproveRequest(approval_id=id_)
    await server.governance.Approve(consent, timeout=PATIENCE_S, metadata=as_principal("change-manager"))


async def ask_once(server: Channels, session: str, tally: Tally) -> None:
    """Ask by a call of its own."""
    answer = await server.decisions.Check(check(session_id=session), timeout=PATIENCE_S)
    tally.codes += codes_of([answer.decision])


async def ask_in_batch(server: Channels, session: str, tally: Tally) -> None:
    """Ask twice in one call."""
    request = pb.CheckBatchRequest(checks=[check(session_id=session)] * 2)
    tally.codes += codes_of((await server.decisions.CheckBatch(request, timeout=PATIENCE_S)).decisions)


async def ask_on_stream(server: Channels, session: str, tally: Tally) -> None:
    """Ask twice on a stream."""
    stream = server.decisions.CheckStream(timeout=PATIENCE_S)
    await stream.write(pb.CheckStreamRequest(correlation_id=1, checks=[check(session_id=session)] * 2))
    answer = await stream.read()
    stream.cancel()
    if isinstance(answer, pb.CheckStreamResponse):
        tally.codes += codes_of(answer.decisions)
    else:
        tally.unanswered += 1


WAYS = (ask_once, ask_in_batch, ask_on_stream)


async def ask(number: int, servers: Sequence[Channels], session: str, tally: Tally) -> None:
    """Ask as one of the callers, each in its way and over one of the connections."""
    way: Callable[[Channels, str, Tally], Awaitable[None]] = WAYS[number % len(WAYS)]
    try:
        await way(servers[number % len(servers)], session, tally)
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the latter of a stream that broke before it was written
        tally.unanswered += 1


async def race(process: ServerProcess, sessions: Sequence[str], tally: Tally) -> None:
    """Have all callers ask at once, spread over the sessions."""
    servers = [process.connect() for _ in range(CONNECTIONS)]
    try:
        await asyncio.gather(
            *(ask(number, servers, sessions[number % len(sessions)], tally) for number in range(CALLERS))
        )
    finally:
        for server in servers:
            await server.close()


def uses_on_record(process: ServerProcess, sessions: Sequence[str]) -> int:
    """Count the allows of the sessions in a journal whose chain is whole."""
    journal = process.home / "d" / "journal"
    assert isinstance(verify(journal), Verified)
    entries = [entry.record() for entry in read(journal)]
    return sum(entry.get("outcome") == "allow" and entry["session_id"] in sessions for entry in entries)


async def started(process: ServerProcess) -> Channels:
    """Start a server with the world's facts, and connect."""
    await process.start()
    server = process.connect()
    await server.apply(*world())
    return server


async def race_over_a_kill(process: ServerProcess, sessions: Sequence[str], after_s: float) -> Tally:
    """Race while the server is killed, and once more after it has started again."""
    tally = Tally()
    racing = asyncio.create_task(race(process, sessions, tally))
    await asyncio.sleep(after_s)
    await asyncio.to_thread(process.kill)
    await racing
    await process.start()
    await race(process, sessions, tally)
    return tally


async def race_over_kills(process: ServerProcess, rounds: int) -> None:
    """Open a session and race for it over a kill, again and again; every one is used exactly as often as it may be."""
    moments, tallies = random.Random(SEED), {}
    await (await started(process)).close()
    for number in range(rounds):
        server = process.connect()
        await opened(server, f"raced-{number}", max_uses=LIMIT)
        await server.close()
        tallies[f"raced-{number}"] = await race_over_a_kill(process, [f"raced-{number}"], moments.uniform(0, 0.04))
    process.terminate()
    assert await process.ended() == 0
    for id_, tally in tallies.items():
        assert uses_on_record(process, [id_]) == LIMIT
        lost = LIMIT - tally.allows
        assert 0 <= lost <= 2 * tally.unanswered
        assert set(tally.codes) <= {GRANTED, "SESSION_EXHAUSTED"}


async def test_fifty_callers_get_exactly_seven_allows(launch: Callable[..., ServerProcess]) -> None:
    """By single calls, in batches and on streams, over several connections."""
    process, tally = launch(PRINCIPALS), Tally()
    server = await started(process)
    await opened(server, "raced", max_uses=LIMIT)
    await race(process, ["raced"], tally)
    process.terminate()
    assert await process.ended() == 0
    assert (tally.allows, tally.unanswered, set(tally.codes)) == (LIMIT, 0, {GRANTED, "SESSION_EXHAUSTED"})
    assert uses_on_record(process, ["raced"]) == LIMIT
    await server.close()


async def test_an_approval_is_used_exactly_as_often_over_all_its_sessions(
    launch: Callable[..., ServerProcess],
) -> None:
    """Two sessions share its seven uses, also when the server is killed in between."""
    process, sessions = launch(PRINCIPALS), ["left", "right"]
    server = await started(process)
    await approved(server, "consent", LIMIT)
    for id_ in sessions:
        await opened(server, id_, approval="consent")
    tally = await race_over_a_kill(process, sessions, 0.01)
    process.terminate()
    assert await process.ended() == 0
    assert uses_on_record(process, sessions) == LIMIT
    assert 0 <= LIMIT - tally.allows <= 2 * tally.unanswered
    assert set(tally.codes) <= {GRANTED, "APPROVAL_EXHAUSTED"}
    await server.close()


async def test_no_use_is_given_twice_over_kills(launch: Callable[..., ServerProcess]) -> None:
    """Answers that arrived and answers that were lost are together the seven on record."""
    await race_over_kills(launch(PRINCIPALS), ROUNDS)


@pytest.mark.slow
async def test_no_use_is_given_twice_over_many_kills(launch: Callable[..., ServerProcess]) -> None:
    """As above, for longer."""
    await race_over_kills(launch(PRINCIPALS), MANY_ROUNDS)
