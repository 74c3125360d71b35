"""The process that exports: killed under load, left behind by a sidecar that is killed, not to be started at all."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from sessionpdp.v1 import decision_pb2 as pb

from pdp.evidence.apart import command
from pdp.evidence.following import supervisor
from pdp.evidence.following.follower_process import FollowerProcess
from pdp.evidence.telemetry import exporter
from pdp.evidence.telemetry.export import Export
from pdp.evidence.telemetry.export_cursor import read_cursor
from pdp.evidence.telemetry.exporter import ExportSettings
from pdp.settings import Telemetry
from tests.integration.collector import Collector
from tests.integration.conftest import Serve
from tests.integration.serving import PATIENCE_S, ServerProcess, check, until, world
from tests.processes import children_of, runs
from tests.unit.test_evidence_backlog import Writing, denial
from tests.unit.test_index_keeper import until as wait_until


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Return a collector that listens."""
    collector = Collector()
    collector.back()
    yield collector
    collector.away()


class Exported(Writing):
    """A journal whose records are exported by a process."""

    def __init__(self, directory: Path, collector: Collector) -> None:
        super().__init__(directory)
        self.export = Export(ExportSettings(endpoint=collector.endpoint))
        self.export.resume(directory, 0)

    def record(self, *names: str) -> None:
        """Record denials."""
        self.write(*map(denial, names))
        self.export.written((), self.end)

    def pid(self) -> int:
        """Return the number of the process, once there is one."""
        wait_until(lambda: self.export.pid is not None)
        return cast("int", self.export.pid)


@pytest.fixture
def exported(tmp_path: Path, collector: Collector) -> Iterator[Exported]:
    """Return a journal that is exported."""
    made = Exported(tmp_path, collector)
    made.export.start()
    yield made
    made.export.close(0.0)


def test_what_is_recorded_is_exported_and_counted(exported: Exported, collector: Collector, tmp_path: Path) -> None:
    """Also what is recorded right before the end; the cursor says so, and no process is left."""
    exported.record("1", "2")
    wait_until(lambda: collector.decisions() == {"1", "2"})
    pid = exported.pid()
    exported.record("3")
    exported.export.close(PATIENCE_S)
    status = exported.export.status()
    assert (collector.decisions(), status.exported, status.behind) == ({"1", "2", "3"}, 3, 0)
    assert (read_cursor(tmp_path), exported.export.pid, runs(pid)) == (3, None, False)


