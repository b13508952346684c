"""From settings to the running limits and queues."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from server.access.caller import ANYONE
from server.background import in_background
from server.limits.account import is_unbudgeted
from server.limits.admission import Admission, lines_of
from server.limits.holding import Limiter
from server.limits.memory import MemoryLimiter
from server.limits.metrics import LimitMetrics
from server.limits.standing import nanos_of
from server.metrics import Metrics
from server.settings.limits import DefaultAllowance
from server.settings.schema import Settings
from server.store.counting import NOBODY
from server.store.keeper import Keeper
from server.store.spending import Costs, Spending, Whose

TOLD_WITHIN_S = 5.0

log = structlog.get_logger()


@asynccontextmanager
async def admitting(settings: Settings, metrics: Metrics, keeper: Keeper | None) -> AsyncIterator[Admission]:
    """Limits and queues as the settings want them, until the block ends."""
    limit_metrics = LimitMetrics(metrics.registry)
    lines = lines_of({name: cascade.queue for name, cascade in settings.cascades.items()}, limit_metrics)
    limit_metrics.watch(lines)
    limits = settings.limits
    async with limiting(settings, limit_metrics, keeper) as limiter:
        default = None if limits.default == DefaultAllowance() else limits.default.allowance
        yield Admission(limiter, limits, default, lines, limit_metrics, metrics)


@asynccontextmanager
async def limiting(settings: Settings, counting: LimitMetrics, keeper: Keeper | None) -> AsyncIterator[Limiter]:
    """What keeps count: this process, or Redis."""
    limits = settings.limits
    if limits.url == "memory":
        yield await reminded(settings, keeper) if has_budgets(settings) else MemoryLimiter()
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


async def reminded(settings: Settings, keeper: Keeper | None) -> MemoryLimiter:
    """One that knows what was spent before it, if the store can tell that soon; else it is told as soon as it can."""
    if keeper is None:
        log.warning("budgets begin anew whenever this process does: nothing is kept")
        return MemoryLimiter()
    limiter = MemoryLimiter(alone_s=settings.limits.alone_s)
    whose: Whose = "keys" if settings.server.auth == "keys" else "everybody"
    keeper.follow(Spending(whose, lambda costs: limiter.heard(spent_of(costs))))
    try:
        async with asyncio.timeout(TOLD_WITHIN_S):
            await limiter.told.wait()
    except TimeoutError:
        log.warning("what callers have spent is not known yet", alone_s=settings.limits.alone_s)
    return limiter


def has_budgets(settings: Settings) -> bool:
    """Whether a caller can have one."""
    default = settings.limits.default
    return settings.server.auth == "keys" or not is_unbudgeted(default.allowance)


def spent_of(costs: Costs) -> dict[str, dict[str, int]]:
    """By the ids of callers, in billionths."""
    return {
        ANYONE if key == NOBODY else key: {period: nanos_of(cost) for period, cost in spent.items()}
        for key, spent in costs.items()
    }
