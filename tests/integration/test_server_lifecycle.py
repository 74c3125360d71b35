"""A server process from its start to its end, and what it leaves for the next."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import evidence_pb2

from pdp.app import Sidecar
from pdp.core.model import Duration
from pdp.core.wording import SECOND
from pdp.doors.listening import ListenError
from pdp.evidence import keeper
from pdp.evidence.journal import scribe
from pdp.settings import Listener, Settings
from pdp.state.store import StoreUnusableError
from tests.integration.conftest import Serve
from tests.integration.serving import (
    PATIENCE_S,
    Refused,
    ServerProcess,
    check,
    code_of,
    codes_of,
    refusal,
    session,
    until,
    world,
)
from tests.integration.test_index_process import found
from tests.ports import free_port
from tests.processes import children_of

Launch = Callable[..., ServerProcess]


def mode_of(path: Path) -> str:
    """Return the permission bits of a file."""
    return oct(stat.S_IMODE(path.stat().st_mode))


async def test_a_stop_answers_what_is_asked_and_ends_what_waits(launch: Launch) -> None:
    """SIGTERM: batches in flight are answered, then all streams and watches end, and the exit code is 0."""
    process = launch()
    await process.start()
    server = process.connect()
    await server.apply(*world())
    busy, idle = server.decisions.CheckStream(), server.decisions.CheckStream()
    watch = server.decisions.Watch(pb.WatchRequest(check=check()))
    assert code_of((await watch.read()).decision) == "GRANTED"
    await idle.write(pb.CheckStreamRequest(checks=[check()]))
    assert codes_of((await idle.read()).decisions) == ["GRANTED"]
    for number in (5, 6):
        waits = pb.CheckStreamRequest(correlation_id=number, checks=[check(at_least_revision=1000), check()])
        waits.timeout.FromNanoseconds(2 * SECOND)
        await busy.write(waits)
    await asyncio.sleep(0.5)
    health = server.health.Watch(health_pb2.HealthCheckRequest())
    assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
    process.terminate()
    assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    for number in (5, 6):
        answer = await busy.read()
        assert (answer.correlation_id, codes_of(answer.decisions)) == (number, ["STATE_BEHIND", "GRANTED"])
    assert await busy.read() == grpc.aio.EOF
    assert await idle.read() == grpc.aio.EOF
    assert (await refusal(watch.read())).reason == "STORE_UNAVAILABLE"
    assert await process.ended() == 0, process.log
    await server.close()


@contextmanager
def hangups(how: signal.Handlers) -> Iterator[None]:
    """Start processes that end at a closed terminal (SIG_DFL) or, as under `nohup`, do not (SIG_IGN)."""
    before = signal.signal(signal.SIGHUP, how)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_a_closed_terminal_stops_it_like_any_other_stop(launch: Launch) -> None:
    """SIGHUP: the exit code is 0, no socket is left, and the stop is on record."""
    process = launch()
    with hangups(signal.SIG_DFL):
        await process.start()
    process.process.send_signal(signal.SIGHUP)
    assert await process.ended() == 0, process.log
    assert list((process.home / "d").glob("*.sock")) == []
    assert '"name":"stopped"' in next((process.home / "d" / "journal").glob("*.jsonl")).read_text()


async def test_what_was_started_to_outlive_its_terminal_does(launch: Launch) -> None:
    """Under `nohup` SIGHUP is ignored, and it is told to stop in another way."""
    process = launch()
    with hangups(signal.SIG_IGN):
        await process.start()
    process.process.send_signal(signal.SIGHUP)
    server = process.connect()
    await server.apply(*world())
    assert await server.check() == "GRANTED"
    await server.close()
    process.terminate()
    assert await process.ended() == 0


async def test_a_hangup_does_not_end_what_works_for_it(launch: Launch) -> None:
    """Its processes still have work to do, and end with it."""
    process = launch()
    await process.start()
    server = process.connect()
    await server.apply(*world())
    assert await found(server, evidence_pb2.RECORD_KIND_CHANGE) == 1
    pids = [children_of(process.process.pid, module.__name__) for module in (scribe, keeper)]
    for (pid,) in pids:
        os.kill(pid, signal.SIGHUP)
    await server.apply(session("s-2"))
    assert await found(server, evidence_pb2.RECORD_KIND_CHANGE) == 2
    assert [children_of(process.process.pid, module.__name__) for module in (scribe, keeper)] == pids
    await server.close()


async def test_the_next_start_finds_everything(launch: Launch) -> None:
    """Facts, revocations, and how often what was used."""
    process = launch()
    await process.start()
    server = process.connect()
    await server.apply(*world(), session("s-2"), session("s-3", max_uses=3))
    await server.revoke("session", "s-2")
    assert [await server.check(session_id="s-3") for _ in range(2)] == ["GRANTED", "GRANTED"]
    process.terminate()
    assert await process.ended() == 0
    await process.start()
    codes = [await server.check(session_id=id_) for id_ in ("s-1", "s-2", "s-3", "s-3")]
    assert codes == ["GRANTED", "SESSION_REVOKED", "GRANTED", "SESSION_EXHAUSTED"]
    await server.close()


async def test_a_second_server_on_the_same_data_refuses(launch: Launch, home: Path) -> None:
    """It says why, and the first serves on."""
    first = launch()
    await first.start()
    server = first.connect()
    await server.apply(*world())
    second = ServerProcess(home)
    assert await asyncio.to_thread(second.launch().wait, PATIENCE_S) != 0
    assert "in use" in second.log
    assert await server.check() == "GRANTED"
    await server.close()


async def test_a_socket_left_behind_is_replaced(launch: Launch) -> None:
    """A killed server cannot clean up."""
    process = launch()
    await process.start()
    process.kill()
    assert stat.S_ISSOCK(os.stat(process.decision_target.removeprefix("unix:")).st_mode)  # noqa: PTH116
    await process.start()
    server = process.connect()
    await server.apply(*world())
    assert await server.check() == "GRANTED"
    await server.close()


@pytest.mark.parametrize("kind", ["socket", "port"])
async def test_an_address_that_another_server_has_is_refused(serve: Serve, home: Path, kind: str) -> None:
    """The other serves on: it must not lose its callers to a newcomer."""
    address = f"unix:{home}/shared.sock" if kind == "socket" else f"127.0.0.1:{free_port()}"
    server = await serve(changes={"decisions": Listener(address=address)})
    newcomer = Sidecar(Settings(data_dir=str(home / "other"), decisions=Listener(address=address)))
    with pytest.raises(ListenError, match="cannot listen on"):
        await newcomer.start()
    await newcomer.stop()
    other = server.another()
    assert [await server.check(), await other.check()] == ["GRANTED", "GRANTED"]
    await other.close()


async def test_what_it_makes_is_for_its_owner_and_the_sockets_group(launch: Launch) -> None:
    """The data directory, both sockets, the database and the journal."""
    process = launch()
    await process.start()
    data = process.home / "d"
    names = {"": "0o700", "pdp.sock": "0o660", "admin.sock": "0o600", "journal": "0o700"}
    assert {name: mode_of(data / name) for name in names} == names
    readable = [path for path in data.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert readable == []


async def test_a_configuration_that_is_wrong_refuses_to_start(launch: Launch) -> None:
    """Naming the place."""
    process = launch({"limits": {"call": 1}})
    assert await asyncio.to_thread(process.launch().wait, PATIENCE_S) != 0
    assert f"{process.config}:1:" in process.log
    assert "call" in process.log


async def test_a_part_that_fails_ends_the_server(serve: Serve) -> None:
    """It must not go on as if nothing were."""
    trouble: list[str] = []

    def monotonic() -> int:
        if trouble:
            raise RuntimeError(trouble[0])
        return time.monotonic_ns()

    server = await serve(monotonic=monotonic)
    trouble.append("told to fail")
    await asyncio.wait_for(server.sidecar.stopping.wait(), PATIENCE_S)
    assert str(server.sidecar.failure) == "told to fail"
    trouble.clear()


async def test_a_start_that_fails_can_be_stopped(settings: Settings) -> None:
    """And leaves nothing locked behind."""
    first = Sidecar(settings)
    await first.start()
    second = Sidecar(settings)
    with pytest.raises(StoreUnusableError):
        await second.start()
    await second.stop()
    await first.stop()
    third = Sidecar(settings)
    await third.start()
    await third.stop()


async def test_a_stop_does_not_wait_longer_than_it_may(serve: Serve) -> None:
    """A call that would take longer ends with an error, not with an answer."""
    server = await serve(changes={"drain": Duration(SECOND // 5)})
    call = server.decisions.Check(check(at_least_revision=1000), timeout=60)
    asked = asyncio.ensure_future(refusal(call))
    assert server.sidecar.replica is not None
    replica = server.sidecar.replica
    await until(lambda: len(replica._waiting) == 1)
    await server.sidecar.stop()
    assert isinstance(await asked, Refused)
