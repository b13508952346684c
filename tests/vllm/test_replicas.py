"""Two servers of one tier, and one of them dies."""

import asyncio

import pytest
from vllm.gateways import Gateway, tier
from vllm.servers import VllmServer

from models.demo.curriculum import distinct
from models.demo.question import Split

LONG = {"max_tokens": 400, "stream": True, "stream_options": {"include_usage": True}}
# All but the special tokens: an answer without an end, and with no token that its text does not show.
IDS = {"allowed_token_ids": list(range(5, 1024)), "return_token_ids": True}
BEGUN_TOKENS = 30
MAX_STREAMS = 20
AT_MOST_S = 120


@pytest.fixture
async def pair(gateway, large, mortal) -> Gateway:
    """A tier of two servers."""
    return await gateway({"large": tier(mortal, large)})


async def test_a_server_that_died_is_not_missed(pair, large, mortal) -> None:
    questions = [question.prompt for question in distinct(Split.HELD_OUT, 8)]
    alone = await asyncio.gather(*(large.ask(prompt) for prompt in questions))
    before = await asyncio.gather(*(pair.ask(prompt, "large") for prompt in questions))

    mortal.kill()
    await mortal.process.wait()
    after = await asyncio.gather(*(pair.ask(prompt, "large") for prompt in questions))

    for expected, *answers in zip(alone, before, after, strict=True):
        for raw in answers:
            assert raw.parse().choices[0].message.content == expected.choices[0].message.content


async def test_an_answer_survives_the_death_of_its_server(pair, large, mortal) -> None:
    streams: dict[str, Reading] = {}
    async with asyncio.timeout(AT_MOST_S), asyncio.TaskGroup() as group:
        for question in distinct(Split.HELD_OUT, MAX_STREAMS):
            stream = streams[question.prompt] = Reading()
            group.create_task(stream.read(pair, question.prompt))
            await stream.begun.wait()
            if (await card_of(pair, mortal))["requests_running"] > 1:
                break
        assert (await card_of(pair, mortal))["requests_running"] > 1

        mortal.kill()

    undisturbed = await asyncio.gather(*(alone(large, prompt) for prompt in streams))
    for stream, expected in zip(streams.values(), undisturbed, strict=True):
        assert stream.text == expected.choices[0].message.content
        assert stream.token_ids == expected.choices[0].token_ids
        assert stream.completion_tokens == expected.usage.completion_tokens == LONG["max_tokens"]
    assert (await pool_of(pair))["resumed_streams"] > 1


class Reading:
    """A long answer, streamed: what came of it so far, and an event once that is something."""

    def __init__(self) -> None:
        self.text = ""
        self.token_ids: list[int] = []
        self.completion_tokens = 0
        self.begun = asyncio.Event()

    async def read(self, front: Gateway, prompt: str) -> None:
        """To the end."""
        raw = await front.ask(prompt, "large", extra_body=IDS, **LONG)
        async for chunk in raw.parse():
            if chunk.usage:
                self.completion_tokens = chunk.usage.completion_tokens
            for choice in chunk.choices:
                self.text += choice.delta.content or ""
                self.token_ids += getattr(choice, "token_ids", None) or ()
            if len(self.token_ids) >= BEGUN_TOKENS:
                self.begun.set()


async def alone(server: VllmServer, prompt: str):
    """The same answer, undisturbed and in one piece."""
    return await server.ask(prompt, max_tokens=LONG["max_tokens"], extra_body=IDS)


async def pool_of(front: Gateway) -> dict:
    """What the gateway says of its only tier."""
    (pool,) = (await front.http.get("/v1/pools")).json()["data"]
    return pool


async def card_of(front: Gateway, server: VllmServer) -> dict:
    """What the gateway says of one of its servers."""
    (card,) = [card for card in (await pool_of(front))["replicas"] if card["url"] == server.url]
    return card