def test_a_process_that_is_killed_is_started_again_and_counts_go_on(
    exported: Exported, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on where the last one is known to have been; that it was away is said, and that it is over."""
    exported.record("1", "2")
    wait_until(lambda: exported.export.status().exported == 2)
    os.kill(exported.pid(), signal.SIGKILL)
    exported.record("3")
    wait_until(lambda: exported.export.status().exported == 3)
    status = exported.export.status()
    assert (len(collector.spans), status.lost, status.failures) == (3, 0, 1)
    wait_until(lambda: "spans are exported again" in caplog.messages)
    assert [one for one in caplog.messages if "cannot" in one] == [
        "spans cannot be exported: its process ended with -9"
    ]


def test_what_could_not_be_exported_at_the_end_is_by_the_next_start(
    exported: Exported, collector: Collector, tmp_path: Path
) -> None:
    """The end takes no longer than it may."""
    collector.away()
    exported.record("1")
    wait_until(lambda: exported.export.status().failures > 0)
    exported.export.close(0.1)
    assert (read_cursor(tmp_path), exported.export.status().behind) == (0, 1)
    collector.back()
    again = Exported(tmp_path, collector)
    again.export.written((), 1)
    again.export.start()
    again.export.close(PATIENCE_S)
    assert collector.decisions() == {"1"}


def test_a_process_that_cannot_be_started_is_said_and_tried_again(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It counts as failures, so that alarms go off; all is exported once it can be."""
    monkeypatch.setattr(supervisor, "command", lambda *_: [str(tmp_path / "no such program")])
    exported = Exported(tmp_path, collector)
    exported.export.start()
    exported.record("1")
    wait_until(lambda: exported.export.status().failures > 1)
    monkeypatch.undo()
    wait_until(lambda: exported.export.status().exported == 1)
    exported.export.close(PATIENCE_S)
    said = [one for one in caplog.messages if "spans cannot be exported: its process cannot be started" in one]
    assert (collector.decisions(), len(said)) == ({"1"}, 1)


def test_a_process_that_ends_by_itself_is_said_to(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With its last words, once, however often it does."""
    monkeypatch.setattr(supervisor, "command", lambda *_: [sys.executable, "-c", "raise SystemExit('out of ink')"])
    exported = Exported(tmp_path, collector)
    exported.export.start()
    exported.record("1")
    wait_until(lambda: exported.export.status().failures > 1)
    exported.export.close(0.0)
    assert [one for one in caplog.messages if "out of ink" in one] == [
        "spans cannot be exported: its process ended with 1: out of ink"
    ]


def test_what_is_no_opening_ends_it(tmp_path: Path) -> None:
    """It would wait for ever, and nobody would know."""
    heard, ended = list[str](), list[bool]()
    line = command(exporter.__name__, str(tmp_path))
    process = FollowerProcess(line, heard.append, lambda: ended.append(True))
    process.tell("7")
    wait_until(lambda: bool(ended))
    assert (process.close(), "msgspec.ValidationError" in heard[-1]) == (1, True)


def test_a_certificate_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start of the sidecar, not by a process that nobody watches."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "none.pem"))
    with pytest.raises(FileNotFoundError):
        Export(ExportSettings(endpoint="https://localhost:1")).refuse_unreadable()


async def test_an_exporter_that_is_killed_under_load_loses_nothing(serve: Serve, collector: Collector) -> None:
    """All denials arrive, and all routine allows that are sampled."""
    telemetry = Telemetry(otlp_endpoint=collector.endpoint, sample_ratio=1.0)
    server = await serve(changes={"telemetry": telemetry})
    export, decisions, killed = server.sidecar.evidence.export, set[str](), set[int | None]()
    assert export is not None
    both = pb.CheckBatchRequest(checks=[check(), check(session_id="none")])
    for _ in range(3):
        for _ in range(30):
            answer = await server.decisions.CheckBatch(both, timeout=PATIENCE_S)
            decisions |= {decision.decision_id for decision in answer.decisions}
        await until(lambda: export.pid is not None)
        killed.add(export.pid)
        os.kill(export.pid or 0, signal.SIGKILL)
    async with asyncio.timeout(2 * PATIENCE_S):
        while not decisions <= collector.decisions():  # noqa: ASYNC110  # the collector is another's
            await asyncio.sleep(0.05)
    await until(lambda: export.status().behind == 0)
    assert (export.status().lost, export.pid in killed, len(killed)) == (0, False, 3)


async def _exported(launch: Callable[..., ServerProcess], collector: Collector) -> tuple[ServerProcess, int]:
    """Return a sidecar that has exported something, and the process that did."""
    server = launch({"telemetry": {"otlp_endpoint": collector.endpoint}})
    await server.start()
    channels = server.connect()
    await channels.apply(*world())
    await channels.check(check(session_id="none"))
    await until(lambda: bool(collector.decisions()))
    await channels.close()
    (pid,) = children_of(server.process.pid, exporter.__name__)
    return server, pid


async def test_a_sidecar_that_is_killed_leaves_no_process(
    launch: Callable[..., ServerProcess], collector: Collector
) -> None:
    """It ends with who it works for."""
    server, pid = await _exported(launch, collector)
    server.kill()
    await until(lambda: not runs(pid))


async def test_a_sidecar_that_stops_leaves_no_process(
    launch: Callable[..., ServerProcess], collector: Collector
) -> None:
    """Nor does it say anything about it, though a service's stop is sent to all its processes."""
    server, pid = await _exported(launch, collector)
    os.kill(pid, signal.SIGTERM)
    server.terminate()
    assert await server.ended() == 0
    assert not runs(pid)
    assert "exported" not in server.log
