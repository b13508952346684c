"""Audits: what the final tier would have said to an accepted draft is asked off the way of the request."""

import asyncio
from typing import Any

import aiohttp
import openai
import pytest
from fakes.gateway import running_gateway
from fakes.pools import metrics_of, probed
from fakes.scripted import Script, ScriptedServer
from fakes.waiting import until

from server.settings.schema import Settings

MESSAGES = [{"role": "user", "content": "is it?"}]
ALL = {"rate": 1.0, "spend_per_day": 1.0}


async def ask(cascade, **more: object) -> str:
    """The answer's text."""
    reply = await cascade.client.chat.completions.create(**{"model": "auto", "messages": MESSAGES, **more})
    return reply.choices[0].message.content


async def audits_of(url: str) -> dict[str, float]:
    """How many audits came to which result."""
    lines = [line for line in (await metrics_of(url)).splitlines() if line.startswith("smallfirst_audits_total{")]
    return {line.split('result="')[1].split('"')[0]: float(line.split()[-1]) for line in lines}


async def audited(url: str, number: int) -> dict[str, float]:
    """The same, when there are so many."""
    async with asyncio.timeout(10):
        while sum((await audits_of(url)).values()) < number:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.01)
    return await audits_of(url)


async def card_of(url: str) -> dict[str, Any]:
    """What `GET /v1/cascades` says of the only one."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/cascades") as reply:
        (card,) = (await reply.json())["data"]
        return card


@pytest.mark.parametrize(("large", "result"), [(" yes\n", "agreed"), ("no", "disagreed")])
async def test_an_accepted_draft_is_compared_with_what_the_final_tier_says(gateway, large: str, result: str) -> None:
    cascade = await gateway(small=Script("yes"), large=Script(large), audits=ALL)

    said = await ask(cascade, temperature=0.5, seed=7)

    assert said == "yes"
    assert await audited(cascade.url, 1) == {result: 1.0}
    (asked,) = cascade.large.seen
    assert (asked["messages"], asked["temperature"], asked["seed"]) == (MESSAGES, 0.5, 7)
    assert "logprobs" not in asked


async def test_a_stream_is_audited_in_one_piece(gateway) -> None:
    cascade = await gateway(small=Script("it is so"), large=Script("it is so"), audits=ALL)

    chunks = [chunk async for chunk in await cascade.client.chat.completions.create(
        model="auto", messages=MESSAGES, stream=True, stream_options={"include_usage": True})]  # fmt: skip

    assert chunks
    assert await audited(cascade.url, 1) == {"agreed": 1.0}
    assert not {"stream", "stream_options"} & cascade.large.seen[0].keys()


async def test_tool_calls_are_compared_by_what_they_call(gateway) -> None:
    def calling(identifier: str, arguments: str) -> list[dict[str, Any]]:
        return [{"id": identifier, "type": "function", "function": {"name": "look", "arguments": arguments}}]

    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    small = Script(tool_calls=calling("a", '{"x": 1, "y": 2}'))
    large = Script(tool_calls=calling("b", '{"y":2,"x":1}'))
    cascade = await gateway(small=small, large=large, audits=ALL)

    await ask(cascade, tools=tools)
    assert await audited(cascade.url, 1) == {"agreed": 1.0}
    cascade.large.script = Script(tool_calls=calling("c", '{"x":3}'))
    await ask(cascade, tools=tools)

    assert await audited(cascade.url, 2) == {"agreed": 1.0, "disagreed": 1.0}


async def test_what_the_certificate_does_not_speak_of_is_not_audited(gateway) -> None:
    cascade = await gateway(small=Script("yes", p=0.9), large=Script("no"), audits=ALL)

    await ask(cascade, extra_body={"smallfirst": {"threshold": 0.1}})
    await ask(cascade, n=2)
    await ask(cascade, model="small")
    await ask(cascade, extra_body={"smallfirst": {"mode": "threshold"}})
    await ask(cascade, seed=8)
    await audited(cascade.url, 1)

    assert [asked.get("seed") for asked in cascade.large.seen] == [8]


async def test_an_escalated_request_is_not_audited(gateway) -> None:
    cascade = await gateway(small=Script("eh", p=0.1), large=Script("no"), audits=ALL)

    await ask(cascade)
    cascade.small.script = Script("yes")
    await ask(cascade)

    assert await audited(cascade.url, 1) == {"disagreed": 1.0}
    assert len(cascade.large.seen) == 2


@pytest.mark.parametrize("audits", [{}, {"rate": 1.0}, {"spend_per_day": 1.0}])
async def test_audits_are_off_until_rate_and_money_are_set(gateway, audits: dict[str, float]) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"), audits=audits)

    await ask(cascade)
    await ask(cascade)

    assert (await card_of(cascade.url))["audits"] is None
    assert cascade.large.seen == []


async def test_no_client_waits_for_an_audit_and_what_is_too_much_is_not_asked(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"), audits=ALL)
    await ask(cascade)
    await audited(cascade.url, 1)
    cascade.large.script = Script(trouble="hang")

    answers = await asyncio.gather(*(ask(cascade) for _ in range(40)))

    assert answers == ["yes"] * 40
    await until(lambda: len(cascade.large.seen) == 3)
    assert cascade.large.running <= 2, "as many at once as are allowed"
    assert (await card_of(cascade.url))["audits"]["propensity"] == 0.0, "the queue is full"


@pytest.mark.parametrize("large", [Script(status=500), Script(trouble="reset"), Script(trouble="html")])
async def test_a_dead_final_tier_fails_audits_and_nothing_else(gateway, large: Script) -> None:
    cascade = await gateway(small=Script("yes"), large=large, audits=ALL)

    assert await ask(cascade) == "yes"

    assert await audited(cascade.url, 1) == {"failed": 1.0}
    assert await ask(cascade) == "yes"


async def test_a_final_tier_without_room_is_left_alone(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no", waiting=3), audits=ALL)
    await probed(cascade.url)

    await ask(cascade)

    card = await card_of(cascade.url)
    assert card["final_tier_pressure"] == 1.0
    assert card["audits"]["propensity"] == 0.0
    assert cascade.large.seen == []


async def test_the_day_has_no_more_audits_than_money(gateway) -> None:
    one = (10 * 10.0 + 1 * 20.0) / 1e6  # the large tier's prompt and answer
    cascade = await gateway(small=Script("yes"), large=Script("no"), audits={"rate": 1.0, "spend_per_day": 3.5 * one})

    for number in range(1, 4):
        await ask(cascade)
        await audited(cascade.url, number)
    for _ in range(5):
        await ask(cascade)

    card = await card_of(cascade.url)
    assert card["audits"]["spent_today"] == pytest.approx(3 * one)
    assert card["audits"]["propensity"] == 0.0
    assert len(cascade.large.seen) == 3


async def test_free_audits_run_as_many_at_once_as_are_allowed() -> None:
    async with ScriptedServer(Script("yes")) as small, ScriptedServer(Script(trouble="hang")) as large:
        tier = {"model": "scripted", "price": {"input": 0.0, "output": 0.0}}
        cascade = {"tiers": ["small", "large"], "threshold": 0.5, "audits": ALL}
        tiers = {"small": {**tier, "urls": [small.url]}, "large": {**tier, "urls": [large.url]}}
        settings = Settings.model_validate({"tiers": tiers, "cascades": {"auto": cascade}})
        async with (
            running_gateway(settings) as url,
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        ):
            for number in (1, 2):
                await client.chat.completions.create(model="auto", messages=MESSAGES)
                await until(lambda number=number: large.running == number)


async def test_audits_are_paid_for_and_counted(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no it is not"), audits=ALL)

    reply = await cascade.client.chat.completions.create(model="auto", messages=MESSAGES)
    await audited(cascade.url, 1)

    text = await metrics_of(cascade.url)
    cost = (10 * 10.0 + 4 * 20.0) / 1e6
    assert f'smallfirst_audit_cost_total{{cascade="auto"}} {cost}' in text
    assert f'smallfirst_cost_total{{cascade="auto",tier="large"}} {cost}' in text
    assert 'smallfirst_tier_calls_total{tier="large"} 1.0' in text
    assert "large" not in reply.usage.smallfirst["tiers"], "the client does not pay for it"


async def test_what_the_final_tier_alone_would_cost_is_learned_from_audits(gateway) -> None:
    cascade = await gateway(small=Script("may be"), large=Script("no it is not"), audits=ALL)

    for number in range(1, 21):
        await ask(cascade)
        await audited(cascade.url, number)
    reply = await cascade.client.chat.completions.create(model="auto", messages=MESSAGES)

    assert reply.usage.smallfirst["cost_final_alone"] == pytest.approx((10 * 10 + 4 * 20) / 1e6)


async def test_audits_end_with_the_gateway() -> None:
    async with ScriptedServer(Script("yes")) as small, ScriptedServer(Script(trouble="hang")) as large:
        tier = {"model": "scripted", "price": {"input": 1.0, "output": 1.0}}
        cascade = {"tiers": ["small", "large"], "threshold": 0.5, "audits": ALL}
        settings = Settings.model_validate(
            {
                "tiers": {"small": {**tier, "urls": [small.url]}, "large": {**tier, "urls": [large.url]}},
                "cascades": {"auto": cascade},
            }
        )
        async with asyncio.timeout(10):
            async with running_gateway(settings) as url:
                async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
                    await client.chat.completions.create(model="auto", messages=MESSAGES)
                await until(lambda: large.running == 1)

        await until(lambda: large.running == 0)
        assert large.left == 1
