"""Metrics that are found by their labels at the cost of a look-up: for what is counted with every request."""

from collections.abc import Callable
from functools import cache
from typing import Generic, TypeVar

from prometheus_client import Counter, Histogram

Metric = TypeVar("Metric", Counter, Histogram)


class Labelled(Generic[Metric]):
    """One counter or histogram for each tuple of labels, which must be strings from closed sets."""

    def __init__(self, metric: Metric) -> None:
        self.labels: Callable[..., Metric] = cache(metric.labels)
