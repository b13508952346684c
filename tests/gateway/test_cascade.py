"""Who answers, and what the answer says of it."""

import math

import openai
import pytest
from fakes.scripted import Script

MESSAGES = [{"role": "user", "content": "is it?"}]


async def test_a_sure_draft_is_the_answer(gateway) -> None:
    cascade = await gateway(small=Script("yes", p=0.9), large=Script("no"))

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)
    reply = raw.parse()

    assert reply.choices[0].message.content == "yes"
    assert cascade.large.seen == []
    assert raw.headers["x-smallfirst-cascade"] == "auto"
    assert raw.headers["x-smallfirst-tier"] == "small"
    assert raw.headers["x-smallfirst-mode"] == "threshold"
    assert raw.headers["x-smallfirst-escalated"] == "false"
    assert raw.headers["x-smallfirst-reason"] == "sure"
    assert raw.headers["x-smallfirst-threshold"] == "0.500000"
    assert raw.headers["x-smallfirst-confidence"] == "0.900000"
    assert raw.headers["x-smallfirst-confidence-of"] == "uncalibrated"
    assert float(raw.headers["x-smallfirst-overhead-ms"]) >= 0
    assert reply.id == f"chatcmpl-{raw.headers['x-request-id']}"
    assert reply.model == "auto"


async def test_an_unsure_draft_is_escalated(gateway) -> None:
    cascade = await gateway(small=Script("maybe", p=0.2), large=Script("no it is not"))

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)
    reply = raw.parse()

    assert reply.choices[0].message.content == "no it is not"
    assert raw.headers["x-smallfirst-tier"] == "large"
    assert raw.headers["x-smallfirst-escalated"] == "true"
    assert raw.headers["x-smallfirst-reason"] == "unsure"
    assert raw.headers["x-smallfirst-confidence"] == "0.200000"
    assert "logprobs" not in cascade.large.seen[0]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_bill_counts_every_call(gateway, stream: bool) -> None:
    cascade = await gateway(small=Script("may be", p=0.2), large=Script("no it is not"))

    usage = await usage_of(cascade, stream)

    assert usage.completion_tokens == 4
    assert usage.prompt_tokens_details.cached_tokens == 3
    assert usage.smallfirst["tiers"] == {
        "small": {"prompt_tokens": 10, "completion_tokens": 2, "cost": pytest.approx(14e-6)},
        "large": {"prompt_tokens": 10, "completion_tokens": 4, "cost": pytest.approx(180e-6)},
    }
    assert usage.smallfirst["cost"] == pytest.approx(194e-6)
    assert usage.smallfirst["cost_final_alone"] == pytest.approx(180e-6)
    assert usage.smallfirst["cost_final_alone_estimated"] is False


@pytest.mark.parametrize("stream", [False, True])
async def test_what_an_accepted_draft_saved_is_estimated_from_escalations(gateway, stream: bool) -> None:
    cascade = await gateway(small=Script("may be", p=0.2), large=Script("no it is not"))
    await usage_of(cascade, stream)
    cascade.small.script = Script("it is", p=0.9)

    usage = await usage_of(cascade, stream)

    assert usage.smallfirst["cost"] == pytest.approx(14e-6)
    assert usage.smallfirst["cost_final_alone"] == pytest.approx(180e-6), "2 draft tokens stand for 4 of the final tier"
    assert usage.smallfirst["cost_final_alone_estimated"] is True


@pytest.mark.parametrize(("small", "answer"), [(Script("yes it is", p=0.9), "yes it is"), (Script(p=0.1), "no")])
async def test_a_stream_opens_when_the_decision_is_made_and_is_one_answer(gateway, small: Script, answer: str) -> None:
    cascade = await gateway(small=small, large=Script("no"))

    chunks = [chunk async for chunk in await cascade.client.chat.completions.create(
        model="auto", messages=MESSAGES, stream=True)]  # fmt: skip

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == answer
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks), "usage is shown to those who ask"


