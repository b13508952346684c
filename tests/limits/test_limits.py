"""What a caller may take, as clients see it: headers, refusals, and what is given back."""

import asyncio
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from conftest import Gateway, GatewayStarter
from fakes.pools import metrics_of
from fakes.scripted import Script
from fakes.waiting import until

SURE = Script("yes it is", p=0.99)
LARGE = Script("no it is not")
ASK: Any = {"model": "auto", "messages": [{"role": "user", "content": "is it?"}]}


async def asked(gateway: Gateway, **fields: Any) -> aiohttp.ClientResponse:
    """The reply to one question, read to its end."""
    path = fields.pop("path", "/v1/chat/completions")
    body = {**ASK, "max_tokens": 20, **fields}
    async with aiohttp.ClientSession() as session, session.post(gateway.url + path, json=body) as reply:
        await reply.read()
        return reply


async def test_without_limits_nothing_is_said_of_them(gateway: GatewayStarter) -> None:
    served = await gateway(small=SURE, large=LARGE)

    reply = await asked(served)

    assert reply.status == 200
    assert not [name for name in reply.headers if "ratelimit" in name]


async def test_answers_say_what_is_left_in_the_minute(gateway: GatewayStarter) -> None:
    served = await gateway(
        small=SURE, large=LARGE, allowing={"default": {"requests_per_minute": 60, "tokens_per_minute": 6000}}
    )

    for body in ({}, {"stream": True}):
        reply = await asked(served, **body)

    assert reply.headers["x-ratelimit-limit-requests"] == "60"
    assert reply.headers["x-ratelimit-remaining-requests"] == "58"
    assert 0 < float(reply.headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 2
    assert reply.headers["x-ratelimit-limit-tokens"] == "6000"
    assert 5800 <= int(reply.headers["x-ratelimit-remaining-tokens"]) < 6000


async def test_the_official_client_gets_a_rate_limit_error_and_no_model_is_asked(gateway: GatewayStarter) -> None:
    served = await gateway(small=SURE, large=LARGE, allowing={"default": {"requests_per_minute": 1}})
    await served.client.chat.completions.create(**ASK)

    with pytest.raises(openai.RateLimitError) as caught:
        await served.client.chat.completions.create(**ASK)

    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert 55 <= int(caught.value.response.headers["retry-after"]) <= 60
    assert len(served.small.seen) == 1
    assert 'smallfirst_limited_requests_total{reason="requests"} 1.0' in await metrics_of(served.url)


async def test_the_official_client_waits_as_long_as_it_is_told_and_then_has_its_answer(gateway: GatewayStarter) -> None:
    served = await gateway(small=SURE, large=LARGE, allowing={"default": {"requests_per_minute": 60}})
    while (await asked(served)).status == 200:
        pass

    retrying = served.client.with_options(max_retries=1)  # its own first wait would be half as long
    answer = await retrying.chat.completions.create(**ASK)

    assert answer.choices[0].message.content == "yes it is"
    assert len(served.small.seen) >= 61


async def test_anthropics_client_gets_its_own_kind_of_error(gateway: GatewayStarter) -> None:
    served = await gateway(small=SURE, large=LARGE, allowing={"default": {"requests_per_minute": 0}})
    async with anthropic.AsyncAnthropic(base_url=served.url, api_key="none", max_retries=3) as client:
        with pytest.raises(anthropic.RateLimitError) as caught:
            await client.messages.create(max_tokens=20, **ASK)

    assert caught.value.body == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "this key may send no requests"},
        "request_id": caught.value.response.headers["request-id"],
    }
    assert 'reason="requests"} 1.0' in await metrics_of(served.url)  # it was told that trying again is of no use


async def test_a_request_that_is_too_large_for_any_minute_is_told_so(gateway: GatewayStarter) -> None:
    served = await gateway(small=SURE, large=LARGE, allowing={"default": {"tokens_per_minute": 1000}})

    reply = await asked(served, max_tokens=10**9, n=128)

    error = (await reply.json())["error"]
    assert (reply.status, error["type"], error["code"]) == (429, "tokens", "rate_limit_exceeded")
    assert "max_tokens" in error["message"]
    assert "retry-after" not in reply.headers
    assert reply.headers["x-should-retry"] == "false"
    assert (await asked(served)).status == 200


