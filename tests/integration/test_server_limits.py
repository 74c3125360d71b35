"""Deadlines and bounds: what is asked too late, too often or too much is refused, by name, and nothing is queued."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc._cython import cygrpc
from grpc_health.v1 import health_pb2
from sessionpdp.transport import CHANNEL_OPTIONS
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import facts_pb2, governance_pb2

from pdp.core.wording import SECOND
from pdp.doors.listening import server_options
from pdp.evidence.journal.faulty_disk import FaultyDisk
from pdp.evidence.journal.journal_reader import read
from pdp.settings import Limits
from tests.integration.conftest import Serve
from tests.integration.serving import PATIENCE_S, Running, check, code_of, codes_of, refusal, session, until

DURABLE = """\
policy: durable
match: {actions: ["rows.*"], resources: ["database:**"]}
evidence: durable
"""
EXHAUSTED, INVALID = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT


@asynccontextmanager
async def a_check_that_waits(server: Running) -> AsyncIterator[None]:
    """Have one check wait for a revision that does not come."""
    call = server.decisions.Check(check(at_least_revision=1000), timeout=60)
    waiting = asyncio.ensure_future(call.wait_for_connection())
    assert server.sidecar.replica is not None
    replica = server.sidecar.replica
    await until(lambda: len(replica._waiting) == 1)
    try:
        yield
    finally:
        call.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_revision_that_does_not_come_is_a_denial_within_the_deadline(server: Running) -> None:
    """The server knows the client's deadline, else it would wait on and the client would get no answer."""
    answer = await server.decisions.Check(check(at_least_revision=1000), timeout=1.5)
    assert code_of(answer.decision) == "STATE_BEHIND"


async def test_a_revision_that_comes_is_waited_for(server: Running) -> None:
    """One's own writes are read."""
    revision = server.sidecar.snapshot.revision + 1
    asked = asyncio.ensure_future(server.check(at_least_revision=revision, session_id="s-2"))
    assert server.sidecar.replica is not None
    replica = server.sidecar.replica
    await until(lambda: len(replica._waiting) == 1)
    assert await server.apply(session("s-2")) == revision
    assert await asked == "GRANTED"


