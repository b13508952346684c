"""What an operator sees of the servers, and how a dead drafter is kept from drowning the final tier."""

import asyncio

import aiohttp
import openai
import pytest
from fakes.gateway import running_gateway
from fakes.pools import metrics_of, pools_of, probed
from fakes.scripted import Script, ScriptedServer

from server.settings.schema import Settings

ASK = {"model": "auto", "messages": [{"role": "user", "content": "is it?"}]}
PRICE = {"input": 1.0, "output": 1.0}


async def post(url: str) -> tuple[int, str | None]:
    """The status of an answer, and when to come again."""
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/chat/completions", json=ASK) as reply:
        return reply.status, reply.headers.get("retry-after")


async def test_pools_are_listed_with_what_their_servers_can_do(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script(speculation="handover", waiting=3))

    small, large = await probed(cascade.url)

    assert (small["tier"], large["tier"]) == ("small", "large")
    (replica,) = large["replicas"]
    assert replica["url"] == cascade.large.url
    assert (replica["breaker"], replica["speculation"], replica["requests_waiting"]) == ("closed", "handover", 3)
    assert replica["tokenizer"] == small["replicas"][0]["tokenizer"]


async def test_metrics_show_the_servers(gateway) -> None:
    cascade = await gateway(small=Script("no", p=0.1), large=Script("yes", speculation="handover"))
    await probed(cascade.url)
    await cascade.client.chat.completions.create(**ASK)

    text = await metrics_of(cascade.url)

    labels = f'{{replica="{cascade.large.url}",tier="large"}}'
    assert f"smallfirst_replica_up{labels} 1.0" in text
    assert f"smallfirst_replica_token_acceptance{labels} 1.0" in text
    assert 'smallfirst_verified_tokens_total{cascade="auto",result="accepted",tier="large"} 1.0' in text
    assert 'smallfirst_handovers_total{cascade="auto",tier="large"} 1.0' in text


async def test_a_server_that_dies_is_seen_to_be_down_and_to_come_back(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script())
    await probed(cascade.url)
    await cascade.small.stop()

    async with asyncio.timeout(20):
        while (await pools_of(cascade.url))[0]["replicas"][0]["breaker"] != "open":  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.05)
    assert f'smallfirst_replica_up{{replica="{cascade.small.url}",tier="small"}} 0.0' in await metrics_of(cascade.url)
    raw = await cascade.client.chat.completions.with_raw_response.create(**ASK)
    assert (raw.headers["x-smallfirst-tier"], raw.headers["x-smallfirst-reason"]) == ("large", "unreachable")


async def test_beyond_its_share_a_failing_drafter_is_503_with_retry_after(gateway) -> None:
    cascade = await gateway(small=Script(status=500), large=Script("yes"), failover_share=0.25)

    replies = [await post(cascade.url) for _ in range(60)]

    statuses = [status for status, _ in replies]
    assert {retry_after for status, retry_after in replies if status == 503} == {"1"}
    assert statuses[:20] == [200] * 20, "the first are spared"
    assert 0 < statuses.count(503) < 60
    assert len(cascade.large.seen) == statuses.count(200)
    assert "smallfirst_capped_failovers_total" in await metrics_of(cascade.url)


async def test_what_a_tier_cannot_take_is_no_failure(gateway) -> None:
    cascade = await gateway(small=Script(status=400), large=Script("yes"), failover_share=0.0)

    for _ in range(40):
        await cascade.client.chat.completions.create(**ASK)

    assert len(cascade.large.seen) == 40


@pytest.mark.parametrize("stream", [False, True])
async def test_one_of_two_servers_is_killed_and_the_client_sees_nothing(stream: bool) -> None:
    async with ScriptedServer(Script("yes it is so", trouble="cut-stream" if stream else "reset")) as dying:
        async with ScriptedServer(Script("yes it is so")) as living:
            tier = {"model": "scripted", "price": PRICE, "urls": [dying.url, living.url]}
            async with running_gateway(Settings.model_validate({"tiers": {"large": tier}})) as url:
                client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
                for number in range(20):
                    said = await ask(client, f"question {number}", stream=stream)
                    assert said == "yes it is so"
                (pool,) = await pools_of(url)
                await client.close()

        assert dying.seen
        assert pool["resumed_streams" if stream else "retried_calls"] == len(dying.seen)


async def ask(client: openai.AsyncOpenAI, question: str, *, stream: bool) -> str:
    """The answer's text."""
    messages = [{"role": "user", "content": question}]
    if not stream:
        reply = await client.chat.completions.create(model="large", messages=messages, temperature=0)
        return reply.choices[0].message.content
    chunks = await client.chat.completions.create(model="large", messages=messages, temperature=0, stream=True)
    seen = [chunk async for chunk in chunks]
    assert len({chunk.id for chunk in seen}) == 1
    assert all("token_ids" not in (choice.model_extra or {}) for chunk in seen for choice in chunk.choices)
    return "".join(choice.delta.content or "" for chunk in seen for choice in chunk.choices)
