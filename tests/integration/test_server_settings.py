"""Each setting does what it says; `tests/unit/test_settings.py` holds that none is left out."""

from __future__ import annotations

import asyncio
import json
import stat
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from msgspec.structs import replace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import governance_pb2_grpc

from demo.receiver import SpanReceiver
from pdp.core.model import Duration
from pdp.core.wording import SECOND
from pdp.evidence.journal.faulty_disk import FaultyDisk
from pdp.evidence.journal.journal_reader import read
from pdp.evidence.journal.segments import first_sequence_of, segments_of
from pdp.governance.roles import Role
from pdp.settings import (
    Administration,
    Journal,
    Listener,
    PrincipalSettings,
    Settings,
    State,
    Telemetry,
    Tls,
)
from tests.certificates import Authority
from tests.integration.conftest import Serve
from tests.integration.serving import (
    PATIENCE_S,
    Channels,
    Running,
    administration,
    check,
    code_of,
    refusal,
    until,
    world,
)
from tests.integration.test_server_watch import FREEZE
from tests.ports import free_port


async def test_data_dir_holds_the_database_the_journal_and_the_sockets(serve: Serve, home: Path) -> None:
    """It is made if it is not there, for its owner only."""
    directory = home / "made"
    await serve(changes={"data_dir": str(directory)})
    assert {"facts.db", "journal", "pdp.sock", "admin.sock"} <= {path.name for path in directory.iterdir()}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


async def test_policies_restrict(serve: Serve, home: Path) -> None:
    """From every directory named."""
    for name in ("a", "b"):
        (home / name).mkdir()
    (home / "b" / "freeze.yaml").write_text(FREEZE)
    server = await serve(changes={"policies": [str(home / "a"), str(home / "b")]})
    assert await server.check() == "POLICY_DENIED"


async def test_address_and_mode_are_those_of_the_sockets(serve: Serve, home: Path) -> None:
    """Each listener has its own."""
    decisions, governed = home / "d.sock", home / "a.sock"
    server = await serve(
        changes={
            "decisions": Listener(address=f"unix:{decisions}", mode="0600"),
            "administration": Administration(address=f"unix:{governed}", mode="0660"),
        }
    )
    assert await server.check() == "GRANTED"
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (decisions, governed)]
    assert modes == [0o600, 0o660]


async def test_an_address_may_be_a_port_of_loopback(serve: Serve) -> None:
    """Of either listener; there only a token says who administers."""
    server = await serve(
        facts=False,
        changes={
            "decisions": Listener(address=f"127.0.0.1:{free_port()}"),
            "administration": administration(address=f"127.0.0.1:{free_port()}"),
        },
    )
    assert await server.check() == "IDENTITY_UNKNOWN"
    assert (await refusal(server.apply(*world()))).code is grpc.StatusCode.UNAUTHENTICATED
    await server.apply(*world(), principal="inventory")
    assert await server.check() == "GRANTED"


async def test_administration_over_mutual_tls_asks_for_a_certificate(serve: Serve, home: Path) -> None:
    """And has the principal that it is bound to on record as the actor."""
    authority = Authority()
    certificate, key, client_ca = map(str, authority.server_files(home))
    door = Administration(
        address=f"localhost:{free_port()}",
        tls=Tls(certificate=certificate, key=key, client_ca=client_ca),
        principals={
            "inventory": PrincipalSettings(
                roles=frozenset({Role.IMPORTER}), certificates=["spiffe://example.org/inventory"]
            )
        },
    )
    server = await serve(facts=False, changes={"administration": door})
    target = server.sidecar.settings.administration_address()
    with pytest.raises(grpc.aio.AioRpcError):
        await server.apply(*world())
    administrator = Channels(target, target)
    await administrator.admin_channel.close()
    administrator.admin_channel = grpc.aio.secure_channel(target, authority.client("spiffe://example.org/inventory"))
    administrator.governance = governance_pb2_grpc.GovernanceServiceStub(administrator.admin_channel)
    assert await administrator.apply(*world()) == 1
    commits = await server.sidecar.replica._store.history(0, 10)  # type: ignore[union-attr]
    assert [commit.origin.actor for commit in commits] == ["inventory"]
    await administrator.close()


async def test_state_is_stale_after_max_staleness_without_a_heartbeat(serve: Serve) -> None:
    """Here heartbeats come later than that."""
    state = State(max_staleness=Duration(SECOND), heartbeat=Duration(3600 * SECOND))
    server = await serve(changes={"state": state})
    watch = server.decisions.Watch(pb.WatchRequest(check=check()), timeout=PATIENCE_S)
    heard = [code_of((await watch.read()).decision) for _ in range(2)]
    assert heard == ["GRANTED", "STATE_STALE"]
    watch.cancel()


