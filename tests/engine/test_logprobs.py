"""Log-probabilities are the model's own, whatever the sampling."""

import openai
import pytest

PROMPT = [5, 6, 7, 8, 9]


async def chat(client: openai.AsyncOpenAI, **options: object):
    return await client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "hello there"}],
        logprobs=True,
        max_tokens=12,
        seed=7,
        extra_body={"return_token_ids": True},
        **options,
    )


@pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": 1.7, "top_p": 0.9}])
async def test_they_equal_a_direct_forward_pass(client, noise, options) -> None:
    completion = await chat(client, top_logprobs=3, **options)
    written = completion.choices[0].token_ids
    prompt = completion.prompt_token_ids

    direct = noise.logprobs(prompt + written)[len(prompt) - 1 : -1]

    entries = completion.choices[0].logprobs.content
    expected = [row[token].item() for row, token in zip(direct, written, strict=True)]
    assert pytest.approx(expected, abs=1e-4) == [entry.logprob for entry in entries]
    for row, entry in zip(direct, entries, strict=True):
        likely = [entry.logprob, *row.topk(3).values.tolist()]
        assert all(any(abs(alternative.logprob - each) < 1e-4 for each in likely) for alternative in entry.top_logprobs)


async def test_the_chosen_token_comes_first_and_the_list_is_cut_to_what_was_asked(client) -> None:
    completion = await chat(client, top_logprobs=2, temperature=5.0)

    for entry in completion.choices[0].logprobs.content:
        assert len(entry.top_logprobs) == 2
        assert entry.token == entry.top_logprobs[0].token
        assert list(entry.token.encode()) == entry.bytes


async def test_no_alternatives_unless_asked(client) -> None:
    completion = await chat(client, top_logprobs=0)

    assert [entry.top_logprobs for entry in completion.choices[0].logprobs.content] == [[]] * 12


async def test_the_end_of_the_answer_has_an_entry(reciter, parrot, recitals) -> None:
    completion = await reciter.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "count"}],
        temperature=0,
        logprobs=True,
        extra_body={"return_token_ids": True},
    )
    choice = completion.choices[0]

    assert recitals["count"] == choice.message.content
    assert choice.finish_reason == "stop"
    assert choice.logprobs.content[-1].token == "</s>"
    assert parrot.tokenizer.eos_token_id == choice.token_ids[-1]
    assert len(choice.token_ids) == len(choice.logprobs.content)


async def test_entries_of_split_characters_spell_the_text(reciter, recitals) -> None:
    completion = await reciter.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "fox"}], temperature=0, logprobs=True
    )

    entries = completion.choices[0].logprobs.content
    spelled = b"".join(bytes(entry.bytes) for entry in entries)
    assert recitals["fox"] + "</s>" == spelled.decode()


async def test_completions_have_the_older_shape(client, noise) -> None:
    completion = await client.completions.create(model="tiny", prompt=PROMPT, temperature=0, logprobs=2, max_tokens=4)

    logprobs = completion.choices[0].logprobs
    first = noise.logprobs(PROMPT)[-1].topk(1)
    assert pytest.approx(first.values[0].item(), abs=1e-4) == logprobs.token_logprobs[0]
    assert 4 == len(logprobs.tokens) == len(logprobs.top_logprobs) == len(logprobs.text_offset)
    assert logprobs.top_logprobs[0][logprobs.tokens[0]] == logprobs.token_logprobs[0]
    assert len(logprobs.tokens[0]) == logprobs.text_offset[1]


async def test_tokens_can_be_named_by_id(client, noise) -> None:
    completion = await client.completions.create(
        model="tiny",
        prompt=PROMPT,
        temperature=0,
        logprobs=2,
        max_tokens=3,
        extra_body={"return_tokens_as_token_ids": True},
    )

    expected = [f"token_id:{token}" for token in noise.greedy(PROMPT, 3)]
    assert expected == completion.choices[0].logprobs.tokens
