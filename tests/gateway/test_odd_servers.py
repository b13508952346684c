"""Servers that answer in ways that no standard foresees, and clients that do not behave."""

import asyncio
import gzip
import io
import json
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web
from fakes.scripted import Script, ScriptedServer

MESSAGES = [{"role": "user", "content": "is it?"}]
SURE = {"content": [{"token": "yes", "logprob": -0.01, "top_logprobs": []}]}


def says(**choice: Any) -> Script:
    """A server whose whole reply has this one choice."""
    whole = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "logprobs": SURE, "finish_reason": "stop"}
    return replies({"choices": [{**whole, **choice}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})


def replies(body: Any) -> Script:
    """A server with this reply."""

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(text=body if isinstance(body, str) else json.dumps(body), content_type="application/json")

    return Script(handler=handler)


def streams(*events: str, end: str = "data: [DONE]\n\n") -> Script:
    """A server that streams these chunks' JSON."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(f"data: {event}\n\n".encode())
        await response.write(end.encode())
        return response

    return Script(handler=handler)


def message(**fields: Any) -> dict[str, Any]:
    """A message of an assistant."""
    return {"message": {"role": "assistant", "content": "yes", **fields}}


@pytest.mark.parametrize(
    "small",
    [
        says(**message(tool_calls=["x"])),
        says(**message(tool_calls=[{"function": {"name": "f", "arguments": {"a": 1}}}])),
        says(**message(tool_calls=[{"function": {"name": 7}}])),
        says(**message(reasoning=7)),
        says(**message(refusal=True)),
        says(finish_reason=7),
        says(index="first"),
        says(logprobs={"content": [{"token": 7, "logprob": -1}]}),
        says(logprobs={"content": [{"token": "yes"}]}),
        replies({"choices": "none"}),
        replies([]),
        replies('{"choices": [' + "[" * 5000 + "]" * 5000 + "]}"),
    ],
)
async def test_an_odd_draft_escalates(gateway, small: Script) -> None:
    cascade = await gateway(small=small, large=Script("no"))

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)

    assert raw.parse().choices[0].message.content == "no"
    assert raw.headers["x-smallfirst-reason"] == "bad-reply"


@pytest.mark.parametrize("usage", [{"completion_tokens": 2}, {"prompt_tokens": -1, "completion_tokens": 2}, "many", 7])
async def test_a_good_answer_with_a_broken_usage_is_a_good_answer(gateway, usage: Any) -> None:
    choice = {"message": {"content": "yes"}, "logprobs": SURE, "finish_reason": "stop"}
    cascade = await gateway(small=replies({"choices": [choice], "usage": usage}), large=Script("no"))

    reply = await cascade.client.chat.completions.create(model="auto", messages=MESSAGES)

    assert reply.choices[0].message.content == "yes"
    assert reply.usage.smallfirst["tiers"]["small"]["estimated"] is True


async def test_log_probabilities_above_zero_do_no_harm(gateway) -> None:
    logprobs = {"content": [{"token": "yes", "logprob": 1e9, "top_logprobs": [{"logprob": 1e9}, {"logprob": -1}]}]}
    cascade = await gateway(small=says(logprobs=logprobs), large=Script("no"), scorer="margin")

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)

    assert raw.headers["x-smallfirst-tier"] in ("small", "large")


async def test_half_a_character_does_not_end_an_answer(gateway) -> None:
    chunk = '{"choices": [{"index": 0, "delta": {"content": "a\\ud83d"}, "finish_reason": "stop"}]}'
    cascade = await gateway(small=Script(p=0.1), large=streams(chunk))

    stream = await cascade.client.chat.completions.create(model="auto", messages=MESSAGES, stream=True)

    assert "".join([part.choices[0].delta.content async for part in stream]) == "a?"


async def test_what_comes_with_the_usage_of_a_stream_is_kept(gateway) -> None:
    last = '{"choices": [], "system_fingerprint": "fp", "usage": {"prompt_tokens": 3, "completion_tokens": 1}}'
    first = '{"choices": [{"index": 0, "delta": {"content": "no"}, "finish_reason": "stop"}]}'
    cascade = await gateway(small=Script(p=0.1), large=streams(first, last))

    stream = await cascade.client.chat.completions.create(
        model="auto", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )

    chunks = [chunk async for chunk in stream]
    assert chunks[-1].system_fingerprint == "fp"
    assert chunks[-1].usage.completion_tokens == 1


async def test_an_endless_draft_ends(gateway) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        chunk = json.dumps({"choices": [{"index": 0, "delta": {"content": "x" * 100_000}}]})
        while True:
            await response.write(f"data: {chunk}\n\n".encode())

    cascade = await gateway(small=Script(handler=handler), large=Script("no"))

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES, stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in raw.parse()])

    assert text == "no"
    assert raw.headers["x-smallfirst-reason"] == "bad-reply"


async def test_a_redirect_is_not_followed(gateway) -> None:
    async with ScriptedServer(Script("stolen")) as elsewhere:

        async def handler(_request: web.Request) -> web.Response:
            return web.Response(status=307, headers={"location": f"{elsewhere.url}/v1/chat/completions"})

        cascade = await gateway(small=Script(handler=handler), large=Script("no"))
        raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)

        assert raw.headers["x-smallfirst-reason"] == "misconfigured"
        assert elsewhere.seen == []


@pytest.mark.parametrize(("status", "reason"), [(200, "bad-reply"), (503, "overloaded")])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_that_was_compressed_unasked_is_a_bad_one(gateway, status, reason, stream: bool) -> None:
    asked_for: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked_for.append(request.headers["accept-encoding"])
        return web.Response(status=status, body=gzip.compress(b"{}"), headers={"content-encoding": "gzip"})

    cascade = await gateway(small=Script(handler=handler), large=Script("no"))

    asking = cascade.client.chat.completions.with_raw_response
    raw = await asking.create(model="auto", messages=MESSAGES, stream=stream)

    assert raw.headers["x-smallfirst-reason"] == reason
    assert asked_for == ["identity"]


async def test_an_error_that_comes_in_two_pieces_is_read_whole(gateway) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=400)
        await response.prepare(request)
        await response.write(b'{"error": {"message": "too ')
        await asyncio.sleep(0.05)
        await response.write(b'long", "param": "messages"}}')
        return response

    cascade = await gateway(small=Script(p=0.1), large=Script(handler=handler))

    with pytest.raises(openai.BadRequestError) as caught:
        await cascade.client.chat.completions.create(model="auto", messages=MESSAGES)

    assert caught.value.body["message"] == "too long"
    assert caught.value.param == "messages"


async def test_an_error_whose_body_never_comes_is_an_error_soon(gateway) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=503)
        await response.prepare(request)
        await asyncio.sleep(3600)
        return response

    cascade = await gateway(small=Script(handler=handler), large=Script("no"))

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)

    assert raw.headers["x-smallfirst-reason"] == "overloaded"


async def test_an_answer_that_was_only_announced_can_still_come_from_elsewhere(gateway) -> None:
    role = '{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}]}'
    cascade = await gateway(small=Script("yes"), large=streams(role, end=""))

    with pytest.raises(openai.APIStatusError) as caught:
        await cascade.client.chat.completions.create(model="large", messages=MESSAGES, stream=True)

    assert caught.value.status_code == 502, "nothing was sent, so it is an HTTP error still"


async def test_a_client_that_leaves_after_a_drafter_failed_is_counted_as_gone(gateway) -> None:
    cascade = await gateway(small=Script(status=503), large=Script("one two three " * 50, pause_s=0.2))

    async with aiohttp.ClientSession() as session:
        body = {"model": "auto", "messages": MESSAGES, "stream": True}
        async with session.post(f"{cascade.url}/v1/chat/completions", json=body) as reply:
            await reply.content.readany()
        async with asyncio.timeout(10):
            while cascade.large.running:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.01)
        async with session.get(f"{cascade.url}/metrics") as reply:
            assert 'smallfirst_requests_total{cascade="auto",status="499",tier="large"} 1.0' in await reply.text()


async def test_a_body_that_does_not_come_is_not_waited_for(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script(), server={"body_s": 0.2})

    async def half():
        yield b'{"model": '
        await asyncio.sleep(3600)

    async with aiohttp.ClientSession() as session, asyncio.timeout(10):
        headers = {"content-type": "application/json"}
        async with session.post(f"{cascade.url}/v1/chat/completions", data=half(), headers=headers) as reply:
            assert reply.status == 408


async def test_a_page_whose_name_was_made_to_lead_here_may_not_ask(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script())
    body = {"model": "auto", "messages": MESSAGES}

    async with aiohttp.ClientSession() as session:
        url = f"{cascade.url}/v1/chat/completions"
        async with session.post(url, json=body, headers={"host": "evil.example"}) as reply:
            assert reply.status == 403
        async with session.post(url + "/", json=body, allow_redirects=False) as reply:
            assert reply.status == 404


async def test_a_gateway_that_is_meant_for_others_answers_to_any_name(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script(), server={"auth": "none"})

    async with aiohttp.ClientSession() as session:
        url, body = f"{cascade.url}/v1/chat/completions", {"model": "auto", "messages": MESSAGES}
        async with session.post(url, json=body, headers={"host": "gateway.example"}) as reply:
            assert reply.status == 200


@pytest.mark.parametrize("field", ["metadata", "messages"])
async def test_what_is_nested_too_deeply_is_refused(gateway, field: str) -> None:
    cascade = await gateway(small=Script(), large=Script())
    deep = "[" * 300 + "]" * 300
    body = f'{{"model": "auto", "messages": [{{"role": "user", "content": "x"}}], "{field}": {deep}}}'

    async with aiohttp.ClientSession() as session:
        headers = {"content-type": "application/json"}
        async with session.post(f"{cascade.url}/v1/chat/completions", data=body, headers=headers) as reply:
            assert reply.status == 400
            assert "nested" in (await reply.json())["error"]["message"]


async def test_a_million_mistakes_are_one_error(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script())
    body = b'{"model": "auto", "messages": [' + b",".join([b"{}"] * 500_000) + b"]}"

    async with aiohttp.ClientSession() as session:
        headers = {"content-type": "application/json"}
        async with session.post(f"{cascade.url}/v1/chat/completions", data=io.BytesIO(body), headers=headers) as reply:
            assert (await reply.json())["error"]["param"] == "messages.0.role"
