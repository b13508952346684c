"""Two gateways over one Redis, as clients see them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from conftest import Gateway, GatewayStarter
from fakes.pools import metrics_of
from fakes.redis import RedisServer, running_redis
from fakes.scripted import Script
from fakes.waiting import until

SURE = Script("yes it is", p=0.99)
LARGE = Script("no it is not")
ASK: Any = {"model": "auto", "messages": [{"role": "user", "content": "is it?"}], "max_tokens": 20}


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """Of the test's own."""
    async with running_redis(tmp_path) as server:
        yield server


def allowing(redis: RedisServer, **default: float) -> dict[str, object]:
    """Limits that are kept there."""
    return {"url": redis.url, "timeout_s": 0.5, "default": default}


async def asked(served: Gateway, **fields: Any) -> int:
    """The status of one answer, read to its end."""
    url = f"{served.url}/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, json={**ASK, **fields}) as reply:
        await reply.read()
        return reply.status


async def until_metric(served: Gateway, line: str) -> None:
    """Wait, within reason, until the metrics say so."""
    async with asyncio.timeout(20):
        while line not in await metrics_of(served.url):  # noqa: ASYNC110 - it is a metric
            await asyncio.sleep(0.05)


async def test_requests_to_either_count_for_both(gateway: GatewayStarter, redis: RedisServer) -> None:
    both = [await gateway(small=SURE, large=LARGE, allowing=allowing(redis, requests_per_minute=10)) for _ in range(2)]

    statuses = await asyncio.gather(*(asked(both[number % 2]) for number in range(30)))

    assert Counter(statuses) == {200: 10, 429: 20}


async def test_a_stream_at_one_keeps_the_other_from_beginning_one(gateway: GatewayStarter, redis: RedisServer) -> None:
    limits = allowing(redis, streams_at_once=1)
    one = await gateway(small=Script(trouble="hang"), large=LARGE, allowing=limits)
    other = await gateway(small=SURE, large=LARGE, allowing=limits)
    leaving = asyncio.create_task(asked(one, stream=True))
    await until(lambda: one.small.running == 1)
    assert await asked(other, stream=True) == 429

    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)

    async with asyncio.timeout(10):
        while await asked(other, stream=True) != 200:  # noqa: ASYNC110 - the gateway tells Redis, not us
            await asyncio.sleep(0.01)


async def test_a_redis_that_is_killed_and_comes_back_costs_no_request(
    gateway: GatewayStarter, redis: RedisServer
) -> None:
    both = [
        await gateway(small=SURE, large=LARGE, allowing=allowing(redis, cost_per_day=100.0, streams_at_once=50))
        for _ in range(2)
    ]
    statuses: list[int] = []

    async def load(served: Gateway) -> None:
        while True:
            statuses.append(await asked(served, stream=len(statuses) % 2 == 0))

    loads = [asyncio.create_task(load(served)) for served in both for _ in range(3)]
    await until(lambda: len(statuses) > 30)
    await redis.kill()
    killed_at = len(statuses)
    await until(lambda: len(statuses) > killed_at + 30)
    assert "smallfirst_limits_store_up 0.0" in await metrics_of(both[0].url)
    await redis.start()
    for served in both:
        await until_metric(served, "smallfirst_limits_store_up 1.0")
    for task in loads:
        task.cancel()
    await asyncio.gather(*loads, return_exceptions=True)

    assert set(statuses) == {200}


async def test_a_gateway_starts_and_answers_without_redis(gateway: GatewayStarter, redis: RedisServer) -> None:
    await redis.kill()
    served = await gateway(small=SURE, large=LARGE, allowing=allowing(redis, requests_per_minute=2))

    assert [await asked(served) for _ in range(3)] == [200, 200, 429]


async def test_where_budgets_may_not_be_spent_unseen_they_are_not(gateway: GatewayStarter, redis: RedisServer) -> None:
    limits = {**allowing(redis, cost_per_day=1.0), "alone_s": 0.0}
    served = await gateway(small=SURE, large=LARGE, allowing=limits)
    assert await asked(served) == 200
    await redis.kill()
    await asked(served)

    await until_metric(served, "smallfirst_limits_store_up 0.0")

    assert await asked(served) == 503
    assert 'smallfirst_limited_requests_total{reason="unavailable"}' in await metrics_of(served.url)
