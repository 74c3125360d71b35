"""All of evidence together: one record becomes a line, a span, a count, a log line and a use, with the same ids."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pdp.core.decide import decide
from pdp.core.model import (
    Attribute,
    Entitlement,
    Identity,
    IdentityKind,
    Instant,
    Put,
    Request,
    Session,
    Task,
)
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.snapshot import Readiness, Snapshot, Use
from pdp.evidence.evidence import Evidence, EvidenceSettings
from pdp.evidence.journal.faulty_disk import FaultyDisk
from pdp.evidence.journal.journal_reader import read
from pdp.evidence.record import ChangeRecord, DecisionRecord, LifecycleRecord
from pdp.evidence.telemetry.metrics import Gauges
from pdp.evidence.trace import Ids
from pdp.evidence.trouble import EvidenceUnavailableError

NOW = Instant(1_772_355_600_000_000_000)
LATER = Instant(NOW + 3_600_000_000_000)
GAUGES = Gauges(lambda: 1, lambda: 0.0, lambda: 0)


def allow() -> DecisionRecord:
    """Return the record of a use-limited, hence durable, allow."""
    actions, resources = ActionScope(["rows.*"]), ResourceScope(["database:**"])
    state = Snapshot()
    state.readiness = Readiness.READY
    facts = (
        Identity(id="job", kind=IdentityKind.CI_JOB, owner="o"),
        Task(id="t-1"),
        Entitlement(
            id="e-1", identity=IdentityScope(["job"]), actions=actions, resources=resources, certified_until=LATER
        ),
        Session(
            id="s-1", identity="job", task="t-1", entitlement="e-1", actions=actions, resources=resources,
            not_before=NOW, expires_at=LATER, max_uses=3,
        ),
    )  # fmt: skip
    state.apply(1, [Put(fact) for fact in facts])
    request = Request("job", "rows.read", "database:x", session="s-1")
    ids = Ids(ratio=0.0)
    return DecisionRecord(
        decision_id=ids.decision_id(), trace=ids.child(None), method="Check", request=request,
        decision=decide(request, state, NOW), started_at=NOW, ended_at=Instant(NOW + 10_000),
    )  # fmt: skip


async def test_line_span_log_and_metric_share_the_ids(tmp_path: Path) -> None:
    """And the use is restored by the next start."""
    exporter, log = InMemorySpanExporter(), list[dict[str, Attribute]]()
    settings = EvidenceSettings(directory=tmp_path, prometheus_port=0)
    evidence = Evidence(settings, GAUGES, exporter=exporter, decision_log=log.append)
    evidence.start()
    record = allow()
    written = evidence.record_decision(record, durable=record.decision.durable)
    assert written is not None
    await written
    evidence.record_change(ChangeRecord(revision=2, changes=(), actor="a", at=NOW, trace=Ids().child(None)))
    evidence.record_lifecycle(LifecycleRecord(name="stopped", at=NOW))
    url = f"http://127.0.0.1:{evidence.prometheus_port}/metrics"
    await evidence.room(1.0)
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: ASYNC210  # the endpoint has its own thread
        scraped = response.read().decode()
    assert await evidence.close() == 0
    line, *others = (entry.record() for entry in read(tmp_path))
    assert [other["kind"] for other in others] == ["change", "lifecycle"]
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["sessionpdp.v1.DecisionService/Check", "pdp.change"]
    assert spans[0].context is not None
    assert {record.trace.trace_id} == {line["trace_id"], log[0]["trace_id"], f"{spans[0].context.trace_id:032x}"}
    assert {record.decision_id} == {
        line["decision_id"],
        log[0]["decision_id"],
        (spans[0].attributes or {})["pdp.decision.id"],
    }
    assert "pdp_state_age_seconds 0.0" in scraped
    again = Evidence(EvidenceSettings(directory=tmp_path), GAUGES)
    restored = again.start()
    assert (restored.session_uses, restored.latest) == ({"s-1": Use(1, NOW)}, NOW)
    await again.close()


async def test_a_durable_decision_fails_with_its_disk(tmp_path: Path) -> None:
    """And nothing claims that it was given: no line, no span, no use."""
    disk, exporter = FaultyDisk(), InMemorySpanExporter()
    evidence = Evidence(EvidenceSettings(directory=tmp_path), GAUGES, exporter=exporter, disk=disk)
    evidence.start()
    disk.break_()
    written = evidence.record_decision(allow(), durable=True)
    assert written is not None
    with pytest.raises(EvidenceUnavailableError):
        await written
    assert not evidence.healthy
    assert evidence.status().errors > 0
    disk.mend()
    await evidence.close()
    assert [entry.record()["kind"] for entry in read(tmp_path) if entry.record()["kind"] == "decision"] == []
    assert exporter.get_finished_spans() == ()


async def test_policy_loads_are_counted(tmp_path: Path) -> None:
    """By result, in the metrics that Prometheus scrapes."""
    evidence = Evidence(EvidenceSettings(directory=tmp_path, prometheus_port=0), GAUGES)
    evidence.start()
    evidence.policies_reloaded("rejected")
    url = f"http://127.0.0.1:{evidence.prometheus_port}/metrics"
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: ASYNC210  # the endpoint has its own thread
        scraped = response.read().decode()
    await evidence.close()
    assert 'pdp_policy_reloads_total{result="rejected"} 1.0' in scraped
