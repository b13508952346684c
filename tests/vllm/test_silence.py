"""Engines that hold a connection and say nothing: the tier's limits end the waiting, at every point of an answer."""

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest
from vllm.gateways import Gateway, text_of, tier

EASY = "What is 7 times 8?"
QUICK = {"connect_s": 1.0, "first_token_s": 1.5, "idle_s": 1.5, "total_s": 1.5}
PATIENT = {"idle_s": 1.5}
AT_MOST_S = 20


@pytest.fixture
async def cascade(gateway, small, large) -> Gateway:
    """small, in a hurry, before large."""
    return await gateway({"small": tier(small, limits=QUICK), "large": tier(large)}, threshold=0)


@pytest.fixture
async def asleep(small) -> AsyncIterator[None]:
    """The small server, sleeping as `/sleep` has it: it takes requests and leaves them lying."""
    assert (await small.http.post("/sleep?level=1")).status_code == 200
    yield
    assert (await small.http.post("/wake_up")).status_code == 200
    await small.until_running(0)
    assert await small.answers()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_drafter_that_hangs_is_passed_over(cascade, small, stream: bool) -> None:
    with small.frozen():
        async with asyncio.timeout(AT_MOST_S):
            raw = await cascade.ask(EASY, stream=stream)

            assert await text_of(raw, stream=stream) == "7 times 8 is 56."
    assert (raw.headers["x-smallfirst-tier"], raw.headers["x-smallfirst-reason"]) == ("large", "timeout")


@pytest.mark.usefixtures("asleep")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_drafter_that_sleeps_is_passed_over(cascade, stream: bool) -> None:
    async with asyncio.timeout(AT_MOST_S):
        raw = await cascade.ask(EASY, stream=stream)

        assert await text_of(raw, stream=stream) == "7 times 8 is 56."
    assert raw.headers["x-smallfirst-tier"] == "large"
    # The first request may find out the hard way; later ones are not even sent.
    assert raw.headers["x-smallfirst-reason"] in ("timeout", "unreachable")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tier_that_hangs_is_a_timeout(cascade, small, stream: bool) -> None:
    with small.frozen(), pytest.raises(openai.APIStatusError) as caught:
        async with asyncio.timeout(AT_MOST_S):
            await cascade.ask(EASY, "small", stream=stream)

    assert (caught.value.status_code, caught.value.code) == (504, "model_timeout")


async def test_a_stream_that_stalls_ends_in_an_error(gateway, large) -> None:
    front = await gateway({"large": tier(large, limits=PATIENT)})
    raw = await front.ask(EASY, "large", stream=True, max_tokens=900, extra_body={"ignore_eos": True})
    chunks = aiter(raw.parse())
    for _ in range(20):
        await anext(chunks)

    with large.frozen(), pytest.raises(openai.APIError) as caught:
        await asyncio.wait_for(to_the_end(chunks), AT_MOST_S)

    assert caught.value.code == "model_timeout"
    await large.until_running(0)


async def test_a_replica_that_hangs_is_passed_over(gateway, large, drafter) -> None:
    front = await gateway({"large": tier(drafter, large, limits=QUICK)})
    with drafter.frozen():
        async with asyncio.timeout(AT_MOST_S):
            answers = await asyncio.gather(*(front.ask(EASY, "large", stream=stream) for stream in [False, True] * 4))

    assert {raw.status_code for raw in answers} == {200}


async def to_the_end(chunks: AsyncIterator[object]) -> None:
    """Take what comes."""
    async for _ in chunks:
        pass
