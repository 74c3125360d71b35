"""The whole server, killed under load again and again: what it has acknowledged holds."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import grpc
import pytest
from sessionpdp.v1 import decision_pb2, facts_pb2, governance_pb2

from pdp.core.model import Task
from pdp.evidence.journal.journal_reader import read
from pdp.evidence.seals.verifying import Verified, verify
from tests.integration.serving import (
    PATIENCE_S,
    Channels,
    ServerProcess,
    check,
    code_of,
    session,
    until,
    world,
)

KILLS = int(os.environ.get("PDP_TEST_SERVER_KILLS", "5"))
MANY_KILLS = int(os.environ.get("PDP_TEST_SERVER_MANY_KILLS", "100"))
SEED = int(os.environ.get("PDP_TEST_SEED", "0"))
USERS = 8
PRIVILEGED = """\
policy: privileged
match: {actions: ["rows.drop"], resources: ["database:**"]}
deny: [{name: never on Fridays, cel: "context.friday == true"}]
evidence: durable
"""


class Ledger:
    """What the server has acknowledged, over all its lives."""

    def __init__(self, max_uses: int) -> None:
        self.max_uses = max_uses
        self.numbers = count()
        self.tasks: list[str] = []
        self.revoked: list[str] = []
        self.allows = 0
        self.durable: set[str] = set()
        """Ids of the durable decisions that a client received, allows and denials."""
        self.revoked_but_granted: list[str] = []

    async def write(self, server: Channels) -> None:
        """Write a task."""
        id_ = f"t-{next(self.numbers)}"
        await server.apply(Task(id=id_))
        self.tasks.append(id_)

    async def revoke(self, server: Channels) -> None:
        """Open a session and revoke it."""
        id_ = f"r-{next(self.numbers)}"
        await server.apply(session(id_))
        await server.revoke("session", id_)
        self.revoked.append(id_)

    async def ask_revoked(self, server: Channels) -> None:
        """Ask under a session that was revoked."""
        if not self.revoked:
            await asyncio.sleep(0.001)
            return
        id_ = random.choice(self.revoked)
        if await server.check(session_id=id_) == "GRANTED":
            self.revoked_but_granted.append(id_)

    async def use(self, server: Channels) -> None:
        """Use the session whose uses are limited."""
        self.allows += await self.received(server, check(session_id="limited")) == "GRANTED"
        await asyncio.sleep(0.01)

    async def ask_privileged(self, server: Channels) -> None:
        """Ask for a privileged action, allowed or not."""
        request = check(action=decision_pb2.Action(name="rows.drop"))
        request.context.update({"friday": random.random() < 0.5})
        await self.received(server, request)
        await asyncio.sleep(0.01)

    async def received(self, server: Channels, request: decision_pb2.CheckRequest) -> str:
        """Return the code of a decision whose record must be kept."""
        decision = (await server.decisions.Check(request, timeout=PATIENCE_S)).decision
        code = code_of(decision)
        if code in ("GRANTED", "POLICY_DENIED"):
            self.durable.add(decision.decision_id)
        return code


async def again_and_again(step: Callable[[Channels], Awaitable[None]], server: Channels) -> None:
    """Repeat a step until the server is gone."""
    with suppress(grpc.aio.AioRpcError):
        while True:
            await step(server)


async def live_and_die(process: ServerProcess, ledger: Ledger, after_s: float) -> None:
    """Let a server live under load, then kill it."""
    server = process.connect()
    steps = [
        ledger.write,
        ledger.revoke,
        *[ledger.ask_revoked] * 2,
        *[ledger.ask_privileged] * 2,
        *[ledger.use] * USERS,
    ]
    load = [asyncio.create_task(again_and_again(step, server)) for step in steps]
    before = len(ledger.tasks)
    await until(lambda: len(ledger.tasks) > before)
    await asyncio.sleep(after_s)
    await asyncio.to_thread(process.kill)
    await asyncio.gather(*load)
    await server.close()


async def known_tasks(server: Channels) -> set[str]:
    """Return the ids of all tasks the server has."""
    found: set[str] = set()
    token = ""
    while True:
        request = governance_pb2.ListFactsRequest(kind=facts_pb2.FACT_KIND_TASK, page_token=token)
        page = await server.governance.ListFacts(request, timeout=PATIENCE_S)
        found |= {fact.task.id for fact in page.facts}
        token = page.next_page_token
        if not token:
            return found


async def codes_of_revoked(server: Channels, ledger: Ledger) -> set[str]:
    """Return what is answered under sessions that were revoked."""
    return {await server.check(session_id=id_) for id_ in ledger.revoked}


async def use_up(server: Channels, ledger: Ledger) -> str:
    """Use the limited session until it is denied; return the code."""
    while (code := await ledger.received(server, check(session_id="limited"))) == "GRANTED":
        ledger.allows += 1
    return code


async def kill_again_and_again(process: ServerProcess, kills: int) -> str:
    """Check after each life, and at the end, that everything acknowledged is there; return the counts."""
    moments = random.Random(SEED)
    ledger = Ledger(max_uses=40 * kills)
    await process.start()
    server = process.connect()
    await server.apply(*world(), session("limited", max_uses=ledger.max_uses))
    await server.close()
    for _ in range(kills):
        await live_and_die(process, ledger, moments.uniform(0, 0.3))
        await process.start()
        server = process.connect()
        assert set(ledger.tasks) - await known_tasks(server) == set()
        assert await codes_of_revoked(server, ledger) <= {"SESSION_REVOKED"}
        await server.close()
    server = process.connect()
    assert await use_up(server, ledger) == "SESSION_EXHAUSTED"
    await server.close()
    process.terminate()
    assert await process.ended() == 0
    assert ledger.revoked_but_granted == []
    records = check_evidence(process.home / "d" / "journal", ledger)
    told = f"{len(ledger.durable)} durable decisions received, {len(ledger.revoked)} revocations, {records} records"
    return f"{kills} kills of a sidecar: {told}, 0 missing, 0 gaps"


def check_evidence(journal: Path, ledger: Ledger) -> int:
    """Check that the chain is whole and everything acknowledged on record; return how many records there are."""
    assert isinstance(verify(journal), Verified)
    entries = [entry.record() for entry in read(journal)]
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert ledger.durable - {str(entry.get("decision_id")) for entry in entries} == set()
    allows = [entry for entry in entries if entry.get("outcome") == "allow" and entry["session_id"] == "limited"]
    assert 0 < ledger.allows <= len(allows) == ledger.max_uses
    changes = json.dumps([entry for entry in entries if entry["kind"] == "change"])
    assert [id_ for id_ in (*ledger.tasks, *ledger.revoked) if f'"{id_}"' not in changes] == []
    return len(entries)


def privileged(home: Path) -> dict[str, object]:
    """Return the configuration of a sidecar with a privileged action."""
    (home / "policies").mkdir()
    (home / "policies" / "privileged.yaml").write_text(PRIVILEGED)
    return {"policies": [str(home / "policies")]}


async def test_what_was_acknowledged_survives_kills_under_load(
    launch: Callable[..., ServerProcess], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No fact, revocation or durable decision is lost, and no use is counted twice to the user's gain."""
    told = await kill_again_and_again(launch(privileged(home)), KILLS)
    with capsys.disabled():
        sys.stdout.write(f"\n{told}\n")


@pytest.mark.slow
async def test_what_was_acknowledged_survives_a_hundred_kills(
    launch: Callable[..., ServerProcess], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As above, for longer."""
    told = await kill_again_and_again(launch(privileged(home)), MANY_KILLS)
    with capsys.disabled():
        sys.stdout.write(f"\n{told}\n")
