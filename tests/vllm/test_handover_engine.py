"""The handover inside a real vLLM: whatever draft comes along, the answer is the one that is given without it."""

import asyncio
import json
from collections.abc import Callable, Sequence
from math import exp, sqrt
from pathlib import Path
from random import Random

import pytest
from vllm.conftest import HANDOVER, REPORTING
from vllm.servers import VllmServer, question, vllm_server

from models.demo.curriculum import distinct
from models.demo.question import Split

QUESTIONS = [one.prompt for one in distinct(Split.HELD_OUT, 20)]
UNCERTAIN = "What is 3952 times 57?"
LONG = "Add 3952 and 5372 and show the steps."
VOCABULARY = 700
TOKENS_A_STEP = 16
CONTEXT = 1024
SAMPLES = 500
DEVIATIONS = 4.5  # standard errors of a share: one run in 150,000 is further off by chance

Draft = Sequence[object]
Edit = Callable[[list[int]], Draft]

EDITS: dict[str, Edit] = {
    "its own answer": lambda answer: answer,
    "one token replaced": lambda answer: [*answer[:4], answer[0], *answer[5:]],
    "one token missing": lambda answer: [*answer[:4], *answer[5:]],
    "three tokens more": lambda answer: [*answer[:4], 60, 61, 62, *answer[4:]],
    "garbage": lambda answer: [Random(token).randrange(VOCABULARY) for token in answer],
    "cut": lambda answer: answer[: len(answer) // 2],
    "beyond the vocabulary": lambda answer: [*answer[:3], 10**6, *answer[3:]],
    "beyond 64 bits of a token": lambda _: [2**40],
    "negative": lambda answer: [*answer[:3], -1, *answer[3:]],
    "words": lambda _: ["no", "tokens"],
    "decimals": lambda answer: [float(token) for token in answer],
    "empty": lambda _: [],
    "much too long": lambda answer: answer * 2000,
}
OPTIONS: dict[str, dict[str, object]] = {
    "stop strings": {"stop": ["e", "9"]},
    "stop tokens": {"stop_token_ids": [18]},
    "frequency penalty": {"frequency_penalty": 1.5},
    "presence penalty": {"presence_penalty": 1.5},
    "repetition penalty": {"repetition_penalty": 1.3},
    "least tokens": {"min_tokens": 101, "max_tokens": 120},
    "no end": {"ignore_eos": True, "max_tokens": 150},
    "one token": {"max_tokens": 1},
    "seven tokens": {"max_tokens": 7},
    "bad words": {"bad_words": ["is", "the"]},
    "some tokens": {"allowed_token_ids": list(range(30, 400)), "max_tokens": 60},
    "log-probabilities": {"logprobs": True, "top_logprobs": 2},
    "a choice": {"structured_outputs": {"choice": ["seven eight", "nine"]}},
    "a schema": {
        "max_tokens": 80,
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "a",
                "schema": {
                    "type": "object",
                    "properties": {"a": {"type": "integer"}, "b": {"type": "string", "maxLength": 12}},
                    "required": ["a", "b"],
                    "additionalProperties": False,
                },
            },
        },
    },
}


async def reply(server: VllmServer, prompt: str, *, draft: Draft | None = None, **options: object) -> dict:
    """The reply's JSON, with token ids."""
    handed = {} if draft is None else {"vllm_xargs": {"draft_token_ids": draft}}
    answered = await server.http.post(
        "/v1/chat/completions", json=question(prompt, server.model, {"return_token_ids": True, **handed, **options})
    )
    assert answered.status_code == 200, answered.text
    return answered.json()


async def written(server: VllmServer, prompt: str, **options: object) -> list[int]:
    """The answer's token ids."""
    return (await reply(server, prompt, **options))["choices"][0]["token_ids"]


@pytest.fixture(scope="module")
async def answers(large: VllmServer) -> dict[str, list[int]]:
    """What the model answers without speculation."""
    ids = await asyncio.gather(*(written(large, prompt) for prompt in QUESTIONS))
    return dict(zip(QUESTIONS, ids, strict=True))


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
async def test_no_draft_changes_an_answer(handover, answers, edit: Edit) -> None:
    said = await asyncio.gather(*(written(handover, prompt, draft=edit(answer)) for prompt, answer in answers.items()))

    assert said == list(answers.values())


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
async def test_no_draft_changes_an_answer_to_any_kind_of_request(handover, large, answers, options) -> None:
    for prompt in [LONG, *QUESTIONS[:3]]:
        alone = await reply(large, prompt, **options)

        answer = alone["choices"][0]["token_ids"]
        drafts = [answer, answers.get(prompt, answer), [*answer[:2], *answer[3:]]]
        given = await asyncio.gather(*(reply(handover, prompt, draft=draft, **options) for draft in drafts))

        assert [one["choices"][0]["token_ids"] for one in given] == [answer] * len(drafts)
        assert [one["choices"][0]["finish_reason"] for one in given] == [alone["choices"][0]["finish_reason"]] * 3
        assert all(logprobs_of(one) == pytest.approx(logprobs_of(alone), abs=1e-3) for one in given)


def logprobs_of(said: dict) -> list[float]:
    """Each token's log-probability, where they were asked for."""
    logprobs = said["choices"][0]["logprobs"]
    return [token["logprob"] for token in logprobs["content"]] if logprobs else []


