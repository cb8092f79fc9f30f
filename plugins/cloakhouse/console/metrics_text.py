"""Metrics as text: Prometheus' format 0.0.4, or OpenMetrics 1.0 for whoever asks for it, by Prometheus' own library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from cloakhouse.stages.metrics_model import FAMILIES, Kind, Sample

if TYPE_CHECKING:
    from prometheus_client import Metric


def exposition(samples: Sequence[Sample], accept: str = "") -> tuple[bytes, str]:
    """Return `samples` as text and its media type, in the form that `accept` asks for.

    Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and OpenMetrics 1.0.
    """
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
    from prometheus_client.openmetrics import exposition as openmetrics

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(samples))
    if "application/openmetrics-text" in accept:
        body: bytes = openmetrics.generate_latest(registry, version="1.0.0")  # type: ignore[no-untyped-call]
        return body, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


class _Given:
    """A collector of what it was given, as the library wants one."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = list(samples)

    def collect(self) -> Iterator[Metric]:
        """Yield the families that have a sample, in the order of FAMILIES."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for family in FAMILIES.values():
            mine = [sample for sample in self._samples if sample.name == family.name]
            form = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
            made = form(family.name, family.help, labels=list(family.labels))
            for sample in mine:
                made.add_metric(list(sample.labels), sample.value)
            if mine:
                yield made
