"""Requests that hurt an engine which speculates: the client gets an answer or a clear refusal, and the engine lives."""

import asyncio

import pytest
from fakes.pools import probed
from vllm.gateways import Gateway, tier
from vllm.servers import question

EASY = "What is 7 times 8?"
HAZARDS = {
    "a bias": {"logit_bias": {"12": 5}},
    "a smallest probability": {"temperature": 0.8, "min_p": 0.1},
    "log-probabilities of the prompt": {"prompt_logprobs": 2},
    "a prompt of its own": {"kv_transfer_params": {"prompt_token_ids": [5, 6, 7]}},
    "a prompt of no tokens": {"kv_transfer_params": {"prompt_token_ids": []}},
    "a prompt of tokens that are none": {"kv_transfer_params": {"prompt_token_ids": [10**9, -1]}},
    "a remote cache": {"kv_transfer_params": {"do_remote_decode": True, "remote_host": "nowhere"}},
    "a draft": {"vllm_xargs": {"draft_token_ids": [5, 6, 7]}},
    "a draft of tokens that are none": {"vllm_xargs": {"draft_token_ids": [10**9, -1, 2.5, "x"]}},
    "a draft that is none": {"vllm_xargs": {"draft_token_ids": "seven"}},
    "a long draft": {"vllm_xargs": {"draft_token_ids": [5] * 50_000}},
    "a way past the cache": {"skip_reading_prefix_cache": False, "prompt_logprobs": 1},
    "log-probabilities of chosen tokens": {"logprobs": True, "logprob_token_ids": [5, 6]},
}
MODELS = ("drafter", "handover", "plain", "auto")


@pytest.fixture
async def front(gateway, large, drafter, handover) -> Gateway:
    """A tier of each kind of server, and a cascade of two that speculate."""
    tiers = {"drafter": tier(drafter), "handover": tier(handover), "plain": tier(large)}
    running = await gateway(tiers, tiers=["drafter", "handover"], threshold=1)
    await probed(running.url)
    return running


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("hazard", HAZARDS)
async def test_the_engines_live_and_the_client_is_told(
    front, large, drafter, handover, hazard: str, stream: bool
) -> None:
    asked = {"max_tokens": 12, "stream": stream, **HAZARDS[hazard]}

    replies = await asyncio.gather(
        *(front.http.post("/v1/chat/completions", json=question(EASY, model, asked)) for model in MODELS)
    )

    for reply in replies:
        assert reply.status_code in (200, 400), reply.text
        is_refused = reply.status_code == 400
        assert ('"error":' in reply.text, '"invalid_request_error"' in reply.text) == (is_refused, is_refused)
    for server in (large, drafter, handover):
        assert await server.answers()