async def test_what_was_reserved_and_not_needed_is_given_back(gateway: GatewayStarter) -> None:
    """Each of these may take more than half of what there is, so the second would not fit beside it."""
    served = await gateway(small=SURE, large=LARGE, allowing={"default": {"tokens_per_minute": 1000}})

    replies = [await asked(served, max_tokens=300) for _ in range(4)]

    assert [reply.status for reply in replies] == [200] * 4
    assert int(replies[-1].headers["x-ratelimit-remaining-tokens"]) < 400


async def test_no_budget_no_answer(gateway: GatewayStarter) -> None:
    served = await gateway(small=SURE, large=LARGE, allowing={"default": {"cost_per_day": 0.0}})

    reply = await asked(served)

    error = (await reply.json())["error"]
    assert (reply.status, error["type"], error["code"]) == (429, "insufficient_quota", "insufficient_quota")
    assert reply.headers["x-should-retry"] == "false"
    assert not served.small.seen


async def test_a_budget_holds_what_a_request_could_cost_and_counts_what_it_did(gateway: GatewayStarter) -> None:
    """At most: 20 tokens of an answer and some of a prompt, in two tiers. In fact: the small one's."""
    served = await gateway(small=SURE, large=LARGE, allowing={"default": {"cost_per_day": 0.0012}})

    replies = [await asked(served) for _ in range(60)]

    statuses = [reply.status for reply in replies]
    spent = sum([(await reply.json())["usage"]["smallfirst"]["cost"] for reply in replies if reply.status == 200])
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert 0.0003 < spent <= 0.0012
    assert 0 < int(replies[-1].headers["retry-after"]) <= 86400


async def test_a_rejected_draft_is_paid_for_too(gateway: GatewayStarter) -> None:
    """Two tiers' calls a request: half as many fit as if the draft had been accepted."""
    served = await gateway(
        small=Script("may be", p=0.1), large=LARGE, allowing={"default": {"tokens_per_minute": 100_000}}
    )

    reply = await asked(served)

    tiers = (await reply.json())["usage"]["smallfirst"]["tiers"]
    spent = sum(tier["prompt_tokens"] + tier["completion_tokens"] for tier in tiers.values())
    again = await asked(served)
    taken = 100_000 - int(again.headers["x-ratelimit-remaining-tokens"])
    reserved = 2 * (20 + 16 + 4)
    assert set(tiers) == {"small", "large"}
    assert spent <= taken <= spent + reserved


async def test_a_client_that_leaves_gives_its_place_back(gateway: GatewayStarter) -> None:
    served = await gateway(
        small=Script(trouble="hang"), large=LARGE, allowing={"default": {"streams_at_once": 1, "cost_per_day": 0.01}}
    )
    for _ in range(3):
        leaving = asyncio.create_task(asked(served, stream=True))
        await until(lambda: served.small.running == 1)
        refused = await asked(served)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await until(lambda: served.small.running == 0)

        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert (await refused.json())["error"]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize("small", [Script(status=500), Script(trouble="cut-stream"), Script(trouble="reset")])
async def test_a_failure_gives_the_place_back(gateway: GatewayStarter, small: Script) -> None:
    served = await gateway(
        small=small, large=Script(status=500), allowing={"default": {"streams_at_once": 1}}, failover_share=1.0
    )

    replies = [await asked(served, stream=stream) for stream in (True, False, True)]

    assert 429 not in [reply.status for reply in replies]


async def test_a_deadline_gives_the_place_back(gateway: GatewayStarter) -> None:
    served = await gateway(
        small=Script(trouble="hang"),
        large=LARGE,
        server={"deadline_s": 0.05},
        allowing={"default": {"streams_at_once": 1}},
    )

    replies = [await asked(served) for _ in range(3)]

    assert [reply.status for reply in replies] == [504] * 3


async def test_what_passes_to_a_tier_counts_too(gateway: GatewayStarter) -> None:
    served = await gateway(
        small=SURE, large=LARGE, allowing={"default": {"requests_per_minute": 2, "tokens_per_minute": 1000}}
    )
    passed = {"path": "/v1/embeddings", "model": "small", "input": "a text"}

    replies = [await asked(served, **passed), await asked(served, path="/tokenize", model="small", prompt="a text")]
    refused = await asked(served, **passed)

    assert [reply.status for reply in replies] == [200, 200]
    assert replies[1].headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.status == 429


async def test_a_single_tier_is_limited_like_a_cascade(gateway: GatewayStarter) -> None:
    served = await gateway(small=SURE, large=LARGE, allowing={"default": {"requests_per_minute": 1}})

    replies = [await asked(served, model=name) for name in ("small", "auto")]

    assert [reply.status for reply in replies] == [200, 429]
