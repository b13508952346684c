"""What the parent counts itself. Each one is described in docs/metrics.md."""

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter

Reload = Literal["done", "wrong", "not-started"]


class ParentMetrics:
    """Of one gateway, for as long as its parent runs."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reloads = Counter(
            "smallfirst_reloads", "Times that the configuration was read again.", ("result",), registry=self.registry
        )
        for result in get_args(Reload):
            self._reloads.labels(result)  # an alert looks for its first
        self._deaths = Counter(
            "smallfirst_worker_deaths", "Workers that ended and should not have.", registry=self.registry
        )

    def reloaded(self, result: Reload) -> None:
        """The configuration was read again, and so it ended."""
        self._reloads.labels(result).inc()

    def died(self) -> None:
        """A worker ended that nobody had told to."""
        self._deaths.inc()
