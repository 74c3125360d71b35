"""A revocation that was acknowledged is obeyed by the very next call, whoever makes it and however."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from sessionpdp import AsyncPDP
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import facts_pb2, governance_pb2, reasons_pb2

from pdp.core.model import Identity, IdentityKind
from pdp.core.wording import SECOND
from pdp.doors.wire import timestamp
from tests.integration.serving import PATIENCE_S, Running, check, code_of, codes_of, refusal, session, until, world

CREDENTIAL = pb.Credential(id="cert-1", issuer="issuer-1", subject="worker")
TARGETS = {
    "identity": ("worker", "IDENTITY_REVOKED"),
    "session": ("s-1", "SESSION_REVOKED"),
    "task": ("job", "TASK_REVOKED"),
    "approval": ("chg-1", "APPROVAL_REVOKED"),
    "entitlement": ("ent-1", "ENTITLEMENT_REVOKED"),
    "credential": ("cert-1", "CREDENTIAL_REVOKED"),
    "issuer": ("issuer-1", "CREDENTIAL_REVOKED"),
    "owner": ("team-a", "IDENTITY_UNOWNED"),
}


def stream_message(request: pb.CheckRequest, correlation_id: int) -> pb.CheckStreamRequest:
    """Return a batch of one for a stream."""
    return pb.CheckStreamRequest(correlation_id=correlation_id, checks=[request])


@asynccontextmanager
async def load(server: Running, callers: int) -> AsyncIterator[list[str]]:
    """Have callers ask all the time, in another session; yields the codes they got."""
    codes: list[str] = []
    request = check(session_id="s-2")

    async def ask() -> None:
        while True:
            codes.append(await server.check(request))

    await server.apply(session("s-2"))
    tasks = [asyncio.create_task(ask()) for _ in range(callers)]
    try:
        await until(lambda: len(codes) >= callers)
        yield codes
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_next_call_obeys_on_every_way_in_under_load(server: Running) -> None:
    """Unary, batch, stream and another client deny at once, and an open watch is cut."""
    other = server.another()
    stream = other.decisions.CheckStream()
    watch = other.decisions.Watch(pb.WatchRequest(check=check()))
    target = server.sidecar.settings.decision_address()
    async with AsyncPDP(target, timeout=PATIENCE_S) as client, load(server, 200) as codes:
        await stream.write(stream_message(check(), 1))
        assert codes_of((await stream.read()).decisions) == ["GRANTED"]
        assert code_of((await watch.read()).decision) == "GRANTED"
        assert (await client.check(subject="worker", action="rows.read", resource="database:x", session="s-1")).allowed
        revision = (await server.revoke("session", "s-1")).revision
        await stream.write(stream_message(check(), 2))
        unary, batch, streamed, asked, watched = await asyncio.gather(
            other.check(),
            server.decisions.CheckBatch(pb.CheckBatchRequest(checks=[check(), check(session_id="s-2")])),
            stream.read(),
            client.check(subject="worker", action="rows.read", resource="database:x", session="s-1"),
            watch.read(),
        )
    assert (unary, asked.code) == ("SESSION_REVOKED", "SESSION_REVOKED")
    assert codes_of(batch.decisions) == ["SESSION_REVOKED", "GRANTED"]
    assert codes_of(streamed.decisions) == ["SESSION_REVOKED"]
    assert (code_of(watched.decision), watched.decision.revision) == ("SESSION_REVOKED", revision)
    assert set(codes) == {"GRANTED"}
    stream.cancel()
    watch.cancel()
    await other.close()


@pytest.mark.parametrize("target", sorted(TARGETS))
async def test_each_target_is_obeyed_and_cuts_the_watch(server: Running, target: str) -> None:
    """With the code of its group."""
    id_, code = TARGETS[target]
    request = check(credential=CREDENTIAL)
    watch = server.decisions.Watch(pb.WatchRequest(check=request), timeout=PATIENCE_S)
    assert code_of((await watch.read()).decision) == "GRANTED"
    await server.revoke(target, id_)
    assert await server.check(request) == code
    assert code_of((await watch.read()).decision) == code
    watch.cancel()


async def test_a_family_of_identities_is_revoked_by_its_pattern(server: Running) -> None:
    """And a watch of a member hears of it."""
    await server.apply(Identity(id="jobs/*", kind=IdentityKind.CI_JOB, owner="team-b"))
    request = check(subject=pb.Subject(id="jobs/7"), session_id="none")
    watch = server.decisions.Watch(pb.WatchRequest(check=request), timeout=PATIENCE_S)
    assert code_of((await watch.read()).decision) == "SESSION_UNKNOWN"
    await server.revoke("identity", "jobs/**")
    assert code_of((await watch.read()).decision) == "IDENTITY_REVOKED"
    assert await server.check() == "GRANTED"
    watch.cancel()


async def test_what_is_not_known_can_be_revoked_before_it_comes(server: Running) -> None:
    """A session that is written later is revoked from its start."""
    await server.revoke("session", "s-9")
    answer = await server.decisions.Check(check(session_id="s-9"), timeout=PATIENCE_S)
    names = [reasons_pb2.ReasonCode.Name(reason.code) for reason in answer.decision.reasons]
    assert names == ["REASON_CODE_SESSION_UNKNOWN", "REASON_CODE_SESSION_REVOKED"]
    await server.apply(session("s-9"))
    assert await server.check(session_id="s-9") == "SESSION_REVOKED"


async def test_a_revocation_of_the_future_begins_by_itself(server: Running) -> None:
    """Until then the allow ends with it, and a watch hears the moment."""
    at = time.time_ns() + 3 * SECOND // 2
    await server.revoke("session", "s-1", effective_at=timestamp(at))  # type: ignore[arg-type]
    watch = server.decisions.Watch(pb.WatchRequest(check=check()), timeout=PATIENCE_S)
    first = (await watch.read()).decision
    assert (code_of(first), first.valid_until.ToNanoseconds()) == ("GRANTED", at)
    second = (await watch.read()).decision
    assert code_of(second) == "SESSION_REVOKED"
    assert second.evaluated_at.ToNanoseconds() >= at
    assert await server.check() == "SESSION_REVOKED"
    watch.cancel()


async def test_a_revocation_needs_a_reason_a_target_and_an_id(server: Running) -> None:
    """Each missing field is named."""
    call = server.governance.Revoke(governance_pb2.RevokeRequest(), timeout=PATIENCE_S)
    error = await refusal(call)
    assert (error.code, set(error.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"target", "target_id", "reason"})
    assert await server.check() == "GRANTED"


async def test_the_facts_of_the_world_are_read_back(server: Running) -> None:
    """As they were written."""
    listed = await server.governance.ListFacts(governance_pb2.ListFactsRequest(), timeout=PATIENCE_S)
    assert (len(listed.facts), listed.revision) == (len(world()), server.sidecar.snapshot.revision)
    request = governance_pb2.GetFactRequest(kind=facts_pb2.FACT_KIND_SESSION, id="s-1")
    assert (await server.governance.GetFact(request, timeout=PATIENCE_S)).fact.session.task == "job"
    missing = governance_pb2.GetFactRequest(kind=facts_pb2.FACT_KIND_SESSION, id="s-7")
    error = await refusal(server.governance.GetFact(missing, timeout=PATIENCE_S))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "FACT_NOT_FOUND")
