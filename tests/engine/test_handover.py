"""A request may bring another model's draft: it changes how fast the answer comes, and nothing else."""

import asyncio
import json

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MambaConfig, MambaForCausalLM

PROMPT = [11, 12, 13]
LENGTH = 60
VOCABULARY = 260
SPEC_COUNTERS = [f"vllm:spec_decode_num_{each}_total" for each in ("drafts", "draft_tokens", "accepted_tokens")]

edits = st.tuples(
    st.sampled_from(["replace", "delete", "insert", "garble", "cut"]),
    st.integers(0, LENGTH - 1),
    st.integers(0, VOCABULARY - 1),
)
several_edited = st.lists(st.lists(edits, max_size=6), min_size=1, max_size=6)


def edited(draft: list[int], edits: list[tuple[str, int, int]]) -> list[int]:
    draft = list(draft)
    for kind, place, token in edits:
        match kind:
            case "replace":
                draft[place : place + 1] = [token]
            case "delete":
                del draft[place : place + 3]
            case "insert":
                draft[place:place] = [token, token]
            case "garble":
                draft[place:] = [each ^ token % 8 for each in draft[place:]]
            case _:
                del draft[place:]
    return draft


def drafting(draft: object) -> dict[str, object]:
    return {"vllm_xargs": {"draft_token_ids": draft}}


async def complete(http: httpx.AsyncClient, **options: object) -> dict:
    body = {"prompt": PROMPT, "max_tokens": LENGTH, "temperature": 0, "ignore_eos": True, "return_token_ids": True}
    reply = await http.post("/v1/completions", json=body | options)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def written(http: httpx.AsyncClient, **options: object) -> list[int]:
    return (await complete(http, **options))["choices"][0]["token_ids"]


async def recite(http: httpx.AsyncClient, **options: object) -> dict:
    body = {"messages": [{"role": "user", "content": "count"}], "temperature": 0, "return_token_ids": True}
    reply = await http.post("/v1/chat/completions", json=body | {"logprobs": True, "top_logprobs": 2} | options)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def events(http: httpx.AsyncClient, **body: object) -> list[dict]:
    reply = await http.post("/v1/completions", json={"prompt": PROMPT, "temperature": 0, "stream": True, **body})
    *chunks, done = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
    assert done == "[DONE]"
    return [*map(json.loads, chunks)]


def speculation(reply: dict) -> dict:
    return reply["metrics"]["speculative_decoding"]


def told(reply: dict) -> tuple[object, ...]:
    """What a client is told, but for the numbers, which differ in their last digit."""
    (choice,) = reply["choices"]
    entries = choice["logprobs"]["content"]
    likely = [[each["token"] for each in entry["top_logprobs"]] for entry in entries]
    rest = {key: value for key, value in choice.items() if key != "logprobs"}
    return rest, reply["usage"], [entry["token"] for entry in entries], likely


def logprobs(reply: dict) -> list[float]:
    return [entry["logprob"] for entry in reply["choices"][0]["logprobs"]["content"]]


@pytest.fixture
async def rote(parrot_engine):
    """Talks to the taught model, byte by byte."""
    async with parrot_engine.http() as http:
        yield http


async def test_a_perfect_draft_is_verified_in_few_steps(http) -> None:
    expected = await written(http)

    reply = await complete(http, **drafting(expected))

    assert expected == reply["choices"][0]["token_ids"]
    assert speculation(reply) == {
        "mean_acceptance_length": 1 + 55 / 4,
        "draft_acceptance_rate": 1.0,
        "acceptance_histogram": [*[0] * 7, 1, *[0] * 8, 3],
        "num_spec_steps": 4,
        "num_accepted_draft_tokens": 55,
        "num_draft_tokens": 55,
        "num_spec_tokens": 16,
    }


@settings(max_examples=15, deadline=None)
@given(several=several_edited)
async def test_no_draft_changes_a_greedy_answer(noise_engine, several) -> None:
    async with noise_engine.http() as http:
        expected = await written(http)
        answers = [written(http, **drafting(edited(expected, edits))) for edits in several]

        assert [expected] * len(several) == await asyncio.gather(*answers)


@settings(max_examples=15, deadline=None)
@given(several=several_edited, seed=st.integers(0, 9))
async def test_no_draft_changes_what_a_seed_draws(noise_engine, several, seed) -> None:
    sampling = {"temperature": 1.0, "top_p": 0.9, "seed": seed}
    async with noise_engine.http() as http:
        expected = await written(http, **sampling)
        answers = [written(http, **sampling, **drafting(edited(expected, edits))) for edits in several]

        assert [expected] * len(several) == await asyncio.gather(*answers)


