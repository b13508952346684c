"""From settings to the running limits and queues."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.background import in_background
from server.limits.admission import Admission, lines_of
from server.limits.holding import Limiter
from server.limits.memory import MemoryLimiter
from server.limits.metrics import LimitMetrics
from server.metrics import Metrics
from server.settings.limits import DefaultAllowance, LimitsSettings
from server.settings.schema import Settings


@asynccontextmanager
async def admitting(settings: Settings, metrics: Metrics) -> AsyncIterator[Admission]:
    """Limits and queues as the settings want them, until the block ends."""
    limit_metrics = LimitMetrics(metrics.registry)
    lines = lines_of({name: cascade.queue for name, cascade in settings.cascades.items()}, limit_metrics)
    limit_metrics.watch(lines)
    limits = settings.limits
    async with limiting(limits, limit_metrics) as limiter:
        default = None if limits.default == DefaultAllowance() else limits.default.allowance
        yield Admission(limiter, limits, default, lines, limit_metrics, metrics)


@asynccontextmanager
async def limiting(limits: LimitsSettings, counting: LimitMetrics) -> AsyncIterator[Limiter]:
    """What keeps count: this process, or Redis."""
    if limits.url == "memory":
        yield MemoryLimiter()
        return
    from server.limits.link import Link
    from server.limits.shared import SharedLimiter

    async with Link(limits.url.get_secret_value(), timeout_s=limits.timeout_s, counting=counting) as link:
        limiter = SharedLimiter(link, counting, alone_s=limits.alone_s)
        try:
            async with in_background(limiter.run()):
                yield limiter
        finally:
            await limiter.end()
