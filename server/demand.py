"""How much each tier will be asked to write, as a metric to scale it by. What it is made of: `router.demand`."""

from collections.abc import Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from models.pool import Pool
from models.waiting import Waiting
from router.demand import Forecast, demand


class DemandCollector(Collector):
    """A gauge for each tier; those of several gateways add up."""

    def __init__(self, forecast: Forecast, pools: Mapping[str, Pool], waiting: Mapping[str, Waiting]) -> None:
        self._forecast = forecast
        self._pools = pools
        self._waiting = waiting

    def collect(self) -> Iterator[Metric]:
        """Their values now."""
        gauge = GaugeMetricFamily(
            "smallfirst_tier_demand_tokens_per_second",
            "Tokens a second that the tier should be able to write, for what this gateway has and sees coming.",
            labels=("tier",),
        )
        for tier, pool in self._pools.items():
            cold = self._waiting[tier].requests if tier in self._waiting else 0
            gauge.add_metric((tier,), demand(self._forecast.flows(tier), queued(pool) + cold))
        yield gauge


def queued(pool: Pool) -> float:
    """How many of this gateway's requests wait in the servers' queues: of those that wait in a server, as large a share
    as of all that it has."""
    return sum(
        replica.load.waiting * replica.running / max(1, replica.running + replica.others) for replica in pool.replicas
    )
