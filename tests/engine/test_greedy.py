"""The most likely tokens, whoever else is served."""

import asyncio

import openai

PROMPTS = [list(range(10 + at, 10 + at + length)) for at, length in enumerate([1, 3, 40, 7, 2, 25, 90, 12])]


async def written(client: openai.AsyncOpenAI, prompt: list[int], count: int) -> list[int]:
    completion = await client.completions.create(
        model="tiny",
        prompt=prompt,
        temperature=0,
        max_tokens=count,
        extra_body={"return_token_ids": True},
    )
    return completion.choices[0].token_ids


async def test_alone_a_request_gets_what_transformers_generates(client, noise) -> None:
    for prompt in PROMPTS:
        assert noise.greedy(prompt, 20) == await written(client, prompt, 20)


async def test_eight_at_once_get_what_each_gets_alone(client, noise) -> None:
    counts = [30, 5, 12, 1, 25, 60, 8, 17]

    answers = await asyncio.gather(*map(written, [client] * 8, PROMPTS, counts))

    assert [*map(noise.greedy, PROMPTS, counts)] == answers


async def test_more_requests_than_places_are_all_served(client, noise) -> None:
    counts = [5 + at % 7 for at in range(40)]
    prompts = [PROMPTS[at % 8] for at in range(40)]

    answers = await asyncio.gather(*map(written, [client] * 40, prompts, counts))

    assert [*map(noise.greedy, prompts, counts)] == answers


async def test_a_list_of_prompts_has_a_choice_for_each(client, noise) -> None:
    completion = await client.completions.create(
        model="tiny",
        prompt=PROMPTS[:3],
        temperature=0,
        max_tokens=6,
        extra_body={"return_token_ids": True},
    )

    assert [noise.greedy(prompt, 6) for prompt in PROMPTS[:3]] == [choice.token_ids for choice in completion.choices]
    assert [choice.index for choice in completion.choices] == [0, 1, 2]


async def test_an_answer_ends_where_the_context_does(client) -> None:
    prompt = [9] * 505

    completion = await client.completions.create(
        model="tiny", prompt=prompt, temperature=0, max_tokens=100, extra_body={"ignore_eos": True}
    )

    assert completion.usage.completion_tokens == 7
    assert completion.choices[0].finish_reason == "length"
