"""A sidecar to which everything that is counted has happened once, and its metrics by both ways out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from sessionpdp.v1 import evidence_pb2, governance_pb2

from pdp.app import Sidecar
from pdp.core.model import AnyFact, Approval, ApprovalKind, Instant
from pdp.core.wording import SECOND
from pdp.settings import Settings, Telemetry
from tests.integration.collector import Collector
from tests.integration.serving import (
    PATIENCE_S,
    QUICK,
    Running,
    administration,
    as_principal,
    refusal,
    running,
    session,
    world,
)
from tests.ports import free_port
from tests.scraping import Scrape

ROUTINE = """\
policy: routine
match: {actions: ["rows.read"], resources: ["database:**"]}
evidence: buffered
"""
FREEZE = """\
policy: freeze
match: {actions: ["rows.read"], resources: ["database:**"]}
deny: [{name: freeze, cel: 'action.name == "rows.read"'}]
"""


class Observed(NamedTuple):
    """What a scrape brought, and what was pushed to a collector."""

    scrape: Scrape
    pushed: Mapping[str, Metric]


def observed(home: Path) -> Observed:
    """Run the sidecar in an empty directory until its metrics tell all that happened."""
    collector = Collector()
    collector.back()
    try:
        scrape = asyncio.run(_happened(home, collector))
    finally:
        collector.away()
    return Observed(scrape, collector.metrics)


async def _happened(home: Path, collector: Collector) -> Scrape:
    policies, shadow, port = home / "policies", home / "shadow", free_port()
    for folder in (policies, shadow):
        folder.mkdir()
    (shadow / "freeze.yaml").write_text(FREEZE)
    settings = Settings(
        data_dir=str(home),
        state=QUICK,
        administration=administration(),
        policies=[str(policies)],
        shadow_policies=[str(shadow)],
        telemetry=Telemetry(otlp_endpoint=collector.endpoint, prometheus_port=port),
    )
    async with running(Sidecar(settings)) as server:
        await _do_everything(server)
        (policies / "routine.yaml").write_text("policy: [")
        await _scraped(port, lambda scrape: scrape.total("pdp_policy_reloads_total", result="rejected") > 0)
        (policies / "routine.yaml").write_text(ROUTINE)
        return await _scraped(port, _tells_all)


async def _do_everything(server: Running) -> None:
    await server.apply(*world(), *_soon_over())
    await server.check()
    await server.check(session_id="none")
    await refusal(server.apply(*world(), principal="newcomer"))
    approve = governance_pb2.ApproveRequest(approval_id="none", idempotency_key="k-1")
    await refusal(server.governance.Approve(approve, timeout=PATIENCE_S, metadata=as_principal("change-manager")))
    listing = evidence_pb2.ListRecordsRequest()
    await server.evidence.ListRecords(listing, timeout=PATIENCE_S, metadata=as_principal("auditor"))


def _soon_over() -> Sequence[AnyFact]:
    """Return a session that will soon expire, and a break-glass whose review will soon be overdue."""
    soon = Instant(time.time_ns() + SECOND // 2)
    consent = next(fact for fact in world() if isinstance(fact, Approval))
    emergency = replace(consent, id="bg-1", kind=ApprovalKind.BREAK_GLASS, review_due=soon)
    return [session("s-2", expires_at=soon), emergency]


async def _scraped(port: int, holds: Callable[[Scrape], bool]) -> Scrape:
    """Return the first scrape that is as it should be."""
    async with asyncio.timeout(2 * PATIENCE_S):
        while not holds(scrape := await asyncio.to_thread(Scrape, port)):  # noqa: ASYNC110  # a scrape tells no events
            await asyncio.sleep(0.05)
    return scrape


def _tells_all(scrape: Scrape) -> bool:
    return (
        scrape.values("pdp_lapses_total", "what") >= {"session_expired", "review_overdue"}
        and scrape.values("pdp_policy_reloads_total", "result") == {"loaded", "rejected"}
        and scrape.values("pdp_administration_total", "outcome") == {"changed", "permitted", "not_permitted", "refused"}
        and scrape.values("pdp_decisions_total", "outcome") == {"allow", "deny"}
        and scrape.total("pdp_shadow_differences_total") > 0
    )
