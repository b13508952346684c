"""Metrics that are found by their labels at the cost of a look-up, and counters that count in plain numbers: for what
is counted with every request."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.registry import Collector


class Count:
    """One counter, which Prometheus' own hears of when the metrics are read: that one has a lock, and checks."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._more = 0.0

    def inc(self, more: float = 1) -> None:
        """So many more; at least 0."""
        self._more += more

    def tell(self) -> None:
        """Tell Prometheus' own."""
        self._counter.inc(self._more)
        self._more = 0.0


class Counts(Collector):
    """One counter for each tuple of labels, which must be strings from closed sets."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._made: list[Count] = []
        self.labels: Callable[..., Count] = cache(self._make)

    def _make(self, *labels: str) -> Count:
        made = Count(self._counter.labels(*labels))
        self._made.append(made)
        return made

    def describe(self) -> Iterable[Metric]:
        """Its names."""
        return self._counter.describe()

    def collect(self) -> Iterable[Metric]:
        """What was counted by now."""
        for count in self._made:
            count.tell()
        return self._counter.collect()


class Histograms:
    """One histogram for each tuple of labels, as with counters."""

    def __init__(self, histogram: Histogram) -> None:
        self.labels: Callable[..., Histogram] = cache(histogram.labels)


class Labels:
    """Makes such metrics in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, documentation: str, *labels: str) -> Counts:
        """A counter for each tuple of these labels."""
        counts = Counts(Counter(name, documentation, labels, registry=None))
        self._registry.register(counts)
        return counts

    def histogram(self, name: str, documentation: str, *labels: str, buckets: Sequence[float]) -> Histograms:
        """A histogram for each tuple of these labels."""
        return Histograms(Histogram(name, documentation, labels, registry=self._registry, buckets=buckets))