async def test_a_good_draft_takes_few_steps(handover) -> None:
    answer = await written(handover, LONG)

    verified = (await reply(handover, LONG, draft=answer))["metrics"]["speculative_decoding"]

    after_first = len(answer) - 1
    assert verified["num_draft_tokens"] == verified["num_accepted_draft_tokens"]
    assert verified["num_spec_steps"] == -(-after_first // (TOKENS_A_STEP + 1))


async def test_a_streamed_answer_is_the_same_in_larger_pieces(handover) -> None:
    answer = await written(handover, LONG)
    body = question(LONG, handover.model, {"extra_body": {"vllm_xargs": {"draft_token_ids": answer}}})

    stream = await handover.client.chat.completions.create(**body, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == (await handover.ask(LONG)).choices[0].message.content
    assert len(chunks) < len(answer) / 4
    assert chunks[-1].metrics["speculative_decoding"]["num_accepted_draft_tokens"] > 0


@pytest.mark.parametrize("left", [1, 2, 3, TOKENS_A_STEP, TOKENS_A_STEP + 1, TOKENS_A_STEP + 2, 40])
async def test_an_answer_may_run_into_the_end_of_the_context(handover, large, left: int) -> None:
    prompt = [40 + place % 300 for place in range(CONTEXT - left)]
    asked = {"prompt": prompt, "max_tokens": left, "temperature": 0, "ignore_eos": True, "return_token_ids": True}
    alone = (await large.http.post("/v1/completions", json={**asked, "model": large.model})).json()
    answer = alone["choices"][0]["token_ids"]

    neighbour = asyncio.create_task(reply(handover, QUESTIONS[0], ignore_eos=True, max_tokens=200))
    drafted = {**asked, "model": handover.model, "vllm_xargs": {"draft_token_ids": answer * 3}}
    near_end = (await handover.http.post("/v1/completions", json=drafted)).json()

    assert near_end["choices"][0]["token_ids"] == answer
    assert len(answer) == left
    verified = (await neighbour)["metrics"]["speculative_decoding"]
    assert verified["num_draft_tokens"] <= TOKENS_A_STEP, (
        "only vLLM itself pads one step, of a prompt that it has cached"
    )


async def test_a_request_that_has_to_make_room_goes_on_where_it_was(large, tmp_path: Path) -> None:
    little_room = {"kv-cache-memory-bytes": 9_000_000, "speculative-config": json.dumps(HANDOVER), **REPORTING}
    longest = {"ignore_eos": True, "max_tokens": 400}
    prompts = QUESTIONS[:20]
    alone = await asyncio.gather(*(written(large, prompt, **longest) for prompt in prompts))

    async with vllm_server("large", tmp_path, args=little_room) as server:
        said = await asyncio.gather(
            *(
                written(server, prompt, draft=[*answer[:200], *answer[203:]], **longest)
                for prompt, answer in zip(prompts, alone, strict=True)
            )
        )
        preempted = await server.metric("vllm:num_preemptions_total")

    assert said == alone
    assert preempted > 0


async def test_every_choice_follows_the_draft(handover) -> None:
    answer = await written(handover, LONG)
    before = await handover.metric("vllm:spec_decode_num_accepted_tokens_total")

    said = await reply(handover, LONG, draft=answer, n=3, temperature=0.01, seed=1)

    assert [choice["token_ids"] for choice in said["choices"]] == [answer] * 3
    accepted = await handover.metric("vllm:spec_decode_num_accepted_tokens_total") - before
    assert accepted >= 0.9 * 3 * len(answer) * TOKENS_A_STEP / (TOKENS_A_STEP + 1) - 3


async def test_sampling_is_not_biased_by_a_draft(handover, large) -> None:
    await assert_samples_like(large, handover)


async def test_sampling_is_not_biased_by_a_drafter_inside(drafter, large) -> None:
    await assert_samples_like(large, drafter)


async def assert_samples_like(large: VllmServer, speculating: VllmServer) -> None:
    """The second token, the first one that speculation verifies, is as likely as by the model's log-probabilities."""
    greedy = await reply(large, UNCERTAIN, logprobs=True, top_logprobs=2)
    answer, logprobs = greedy["choices"][0]["token_ids"], greedy["choices"][0]["logprobs"]["content"]
    probability = exp(logprobs[1]["logprob"])
    assert exp(logprobs[0]["logprob"]) > 0.99
    assert 0.5 < probability < 0.8, "only a token that is not sure can show a bias"

    sampled = await reply(speculating, UNCERTAIN, draft=answer, temperature=1, n=SAMPLES, max_tokens=3)

    tokens = [choice["token_ids"] for choice in sampled["choices"]]
    share = sum(ids[1] == answer[1] for ids in tokens) / SAMPLES
    assert share == pytest.approx(probability, abs=DEVIATIONS * sqrt(probability * (1 - probability) / SAMPLES))


async def test_more_tokens_than_vllm_verifies_are_refused_at_the_start(tmp_path: Path) -> None:
    config = json.dumps({**HANDOVER, "num_speculative_tokens": 200})

    with pytest.raises(AssertionError, match="vLLM ended instead of starting"):
        async with vllm_server("large", tmp_path, args={"speculative-config": config}):
            pass

    assert "vLLM verifies at most 128 tokens a step; lower num_speculative_tokens=200" in only_log(tmp_path)


def only_log(folder: Path) -> str:
    """The log of the one server that was started there."""
    (log,) = folder.glob("*.log")
    return log.read_text()