async def test_the_client_sees_no_evidence_that_it_did_not_ask_for(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"))

    reply = await cascade.client.chat.completions.create(model="auto", messages=MESSAGES)
    asked = await cascade.client.chat.completions.create(
        model="auto", messages=MESSAGES, logprobs=True, top_logprobs=2, extra_body={"return_token_ids": True}
    )

    assert cascade.small.seen[0]["logprobs"] is True
    assert reply.choices[0].logprobs is None
    assert not hasattr(reply.choices[0], "token_ids")
    assert not hasattr(reply, "prompt_token_ids")
    assert reply.choices[0].message.vllm_extra == "kept"
    assert reply.system_fingerprint == "fp"
    assert len(asked.choices[0].logprobs.content[0].top_logprobs) == 2
    assert asked.choices[0].token_ids == [100]
    assert asked.prompt_token_ids == [5, 6]


async def test_what_the_client_sends_goes_upstream_as_it_came(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"))

    await cascade.client.chat.completions.create(
        model="auto", messages=MESSAGES, seed=7, stop=["x"], temperature=0.5,
        extra_body={"min_tokens": 3, "smallfirst": {"threshold": 0.4}},
    )  # fmt: skip

    sent = cascade.small.seen[0]
    assert sent["messages"] == MESSAGES
    assert (sent["seed"], sent["stop"], sent["temperature"], sent["min_tokens"]) == (7, ["x"], 0.5, 3)
    assert sent["model"] == "scripted"
    assert "smallfirst" not in sent


async def test_a_request_may_bring_its_own_threshold(gateway) -> None:
    cascade = await gateway(small=Script("maybe", p=0.6), large=Script("no"))

    raw = await cascade.client.chat.completions.with_raw_response.create(
        model="auto", messages=MESSAGES, extra_body={"smallfirst": {"threshold": 0.7}}
    )

    assert raw.headers["x-smallfirst-tier"] == "large"
    assert raw.headers["x-smallfirst-threshold"] == "0.700000"


async def test_a_tier_is_asked_by_its_name(gateway) -> None:
    cascade = await gateway(small=Script("maybe", p=0.1), large=Script("no"))

    raw = await cascade.client.chat.completions.with_raw_response.create(model="small", messages=MESSAGES)

    assert raw.parse().choices[0].message.content == "maybe"
    assert raw.headers["x-smallfirst-reason"] == "only-tier"
    assert "x-smallfirst-threshold" not in raw.headers


async def test_of_several_choices_the_least_sure_one_counts(gateway) -> None:
    cascade = await gateway(small=Script("yes", p=0.9), large=Script("no"))

    reply = await cascade.client.chat.completions.create(model="auto", messages=MESSAGES, n=3)

    assert [choice.message.content for choice in reply.choices] == ["yes"] * 3


@pytest.mark.parametrize(
    ("small", "request_fields", "reason"),
    [
        (Script(""), {}, "empty"),
        (Script("I'm sorry, but I cannot assist with that."), {}, "refused"),
        (Script(" ".join(["round and round"] * 20)), {}, "looping"),
        (Script("and then", finish_reason="length"), {}, "cut"),
        (Script("not json"), {"response_format": {"type": "json_object"}}, "malformed"),
        (Script("yes", logprobs=False), {}, "no-evidence"),
        (Script("yes", degenerate=True), {}, "degenerate-evidence"),
    ],
)
async def test_some_drafts_escalate_whatever_their_score(gateway, small, request_fields, reason: str) -> None:
    cascade = await gateway(small=small, large=Script("no"))

    raw = await cascade.client.chat.completions.with_raw_response.create(
        model="auto", messages=MESSAGES, **request_fields
    )

    assert raw.parse().choices[0].message.content == "no"
    assert raw.headers["x-smallfirst-reason"] == reason


async def test_a_draft_cut_by_the_clients_own_limit_is_scored(gateway) -> None:
    cascade = await gateway(small=Script("and then", finish_reason="length"), large=Script("no"))

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES, max_tokens=2)

    assert raw.headers["x-smallfirst-reason"] == "sure"


async def test_missing_evidence_can_be_taken_as_good(gateway) -> None:
    cascade = await gateway(small=Script("yes", logprobs=False), large=Script("no"), on_missing_evidence="accept")

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)

    assert raw.headers["x-smallfirst-tier"] == "small"
    assert raw.headers["x-smallfirst-reason"] == "no-evidence"


