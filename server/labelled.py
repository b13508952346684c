"""Metrics that are found by their labels at the cost of a look-up: for what is counted with every request."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram

Metric = TypeVar("Metric", Counter, Histogram)


class Labelled(Generic[Metric]):
    """One counter or histogram for each tuple of labels, which must be strings from closed sets."""

    def __init__(self, metric: Metric) -> None:
        self.labels: Callable[..., Metric] = cache(metric.labels)


class Labels:
    """Makes such metrics in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, documentation: str, *labels: str) -> Labelled[Counter]:
        """A counter for each tuple of these labels."""
        return Labelled(Counter(name, documentation, labels, registry=self._registry))

    def histogram(self, name: str, documentation: str, *labels: str, buckets: Sequence[float]) -> Labelled[Histogram]:
        """A histogram for each tuple of these labels."""
        return Labelled(Histogram(name, documentation, labels, registry=self._registry, buckets=buckets))
