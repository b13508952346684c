"""The cascade over real vLLM servers: what a client gets is what the model said."""

import pytest
from vllm.gateways import Gateway, text_of, tier

from models.demo.curriculum import distinct
from models.demo.question import Split

EASY = "What is 7 times 8?"
THRESHOLD = 0.9


@pytest.fixture
async def cascade(gateway, small, large) -> Gateway:
    """small before large."""
    return await gateway({"small": tier(small), "large": tier(large)}, threshold=THRESHOLD)


async def hard_question(cascade: Gateway) -> str:
    """A held-out question on which the small model is not sure."""
    for question in distinct(Split.HELD_OUT, 60):
        raw = await cascade.ask(question.prompt)
        if raw.headers["x-smallfirst-reason"] == "unsure":
            return question.prompt
    raise AssertionError("the small model was sure of everything")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_easy_question_is_answered_by_the_small_model(cascade, small, stream: bool) -> None:
    alone = await small.ask(EASY)

    raw = await cascade.ask(EASY, stream=stream)

    assert await text_of(raw, stream=stream) == alone.choices[0].message.content == "7 times 8 is 56."
    assert (raw.headers["x-smallfirst-tier"], raw.headers["x-smallfirst-reason"]) == ("small", "sure")
    assert float(raw.headers["x-smallfirst-confidence"]) >= THRESHOLD


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hard_question_is_answered_by_the_large_model(cascade, large, stream: bool) -> None:
    prompt = await hard_question(cascade)
    alone = await large.ask(prompt)

    raw = await cascade.ask(prompt, stream=stream)

    assert await text_of(raw, stream=stream) == alone.choices[0].message.content
    assert (raw.headers["x-smallfirst-tier"], raw.headers["x-smallfirst-escalated"]) == ("large", "true")


@pytest.mark.parametrize("model", ["small", "large", "auto"])
async def test_the_log_probabilities_a_client_asked_for_are_the_servers_own(cascade, small, large, model) -> None:
    alone = await (large if model == "large" else small).ask(EASY, logprobs=True, top_logprobs=2)

    raw = await cascade.ask(EASY, model, logprobs=True, top_logprobs=2)
    chunks = [chunk async for chunk in (await cascade.ask(EASY, model, logprobs=True, stream=True)).parse()]

    expected = [(token.token, pytest.approx(token.logprob, abs=1e-4)) for token in alone.choices[0].logprobs.content]
    whole = raw.parse().choices[0].logprobs.content
    assert [(token.token, token.logprob) for token in whole] == expected
    assert {len(token.top_logprobs) for token in whole} == {2}
    streamed = [token for chunk in chunks if chunk.choices[0].logprobs for token in chunk.choices[0].logprobs.content]
    assert [(token.token, token.logprob) for token in streamed] == expected
    assert not any(token.top_logprobs for token in streamed)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("threshold", [0, 1])
async def test_what_only_the_scorer_needs_is_not_shown(cascade, stream: bool, threshold: float) -> None:
    raw = await cascade.ask(EASY, stream=stream, extra_body={"smallfirst": {"threshold": threshold}})

    text = (await raw.http_response.aread()).decode()
    assert "token_ids" not in text
    assert '"top_logprobs"' not in text
    assert '"bytes"' not in text


@pytest.mark.parametrize("model", ["auto", "large"])
async def test_token_ids_come_where_a_client_asks_for_them(cascade, large, model: str) -> None:
    asked = (
        {"return_token_ids": True, "smallfirst": {"threshold": 1}} if model == "auto" else {"return_token_ids": True}
    )
    alone = await large.ask(EASY, extra_body={"return_token_ids": True})

    whole = (await cascade.ask(EASY, model, extra_body=asked)).parse()
    chunks = [chunk async for chunk in (await cascade.ask(EASY, model, stream=True, extra_body=asked)).parse()]

    assert whole.prompt_token_ids == alone.prompt_token_ids
    assert whole.choices[0].token_ids == alone.choices[0].token_ids
    assert chunks[0].prompt_token_ids == alone.prompt_token_ids
    streamed = [token for chunk in chunks for token in getattr(chunk.choices[0], "token_ids", None) or ()]
    assert streamed == alone.choices[0].token_ids


@pytest.mark.parametrize("stream", [False, True])
async def test_the_usage_is_that_of_the_tier_that_answered(cascade, large, stream: bool) -> None:
    alone = (await large.ask(EASY)).usage
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}

    raw = await cascade.ask(EASY, extra_body={"smallfirst": {"threshold": 1}}, **options)
    usage = [chunk async for chunk in raw.parse()][-1].usage if stream else raw.parse().usage

    assert (usage.prompt_tokens, usage.completion_tokens) == (alone.prompt_tokens, alone.completion_tokens)
    assert usage.smallfirst["tiers"]["small"]["completion_tokens"] > 0
    assert "estimated" not in usage.smallfirst["tiers"]["small"]


async def test_several_choices_are_kept_apart(cascade) -> None:
    options = {"n": 3, "temperature": 1.0, "seed": 1, "max_tokens": 8}

    raw = await cascade.ask(EASY, **options)
    chunks = [chunk async for chunk in (await cascade.ask(EASY, **options, stream=True)).parse()]

    assert [choice.index for choice in raw.parse().choices] == [0, 1, 2]
    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1, 2}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("speculation", ["drafter", "handover"])
async def test_an_engine_that_speculates_says_what_it_says_alone(
    gateway, large, drafter, handover, speculation: str, stream: bool
) -> None:
    front = await gateway({"large": tier({"drafter": drafter, "handover": handover}[speculation])})
    for question in distinct(Split.HELD_OUT, 6):
        alone = await large.ask(question.prompt)

        raw = await front.ask(question.prompt, "large", stream=stream)

        assert await text_of(raw, stream=stream) == alone.choices[0].message.content
