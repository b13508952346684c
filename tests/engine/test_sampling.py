"""Draws follow the model's distribution, and a seed repeats them."""

import asyncio
from collections import Counter

import openai
import torch

from models.engine.generation import Sampling
from models.engine.sampler import choose

PROMPT = [11, 12, 13]


async def draws(client: openai.AsyncOpenAI, **options: object) -> Counter[int]:
    """The first token of 128 choices, eight times."""
    completions = [
        await client.completions.create(
            model="tiny",
            prompt=PROMPT,
            max_tokens=1,
            n=128,
            seed=1000 * batch,
            extra_body={"return_token_ids": True, **options},
        )
        for batch in range(8)
    ]
    return Counter(choice.token_ids[0] for completion in completions for choice in completion.choices)


def assert_drawn_from(probabilities: torch.Tensor, counts: Counter[int]) -> None:
    total = counts.total()
    for token, probability in enumerate(probabilities.tolist()):
        expected = total * probability
        assert abs(counts[token] - expected) <= 5 * (expected * (1 - probability)) ** 0.5 + 3 * (probability > 0)


async def test_draws_follow_the_temperature(client, noise) -> None:
    logprobs = noise.logprobs(PROMPT)[-1]

    counts = await draws(client, temperature=0.7)

    assert_drawn_from((logprobs / 0.7).softmax(dim=-1), counts)


async def test_top_k_leaves_the_k_most_likely(client, noise) -> None:
    logprobs = noise.logprobs(PROMPT)[-1]
    likely = logprobs.topk(5).indices
    expected = torch.zeros_like(logprobs)
    expected[likely] = logprobs[likely].softmax(dim=-1)

    assert_drawn_from(expected, await draws(client, temperature=1, top_k=5))


async def test_top_p_leaves_the_smallest_set_with_that_probability(client, noise) -> None:
    logprobs = noise.logprobs(PROMPT)[-1]
    ordered = logprobs.exp().sort(descending=True)
    count = int((ordered.values.cumsum(dim=-1) < 0.6).sum()) + 1
    likely = ordered.indices[:count]
    expected = torch.zeros_like(logprobs)
    expected[likely] = logprobs[likely].softmax(dim=-1)

    assert_drawn_from(expected, await draws(client, temperature=1, top_p=0.6))


async def test_a_seed_repeats_an_answer_alone_and_in_company(client) -> None:
    async def answer(seed: int, prompt: list[int] = PROMPT) -> str:
        completion = await client.completions.create(
            model="tiny", prompt=prompt, max_tokens=20, seed=seed, temperature=1
        )
        return completion.choices[0].text

    alone = await answer(3)
    company = [answer(seed, [20] * (seed + 5)) for seed in range(7)]

    assert alone == (await asyncio.gather(answer(3), *company))[0]
    assert alone != await answer(4)


async def test_choices_of_one_request_differ(client) -> None:
    completion = await client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "hello"}],
        max_tokens=20,
        n=4,
        seed=1,
    )

    assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
    assert len({choice.message.content for choice in completion.choices}) == 4
    assert 80 >= completion.usage.completion_tokens > 20


def test_of_equally_likely_tokens_greedy_takes_the_lowest() -> None:
    logits = torch.tensor([[[0.0, 2.0, 1.0, 2.0]], [[0.0, 0.0, 0.0, 0.0]]])
    greedy = Sampling(temperature=0, top_k=0, top_p=1, seed=None)

    assert choose(logits, [()] * 2, [greedy] * 2, [torch.Generator()] * 2) == [[1], [0]]


async def test_the_models_own_recommendation_holds_where_a_request_is_silent(reciter, recitals) -> None:
    completion = await reciter.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "count"}])

    assert completion.choices[0].message.content == recitals["count"]