async def test_one_wrong_token_costs_one_step_more(http) -> None:
    expected = await written(http)

    reply = await complete(http, **drafting(edited(expected, [("replace", 20, 5)])))

    assert expected == reply["choices"][0]["token_ids"]
    assert speculation(reply)["num_spec_steps"] == 5


async def test_a_draft_that_was_lost_is_found_again(http) -> None:
    expected = await written(http)
    stranger = next(token for token in range(VOCABULARY) if token not in expected)
    draft = [*expected[:15], *[stranger] * 25, *expected[40:]]

    reply, neighbour = await asyncio.gather(complete(http, **drafting(draft)), written(http, prompt=[8, 9]))

    assert expected == reply["choices"][0]["token_ids"]
    assert neighbour == await written(http, prompt=[8, 9])
    assert speculation(reply)["num_accepted_draft_tokens"] > 14 + 12
    assert speculation(reply)["num_spec_steps"] < 15


async def test_neighbours_with_and_without_drafts_get_what_each_gets_alone(http) -> None:
    prompts = [[20 + at] * (1 + 7 * at % 30) for at in range(14)]
    counts = [5 + 11 * at % 60 for at in range(14)]
    asked = [{"prompt": prompt, "max_tokens": count} for prompt, count in zip(prompts, counts, strict=True)]
    alone = [await written(http, **each) for each in asked]
    drafts = [None, [], *(edited(ids, [("replace", 3 * at, 5)] * (at % 3)) for at, ids in enumerate(alone[2:]))]
    drafts[5] = drafts[9] = None

    together = await asyncio.gather(
        *(
            written(http, **each, **(drafting(draft) if draft is not None else {}))
            for each, draft in zip(asked, drafts, strict=True)
        )
    )

    assert alone == together


async def test_choices_and_prompts_follow_the_draft_each_for_itself(http) -> None:
    several = {"n": 3, "temperature": 1.0, "seed": 4}
    prompts = {"prompt": [PROMPT, [14, 15]]}
    for asked in (several, prompts):
        expected = await complete(http, **asked)

        reply = await complete(http, **asked, **drafting(expected["choices"][1]["token_ids"]))

        assert expected["choices"] == reply["choices"]
        assert reply["metrics"] is None


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stop": "ee f"},
        {"stop": ["zzz", "two"], "include_stop_str_in_output": True},
        {"stop": "never"},
        {"max_tokens": 5},
        {"max_tokens": 1},
    ],
)
async def test_all_that_ends_an_answer_ends_it_inside_a_draft(rote, parrot, options) -> None:
    full = await recite(rote)
    draft = full["choices"][0]["token_ids"] + parrot.tokenizer.encode(" and on and on")
    expected = await recite(rote, **options)

    reply = await recite(rote, **options, **drafting(draft))

    assert told(expected) == told(reply)
    assert pytest.approx(logprobs(expected), abs=1e-4) == logprobs(reply)


async def test_a_stop_token_ends_an_answer_inside_a_draft(rote) -> None:
    draft = (await recite(rote))["choices"][0]["token_ids"]
    options = {"stop_token_ids": [draft[10]]}

    reply = await recite(rote, **options, **drafting(draft))

    assert told(await recite(rote, **options)) == told(reply)
    assert draft.index(draft[10]) == speculation(reply)["num_accepted_draft_tokens"]


async def test_an_answer_ends_where_the_context_does_whatever_the_draft(http) -> None:
    options = {"prompt": [9] * 505, "max_tokens": 100}
    expected = await complete(http, **options)

    reply = await complete(http, **options, **drafting(expected["choices"][0]["token_ids"] * 20))

    assert expected["choices"] == reply["choices"]
    assert expected["usage"] == reply["usage"]
    assert speculation(reply)["num_draft_tokens"] == 5


