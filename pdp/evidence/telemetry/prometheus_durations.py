"""The histogram of durations as Prometheus scrapes it, with a decision to look at in each bucket.

OpenTelemetry's reader for Prometheus drops exemplars, so the histogram is served from the tally itself. Exemplars are
part of OpenMetrics: who asks for the older text format gets none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from opentelemetry.sdk.metrics import Exemplar as SdkExemplar
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from pdp.evidence.telemetry import names
from pdp.evidence.telemetry.tally import Tally


class DurationCollector(Collector):
    """Collects durations for a Prometheus registry."""

    def __init__(self, tally: Tally) -> None:
        """Look into the tally whenever somebody scrapes."""
        self._tally = tally

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the histogram, by method."""
        metric = self._tally.durations(time.time_ns())
        name = names.DECISION_DURATION.replace(".", "_")
        family = HistogramMetricFamily(name, metric.description or "", labels=[names.LABEL_METHOD], unit="seconds")
        for point in metric.data.data_points:
            if isinstance(point, HistogramDataPoint):
                method = str((point.attributes or {})[names.LABEL_METHOD])
                family.add_metric([method], list(_buckets(point)), point.sum)
        yield family


def _buckets(point: HistogramDataPoint) -> Iterator[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Yield upper bound, cumulated count, and the exemplar if there is one."""
    below, total = -1.0, 0
    for bound, count in zip((*point.explicit_bounds, float("inf")), point.bucket_counts, strict=True):
        total += count
        text = "+Inf" if bound == float("inf") else str(bound)
        found = next((one for one in point.exemplars if below < one.value <= bound), None)
        yield (text, total) if found is None else (text, total, _exemplar(found))
        below = bound


def _exemplar(exemplar: SdkExemplar) -> Exemplar:
    labels = {"trace_id": f"{exemplar.trace_id or 0:032x}", "span_id": f"{exemplar.span_id or 0:016x}"}
    return Exemplar(labels, exemplar.value, exemplar.time_unix_nano / 1e9)
