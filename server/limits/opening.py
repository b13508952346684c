"""From settings to the running limits and queues."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.limits.admission import Admission, lines_of
from server.limits.memory import MemoryLimiter
from server.limits.metrics import LimitMetrics
from server.metrics import Metrics
from server.settings.schema import Settings


@asynccontextmanager
async def admitting(settings: Settings, metrics: Metrics) -> AsyncIterator[Admission]:
    """Limits and queues as the settings want them, until the block ends."""
    limit_metrics = LimitMetrics(metrics.registry)
    lines = lines_of({name: cascade.queue for name, cascade in settings.cascades.items()}, limit_metrics)
    limit_metrics.watch(lines)
    limits = settings.limits
    yield Admission(MemoryLimiter(), limits, limits.default.allowance, lines, limit_metrics, metrics)
