"""Text completions through the cascade, with the official client."""

import asyncio
import json
from collections.abc import Callable

import aiohttp
import openai
import pytest
from aiohttp import web
from fakes.pools import probed
from fakes.scripted import Script

QUICK = {"connect_s": 1.0, "first_token_s": 0.3, "idle_s": 0.3, "total_s": 0.6}
ASK = {"model": "auto", "prompt": "is it?"}
UNSURE = Script("may be", p=0.2)
BROKEN_STREAMS = [
    (Script("yes it is", p=0.1, trouble="cut-stream"), "bad-reply"),
    (Script("yes it is", p=0.1, trouble="error-in-stream"), "unreachable"),
    (Script("yes it is", p=0.1, trouble="stall"), "timeout"),
]


async def test_a_sure_draft_is_the_completion(gateway) -> None:
    cascade = await gateway(small=Script("yes it is", p=0.9), large=Script("no"))

    raw = await cascade.client.completions.with_raw_response.create(**ASK)
    reply = raw.parse()

    assert reply.choices[0].text == "yes it is"
    assert (reply.object, reply.model) == ("text_completion", "auto")
    assert reply.id == f"cmpl-{raw.headers['x-request-id']}"
    assert reply.created > 1
    assert raw.headers["x-smallfirst-tier"] == "small"
    assert raw.headers["x-smallfirst-confidence"] == "0.900000"
    assert cascade.large.seen == []
    assert "messages" not in cascade.small.seen[0], "a text has no chat template"
    assert cascade.small.seen[0]["prompt"] == "is it?"
    assert reply.usage.smallfirst["tiers"]["small"]["completion_tokens"] == 3


async def test_an_unsure_draft_is_escalated(gateway) -> None:
    cascade = await gateway(small=UNSURE, large=Script("no it is not"))

    raw = await cascade.client.completions.with_raw_response.create(**ASK)
    reply = raw.parse()

    assert reply.choices[0].text == "no it is not"
    assert raw.headers["x-smallfirst-reason"] == "unsure"
    assert raw.headers["x-smallfirst-confidence"] == "0.200000"
    assert "logprobs" not in cascade.large.seen[0]
    assert set(reply.usage.smallfirst["tiers"]) == {"small", "large"}