async def test_a_stream_has_a_chunk_for_each_step_and_measures_at_its_end(http) -> None:
    options = {"max_tokens": 30, "ignore_eos": True, "logprobs": 0, "return_token_ids": True}
    usage = {"stream_options": {"include_usage": True}}
    expected = await events(http, **options, **usage)
    draft = [token for chunk in expected[:-1] for token in chunk["choices"][0]["token_ids"]]
    text = "".join(chunk["choices"][0]["text"] for chunk in expected[:-1])

    *chunks, closing = await events(http, **options, **usage, **drafting(draft))
    unasked = await events(http, **options, **drafting(draft))

    choices = [chunk["choices"][0] for chunk in chunks]
    assert text == "".join(choice["text"] for choice in choices)
    assert draft == [token for choice in choices for token in choice["token_ids"]]
    assert [len(choice["logprobs"]["tokens"]) for choice in choices] == [1, 17, 12]
    assert [choice["finish_reason"] for choice in choices] == [None, None, "length"]
    assert expected[-1]["usage"] == closing["usage"]
    assert speculation(closing)["num_accepted_draft_tokens"] == 27
    assert not any("metrics" in chunk for chunk in [*expected, *chunks, *unasked])


async def test_a_chat_stream_has_a_chunk_for_each_step(rote) -> None:
    whole = await recite(rote)
    draft = whole["choices"][0]["token_ids"]
    body = {"messages": [{"role": "user", "content": "count"}], "temperature": 0, "logprobs": True, "stream": True}

    reply = await rote.post("/v1/chat/completions", json={**body, "return_token_ids": True, **drafting(draft)})

    chunks = [json.loads(line.removeprefix("data: ")) for line in reply.text.split("\n\n")[1:-2]]
    choices = [chunk["choices"][0] for chunk in chunks]
    text = "".join(choice["delta"]["content"] for choice in choices)
    assert whole["choices"][0]["message"]["content"] == text
    assert draft == [token for choice in choices for token in choice["token_ids"]]
    lengths = [len(choice["logprobs"]["content"]) for choice in choices]
    assert lengths[:2] == [1, 17]
    assert choices[-1]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "draft", ["abc", 7, 1.5, [], ["a", "b"], [-1], [VOCABULARY + 999], [10**30], [1.5], [1e300], [5.0, 6, "7"]]
)
async def test_a_draft_that_is_none_is_harmless(http, draft) -> None:
    assert await written(http, max_tokens=8) == await written(http, max_tokens=8, **drafting(draft))


@pytest.mark.parametrize("extra", [5, "x", [1], {"a": {}}, {"a": None}, {"a": [[1]]}, {"draft_token_ids": {"0": 1}}])
async def test_extra_arguments_of_another_shape_are_refused(http, extra) -> None:
    for path, body in (("chat/completions", {"messages": []}), ("completions", {"prompt": "x"})):
        reply = await http.post(f"/v1/{path}", json={**body, "vllm_xargs": extra})

        assert reply.status_code == 400
        assert reply.json()["error"]["param"] == "vllm_xargs"


async def test_without_a_draft_nothing_is_measured(http) -> None:
    for options in ({}, drafting([]), {"max_tokens": 1} | drafting([5])):
        assert (await complete(http, **options))["metrics"] is None


async def test_speculation_is_counted(http) -> None:
    draft = await written(http, max_tokens=20)
    before = counters((await http.get("/metrics")).text)

    await complete(http, max_tokens=20, **drafting([*draft[:5], draft[5] ^ 1, *draft[6:]]))

    after = counters((await http.get("/metrics")).text)
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 16 + 13, 4 + 13]


async def test_drafts_can_be_switched_off(start_engine, noise) -> None:
    with start_engine(noise.folder, speculative_tokens=0) as engine:
        async with engine.http() as http:
            await assert_drafts_are_ignored(http)


async def test_a_model_whose_memory_cannot_go_back_ignores_drafts(start_engine, noise, tmp_path) -> None:
    config = MambaConfig(vocab_size=len(noise.tokenizer), hidden_size=64, num_hidden_layers=2, eos_token_id=1)
    MambaForCausalLM(config).save_pretrained(tmp_path)
    noise.tokenizer.save_pretrained(tmp_path)
    with start_engine(tmp_path, max_model_len=512) as engine:
        async with engine.http() as http:
            await assert_drafts_are_ignored(http)
        assert "drafts are ignored" in engine.log.read_text()


async def test_the_version_is_told(http) -> None:
    assert (await http.get("/version")).json().keys() == {"version"}


async def assert_drafts_are_ignored(http: httpx.AsyncClient) -> None:
    expected = await written(http)

    reply = await complete(http, **drafting(expected))

    assert expected == reply["choices"][0]["token_ids"]
    assert reply["metrics"] is None
    assert "spec_decode" not in (await http.get("/metrics")).text


def counters(exposition: str) -> list[float]:
    lines = exposition.splitlines()
    return [float(line.rpartition(" ")[2]) for name in SPEC_COUNTERS for line in lines if line.startswith(f"{name}{{")]