async def test_heartbeats_keep_the_state_fresh(serve: Serve) -> None:
    """Where they come more often than that."""
    state = State(max_staleness=Duration(SECOND), heartbeat=Duration(SECOND // 50))
    server = await serve(changes={"state": state})
    watch = server.decisions.Watch(pb.WatchRequest(check=check()), timeout=2)
    assert code_of((await watch.read()).decision) == "GRANTED"
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await watch.read()
    assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_no_more_than_max_buffered_records_wait_for_the_disk(serve: Serve) -> None:
    """Then it is a denial, within the deadline; never a silent loss."""
    disk = FaultyDisk()
    server = await serve(disk=disk, changes={"journal": Journal(max_buffered=20)})
    disk.stall()
    try:
        codes = ["GRANTED"]
        while codes[-1] == "GRANTED":
            codes.append(code_of((await server.decisions.Check(check(), timeout=1.5)).decision))
    finally:
        disk.mend()
    assert (codes[-1], 3 <= len(codes) <= 22) == ("EVIDENCE_UNAVAILABLE", True)
    await until(lambda: server.sidecar.evidence.status().held == 0)
    assert await server.check() == "GRANTED"


async def test_no_more_than_max_buffered_bytes_wait_for_the_disk(serve: Serve) -> None:
    """What a context says may be six times as long on disk, and it is the length there that counts."""
    disk = FaultyDisk()
    server = await serve(disk=disk, changes={"journal": Journal(max_buffered_bytes=200_000)})
    large = check()
    large.context["notes"] = "\x01" * 6_000
    disk.stall()
    try:
        codes = ["GRANTED"]
        while codes[-1] == "GRANTED":
            codes.append(code_of((await server.decisions.Check(large, timeout=1.5)).decision))
    finally:
        disk.mend()
    assert (codes[-1], 6 <= len(codes) <= 70) == ("EVIDENCE_UNAVAILABLE", True)
    await until(lambda: server.sidecar.evidence.status().held == 0)
    assert await server.check() == "GRANTED"


async def test_a_segment_is_no_longer_than_segment_bytes(serve: Serve) -> None:
    """But for its last record."""
    server = await serve(changes={"journal": Journal(segment_bytes=20_000)})
    batch = pb.CheckBatchRequest(checks=[check()] * 50)
    for _ in range(2):
        await server.decisions.CheckBatch(batch, timeout=PATIENCE_S)
        await until(lambda: server.sidecar.evidence.status().held == 0)
    assert len(segments_of(server.sidecar.settings.journal_dir)) == 2


async def fill_segments(server: Running, count: int) -> None:
    """Have so many segments filled, small as they are, and a last one begun."""
    batch = pb.CheckBatchRequest(checks=[check()] * 10)
    seals = len([*server.sidecar.settings.journal_dir.glob("*[0-9].seal")])
    while len([*server.sidecar.settings.journal_dir.glob("*[0-9].seal")]) < seals + count:
        await server.decisions.CheckBatch(batch, timeout=PATIENCE_S)
        await until(lambda: server.sidecar.evidence.status().held == 0)


@pytest.mark.parametrize("compress", [True, False])
async def test_full_segments_are_compressed_if_it_is_said(serve: Serve, compress: bool) -> None:
    """And read as before."""
    server = await serve(changes={"journal": Journal(segment_bytes=1, compress=compress)})
    directory = server.sidecar.settings.journal_dir
    await fill_segments(server, 2)
    if compress:
        await until(lambda: len([*directory.glob("*.jsonl.gz")]) > 1)
    else:
        assert [*directory.glob("*.gz")] == []
    assert next(read(directory)).sequence == 1


async def test_segments_older_than_keep_for_are_removed(serve: Serve) -> None:
    """The oldest first."""
    server = await serve(changes={"journal": Journal(segment_bytes=1, keep_for=Duration(1))})
    await fill_segments(server, 3)
    await until(lambda: first_sequence_of(segments_of(server.sidecar.settings.journal_dir)[0]) > 1)


async def test_the_oldest_segments_beyond_keep_bytes_are_removed(serve: Serve) -> None:
    """As many as it takes."""
    server = await serve(changes={"journal": Journal(segment_bytes=1, keep_bytes=1)})
    await fill_segments(server, 3)
    await until(lambda: first_sequence_of(segments_of(server.sidecar.settings.journal_dir)[0]) > 1)


async def test_what_is_not_exported_is_kept_if_export_is_required(serve: Serve) -> None:
    """While the collector is away."""
    telemetry = Telemetry(otlp_endpoint="http://127.0.0.1:1", required=True)
    server = await serve(changes={"journal": Journal(segment_bytes=1, keep_bytes=1), "telemetry": telemetry})
    directory = server.sidecar.settings.journal_dir
    for count in (2, 4):  # in one turn the archive first compresses, then removes
        await fill_segments(server, 2)
        await until(lambda: len([*directory.glob("*.jsonl.gz")]) >= count)  # noqa: B023
    assert first_sequence_of(segments_of(directory)[0]) == 1


async def test_what_is_exported_is_removed_if_export_is_required(serve: Serve) -> None:
    """The collector has it."""
    with SpanReceiver() as receiver:
        telemetry = Telemetry(otlp_endpoint=f"http://127.0.0.1:{receiver.port}", required=True)
        server = await serve(changes={"journal": Journal(segment_bytes=1, keep_bytes=1), "telemetry": telemetry})
        while first_sequence_of(segments_of(server.sidecar.settings.journal_dir)[0]) == 1:
            await fill_segments(server, 1)


@pytest.mark.parametrize(("interval", "reaches_the_disk"), [(SECOND // 100, True), (3600 * SECOND, False)])
async def test_a_buffered_record_is_on_disk_after_flush_interval(
    serve: Serve, interval: int, reaches_the_disk: bool
) -> None:
    """At the latest; a durable one does not wait for it."""
    disk = FaultyDisk()
    server = await serve(disk=disk, changes={"journal": Journal(flush_interval=Duration(interval))})
    await asyncio.sleep(0.1)
    before = disk.syncs
    assert await server.check() == "GRANTED"
    if reaches_the_disk:
        await until(lambda: disk.syncs > before)
    else:
        await asyncio.sleep(0.2)
        assert disk.syncs == before


async def test_spans_go_to_otlp_endpoint(serve: Serve) -> None:
    """As gRPC, in plain text for `http://`."""
    with SpanReceiver() as receiver:
        telemetry = Telemetry(otlp_endpoint=f"http://127.0.0.1:{receiver.port}", sample_ratio=1.0)
        server = await serve(changes={"telemetry": telemetry})
        decision = (await server.decisions.Check(check(), timeout=PATIENCE_S)).decision
        span = await asyncio.to_thread(receiver.span_of_decision, decision.decision_id, PATIENCE_S)
        assert span.trace_id.hex() == decision.trace_id


@pytest.mark.parametrize(("most", "some_are"), [(5, True), (1_000, False)])
async def test_routine_allows_beyond_max_backlog_are_given_up(serve: Serve, most: int, some_are: bool) -> None:
    """The collector is away, and the loss is counted."""
    endpoint = f"http://127.0.0.1:{free_port()}"
    server = await serve(changes={"telemetry": Telemetry(otlp_endpoint=endpoint, sample_ratio=1.0, max_backlog=most)})
    status = server.sidecar.evidence.telemetry_status
    async with asyncio.timeout(PATIENCE_S):
        while status().lost == 0 and (some_are or status().failures < 2):
            await server.check()
            await asyncio.sleep(0.01)
    assert bool(status().lost) == some_are


@asynccontextmanager
async def spans_of(serve: Serve, telemetry: Telemetry) -> AsyncIterator[tuple[Running, Callable[[], list[str]]]]:
    """Serve, and yield what tells the decisions that have spans."""
    exporter = InMemorySpanExporter()
    server = await serve(exporter=exporter, changes={"telemetry": telemetry})

    def told() -> list[str]:
        return [json.dumps(dict(span.attributes or {}), default=str) for span in exporter.get_finished_spans()]

    yield server, told


@pytest.mark.parametrize("ratio", [0.0, 1.0])
async def test_sample_ratio_is_the_share_of_routine_allows_with_spans(serve: Serve, ratio: float) -> None:
    """A denial has one in any case, and comes after what was asked before."""
    async with spans_of(serve, Telemetry(sample_ratio=ratio)) as (server, spans):
        allow = (await server.decisions.Check(check(), timeout=PATIENCE_S)).decision
        deny = (await server.decisions.Check(check(session_id="none"), timeout=PATIENCE_S)).decision
        await until(lambda: deny.decision_id in "".join(spans()))
        assert (allow.decision_id in "".join(spans())) == bool(ratio)


@pytest.mark.parametrize("shown", [False, True])
async def test_resource_ids_are_on_spans_if_it_is_said(serve: Serve, shown: bool) -> None:
    """They may be personal."""
    async with spans_of(serve, Telemetry(sample_ratio=1.0, resource_ids=shown)) as (server, spans):
        decision = (await server.decisions.Check(check(), timeout=PATIENCE_S)).decision
        await until(lambda: decision.decision_id in "".join(spans()))
        assert ("prod/users" in "".join(spans())) == shown


async def test_metrics_are_served_on_prometheus_port(serve: Serve) -> None:
    """On loopback."""
    port = free_port()
    server = await serve(changes={"telemetry": Telemetry(prometheus_port=port)})
    await server.check()

    def scrape() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as page:
            return str(page.read().decode())

    async with asyncio.timeout(PATIENCE_S):
        while "GRANTED" not in await asyncio.to_thread(scrape):  # noqa: ASYNC110  # it is asked, as Prometheus does
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("wanted", [False, True])
async def test_each_decision_is_a_log_line_with_decision_log(
    serve: Serve, capsys: pytest.CaptureFixture[str], wanted: bool
) -> None:
    """On standard output."""
    server = await serve(changes={"decision_log": wanted})
    decision = (await server.decisions.Check(check(), timeout=PATIENCE_S)).decision
    said: list[str] = []

    def is_said() -> bool:
        said.append(capsys.readouterr().out)
        return decision.decision_id in "".join(said)

    await until(is_said if wanted else lambda: server.sidecar.evidence.status().held == 0)
    assert is_said() == wanted


async def test_settings_that_are_changed_later_change_nothing(serve: Serve, settings: Settings) -> None:
    """They are frozen."""
    server = await serve()
    replace(settings, decision_log=True)
    assert server.sidecar.settings.decision_log is False
