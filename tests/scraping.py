"""A sidecar's metrics, as Prometheus gets them."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

_PATIENCE_S = 10.0


class Scrape:
    """What one scrape of loopback brought."""

    def __init__(self, port: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_PATIENCE_S) as page:
            families = text_string_to_metric_families(page.read().decode())
        self.samples = tuple(sample for family in families for sample in family.samples)

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of a series over all labels but those given; 0 if there is none."""
        return sum(sample.value for sample in self._of(name) if labels.items() <= sample.labels.items())

    def names(self) -> set[str]:
        """Return the names of all series."""
        return {sample.name for sample in self.samples}

    def labels(self, name: str) -> set[str]:
        """Return the names of the labels that a series has."""
        return {label for sample in self._of(name) for label in sample.labels}

    def values(self, name: str, label: str) -> set[str]:
        """Return the values that a label of a series has."""
        return {sample.labels[label] for sample in self._of(name) if label in sample.labels}

    def _of(self, name: str) -> Iterator[Sample]:
        return (sample for sample in self.samples if sample.name == name)
