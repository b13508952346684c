"""Streams that open before their draft is whole: what the client sees, and when."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import aiohttp
import openai
import pytest
from fakes.live import BETTER, DOUBTS, DRAFT, LARGE, SURE, live_cascade
from fakes.pools import metrics_of
from fakes.waiting import until

ASK: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "count"}], "stream": True}


async def chunks_of(url: str, **fields: Any) -> list[dict[str, Any]]:
    """Every event of a stream."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/chat/completions", json={**ASK, **fields}) as reply,
    ):
        assert reply.status == 200, await reply.text()
        lines = (await reply.read()).decode().split("\n\n")
    events = [line.removeprefix("data: ") for line in lines if line]
    return [json.loads(event) for event in events if event != "[DONE]"] + (
        [{"done": True}] if "[DONE]" in events else []
    )


def text_of(chunks: list[dict[str, Any]]) -> str:
    """What the client reads."""
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.get("choices", ()))


async def metric(url: str, name: str) -> float:
    """A series of the gateway's metrics."""
    return float(
        next(line for line in (await metrics_of(url)).splitlines() if line.startswith(name)).rpartition(" ")[2]
    )


async def test_a_stream_opens_at_its_gate_while_the_draft_is_being_written(gateway) -> None:
    cascade = await live_cascade(gateway, replace(SURE, trouble="stall-late"))

    stream = await cascade.client.chat.completions.create(**ASK)
    async with stream, asyncio.timeout(5):
        seen = []
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content or "")
            if "".join(seen) == "one two three":
                break

    assert cascade.small.script.trouble == "stall-late"  # the rest of it never came


async def test_an_accepted_stream_is_the_drafters_alone(gateway) -> None:
    cascade = await live_cascade(gateway, SURE)

    chunks = await chunks_of(cascade.url, stream_options={"include_usage": True})

    assert text_of(chunks) == DRAFT
    assert chunks[-1] == {"done": True}
    assert {chunk["id"] for chunk in chunks[:-1]} == {chunks[0]["id"]}
    usage = chunks[-2]["usage"]
    assert (usage["completion_tokens"], usage["total_tokens"]) == (8, 18)
    assert usage["smallfirst"]["decision"] == {
        "tier": "small", "escalated": False, "reason": "sure", "confidence": 0.99,
        "confidence_of": "right",
    }  # fmt: skip
    assert cascade.large.seen == []
    assert await metric(cascade.url, "smallfirst_opened_streams_total") == 1


async def test_in_doubt_the_final_tier_goes_on_after_what_was_shown(gateway) -> None:
    cascade = await live_cascade(gateway)

    chunks = await chunks_of(cascade.url, max_tokens=20, stream_options={"include_usage": True})

    assert text_of(chunks) == BETTER
    assert (
        sum(choice["delta"].get("role") == "assistant" for chunk in chunks for choice in chunk.get("choices", ())) == 1
    )
    (body,) = cascade.large.seen
    assert body["kv_transfer_params"] == {"prompt_token_ids": [5, 6, 100, 101, 102]}
    assert body["vllm_xargs"] == {"draft_token_ids": [103, 104, 105]}
    assert body["max_tokens"] == 17
    usage = chunks[-2]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (7, 8)
    assert usage["smallfirst"]["decision"]["tier"] == "large"
    assert usage["smallfirst"]["decision"]["reason"] == "unsure"
    assert await metric(cascade.url, 'smallfirst_continued_streams_total{cascade="auto",prefix="ids"') == 1
    assert await metric(cascade.url, 'smallfirst_draft_tokens_total{cascade="auto",result="answer"') == 3
    assert await metric(cascade.url, 'smallfirst_draft_tokens_total{cascade="auto",result="wasted"') == 3


