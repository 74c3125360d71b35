"""What operators look at names metrics that exist, and shows all there are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest
import yaml
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from pdp.core.reasons import Code
from pdp.evidence.telemetry import names
from pdp.settings import load
from tests.observed_sidecar import Observed, observed

Document: TypeAlias = "Mapping[str, Document] | Sequence[Document] | str | int | bool | None"

OBSERVABILITY = Path(__file__).parents[2] / "deploy" / "observability"
OFFICIAL = {"otel/opentelemetry-collector-contrib", "prom/prometheus", "grafana/grafana"}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """Return the metrics of a sidecar to which everything has happened."""
    return observed(tmp_path_factory.mktemp("p"))


@pytest.fixture(scope="module")
def scraped(seen: Observed) -> set[str]:
    """Return the names of all series that a scrape brings."""
    return seen.scrape.names()


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


def test_the_collector_gives_metrics_the_names_that_a_scrape_has(seen: Observed) -> None:
    """So that dashboard and rules hold for both."""
    families = {re.sub(r"_(?:bucket|count|sum|created)$", "", name) for name in seen.scrape.names()}
    assert {name_by_collector(metric) for metric in seen.pushed.values()} == families


def name_by_collector(metric: Metric) -> str:
    """Return the name under which the Prometheus exporter of a collector shows a metric."""
    suffix = {"": "", "s": "_seconds"}[metric.unit] + ("_total" if metric.sum.is_monotonic else "")
    return metric.name.replace(".", "_") + suffix


@pytest.mark.parametrize("document", [dashboard, rules], ids=["dashboard", "rules"])
def test_labels_that_are_named_are_those_of_the_series(seen: Observed, document: object) -> None:
    """Else a panel stays empty, and an alert never rings; `service_instance_id` is added by the collector."""
    assert callable(document)
    unknown = {
        (metric, label)
        for expression in expressions(document())
        for metric, labels in named_labels(expression).items()
        for label in labels - seen.scrape.labels(metric) - {"service_instance_id"}
    }
    assert unknown == set()


def named_labels(expression: str) -> dict[str, set[str]]:
    """Return the labels that an expression names, by metric; those it groups by are of all of them."""
    grouped = {label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in re.split(r",\s*", group)}
    selectors: list[tuple[str, str]] = re.findall(r"\b(pdp_\w+)(?:\{([^}]*)\})?", expression)
    return {metric: grouped | set(re.findall(r"(\w+)=~?\"", chosen)) for metric, chosen in selectors}


def test_rules_name_no_label_of_the_collector() -> None:
    """They must hold as well where a sidecar is scraped directly."""
    assert "service_instance_id" not in "\n".join(expressions(rules()))


@pytest.mark.parametrize("document", [dashboard, rules], ids=["dashboard", "rules"])
def test_values_that_are_chosen_occur(seen: Observed, document: object) -> None:
    """As a sidecar says them once they have happened."""
    assert callable(document)
    text = "\n".join(expressions(document()))
    chosen = [
        (metric, label, value)
        for metric, labels in re.findall(r"\b(pdp_\w+)\{([^}]*)\}", text)
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels)
    ]
    assert chosen
    assert [one for one in chosen if one[2] not in seen.scrape.values(one[0], one[1])] == []


def targets(document: Document) -> list[tuple[str, str]]:
    """Return each expression with the text that names its results."""
    if isinstance(document, Mapping):
        texts = document.get("legendFormat") or document.get("annotations")
        own = [(str(document["expr"]), str(texts))] if "expr" in document else []
        return own + [one for value in document.values() for one in targets(value)]
    if isinstance(document, list):
        return [one for value in document for one in targets(value)]
    return []


@pytest.mark.parametrize("document", [dashboard, rules], ids=["dashboard", "rules"])
def test_texts_name_labels_that_results_have(document: object) -> None:
    """Those an expression groups by; the series' own where it does not."""
    assert callable(document)
    without = []
    for expression, text in targets(document()):
        grouped = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \(([^)]*)\)", expression))))
        own = set() if re.search(r"\bsum\b", expression) else {"service_instance_id"}
        used = re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", text)
        without += [(expression, label) for label in used if label not in grouped | own]
    assert without == []


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


def test_files_are_looked_for_where_they_are_mounted() -> None:
    """By each service, in its own file system."""
    services = yaml.safe_load((OBSERVABILITY / "compose.yaml").read_text())["services"]
    mounts = {name: {one.split(":")[1] for one in service["volumes"]} for name, service in services.items()}
    configured = {
        re.sub(r"^--config(\.file)?=", "", option)
        for name in ("collector", "prometheus")
        for option in services[name]["command"]
        if option.startswith("--config")
    }
    assert configured <= mounts["collector"] | mounts["prometheus"]
    rule_files = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())["rule_files"]
    assert {f"/etc/prometheus/{name}" for name in rule_files} <= mounts["prometheus"]
    provisioning = OBSERVABILITY / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "dashboards.yaml").read_text())["providers"]
    assert {provider["options"]["path"], "/etc/grafana/provisioning"} <= mounts["grafana"]


def test_grafana_asks_a_service_that_there_is() -> None:
    """At the port on which Prometheus listens."""
    services = yaml.safe_load((OBSERVABILITY / "compose.yaml").read_text())["services"]
    provisioned = OBSERVABILITY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml"
    (source,) = yaml.safe_load(provisioned.read_text())["datasources"]
    host, port = source["url"].removeprefix("http://").split(":")
    assert [one.split(":")[-1] for one in services[host]["ports"]] == [port]


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


def test_a_sidecar_that_is_silent_is_gone_from_the_collector_before_the_alert_is_due() -> None:
    """The collector goes on showing what it was last told until it expires; sidecars push every minute."""
    collector = yaml.safe_load((OBSERVABILITY / "collector.yaml").read_text())
    assert collector["exporters"]["prometheus"]["metric_expiration"] == "150s"


def test_every_pipeline_names_what_is_configured() -> None:
    """Else the collector does not start."""
    collector = yaml.safe_load((OBSERVABILITY / "collector.yaml").read_text())
    for pipeline in collector["service"]["pipelines"].values():
        for part in ("receivers", "processors", "exporters"):
            assert set(pipeline[part]) <= set(collector[part])
