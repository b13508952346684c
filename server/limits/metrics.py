"""Prometheus metrics of limits and queues. Each one is described in docs/metrics.md."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from server.limits.line import ShedReason

WAITED_SECONDS = (0.0, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Queue(Protocol):
    """What can be seen of a line."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        ...

    @property
    def running(self) -> int:
        """How many are under way."""
        ...


class LimitMetrics:
    """Counters of one gateway; label values come from the configuration and closed sets alone."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._limited = Counter(
            "smallfirst_limited_requests", "Requests that a caller's limits kept out.", ("reason",), registry=registry
        )
        self._shed = Counter(
            "smallfirst_shed_requests", "Requests that were sent away before they were begun.",
            ("cascade", "reason"), registry=registry,
        )  # fmt: skip
        self._waited = Histogram(
            "smallfirst_queue_waited_seconds", "How long requests waited until they were begun.", ("cascade",),
            registry=registry, buckets=WAITED_SECONDS,
        )  # fmt: skip
        self._store_up = Gauge(
            "smallfirst_limits_store_up", "1 where the limits' Redis answers, else 0.", registry=registry
        )
        self._store_failures = Counter(
            "smallfirst_limits_store_failures", "Questions to the limits' Redis without an answer.", registry=registry
        )
        self._store_up.set(1)

    def limited(self, reason: str) -> None:
        """A limit kept a request out."""
        self._limited.labels(reason).inc()

    def shed(self, cascade: str, reason: ShedReason) -> None:
        """A request was sent away."""
        self._shed.labels(cascade, reason).inc()

    def waited(self, cascade: str, seconds: float) -> None:
        """A request was begun."""
        self._waited.labels(cascade).observe(seconds)

    def store_is_up(self) -> None:
        """Redis answers."""
        self._store_up.set(1)

    def store_is_down(self) -> None:
        """Redis does not answer."""
        self._store_up.set(0)

    def store_failed(self) -> None:
        """A question to Redis had no answer."""
        self._store_failures.inc()

    def watch(self, queues: Mapping[str, Queue]) -> None:
        """Report how many wait, whenever the metrics are read."""
        if queues:
            self._registry.register(QueueCollector(queues))


class CascadeCounting:
    """The counters of one cascade's line."""

    def __init__(self, metrics: LimitMetrics, cascade: str) -> None:
        self._metrics = metrics
        self._cascade = cascade

    def waited(self, seconds: float) -> None:
        """A request was begun after so long."""
        self._metrics.waited(self._cascade, seconds)

    def shed(self, reason: ShedReason) -> None:
        """One was sent away."""
        self._metrics.shed(self._cascade, reason)


class QueueCollector(Collector):
    """Gauges of the queues at the moment."""

    def __init__(self, queues: Mapping[str, Queue]) -> None:
        self._queues = queues

    def collect(self) -> Iterator[Metric]:
        """Their values."""
        waiting = GaugeMetricFamily("smallfirst_queue_waiting", "Requests that wait.", labels=("cascade",))
        running = GaugeMetricFamily("smallfirst_queue_running", "Requests that were begun.", labels=("cascade",))
        for name, queue in self._queues.items():
            waiting.add_metric((name,), queue.waiting)
            running.add_metric((name,), queue.running)
        yield from (waiting, running)
