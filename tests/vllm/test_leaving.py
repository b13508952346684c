"""A client that leaves stops the engine's work, wherever it is just then."""

import asyncio

import pytest
from vllm.gateways import Gateway, tier
from vllm.servers import VllmServer

LONG = {"max_tokens": 900, "extra_body": {"ignore_eos": True}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["auto", "large"])
async def test_a_client_that_leaves_stops_the_engines_work(gateway, small, large, model: str, stream: bool) -> None:
    front = await gateway({"small": tier(small), "large": tier(large)}, threshold=0)
    server = small if model == "auto" else large
    written_before = await server.metric("vllm:generation_tokens_total")

    asking = asyncio.create_task(read(front, model, stream=stream))
    await until_writing(server, written_before)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await server.until_running(0)

    written = await server.metric("vllm:generation_tokens_total") - written_before
    assert 0 < written < LONG["max_tokens"]


async def test_a_client_that_leaves_after_the_escalation_stops_the_final_tier(gateway, small, large) -> None:
    unsure = tier(small, api_key="wrong")  # goes up at once: the final tier then writes for seconds
    front = await gateway({"small": unsure, "large": tier(large)}, threshold=0)
    written_before = await large.metric("vllm:generation_tokens_total")

    asking = asyncio.create_task(read(front, "auto", stream=True))
    await until_writing(large, written_before)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await large.until_running(0)

    assert await large.metric("vllm:generation_tokens_total") - written_before < LONG["max_tokens"]


async def read(front: Gateway, model: str, *, stream: bool) -> None:
    """Ask for a long answer, and take what comes."""
    raw = await front.ask("What is 7 times 8?", model, stream=stream, **LONG)
    if stream:
        async for _ in raw.parse():
            pass


async def until_writing(server: VllmServer, written_before: float) -> None:
    """Return once the engine is at work on the answer; what a gateway asks of itself is a few tokens long."""
    async with asyncio.timeout(20):
        while await server.metric("vllm:generation_tokens_total") < written_before + 40:  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.01)
