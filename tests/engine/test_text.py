"""Stop strings, characters that span tokens, and streams that add up to the whole answer."""

import openai
import pytest


def asking(word: str, **options: object) -> dict[str, object]:
    return {
        "model": "tiny",
        "messages": [{"role": "user", "content": word}],
        "temperature": 0,
        **options,
    }


async def pieces(client: openai.AsyncOpenAI, **request: object) -> list[str]:
    stream = await client.chat.completions.create(**request, stream=True)
    return [chunk.choices[0].delta.content or "" async for chunk in stream]


@pytest.mark.parametrize(
    ("stop", "text", "reason"),
    [
        ("ee f", "one two thr", "ee f"),
        (["zzz", "two"], "one ", "two"),
        (["four", " t"], "one", " t"),
        ("never", "one two three four five", None),
        ("fiver", "one two three four five", None),
    ],
)
async def test_a_stop_string_is_cut_wherever_tokens_end(reciter, stop, text, reason) -> None:
    request = asking("count", stop=stop)

    whole = await reciter.chat.completions.create(**request)

    assert text == whole.choices[0].message.content
    assert reason == whole.choices[0].stop_reason
    assert whole.choices[0].finish_reason == "stop"
    assert text == "".join(await pieces(reciter, **request))


async def test_a_stop_string_can_be_shown(reciter) -> None:
    extra = {"include_stop_str_in_output": True}

    whole = await reciter.chat.completions.create(**asking("count", stop="ee"), extra_body=extra)

    assert whole.choices[0].message.content == "one two three"


async def test_a_stop_token_ends_the_answer(reciter, parrot) -> None:
    token = parrot.tokenizer.convert_tokens_to_ids("w")

    whole = await reciter.chat.completions.create(
        **asking("count"), extra_body={"stop_token_ids": [token], "return_token_ids": True}
    )

    assert whole.choices[0].message.content == "one t"
    assert token == whole.choices[0].stop_reason == whole.choices[0].token_ids[-1]


async def test_a_second_end_token_of_the_model_ends_the_answer_and_is_named(reciter, parrot) -> None:
    whole = await reciter.chat.completions.create(**asking("ask"))

    assert whole.choices[0].message.content == "what"
    assert whole.choices[0].stop_reason == parrot.tokenizer.convert_tokens_to_ids("<|user|>")


async def test_no_piece_of_a_stream_has_half_a_character(reciter, recitals) -> None:
    streamed = await pieces(reciter, **asking("fox"))

    assert recitals["fox"] == "".join(streamed)
    assert not any("\ufffd" in piece for piece in streamed)


async def test_an_answer_cut_inside_a_character_ends_before_it(reciter, parrot, recitals) -> None:
    before = recitals["fox"].partition("🦊")[0]
    count = len(parrot.tokenizer.encode(before)) + 2
    request = asking("fox", max_tokens=count)

    whole = await reciter.chat.completions.create(**request)

    assert before == whole.choices[0].message.content
    assert before == "".join(await pieces(reciter, **request))


async def test_an_answer_continued_inside_a_character_starts_with_it(reciter, parrot, recitals) -> None:
    before, _, after = recitals["fox"].partition("🦊")
    prompt = parrot.tokenizer.encode(f"<s><|user|>fox<|assistant|>{before}🦊")

    whole = await reciter.completions.create(model="tiny", prompt=prompt[:-1], temperature=0, max_tokens=50)

    assert "🦊" + after == whole.choices[0].text


async def test_a_message_of_the_assistant_can_be_continued(reciter, recitals) -> None:
    request = asking("count")
    request["messages"].append({"role": "assistant", "content": "one two"})
    extra = {"continue_final_message": True, "add_generation_prompt": False}

    whole = await reciter.chat.completions.create(**request, extra_body=extra)

    assert recitals["count"] == "one two" + whole.choices[0].message.content


async def test_a_conversation_can_be_given_as_ids(reciter, parrot, recitals) -> None:
    ids = parrot.tokenizer.encode("<s><|user|>count<|assistant|>one two")
    extra = {"kv_transfer_params": {"prompt_token_ids": ids}, "return_token_ids": True}

    whole = await reciter.chat.completions.create(**asking("fox"), extra_body=extra)

    assert recitals["count"] == "one two" + whole.choices[0].message.content
    assert ids == whole.prompt_token_ids


@pytest.mark.parametrize("seed", range(6))
async def test_noise_streams_as_it_is_written_whole(client, seed) -> None:
    request = asking("hello") | {"temperature": 1.0, "seed": seed, "max_tokens": 80}

    whole = await client.chat.completions.create(**request)

    assert whole.choices[0].message.content == "".join(await pieces(client, **request))