@pytest.mark.parametrize(
    ("call", "kept"),
    [
        ({"name": "add", "arguments": '{"a": 1}'}, True),
        ({"name": "add", "arguments": '{"a": "one"}'}, False),
        ({"name": "add", "arguments": "{"}, False),
        ({"name": "subtract", "arguments": '{"a": 1}'}, False),
    ],
)
async def test_a_tool_call_that_cannot_be_made_escalates(gateway, call: dict[str, str], kept: bool) -> None:
    calls = [{"id": "1", "type": "function", "function": call}]
    cascade = await gateway(small=Script("call", tool_calls=calls), large=Script("no"))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}

    raw = await cascade.client.chat.completions.with_raw_response.create(
        model="auto", messages=MESSAGES, tools=[{"type": "function", "function": {"name": "add", "parameters": schema}}]
    )

    assert raw.headers["x-smallfirst-escalated"] == ("false" if kept else "true")


@pytest.mark.parametrize(
    ("scorer", "confidence"),
    [("min-logprob", 0.8), ("low-quantile-logprob", 0.8), ("margin", 0.7), ("entropy", math.exp(-0.6390))],
)
async def test_every_scorer_can_be_chosen(gateway, scorer: str, confidence: float) -> None:
    cascade = await gateway(small=Script("yes it is", p=0.8), large=Script("no"), scorer=scorer)

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)

    assert float(raw.headers["x-smallfirst-confidence"]) == pytest.approx(confidence, abs=2e-3)


async def test_cascades_are_listed_before_tiers(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script())

    models = (await cascade.client.models.list()).data

    assert [model.id for model in models] == ["auto", "small", "large"]
    assert (await cascade.client.models.retrieve("auto")).smallfirst == {"kind": "cascade", "tiers": ["small", "large"]}
    with pytest.raises(openai.NotFoundError):
        await cascade.client.models.retrieve("nobody")


async def usage_of(cascade, stream: bool):
    """The usage of one answer, however it is sent."""
    if not stream:
        return (await cascade.client.chat.completions.create(model="auto", messages=MESSAGES)).usage
    chunks = [chunk async for chunk in await cascade.client.chat.completions.create(
        model="auto", messages=MESSAGES, stream=True, stream_options={"include_usage": True})]  # fmt: skip
    assert chunks[-1].choices == []
    return chunks[-1].usage


PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}]


async def test_a_tier_without_the_modality_is_skipped(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("a cat"), modalities={"small": []})

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=PICTURE)

    assert raw.parse().choices[0].message.content == "a cat"
    assert raw.headers["x-smallfirst-reason"] == "capability"
    assert cascade.small.seen == []
    assert cascade.large.seen[0]["messages"] == PICTURE


@pytest.mark.parametrize("model", ["auto", "large"])
async def test_a_final_tier_without_the_modality_refuses_by_name(gateway, model: str) -> None:
    cascade = await gateway(small=Script(p=0.1), large=Script(), modalities={"large": ["audio"]})

    with pytest.raises(openai.BadRequestError) as refused:
        await cascade.client.chat.completions.create(model=model, messages=PICTURE)

    assert "image" in str(refused.value)
    assert refused.value.param == "messages"
    assert cascade.large.seen == []


CALL = {"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "required": ["a", "b"]}}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("ps", "tier"),
    [((0.1, 0.99), "small"), ((0.99, 0.99, 0.1, 0.99), "large")],
    ids=["its name was in doubt", "an argument was in doubt"],
)
async def test_a_tool_call_is_judged_by_its_arguments(gateway, ps: tuple[float, ...], tier: str, stream: bool) -> None:
    cascade = await gateway(small=Script(tool_calls=[CALL], ps=ps), large=Script("no"), scorer="min-logprob")

    raw = await cascade.client.chat.completions.with_raw_response.create(
        model="auto", messages=PICTURE, tools=[ADD], stream=stream
    )

    assert raw.headers["x-smallfirst-tier"] == tier