@pytest.mark.parametrize(("small", "answer"), [(Script("yes it is"), "yes it is"), (UNSURE, "no it is not")])
async def test_a_stream_is_one_completion(gateway, small: Script, answer: str) -> None:
    cascade = await gateway(small=small, large=Script("no it is not"))

    chunks = [chunk async for chunk in await cascade.client.completions.create(
        **ASK, stream=True, stream_options={"include_usage": True})]  # fmt: skip

    *pieces, usage = chunks
    assert "".join(chunk.choices[0].text for chunk in pieces) == answer
    assert {(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks} == {
        (chunks[0].id, chunks[0].created, "auto", "text_completion")
    }
    assert pieces[-1].choices[0].finish_reason == "stop"
    assert all(chunk.choices[0].logprobs is None for chunk in pieces)
    assert not any(hasattr(chunk.choices[0], name) for chunk in pieces for name in ("token_ids", "prompt_token_ids"))
    assert usage.choices == []
    assert usage.usage.smallfirst["cost"] > 0


async def test_a_stream_has_no_usage_unless_asked_for(gateway) -> None:
    cascade = await gateway(small=Script("yes it is"), large=Script("no"))

    chunks = [chunk async for chunk in await cascade.client.completions.create(**ASK, stream=True)]

    assert [chunk.usage for chunk in chunks] == [None] * 3


@pytest.mark.parametrize("stream", [False, True])
async def test_several_prompts_have_choices_each(gateway, stream: bool) -> None:
    cascade = await gateway(small=Script("yes it is"), large=Script("no"))

    texts = await texts_of(cascade, stream, model="auto", prompt=["is it?", "was it?"], n=2)

    assert texts == dict.fromkeys(range(4), "yes it is")
    assert cascade.large.seen == []


async def test_a_draft_with_fewer_choices_than_prompts_is_cut(gateway) -> None:
    cascade = await gateway(small=Script(handler=one_choice), large=Script("no"))

    raw = await cascade.client.completions.with_raw_response.create(model="auto", prompt=["is it?", "was it?"])

    assert raw.headers["x-smallfirst-reason"] == "cut"
    assert [choice.text for choice in raw.parse().choices] == ["no", "no"]


async def test_evidence_that_nobody_asked_for_is_not_shown(gateway) -> None:
    cascade = await gateway(small=Script("yes it is"), large=Script("no"))

    reply = await cascade.client.completions.create(**ASK)

    sent = cascade.small.seen[0]
    assert (sent["logprobs"], sent["return_token_ids"]) == (0, True)
    assert "return_tokens_as_token_ids" not in sent, "the sampled tokens alone cannot collide"
    assert reply.choices[0].logprobs is None
    assert not hasattr(reply.choices[0], "token_ids")
    assert not hasattr(reply.choices[0], "prompt_token_ids")
    assert reply.choices[0].vllm_extra == "kept"
    assert reply.system_fingerprint == "fp"


@pytest.mark.parametrize("stream", [False, True])
async def test_log_probabilities_are_as_many_as_were_asked_for(gateway, stream: bool) -> None:
    cascade = await gateway(small=Script("yes it is", p=0.9), large=Script("no"), scorer="margin")

    asked = {**ASK, "logprobs": 1, "extra_body": {"return_token_ids": True}, "stream": stream}
    answered = await cascade.client.completions.create(**asked)
    choices = [chunk.choices[0] async for chunk in answered] if stream else answered.choices

    assert cascade.small.seen[0]["logprobs"] == 5, "the scorer reads more than the client"
    assert "return_tokens_as_token_ids" not in cascade.small.seen[0], "the client reads texts"
    assert [token for choice in choices for token in choice.logprobs.tokens] == ["yes", " it", " is"]
    alternatives = [one for choice in choices for one in choice.logprobs.top_logprobs]
    assert [list(one) for one in alternatives] == [["yes"], [" it"], [" is"]]
    assert [token for choice in choices for token in choice.token_ids] == [100, 101, 102]
    assert choices[0].prompt_token_ids == [5, 6]


async def test_a_sampled_token_stands_beside_the_likeliest(gateway) -> None:
    cascade = await gateway(small=Script("yes", p=0.2), large=Script("no"))

    reply = await cascade.client.completions.create(model="small", prompt="is it?", logprobs=1)

    assert set(reply.choices[0].logprobs.top_logprobs[0]) == {"yes", "t1"}


@pytest.mark.parametrize(("scorer", "confidence"), [("margin", 0.7), ("min-logprob", 0.8)])
@pytest.mark.parametrize("stream", [False, True])
async def test_alternatives_of_equal_text_do_not_collide(gateway, scorer: str, confidence, stream: bool) -> None:
    cascade = await gateway(small=Script("yes it is", p=0.8), large=Script("no"), scorer=scorer)

    raw = await cascade.client.completions.with_raw_response.create(**ASK, stream=stream)

    assert cascade.small.seen[0].get("return_tokens_as_token_ids") is (True if scorer == "margin" else None)
    assert float(raw.headers["x-smallfirst-confidence"]) == pytest.approx(confidence, abs=2e-3)


async def test_what_the_client_sends_goes_upstream_as_it_came(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"))

    extras = {"min_tokens": 1, "best_of": 1, "messages": None, "vllm_xargs": {"x": 1}, "smallfirst": {"threshold": 0.4}}
    await cascade.client.completions.create(**ASK, seed=7, suffix="!", stop=["x"], echo=False, extra_body=extras)

    sent = cascade.small.seen[0]
    assert {name: sent[name] for name in ("seed", "suffix", "stop", "echo", "min_tokens", "model")} == {
        "seed": 7, "suffix": "!", "stop": ["x"], "echo": False, "min_tokens": 1, "model": "scripted",
    }  # fmt: skip
    assert not {"best_of", "messages", "vllm_xargs", "smallfirst"} & set(sent)


@pytest.mark.parametrize(
    ("limit", "words", "reason"), [(2, 2, "sure"), (None, 16, "sure"), (None, 3, "cut"), (8, 3, "cut")]
)
async def test_a_draft_is_cut_only_below_the_limit_that_the_client_or_the_api_set(
    gateway, limit: int | None, words: int, reason: str
) -> None:
    text = " ".join(f"w{place}" for place in range(words))
    cascade = await gateway(small=Script(text, finish_reason="length"), large=Script("no"))

    raw = await cascade.client.completions.with_raw_response.create(**ASK, max_tokens=limit)

    assert raw.headers["x-smallfirst-reason"] == reason


async def test_a_draft_that_is_not_the_json_asked_for_escalates(gateway) -> None:
    cascade = await gateway(small=Script("not json"), large=Script("{}"))

    raw = await cascade.client.completions.with_raw_response.create(
        **ASK, extra_body={"response_format": {"type": "json_object"}}
    )

    assert raw.headers["x-smallfirst-reason"] == "malformed"


OF_ONE_MODEL = [
    ({"echo": True}, "echo"),
    ({"prompt": [5, 6]}, "prompt"),
    ({"prompt": [[5, 6], [7]]}, "prompt"),
    ({"prompt_logprobs": 0}, "prompt_logprobs"),
    ({"prompt": None, "prompt_embeds": "AAAA"}, "prompt_embeds"),
    ({"logprobs": 2, "logprob_token_ids": [5]}, "logprob_token_ids"),
]


@pytest.mark.parametrize(("change", "param"), OF_ONE_MODEL)
async def test_what_belongs_to_one_model_is_refused_by_a_cascade(gateway, change: dict, param: str) -> None:
    cascade = await gateway(small=Script(), large=Script())

    status, reply = await post(cascade.url, {**ASK, **change})

    assert (status, reply["error"]["param"]) == (400, param)
    assert "(small, large)" in reply["error"]["message"]
    assert cascade.small.seen == cascade.large.seen == []


@pytest.mark.parametrize("change", [change for change, _ in OF_ONE_MODEL])
async def test_what_belongs_to_one_model_is_served_by_a_tier(gateway, change: dict) -> None:
    body = {**ASK, **change, "model": "large"}
    if "prompt" in change and change["prompt"] is None:
        del body["prompt"]
    cascade = await gateway(small=Script(), large=Script(handler=one_choice))
    await probed(cascade.url)

    status, _ = await post(cascade.url, body)

    assert status == 200
    assert cascade.large.seen == [{**body, "model": "scripted"}]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_echo_of_a_tier_comes_as_the_server_words_it(gateway, stream: bool) -> None:
    cascade = await gateway(small=Script("yes it is", usage=False), large=Script("no"))

    asked = {"model": "small", "prompt": "is it? ", "echo": True, "logprobs": 1, "stream": stream}
    answered = await cascade.client.completions.create(**asked)
    choices = [chunk.choices[0] async for chunk in answered] if stream else answered.choices

    assert "".join(choice.text for choice in choices) == "is it? yes it is"
    logprobs = [value for choice in choices for value in choice.logprobs.token_logprobs]
    assert logprobs[:3] == [None] * 3
    assert len(logprobs) == 6
    assert "return_token_ids" not in cascade.small.seen[0], "a server would leave the prompt out"


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": None}, 400, "model"),
        ({"model": "nobody"}, 404, "model"),
        ({"prompt": None}, 400, "prompt"),
        ({"prompt": []}, 400, "prompt"),
        ({"prompt": 7}, 400, "prompt"),
        ({"prompt": ["a", 7]}, 400, "prompt"),
        ({"prompt": [-1]}, 400, "prompt"),
        ({"prompt": [[]]}, 400, "prompt"),
        ({"suffix": 7}, 400, "suffix"),
        ({"echo": "yes"}, 400, "echo"),
        ({"logprobs": True}, 400, "logprobs"),
        ({"logprobs": 21}, 400, "logprobs"),
        ({"logprobs": -1}, 400, "logprobs"),
        ({"best_of": 2}, 400, "best_of"),
        ({"n": 0}, 400, "n"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": -1}, 400, "max_tokens"),
        ({"stream": "yes"}, 400, "stream"),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options"),
        ({"temperature": 3}, 400, "temperature"),
        ({"top_p": 0}, 400, "top_p"),
        ({"stop": 7}, 400, "stop"),
        ({"logit_bias": {"5": "x"}}, 400, "logit_bias"),
        ({"user": 7}, 400, "user"),
        ({"messages": [{"role": "user", "content": "x"}]}, 400, "messages"),
        ({"tools": []}, 400, "tools"),
        ({"tool_choice": "auto"}, 400, "tool_choice"),
        ({"max_completion_tokens": 7}, 400, "max_completion_tokens"),
        ({"top_logprobs": 2}, 400, "top_logprobs"),
        ({"prediction": {"type": "content", "content": "x"}}, 400, "prediction"),
        ({"smallfirst": {"treshold": 0.5}}, 400, "smallfirst.treshold"),
    ],
)
async def test_the_error_names_the_field(gateway, change: dict, status: int, param: str) -> None:
    cascade = await gateway(small=Script(), large=Script())

    got, reply = await post(cascade.url, {name: v for name, v in {**ASK, **change}.items() if v is not None})

    assert (got, reply["error"]["param"]) == (status, param)
    assert param.split(".")[-1] in reply["error"]["message"]
    assert cascade.small.seen == []


@pytest.mark.parametrize("stream", [False, True])
async def test_an_escalated_draft_is_handed_over(gateway, stream: bool) -> None:
    cascade = await gateway(small=Script("yes it was so", p=0.1), large=Script("yes it is so", speculation="handover"))
    await probed(cascade.url)

    assert await texts_of(cascade, stream, **ASK) == {0: "yes it is so"}

    assert cascade.large.seen[-1]["vllm_xargs"] == {"draft_token_ids": [100, 101, 102, 103]}


async def test_mode_exact_is_the_final_tiers_completion(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no", speculation="handover"), mode="exact")
    await probed(cascade.url)

    raw = await cascade.client.completions.with_raw_response.create(**ASK)

    assert raw.parse().choices[0].text == "no"
    assert cascade.large.seen[-1]["vllm_xargs"] == {"draft_token_ids": [100]}


@pytest.mark.parametrize(
    ("small", "reason"),
    [
        (Script(status=400), "capability"),
        (Script(status=404, error={"detail": "Not Found"}), "capability"),
        (Script(status=404, error={"error": {"message": "This is a chat model", "param": "model"}}), "capability"),
        (
            Script(status=404, error={"error": {"message": "The model `x` does not exist.", "param": "model"}}),
            "misconfigured",
        ),
        (Script(trouble="no-choices"), "bad-reply"),
        (Script(trouble="wrong-types"), "bad-reply"),
        (Script("yes", logprobs=False), "no-evidence"),
        (Script(""), "empty"),
    ],
)
async def test_a_draft_that_cannot_be_had_or_trusted_escalates(gateway, small: Script, reason: str) -> None:
    cascade = await gateway(small=small, large=Script("no"), limits=QUICK)

    raw = await cascade.client.completions.with_raw_response.create(**ASK)

    assert raw.parse().choices[0].text == "no"
    assert raw.headers["x-smallfirst-reason"] == reason


@pytest.mark.parametrize(("small", "reason"), BROKEN_STREAMS)
async def test_a_drafters_broken_stream_leaves_no_trace(gateway, small: Script, reason: str) -> None:
    cascade = await gateway(small=small, large=Script("no it is not"), limits=QUICK)

    raw = await cascade.client.completions.with_raw_response.create(**ASK, stream=True)
    text = "".join([chunk.choices[0].text async for chunk in raw.parse()])

    assert text == "no it is not"
    assert raw.headers["x-smallfirst-reason"] == reason


@pytest.mark.parametrize(("large", "_reason"), BROKEN_STREAMS)
async def test_a_failure_after_the_first_byte_is_an_error_event(gateway, large: Script, _reason: str) -> None:
    cascade = await gateway(small=UNSURE, large=large, limits=QUICK)

    seen: list[str] = []
    with pytest.raises(openai.APIError):
        await read(await cascade.client.completions.create(**ASK, stream=True), seen)

    assert seen
    assert "yes it is".startswith("".join(seen))


async def test_a_tier_whose_server_has_no_completions_says_so(gateway) -> None:
    cascade = await gateway(small=UNSURE, large=Script(status=404, error={"detail": "Not Found"}))

    with pytest.raises(openai.BadRequestError) as caught:
        await cascade.client.completions.create(**ASK)

    assert caught.value.param == "model"
    assert "/v1/completions" in caught.value.message


async def test_a_call_that_was_cut_off_is_estimated(gateway) -> None:
    cascade = await gateway(small=Script(trouble="hang"), large=Script("no"), limits=QUICK)

    reply = await cascade.client.completions.create(model="auto", prompt=["x" * 400, "y" * 400])

    assert reply.usage.smallfirst["tiers"]["small"] == {
        "prompt_tokens": 200, "completion_tokens": 0, "cost": pytest.approx(200e-6), "estimated": True,
    }  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("slow", ["small", "large"])
async def test_a_client_that_leaves_stops_the_work_upstream(gateway, stream: bool, slow: str) -> None:
    busy = Script("one two three " * 100, pause_s=0.5)
    cascade = await gateway(
        **({"small": busy, "large": Script()} if slow == "small" else {"small": UNSURE, "large": busy})
    )
    server = getattr(cascade, slow)

    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(session.post(f"{cascade.url}/v1/completions", json={**ASK, "stream": stream}))
        await until(lambda: server.running == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    await until(lambda: server.running == 0)
    assert server.left == 1


async def one_choice(_request: web.Request) -> web.Response:
    """A server that answers one prompt, whatever it is asked."""
    choice = {"index": 0, "text": "yes", "finish_reason": "stop", "logprobs": None}
    return web.json_response({"choices": [choice]})


async def post(url: str, body: dict) -> tuple[int, dict]:
    """Status and body of a raw request."""
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as session,
        session.post(
            f"{url}/v1/completions", data=json.dumps(body), headers={"content-type": "application/json"}
        ) as reply,
    ):
        return reply.status, await reply.json()


async def texts_of(cascade, stream: bool, **asked: object) -> dict[int, str]:
    """Each choice's text, however it is sent."""
    answered = await cascade.client.completions.create(**asked, stream=stream)
    parts = [chunk async for chunk in answered] if stream else [answered]
    texts: dict[int, str] = {}
    for choice in (choice for part in parts for choice in part.choices):
        texts[choice.index] = texts.get(choice.index, "") + choice.text
    return texts


async def read(stream, seen: list[str]) -> None:
    """Collect a stream's text."""
    async for chunk in stream:
        seen.append(chunk.choices[0].text)  # noqa: PERF401 - what came before a failure counts


async def until(true: Callable[[], bool]) -> None:
    """Wait for it, within reason."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)
