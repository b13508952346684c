"""Streams that open before their draft is whole, on real vLLM: the text, the token ids and the usage of the client."""

from pathlib import Path

import pytest
from fakes.pools import metrics_of, probed
from vllm.gateways import Gateway, tier
from vllm.servers import VllmServer

from models.demo.curriculum import distinct
from models.demo.files import CONFIG
from models.demo.question import Split
from router.trust import TierPrint, trust_of

TRUST = trust_of((Path(CONFIG).parent / "trust.json").read_bytes())
LIVE = {"on_doubt": "continue", "gate_tokens": 8, "holdback_tokens": 4}
ASK: dict = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 300,
    "extra_body": {"return_token_ids": True},
}
QUESTIONS = [question.prompt for question in distinct(Split.HELD_OUT, 60)]


@pytest.fixture
async def live(gateway, small: VllmServer, handover: VllmServer) -> Gateway:
    """The demo's cascade on vLLM."""
    tiers = tuple(TierPrint(model=server.model) for server in (small, handover))
    trust = TRUST.model_copy(update={"tiers": tiers})
    servers = {"small": tier(small), "large": tier(handover)}
    running = await gateway(servers, trust=trust, threshold=None, stream=LIVE)
    await probed(running.url)
    return running


class Answer:
    """A stream, read to its end."""

    def __init__(self) -> None:
        self.text = ""
        self.ids: list[int] = []
        self.usage: dict = {}

    @property
    def written_by_large(self) -> int:
        """Tokens."""
        return self.usage["smallfirst"]["tiers"].get("large", {}).get("completion_tokens", 0)


async def answer_of(gateway: Gateway, prompt: str, **fields) -> Answer:
    """What the gateway answers."""
    answer = Answer()
    raw = await gateway.ask(prompt, **ASK, **fields)
    async for chunk in raw.parse():
        for choice in chunk.choices:
            answer.text += choice.delta.content or ""
            answer.ids += choice.model_extra.get("token_ids") or []
        if chunk.usage is not None:
            answer.usage = chunk.usage.model_dump()
    return answer


async def test_a_stream_in_doubt_goes_on_with_the_very_tokens_that_the_large_model_writes_there(
    live, small, handover
) -> None:
    continued = 0
    for prompt in QUESTIONS:
        answer = await answer_of(live, prompt)
        assert answer.usage["completion_tokens"] == len(answer.ids)
        draft = (await small.ask(prompt, max_tokens=300, extra_body=ASK["extra_body"])).choices[0]
        decision = answer.usage["smallfirst"].get("decision")
        if decision is None:
            continue
        if decision["tier"] == "small":
            assert (answer.text, answer.ids) == (draft.message.content, draft.token_ids)
            continue
        shown = len(answer.ids) - answer.written_by_large
        assert answer.ids[:shown] == draft.token_ids[:shown]
        assert answer.ids[shown:] == await rest_of(handover, prompt, answer.ids[:shown])
        continued += 1
        if continued == 5:
            break

    assert continued == 5
    assert 'smallfirst_continued_streams_total{cascade="auto",prefix="ids",tier="large"} 5.0' in await metrics_of(
        live.url
    )


async def test_a_drafter_in_doubt_stops_writing(live, small) -> None:
    for prompt in QUESTIONS:
        answer = await answer_of(live, prompt)
        if answer.usage["smallfirst"].get("decision", {}).get("tier") == "large":
            break

    await small.until_running(0)
    assert answer.usage["smallfirst"]["tiers"]["small"]["estimated"] is True


async def rest_of(server: VllmServer, prompt: str, shown: list[int]) -> list[int]:
    """What the server's model writes after these tokens of an answer."""
    body = {"model": server.model, "messages": [{"role": "user", "content": prompt}]}
    prompt_ids = (await server.http.post("/tokenize", json=body)).json()["tokens"]
    asked = {"model": server.model, "prompt": prompt_ids + shown, "temperature": 0, "return_token_ids": True}
    reply = await server.http.post("/v1/completions", json={**asked, "max_tokens": 300 - len(shown)})
    ids: list[int] = reply.json()["choices"][0]["token_ids"]
    return ids
