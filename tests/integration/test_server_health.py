"""Health and reflection, as orchestrators and tools see them."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from pdp.core.wording import SECOND
from tests.integration.conftest import Serve
from tests.integration.serving import PATIENCE_S, Running, refusal

SERVING, NOT_SERVING, UNKNOWN = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
    health_pb2.HealthCheckResponse.SERVICE_UNKNOWN,
)
DECISIONS, GOVERNANCE = "sessionpdp.v1.DecisionService", "sessionpdp.v1.GovernanceService"
EVIDENCE = "sessionpdp.v1.EvidenceService"
REFLECTIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


class Leap:
    """A monotonic clock that a test can set ahead."""

    def __init__(self) -> None:
        self.frozen = False
        self.ahead = 0

    def __call__(self) -> int:
        """Return the time; while frozen every look is an hour after the last, so no heartbeat is ever recent."""
        if self.frozen:
            self.ahead += 3600 * SECOND
        return time.monotonic_ns() + self.ahead


async def status(server: Running, name: str) -> int:
    """Return what health says of a name."""
    answer = await server.health.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE_S)
    return int(answer.status)


async def test_every_name_serves(server: Running) -> None:
    """List and Check agree."""
    listed = await server.health.List(health_pb2.HealthListRequest(), timeout=PATIENCE_S)
    names = {"", "readiness", "liveness", "policies", "evidence", DECISIONS, GOVERNANCE, EVIDENCE}
    assert {name: answer.status for name, answer in listed.statuses.items()} == dict.fromkeys(names, SERVING)
    assert [await status(server, name) for name in sorted(names)] == [SERVING] * len(names)


async def test_an_unknown_name_is_not_found(server: Running) -> None:
    """As the health protocol says."""
    error = await refusal(server.health.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=PATIENCE_S))
    assert (error.code, error.domain) == (grpc.StatusCode.NOT_FOUND, "sessionpdp")


async def test_an_unknown_name_can_be_watched(server: Running) -> None:
    """It may become known."""
    call = server.health.Watch(health_pb2.HealthCheckRequest(service="nobody"))
    assert (await call.read()).status == UNKNOWN
    call.cancel()


async def test_health_is_served_on_the_administration_door_too(server: Running) -> None:
    """Under the same names."""
    check = server.admin_channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    assert (await check(health_pb2.HealthCheckRequest(service=GOVERNANCE), timeout=PATIENCE_S)).status == SERVING


async def test_staleness_is_told_and_its_end_too(serve: Serve) -> None:
    """A watcher hears NOT_SERVING while the state is stale, and SERVING afterwards, without asking."""
    clock = Leap()
    server = await serve(monotonic=clock)
    call = server.health.Watch(health_pb2.HealthCheckRequest(service=DECISIONS), timeout=PATIENCE_S)
    heard = [(await call.read()).status]
    clock.frozen = True
    heard.append((await call.read()).status)
    assert await server.check() == "STATE_STALE"
    clock.frozen = False
    heard.append((await call.read()).status)
    assert heard == [SERVING, NOT_SERVING, SERVING]
    assert await server.check() == "GRANTED"
    call.cancel()


async def test_liveness_does_not_depend_on_the_state(serve: Serve) -> None:
    """A restart would not mend a store that cannot be reached."""
    clock = Leap()
    server = await serve(monotonic=clock)
    clock.frozen = True
    async with asyncio.timeout(PATIENCE_S):
        while await status(server, "readiness") == SERVING:  # noqa: ASYNC110  # it is asked, as a probe does
            await asyncio.sleep(0.02)
    assert await status(server, "liveness") == SERVING


async def describe(server: Running, service: str, request: reflection_pb2.ServerReflectionRequest) -> bytes:
    """Ask a reflection service of either version; return the answer as it came."""
    call = server.decision_channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
    )

    async def requests() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield request

    answers = [answer async for answer in call(requests(), timeout=PATIENCE_S)]
    assert len(answers) == 1
    return bytes(answers[0])


async def test_reflection_lists_what_is_served_in_both_versions(server: Running) -> None:
    """Newer tools ask v1, older ones v1alpha; only the older has a descriptor that can be listed."""
    for service in REFLECTIONS:
        answer = await describe(server, service, reflection_pb2.ServerReflectionRequest(list_services=""))
        response = reflection_pb2.ServerReflectionResponse.FromString(answer)
        names = {one.name for one in response.list_services_response.service}
        assert names == {DECISIONS, "grpc.health.v1.Health", REFLECTIONS[1]}


async def test_reflection_describes_the_contract(server: Running) -> None:
    """By symbol."""
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=DECISIONS)
    answer = await describe(server, REFLECTIONS[0], request)
    response = reflection_pb2.ServerReflectionResponse.FromString(answer)
    assert response.file_descriptor_response.file_descriptor_proto


async def test_a_tool_that_knows_no_schema_can_ask(server: Running) -> None:
    """`buf curl` finds the contract by reflection."""
    question = {
        "subject": {"id": "worker"},
        "action": {"name": "rows.read"},
        "resource": {"type": "database", "id": "prod/users"},
        "sessionId": "s-1",
    }
    socket = server.sidecar.settings.decision_address().removeprefix("unix:")
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "buf"),
        *("curl", "--protocol", "grpc", "--http2-prior-knowledge", "--unix-socket", socket),
        *("--data", json.dumps(question), f"http://localhost/{DECISIONS}/Check"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert json.loads(out)["decision"]["outcome"] == "OUTCOME_ALLOW"
