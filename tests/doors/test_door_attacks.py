"""What a hostile client, or an odd server, must not be able to do to the doors."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from fakes.scripted import Script
from fakes.waiting import until
from pydantic import ValidationError

from server.doors.door import Arrival
from server.doors.messages import MESSAGES
from server.doors.responses import RESPONSES
from server.errors import RequestError

MANY = 200_000
GOOD: dict[str, Any] = {"model": "auto", "max_tokens": 5, "messages": [{"role": "user", "content": "is it?"}]}


async def answered(url: str, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    """Status and body of what comes back."""
    async with aiohttp.ClientSession() as session, session.post(f"{url}{path}", json=body, headers=headers) as reply:
        return reply.status, await reply.json()


@pytest.mark.parametrize(
    ("door", "fields"),
    [
        (RESPONSES, {"input": [{"type": "reasoning", "content": [{}] * MANY}]}),
        (RESPONSES, {"input": "x", "smallfirst": dict.fromkeys(map(str, range(MANY)), 1)}),
        (RESPONSES, {"input": "x", "metadata": dict.fromkeys(map(str, range(MANY)), 1)}),
        (MESSAGES, {**GOOD, "betas": [1] * MANY}),
        (MESSAGES, {**GOOD, "metadata": dict.fromkeys(map(str, range(MANY)), 1)}),
    ],
    ids=["parts", "controls", "metadata", "betas", "unknown keys"],
)
def test_the_first_of_many_mistakes_is_enough(door: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as refused:
        door.read(json.dumps({"model": "auto", **fields}).encode(), Arrival("1", 0, {}))

    found: BaseException | None = refused.value
    while found is not None and not isinstance(found, ValidationError):
        found = found.__cause__
    assert found is not None
    assert len(found.errors()) < 10


def test_thousands_of_allowed_tools_are_looked_up_not_searched_for() -> None:
    tools = [{"type": "function", "name": f"t{place}", "parameters": {}} for place in range(20_000)]
    allowed = [{"type": "function", "name": tool["name"]} for tool in reversed(tools)]
    choice = {"type": "allowed_tools", "mode": "auto", "tools": allowed}
    body = {"model": "auto", "input": "x", "tools": tools, "tool_choice": choice}

    asked = RESPONSES.read(json.dumps(body).encode(), Arrival("1", 0, {}))

    assert len(asked.prompt.fields["tools"]) == len(tools)


@pytest.mark.parametrize("host", ["a{b}.evil.example", "evil@127.0.0.1", "evil.com#@127.0.0.1", 'a"b.evil.example', ""])
async def test_an_odd_host_is_a_strangers(gateway, host: str) -> None:
    cascade = await gateway(small=Script(), large=Script())

    status, _ = await answered(cascade.url, "/v1/chat/completions", GOOD, host=host)

    assert status == 403
    assert cascade.small.seen == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8080"])
async def test_this_machine_by_any_name_is_none(gateway, host: str) -> None:
    cascade = await gateway(small=Script(), large=Script())

    assert (await answered(cascade.url, "/v1/chat/completions", GOOD, host=host))[0] == 200


async def test_counting_ends_with_its_client_and_its_deadline(gateway) -> None:
    cascade = await gateway(small=Script(trouble="hang"), large=Script(), server={"deadline_s": 0.3})

    status, body = await answered(cascade.url, "/v1/messages/count_tokens", {"model": "small", **GOOD})

    assert (status, body["error"]["type"]) == (504, "timeout_error")
    await until(lambda: cascade.small.running == 0)
    patient = await gateway(small=Script(trouble="hang"), large=Script())
    asking = asyncio.create_task(answered(patient.url, "/v1/messages/count_tokens", GOOD))
    await until(lambda: patient.small.running == 1)
    asking.cancel()
    await until(lambda: patient.small.running == 0)


@pytest.mark.parametrize("index", [[], {}, "1", 1.5])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_a_call_with_an_odd_number_is_a_broken_draft(gateway, index: Any, path: str) -> None:
    async def odd(_request: web.Request) -> web.Response:
        call = {"index": index, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return web.json_response({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})

    cascade = await gateway(small=Script(handler=odd), large=Script("yes"))

    status, _ = await answered(cascade.url, path, GOOD)

    assert status == 200
    assert len(cascade.large.seen) == 1


@pytest.mark.parametrize("field", [{"prompt_logprobs": 1}, {"logprobs": True, "logprob_token_ids": [5]}])
async def test_what_would_change_the_evidence_is_for_a_single_tier(gateway, field: dict[str, Any]) -> None:
    cascade = await gateway(small=Script(), large=Script())

    refused = await answered(cascade.url, "/v1/chat/completions", {**GOOD, **field})

    assert (refused[0], refused[1]["error"]["param"]) == (400, [*field][-1])


async def test_an_answer_that_cannot_be_worded_is_an_error_before_its_first_byte(gateway) -> None:
    async def mixed(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        deep: Any = 1
        for _ in range(300):
            deep = [deep]
        chunk = {"choices": [{"index": 0, "delta": {"content": "x", "odd": deep}, "finish_reason": "stop"}]}
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n")
        return response

    cascade = await gateway(small=Script(), large=Script(handler=mixed))

    status, _ = await answered(cascade.url, "/v1/chat/completions", {**GOOD, "model": "large", "stream": True})

    assert status == 502


async def test_what_was_written_to_a_cache_is_read_under_both_names(gateway) -> None:
    async def counting(_request: web.Request) -> web.Response:
        details = {"cached_tokens": 2, "created_cache_tokens": 3}
        usage = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": details}
        message = {"role": "assistant", "content": "yes"}
        return web.json_response(
            {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
        )

    cascade = await gateway(small=Script(), large=replace(Script(), handler=counting))

    _, message = await answered(cascade.url, "/v1/messages", {**GOOD, "model": "large"})
    _, response = await answered(cascade.url, "/v1/responses", {"model": "large", "input": "is it?"})

    assert (message["usage"]["input_tokens"], message["usage"]["cache_creation_input_tokens"]) == (5, 3)
    assert response["usage"]["input_tokens_details"] == {"cached_tokens": 2, "cache_write_tokens": 3}
