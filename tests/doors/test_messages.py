"""Anthropic's Messages API, as its official client sees it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import anthropic
import pytest
from aiohttp import web
from fakes.scripted import Script

MESSAGES = [{"role": "user", "content": "is it?"}]
ASK = {"model": "auto", "max_tokens": 100, "messages": MESSAGES}
ADD = {"name": "add", "description": "Adds.", "input_schema": {"type": "object", "properties": {}}}
CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": "二"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "add", "arguments": "{}"}},
]
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
QUICK = {"connect_s": 1.0, "first_token_s": 0.3, "idle_s": 0.3, "total_s": 0.6}

Connect = Callable[[str], anthropic.AsyncAnthropic]
Asking = Callable[..., Awaitable[anthropic.types.Message]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """`connect(url)` is a client of the gateway there."""
    async with AsyncExitStack() as stack:

        def connected(url: str) -> anthropic.AsyncAnthropic:
            client = anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0, timeout=20)
            stack.push_async_callback(client.close)
            return client

        yield connected


async def created(client: anthropic.AsyncAnthropic, **fields: Any) -> anthropic.types.Message:
    """An answer in one piece."""
    return await client.messages.create(**fields)


async def streamed(client: anthropic.AsyncAnthropic, **fields: Any) -> anthropic.types.Message:
    """The same answer, folded from a stream by the client."""
    async with client.messages.stream(**fields) as stream:
        return await stream.get_final_message()


both_ways = pytest.mark.parametrize("ask", [created, streamed])


@both_ways
@pytest.mark.parametrize("text", ["yes it is", "你好 мир 🙂 ok", ""])
async def test_an_answer_is_a_message(gateway, connect: Connect, ask: Asking, text: str) -> None:
    cascade = await gateway(small=Script(text), large=Script(text))

    message = await ask(connect(cascade.url), **ASK)

    assert [block.text for block in message.content] == [text] * bool(text)
    assert (message.type, message.role, message.model) == ("message", "assistant", "auto")
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.id.startswith("msg_")
    assert message.usage.input_tokens == 7, "10, of which 3 were cached"
    assert (message.usage.cache_read_input_tokens, message.usage.cache_creation_input_tokens) == (3, 0)
    assert message.usage.output_tokens == len(text.split(" "))


async def test_the_sync_client_is_served(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"))

    def ask() -> tuple[str, str]:
        with anthropic.Anthropic(base_url=cascade.url, api_key="none", max_retries=0, timeout=20) as client:
            whole = client.messages.create(**ASK)
            with client.messages.stream(**ASK) as stream:
                return whole.content[0].text, stream.get_final_text()

    assert await asyncio.to_thread(ask) == ("yes", "yes")


@both_ways
async def test_an_unsure_draft_is_escalated(gateway, connect: Connect, ask: Asking) -> None:
    cascade = await gateway(small=Script("maybe", p=0.2), large=Script("no it is not"))

    message = await ask(connect(cascade.url), **ASK)

    assert message.content[0].text == "no it is not"
    assert message.usage.output_tokens == 4


async def test_the_answer_says_who_answered_and_what_it_cost(gateway, connect: Connect) -> None:
    cascade = await gateway(small=Script("maybe", p=0.2), large=Script("no"))

    raw = await connect(cascade.url).messages.with_raw_response.create(**ASK)

    assert raw.headers["x-smallfirst-tier"] == "large"
    assert raw.headers["request-id"] == raw.headers["x-request-id"]
    message = await raw.parse()
    assert message.id == f"msg_{raw.headers['request-id']}"
    assert {*message.usage.smallfirst["tiers"]} == {"small", "large"}


async def test_a_stream_is_the_events_of_the_api_in_their_order(gateway, connect: Connect) -> None:
    script = Script(reasoning="hm well", tool_calls=CALLS)
    cascade = await gateway(small=script, large=Script("no"))

    events = [event async for event in await connect(cascade.url).messages.create(model="small", max_tokens=9,
              messages=MESSAGES, tools=[ADD], stream=True)]  # fmt: skip

    kinds = [event.type for event in events]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    assert [event.index for event in events if event.type == "content_block_start"] == [0, 1, 2]
    assert [event.index for event in events if event.type == "content_block_stop"] == [0, 1, 2]
    deltas = [event.delta.type for event in events if event.type == "content_block_delta"]
    assert {*deltas} == {"thinking_delta", "input_json_delta"}
    assert events[-2].usage.smallfirst["cost"] > 0


async def test_every_event_has_its_name(gateway) -> None:
    cascade = await gateway(small=Script("yes it is"), large=Script("no"))

    text = await raw_stream(cascade.url)

    for event in text.strip().split("\n\n"):
        name, data = event.split("\n")
        assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"


@both_ways
async def test_a_model_thinks_before_it_calls_two_tools(gateway, connect: Connect, ask: Asking) -> None:
    cascade = await gateway(small=Script(reasoning="so 二", tool_calls=CALLS), large=Script("no"))

    message = await ask(connect(cascade.url), **{**ASK, "model": "small"}, tools=[ADD])

    thinking, first, second = message.content
    assert (thinking.type, thinking.thinking, thinking.signature) == ("thinking", "so 二", "")
    assert (first.id, first.name, first.input) == ("call_1", "add", {"a": 1, "b": "二"})
    assert (second.id, second.name, second.input) == ("call_2", "add", {})
    assert message.stop_reason == "tool_use"


@both_ways
async def test_a_conversation_with_tools_goes_back_and_forth(gateway, connect: Connect, ask: Asking) -> None:
    cascade = await gateway(small=Script(reasoning="so", tool_calls=CALLS), large=Script("no"))
    client, asked = connect(cascade.url), {"model": "small", "max_tokens": 9, "tools": [ADD]}
    message = await ask(client, **asked, messages=MESSAGES)
    cascade.small.script = Script("it is 3")
    results = [
        {"type": "tool_result", "tool_use_id": "call_1", "content": "3"},
        {"type": "tool_result", "tool_use_id": "call_2", "is_error": True,
         "content": [{"type": "text", "text": "no"}, PNG, {"type": "text", "text": "b"}]},
        {"type": "text", "text": "and now?"},
    ]  # fmt: skip

    last = await ask(client, **asked, messages=[
        *MESSAGES, {"role": "assistant", "content": message.content}, {"role": "user", "content": results}
    ])  # fmt: skip

    assert last.content[0].text == "it is 3"
    _, called, *answered = cascade.small.seen[-1]["messages"]
    assert called["reasoning"] == "so"
    assert [(call["id"], json.loads(call["function"]["arguments"])) for call in called["tool_calls"]] == [
        ("call_1", {"a": 1, "b": "二"}),
        ("call_2", {}),
    ]
    assert answered == [
        {"role": "tool", "tool_call_id": "call_1", "content": "3"},
        {"role": "tool", "tool_call_id": "call_2", "content": "Error: no\nb"},
        {"role": "user", "content": [PICTURE, {"type": "text", "text": "and now?"}]},
    ]


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        ("hi", "hi"),
        ([{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}], "hi"),
        ([PNG, {"type": "text", "text": "hi"}], [PICTURE, {"type": "text", "text": "hi"}]),
        ([{"type": "image", "source": {"type": "url", "url": "http://pictures/1"}}],
         [{"type": "image_url", "image_url": {"url": "http://pictures/1"}}]),
    ],
)  # fmt: skip
async def test_what_a_user_says_and_shows_reaches_the_model(gateway, connect: Connect, content, sent) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"))

    await created(connect(cascade.url), **{**ASK, "messages": [{"role": "user", "content": content}]})

    assert cascade.small.seen[0]["messages"] == [{"role": "user", "content": sent}]


@pytest.mark.parametrize(
    ("system", "sent"),
    [
        ("be brief", ["be brief"]),
        ([{"type": "text", "text": "be brief"}], ["be brief"]),
        ([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "b"}],
         [[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]]),
        ([], []),
    ],
)  # fmt: skip
async def test_the_system_prompt_is_the_first_message(gateway, connect: Connect, system, sent) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"))

    await created(connect(cascade.url), **ASK, system=system)

    *first, last = cascade.small.seen[0]["messages"]
    assert [message["content"] for message in first] == sent
    assert last == MESSAGES[0]


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"extra_body": {"temperature": 0.5, "top_p": 0.9, "top_k": 5}},
         {"temperature": 0.5, "top_p": 0.9, "top_k": 5}),
        ({"stop_sequences": ["x"]}, {"stop": ["x"]}),
        ({"metadata": {"user_id": "u"}}, {"user": "u"}),
        ({"service_tier": "auto"}, {}),
        ({"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}),
        ({"thinking": {"type": "adaptive", "display": "summarized"}}, {}),
        ({"thinking": {"type": "enabled", "budget_tokens": 50}}, {"thinking_token_budget": 50}),
        ({"output_config": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"tools": [ADD], "tool_choice": {"type": "auto"}}, {"tool_choice": "auto"}),
        ({"tools": [ADD], "tool_choice": {"type": "any"}}, {"tool_choice": "required"}),
        ({"tools": [ADD], "tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
        ({"tools": [ADD], "tool_choice": {"type": "tool", "name": "add", "disable_parallel_tool_use": True}},
         {"tool_choice": {"type": "function", "function": {"name": "add"}}, "parallel_tool_calls": False}),
        ({"tools": [{**ADD, "strict": True, "type": "custom", "cache_control": {"type": "ephemeral"}}]},
         {"tools": [{"type": "function", "function": {"name": "add", "description": "Adds.", "strict": True,
                     "parameters": ADD["input_schema"]}}]}),
        ({"extra_body": {"min_tokens": 3, "seed": 7, "chat_template_kwargs": {"a": 1}}},
         {"min_tokens": 3, "seed": 7, "chat_template_kwargs": {"a": 1}}),
        ({"messages": [*MESSAGES, {"role": "assistant", "content": "It is"}]},
         {"continue_final_message": True, "add_generation_prompt": False}),
        ({"messages": [*MESSAGES, {"role": "system", "content": "be brief"}]},
         {"messages": [*MESSAGES, {"role": "system", "content": "be brief"}]}),
        ({"messages": [*MESSAGES, {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"},
                       {"type": "text", "text": "a"}]}, *MESSAGES]},
         {"messages": [*MESSAGES, {"role": "assistant", "content": "a"}, *MESSAGES]}),
    ],
)  # fmt: skip
async def test_a_field_reaches_the_model_as_what_it_is_there(gateway, connect: Connect, fields, sent) -> None:
    cascade = await gateway(small=Script("yes", p=0.1), large=Script("no"))

    await created(connect(cascade.url), **{**ASK, **fields})

    body = cascade.large.seen[0]
    assert {name: body.get(name) for name in sent} == sent
    assert body["max_completion_tokens"] == 100
    known = {"model", "messages", "max_completion_tokens", "return_token_ids", "tools", "tool_choice", *sent}
    assert {*body} <= known


async def test_a_schema_for_the_answer_is_kept(gateway, connect: Connect) -> None:
    cascade = await gateway(small=Script('{"a": 1}'), large=Script("no"))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}

    await created(connect(cascade.url), **ASK, output_config={"format": {"type": "json_schema", "schema": schema}})

    assert cascade.small.seen[0]["response_format"]["json_schema"]["schema"] == schema
    assert cascade.large.seen == []


@both_ways
@pytest.mark.parametrize(
    ("script", "reason", "sequence"),
    [
        (Script("yes", finish_reason="length"), "max_tokens", None),
        (Script("yes", stop_reason="END"), "stop_sequence", "END"),
        (Script("yes", finish_reason="content_filter"), "refusal", None),
        (Script("yes", finish_reason="abort"), None, None),
        (Script(tool_calls=CALLS, stop_reason="END"), "tool_use", None),
        (Script(tool_calls=[{**CALLS[0], "function": {"name": "add", "arguments": '{"a": 1, "b'}}], stop_reason="END"),
         "stop_sequence", "END"),
    ],
)  # fmt: skip
async def test_the_answer_says_why_it_ended(gateway, connect: Connect, ask, script, reason, sequence) -> None:
    cascade = await gateway(small=script, large=script)

    message = await ask(connect(cascade.url), **{**ASK, "model": "large"}, stop_sequences=["END"])

    assert (message.stop_reason, message.stop_sequence) == (reason, sequence)


async def test_a_call_that_is_no_json_is_a_broken_answer(gateway, connect: Connect) -> None:
    script = Script(tool_calls=[{**CALLS[0], "function": {"name": "add", "arguments": "[1]"}}])
    cascade = await gateway(small=script, large=script)

    with pytest.raises(anthropic.InternalServerError) as caught:
        await created(connect(cascade.url), **ASK, tools=[ADD])

    assert (caught.value.status_code, caught.value.type) == (502, "api_error")


async def test_controls_route_the_request_and_go_no_further(gateway, connect: Connect) -> None:
    cascade = await gateway(small=Script("maybe", p=0.6), large=Script("no"))

    raw = await connect(cascade.url).messages.with_raw_response.create(
        **ASK, extra_body={"smallfirst": {"threshold": 0.7}}, extra_headers={"anthropic-beta": "any"}
    )

    assert raw.headers["x-smallfirst-tier"] == "large"
    assert "smallfirst" not in cascade.large.seen[0]


TOOL_USE = {"type": "tool_use", "id": "1", "name": "add", "input": {}}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]}, "'document'"),
        ({"messages": [{"role": "user", "content": [{"type": "search_result"}]}]}, "'search_result'"),
        ({"messages": [{"role": "user", "content": [TOOL_USE]}]}, "messages.0.content.0.type: 'tool_use'"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "1"}}]}]},
         "messages.0.content.0.source.type: 'file'"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "color": 1}]}]},
         "messages.0.content.0.color"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1",
                        "content": [{"type": "document"}]}]}]}, "messages.0.content.0.content.0.type: 'document'"),
        ({"messages": [*MESSAGES, {"role": "assistant", "content": [{"type": "server_tool_use"}]}]},
         "'server_tool_use'"),
        ({"messages": [*MESSAGES, {"role": "assistant", "content": [TOOL_USE]}]}, "messages"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, "messages.0.role"),
        ({"system": [{"type": "image"}]}, "system.0.type"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "'web_search_20250305'"),
        ({"tools": [{**ADD, "defer_loading": True}]}, "tools.0.defer_loading"),
        ({"tools": [{**ADD, "input_examples": [{}]}]}, "tools.0.input_examples"),
        ({"tools": [{**ADD, "allowed_callers": ["code_execution_20250825"]}]}, "tools.0.allowed_callers"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice: name"),
        ({"thinking": {"type": "enabled"}}, "budget_tokens"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, "thinking.display"),
        ({"output_config": {"task_budget": {"type": "tokens", "total": 9}}}, "output_config.task_budget"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"temperature": 3}, "temperature"),
        ({"speed": "fast"}, "speed"),
        ({"n": 2}, "n: "),
        ({"stop": ["x"]}, "stop_sequences"),
        ({"smallfirst": {"threshold": 2}}, "smallfirst.threshold"),
        *(({name: {"a": 1}}, f"{name}: is not served here") for name in (
            "container", "mcp_servers", "context_management", "diagnostics", "inference_geo", "fallbacks", "thread",
            "compaction", "billing_policy", "user_profile_id", "fallback_credit_token", "workspace_id", "logprobs")),
    ],
)  # fmt: skip
async def test_what_is_not_served_is_refused_by_its_name(gateway, connect: Connect, fields, name: str) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"))

    with pytest.raises(anthropic.BadRequestError) as caught:
        await created(connect(cascade.url), **ASK, extra_body=fields)

    assert caught.value.type == "invalid_request_error"
    assert name in caught.value.api_message
    assert caught.value.body["request_id"] == caught.value.request_id
    assert cascade.small.seen == []


@pytest.mark.parametrize(
    ("large", "error", "status", "kind"),
    [
        (Script(status=500), anthropic.ServiceUnavailableError, 503, "api_error"),
        (Script(status=429, headers={"retry-after": "7"}), anthropic.ServiceUnavailableError, 503, "overloaded_error"),
        (Script(status=401), anthropic.InternalServerError, 502, "api_error"),
        (Script(trouble="hang"), anthropic.GatewayTimeoutError, 504, "timeout_error"),
        (Script(status=400), anthropic.BadRequestError, 400, "invalid_request_error"),
    ],
)
async def test_the_final_tiers_failure_is_an_error_of_the_client(
    gateway, connect: Connect, large: Script, error: type[Exception], status: int, kind: str
) -> None:
    cascade = await gateway(small=Script(p=0.1), large=large, limits=QUICK)

    with pytest.raises(error) as caught:
        await created(connect(cascade.url), **ASK)

    assert (caught.value.status_code, caught.value.type) == (status, kind)
    assert caught.value.body["request_id"] == caught.value.request_id == caught.value.response.headers["x-request-id"]
    assert caught.value.response.headers.get("retry-after") == {429: "7", 500: "1"}.get(large.status)


@pytest.mark.parametrize(
    ("path", "data", "headers", "status", "kind"),
    [
        ("", b"{", {}, 400, "invalid_request_error"),
        ("", json.dumps({**ASK, "model": "nobody"}).encode(), {}, 404, "not_found_error"),
        ("/count_tokens", json.dumps({**ASK, "model": "nobody"}).encode(), {}, 404, "not_found_error"),
        ("", json.dumps(ASK).encode(), {"host": "elsewhere"}, 403, "permission_error"),
        ("/count_tokens", json.dumps(ASK).encode(), {"host": "elsewhere"}, 403, "permission_error"),
        ("", b" " * 5000, {}, 413, "request_too_large"),
        ("/count_tokens", b" " * 5000, {}, 413, "request_too_large"),
        ("", json.dumps(ASK).encode(), {"content-type": "text/plain"}, 415, "invalid_request_error"),
        ("/batches", b"{}", {}, 404, "not_found_error"),
    ],
)
async def test_what_stops_at_the_door_is_an_error_in_the_apis_shape(
    gateway, path: str, data: bytes, headers: dict[str, str], status: int, kind: str
) -> None:
    cascade = await gateway(small=Script(), large=Script(), server={"max_body_bytes": 1000})

    got, error, reply_headers = await post(f"{cascade.url}/v1/messages{path}", data, headers)

    assert (got, error["type"], error["error"]["type"]) == (status, "error", kind)
    assert error["request_id"] == reply_headers["request-id"] == reply_headers["x-request-id"]


async def test_a_body_that_does_not_come_is_an_error_in_the_apis_shape(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script(), server={"body_s": 0.1})
    never = asyncio.Event()

    async def begun() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    got, error, _ = await post(f"{cascade.url}/v1/messages", begun(), {})

    assert (got, error["error"]["type"]) == (408, "invalid_request_error")


@pytest.mark.parametrize("trouble", ["cut-stream", "error-in-stream", "stall"])
async def test_a_stream_that_breaks_ends_with_an_error(gateway, connect: Connect, trouble) -> None:
    cascade = await gateway(small=Script(p=0.1), large=Script("yes it is", trouble=trouble), limits=QUICK)
    seen: list[str] = []

    with pytest.raises(anthropic.APIStatusError) as caught:
        await read(connect(cascade.url), seen)

    assert "".join(seen)
    assert "yes it is".startswith("".join(seen))
    assert caught.value.type == ("timeout_error" if trouble == "stall" else "api_error")


async def test_calls_that_are_mixed_up_break_the_stream(gateway, connect: Connect) -> None:
    mixed = [
        {"tool_calls": [{**call, "index": index}]} for index, call in ((0, CALLS[0]), (1, CALLS[1]), (0, CALLS[0]))
    ]
    cascade = await gateway(small=Script(handler=chunks_of(mixed)), large=Script("no"))

    with pytest.raises(anthropic.APIStatusError) as caught:
        await streamed(connect(cascade.url), **{**ASK, "model": "small"}, tools=[ADD])

    assert caught.value.type == "api_error"


async def test_a_piece_that_says_nothing_shows_that_the_model_is_at_work(gateway) -> None:
    cascade = await gateway(small=Script("yes", p=0.1), large=Script("yes it is"))
    cascade.large.script = Script(handler=chunks_of([{"role": "assistant"}, {}, {"content": "yes"}, {}]))

    text = await raw_stream(cascade.url)

    assert text.count("event: ping") == 2
    assert "yes" in text


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_stops_the_work_upstream(gateway, stream: bool) -> None:
    cascade = await gateway(small=Script(p=0.1), large=Script("one two three " * 100, pause_s=0.5))

    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(session.post(f"{cascade.url}/v1/messages", json={**ASK, "stream": stream}))
        await until(lambda: cascade.large.running == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    await until(lambda: cascade.large.left == 1)


async def test_tokens_are_counted_by_the_first_tier(gateway, connect: Connect) -> None:
    cascade = await gateway(small=Script(), large=Script())
    client = connect(cascade.url)

    short = await client.messages.count_tokens(model="auto", messages=MESSAGES)
    long = await client.messages.count_tokens(
        model="auto", messages=MESSAGES, system="be very brief", tools=[ADD], thinking={"type": "disabled"}
    )

    assert 0 < short.input_tokens < long.input_tokens
    assert cascade.large.counted == []
    body = cascade.small.counted[-1]
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["tools"][0]["function"]["name"] == "add"
    assert body["add_generation_prompt"] is True
    assert body["chat_template_kwargs"] == {"reasoning_effort": "none", "enable_thinking": False}


async def test_tokens_are_counted_by_the_tier_that_is_named(gateway, connect: Connect) -> None:
    cascade = await gateway(small=Script(), large=Script())

    await connect(cascade.url).messages.count_tokens(model="large", messages=MESSAGES)

    assert (len(cascade.small.counted), len(cascade.large.counted)) == (0, 1)


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_a_tier_that_cannot_count_leaves_it_to_the_next(gateway, connect: Connect, status: int) -> None:
    cascade = await gateway(small=Script(status=status), large=Script())

    assert (await connect(cascade.url).messages.count_tokens(model="auto", messages=MESSAGES)).input_tokens > 0
    assert len(cascade.large.counted) == 1


@pytest.mark.parametrize(
    ("status", "error", "got"),
    [(400, anthropic.BadRequestError, 400), (500, anthropic.ServiceUnavailableError, 503)],
)
async def test_a_conversation_that_nobody_counts_is_an_error(
    gateway, connect: Connect, status: int, error: type[Exception], got: int
) -> None:
    cascade = await gateway(small=Script(status=status), large=Script(status=status))

    with pytest.raises(error) as caught:
        await connect(cascade.url).messages.count_tokens(model="auto", messages=MESSAGES)

    assert caught.value.status_code == got


async def test_servers_that_are_gone_cannot_count(gateway, connect: Connect) -> None:
    cascade = await gateway(small=Script(), large=Script())
    await cascade.small.stop()

    with pytest.raises(anthropic.ServiceUnavailableError):
        await connect(cascade.url).messages.count_tokens(model="small", messages=MESSAGES)


def chunks_of(deltas: list[dict[str, Any]]):
    """A server's stream of these pieces."""

    async def answered(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for place, delta in enumerate(deltas):
            reason = "stop" if place == len(deltas) - 1 else None
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            await response.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    return answered


async def read(client: anthropic.AsyncAnthropic, seen: list[str]) -> None:
    """Collect a stream's text."""
    async with client.messages.stream(**ASK) as stream:
        async for text in stream.text_stream:
            seen.append(text)  # noqa: PERF401 - what came before a failure counts


async def raw_stream(url: str) -> str:
    """A stream as it is sent."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/messages", json={**ASK, "stream": True}) as reply,
    ):
        return await reply.text()


async def post(url: str, data: Any, headers: dict[str, str]) -> tuple[int, dict[str, Any], Any]:
    """Status, body and headers of a raw request."""
    headers = {"content-type": "application/json"} | headers
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as session,
        session.post(url, data=data, headers=headers) as reply,
    ):
        return reply.status, await reply.json(), reply.headers


async def until(true: Callable[[], bool]) -> None:
    """Wait for it, within reason."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)
