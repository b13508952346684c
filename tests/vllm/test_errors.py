"""What a client sees where vLLM refuses, is full, or does not know our key."""

import asyncio
import json

import openai
import pytest
from fakes.pools import probed
from vllm.gateways import Gateway, tier

EASY = "What is 7 times 8?"
REFUSED = {
    "prompt too long": {"messages": [{"role": "user", "content": "What is 7 times 8? " * 400}]},
    "more tokens than the context": {"max_tokens": 5000},
    "too many alternatives": {"logprobs": True, "top_logprobs": 21},
    "too many stops": {"stop": list("abcdefgh")},
    "a schema that is none": {"response_format": {"type": "json_schema"}},
    "a greedy request for several answers": {"n": 2},
    "an unknown message part": {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]},
    "a bias for no token": {"logit_bias": {"999999": 1}},
    "a wrong extra": {"extra_body": {"min_tokens": -1}},
}
BUSY = {"max_tokens": 150, "extra_body": {"ignore_eos": True}}
AT_ONCE = 16


@pytest.fixture
async def cascade(gateway, small, large) -> Gateway:
    """small before large; `locked-out` is small with a wrong key."""
    tiers = {"small": tier(small), "large": tier(large), "locked-out": tier(small, api_key="wrong")}
    running = await gateway(tiers, tiers=["small", "large"], threshold=0)
    await probed(running.url, "small", "large")
    return running


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["auto", "large"])
@pytest.mark.parametrize("wrong", REFUSED)
async def test_what_vllm_refuses_is_an_openai_error(cascade, wrong: str, model: str, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await cascade.ask(EASY, model, stream=stream, **REFUSED[wrong])

    assert_openai_error(caught.value.response.json())


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": "large"}', b'{"model": "large", "messages": []}'])
async def test_a_body_that_is_no_request_is_an_openai_error(cascade, body: bytes) -> None:
    reply = await cascade.http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})

    assert reply.status_code == 400
    assert_openai_error(reply.json())


@pytest.mark.parametrize("stream", [False, True])
async def test_our_wrong_key_is_never_the_clients(cascade, stream: bool) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await cascade.ask(EASY, "locked-out", stream=stream)

    assert (caught.value.status_code, caught.value.code) == (502, "model_misconfigured")


async def test_a_drafter_that_does_not_know_our_key_is_passed_over(gateway, small, large) -> None:
    front = await gateway({"small": tier(small, api_key="wrong"), "large": tier(large)})

    raw = await front.ask(EASY)

    assert (raw.headers["x-smallfirst-tier"], raw.headers["x-smallfirst-reason"]) == ("large", "misconfigured")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_full_tier_says_when_to_come_back(cascade, stream: bool) -> None:
    ended = await asyncio.gather(
        *(whole(cascade, "small", stream=stream) for _ in range(AT_ONCE)), return_exceptions=True
    )

    refused = [one for one in ended if isinstance(one, openai.APIStatusError)]
    assert 0 < len(refused) < AT_ONCE
    assert {(error.status_code, error.code) for error in refused} == {(503, "overloaded")}
    assert all(int(error.response.headers["retry-after"]) > 0 for error in refused)
    assert len(refused) + sum(one == "small" for one in ended) == AT_ONCE


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_full_drafter_cannot_take_goes_up(cascade, stream: bool) -> None:
    answered_by = await asyncio.gather(*(whole(cascade, "auto", stream=stream) for _ in range(AT_ONCE)))

    assert set(answered_by) == {"small", "large"}


async def whole(cascade: Gateway, model: str, *, stream: bool) -> str:
    """Take an answer to its end; who gave it."""
    raw = await cascade.ask(EASY, model, stream=stream, **BUSY)
    if stream:
        async for _ in raw.parse():
            pass
    if raw.headers["x-smallfirst-tier"] == "large":
        assert raw.headers["x-smallfirst-reason"] == "overloaded"
    return raw.headers["x-smallfirst-tier"]


def assert_openai_error(body: dict[str, object]) -> None:
    """OpenAI's shape, a message that says something, and nothing of where the servers are."""
    assert body.keys() == {"error"}
    error = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) > 8
    assert "127.0.0.1" not in json.dumps(body)
