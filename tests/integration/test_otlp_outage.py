"""A collector that is away, and a sidecar that is killed meanwhile: what policy calls durable arrives all the same."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from sessionpdp.v1 import decision_pb2 as pb

from pdp.evidence.line.record_json import document_of
from pdp.evidence.telemetry.export_cursor import read_cursor
from pdp.evidence.telemetry.otlp import SPANS, OtlpSignal
from pdp.evidence.telemetry.otlp_spans import SpanRequests
from pdp.evidence.telemetry.signals import Away, Refused, Taken
from tests.certificates import Authority
from tests.integration.collector import Collector
from tests.integration.serving import PATIENCE_S, Channels, ServerProcess, check, session, until, world
from tests.ports import free_port
from tests.unit.test_evidence_telemetry import denial

PRIVILEGED = """\
policy: privileged
match: {actions: ["rows.drop"], resources: ["database:**"]}
evidence: durable
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Return a collector that is away."""
    collector = Collector()
    yield collector
    collector.away()


class Story:
    """A sidecar in a process of its own, and the decisions it gave that must be exported."""

    def __init__(self, launch: Callable[..., ServerProcess], collector: Collector) -> None:
        self.metrics_port = free_port()
        self.process = launch(
            {
                "telemetry": {
                    "otlp_endpoint": collector.endpoint,
                    "sample_ratio": 0.0,
                    "prometheus_port": self.metrics_port,
                },
                "policies": ["policies"],
                "drain": "1s",
            }
        )
        policies = self.process.home / "policies"
        policies.mkdir()
        (policies / "privileged.yaml").write_text(PRIVILEGED)
        self.collector = collector
        self.must: set[str] = set()

    async def ask(self, server: Channels, count: int) -> None:
        """Get durable allows, denials, and routine allows between them."""
        drop = check(action=pb.Action(name="rows.drop"))
        for _ in range(count):
            asked = pb.CheckBatchRequest(checks=[drop, check(), check(session_id="none")])
            durable, _routine, denied = (await server.decisions.CheckBatch(asked, timeout=PATIENCE_S)).decisions
            self.must |= {durable.decision_id, denied.decision_id}

    def figure(self, name: str) -> float:
        """Return a metric without labels, as Prometheus gets it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=PATIENCE_S) as page:
            lines = page.read().decode().splitlines()
        return float(next(line.split(" ")[1] for line in lines if line.startswith(f"{name} ")))

    async def until_figure(self, name: str, holds: Callable[[float], bool]) -> None:
        """Wait until a metric is as it should be."""
        async with asyncio.timeout(PATIENCE_S * 3):
            while not holds(await asyncio.to_thread(self.figure, name)):  # noqa: ASYNC110  # as Prometheus does
                await asyncio.sleep(0.05)

    async def until_all_arrived(self) -> None:
        """Wait until the collector has every span that must be there."""
        async with asyncio.timeout(PATIENCE_S * 3):
            while not self.must <= self.collector.decisions():  # noqa: ASYNC110  # the collector is another's
                await asyncio.sleep(0.05)


async def test_what_is_durable_arrives_whatever_is_killed_meanwhile(
    collector: Collector, launch: Callable[..., ServerProcess]
) -> None:
    """At least once, over an outage, kills and a restart; the figures show the outage, and that it is over."""
    story = Story(launch, collector)
    await story.process.start()
    server = story.process.connect()
    await server.apply(*world(), session("s-2"))
    for _ in range(2):
        await story.ask(server, 20)
        story.process.kill()
        await story.process.start()
    await story.ask(server, 20)
    await story.until_figure("pdp_telemetry_behind", lambda behind: behind >= len(story.must))
    await story.until_figure("pdp_telemetry_failures_total", lambda failures: failures >= 1)
    collector.back()
    await story.until_all_arrived()
    await story.until_figure("pdp_telemetry_behind", lambda behind: behind == 0)
    assert await asyncio.to_thread(story.figure, "pdp_telemetry_exported_total") >= len(story.must)
    assert await asyncio.to_thread(story.figure, "pdp_telemetry_lost_total") == 0
    await server.close()


FINAL = {"INVALID_ARGUMENT", "ALREADY_EXISTS", "FAILED_PRECONDITION"}


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_code_that_concerns_all_records_is_an_outage_and_no_record_is_given_up_for_it(
    collector: Collector, code: grpc.StatusCode
) -> None:
    """Only what speaks of the very records is final: a proxy says UNKNOWN or INTERNAL for any fault of its own."""
    collector.back()
    collector.code = code
    signal = OtlpSignal(SPANS, collector.endpoint, SpanRequests({}).request)
    answer = signal.export([document_of(denial("1"))])
    signal.shutdown()
    why = f"{code.name}: {'not' + chr(10) + 'now'!a}"
    assert answer == (Refused(why) if code.name in FINAL else Away(why))


def test_the_environment_names_headers_and_certificates(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the exporters of OpenTelemetry would read it: a variable of the signal itself goes first."""
    authority = Authority()
    certificate, key, trusted = authority.server_files(tmp_path)
    shown = [(key.read_bytes(), certificate.read_bytes())]
    collector.back(grpc.ssl_server_credentials(shown, authority.certificate, require_client_auth=True))
    for name, value in {
        "CERTIFICATE": str(trusted),
        "CLIENT_KEY": str(key),
        "CLIENT_CERTIFICATE": str(certificate),
        "HEADERS": "x-team=others",
        "TRACES_HEADERS": "x-team=payments",
        "COMPRESSION": "gzip",
    }.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    signal = OtlpSignal(SPANS, f"https://localhost:{collector.port}", SpanRequests({}).request)
    answer = signal.export([document_of(denial("1"))])
    signal.shutdown()
    assert (answer, collector.metadata["x-team"], collector.decisions()) == (Taken(), "payments", {"1"})


async def test_a_stop_in_order_leaves_what_could_not_be_exported_to_the_next_start(
    collector: Collector, launch: Callable[..., ServerProcess]
) -> None:
    """The collector was away for all of the first life."""
    story = Story(launch, collector)
    await story.process.start()
    server = story.process.connect()
    await server.apply(*world())
    await story.ask(server, 5)
    story.process.terminate()
    assert await story.process.ended() == 0, story.process.log
    journal = story.process.home / "d" / "journal"
    assert read_cursor(journal) == 0
    collector.back()
    await story.process.start()
    await story.until_all_arrived()
    await until(lambda: (read_cursor(journal) or 0) > 0)
    await server.close()
