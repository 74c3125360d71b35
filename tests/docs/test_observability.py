"""What operators look at names metrics that exist, and shows all there are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest
import yaml
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry

from pdp.core.decide import refuse
from pdp.core.model import FactKind, Instant, Request
from pdp.core.reasons import Code
from pdp.core.snapshot import Snapshot
from pdp.evidence.journal.journal import JournalStatus
from pdp.evidence.record import (
    AdministrationOutcome,
    AdministrationRecord,
    AnyRecord,
    DecisionRecord,
    Lapse,
    LapseRecord,
)
from pdp.evidence.telemetry import names
from pdp.evidence.telemetry.metrics import Gauges, Metrics, PrometheusReader, Sources
from pdp.evidence.telemetry.tally import Tally
from pdp.evidence.telemetry.telemetry import TelemetryStatus
from pdp.evidence.trace import TraceContext
from pdp.settings import load

Document: TypeAlias = "Mapping[str, Document] | Sequence[Document] | str | int | bool | None"

OBSERVABILITY = Path(__file__).parents[2] / "deploy" / "observability"
NOW = Instant(1_772_355_600_000_000_000)
TRACE = TraceContext("a" * 32, "b" * 16)
OFFICIAL = {"otel/opentelemetry-collector-contrib", "prom/prometheus", "grafana/grafana"}


def records() -> list[AnyRecord]:
    """Return one record of each kind that is counted."""
    denied = refuse(Code.STATE_STALE, "no news", Snapshot(), NOW)
    decision = DecisionRecord(
        decision_id="d", trace=TRACE, method="Check", request=Request("a", "b", "c:d"), decision=denied,
        shadow=denied, started_at=NOW, ended_at=NOW,
    )  # fmt: skip
    lapse = LapseRecord(at=NOW, ended_at=NOW, what=Lapse.SESSION_IDLE, kind=FactKind.SESSION, id="s", trace=TRACE)
    call = AdministrationRecord(at=NOW, method="Revoke", outcome=AdministrationOutcome.REFUSED)
    return [decision, lapse, call]


@pytest.fixture(scope="module")
def scraped() -> set[str]:
    """Return the names of all series that a scrape brings, once everything has happened."""
    registry, tally, resource = CollectorRegistry(), Tally(NOW), Resource({})
    status = JournalStatus(
        healthy=True, error="", held=0, lag_s=0.0, unsynced_bytes=0, sequence=0, last_sync_s=0.0, errors=0, lost=0
    )
    sources = Sources(Gauges(lambda: 1, lambda: 0.0, lambda: 0), lambda: status, TelemetryStatus, lambda: 0)
    metrics = Metrics(sources, resource, tally, [PrometheusReader(tally, registry)])
    metrics.count(records())
    metrics.policies_reloaded("loaded")
    found = {sample.name for family in registry.collect() for sample in family.samples}
    metrics.close()
    return found


def metrics_in(text: str) -> set[str]:
    """Return the metrics that an expression or a whole file names."""
    return set(re.findall(r"\bpdp_\w+", text))


def expressions(document: Document) -> list[str]:
    """Return all expressions in a document."""
    if isinstance(document, Mapping):
        own = [value for key, value in document.items() if key in ("expr", "query") and isinstance(value, str)]
        return own + [one for value in document.values() for one in expressions(value)]
    if isinstance(document, list):
        return [one for value in document for one in expressions(value)]
    return []


def dashboard() -> Document:
    """Return the dashboard."""
    text = (OBSERVABILITY / "grafana" / "dashboards" / "sessionpdp.json").read_text()
    return json.loads(text)  # type: ignore[no-any-return]  # JSON is what a Document is


def rules() -> Document:
    """Return the alert rules."""
    return yaml.safe_load((OBSERVABILITY / "alerts.yml").read_text())  # type: ignore[no-any-return]  # as above


@pytest.mark.parametrize("document", [dashboard, rules], ids=["dashboard", "rules"])
def test_every_metric_that_is_named_exists(scraped: set[str], document: object) -> None:
    """An alert on a metric that nobody has never rings."""
    assert callable(document)
    named = metrics_in("\n".join(expressions(document())))
    assert named
    assert named - scraped == set()


def test_every_metric_of_the_product_is_on_the_dashboard(scraped: set[str]) -> None:
    """What nobody sees need not be measured."""
    shown = metrics_in("\n".join(expressions(dashboard())))
    families = {re.sub(r"_(?:bucket|count|sum|created)$", "", name) for name in scraped}
    assert {family for family in families if not any(name.startswith(family) for name in shown)} == set()


def test_the_scrape_has_every_metric_of_the_product(scraped: set[str]) -> None:
    """Else the tests above would look away from those it has not."""
    source = Path(names.__file__).read_text()
    first, last = source.index("\nDECISIONS:"), source.index("\nLABEL_OUTCOME:")
    metrics = re.findall(r'= "(pdp\.[\w.]+)"', source[first:last])
    assert metrics
    missing = {name for name in metrics if not any(one.startswith(name.replace(".", "_")) for one in scraped)}
    assert missing == set()


def test_labels_in_expressions_are_those_of_the_product() -> None:
    """Apart from `le`, and what tells sidecars apart."""
    labels = {value for name, value in vars(names).items() if name.startswith("LABEL_")}
    text = "\n".join(expressions(dashboard()) + expressions(rules()))
    used = {label for group in re.findall(r"by \(([^)]*)\)", text) for label in re.split(r",\s*", group)}
    used |= set(re.findall(r'(\w+)=~?"', text))
    assert used - labels == {"le", "service_instance_id"}


def test_the_codes_that_alert_are_codes() -> None:
    """A pattern that matches none never rings."""
    text = "\n".join(expressions(rules()))
    patterns = [pattern for group in re.findall(r'code=~"([^"]+)"', text) for pattern in group.split("|")]
    assert patterns
    assert [one for one in patterns if not any(re.fullmatch(one, code) for code in Code)] == []


def test_images_are_official_and_have_a_tag() -> None:
    """From no registry but the public one."""
    services = yaml.safe_load((OBSERVABILITY / "compose.yaml").read_text())["services"]
    images = dict(service["image"].split(":") for service in services.values())
    assert set(images) == OFFICIAL
    assert [tag for tag in images.values() if not re.fullmatch(r"v?\d+\.\d+\.\d+", tag)] == []


def test_files_that_are_mounted_are_there() -> None:
    """And only to read."""
    services = yaml.safe_load((OBSERVABILITY / "compose.yaml").read_text())["services"]
    mounts = [mount for service in services.values() for mount in service["volumes"] if mount.startswith("./")]
    assert mounts
    assert [mount for mount in mounts if not (OBSERVABILITY / mount.split(":")[0]).exists()] == []
    assert [mount for mount in mounts if not mount.endswith(":ro")] == []


def test_the_settings_send_to_the_port_of_the_collector() -> None:
    """Whose receiver listens there."""
    settings = load(OBSERVABILITY / "pdp.yaml")
    compose = yaml.safe_load((OBSERVABILITY / "compose.yaml").read_text())["services"]
    collector = yaml.safe_load((OBSERVABILITY / "collector.yaml").read_text())
    (port,) = compose["collector"]["ports"]
    host, published, inner = port.split(":")
    assert settings.telemetry.otlp_endpoint == f"http://{host}:{published}"
    assert collector["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] == f"0.0.0.0:{inner}"
    scraped_at = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"]
    metrics_port = collector["exporters"]["prometheus"]["endpoint"].split(":")[1]
    assert scraped_at == [{"targets": [f"collector:{metrics_port}"]}]


def test_every_pipeline_names_what_is_configured() -> None:
    """Else the collector does not start."""
    collector = yaml.safe_load((OBSERVABILITY / "collector.yaml").read_text())
    for pipeline in collector["service"]["pipelines"].values():
        for part in ("receivers", "processors", "exporters"):
            assert set(pipeline[part]) <= set(collector[part])