async def test_the_decision_is_told_with_the_last_piece_where_usage_is_not_wanted(gateway) -> None:
    cascade = await live_cascade(gateway)

    chunks = await chunks_of(cascade.url)

    assert chunks[-1] == {"done": True}
    decision = {"tier": "large", "escalated": True, "reason": "unsure", "confidence": 0.2,
                "confidence_of": "right"}  # fmt: skip
    assert chunks[-2]["smallfirst"] == decision
    assert [chunk for chunk in chunks[:-2] if "smallfirst" in chunk or "usage" in chunk] == []
    assert [choice["finish_reason"] for chunk in chunks[:-1] for choice in chunk["choices"]][-1] == "stop"


async def test_another_tokenizer_goes_on_from_the_text(gateway) -> None:
    cascade = await live_cascade(gateway, DOUBTS, replace(LARGE, first_token_id=500))

    chunks = await chunks_of(cascade.url)

    assert text_of(chunks) == BETTER
    body = cascade.large.seen[0]
    assert body["messages"][-1] == {"role": "assistant", "content": "one two three"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert await metric(cascade.url, 'smallfirst_continued_streams_total{cascade="auto",prefix="text"') == 1


async def test_a_draft_that_does_not_pass_its_gate_is_held_and_judged_whole(gateway) -> None:
    cascade = await live_cascade(gateway, replace(SURE, p=0.7), open_at=0.9)

    stream = await cascade.client.chat.completions.with_raw_response.create(**ASK)

    assert stream.headers["x-smallfirst-reason"] == "sure"
    assert stream.headers["x-smallfirst-tier"] == "small"


async def test_the_headers_of_an_opened_stream_say_so(gateway) -> None:
    cascade = await live_cascade(gateway)

    stream = await cascade.client.chat.completions.with_raw_response.create(**ASK)

    assert stream.headers["x-smallfirst-reason"] == "opened"
    assert stream.headers["x-smallfirst-escalated"] == "false"


async def test_a_drafter_that_finishes_its_own_doubts(gateway) -> None:
    cascade = await live_cascade(gateway, DOUBTS, on_doubt="finish")

    chunks = await chunks_of(cascade.url)

    assert text_of(chunks) == DRAFT
    assert chunks[-2]["smallfirst"]["reason"] == "opened"
    assert cascade.large.seen == []


@pytest.mark.parametrize("trouble", ["cut-stream", "error-in-stream"])
async def test_a_drafter_that_dies_in_an_open_stream_is_gone_on_from(gateway, trouble: Any) -> None:
    cascade = await live_cascade(gateway, replace(SURE, trouble=trouble))

    chunks = await chunks_of(cascade.url)

    assert text_of(chunks) == "one two three four five SIX SEVEN EIGHT"
    assert chunks[-1] == {"done": True}
    assert chunks[-2]["smallfirst"]["escalated"] is True


async def test_a_drafter_that_dies_where_it_alone_may_finish_is_an_error(gateway) -> None:
    cascade = await live_cascade(gateway, replace(SURE, trouble="cut-stream"), on_doubt="finish")

    chunks = await chunks_of(cascade.url)

    assert "error" in chunks[-1]
    assert cascade.large.seen == []


async def test_a_final_tier_that_dies_while_it_goes_on_is_an_error(gateway) -> None:
    cascade = await live_cascade(gateway, DOUBTS, replace(LARGE, trouble="cut-stream"))

    chunks = await chunks_of(cascade.url)

    assert "error" in chunks[-1]
    assert BETTER.startswith(text_of(chunks))


async def test_a_hopeless_draft_is_stopped_also_where_the_client_does_not_stream(gateway) -> None:
    cascade = await live_cascade(gateway, replace(SURE, ps=(0.2,), trouble="stall-late"), on_doubt="hold", stop_at=0.0)

    reply = await cascade.client.chat.completions.create(**{**ASK, "stream": False})

    assert reply.choices[0].message.content == BETTER
    assert cascade.small.left == 1
    assert await metric(cascade.url, 'smallfirst_draft_tokens_total{cascade="auto",result="wasted"') == 1


async def test_a_draft_that_was_watched_comes_in_one_piece_to_who_does_not_stream(gateway) -> None:
    watched = await live_cascade(gateway, SURE, on_doubt="hold", stop_at=0.0)
    plain = await gateway(small=SURE, large=LARGE)
    fields = {**ASK, "stream": False, "logprobs": True, "top_logprobs": 2}

    ours = await watched.client.chat.completions.create(**fields)
    theirs = await plain.client.chat.completions.create(**fields)

    assert ours.choices[0].model_dump(exclude={"message": {"vllm_extra"}, "stop_reason": True}) == theirs.choices[
        0
    ].model_dump(exclude={"message": {"vllm_extra"}, "stop_reason": True})
    assert ours.usage.completion_tokens == theirs.usage.completion_tokens == 8


HELD = [
    {"n": 2, "temperature": 1.0},
    {"response_format": {"type": "json_object"}},
    {"stop": ["x"]},
    {"smallfirst": {"threshold": 0.4}},
    {"smallfirst": {"stream": {"on_doubt": "hold"}}},
]


@pytest.mark.parametrize("fields", HELD)
async def test_what_cannot_be_gone_on_from_is_held(gateway, fields: dict[str, Any]) -> None:
    cascade = await live_cascade(gateway, SURE)

    chunks = await chunks_of(cascade.url, **fields)

    assert "smallfirst" not in chunks[-2]
    assert chunks[-1] == {"done": True}


async def test_a_request_may_say_how_its_stream_opens(gateway) -> None:
    cascade = await live_cascade(gateway, DOUBTS, on_doubt="hold")
    wanted = {"on_doubt": "continue", "gate_tokens": 4, "holdback_tokens": 1}

    chunks = await chunks_of(cascade.url, smallfirst={"stream": wanted})

    assert text_of(chunks) == BETTER
    assert cascade.large.seen[0]["kv_transfer_params"] == {"prompt_token_ids": [5, 6, 100, 101, 102, 103]}


REFUSED = [
    ("auto", {"stream": {"gate_tokens": 3, "on_doubt": "continue"}}, "smallfirst.stream.gate_tokens"),
    ("auto", {"stream": {"on_doubt": "continue"}, "threshold": 0.7}, "smallfirst.stream.on_doubt"),
    ("auto", {"stream": {"on_doubt": "never"}}, "smallfirst.stream.on_doubt"),
    ("auto", {"stream": {"gate": 3}}, "smallfirst.stream.gate"),
    ("auto", {"stream": {"on_doubt": "continue"}, "mode": "exact"}, "smallfirst.stream"),
    ("small", {"stream": {"on_doubt": "continue"}}, "smallfirst.stream"),
]


@pytest.mark.parametrize(("model", "controls", "param"), REFUSED)
async def test_a_wish_that_cannot_be_met_is_refused_by_name(gateway, model: str, controls: Any, param: str) -> None:
    cascade = await live_cascade(gateway, SURE)

    with pytest.raises(openai.BadRequestError) as refused:
        await cascade.client.chat.completions.create(**{**ASK, "model": model}, extra_body={"smallfirst": controls})

    assert refused.value.param == param


async def test_a_client_that_leaves_an_open_stream_stops_the_drafter(gateway) -> None:
    cascade = await live_cascade(gateway, replace(SURE, trouble="stall-late"))

    stream = await cascade.client.chat.completions.create(**ASK)
    async with stream, asyncio.timeout(5):
        async for chunk in stream:
            if chunk.choices[0].delta.content == " two":
                break
    await until(lambda: cascade.small.left == 1)

    assert cascade.large.seen == []


async def test_a_tool_call_after_an_open_beginning_is_judged_whole(gateway) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1'}}
    small = replace(SURE, text="let me see now", tool_calls=[call], says_first=True)
    cascade = await live_cascade(gateway, small, replace(LARGE, text="let me see now it is 2"))
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]

    chunks = await chunks_of(cascade.url, tools=tools)

    assert text_of(chunks) == "let me see now it is 2"
    assert not any(choice["delta"].get("tool_calls") for chunk in chunks for choice in chunk.get("choices", ()))
    assert chunks[-2]["smallfirst"]["reason"] == "malformed"
