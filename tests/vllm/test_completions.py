"""Text completions through the cascade, and what passes through, over real vLLM servers."""

import math

import pytest
from fakes.pools import probed
from vllm.gateways import Gateway, tier

TEXT = {"prompt": "The number seven times eight is", "max_tokens": 12, "temperature": 0}


@pytest.fixture
async def cascade(gateway, small, handover) -> Gateway:
    """small before large, which verifies drafts; the scorer reads alternatives."""
    cascade = await gateway({"small": tier(small), "large": tier(handover)}, scorer="margin")
    await probed(cascade.url)
    return cascade


async def complete(cascade: Gateway, threshold: float, **options):
    """The raw reply to the text."""
    return await cascade.client.completions.with_raw_response.create(
        model="auto", **{**TEXT, **options}, extra_body={"smallfirst": {"threshold": threshold}}
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("threshold", "answers"), [(0.0, "small"), (1.0, "large")])
async def test_a_text_is_completed_as_the_server_alone_does(
    cascade, small, handover, threshold: float, answers: str, stream: bool
) -> None:
    server = small if answers == "small" else handover
    own = await server.client.completions.create(model=server.model, **TEXT)

    raw = await complete(cascade, threshold, stream=stream)
    parts = [part async for part in raw.parse()] if stream else [raw.parse()]

    assert raw.headers["x-smallfirst-tier"] == answers
    assert "".join(choice.text for part in parts for choice in part.choices) == own.choices[0].text
    assert all(choice.logprobs is None for part in parts for choice in part.choices)


async def test_an_escalated_draft_is_verified(cascade) -> None:
    raw = await complete(cascade, 1.0)

    assert raw.parse().usage.smallfirst["speculation"]["proposed_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_the_log_probabilities_a_client_asked_for_are_the_servers_own(cascade, small, stream: bool) -> None:
    (own,) = (await small.client.completions.create(model=small.model, **TEXT, logprobs=2)).choices

    raw = await complete(cascade, 0.0, logprobs=2, stream=stream)
    parts = [part async for part in raw.parse()] if stream else [raw.parse()]
    shown = [choice.logprobs for part in parts for choice in part.choices if choice.logprobs]

    assert [token for one in shown for token in one.tokens] == own.logprobs.tokens
    tops = [top for one in shown for top in one.top_logprobs]
    assert tops == [pytest.approx(top, abs=1e-4) for top in own.logprobs.top_logprobs]


async def test_several_prompts_and_choices_are_judged_together(cascade) -> None:
    raw = await complete(cascade, 0.0, prompt=[TEXT["prompt"], "two"], n=2, temperature=0.5, seed=7)

    assert [choice.index for choice in raw.parse().choices] == [0, 1, 2, 3]
    assert 0 < float(raw.headers["x-smallfirst-confidence"]) <= 1


async def test_an_echo_of_a_tier_has_the_prompt(cascade) -> None:
    reply = await cascade.client.completions.create(model="small", **TEXT, echo=True, logprobs=0)

    (choice,) = reply.choices
    assert choice.text.startswith(TEXT["prompt"])
    assert choice.logprobs.token_logprobs[0] is None
    assert math.isfinite(choice.logprobs.token_logprobs[-1])


async def test_a_server_that_makes_text_has_no_embeddings(cascade) -> None:
    reply = await cascade.http.post("/v1/embeddings", json={"model": "small", "input": "seven"})

    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "model")


async def test_the_tokens_of_a_text_are_the_servers_own(cascade, small) -> None:
    own = await small.http.post("/tokenize", json={"model": small.model, "prompt": TEXT["prompt"]})

    reply = await cascade.http.post("/tokenize", json={"model": "auto", "prompt": TEXT["prompt"]})

    assert reply.status_code == 200
    assert reply.json() == own.json()
