"""What an operator sees of the tiers' servers: a list, and metrics read from them at the moment of asking."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

import structlog
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from models.pool import Pool
from models.replica import Replica
from models.wire import Json, JsonObject
from server.background import in_background

WATCH_AGAIN_S = 1.0

log = structlog.get_logger()


@asynccontextmanager
async def watched(pools: Mapping[str, Pool]) -> AsyncIterator[None]:
    """The pools know their servers for as long as the block runs."""
    async with in_background(*map(keep_watching, pools.values())):
        yield


async def keep_watching(pool: Pool) -> None:
    """Watch a pool whatever happens; what should not have happened is in the log."""
    while True:
        try:
            await pool.watch()
        except Exception:
            log.exception("watching failed")
        await asyncio.sleep(WATCH_AGAIN_S)


def pool_card(name: str, pool: Pool) -> JsonObject:
    """One tier's servers, as JSON."""
    return {
        "tier": name,
        "retried_calls": pool.retried,
        "resumed_streams": pool.resumed,
        "replicas": [replica_card(replica) for replica in pool.replicas],
    }


def replica_card(replica: Replica) -> JsonObject:
    """One server; null is what is not known of it."""
    abilities, load = replica.abilities, replica.load
    models: list[Json] = [*abilities.models]
    adapters: list[Json] = [*abilities.adapters]
    return {
        "url": replica.endpoint.url,
        "address": replica.endpoint.address,
        "breaker": replica.breaker.state,
        "full": replica.is_full,
        "asleep": load.asleep,
        "model": replica.endpoint.model,
        "models": models,
        "adapters": adapters,
        "version": abilities.version,
        "context_tokens": abilities.context_tokens,
        "logprobs": abilities.logprobs,
        "tokenizer": abilities.tokenizer,
        "fingerprint": abilities.fingerprint,
        "fingerprint_age_s": replica.recognition.age_s,
        "speculation": abilities.speculation,
        "token_acceptance": replica.acceptance.rate,
        "tokens_a_step": replica.acceptance.tokens_a_step,
        "requests_running": replica.running,
        "requests_of_others": replica.others,
        "requests_waiting": load.waiting,
        "cache_share": load.cache_share,
    }


class PoolCollector(Collector):
    """Gauges and counters of the servers that there are at the moment; a server is named by its address."""

    def __init__(self, pools: Mapping[str, Pool]) -> None:
        self._pools = pools

    def collect(self) -> Iterator[Metric]:
        """Their values."""
        up = of_replicas("up", "1 where the server is asked, 0 where its breaker is open.")
        requests = of_replicas("requests", "Requests that the server has, whoever sent them.")
        waiting = of_replicas("requests_waiting", "Those of a server's requests that wait for a place.")
        acceptance = of_replicas("token_acceptance", "Share of the draft tokens verified of late that were kept.")
        age = of_replicas("fingerprint_age_seconds", "Since the server last said what it is.")
        for tier, pool in self._pools.items():
            for replica in pool.replicas:
                labels = (tier, replica.endpoint.name)
                if replica.recognition.age_s is not None:
                    age.add_metric(labels, replica.recognition.age_s)
                up.add_metric(labels, replica.breaker.state == "closed")
                requests.add_metric(labels, replica.running + replica.others)
                waiting.add_metric(labels, replica.load.waiting)
                if replica.acceptance.rate is not None:
                    acceptance.add_metric(labels, replica.acceptance.rate)
        yield from (up, requests, waiting, acceptance, age)
        yield from self._counters()

    def _counters(self) -> Iterator[Metric]:
        retried = of_tiers("retried_calls", "Calls that another server took over before their first word.")
        resumed = of_tiers("resumed_streams", "Streams that went on from another server.")
        for tier, pool in self._pools.items():
            retried.add_metric((tier,), pool.retried)
            resumed.add_metric((tier,), pool.resumed)
        yield from (retried, resumed)


def of_replicas(name: str, documentation: str) -> GaugeMetricFamily:
    """An empty gauge with a series for each server."""
    return GaugeMetricFamily(f"smallfirst_replica_{name}", documentation, labels=("tier", "replica"))


def of_tiers(name: str, documentation: str) -> CounterMetricFamily:
    """An empty counter with a series for each tier."""
    return CounterMetricFamily(f"smallfirst_{name}", documentation, labels=("tier",))