async def test_a_batch_on_a_stream_has_its_own_timeout(server: Running) -> None:
    """The stream itself has none."""
    stream = server.decisions.CheckStream()
    request = pb.CheckStreamRequest(correlation_id=7, checks=[check(at_least_revision=1000), check()])
    request.timeout.FromNanoseconds(SECOND // 5)
    await stream.write(request)
    answer = await stream.read()
    assert (answer.correlation_id, codes_of(answer.decisions)) == (7, ["STATE_BEHIND", "GRANTED"])
    stream.cancel()


async def test_a_durable_allow_whose_evidence_is_late_is_a_denial(serve: Serve, home: Path) -> None:
    """Within the deadline; the same check is granted once the disk works."""
    disk = FaultyDisk()
    (home / "durable.yaml").write_text(DURABLE)
    server = await serve(disk=disk, changes={"policies": [str(home)]})
    disk.stall()
    try:
        answer = await server.decisions.Check(check(), timeout=1.5)
        assert code_of(answer.decision) == "EVIDENCE_UNAVAILABLE"
    finally:
        disk.mend()
    assert await server.check() == "GRANTED"


async def test_what_was_denied_as_late_is_not_on_record_as_given(serve: Serve, home: Path) -> None:
    """By Explain as by Check; what is on its way to the disk already cannot be called back."""
    disk = FaultyDisk()
    (home / "durable.yaml").write_text(DURABLE)
    server = await serve(disk=disk, changes={"policies": [str(home)]})
    disk.stall()
    try:
        on_its_way = await server.decisions.Check(check(), timeout=1.0)
        late = await server.decisions.Check(check(), timeout=1.0)
        explained = await server.decisions.Explain(pb.ExplainRequest(check=check()), timeout=1.0)
    finally:
        disk.mend()
    assert codes_of([on_its_way.decision, late.decision, explained.decision]) == ["EVIDENCE_UNAVAILABLE"] * 3
    await until(lambda: server.sidecar.evidence.status().held == 0)
    told = [entry.record() for entry in read(server.sidecar.settings.journal_dir)]
    assert [(record["method"], record["outcome"]) for record in told if record["kind"] == "decision"] == [
        ("Check", "allow"),
        ("Check", "deny"),
        ("Check", "deny"),
    ]


async def test_more_waiting_checks_than_the_bound_are_overloaded(serve: Serve) -> None:
    """A deny, at once; what need not wait is still decided."""
    server = await serve(changes={"limits": Limits(waiting=1)})
    async with a_check_that_waits(server):
        assert await server.check(at_least_revision=1000) == "OVERLOADED"
        assert await server.check() == "GRANTED"


async def test_durable_items_of_a_batch_wait_together_within_the_bound(serve: Serve, home: Path) -> None:
    """Those beyond it are overloaded, the others denied at the deadline; nobody waits any more then."""
    disk = FaultyDisk()
    (home / "durable.yaml").write_text(DURABLE)
    server = await serve(disk=disk, changes={"policies": [str(home)], "limits": Limits(waiting=2)})
    batch = pb.CheckBatchRequest(checks=[check()] * 3)
    disk.stall()
    try:
        answer = await server.decisions.CheckBatch(batch, timeout=1.0)
    finally:
        disk.mend()
    assert codes_of(answer.decisions) == ["EVIDENCE_UNAVAILABLE", "EVIDENCE_UNAVAILABLE", "OVERLOADED"]
    assert codes_of((await server.decisions.CheckBatch(pb.CheckBatchRequest(checks=[check()] * 2))).decisions) == [
        "GRANTED",
        "GRANTED",
    ]


async def test_a_disk_that_fails_after_the_deadline_is_nobodys_unheard_error(serve: Serve, home: Path) -> None:
    """The denial was given long ago; asyncio would log each failure that nobody has looked at."""
    disk = FaultyDisk()
    (home / "durable.yaml").write_text(DURABLE)
    server = await serve(disk=disk, changes={"policies": [str(home)]})
    disk.stall()
    try:
        answer = await server.decisions.CheckBatch(pb.CheckBatchRequest(checks=[check()] * 2), timeout=1.0)
        disk.break_()
        await until(lambda: not server.sidecar.evidence.healthy)
    finally:
        disk.mend()
    await until(lambda: server.sidecar.evidence.healthy)
    assert await server.check() == "GRANTED"
    futures = [one for one in gc.get_objects() if type(one) is asyncio.Future]
    assert codes_of(answer.decisions) == ["EVIDENCE_UNAVAILABLE"] * 2
    assert [one for one in futures if one._log_traceback] == []


async def test_more_calls_than_the_bound_are_refused(serve: Serve) -> None:
    """With the reason; the next is taken when one has ended."""
    server = await serve(changes={"limits": Limits(calls=1)})
    async with a_check_that_waits(server):
        error = await refusal(server.decisions.Check(check(), timeout=PATIENCE_S))
        assert (error.code, error.reason, error.domain) == (EXHAUSTED, "OVERLOADED", "sessionpdp")
    assert server.sidecar.replica is not None
    replica = server.sidecar.replica
    await until(lambda: not replica._waiting)
    assert await server.check() == "GRANTED"


async def test_overload_by_checks_keeps_neither_revocations_nor_probes_out(serve: Serve) -> None:
    """An overloaded sidecar must not be restarted for it, and must still learn what is revoked."""
    server = await serve(changes={"limits": Limits(calls=1)})
    async with a_check_that_waits(server):
        assert (await server.revoke("session", "s-1")).revision == 2
        answer = await server.health.Check(health_pb2.HealthCheckRequest(service="liveness"), timeout=PATIENCE_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_more_watches_than_the_bound_are_refused(serve: Serve) -> None:
    """With the reason; the place of one that ended is free."""
    server = await serve(changes={"limits": Limits(watches=1)})
    first = server.decisions.Watch(pb.WatchRequest(check=check()))
    assert code_of((await first.read()).decision) == "GRANTED"
    error = await refusal(server.decisions.Watch(pb.WatchRequest(check=check())).read())
    assert (error.code, error.reason) == (EXHAUSTED, "OVERLOADED")
    first.cancel()
    assert server.sidecar.watches is not None
    watches = server.sidecar.watches
    await until(lambda: watches.open == 0)
    third = server.decisions.Watch(pb.WatchRequest(check=check()))
    assert code_of((await third.read()).decision) == "GRANTED"
    third.cancel()


async def test_more_streams_than_the_bound_are_refused(serve: Serve) -> None:
    """Streams and calls together are what gRPC takes on at all."""
    server = await serve(changes={"limits": Limits(calls=1, streams=1)})
    streams = [server.decisions.CheckStream() for _ in range(2)]
    for stream in streams:
        await stream.write(pb.CheckStreamRequest(checks=[check()]))
        assert codes_of((await stream.read()).decisions) == ["GRANTED"]
    assert (await refusal(server.decisions.CheckStream().read())).code is EXHAUSTED
    for stream in streams:
        stream.cancel()


async def test_a_batch_beyond_the_bound_names_its_field(serve: Serve) -> None:
    """On the stream, too."""
    server = await serve(changes={"limits": Limits(batch=2)})
    assert (
        codes_of((await server.decisions.CheckBatch(pb.CheckBatchRequest(checks=[check()] * 2))).decisions)
        == ["GRANTED"] * 2
    )
    error = await refusal(server.decisions.CheckBatch(pb.CheckBatchRequest(checks=[check()] * 3)))
    assert (error.code, list(error.fields)) == (INVALID, ["checks"])
    stream = server.decisions.CheckStream()
    await stream.write(pb.CheckStreamRequest(checks=[check()] * 3))
    error = await refusal(stream.read())
    assert (error.code, list(error.fields)) == (INVALID, ["checks"])


async def test_a_write_beyond_the_bound_names_its_field(serve: Serve) -> None:
    """Nothing of it is written."""
    server = await serve(facts=False, changes={"limits": Limits(facts=2)})
    facts = [facts_pb2.Fact(task=facts_pb2.Task(id=f"t-{n}")) for n in range(3)]
    error = await refusal(server.governance.ApplyFacts(governance_pb2.ApplyFactsRequest(facts=facts)))
    assert (error.code, list(error.fields), server.sidecar.snapshot.revision) == (INVALID, ["facts"], 0)


async def test_a_message_beyond_the_bound_is_refused(serve: Serve) -> None:
    """Before it is read."""
    server = await serve(changes={"limits": Limits(message_bytes=4096)})
    request = check()
    request.context.update({"text": "x" * 5000})
    assert (await refusal(server.decisions.Check(request))).code is EXHAUSTED
    assert await server.check() == "GRANTED"


def test_pings_every_ten_seconds_are_permitted_without_calls() -> None:
    """Else gRPC answers them with GOAWAY: its own bound is five minutes."""
    options = dict(server_options(Limits()))
    assert options["grpc.http2.min_ping_interval_without_data_ms"] < 10_000
    assert options["grpc.keepalive_permit_without_calls"] == 1


@pytest.mark.parametrize("options", [server_options(Limits()), CHANNEL_OPTIONS], ids=["server", "client"])
def test_every_option_is_one_that_grpc_knows(options: Sequence[tuple[str, int | str]]) -> None:
    """It ignores others without a word, so its own library must have the name."""
    library = Path(cygrpc.__file__).read_bytes()
    assert [name for name, _ in options if f"{name}\0".encode() not in library] == []


@pytest.mark.slow
async def test_an_idle_connection_that_pings_stays(server: Running) -> None:
    """Over several pings: strikes add up before GOAWAY comes."""
    options = (
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )
    channel = grpc.aio.insecure_channel(server.sidecar.settings.decision_address(), options=options)
    await channel.channel_ready()
    states = []
    for _ in range(45):
        states.append(channel.get_state())
        await asyncio.sleep(1)
    assert set(states) == {grpc.ChannelConnectivity.READY}
    await channel.close()
